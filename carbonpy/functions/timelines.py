"""The time itself as values, and series cut to a part of it.

The law: moments are seconds since the epoch and belong to slots; what a client writes as a date is seen from
the request's own now and in its time zone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions import intervals
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.names import tags_of_name
from carbonpy.series.series import Series, Values

_NAME = Param("name", Kind.STRING, required=True)
_STEP = Param("step", Kind.INTEGER, default=60)


def _line(context: Context, name: str, step: int) -> Series:
    """A series from the beginning of the request on whose values are its moments.  Raises QueryError."""
    if step <= 0:
        raise QueryError(f"a step of {step} s never gets to the end; write a number of seconds from 1 on")
    count = intervals.limited(max(0, -(-(context.end - context.start) // step)))
    moments: Values = (context.start + step * np.arange(count, dtype=np.int64)).astype(np.float64)
    return Series(name, context.start, context.end, step, moments, xff=context.xff, tags=tags_of_name(name))


@function("timeFunction", _NAME, _STEP, group="Transform", aliases=("time",))
def time_function(context: Context, name: str, step: int) -> list[Series]:
    """Make a series whose values are the seconds since 1970 of their own moments.

    Example: timeFunction("The.time.series", 60)
    """
    return [_line(context, name, step)]


@function("sinFunction", _NAME, Param("amplitude", Kind.INTEGER, default=1), _STEP, group="Transform", aliases=("sin",))
def sine_function(context: Context, name: str, amplitude: int, step: int) -> list[Series]:
    """Make a series whose values are the sine of the seconds since 1970, times an amplitude.

    Example: sinFunction("The.time.series", 2)
    """
    line = _line(context, name, step)
    return [line.with_values(np.sin(line.values) * amplitude)]


@function(
    "timeSlice",
    SERIES_LIST,
    Param("startSliceAt", Kind.DATE, required=True),
    Param("endSliceAt", Kind.DATE, default="now"),
    group="Transform",
)
def time_slice(context: Context, series: Sequence[Series], start_at: str, end_at: str) -> list[Series]:
    """Keep the values of a part of the time only, the moments of its beginning and its end included.

    Example: timeSlice(shop.orders, "00:00 today", "12:00 today")
    """
    start, end = context.moment(start_at), context.moment(end_at)
    results = []
    for one in series:
        first = min(max(0, -(-(start - one.start) // one.step)), len(one))
        behind = min(max(first, (end - one.start) // one.step + 1), len(one))
        values = np.full(len(one), np.nan)
        values[first:behind] = one.values[first:behind]
        tags = {**one.tags, "timeSliceStart": str(start), "timeSliceEnd": str(end)}
        results.append(one.labelled(f"timeSlice({one.name}, {start}, {end})").changed(values=values, tags=tags))
    return results
