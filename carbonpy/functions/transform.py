"""Transforming every value on its own: sums, products, powers, logarithms, rounding.

The law: a result has the grid of its input, and a slot depends on the same slot of the input only, or on that and
the series' extremes.  No value stays no value, and so becomes what has no result: the root of a negative
number, a logarithm of 0, a division by 0, a power beyond the range of a double.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.doubles import finite, rounded
from carbonpy.series.series import Series, Values


class _Unsaid(int):
    """A default that shows itself as the number it is, and by its class tells that nobody wrote it."""


def _every(series: Sequence[Series], name: str, change: Callable[[Values], Values], tag: str) -> list[Series]:
    """Each series as ``name(series)`` with the tag ``name=tag``."""
    with np.errstate(all="ignore"):
        return [one.derived(f"{name}({one.name})", finite(change(one.values)), **{name: tag}) for one in series]


def _power(values: Values, exponent: float) -> Values:
    result = np.power(values, exponent)
    result[np.isnan(values)] = np.nan  # whose power 0 is 1 for numpy
    return finite(result)


@function("absolute", SERIES_LIST, group="Transform")
def absolute(series: Sequence[Series]) -> list[Series]:
    """Take the sign from every value.

    Example: absolute(servers.*.drift)
    """
    return _every(series, "absolute", np.abs, "1")


@function("add", SERIES_LIST, Param("constant", Kind.FLOAT, required=True), group="Transform")
def add(series: Sequence[Series], constant: float) -> list[Series]:
    """Add a constant to every value.  The name of the result shows the constant without its fraction.

    Example: add(servers.*.connections, 10)
    """
    with np.errstate(all="ignore"):
        return [
            one.derived(f"add({one.name},{int(constant)})", finite(one.values + constant), add=str(constant))
            for one in series
        ]


@function("exp", SERIES_LIST, group="Transform")
def exponential(series: Sequence[Series]) -> list[Series]:
    """Raise e to the power of every value; what is too large for a number is no value.

    Example: exp(servers.*.log_load)
    """
    return _every(series, "exp", np.exp, "e")


@function("invert", SERIES_LIST, group="Transform")
def invert(series: Sequence[Series]) -> list[Series]:
    """Divide 1 by every value; there is no value for 0.

    Example: invert(servers.*.seconds_per_request)
    """
    return _every(series, "invert", lambda values: _power(values, -1.0), "1")


@function("log", SERIES_LIST, Param("base", Kind.INTEGER, default=10), group="Transform", aliases=("logarithm",))
def logarithm(series: Sequence[Series], base: int) -> list[Series]:
    """Take the logarithm of every value to a base, 10 unless it is given; 0 and less have none.

    Example: log(servers.*.requests, 2)
    """
    if base <= 0 or base == 1:
        raise QueryError(f"there is no logarithm to base {base}; write a base from 2 on")
    results = []
    with np.errstate(all="ignore"):
        for one in series:
            logs = np.log(np.where(one.values > 0, one.values, np.nan)) / math.log(base)
            results.append(one.derived(f"log({one.name}, {base})", logs, log=str(base)))
    return results


@function("logit", SERIES_LIST, group="Transform")
def logit(series: Sequence[Series]) -> list[Series]:
    """Take log(v / (1 - v)) of every value between 0 and 1; others have none.

    Example: logit(servers.*.error_ratio)
    """

    def change(values: Values) -> Values:
        return np.log(np.where((values > 0) & (values < 1), values / (1 - values), np.nan))

    return _every(series, "logit", change, "logit")


@function("sigmoid", SERIES_LIST, group="Transform")
def sigmoid(series: Sequence[Series]) -> list[Series]:
    """Take 1 / (1 + exp(-v)) of every value; there is none where exp(-v) is too large for a number.

    Example: sigmoid(servers.*.score)
    """
    return _every(series, "sigmoid", lambda values: 1 / (1 + finite(np.exp(-values))), "sigmoid")


@function("minMax", SERIES_LIST, group="Transform")
def min_max(series: Sequence[Series]) -> list[Series]:
    """Map every series to the range from 0 (its smallest value) to 1 (its largest); a constant one to 0.

    Example: minMax(servers.*.load)
    """
    results = []
    with np.errstate(all="ignore"):
        for one in series:
            lowest, highest = _extremes(one.values)
            spread = highest - lowest
            mapped = (one.values - lowest) / spread if spread != 0 else np.where(np.isnan(one.values), np.nan, 0.0)
            results.append(one.derived(f"minMax({one.name})", finite(mapped)))
    return results


def _extremes(values: Values) -> tuple[float, float]:
    """(smallest, largest) known value; NaN if none is."""
    if not len(values):
        return math.nan, math.nan
    return float(np.fmin.reduce(values)), float(np.fmax.reduce(values))


@function("offset", SERIES_LIST, Param("factor", Kind.FLOAT, required=True), group="Transform")
def offset(series: Sequence[Series], factor: float) -> list[Series]:
    """Add a constant to every value.

    Example: offset(sensors.*.kelvin, -273.15)
    """
    with np.errstate(all="ignore"):
        return [
            one.derived(f"offset({one.name},{factor:g})", finite(one.values + factor), offset=str(factor))
            for one in series
        ]


@function("offsetToZero", SERIES_LIST, group="Transform")
def offset_to_zero(series: Sequence[Series]) -> list[Series]:
    """Subtract from every value of a series its smallest one.

    Example: offsetToZero(servers.*.uptime)
    """
    results = []
    with np.errstate(all="ignore"):
        for one in series:
            lowest, _ = _extremes(one.values)
            tag = "None" if math.isnan(lowest) else str(lowest)
            results.append(one.derived(f"offsetToZero({one.name})", finite(one.values - lowest), offsetToZero=tag))
    return results


@function("pow", SERIES_LIST, Param("factor", Kind.FLOAT, required=True), group="Transform")
def power(series: Sequence[Series], factor: float) -> list[Series]:
    """Raise every value to a power; there is no value where that is no number or too large for one.

    Example: pow(servers.*.load, 2)
    """
    with np.errstate(all="ignore"):
        return [
            one.derived(f"pow({one.name},{factor:g})", _power(one.values, factor), pow=str(factor)) for one in series
        ]


@function("squareRoot", SERIES_LIST, group="Transform")
def square_root(series: Sequence[Series]) -> list[Series]:
    """Take the square root of every value; negative ones have none.

    Example: squareRoot(servers.*.variance)
    """
    return _every(series, "squareRoot", lambda values: _power(values, 0.5), "1")


@function("round", SERIES_LIST, Param("precision", Kind.INTEGER, default=_Unsaid(0)), group="Transform")
def round_values(series: Sequence[Series], precision: int) -> list[Series]:
    """Round every value to a number of digits after the point, or before it if negative; halves go to even.

    Example: round(servers.*.load, 2)
    """
    written = "" if isinstance(precision, _Unsaid) else f",{precision:g}"
    return [
        one.derived(f"round({one.name}{written})", rounded(one.values, precision), round=str(int(precision)))
        for one in series
    ]


@function("scale", SERIES_LIST, Param("factor", Kind.FLOAT, required=True), group="Transform")
def scale(series: Sequence[Series], factor: float) -> list[Series]:
    """Multiply every value by a factor.

    Example: scale(servers.*.bytes, 8)
    """
    with np.errstate(all="ignore"):
        return [
            one.derived(f"scale({one.name},{factor:g})", finite(one.values * factor), scale=str(factor))
            for one in series
        ]


@function(
    "scaleAfterTimestamp",
    SERIES_LIST,
    Param("factor", Kind.FLOAT, required=True),
    Param("timestamp", Kind.DATE, default="0"),
    group="Transform",
)
def scale_after_timestamp(context: Context, series: Sequence[Series], factor: float, timestamp: str) -> list[Series]:
    """Multiply the values from some moment on by a factor.

    Example: scaleAfterTimestamp(servers.*.bytes, 8, 1709700000)
    """
    moment = context.moment(timestamp)
    results = []
    with np.errstate(all="ignore"):
        for one in series:
            first = min(max(0, -(-(moment - one.start) // one.step)), len(one))
            values = one.values.copy()
            values[first:] *= factor
            name = f"scaleAfterTimestamp({one.name},{factor:g},{moment})"
            results.append(one.derived(name, finite(values), scale=str(factor)))
    return results


@function("scaleToSeconds", SERIES_LIST, Param("seconds", Kind.FLOAT, required=True), group="Transform")
def scale_to_seconds(series: Sequence[Series], seconds: float) -> list[Series]:
    """Turn values per step into values per so many seconds, with six digits.

    Example: scaleToSeconds(servers.*.requests, 1)
    """
    results = []
    with np.errstate(all="ignore"):
        for one in series:
            values = rounded(one.values * (seconds / one.step), 6)
            name = f"scaleToSeconds({one.name},{int(seconds)})"
            results.append(one.derived(name, values, scaleToSeconds=str(seconds)))
    return results
