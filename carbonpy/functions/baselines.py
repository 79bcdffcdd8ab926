"""What was usual at the same time of former days or weeks, and how well a promise was kept.

The law: copies of a series from other times are laid over the time asked for slot by slot, by time and
not by number.  Shares of good points are those of the known points; where none is known there is no share.
The functions are carbonapi's.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates, intervals
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, Window, function
from carbonpy.functions.regression import paired
from carbonpy.series.alignment import matrix
from carbonpy.series.series import Series, Values
from carbonpy.timespan import align

#: Copies of a series from other times.
_MOST_COPIES = 1000

_UNIT = Param("timeShiftUnit", Kind.INTERVAL, default="1d", suggestions=("1h", "6h", "12h", "1d", "7d", "30d"))
_FIRST = Param("timeShiftStart", Kind.INTEGER, default=0)
_LAST = Param("timeShiftEnd", Kind.INTEGER, default=7)
_MOST_ABSENT = Param("maxAbsentPercent", Kind.FLOAT)
_LEAST_AVERAGE = Param("minAvg", Kind.FLOAT)
_BASELINE = (SERIES_LIST, _UNIT, _FIRST, _LAST, _MOST_ABSENT, _LEAST_AVERAGE)

_METHODS = {
    "above": operator.gt,
    "aboveOrEqual": operator.ge,
    "below": operator.lt,
    "belowOrEqual": operator.le,
}
_SLO = (
    SERIES_LIST,
    Param("interval", Kind.INTERVAL, required=True, suggestions=("10min", "1h", "1d")),
    Param("method", Kind.STRING, required=True, options=tuple(_METHODS)),
    Param("value", Kind.FLOAT, required=True),
)


def _longer(start: int, end: int, interval: str) -> list[Window]:
    """The time of one interval up to the end, if that is longer than the time asked for."""
    seconds = intervals.positive(interval)
    return [Window(intervals.moved(end, end, -seconds).start, end)] if seconds > end - start else []


def _slo_reads(start: int, end: int, arguments: Sequence[Any]) -> list[Window]:
    return _longer(start, end, arguments[1])


def _copies(start: int, end: int, arguments: Sequence[Any]) -> list[Window]:
    """The times that the copies come from: all multiples of the unit but 0."""
    _, unit, first, last, *_ = arguments
    _, seconds = intervals.backwards(unit)
    if last - first > _MOST_COPIES:
        raise QueryError(f"it would read {last - first} times, and {_MOST_COPIES} is the limit; use a longer unit")
    return [intervals.moved(start, end, number * seconds) for number in range(first, last) if number]


@function("baseline", *_BASELINE, group="Calculate", reads=_copies)
def baseline(
    context: Context,
    series: Sequence[Series],
    unit: str,
    first: int,
    last: int,
    most_absent: float | None,
    least_average: float | None,
) -> list[Series]:
    """Show the median of what each series was one unit of time ago, two units and so on.

    The copies are those from timeShiftStart to before timeShiftEnd units ago, never the present one.  Left out are
    series of which more than maxAbsentPercent is missing then, or whose baseline is below minAvg on average.

    Example: baseline(shop.orders, '7d', 1, 5)
    """
    groups = _groups(context, unit, first, last)
    results = []
    for name, copies in groups.items():
        grid, rows = matrix(copies)
        usual = _median(rows)
        if _kept(usual, most_absent, least_average):
            shown = copies[0].changed(start=grid.start, end=grid.end, step=grid.step, values=usual)
            results.append(shown.derived(f"baseline({name})"))
    return results


@function("baselineAberration", *_BASELINE, group="Calculate", reads=_copies)
def baseline_aberration(
    context: Context,
    series: Sequence[Series],
    unit: str,
    first: int,
    last: int,
    most_absent: float | None,
    least_average: float | None,
) -> list[Series]:
    """Divide each series by its baseline: 1 is usual, 1.1 is a tenth more; 0 where the baseline is 0.

    Example: baselineAberration(shop.orders, '7d', 1, 5)
    """
    present = {one.name: one for one in series}
    results = []
    for name, copies in _groups(context, unit, first, last).items():
        if name not in present:
            continue
        grid, rows = matrix([present[name], *copies])
        now, usual = rows[0], _median(rows[1:])
        if _kept(usual, most_absent, least_average):
            with np.errstate(all="ignore"):
                compared = np.where(usual == 0, np.where(np.isnan(now), np.nan, 0.0), now / usual)
            shown = copies[0].changed(start=grid.start, end=grid.end, step=grid.step, values=compared)
            results.append(shown.derived(f"baselineAberration({name})"))
    return results


@function("slo", *_SLO, group="Calculate", reads=_slo_reads)
def slo(context: Context, series: Sequence[Series], interval: str, method: str, value: float) -> list[Series]:
    """Show for each interval the share of known points that are above (or below) a value.

    Example: slo(servers.web1.latency, '1h', 'below', 250)
    """
    shown = f"{interval}, {method}, {_number(value)}"
    return [one.derived(f"slo({one.name}, {shown})") for one, _ in _shares(context, series, interval, method, value)]


@function(
    "sloErrorBudget",
    *_SLO,
    Param("objective", Kind.FLOAT, required=True, suggestions=(0.99, 0.999, 0.9999)),
    group="Calculate",
    reads=_slo_reads,
)
def slo_error_budget(
    context: Context, series: Sequence[Series], interval: str, method: str, value: float, objective: float
) -> list[Series]:
    """Show for each interval the seconds of failure left until the share of good points falls below the objective.

    Example: sloErrorBudget(servers.web1.latency, '1d', 'below', 250, 0.999)
    """
    shown = f"{interval}, {method}, {_number(value)}, {_number(objective)}"
    return [
        one.derived(f"sloErrorBudget({one.name}, {shown})", (one.values - objective) * seconds)
        for one, seconds in _shares(context, series, interval, method, value)
    ]


def _groups(context: Context, unit: str, first: int, last: int) -> dict[str, list[Series]]:
    """Name -> the copies of the series from other times, as far as there are any, moved to the time asked for."""
    groups: dict[str, list[Series]] = {}
    for window in _copies(context.start, context.end, [None, unit, first, last]):
        for one in context.again(window.start, window.end):
            copy = _moved(one, window, context)
            if len(copy):
                groups.setdefault(one.name, []).append(copy)
    return groups


def _moved(one: Series, window: Window, context: Context) -> Series:
    """A series of another window at the slots of the time asked for; what a store gave beyond its window is cut."""
    ahead = align(context.start, one.step) - align(window.start, one.step)
    start = one.start + ahead
    first = max(0, -((start - align(context.start, one.step)) // one.step))
    values = one.values[first : max(0, (context.end - start) // one.step + 1)]
    start += first * one.step
    return one.changed(start=start, end=start + len(values) * one.step, values=values)


def _median(rows: NDArray[np.float64]) -> Values:
    return aggregates.by_name("median")(rows)


def _kept(usual: Values, most_absent: float | None, least_average: float | None) -> bool:
    known = usual[~np.isnan(usual)]
    absent = 100.0 * (len(usual) - len(known)) / max(1, len(usual))
    if most_absent is not None and absent > most_absent:
        return False
    with np.errstate(all="ignore"):
        return least_average is None or not len(known) or not known.mean() < least_average


def _shares(
    context: Context, series: Sequence[Series], interval: str, method: str, value: float
) -> list[tuple[Series, Values]]:
    """(series of the shares in each interval, seconds in each); the last interval may be shorter.

    Null everywhere if the interval is shorter than the step.
    """
    if not series:
        return []
    seconds = intervals.positive(interval)
    longer = _longer(context.start, context.end, interval)
    sources = context.again(*longer[0]) if longer else series
    intervals.limited(sum(-(-len(one) * one.step // seconds) for one in series))
    results = []
    for one, source in paired(series, sources):
        if one.step > seconds or source is None or source.step > seconds:
            values = np.full(-(-len(one) * one.step // seconds), np.nan)
            lengths = np.full(len(values), float(seconds))
        else:
            values, lengths = _share(source, seconds, method, value)
        shown = one.changed(
            end=one.start + max(1, len(values)) * seconds, step=seconds, values=values, consolidation="average"
        )
        results.append((shown, lengths))
    return results


def _share(source: Series, seconds: int, method: str, value: float) -> tuple[Values, Values]:
    buckets = np.arange(len(source)) * source.step // seconds
    count = int(buckets[-1]) + 1 if len(buckets) else 0
    known = ~np.isnan(source.values)
    good = known & _METHODS[method](source.values, value)
    counted, matched = (np.bincount(buckets[chosen], minlength=count) for chosen in (known, good))
    lengths = np.full(count, float(seconds))
    total = len(source) * source.step
    if count and total < count * seconds:
        # the last interval has not ended yet: it is as long as its points
        lengths[-1] = np.count_nonzero(buckets == count - 1) * source.step
    with np.errstate(all="ignore"):
        return np.where(counted > 0, matched / counted, np.nan), lengths


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)
