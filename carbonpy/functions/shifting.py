"""Series of another time, drawn in the time that was asked for.

The law: a shifted series is what the first argument gives for the request's time moved by the shift; its values
stay as they are, and it begins where the series of the same name and step begins in the request's own
time.  Where there is none (no data, or another step so far back), it begins in the slot of its own grid
in which it would begin had it been asked for, so that a point is drawn where its moment plus the shift lies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions import intervals
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, Window, function
from carbonpy.series.series import Series
from carbonpy.timespan import Span, align

_SHIFTS = ("1h", "6h", "12h", "1d", "2d", "7d", "14d", "30d")
#: Every shift reads everything once more.
_MOST_SHIFTS = 1000


class _Place(NamedTuple):
    """Where a shifted series is drawn."""

    start: int
    end: int


class _Places:
    """Where shifted series begin and end.  For one call."""

    def __init__(self, series: Sequence[Series], context: Context) -> None:
        self._context = context
        self._by_name: dict[tuple[str, int], _Place] = {}
        self._by_step: dict[int, _Place] = {}
        for one in series:
            place = _Place(one.start, one.end)
            self._by_name.setdefault((one.name, one.step), place)
            self._by_step.setdefault(one.step, place)

    def of(self, shifted: Series, seconds: int) -> _Place:
        """The place of a series that was read from a time moved by `seconds`."""
        place = self._by_name.get((shifted.name, shifted.step)) or self._by_step.get(shifted.step)
        if place is not None:
            return place
        start, step = self._context.start, shifted.step
        grid = Span.graphite(start, max(start, self._context.end), step)
        slots_moved = align(start, step) - align(start + seconds, step)
        return _Place(shifted.start + slots_moved, grid.end)


def _shift_reads(start: int, end: int, arguments: Sequence[Any]) -> list[Window]:
    _, shift, _, align_dst = arguments
    if align_dst or not isinstance(shift, str):
        return []  # an hour more or less, as the time zone wants it
    return [intervals.moved(start, end, intervals.backwards(shift)[1])]


@function(
    "timeShift",
    SERIES_LIST,
    Param("timeShift", Kind.INTERVAL, required=True, suggestions=_SHIFTS),
    Param("resetEnd", Kind.BOOLEAN, default=True),
    Param("alignDst", Kind.BOOLEAN, default=False, also=("alignDST",)),
    group="Transform",
    reads=_shift_reads,
)
def time_shift(
    context: Context, series: Sequence[Series], shift: str, reset_end: bool, align_dst: bool
) -> list[Series]:
    """Draw the series of another time, an interval ago (without a sign) or ahead ("+1d").

    With resetEnd false the result ends where its own values do; with alignDst the same hours of the day are
    compared even if the clocks were changed in between.

    Example: timeShift(shop.orders, "7d")
    """
    signed, seconds = intervals.backwards(shift)
    window = intervals.moved(context.start, context.end, seconds)
    if align_dst:
        seconds += _clock_change(Window(context.start, context.end), window, context.tz)
        window = intervals.moved(context.start, context.end, seconds)
    places = _Places(series, context)
    results = []
    for one in context.again(window.start, window.end):
        place = places.of(one, seconds)
        end = place.end if reset_end else place.start + one.end - one.start
        named = one.labelled(f'timeShift({one.name}, "{signed}")')
        results.append(named.changed(start=place.start, end=end, tags={**one.tags, "timeShift": signed}))
    return results


def _clock_change(asked: Window, shifted: Window, tz: tzinfo) -> int:
    """Seconds to add to a shift when one window lies in daylight saving time and the other does not."""
    then, now = ({bool(datetime.fromtimestamp(moment, tz).dst()) for moment in window} for window in (shifted, asked))
    if now == {True} and then == {False}:
        return intervals.HOUR
    if now == {False} and then == {True}:
        return -intervals.HOUR
    return 0  # with a change inside, hours match in one part only, whatever is done


def _stack_reads(start: int, end: int, arguments: Sequence[Any]) -> list[Window]:
    _, unit, first, behind = arguments
    return [intervals.moved(start, end, seconds) for _, seconds in _stack(unit, first, behind)]


def _stack(unit: str, first: int, behind: int) -> list[tuple[int, int]]:
    """(number, seconds) of each shift of a stack.  Raises QueryError."""
    if behind - first > _MOST_SHIFTS:
        raise QueryError(f"{behind - first} shifts are too many, {_MOST_SHIFTS} is the limit; stack fewer of them")
    _, seconds = intervals.backwards(unit)
    return [(number, number * seconds) for number in range(first, behind)]


@function(
    "timeStack",
    SERIES_LIST,
    Param("timeShiftUnit", Kind.INTERVAL, default="1d", suggestions=_SHIFTS),
    Param("timeShiftStart", Kind.INTEGER, default=0),
    Param("timeShiftEnd", Kind.INTEGER, default=7),
    group="Transform",
    reads=_stack_reads,
)
def time_stack(context: Context, series: Sequence[Series], unit: str, first: int, behind: int) -> list[Series]:
    """Draw the series of several times, each one interval further away, from a number of intervals to another.

    Example: timeStack(shop.orders, "1d", 0, 7)
    """
    signed, _ = intervals.backwards(unit)
    places = _Places(series, context)
    results = []
    for number, seconds in _stack(unit, first, behind):
        window = intervals.moved(context.start, context.end, seconds)
        for one in context.again(window.start, window.end):
            place = places.of(one, seconds)
            named = one.derived(
                f"timeShift({one.name}, {signed}, {number})", timeShiftUnit=signed, timeShift=str(number)
            )
            results.append(named.changed(start=place.start, end=place.end))
    return results


@function("delay", SERIES_LIST, Param("steps", Kind.INTEGER, required=True), group="Transform")
def delay(series: Sequence[Series], steps: int) -> list[Series]:
    """Move the values a number of slots to the right, or to the left if negative; the time stays as it is.

    Example: delay(shop.orders, 3)
    """
    results = []
    for one in series:
        values = np.full(len(one), np.nan)
        moved = min(abs(steps), len(one))
        if steps < 0:
            values[: len(one) - moved] = one.values[moved:]
        else:
            values[moved:] = one.values[: len(one) - moved]
        results.append(one.derived(f"delay({one.name},{steps})", values, delay=str(steps)))
    return results


_VERSION = re.compile(r"(\d{1,18})_(\d{1,18})")


class _Mark(NamedTuple):
    """The last moment at which a version was marked.  version: (major, minor)."""

    version: tuple[int, int]
    text: str
    moment: int


@function(
    "timeShiftByMetric",
    SERIES_LIST,
    Param("markSource", Kind.SERIES_LIST, required=True),
    Param("versionRankIndex", Kind.INTEGER, required=True),
    group="Transform",
)
def time_shift_by_metric(series: Sequence[Series], marks: Sequence[Series], rank: int) -> list[Series]:
    """Move series of older versions ahead in time, so that their releases lie where that of the newest one lies.

    Marks are series whose last node has the form 65_4 (major and minor version); their last value is the release.
    Of each major version the highest minor one counts.  A node of every series (versionRankIndex, 0 is the
    first) names its version or begins like it; series of other versions are left out.

    Example: timeShiftByMetric(shop.*.orders, releases.*, 1)
    """
    latest = _latest_marks(marks)
    if len(latest) < 2:
        raise QueryError(
            f"marks of {len(latest)} major versions are too few to compare; their last nodes have to be like 65_4"
        )
    newest = latest[0].moment
    results = []
    for one in series:
        nodes = one.tags.get("name", one.name).split(".")
        if not -len(nodes) <= rank < len(nodes) or not nodes[rank]:
            continue
        found = next((mark for mark in latest if mark.text.startswith(nodes[rank])), None)
        if found is not None:
            moved = newest - found.moment
            named = one.derived(f"timeShiftByMetric({one.name})")
            results.append(named.changed(start=one.start + moved, end=one.end + moved))
    return results


def _latest_marks(marks: Sequence[Series]) -> list[_Mark]:
    """For each major version the mark of its highest minor one that has a value, newest first."""
    highest: dict[int, _Mark] = {}
    for one in marks:
        text = one.tags.get("name", one.name).rpartition(".")[2]
        match = _VERSION.search(text)
        known = np.flatnonzero(~np.isnan(one.values))
        if match is None or not len(known):
            continue
        version = (int(match.group(1)), int(match.group(2)))
        mark = _Mark(version, text, one.start + int(known[-1]) * one.step)
        if version[0] not in highest or highest[version[0]].version < version:
            highest[version[0]] = mark
    return sorted(highest.values(), reverse=True)
