"""Series by pairs: the first of one list with the first of another, or all of a list with one series.

The law: both of a pair are put on one grid by time before their values meet.  Lists are paired by position
and have to be equally long.  Where one of two values is missing there is none, except where an aggregate
(sum, diff) makes do with the other.  Results are called after the names, not the paths, of their pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions.combine import XFF, combined, finite, powers
from carbonpy.functions.context import Context
from carbonpy.functions.declare import Kind, Param, function
from carbonpy.functions.names import node_or_tag
from carbonpy.series.alignment import matrix
from carbonpy.series.series import Series, Values
from carbonpy.timespan import Span

_FIRST = Param("seriesListFirstPos", Kind.SERIES_LIST, required=True)
_SECOND = Param("seriesListSecondPos", Kind.SERIES_LIST, required=True)


def pair_on_grid(first: Series, second: Series) -> tuple[Span, Values, Values]:
    """(common grid, values of the first, values of the second)."""
    if (first.start, first.step, len(first)) == (second.start, second.step, len(second)):
        return first.span, first.values, second.values
    grid, rows = matrix([first, second])
    return grid, rows[0], rows[1]


def quotient(dividend: Values, divisor: Values) -> Values:
    """Values divided; none where one is missing, the divisor is 0 or the result is beyond all numbers."""
    with np.errstate(all="ignore"):
        return finite(dividend / divisor)


def _equally_long(first: Sequence[Series], second: Sequence[Series]) -> None:
    if len(first) != len(second):
        raise QueryError(
            f"the lists must have as many series as each other, not {len(first)} and {len(second)}; "
            "narrow the longer one down"
        )


def _aggregated_pairs(first: Sequence[Series], second: Sequence[Series], func: str, xff: float) -> list[Series]:
    _equally_long(first, second)
    func = func.removesuffix("Series")
    pairs = zip(first, second)
    return [combined([one, two], func, xff).derived(f"{func}Series({one.name},{two.name})") for one, two in pairs]


@function("aggregateSeriesLists", _FIRST, _SECOND, Param("func", Kind.AGG_FUNC, required=True), XFF, group="Combine")
def aggregate_series_lists(
    context: Context, first: Sequence[Series], second: Sequence[Series], func: str, xff: float | None
) -> list[Series]:
    """Combine the first series of two lists with each other by an aggregation function, then the second and so on.

    Example: aggregateSeriesLists(mining.{carbon,graphite}.extracted, mining.{carbon,graphite}.shipped, 'sum')
    """
    return _aggregated_pairs(first, second, func, context.xff if xff is None else xff)


def _of_lists(name: str, func: str, text: str) -> Callable[..., Any]:
    """The function `name` that combines pairs by the aggregate `func`."""

    def combine(context: Context, first: Sequence[Series], second: Sequence[Series]) -> list[Series]:
        return _aggregated_pairs(first, second, func, context.xff)

    combine.__name__ = name
    combine.__doc__ = f"{text}\n\nExample: {name}(servers.*.requests, servers.*.errors)\n"
    return function(name, _FIRST, _SECOND, group="Combine", aggregator=True)(combine)


FUNCTIONS = (
    _of_lists("sumSeriesLists", "sum", "Add the series of two lists pair by pair."),
    _of_lists("diffSeriesLists", "diff", "Subtract each series of the second list from its pair in the first."),
    _of_lists("multiplySeriesLists", "multiply", "Multiply the series of two lists pair by pair."),
)


@function("powSeriesLists", _FIRST, _SECOND, group="Combine")
def pow_series_lists(context: Context, first: Sequence[Series], second: Sequence[Series]) -> list[Series]:
    """Each series of the first list to the power of its pair in the second.

    Example: powSeriesLists(boxes.*.side, boxes.*.dimensions)
    """
    _equally_long(first, second)
    return [powers([one, two], context.xff) for one, two in zip(first, second)]


def _divided(dividend: Series, divisor: Series, xff: float) -> Series:
    grid, above, below = pair_on_grid(dividend, divisor)
    name = f"divideSeries({dividend.name},{divisor.name})"
    return Series(name, grid.start, grid.end, grid.step, quotient(above, below), xff=xff)


@function(
    "divideSeries",
    Param("dividendSeriesList", Kind.SERIES_LIST, required=True),
    Param("divisorSeries", Kind.SERIES_LIST, required=True),
    group="Combine",
)
def divide_series(context: Context, dividends: Sequence[Series], divisors: Sequence[Series]) -> list[Series]:
    """Divide each series of a list by one series; no value where that is 0.  Without a divisor there are no values.

    Example: divideSeries(servers.*.errors, sumSeries(servers.*.requests))
    """
    if len(divisors) > 1:
        raise QueryError(
            f"divideSeries needs one divisor, not {len(divisors)}; combine them, or use divideSeriesLists for pairs"
        )
    if not divisors:
        return [one.derived(f"divideSeries({one.name},MISSING)", np.full(len(one), np.nan)) for one in dividends]
    return [_divided(one, divisors[0], context.xff) for one in dividends]


@function(
    "divideSeriesLists",
    Param("dividendSeriesList", Kind.SERIES_LIST, required=True),
    Param("divisorSeriesList", Kind.SERIES_LIST, required=True),
    group="Combine",
)
def divide_series_lists(context: Context, dividends: Sequence[Series], divisors: Sequence[Series]) -> list[Series]:
    """Divide each series of the first list by its pair in the second; no value where that is 0.

    Example: divideSeriesLists(servers.*.errors, servers.*.requests)
    """
    _equally_long(dividends, divisors)
    return [_divided(one, two, context.xff) for one, two in zip(dividends, divisors)]


@function(
    "weightedAverage",
    Param("seriesListAvg", Kind.SERIES_LIST, required=True),
    Param("seriesListWeight", Kind.SERIES_LIST, required=True),
    Param("nodes", Kind.NODE_OR_TAG, multiple=True),
    group="Combine",
)
def weighted_average(
    context: Context, averages: Sequence[Series], weights: Sequence[Series], *nodes: int | str
) -> list[Series]:
    """The average of series by the weights of other series: the sum of the products of those that share the nodes,
    divided by the sum of all weights.  Of several series with the same nodes the last one counts.

    Example: weightedAverage(servers.*.latency, servers.*.requests, 1)
    """
    _equally_long(averages, weights)
    weight_of = {node_or_tag(one, nodes, context): one for one in weights}
    average_of = {node_or_tag(one, nodes, context): one for one in averages}
    pairs = [(average_of[key], weight_of[key]) for key in sorted(average_of.keys() & weight_of.keys())]
    if not pairs:
        return []
    products = combined([_product(average, weight) for average, weight in pairs], "sum", context.xff)
    total = combined(weights, "sum", context.xff)
    grid, above, below = pair_on_grid(products, total)
    paths = (",".join(sorted({one.path_expression for one in many})) for many in (averages, weights))
    name = f"weightedAverage({', '.join([*paths, ','.join(map(str, nodes))])})"
    return [Series(name, grid.start, grid.end, grid.step, quotient(above, below), xff=context.xff)]


def _product(average: Series, weight: Series) -> Series:
    grid, one, two = pair_on_grid(average, weight)
    with np.errstate(all="ignore"):
        values = finite(one * two)
    return Series(f"product({weight.name},{average.name})", grid.start, grid.end, grid.step, values)
