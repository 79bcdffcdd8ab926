"""Consolidation: many values to one, for display.

The law.  A bucket of n slots has a value if at least one of its slots has one and
``known / n >= xff``; the last bucket of a series may be shorter, and n is the full size for it too.
``thin`` brings a whole answer below a number of points exactly as graphite-web does, including two
oddities that dashboards have come to rely on: the start is nudged to a multiple of the bucket, so
that bands do not jump on refresh, and one value fewer is dropped than the nudge spans, so that the
bucket labelled L holds the slots from L - step to L + bucket - 2 * step.

Sums run from left to right in plain float64, as CPython's ``sum`` did up to 3.11.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.series.series import Series, Values

Rows = NDArray[np.float64]
Known = NDArray[np.bool_]


def _sum(rows: Rows, known: Known) -> Values:
    filled = np.where(known, rows, 0.0)
    total = np.zeros(len(rows))
    for column in range(rows.shape[1]):
        total += filled[:, column]
    return total


def _average(rows: Rows, known: Known) -> Values:
    return _sum(rows, known) / known.sum(axis=1)


def _avg_zero(rows: Rows, known: Known) -> Values:
    return _sum(rows, known) / rows.shape[1]


def _max(rows: Rows, known: Known) -> Values:
    return np.where(known, rows, -np.inf).max(axis=1)


def _min(rows: Rows, known: Known) -> Values:
    return np.where(known, rows, np.inf).min(axis=1)


def _first(rows: Rows, known: Known) -> Values:
    return rows[np.arange(len(rows)), known.argmax(axis=1)]


def _last(rows: Rows, known: Known) -> Values:
    return rows[np.arange(len(rows)), rows.shape[1] - 1 - known[:, ::-1].argmax(axis=1)]


#: Name of a consolidation function -> rows float64[n, k] and which of their values are known -> float64[n].
#: Rows without a known value may give anything.
FUNCTIONS: dict[str, Callable[[Rows, Known], Values]] = {
    "sum": _sum,
    "average": _average,
    "avg": _average,
    "avg_zero": _avg_zero,
    "max": _max,
    "min": _min,
    "first": _first,
    "last": _last,
}


def consolidate(values: Values, size: int, how: str, xff: float = 0.0) -> Values:
    """`values` in buckets of `size` slots, one value each.  Pure; safe from any thread.

    Raises QueryError for an unknown function.  The input is not changed.
    """
    if size <= 1 or not len(values):
        _named(how)
        return values
    whole = len(values) // size
    parts = [consolidate_rows(values[: whole * size].reshape(whole, size), size, how, xff)]
    if whole * size < len(values):
        parts.append(consolidate_rows(values[whole * size :].reshape(1, -1), size, how, xff))
    return np.concatenate(parts)


def consolidate_rows(rows: Rows, size: int, how: str, xff: float = 0.0) -> Values:
    """One value for each row, a bucket of `size` slots of which it may hold fewer (but one at least).

    Raises QueryError for an unknown function.  The input is not changed.
    """
    function = _named(how)
    known = ~np.isnan(rows)
    count = known.sum(axis=1)
    with np.errstate(all="ignore"):
        result = function(rows, known)
    result[(count == 0) | (count / size < xff)] = np.nan
    return result


def _named(how: str) -> Callable[[Rows, Known], Values]:
    function = FUNCTIONS.get(how)
    if function is None:
        raise QueryError(f"unknown consolidation function {how!r}; use one of {', '.join(FUNCTIONS)}")
    return function


def thin(answer: Sequence[Series], max_points: int) -> list[Series]:
    """All series of one answer with about `max_points` points at most (maxDataPoints).

    The number of buckets follows from the time range of the whole answer and each series' own step.
    `max_points` of 0 or less means no limit.
    """
    if max_points <= 0 or not any(len(series) for series in answer):
        return list(answer)
    seconds = max(series.end for series in answer) - min(series.start for series in answer)
    return [_thin_one(series, max_points, seconds) for series in answer]


def _thin_one(series: Series, max_points: int, seconds: int) -> Series:
    if max_points == 1:
        size, start, values = max(1, len(series)), series.start, series.values
    else:
        wanted = seconds / series.step
        if max_points >= wanted:
            return series
        size = math.ceil(wanted / max_points)
        bucket = size * series.step
        nudge = bucket + series.start % series.step - series.start % bucket
        start, values = series.start + nudge, series.values[max(0, nudge // series.step - 1) :]
    consolidated = consolidate(values, size, series.consolidation, series.xff)
    step = series.step * size
    # graphite-web pairs the values with range(start, end + 1, step), which can be the shorter of the two
    count = min(len(consolidated), len(range(start, series.end + 1, step)))
    return replace(series, start=start, step=step, values=consolidated[:count])
