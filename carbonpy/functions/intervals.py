"""Intervals and windows that clients write, as numbers that no function can come to grief with.

The law: an interval is a positive number of seconds below a thousand years; a window lies within the
years that a calendar can show; what a function makes out of nothing has a limited number of points.
Everything else is a QueryError here, before anything is allocated.  Calendar units begin where the
request's time zone has them begin.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

from carbonpy.errors import QueryError
from carbonpy.functions.declare import Window
from carbonpy.series import attime

MINUTE, HOUR, DAY = 60, 3600, 86400

#: Points that one call may make which are not in its input.
MOST_POINTS = 5_000_000

_LONGEST = 1000 * 365 * DAY
_EARLIEST = int(datetime(1, 1, 3, tzinfo=timezone.utc).timestamp())
_LATEST = int(datetime(9999, 12, 29, tzinfo=timezone.utc).timestamp())

#: What the beginning of a text says about the unit it means; the first that fits counts.
_UNITS = (
    ("s", "seconds"),
    ("min", "minutes"),
    ("h", "hours"),
    ("d", "days"),
    ("w", "weeks"),
    ("mon", "months"),
    ("y", "years"),
)


def positive(text: str) -> int:
    """Seconds of an interval that has to be longer than nothing.  Raises QueryError."""
    seconds = attime.parse_offset(text)
    if seconds <= 0:
        raise QueryError(f"the interval {text[:80]!r} must be longer than 0 seconds; write for example 5min or 1h")
    if seconds > _LONGEST:
        raise QueryError(f"the interval {text[:80]!r} is longer than a thousand years; write a shorter one")
    return seconds


def backwards(text: str) -> tuple[str, int]:
    """(text, seconds) of a shift in time, which without a sign means the past.  Raises QueryError."""
    signed = f"-{text}" if text[:1].isdigit() else text
    return signed, attime.parse_offset(signed)


def moved(start: int, end: int, seconds: int) -> Window:
    """A window moved in time.  Raises QueryError when that leads out of the calendar."""
    if not _EARLIEST <= start + seconds <= _LATEST or not _EARLIEST <= end + seconds <= _LATEST:
        raise QueryError(f"a shift by {seconds} s leads out of the years 1 to 9999; shift by less")
    return Window(start + seconds, end + seconds)


def limited(points: int) -> int:
    """`points` itself, if a call may make so many.  Raises QueryError."""
    if points > MOST_POINTS:
        raise QueryError(
            f"it would make {points} points, and {MOST_POINTS} is the limit; ask for a longer interval or for less time"
        )
    return points


def unit(text: str) -> str:
    """The calendar unit (seconds, minutes, hours, days, weeks, months or years) that `text` begins with."""
    for beginning, name in _UNITS:
        if text.startswith(beginning):
            return name
    names = ", ".join(name for _, name in _UNITS)
    raise QueryError(f"{text[:60]!r} is no unit of the calendar; use one of {names}")


def unit_within(seconds: int) -> str:
    """The largest of days, hours, minutes and seconds that fits into an interval."""
    if seconds >= DAY:
        return "days"
    if seconds >= HOUR:
        return "hours"
    return "minutes" if seconds >= MINUTE else "seconds"


def beginning(moment: int, unit: str, tz: tzinfo, weekday: int = 1) -> int:
    """When the unit of the calendar that `moment` lies in began, in the time zone `tz`.

    weekday: the first day of a week, 1 (Monday) to 7.  Raises QueryError for a moment beyond the calendar.
    """
    moved(moment, moment, 0)
    local = datetime.fromtimestamp(moment, tz)
    if unit in ("seconds", "minutes", "hours"):
        # the fold stays: the hour that clocks show twice begins twice
        begun = local.replace(
            microsecond=0,
            second=local.second if unit == "seconds" else 0,
            minute=0 if unit == "hours" else local.minute,
        )
        return min(moment, int(begun.timestamp()))
    day = local.date()
    if unit == "weeks":
        day -= timedelta(days=(day.isoweekday() - weekday) % 7)
    elif unit == "months":
        day = day.replace(day=1)
    elif unit == "years":
        day = day.replace(month=1, day=1)
    return min(moment, int(datetime(day.year, day.month, day.day, tzinfo=tz).timestamp()))
