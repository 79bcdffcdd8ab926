"""Differences and sums along a series.

The law: a result has the grid of its input.  A difference needs a value in a slot and in the one before it,
so that the first slot after a gap has none; a running sum goes on over gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions.buckets import restarting_sums
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.doubles import finite, rounded
from carbonpy.functions.gaps import slots_touching
from carbonpy.series import attime
from carbonpy.series.series import Series, Values

#: Seconds longer than everything, and still a number for numpy.
_ENDLESS = 2**62

_MAX = Param("maxValue", Kind.FLOAT)
_MIN = Param("minValue", Kind.FLOAT)


def _before(values: Values) -> Values:
    """The value of the slot before each slot."""
    shifted = np.empty_like(values)
    shifted[:1] = np.nan
    shifted[1:] = values[:-1]
    return shifted


@function("derivative", SERIES_LIST, group="Transform")
def derivative(series: Sequence[Series]) -> list[Series]:
    """Subtract from every value the one before it.

    Example: derivative(servers.*.packets_total)
    """
    with np.errstate(all="ignore"):
        return [
            one.derived(f"derivative({one.name})", finite(one.values - _before(one.values)), derivative="1")
            for one in series
        ]


def _growth(values: Values, highest: float | None, lowest: float | None) -> Values:
    """How much a counter that may wrap has grown since the slot before."""
    with np.errstate(all="ignore"):
        if highest is not None:
            values = np.where(values > highest, np.nan, values)
        if lowest is not None:
            values = np.where(values < lowest, np.nan, values)
        before = _before(values)
        if highest is not None:
            wrapped: Values | float = highest + 1 + values - before - (lowest or 0)
        else:
            wrapped = values - lowest if lowest is not None else np.nan
        return finite(np.where(values >= before, values - before, np.where(values < before, wrapped, np.nan)))


@function("nonNegativeDerivative", SERIES_LIST, _MAX, _MIN, group="Transform")
def non_negative_derivative(series: Sequence[Series], highest: float | None, lowest: float | None) -> list[Series]:
    """Subtract from every value the one before it, but give nothing where a counter has wrapped or begun anew.

    With a maximum a smaller value means that the counter went through it and began at the minimum (or 0);
    with only a minimum, that it began anew there.  Values beyond maximum or minimum count as missing.

    Example: nonNegativeDerivative(servers.*.packets_total)
    """
    return [
        one.derived(
            f"nonNegativeDerivative({one.name})", _growth(one.values, highest, lowest), nonNegativeDerivative="1"
        )
        for one in series
    ]


@function("perSecond", SERIES_LIST, _MAX, _MIN, group="Transform")
def per_second(series: Sequence[Series], highest: float | None, lowest: float | None) -> list[Series]:
    """Divide what nonNegativeDerivative gives by the seconds of a step, with six digits.

    Example: perSecond(servers.*.bytes_total)
    """
    return [
        one.derived(
            f"perSecond({one.name})", rounded(_growth(one.values, highest, lowest) / one.step, 6), perSecond="1"
        )
        for one in series
    ]


@function("integral", SERIES_LIST, group="Transform")
def integral(series: Sequence[Series]) -> list[Series]:
    """Sum up the values from the beginning of the series to each slot that has one.

    Example: integral(shop.orders)
    """
    results = []
    with np.errstate(all="ignore"):
        for one in series:
            missing = np.isnan(one.values)
            sums = np.add.accumulate(np.where(missing, 0.0, one.values)) + 0.0  # no sum is -0
            sums[missing] = np.nan
            results.append(one.derived(f"integral({one.name})", finite(sums), integral="1"))
    return results


@function("integralByInterval", SERIES_LIST, Param("intervalUnit", Kind.STRING, required=True), group="Transform")
def integral_by_interval(context: Context, series: Sequence[Series], interval: str) -> list[Series]:
    """Sum up the values as integral does, beginning anew with every interval since the beginning of the request.

    A slot without a value has the sum so far.

    Example: integralByInterval(shop.orders, "1d")
    """
    seconds = min(abs(attime.parse_offset(interval)), _ENDLESS)
    if not seconds:
        raise QueryError("an interval of 0 s never ends; write for example 1h or 1d")
    results = []
    for one in series:
        passed = (one.start - context.start + one.step * np.arange(len(one), dtype=np.int64)) // seconds
        sums = restarting_sums(np.where(np.isnan(one.values), 0.0, one.values), passed)
        name = f"integralByInterval({one.name},'{interval}')"
        results.append(one.derived(name, finite(sums), integralByInterval=interval))
    return results


@function(
    "integralWithReset",
    SERIES_LIST,
    Param("resettingSeries", Kind.SERIES_LIST, required=True),
    group="Transform",
)
def integral_with_reset(series: Sequence[Series], resetting: Sequence[Series]) -> list[Series]:
    """Sum up the values as integral does, beginning anew from 0 where another series has a value other than 0.

    Example: integralWithReset(shop.orders, shop.restarts)
    """
    if len(resetting) != 1:
        raise QueryError(
            f"one series has to say where sums begin anew, there are {len(resetting)}; write a path of one"
        )
    reset = resetting[0]
    marked = ~np.isnan(reset.values) & (reset.values != 0)
    results = []
    for one in series:
        missing = np.isnan(one.values)
        # a slot without a value leaves the sum alone, even where it would begin anew
        begins = slots_touching(one, [(reset, marked)]) & ~missing
        sums = restarting_sums(np.where(missing | begins, 0.0, one.values), np.cumsum(begins))
        sums[missing] = np.nan
        results.append(one.derived(f"integralWithReset({one.name},{reset.name})", finite(sums)))
    return results
