"""Level lines: one number that stands for a whole series, and the line of time itself.

The law: the number is made from the values as they were read, before any consolidation for display.  A
line of three points (begin, middle and end of the time asked for) is as long as the request, one on
the grid of its series as long as that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.intervals import MINUTE, limited
from carbonpy.series.series import Series


@function(
    "aggregateLine",
    SERIES_LIST,
    Param("func", Kind.AGG_FUNC, default="average"),
    Param("keepStep", Kind.BOOLEAN, default=False),
    group="Calculate",
)
def aggregate_line(context: Context, series: Sequence[Series], func: str, keep_step: bool) -> list[Series]:
    """Draw a straight line at the aggregate of all values of each series.

    The line has three points; with keepStep it has one for each value of the series.

    Example: aggregateLine(servers.web1.load, 'max')
    """
    results = []
    for one in series:
        value = aggregates.of_values(func, one.values)
        name = f"aggregateLine({one.name}, {'None' if value != value else f'{value:g}'})"
        if keep_step:
            results.append(one.derived(name, np.full(len(one), value)))
        else:
            tags = {"name": "None" if value != value else str(value)}
            step = max(1, (context.end - context.start) // 2)
            results.append(
                Series(name, context.start, context.end, step, np.full(3, value), xff=context.xff, tags=tags)
            )
    return results


@function("nPercentile", SERIES_LIST, Param("n", Kind.FLOAT, required=True), group="Calculate")
def n_percentile(series: Sequence[Series], n: float) -> list[Series]:
    """Draw a straight line at the n-th percentile of all values of each series; series without any are left out.

    Example: nPercentile(servers.web1.latency, 95)
    """
    if not 0 < n <= 100:
        raise QueryError(f"n must be above 0 and at most 100, not {n:g}")
    results = []
    for one in series:
        if not np.isnan(one.values).all():
            value = float(aggregates.percentile(one.values.reshape(-1, 1), n)[0])
            count = max(0, (one.end - one.start) // one.step)
            line = np.full(limited(count), value)
            results.append(one.derived(f"nPercentile({one.name}, {n:g})", line, nPercentile=str(float(n))))
    return results


@function("identity", Param("name", Kind.STRING, required=True), group="Calculate")
def identity(context: Context, name: str) -> list[Series]:
    """Show the time itself, in seconds since 1970, once a minute from the beginning of the time asked for.

    Example: identity('time')
    """
    count = limited(max(0, -(-(context.end - context.start) // MINUTE)))
    values = context.start + np.arange(count, dtype=np.float64) * MINUTE
    path = f'identity("{name}")'
    return [Series(name, context.start, context.end, MINUTE, values, path, xff=context.xff, tags={"name": name})]
