"""Doubles as a series holds them: rounded to decimal digits, and never infinite.

The law of `finite`: what has become infinite is no value, so that no function is asked what infinity minus
infinity may be, and every format shows the same.

The law of `rounded`: ``rounded(values, digits)`` is ``[round(value, digits) for value in values]``, half to even seen
from the exact value of the double; nulls stay, and what would be too large to be a double is null.
``numpy.round`` scales first and so takes 0.285 for a half, which it is not.

The plain way (scale, round to whole, scale back) is exact except for values whose scaled form lies so
near a half that the scaling itself may have moved it there, and for scaled forms beyond 2**51.  Those few
are given to Python.
"""

from __future__ import annotations

import math

import numpy as np

from carbonpy.series.series import Values

#: 10**22 is the largest power of ten that is a double.
_MOST_DIGITS = 22
_LARGEST_SCALED = 2.0**51


def finite(values: Values) -> Values:
    """The same values, without the infinite ones.  `values` themselves if there are none."""
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def rounded(values: Values, digits: int) -> Values:
    """A new array; `digits` after the point, or before it if negative.  Never raises."""
    if abs(digits) > _MOST_DIGITS:
        return finite(np.array([_rounded_one(value, digits) for value in values.tolist()], dtype=np.float64))
    power = 10.0 ** abs(digits)
    with np.errstate(all="ignore"):
        scaled = values * power if digits >= 0 else values / power
        whole = np.rint(scaled)
        result: Values = whole / power if digits >= 0 else whole * power
        size = np.abs(scaled)
        # a product or quotient is off by half a unit in the last place at most, which 2**-52 of it covers
        unsure = np.abs(np.abs(scaled - whole) - 0.5) <= size * 2.0**-51
        unsure |= size > _LARGEST_SCALED
    for place in np.flatnonzero(unsure).tolist():
        result[place] = _rounded_one(float(values[place]), digits)
    return finite(result)


def _rounded_one(value: float, digits: int) -> float:
    try:
        return round(value, digits)
    except OverflowError:
        return math.nan
