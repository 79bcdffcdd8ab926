"""Intervals are positive and not endless, windows stay in the calendar, units begin where the time zone says."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.functions import intervals

NEW_YORK = ZoneInfo("America/New_York")
ZONES = ["UTC", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu", "Europe/Berlin"]
UNITS = ["seconds", "minutes", "hours", "days", "weeks", "months", "years"]


def at(text: str, tz=NEW_YORK) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=tz).timestamp())


@pytest.mark.parametrize("text", ["0s", "-5min", "5min-10min", "", "999999999999y", "1001y", "x"])
def test_what_is_no_positive_interval_is_refused(text):
    with pytest.raises(QueryError):
        intervals.positive(text)


def test_an_interval_may_be_of_several_parts():
    assert intervals.positive("1h30min") == 5400


def test_a_shift_without_a_sign_leads_into_the_past():
    assert intervals.backwards("1h") == ("-1h", -3600)
    assert intervals.backwards("+1h") == ("+1h", 3600)
    assert intervals.backwards("-1h") == ("-1h", -3600)


@pytest.mark.parametrize("seconds", [10**12, -(10**12), 10**25])
def test_a_window_outside_the_calendar_is_refused(seconds):
    with pytest.raises(QueryError, match="years 1 to 9999"):
        intervals.moved(0, 600, seconds)
    with pytest.raises(QueryError):
        intervals.beginning(seconds, "days", timezone.utc)


def test_points_have_a_limit():
    assert intervals.limited(intervals.MOST_POINTS) == intervals.MOST_POINTS
    with pytest.raises(QueryError, match="limit"):
        intervals.limited(intervals.MOST_POINTS + 1)


def test_the_beginning_of_a_word_tells_the_unit():
    words = ["s", "min", "hour", "d", "weeks3", "mon", "y"]
    assert [intervals.unit(word) for word in words] == UNITS
    with pytest.raises(QueryError, match="use one of seconds"):
        intervals.unit("fortnight")


def test_the_largest_unit_within_an_interval_is_found():
    lengths = [59, 60, 3599, 3600, 86399, 86400, 10**7]
    found = [intervals.unit_within(length) for length in lengths]
    assert found == ["seconds", "minutes", "minutes", "hours", "hours", "days", "days"]


@pytest.mark.parametrize(
    ("unit", "weekday", "begun"),
    [
        ("seconds", 1, "2024-03-13T15:42:30"),
        ("minutes", 1, "2024-03-13T15:42:00"),
        ("hours", 1, "2024-03-13T15:00:00"),
        ("days", 1, "2024-03-13T00:00:00"),
        ("weeks", 1, "2024-03-11T00:00:00"),
        ("weeks", 3, "2024-03-13T00:00:00"),
        ("weeks", 4, "2024-03-07T00:00:00"),  # before the clocks were changed
        ("months", 1, "2024-03-01T00:00:00"),
        ("years", 1, "2024-01-01T00:00:00"),
    ],
)
def test_units_begin_by_the_clock_of_the_zone(unit, weekday, begun):
    assert intervals.beginning(at("2024-03-13T15:42:30"), unit, NEW_YORK, weekday) == at(begun)


def test_the_hour_that_clocks_show_twice_begins_twice():
    first = at("2024-11-03T01:00:00")
    assert intervals.beginning(first + 1800, "hours", NEW_YORK) == first
    assert intervals.beginning(first + 5400, "hours", NEW_YORK) == first + 3600


@given(st.integers(-(10**10), 10**11), st.sampled_from(UNITS), st.sampled_from(ZONES), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_a_unit_begins_at_or_before_the_moment_and_in_the_same_unit(moment, unit, zone, weekday):
    tz = ZoneInfo(zone)
    begun = intervals.beginning(moment, unit, tz, weekday)
    longest = timedelta(
        **{{"months": "days", "years": "days"}.get(unit, unit): {"months": 31, "years": 366}.get(unit, 1)}
    )
    assert moment - longest.total_seconds() - 3 * 3600 < begun <= moment
    assert intervals.beginning(begun, unit, tz, weekday) == begun or begun == moment
