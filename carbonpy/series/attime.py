"""The words people write for moments: ``-1h``, ``now-2d``, ``noon yesterday``, ``10:30_20240131``, ``1709700000``.

The law.  A text means the same moment as graphite-web's ``attime`` gives it, in whole seconds, with
these differences, all of them texts that are wrong or refused there:

* ``12am`` is midnight and ``12pm`` is noon (there they are swapped);
* ``m`` alone means minutes (refused there; ``min`` and ``mon`` stay what they are);
* offsets can be chained with both signs, ``now-1d+2h`` (refused there);
* ISO 8601 dates and times, ``2024-03-01`` and ``2024-03-01T10:00:00Z`` (refused there);
* a minute of one digit may stand before a day, ``7:3 today`` (refused there);
* a month name takes one day of one or two digits, so ``mar 5 2024`` is refused (there it is the 24th).

Grammar, after blanks, ``_`` and ``,`` are dropped and all is lower case::

    moment    := epoch seconds | iso | [reference] offset*
    reference := "now" | [timeofday] [day]
    timeofday := H[H]:M[M][am|pm] | H[H]am | H[H]pm | noon | midnight | teatime
    day       := today | yesterday | tomorrow | MM/DD/YY[YY] | YYYYMMDD | <month name>D[D] | <weekday name>
    offset    := ("+" | "-") (<digits><unit>)*
    unit      := s... | m | min... | h... | d... | w... | mon... (30 d) | y... (365 d)

A day without time of day is its midnight, a time of day without day is today's, a weekday is the last
such day, today included.  Days are local to the time zone; offsets are absolute seconds, so a day is
86400 s even where clocks change.  A local time that occurs twice or never is the later of its readings.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo

from carbonpy.errors import QueryError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAMED_TIMES = {"noon": 12, "midnight": 0, "teatime": 16}
HINT = "write for example -1h, now-2d, noon yesterday, 10:30_20240131 or seconds since 1970"

#: The years that a calendar can show, as seconds since the epoch.
_FIRST = int(datetime(1, 1, 2, tzinfo=timezone.utc).timestamp())
_LAST = int(datetime(9999, 12, 30, tzinfo=timezone.utc).timestamp())

_DROPPED = re.compile(r"[\s_,]")
_REFERENCE = re.compile(r"[^+-]*")
_CLOCK_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2})(am|pm)?")
_CLOCK_HOUR = re.compile(r"([0-9]{1,2})(am|pm)")
_NAMED_TIME = re.compile("|".join(NAMED_TIMES))
_SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{1,4})\Z")
_DIGITS_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})\Z")
_MONTH_DAY = re.compile(rf"({'|'.join(MONTHS)})[a-z]*?([0-9]{{1,2}})\Z")
_TERM = re.compile(r"([0-9]+)([A-Za-z]*)")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:t?([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?(z|[+-][0-9]{2}:?[0-9]{2})?)?\Z"
)

#: First letters of a unit -> seconds; the first that fits counts.
_UNITS = (
    ("s", 1),
    ("min", 60),
    ("h", 3600),
    ("d", 86400),
    ("w", 7 * 86400),
    ("mon", 30 * 86400),
    ("y", 365 * 86400),
)


def parse(text: str, now: int, tz: tzinfo = timezone.utc) -> int:
    """The moment that `text` means, as seconds since the epoch, seen from `now` in the time zone `tz`.

    Raises QueryError, a sentence that quotes the text.  Pure; safe from any thread.
    """
    if text.isascii() and text.isdigit() and 8 < len(text) < 11:  # what nearly all programs write
        return int(text)
    compact = _DROPPED.sub("", text.lower())
    try:
        moment = _moment(compact, now, tz)
        if not _FIRST <= moment <= _LAST:
            raise ValueError("it lies outside the years 1 to 9999 (are these milliseconds? write seconds)")
    except (ValueError, OverflowError) as error:
        raise QueryError(f"cannot read the time {text[:80]!r}: {error}; {HINT}") from None
    return moment


def parse_offset(text: str) -> int:
    """Seconds of an interval such as ``1h``, ``-2d`` or ``1d12h``; unsigned means forward.

    Upper case is not understood here (as in graphite-web's function arguments).  Raises QueryError.
    """
    try:
        signed = text if text[:1] in ("+", "-", "") else "+" + text
        if signed != text and not text[0].isdigit():
            raise ValueError("it starts with neither a digit nor a sign")
        return _offset(signed)
    except ValueError as error:
        raise QueryError(
            f"cannot read the interval {text[:80]!r}: {error}; write for example 1h, 5min or -2d"
        ) from None


def _moment(compact: str, now: int, tz: tzinfo) -> int:
    if compact.isascii() and compact.isdigit() and not _is_date(compact):
        return int(compact[:20])
    iso = _ISO.match(compact)
    if iso is not None:
        return _iso_moment(iso, tz)
    matched = _REFERENCE.match(compact)
    reference = matched.group() if matched is not None else ""
    return _reference(reference, now, tz) + _offset(compact[len(reference) :])


def _is_date(digits: str) -> bool:
    return len(digits) == 8 and int(digits[:4]) > 1900 and int(digits[4:6]) < 13 and int(digits[6:]) < 32


def _iso_moment(match: re.Match[str], tz: tzinfo) -> int:
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    local = datetime(year, month, day, hour, minute, second)
    zone = match.group(7)
    if zone is None:
        return _localized(local, tz)
    utc = int(local.replace(tzinfo=timezone.utc).timestamp())
    if zone == "z":
        return utc
    ahead = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return utc - ahead if zone[0] == "+" else utc + ahead


def _reference(reference: str, now: int, tz: tzinfo) -> int:
    if reference in ("", "now"):
        return now
    hour, minute, rest = _time_of_day(reference)
    today = datetime.fromtimestamp(now, tz).date()
    day = _day(rest, today)
    if day is None:
        raise ValueError(f"unknown day reference {rest!r}")
    return _localized(datetime(day.year, day.month, day.day, hour, minute), tz)


def _time_of_day(reference: str) -> tuple[int, int, str]:
    """(hour, minute, what follows); midnight if the reference has no time of day."""
    named = _NAMED_TIME.match(reference)
    if named is not None:
        return NAMED_TIMES[named.group()], 0, reference[named.end() :]
    clock = _CLOCK_TIME.match(reference) or _CLOCK_HOUR.match(reference)
    if clock is None:
        return 0, 0, reference
    hour, half = int(clock.group(1)), clock.group(clock.re.groups)
    if half == "am" and hour == 12:
        hour = 0
    elif half == "pm" and hour < 12:
        hour += 12
    return hour, int(clock.group(2)) if clock.re is _CLOCK_TIME else 0, reference[clock.end() :]


def _day(rest: str, today: date) -> date | None:
    if rest in ("", "today"):
        return today
    if rest == "yesterday":
        return today - timedelta(days=1)
    if rest == "tomorrow":
        return today + timedelta(days=1)
    slashed = _SLASHED.match(rest)
    if slashed is not None:
        month, day, year = (int(part) for part in slashed.groups())
        year += 1900 if year < 1900 else 0
        return date(year + 100 if year < 1970 else year, month, day)
    digits = _DIGITS_DATE.match(rest)
    if digits is not None:
        return date(*(int(part) for part in digits.groups()))
    named = _MONTH_DAY.match(rest)
    if named is not None:
        return date(today.year, MONTHS.index(named.group(1)) + 1, int(named.group(2)))
    if rest[:3] in MONTHS:
        raise ValueError("a month name needs the day of the month after it, one or two digits")
    if rest[:3] in WEEKDAYS:
        return today - timedelta(days=(today.weekday() - WEEKDAYS.index(rest[:3])) % 7)
    return None


def _localized(local: datetime, tz: tzinfo) -> int:
    # The later reading is standard time where a time occurs twice, and lies behind the gap where it never occurs.
    return max(int(local.replace(tzinfo=tz, fold=fold).timestamp()) for fold in (0, 1))


def _offset(signed: str) -> int:
    """Seconds of ``+1h30min-2d``; each sign holds until the next."""
    seconds, sign, position = 0, 1, 0
    while position < len(signed):
        if signed[position] in "+-":
            sign = 1 if signed[position] == "+" else -1
            position += 1
            continue
        term = _TERM.match(signed, position)
        if term is None:
            raise ValueError(f"there is no number at {signed[position : position + 20]!r}")
        if len(term.group(1)) > 12:
            raise ValueError(f"the number {term.group(1)[:20]}... is too large")
        seconds += sign * int(term.group(1)) * _unit_seconds(term.group(2))
        position = term.end()
    return seconds


def _unit_seconds(unit: str) -> int:
    if unit == "m":
        return 60
    for first_letters, seconds in _UNITS:
        if unit.startswith(first_letters):
            return seconds
    raise ValueError(f"invalid offset unit {unit!r}, use s, min, h, d, w, mon or y")
