"""Coarser steps: one value for each bucket of time.

The law: the step of a result is the interval, whatever the step of the input; what a bucket's value is made
of is the law of `carbonpy.functions.buckets`.  They differ in where buckets begin:

* summarize: at multiples of the interval since 1970 (UTC), with one bucket more at the end than the points need
  when the series ends on a boundary; with alignToFrom at the first slot;
* smartSummarize: at the first slot after the beginning of a calendar unit in the request's time zone;
* hitcount: so that the last one ends with the series; with alignToInterval as smartSummarize.
"""

from __future__ import annotations

from collections.abc import Sequence

from carbonpy.errors import QueryError
from carbonpy.functions import buckets, intervals
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.series import attime
from carbonpy.series.series import Series
from carbonpy.timespan import align

_INTERVAL = Param("intervalString", Kind.INTERVAL, required=True, suggestions=("10min", "1h", "1d"))
_FUNC = Param("func", Kind.AGG_FUNC, default="sum")
_UNITS = (None, "years", "months", "weeks", "days", "hours", "minutes", "seconds", True, False)


@function(
    "summarize", SERIES_LIST, _INTERVAL, _FUNC, Param("alignToFrom", Kind.BOOLEAN, default=False), group="Transform"
)
def summarize(series: Sequence[Series], interval: str, func: str, align_to_from: bool) -> list[Series]:
    """Aggregate the values of each interval, which begins at multiples of its length or at the first slot.

    Example: summarize(shop.orders, "1h", "sum")
    """
    step = intervals.positive(interval)
    suffix = ", true" if align_to_from else ""
    tags = {"summarize": interval, "summarizeFunction": func}
    results = []
    points = 0
    for one in series:
        start = one.start if align_to_from else align(one.start, step)
        end = one.end if align_to_from else align(one.end, step) + step
        points = intervals.limited(points + buckets.count(start, end, step))
        values = buckets.summarized(one, func, step, start, end)
        name = f'summarize({one.name}, "{interval}", "{func}"{suffix})'
        results.append(
            one.derived(name, values, **tags).changed(start=start, end=start + step * len(values), step=step)
        )
    return results


@function(
    "smartSummarize",
    SERIES_LIST,
    _INTERVAL,
    _FUNC,
    Param("alignTo", Kind.STRING, options=_UNITS, open=True),
    group="Transform",
)
def smart_summarize(
    context: Context, series: Sequence[Series], interval: str, func: str, align_to: str | bool | None
) -> list[Series]:
    """Aggregate the values of each interval, beginning where a year, month, week, day, hour or minute begins.

    Weeks begin on Monday, "weeks7" on Sunday; an interval such as "1d" stands for the unit that it is longer than.

    Example: smartSummarize(shop.orders, "1d", "sum", "weeks")
    """
    step = intervals.positive(interval)
    if isinstance(align_to, str):
        series = context.again(_aligned_start(context, align_to), context.end)
    tags = {"smartSummarize": interval, "smartSummarizeFunction": func}
    results = []
    points = 0
    for one in series:
        points = intervals.limited(points + buckets.count(one.start, one.end, step))
        values = buckets.summarized(one, func, step, one.start, one.end)
        name = f'smartSummarize({one.name}, "{interval}", "{func}")'
        results.append(one.derived(name, values, **tags).changed(end=one.start + step * len(values), step=step))
    return results


def _aligned_start(context: Context, align_to: str) -> int:
    if align_to[:1].isdigit():
        unit = intervals.unit_within(attime.parse_offset(align_to))
    else:
        unit = intervals.unit(align_to)
    weekday = 1
    if unit == "weeks" and not align_to[-1].isalpha():
        if align_to[-1] not in "1234567":
            raise QueryError(f"{align_to[:60]!r} is no first day of a week; write weeks1 (Monday) to weeks7 (Sunday)")
        weekday = int(align_to[-1])
    return intervals.beginning(context.start, unit, context.tz, weekday)


@function("hitcount", SERIES_LIST, _INTERVAL, Param("alignToInterval", Kind.BOOLEAN, default=False), group="Transform")
def hitcount(context: Context, series: Sequence[Series], interval: str, align_to_interval: bool) -> list[Series]:
    """Multiply values by the seconds they hold and sum that up for each interval: rates become numbers of hits.

    Example: hitcount(shop.requests_per_second, "1h")
    """
    step = intervals.positive(interval)
    if align_to_interval:
        unit = intervals.unit_within(step)
        series = [
            one.changed(end=one.start + align(max(one.end - one.start, 0), step) + step)
            for one in context.again(intervals.beginning(context.start, unit, context.tz), context.end)
        ]
    suffix = ", true" if align_to_interval else ""
    results = []
    points = 0
    for one in series:
        number = buckets.count(one.start, one.end, step)
        points = intervals.limited(points + number)
        start = one.end - number * step
        values = buckets.spread(one, step, start, number)
        derived = one.derived(f'hitcount({one.name}, "{interval}"{suffix})', values, hitcount=interval)
        results.append(derived.changed(start=start, step=step))
    return results
