"""Sorting: the same series in another order.

The law: nothing but the order changes, series that compare equal stay in their order whichever way the
order goes, and a series without values comes where the lowest one would.  `sortByMinima` is the one that
also leaves series out, as it does in graphite-web.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.ranking import chosen, figures, ordered
from carbonpy.series.series import Series

_DIGITS = re.compile("0*([0-9]+)")


@function(
    "sortBy",
    SERIES_LIST,
    Param("func", Kind.AGG_FUNC, default="average"),
    Param("reverse", Kind.BOOLEAN, default=False),
    group="Sorting",
)
def sort_by(series: Sequence[Series], func: str, reverse: bool) -> list[Series]:
    """Sort series by an aggregate of their values, lowest first unless `reverse` is true.

    Example: sortBy(servers.*.threads.busy, 'max')
    """
    return ordered(series, figures(func, series), descending=reverse)


@function("sortByMaxima", SERIES_LIST, group="Sorting")
def sort_by_maxima(series: Sequence[Series]) -> list[Series]:
    """Sort series by their highest value, highest first.

    Example: sortByMaxima(servers.*.memory.free)
    """
    return ordered(series, figures("max", series), descending=True)


@function("sortByMinima", SERIES_LIST, group="Sorting")
def sort_by_minima(series: Sequence[Series]) -> list[Series]:
    """Sort series by their lowest value, lowest first, without those that never rise above 0.

    Example: sortByMinima(servers.*.memory.free)
    """
    positive = chosen(series, figures("max", series) > 0)
    return ordered(positive, figures("min", positive))


@function(
    "sortByName",
    SERIES_LIST,
    Param("natural", Kind.BOOLEAN, default=False),
    Param("reverse", Kind.BOOLEAN, default=False),
    group="Sorting",
)
def sort_by_name(series: Sequence[Series], natural: bool, reverse: bool) -> list[Series]:
    """Sort series by name, character by character or, `natural`, with numbers in them as numbers.

    Natural order has server2 before server11; the other has it behind.

    Example: sortByName(servers.*.load, true)
    """
    return sorted(series, key=_natural if natural else _name, reverse=reverse)


@function("sortByTotal", SERIES_LIST, group="Sorting")
def sort_by_total(series: Sequence[Series]) -> list[Series]:
    """Sort series by the sum of their values, highest first.

    Example: sortByTotal(shops.*.sales)
    """
    return ordered(series, figures("sum", series), descending=True)


def _name(one: Series) -> str:
    return one.name


def _natural(one: Series) -> str:
    return _DIGITS.sub(lambda number: number.group(1).zfill(10), one.name)
