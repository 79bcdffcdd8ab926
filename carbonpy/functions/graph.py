"""Graph: how series are to be drawn, and lines that are drawn beside them.

The law: values do not change, except that `stacked` adds series up.  What the drawing needs to know is in
the options of a series, by graphite-web's names (``color``, ``alpha``, ``lineWidth``, ``dashed``,
``drawAsInfinite``, ``secondYAxis``, ``stacked``, ``invisible``); clients that draw themselves see it in names
and tags.  The path expression stays what was asked for, but for stacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.names import tags_of_name
from carbonpy.functions.special import constant_line
from carbonpy.series.series import Series, Values

#: The name of the stack when none is given.
_UNNAMED_STACK = "__DEFAULT__"


def with_option(one: Series, option: str, value: Any) -> Series:
    """The same series with one more option for its drawing."""
    return one.changed(options={**one.options, option: value})


@function("alpha", SERIES_LIST, Param("alpha", Kind.FLOAT, required=True), group="Graph")
def alpha(series: Sequence[Series], value: float) -> list[Series]:
    """Draw series with some transparency, from 0 (not to be seen) to 1.

    Example: alpha(servers.*.load, 0.5)
    """
    return [with_option(one, "alpha", value) for one in series]


@function("color", SERIES_LIST, Param("theColor", Kind.STRING, required=True), group="Graph")
def color(series: Sequence[Series], the_color: str) -> list[Series]:
    """Draw series in a color, a name or hexadecimal digits for red, green, blue and maybe alpha.

    Example: color(collectd.*.cpu.0.idle, '6464ffaa')
    """
    return [with_option(one, "color", the_color) for one in series]


@function("lineWidth", SERIES_LIST, Param("width", Kind.FLOAT, required=True), group="Graph")
def line_width(series: Sequence[Series], width: float) -> list[Series]:
    """Draw lines with a width in pixels.

    Example: lineWidth(servers.web1.memory.free, 5)
    """
    return [with_option(one, "lineWidth", width) for one in series]


@function("dashed", SERIES_LIST, Param("dashLength", Kind.FLOAT, default=5), group="Graph")
def dashed(series: Sequence[Series], length: float) -> list[Series]:
    """Draw dotted lines, with dashes of a length in pixels.

    Example: dashed(servers.web1.memory.free, 2.5)
    """
    return [_marked(one, f"dashed({one.name}, {length:g})", "dashed", length, f"{length:g}") for one in series]


@function("drawAsInfinite", SERIES_LIST, group="Graph")
def draw_as_infinite(series: Sequence[Series]) -> list[Series]:
    """Draw a vertical line wherever a value is above 0; fit for events.

    Example: drawAsInfinite(deploys.code)
    """
    return [_marked(one, f"drawAsInfinite({one.name})", "drawAsInfinite", True, "1") for one in series]


@function("secondYAxis", SERIES_LIST, group="Graph")
def second_y_axis(series: Sequence[Series]) -> list[Series]:
    """Draw series against a second axis at the right.

    Example: secondYAxis(servers.*.requests)
    """
    return [_marked(one, f"secondYAxis({one.name})", "secondYAxis", True, "1") for one in series]


def _marked(one: Series, name: str, option: str, value: Any, tag: str) -> Series:
    """The same series with another name, an option and a tag of the option's name."""
    return with_option(one, option, value).changed(name=name, tags={**one.tags, option: tag})


@function("areaBetween", SERIES_LIST, group="Graph")
def area_between(series: Sequence[Series]) -> list[Series]:
    """Draw the area between two series; the argument has to give exactly two, in either order.

    Example: areaBetween(service.latency.{min,max})
    """
    if len(series) != 2:
        raise QueryError(f"it draws the area between two series and got {len(series)}; give it exactly two")
    lower, upper = series
    name = f"areaBetween({upper.path_expression})"
    tags = {**upper.tags, "areaBetween": "1"}
    return [
        with_option(with_option(lower, "stacked", True), "invisible", True).changed(name=name, tags=tags),
        with_option(upper, "stacked", True).changed(name=name, tags=tags),
    ]


@function("stacked", SERIES_LIST, Param("stack", Kind.STRING, also=("stackName",)), group="Graph")
def stacked(context: Context, series: Sequence[Series], stack: str | None) -> list[Series]:
    """Add each series to those before it in the stack of that name, across the targets of a request.

    Series are paired by the numbers of their slots.  Slots without a value add nothing and stay without.

    Example: stacked(servers.*.network.out, 'out')
    """
    name = _UNNAMED_STACK if stack is None else stack
    before = context.shared.stacks.get(name, np.zeros(0))
    total = np.zeros(max([len(before), *map(len, series)]))
    total[: len(before)] = before
    result = []
    for one in series:
        known = ~np.isnan(one.values)
        part = total[: len(one)]
        with np.errstate(all="ignore"):
            part[known] += one.values[known]
        result.append(_in_stack(one, name, np.where(known & np.isfinite(part), part, np.nan)))
    context.shared.stacks[name] = total
    return result


def _in_stack(one: Series, stack: str, values: Values) -> Series:
    if stack == _UNNAMED_STACK:
        return with_option(one.derived(f"stacked({one.name})", values, stacked=stack), "stacked", True)
    return with_option(one.derived(one.name, values), "stacked", True)


@function(
    "threshold",
    Param("value", Kind.FLOAT, required=True),
    Param("label", Kind.STRING),
    Param("color", Kind.STRING),
    group="Graph",
)
def threshold(context: Context, value: float, label: str | None, the_color: str | None) -> list[Series]:
    """Draw a horizontal line at a value, with a label and a color if given.

    Example: threshold(123.456, 'too much', 'red')
    """
    return [_colored(one.labelled(label or one.name), the_color) for one in constant_line(context, value)]


@function(
    "verticalLine",
    Param("ts", Kind.DATE, required=True),
    Param("label", Kind.STRING),
    Param("color", Kind.STRING),
    group="Graph",
)
def vertical_line(context: Context, ts: str, label: str | None, the_color: str | None) -> list[Series]:
    """Draw a vertical line at a moment inside the time of the graph, with a label and a color if given.

    The moment is written like `from` and `until` and seen from the request's now, in its time zone.

    Example: verticalLine('16:00_20110501', 'release', 'blue')
    """
    moment = context.moment(ts)
    if not context.start <= moment <= context.end:
        where = "before the start" if moment < context.start else "after the end"
        raise QueryError(f"the moment {ts[:80]!r} ({moment}) lies {where} of the graph; choose one inside it")
    name = label or ""
    line = Series(name, moment, moment + 1, 1, np.ones(1), xff=context.xff, tags=tags_of_name(name))
    return [_colored(with_option(line, "drawAsInfinite", True), the_color)]


def _colored(one: Series, the_color: str | None) -> Series:
    return with_option(one, "color", the_color) if the_color else one
