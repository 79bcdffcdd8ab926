"""One number per series, and the order that such numbers give: what filters, sorting and legends share.

The law: `figures` asks an aggregate once for all series of one length, as columns of one matrix, and never
once per series.  A series without a known value has no figure (NaN), except that it counts 0 values and its
``avg_zero`` is 0, as in graphite-web.  Orders are stable in both directions, and a series without a figure
ranks below every other, also where the lowest come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.functions import aggregates
from carbonpy.series.series import Series, Values

#: Aggregates of no known value that are 0 nevertheless.
_ZERO_OF_NOTHING = ("count", "avg_zero")

#: Values of a block of series that are worked on at once, which bounds the memory of copies.
_BLOCK = 4_000_000

#: Comparisons of figures with a threshold, by their names in ``filterSeries``.
OPERATORS: dict[str, Callable[[Values, float], NDArray[np.bool_]]] = {
    "=": lambda figures, threshold: figures == threshold,
    "!=": lambda figures, threshold: ~(figures == threshold),
    ">": lambda figures, threshold: figures > threshold,
    ">=": lambda figures, threshold: figures >= threshold,
    # what has no figure is below everything
    "<": lambda figures, threshold: ~(figures >= threshold),
    "<=": lambda figures, threshold: ~(figures > threshold),
}


def figures(function: str, series: Sequence[Series]) -> Values:
    """The aggregate called `function` of each series' values, float64[len(series)]; NaN where there is none.

    Raises QueryError for an unknown aggregate.  Pure; safe from any thread.
    """
    aggregate = aggregates.by_name(function)
    plain = function.removesuffix("Series")
    zero = plain in _ZERO_OF_NOTHING
    result = np.full(len(series), 0.0 if plain == "count" else np.nan)
    with np.errstate(all="ignore"):
        for places, columns in blocks(series):
            found = aggregate(columns)[: len(places)]
            result[places] = np.where(np.isnan(found), 0.0, found) if zero else found
    return result


def blocks(series: Sequence[Series]) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
    """Series of one length together: (their places in `series`, float64[length, at least 2] with a column each).

    A single series comes twice, as two columns, because numpy adds a single column in another order than
    several and so gives other last digits.  Series without any value are left out.
    """
    by_length: dict[int, list[int]] = {}
    for place, one in enumerate(series):
        by_length.setdefault(len(one), []).append(place)
    for length, places in by_length.items():
        if not length:
            continue
        size = max(2, _BLOCK // length)
        for first in range(0, len(places), size):
            part = places[first : first + size]
            columns = np.stack([series[place].values for place in (part * 2)[: max(2, len(part))]], axis=1)
            yield part, columns


def ordered(series: Sequence[Series], keys: Values, descending: bool = False) -> list[Series]:
    """The series by their keys; those with equal keys stay in their order, NaN is the lowest key."""
    lowest = np.where(np.isnan(keys), -np.inf, keys)
    order = np.argsort(-lowest if descending else lowest, kind="stable")
    return [series[place] for place in order.tolist()]


def chosen(series: Sequence[Series], keep: NDArray[np.bool_]) -> list[Series]:
    """The series whose place in `keep` is True, in their order."""
    return [one for one, kept in zip(series, keep.tolist()) if kept]
