"""asPercent: series as shares of a total, which is theirs, another series', a number or one per group.

The law: a value is ``v / total * 100``, and missing where one of the two is missing or the total is 0.
Series and totals are put on one grid by time first.  A series without a total, or a total without a
series, is a result too: without values, with ``MISSING`` in its name, so that the gap is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.functions.aggregates import by_name
from carbonpy.functions.combine import combined
from carbonpy.functions.combine_pairs import pair_on_grid
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.names import node_or_tag, path_expressions
from carbonpy.series.alignment import aligned, matrix
from carbonpy.series.series import Series, Values
from carbonpy.timespan import Span


@function(
    "asPercent",
    SERIES_LIST,
    Param("total", Kind.ANY),
    Param("nodes", Kind.NODE_OR_TAG, multiple=True),
    group="Combine",
    aliases=("pct",),
    aggregator=True,
)
def as_percent(context: Context, series: Sequence[Series], total: Any, *nodes: int | str) -> list[Series]:
    """Each series as a percentage of a total: of the sum of all if there is no other argument, of a number, of one
    series, or of the series that stands at the same place of a list as long as the first, both sorted by name.  With
    nodes (None as total for their own sum) series and totals are grouped by these parts of their names.

    Example: asPercent(servers.*.connections.failed, servers.*.connections.attempted, 1)
    """
    if not series:
        return []
    if isinstance(total, list):
        if not all(isinstance(one, Series) for one in total):
            raise QueryError("asPercent needs a list of series as its total, not lists of series")
    elif total is not None:
        total = _number(total)
    if nodes:
        if isinstance(total, int | float):
            raise QueryError("total must be None or a seriesList when nodes are given; leave one of them out")
        return _by_nodes(context, aligned(series), total, nodes)
    if isinstance(total, list):
        return _of_series(context, series, total)
    grid, rows = matrix(series)
    if total is None:
        text, totals = f"sumSeries({path_expressions(series)})", by_name("sum")(rows)
    else:
        text, totals = str(total), np.array([float(total)])
    return _results(context, series, text, grid, rows, totals)


def _number(total: Any) -> int | float:
    try:
        if not isinstance(total, bool) and isinstance(total, int | float) and math.isfinite(total):
            return total
    except OverflowError:
        pass
    raise QueryError(f"parameter total must be a number, series or None, not {str(total)[:60]!r}")


def _of_series(context: Context, series: Sequence[Series], totals: Sequence[Series]) -> list[Series]:
    if len(totals) == 1:
        grid, rows = matrix([*series, totals[0]])
        return _results(context, series, totals[0].name, grid, rows[:-1], rows[-1])
    if len(totals) != len(series):
        raise QueryError(
            f"asPercent needs as its total nothing, a number, exactly one series or as many series as the first "
            f"argument has, {len(series)}, not {len(totals)}"
        )
    ordered = aligned(sorted(series, key=lambda one: one.name))
    return [_of_one(context, one, total) for one, total in zip(ordered, sorted(totals, key=lambda one: one.name))]


def _by_nodes(
    context: Context, series: Sequence[Series], totals: Sequence[Series] | None, nodes: Sequence[int | str]
) -> list[Series]:
    groups: dict[str, list[Series]] = {}
    for one in series:
        groups.setdefault(node_or_tag(one, nodes, context), []).append(one)
    total_groups: dict[str, list[Series]] = groups if totals is None else {}
    for one in totals or ():
        total_groups.setdefault(node_or_tag(one, nodes, context), []).append(one)
    total_of = {
        key: many[0] if len(many) == 1 else combined(many, "sum", context.xff) for key, many in total_groups.items()
    }
    result: list[Series] = []
    for key in [*groups, *(key for key in total_of if key not in groups)]:
        total = total_of.get(key)
        for one in groups.get(key, ()):
            if total is None:
                result.append(_result(one.name, "MISSING", one.span, np.full(len(one), np.nan), context))
            else:
                result.append(_of_one(context, one, total))
        if total is not None and key not in groups:
            result.append(_result("MISSING", total.name, total.span, np.full(len(total), np.nan), context))
    return result


def _of_one(context: Context, one: Series, total: Series) -> Series:
    grid, values, totals = pair_on_grid(one, total)
    return _results(context, [one], total.name, grid, values.reshape(1, -1).copy(), totals)[0]


def _results(
    context: Context, series: Sequence[Series], text: str, grid: Span, rows: NDArray[np.float64], totals: Values
) -> list[Series]:
    """The rows, which are overwritten, as shares of the totals."""
    with np.errstate(all="ignore"):
        np.divide(rows, totals, out=rows)
        np.multiply(rows, 100.0, out=rows)
    rows[np.isinf(rows)] = np.nan
    return [_result(one.name, text, grid, row, context) for one, row in zip(series, rows)]


def _result(name: str, total: str, grid: Span, values: Values, context: Context) -> Series:
    return Series(f"asPercent({name},{total})", grid.start, grid.end, grid.step, values, xff=context.xff)
