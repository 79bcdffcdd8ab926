"""Moving windows and averages: what has been typical of the values up to each moment.

The law: a window ends with the value of its own slot and includes it.  Its length is a number of points
or an interval, of which as many whole steps count as fit into it; a window of no point gives nulls.
Values before the time asked for are read, and nothing is shown before a whole window has passed since
the beginning of what is stored (`stdev` alone begins with what it gets).  `exponentialMovingAverage`
shows each average one slot late and so has one value more than its input, as in graphite-web.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions import previews, windows
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, Window, function
from carbonpy.series.series import Series, Values

_WINDOW_SIZE = Param(
    "windowSize",
    Kind.INT_OR_INTERVAL,
    required=True,
    suggestions=(5, 7, 10, "1min", "5min", "10min", "30min", "1hour"),
)
_XFF = Param("xFilesFactor", Kind.FLOAT)


def _reads(start: int, end: int, arguments: Sequence[Any]) -> list[Window]:
    """Known beforehand if the window is an interval; points have to be multiplied by the steps of what is read."""
    size = arguments[1]
    return [previews.window(start, end, previews.length(size))] if isinstance(size, str) else []


@function(
    "movingWindow",
    SERIES_LIST,
    _WINDOW_SIZE,
    Param("func", Kind.AGG_FUNC, default="average"),
    _XFF,
    group="Calculate",
    reads=_reads,
)
def moving_window(
    context: Context, series: Sequence[Series], size: int | str, func: str, xff: float | None
) -> list[Series]:
    """Aggregate the values of a window that moves along each series and ends with the current value.

    The window is a number of points or an interval in quotes; null where fewer than the share xFilesFactor
    of its points is known.

    Example: movingWindow(servers.*.requests, '10min', 'max')
    """
    name = "moving" + func.capitalize()

    def aggregated(one: Series, points: int, first: int) -> Values:
        if points == 0:
            return np.full(len(one) - first, np.nan)
        values = windows.moving(one.values, points, func, context.evaluator.pieces)
        share = windows.known(one.values, points) / points
        return np.where(share >= (one.xff if xff is None else xff), values, np.nan)[first:]

    return _moved(context, series, size, name, aggregated)


@function("movingAverage", SERIES_LIST, _WINDOW_SIZE, _XFF, group="Calculate", reads=_reads)
def moving_average(context: Context, series: Sequence[Series], size: int | str, xff: float | None) -> list[Series]:
    """Average the values of a moving window: a number of points or an interval in quotes.

    Example: movingAverage(servers.web1.load, 10)
    """
    return moving_window(context, series, size, "average", xff)


@function("movingMedian", SERIES_LIST, _WINDOW_SIZE, _XFF, group="Calculate", reads=_reads)
def moving_median(context: Context, series: Sequence[Series], size: int | str, xff: float | None) -> list[Series]:
    """Show the median of a moving window: a number of points or an interval in quotes.

    Example: movingMedian(servers.web1.load, '5min')
    """
    return moving_window(context, series, size, "median", xff)


@function("movingSum", SERIES_LIST, _WINDOW_SIZE, _XFF, group="Calculate", reads=_reads)
def moving_sum(context: Context, series: Sequence[Series], size: int | str, xff: float | None) -> list[Series]:
    """Add the values of a moving window: a number of points or an interval in quotes.

    Example: movingSum(shop.orders, '1h')
    """
    return moving_window(context, series, size, "sum", xff)


@function("movingMin", SERIES_LIST, _WINDOW_SIZE, _XFF, group="Calculate", reads=_reads)
def moving_min(context: Context, series: Sequence[Series], size: int | str, xff: float | None) -> list[Series]:
    """Show the smallest value of a moving window: a number of points or an interval in quotes.

    Example: movingMin(servers.web1.free, 10)
    """
    return moving_window(context, series, size, "min", xff)


@function("movingMax", SERIES_LIST, _WINDOW_SIZE, _XFF, group="Calculate", reads=_reads)
def moving_max(context: Context, series: Sequence[Series], size: int | str, xff: float | None) -> list[Series]:
    """Show the largest value of a moving window: a number of points or an interval in quotes.

    Example: movingMax(servers.web1.latency, '5min')
    """
    return moving_window(context, series, size, "max", xff)


@function("exponentialMovingAverage", SERIES_LIST, _WINDOW_SIZE, group="Calculate", reads=_reads)
def exponential_moving_average(context: Context, series: Sequence[Series], size: int | str) -> list[Series]:
    """Average all values so far, the recent ones weighing most: 2 / (N + 1) for a window of N points or seconds.

    The first value is the average of the window before the time asked for (0 if that is empty); every other
    one stands a step later than the value that it takes in.

    Example: exponentialMovingAverage(servers.web1.load, 10)
    """
    length = previews.length(size) if isinstance(size, str) else size
    if length < 1:
        raise QueryError("windowSize must be at least 1 point or 1 second")
    weight = 2.0 / (length + 1)

    def averaged(one: Series, points: int, first: int) -> Values:
        before = [value for value in one.values[max(0, first - points) : first].tolist() if value == value]
        seed = sum(before) / len(before) if before else 0.0
        following = _exponential(one.values[first:].tolist(), weight, seed)
        return np.array([round(value, 6) for value in [seed, *following]])

    return _moved(context, series, size, "exponentialMovingAverage", averaged)


@function(
    "ewma",
    SERIES_LIST,
    Param("alpha", Kind.FLOAT, required=True, suggestions=(0.1, 0.5, 0.7)),
    group="Calculate",
    aliases=("exponentialWeightedMovingAverage",),
)
def ewma(series: Sequence[Series], alpha: float) -> list[Series]:
    """Average all values so far, each new one with the weight alpha from 0 to 1; begins with the first value.

    Example: ewma(servers.*.load, 0.1)
    """
    if not 0 <= alpha <= 1:
        raise QueryError(f"alpha must be from 0 to 1, not {alpha:g}")
    return [
        one.derived(f"ewma({one.name},{alpha:g})", np.array(_exponential(one.values.tolist(), alpha, None)))
        for one in series
    ]


@function(
    "stdev",
    SERIES_LIST,
    Param("points", Kind.INTEGER, required=True),
    Param("windowTolerance", Kind.FLOAT, default=0.1),
    group="Calculate",
)
def stdev(context: Context, series: Sequence[Series], points: int, tolerance: float) -> list[Series]:
    """Show the standard deviation (of the population) of the last so many points.

    The window grows from the first value of the series on; null where fewer than the share windowTolerance of
    its points is known.

    Example: stdev(servers.web1.latency, 30, 0.5)
    """
    if points < 1:
        raise QueryError("points must be at least 1")
    results = []
    for one in series:
        values = windows.moving(one.values, points, "stddev", context.evaluator.pieces)
        share = windows.known(one.values, points) / points
        shown = np.where(share >= tolerance, values, np.nan)
        results.append(one.derived(f"stdev({one.name},{points})", shown, stdev=str(points)))
    return results


def _moved(
    context: Context,
    series: Sequence[Series],
    size: int | str,
    name: str,
    values: Callable[[Series, int, int], Values],
) -> list[Series]:
    """Each series read again with the window before it, and what `values` makes of it.

    values: (series, points of the window, first slot that is shown) -> what is shown from there on.
    """
    if not series:
        return []
    written = f'"{size}"' if isinstance(size, str) else str(size)
    results = []
    for one in _read(context, series, size):
        context.evaluator.pieces()
        points = previews.length(size) // one.step if isinstance(size, str) else size
        first = min(max(previews.shown(one, series), points), len(one))
        shown = previews.cut(one, first, values(one, points, first))
        results.append(shown.derived(f"{name}({one.name},{written})", **{name: str(size)}))
    return results


def _read(context: Context, series: Sequence[Series], size: int | str) -> list[Series]:
    if isinstance(size, str):
        return previews.read(context, previews.length(size))
    if size < 0:
        raise QueryError("windowSize must not be negative")
    seconds = max(one.step for one in series) * size
    read = previews.read(context, seconds)
    # further back there may only be an archive of a longer step, in which the window reaches back further
    longest = max((one.step for one in read), default=0) * size
    return previews.read(context, longest) if longest > seconds else read


def _exponential(values: list[float], weight: float, average: float | None) -> list[float]:
    """The exponential averages after each value; null where that is null.  average: before the first value."""
    averages = []
    for value in values:
        if value != value:
            averages.append(value)
            continue
        average = value if average is None else weight * value + (1 - weight) * average
        averages.append(average)
    return averages
