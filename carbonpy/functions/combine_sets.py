"""Lists of series as sets, and what carbonapi makes of them beyond graphite-web.

The law: series are the same when their names are; what is kept is kept as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions.combine import finite
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.patterns import replacer
from carbonpy.series.alignment import matrix
from carbonpy.series.series import Series

_JOINS = ("AND", "OR", "XOR", "SUB")
#: Numbers that countValues may make: distinct values times slots.
_MOST_COUNTS = 10_000_000
#: Columns known in all series by whose sum heatMap sorts.
_WEIGHED = 5


@function(
    "join",
    Param("seriesA", Kind.SERIES_LIST, required=True),
    Param("seriesB", Kind.SERIES_LIST, required=True),
    Param("type", Kind.STRING, default="AND", suggestions=_JOINS),
    group="Transform",
)
def join(first: Sequence[Series], second: Sequence[Series], how: str) -> list[Series]:
    """Set operations on two lists by the names of their series: AND gives those of the first that are in the second,
    OR all of the first and what is only in the second, XOR what is in one of them, SUB what is only in the first.

    Example: join(aliasByNode(servers.*.cpu, 1), aliasByNode(servers.*.memory, 1), 'SUB')
    """
    how = how.upper()
    if how not in _JOINS:
        raise QueryError(f"parameter type must be one of {', '.join(_JOINS)}, not {how[:60]!r}")
    in_first, in_second = {one.name for one in first}, {one.name for one in second}
    only_second = [one for one in second if one.name not in in_first]
    if how == "OR":
        return [*first, *only_second]
    if how == "AND":
        return [one for one in first if one.name in in_second]
    only_first = [one for one in first if one.name not in in_second]
    return [*only_first, *only_second] if how == "XOR" else only_first


@function("countValues", SERIES_LIST, Param("valuesLimit", Kind.INTEGER, default=32), group="Combine")
def count_values(context: Context, series: Sequence[Series], limit: int) -> list[Series]:
    """One series for each distinct value, called like it and sorted by it: how many series have it at each moment.

    Example: countValues(services.*.status, 10)
    """
    if not series:
        return []
    grid, rows = matrix(series)
    known = np.isfinite(rows)
    values, which = np.unique(rows[known], return_inverse=True)
    if len(values) > limit:
        raise QueryError(f"there are {len(values)} distinct values, more than the valuesLimit of {limit}; raise it")
    if len(values) * grid.count > _MOST_COUNTS:
        raise QueryError(f"{len(values)} distinct values are too many for {grid.count} points; ask for less time")
    slots = np.broadcast_to(np.arange(grid.count), rows.shape)[known]
    cells = np.bincount(which.reshape(-1) * grid.count + slots, minlength=len(values) * grid.count)
    counts = cells.astype(np.float64).reshape(len(values), grid.count)
    names = [str(int(value)) if value == int(value) else repr(value) for value in values.tolist()]
    return [
        Series(name, grid.start, grid.end, grid.step, row, series[0].path_expression, xff=context.xff)
        for name, row in zip(names, counts)
    ]


@function("heatMap", SERIES_LIST, group="Transform")
def heat_map(series: Sequence[Series]) -> list[Series]:
    """The difference of each series and the one below it, for histograms whose buckets are cumulative counters.

    Series are sorted by their sum over the first five moments at which all have values; the lowest has no result.

    Example: heatMap(perSecond(requests.duration.bucket.*))
    """
    if len(series) < 2:
        return []
    grid, rows = matrix(series)
    weighed = rows[:, ~np.isnan(rows).any(axis=0)][:, :_WEIGHED]
    with np.errstate(all="ignore"):
        order = np.argsort(weighed.sum(axis=1), kind="stable")
        rows = rows[order]
        differences = finite(rows[1:] - rows[:-1])
    result = []
    for number, values in enumerate(differences):
        below, one = series[order[number]], series[order[number + 1]]
        made = one.derived(f"heatMap({one.name},{below.name})", values)
        result.append(made.changed(start=grid.start, end=grid.end, step=grid.step))
    return result


@function(
    "aboveSeries",
    SERIES_LIST,
    Param("value", Kind.FLOAT, required=True),
    Param("search", Kind.STRING),
    Param("replace", Kind.STRING),
    group="Filter Series",
)
def above_series(series: Sequence[Series], value: float, search: str | None, replace: str | None) -> list[Series]:
    """The series with a maximum above a value, their names changed by a regular expression and its replacement.

    Example: aboveSeries(servers.*.requests, 10, 'requests', 'busy')
    """
    with np.errstate(all="ignore"):
        above = [one for one in series if (one.values > value).any()]
    if search is None or replace is None:
        return above
    renamed = replacer(search, replace)
    return [one.labelled(renamed(one.name)) for one in above]
