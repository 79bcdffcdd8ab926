"""Filters: some of the series that came in, unchanged and, but for highest and lowest, in their order.

The law: what comes out is what went in, the same objects.  A filter by value looks at one figure per
series; a series without any value has none, which counts as lower than everything: it is below every
threshold and above none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.functions.aggregates import percentile
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, SERIES_LISTS, Kind, Param, function
from carbonpy.functions.patterns import compiled, replacer
from carbonpy.functions.ranking import OPERATORS, blocks, chosen, figures, ordered
from carbonpy.series.alignment import matrix
from carbonpy.series.series import Series, Values

_THRESHOLD = Param("n", Kind.FLOAT, required=True)
_COUNT = Param("n", Kind.INTEGER, required=True)
#: graphite-web says that `highest` and `lowest` need a count, and takes 1 where there is none.
_COUNT_OR_ONE = Param("n", Kind.INTEGER, default=1)
_PATTERN = Param("pattern", Kind.STRING, required=True)
_XFF = Param("xFilesFactor", Kind.FLOAT)

#: Longest target that is put together from names.
_MOST_CHARACTERS = 50_000


@function(
    "filterSeries",
    SERIES_LIST,
    Param("func", Kind.AGG_FUNC, required=True),
    Param("operator", Kind.STRING, required=True, options=("!=", "<", "<=", "=", ">", ">=")),
    Param("threshold", Kind.FLOAT, required=True),
    group="Filter Series",
)
def filter_series(series: Sequence[Series], func: str, operator: str, threshold: float) -> list[Series]:
    """Keep series whose values, aggregated, compare with the threshold as the operator says.

    A series without values passes `!=`, `<` and `<=` only.

    Example: filterSeries(system.interface.eth*.packetsSent, 'max', '>', 1000)
    """
    return chosen(series, OPERATORS[operator](figures(func, series), threshold))


@function("averageAbove", SERIES_LIST, _THRESHOLD, group="Filter Series")
def average_above(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series with an average above n.

    Example: averageAbove(servers.*.threads.busy, 25)
    """
    return filter_series(series, "average", ">", n)


