"""Many series to one: the sum, the average, the largest of what was measured at the same time.

The law: series are put on one grid by time (`carbonpy.series.alignment`) before their values meet.  A value
of the result is made of the known values of its moment and is missing where there is none, or where the
share of the known ones is below the xFilesFactor (an argument's, else the request's).  Two functions are
exceptions, as in graphite-web: ``multiply`` has no value where any is missing, and ``countSeries`` counts
series, not values.  The result is called ``<function>Series(<path expressions>)``, keeps the tags that all
its series share and says in ``aggregatedBy`` how it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions.aggregates import by_name, count, percentile
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, SERIES_LISTS, Kind, Param, function
from carbonpy.functions.names import common_tags, path_expressions
from carbonpy.series.alignment import common_grid, matrix
from carbonpy.series.series import Series, Values

XFF = Param("xFilesFactor", Kind.FLOAT)


def combined(series: Sequence[Series], func: str, xff: float) -> Series:
    """One series of at least one, by the aggregate `func` (``Series`` behind its name makes no difference).

    Raises QueryError for an unknown aggregate and for series that do not fit on one grid.
    """
    func = func.removesuffix("Series")
    aggregate_rows = by_name(func)
    grid, rows = matrix(series)
    values = finite(aggregate_rows(rows))
    if xff > 0:
        values[count(rows) / len(rows) < xff] = np.nan
    name = f"{func}Series({path_expressions(series)})"
    tags = {"name": name, **common_tags(series), "aggregatedBy": func}
    return Series(name, grid.start, grid.end, grid.step, values, xff=xff, tags=tags)


def finite(values: Values) -> Values:
    """New values: the same, but without any infinite one."""
    return np.where(np.isinf(values), np.nan, values)


@function("aggregate", SERIES_LIST, Param("func", Kind.AGG_FUNC, required=True), XFF, group="Combine")
def aggregate(context: Context, series: Sequence[Series], func: str, xff: float | None) -> list[Series]:
    """Combine series with an aggregation function; where fewer of them than xFilesFactor (0 to 1) have a value, so
    does the result not.

    Example: aggregate(servers.*.cpu, 'median', 0.5)
    """
    return [combined(series, func, context.xff if xff is None else xff)] if series else []


def flat(lists: Sequence[Sequence[Series]]) -> list[Series]:
    """All series of several lists, in order."""
    return list(chain.from_iterable(lists))


def _aggregator(
    name: str, func: str, text: str, aliases: tuple[str, ...] = (), *, offered: bool = True
) -> Callable[..., Any]:
    """The function `name` that combines all it gets by the aggregate `func`."""

    def combine(context: Context, *lists: Sequence[Series]) -> list[Series]:
        series = flat(lists)
        return [combined(series, func, context.xff)] if series else []

    combine.__name__ = name
    combine.__doc__ = f"{text}\n\nExample: {name}(servers.*.requests)\n"
    return function(name, SERIES_LISTS, group="Combine", aliases=aliases, aggregator=offered)(combine)


_KNOWN = "the known values of all series at each moment"

#: Functions that are an aggregate by name: graphite-web's, then those that carbonapi has beside them.
FUNCTIONS = (
    _aggregator("sumSeries", "sum", f"Add {_KNOWN}.", ("sum",)),
    _aggregator("averageSeries", "average", f"The average of {_KNOWN}.", ("avg", "average")),
    _aggregator("minSeries", "min", f"The smallest of {_KNOWN}.", ("min",)),
    _aggregator("maxSeries", "max", f"The largest of {_KNOWN}.", ("max",)),
    _aggregator("stddevSeries", "stddev", f"The standard deviation of {_KNOWN}.", ("stddev",)),
    _aggregator("rangeOfSeries", "rangeOf", f"The largest minus the smallest of {_KNOWN}.", ("rangeOf",)),
    _aggregator("diffSeries", "diff", f"The first of {_KNOWN} minus all others.", ("diff",)),
    _aggregator("total", "total", f"Add {_KNOWN}.", ("totalSeries",), offered=False),
    _aggregator("avgSeries", "avg", f"The average of {_KNOWN}.", offered=False),
    _aggregator(
        "avg_zero",
        "avg_zero",
        "The average of all series, missing values as zeros.",
        ("avg_zeroSeries",),
        offered=False,
    ),
    _aggregator("median", "median", f"The median of {_KNOWN}.", ("medianSeries",), offered=False),
    _aggregator("range", "range", f"The largest minus the smallest of {_KNOWN}.", ("rangeSeries",), offered=False),
    _aggregator(
        "first", "first", f"The first of {_KNOWN}, in the order of the series.", ("firstSeries",), offered=False
    ),
    _aggregator("last", "last", f"The last of {_KNOWN}, in the order of the series.", ("lastSeries",), offered=False),
    _aggregator(
        "current", "current", f"The last of {_KNOWN}, in the order of the series.", ("currentSeries",), offered=False
    ),
    _aggregator("count", "count", f"The number of {_KNOWN} (countSeries counts series).", offered=False),
    _aggregator("multiply", "multiply", "Multiply all series; no value where any is missing.", offered=False),
)


@function("multiplySeries", SERIES_LISTS, group="Combine", aggregator=True)
def multiply_series(context: Context, *lists: Sequence[Series]) -> list[Series]:
    """Multiply all series; there is no value where any of them has none.  One series alone stays as it is.

    Example: multiplySeries(factory.speed, factory.hours)
    """
    series = flat(lists)
    if not series or (len(lists) == 1 and len(series) == 1):
        return series
    return [combined(series, "multiply", context.xff)]


@function("countSeries", Param("seriesLists", Kind.SERIES_LIST, multiple=True), group="Combine", aggregator=True)
def count_series(context: Context, *lists: Sequence[Series]) -> list[Series]:
    """How many series there are, the same at every moment whether they have values or not.  countSeries() is a
    line of zeros.

    Example: countSeries(servers.*.cpu)
    """
    if not lists:
        step = max(1, (context.end - context.start) // 2)
        return [Series("0", context.start, context.end, step, np.zeros(3), xff=context.xff)]
    series = flat(lists)
    if not series:
        return []
    grid = common_grid(series)
    name = f"countSeries({path_expressions(series)})"
    counts = np.full(grid.count, float(len(series)))
    return [Series(name, grid.start, grid.end, grid.step, counts, xff=context.xff)]


@function(
    "percentileOfSeries",
    SERIES_LIST,
    Param("n", Kind.FLOAT, required=True),
    Param("interpolate", Kind.BOOLEAN, default=False),
    group="Combine",
)
def percentile_of_series(context: Context, series: Sequence[Series], n: float, interpolate: bool) -> list[Series]:
    """The n-th percentile of the known values at each moment: one of them, or with interpolate a value between two.

    Example: percentileOfSeries(servers.*.latency, 95, true)
    """
    if n <= 0:
        raise QueryError(f"parameter n must be greater than 0, not {n:g}; it is a percentage such as 95")
    if not series:
        return []
    grid, rows = matrix(series)
    name = f"percentileOfSeries({series[0].path_expression},{n:g})"
    values = finite(percentile(rows, n, interpolate))
    return [Series(name, grid.start, grid.end, grid.step, values, xff=context.xff)]


@function(
    "powSeries",
    Param("seriesList", Kind.SERIES_LIST, required=True, multiple=True),
    group="Combine",
    aggregator=True,
)
def pow_series(context: Context, *lists: Sequence[Series]) -> list[Series]:
    """The first series to the power of the second, that to the power of the third and so on; no value where any is
    missing or the power is no number.

    Example: powSeries(box.side, box.dimensions)
    """
    series = flat(lists)
    return [powers(series, context.xff)] if series else []


def powers(series: Sequence[Series], xff: float) -> Series:
    """One series of at least one, each value to the power of the next."""
    grid, rows = matrix(series)
    values = rows[0]
    with np.errstate(all="ignore"):
        for row in rows[1:]:
            # NaN to the power of 0 and 1 to the power of NaN are 1 for numpy, but what is missing stays missing
            missing = np.isnan(values) | np.isnan(row)
            values = np.where(missing, np.nan, finite(np.power(values, row)))
    name = f"powSeries({','.join(one.name for one in series)})"
    return Series(name, grid.start, grid.end, grid.step, finite(values), xff=xff)
