"""Pie: what makes one number of a series for a slice of a pie.

The law: these are no functions of targets and stand in a table of their own (``/functions?type=pie``),
because two of their names mean other things in a target.  Nulls do not count; of a series without values
there is no number.
"""

from __future__ import annotations

from carbonpy.functions.declare import Kind, Param, function
from carbonpy.functions.ranking import figures
from carbonpy.series.series import Series

_SERIES = Param("series", Kind.SERIES, required=True)


@function("average", _SERIES, group="Pie")
def average(series: Series) -> float:
    """The average of the values; NaN if there is none.

    Example: pieMode=average
    """
    return float(figures("average", [series])[0])


@function("maximum", _SERIES, group="Pie")
def maximum(series: Series) -> float:
    """The highest value; NaN if there is none.

    Example: pieMode=maximum
    """
    return float(figures("max", [series])[0])


@function("minimum", _SERIES, group="Pie")
def minimum(series: Series) -> float:
    """The lowest value; NaN if there is none.

    Example: pieMode=minimum
    """
    return float(figures("min", [series])[0])


#: All of them, for a `carbonpy.functions.library.Library` of their own.
PIE = (average, maximum, minimum)