@function("averageBelow", SERIES_LIST, _THRESHOLD, group="Filter Series")
def average_below(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series with an average of n at most, and those without values.

    Example: averageBelow(servers.*.threads.busy, 25)
    """
    return filter_series(series, "average", "<=", n)


@function("currentAbove", SERIES_LIST, _THRESHOLD, group="Filter Series")
def current_above(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series whose last known value is above n.

    Example: currentAbove(servers.*.threads.busy, 50)
    """
    return filter_series(series, "last", ">", n)


@function("currentBelow", SERIES_LIST, _THRESHOLD, group="Filter Series")
def current_below(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series whose last known value is n at most, and those without values.

    Example: currentBelow(servers.*.threads.busy, 3)
    """
    return filter_series(series, "last", "<=", n)


@function("maximumAbove", SERIES_LIST, _THRESHOLD, group="Filter Series")
def maximum_above(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series with a value above n.

    Example: maximumAbove(system.interface.eth*.packetsSent, 1000)
    """
    return filter_series(series, "max", ">", n)


@function("maximumBelow", SERIES_LIST, _THRESHOLD, group="Filter Series")
def maximum_below(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series without a value above n.

    Example: maximumBelow(system.interface.eth*.packetsSent, 1000)
    """
    return filter_series(series, "max", "<=", n)


@function("minimumAbove", SERIES_LIST, _THRESHOLD, group="Filter Series")
def minimum_above(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series whose values are all above n.

    Example: minimumAbove(system.interface.eth*.packetsSent, 1000)
    """
    return filter_series(series, "min", ">", n)


@function("minimumBelow", SERIES_LIST, _THRESHOLD, group="Filter Series")
def minimum_below(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series with a value of n at most, and those without values.

    Example: minimumBelow(system.interface.eth*.packetsSent, 1000)
    """
    return filter_series(series, "min", "<=", n)


@function("highest", SERIES_LIST, _COUNT_OR_ONE, Param("func", Kind.AGG_FUNC, default="average"), group="Filter Series")
def highest(series: Sequence[Series], n: int, func: str) -> list[Series]:
    """Keep the n series with the highest aggregate of their values, highest first.

    Example: highest(servers.*.threads.busy, 5, 'max')
    """
    return ordered(series, figures(func, series), descending=True)[:n]


@function("highestAverage", SERIES_LIST, _COUNT, group="Filter Series")
def highest_average(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the highest average, highest first.

    Example: highestAverage(servers.*.threads.busy, 5)
    """
    return highest(series, n, "average")


@function("highestCurrent", SERIES_LIST, _COUNT, group="Filter Series")
def highest_current(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the highest last known value, highest first.

    Example: highestCurrent(servers.*.threads.busy, 5)
    """
    return highest(series, n, "last")


@function("highestMax", SERIES_LIST, _COUNT, group="Filter Series")
def highest_max(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the highest maximum, highest first.

    Example: highestMax(servers.*.threads.busy, 5)
    """
    return highest(series, n, "max")


@function("highestMin", SERIES_LIST, _COUNT, group="Filter Series")
def highest_min(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the highest minimum, highest first.

    Example: highestMin(servers.*.memory.free, 5)
    """
    return highest(series, n, "min")


@function("lowest", SERIES_LIST, _COUNT_OR_ONE, Param("func", Kind.AGG_FUNC, default="average"), group="Filter Series")
def lowest(series: Sequence[Series], n: int, func: str) -> list[Series]:
    """Keep the n series with the lowest aggregate of their values, lowest first; those without values are lowest.

    Example: lowest(servers.*.threads.busy, 5, 'max')
    """
    return ordered(series, figures(func, series))[:n]


@function("lowestAverage", SERIES_LIST, _COUNT, group="Filter Series")
def lowest_average(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the lowest average, lowest first.

    Example: lowestAverage(servers.*.threads.busy, 5)
    """
    return lowest(series, n, "average")


@function("lowestCurrent", SERIES_LIST, _COUNT, group="Filter Series")
def lowest_current(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the lowest last known value, lowest first.

    Example: lowestCurrent(servers.*.threads.busy, 5)
    """
    return lowest(series, n, "last")


@function("lowestMax", SERIES_LIST, _COUNT, group="Filter Series")
def lowest_max(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the lowest maximum, lowest first.

    Example: lowestMax(servers.*.threads.busy, 5)
    """
    return lowest(series, n, "max")


@function("lowestMin", SERIES_LIST, _COUNT, group="Filter Series")
def lowest_min(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the lowest minimum, lowest first.

    Example: lowestMin(servers.*.memory.free, 5)
    """
    return lowest(series, n, "min")


@function("limit", SERIES_LIST, _COUNT, group="Filter Series")
def limit(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the first n series; with a negative n, all but the last.

    Example: limit(servers.*.memory.free, 5)
    """
    return list(series[:n])


@function("mostDeviant", SERIES_LIST, _COUNT, group="Filter Series")
def most_deviant(series: Sequence[Series], n: int) -> list[Series]:
    """Keep the n series with the highest standard deviation, highest first.

    Example: mostDeviant(servers.*.memory.free, 5)
    """
    deviations = figures("stddev", series)
    known = ~np.isnan(deviations)
    return ordered(chosen(series, known), deviations[known], descending=True)[:n]


@function("averageOutsidePercentile", SERIES_LIST, _THRESHOLD, group="Filter Series")
def average_outside_percentile(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series whose average does not lie between the percentiles n and 100 - n of all averages.

    A series without values has no average and is left out.

    Example: averageOutsidePercentile(servers.*.memory.free, 95)
    """
    low, high = _fences(n)
    if not series:
        return []
    averages = figures("average", series).reshape(-1, 1)
    return chosen(series, _outside(averages, percentile(averages, low), percentile(averages, high)))


@function("removeBetweenPercentile", SERIES_LIST, _THRESHOLD, group="Filter Series")
def remove_between_percentile(series: Sequence[Series], n: float) -> list[Series]:
    """Keep series with at least one value not between the percentiles n and 100 - n of all values of its moment.

    Example: removeBetweenPercentile(servers.*.threads.busy, 30)
    """
    low, high = _fences(n)
    if not series:
        return []
    _, rows = matrix(series)
    return chosen(series, _outside(rows, percentile(rows, low), percentile(rows, high)))


def _fences(n: float) -> tuple[float, float]:
    if not 0 <= n <= 100:
        raise QueryError(f"{n:g} is no percentile; n must be between 0 and 100")
    return min(n, 100 - n), max(n, 100 - n)


def _outside(rows: NDArray[np.float64], low: Values, high: Values) -> NDArray[np.bool_]:
    """Which rows have a value that is not strictly between its column's fences."""
    return np.asarray(((rows <= low) | (rows >= high)).any(axis=1))


@function("removeEmptySeries", SERIES_LIST, _XFF, group="Filter Series")
def remove_empty_series(series: Sequence[Series], xff: float | None) -> list[Series]:
    """Drop series without values, or with a smaller share of known values than xFilesFactor.

    Example: removeEmptySeries(servers.*.threads.busy, 0.5)
    """
    return _with_enough(series, figures("count", series), xff)


@function("removeZeroSeries", SERIES_LIST, _XFF, group="Filter Series")
def remove_zero_series(series: Sequence[Series], xff: float | None) -> list[Series]:
    """Drop series that are 0 wherever they have a value, or have a smaller share of others than xFilesFactor.

    Example: removeZeroSeries(servers.*.errors)
    """
    others = np.zeros(len(series))
    for places, columns in blocks(series):
        others[places] = (~np.isnan(columns) & (columns != 0)).sum(axis=0)[: len(places)]
    return _with_enough(series, others, xff)


def _with_enough(series: Sequence[Series], counts: Values, xff: float | None) -> list[Series]:
    lengths = np.array([max(1, len(one)) for one in series])
    return chosen(series, (counts > 0) & (counts / lengths >= (xff or 0.0)))


@function("grep", SERIES_LIST, _PATTERN, group="Filter Series")
def grep(series: Sequence[Series], pattern: str) -> list[Series]:
    """Keep series whose name a regular expression matches somewhere.

    Example: grep(servers.*.load, 'web[0-9]+')
    """
    search = compiled(pattern).search
    return [one for one in series if search(one.name)]


@function("exclude", SERIES_LIST, _PATTERN, group="Filter Series")
def exclude(series: Sequence[Series], pattern: str) -> list[Series]:
    """Drop series whose name a regular expression matches somewhere.

    Example: exclude(servers.*.load, 'web[0-9]+')
    """
    search = compiled(pattern).search
    return [one for one in series if not search(one.name)]


@function("unique", SERIES_LISTS, group="Filter Series")
def unique(*lists: Sequence[Series]) -> list[Series]:
    """Of all series with one name keep the first.

    Example: unique(mostDeviant(servers.*.disk, 5), lowestCurrent(servers.*.disk, 5))
    """
    by_name: dict[str, Series] = {}
    for series in lists:
        for one in series:
            by_name.setdefault(one.name, one)
    return list(by_name.values())


@function(
    "useSeriesAbove",
    SERIES_LIST,
    Param("value", Kind.FLOAT, required=True),
    Param("search", Kind.STRING, required=True),
    Param("replace", Kind.STRING, required=True),
    group="Filter Series",
)
def use_series_above(
    context: Context, series: Sequence[Series], value: float, search: str, replace: str
) -> list[Series]:
    """For each series with a value above `value`, show the series that its name becomes by a replacement.

    Example: useSeriesAbove(servers.*.requests, 10, 'requests', 'time')
    """
    renamed = replacer(search, replace)
    found: list[Series] = []
    names: list[str] = []
    characters = 0
    for one in chosen(series, figures("max", series) > value):
        name = renamed(one.name)
        if names and characters + len(name) > _MOST_CHARACTERS:
            found += _group(context, names)
            names, characters = [], 0
        names.append(name)
        characters += len(name) + 1
    if names:
        found += _group(context, names)
    return [one for one in found if len(one)]


def _group(context: Context, names: Sequence[str]) -> list[Series]:
    context.evaluator.pieces()
    return context.evaluator.target(f"group({','.join(names)})", context)
