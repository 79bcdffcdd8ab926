"""Moments in words: recorded answers of graphite-web, the declared differences, and laws."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.series.attime import parse, parse_offset

NOW = int(datetime(2024, 3, 6, 15, 42, 30, tzinfo=timezone.utc).timestamp())
NEW_YORK = ZoneInfo("America/New_York")

#: What graphite-web answered at 2024-03-06 15:42:30 UTC, a Wednesday.
RECORDED = [
    ("now", "2024-03-06 15:42:30"),
    ("", "2024-03-06 15:42:30"),
    ("-1h", "2024-03-06 14:42:30"),
    ("-1hour", "2024-03-06 14:42:30"),
    ("-1d", "2024-03-05 15:42:30"),
    ("-1days", "2024-03-05 15:42:30"),
    ("-90s", "2024-03-06 15:41:00"),
    ("-5min", "2024-03-06 15:37:30"),
    ("-5minutes", "2024-03-06 15:37:30"),
    ("-2w", "2024-02-21 15:42:30"),
    ("-1mon", "2024-02-05 15:42:30"),
    ("-1month", "2024-02-05 15:42:30"),
    ("-1y", "2023-03-07 15:42:30"),
    ("-1y2mon3d", "2023-01-03 15:42:30"),
    ("+1h", "2024-03-06 16:42:30"),
    ("now-1h", "2024-03-06 14:42:30"),
    ("now+1d", "2024-03-07 15:42:30"),
    ("-1h30min", "2024-03-06 14:12:30"),
    ("midnight", "2024-03-06 00:00:00"),
    ("noon", "2024-03-06 12:00:00"),
    ("teatime", "2024-03-06 16:00:00"),
    ("midnight+1h", "2024-03-06 01:00:00"),
    ("midnight-1d", "2024-03-05 00:00:00"),
    ("midnight yesterday", "2024-03-05 00:00:00"),
    ("midnight_tomorrow", "2024-03-07 00:00:00"),
    ("noon yesterday", "2024-03-05 12:00:00"),
    ("today", "2024-03-06 00:00:00"),
    ("yesterday", "2024-03-05 00:00:00"),
    ("tomorrow", "2024-03-07 00:00:00"),
    ("today+2h", "2024-03-06 02:00:00"),
    ("monday", "2024-03-04 00:00:00"),
    ("wed", "2024-03-06 00:00:00"),
    ("wednesday", "2024-03-06 00:00:00"),
    ("8:30", "2024-03-06 08:30:00"),
    ("8:30am", "2024-03-06 08:30:00"),
    ("8:30pm", "2024-03-06 20:30:00"),
    ("08:30_20240301", "2024-03-01 08:30:00"),
    ("20240301", "2024-03-01 00:00:00"),
    ("20240301+1h", "2024-03-01 01:00:00"),
    ("3/1/24", "2024-03-01 00:00:00"),
    ("03/01/2024", "2024-03-01 00:00:00"),
    ("3/1/99", "1999-03-01 00:00:00"),
    ("march 1", "2024-03-01 00:00:00"),
    ("mar1", "2024-03-01 00:00:00"),
    ("mar 5+2h", "2024-03-05 02:00:00"),
    ("6pm yesterday", "2024-03-05 18:00:00"),
    ("noon 3/1/24", "2024-03-01 12:00:00"),
    ("1709700000", "2024-03-06 04:40:00"),
    ("19991231", "1999-12-31 00:00:00"),
    ("00:00", "2024-03-06 00:00:00"),
    ("-", "2024-03-06 15:42:30"),
    ("noonyesterday", "2024-03-05 12:00:00"),
    ("04:37_20150822", "2015-08-22 04:37:00"),
    ("now-", "2024-03-06 15:42:30"),
    ("mon", "2024-03-04 00:00:00"),
    ("monday-1w", "2024-02-26 00:00:00"),
    ("jan 1", "2024-01-01 00:00:00"),
    ("dec 25", "2024-12-25 00:00:00"),
    ("NOW-1H", "2024-03-06 14:42:30"),
    ("  -1H ", "2024-03-06 14:42:30"),
    ("-1 hour", "2024-03-06 14:42:30"),
    ("1,000", "1970-01-01 00:16:40"),
    ("-0s", "2024-03-06 15:42:30"),
    ("12:5", "2024-03-06 12:05:00"),
]

#: Texts that graphite-web refuses or reads wrongly, and what they mean here.
MENDED = [
    ("12am", "2024-03-06 00:00:00"),
    ("12pm", "2024-03-06 12:00:00"),
    ("12:30am", "2024-03-06 00:30:00"),
    ("12:30pm", "2024-03-06 12:30:00"),
    ("-5m", "2024-03-06 15:37:30"),
    ("now-1d-2h", "2024-03-05 13:42:30"),
    ("now-1d+2h", "2024-03-05 17:42:30"),
    ("2024-03-01", "2024-03-01 00:00:00"),
    ("2024-03-01T10:20", "2024-03-01 10:20:00"),
    ("2024-03-01 10:20:30", "2024-03-01 10:20:30"),
    ("2024-03-01T10:20:30.750Z", "2024-03-01 10:20:30"),
    ("2024-03-01T10:20:30+02:00", "2024-03-01 08:20:30"),
    ("2024-03-01T10:20:30-0130", "2024-03-01 11:50:30"),
]

REFUSED = [
    ("1h", "unknown day reference '1h'"),
    ("feb 30", "day is out of range for month"),
    ("1709700000000", "milliseconds"),
    ("18446744073709551616", "milliseconds"),
    ("20240230", "day is out of range for month"),
    ("24:00", "hour must be in 0..23"),
    ("25:00", "hour must be in 0..23"),
    ("bogus", "unknown day reference 'bogus'"),
    ("-1x", "invalid offset unit 'x'"),
    ("-1ms", "invalid offset unit 'ms'"),
    ("-5", "invalid offset unit ''"),
    ("-h", "no number at 'h'"),
    ("1:2:3", "unknown day reference ':3'"),
    ("january", "needs the day of the month"),
    ("january800", "needs the day of the month"),
    ("mar 5 2024", "needs the day of the month"),
    ("2024-13-01", "month must be in 1..12"),
    ("-9999999999999y", "too large"),
    ("-99999y", "outside the years"),
    (":", "unknown day reference ':'"),
]


def shown(epoch):
    return str(datetime.fromtimestamp(epoch, timezone.utc).replace(tzinfo=None))


@pytest.mark.parametrize(("text", "expected"), RECORDED + MENDED)
def test_a_text_means_the_recorded_moment(text, expected):
    assert shown(parse(text, NOW)) == expected


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_text_that_means_nothing_is_refused_with_its_reason(text, reason):
    with pytest.raises(QueryError) as caught:
        parse(text, NOW)
    assert "cannot read the time " + repr(text) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("midnight", "2024-03-06T00:00:00-05:00"),
        ("20240310", "2024-03-10T00:00:00-05:00"),
        ("02:30_20240310", "2024-03-10T03:30:00-04:00"),
        ("noon-1d", "2024-03-05T12:00:00-05:00"),
        ("20240311-1d", "2024-03-09T23:00:00-05:00"),
        ("01:30_20241103", "2024-11-03T01:30:00-05:00"),
        ("2024-07-01T12:00", "2024-07-01T12:00:00-04:00"),
    ],
)
def test_days_are_local_and_offsets_are_absolute_seconds(text, expected):
    moment = parse(text, NOW, NEW_YORK)
    assert datetime.fromtimestamp(moment, NEW_YORK).isoformat() == expected


def test_every_weekday_name_is_the_last_such_day_today_included():
    for back, name in enumerate(["wed", "tuesday", "mon", "sunday", "sat", "friday", "thu"]):
        assert parse(name, NOW) == parse("today", NOW) - back * 86400


def test_every_month_is_known_by_its_first_three_letters():
    names = ["January", "feb", "March", "apr", "May", "jun", "July", "august", "sept", "oct", "November", "dec"]
    for number, name in enumerate(names, 1):
        assert shown(parse(f"{name} 7", NOW)) == f"2024-{number:02}-07 00:00:00"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h", 3600),
        ("-1h", -3600),
        ("+2d", 172800),
        ("1d12h", 129600),
        ("5m", 300),
        ("", 0),
        ("-", 0),
        ("1month", 30 * 86400),
        ("10sec", 10),
        ("0s", 0),
        ("1week", 604800),
        ("1wk", 604800),
        ("2years", 730 * 86400),
        ("5minutes", 300),
    ],
)
def test_an_interval_is_a_number_of_seconds(text, seconds):
    assert parse_offset(text) == seconds


@pytest.mark.parametrize("text", ["5", "h", "1H", "1ms", "1us", "month", "Something", "1h 5"])
def test_an_interval_that_means_nothing_is_refused(text):
    with pytest.raises(QueryError, match="cannot read the interval"):
        parse_offset(text)


@given(st.integers(0, 4_000_000_000), st.sampled_from(["s", "min", "h", "d", "w", "mon", "y"]), st.integers(0, 40))
def test_an_offset_moves_now_by_as_many_seconds_as_its_interval(now, unit, number):
    for sign in "+-":
        text = f"{sign}{number}{unit}"
        assert parse(text, now) - now == parse_offset(text)
        assert parse("now" + text, now, NEW_YORK) == now + parse_offset(text)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2099, 12, 31)), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_a_written_local_time_reads_back_in_a_zone_without_changing_clocks(local, zone):
    tz = ZoneInfo(zone)
    local = local.replace(second=0, microsecond=0)
    moment = int(local.replace(tzinfo=tz).timestamp())
    assert parse(local.strftime("%H:%M_%Y%m%d"), NOW, tz) == moment
    assert parse(local.strftime("%Y-%m-%dT%H:%M:%S"), NOW, tz) == moment
    assert parse(local.strftime("%I:%M%p %m/%d/%Y"), NOW, tz) == moment
    assert parse(str(moment), NOW, tz) == moment or len(str(moment)) == 8


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_a_query_error(text):
    try:
        moment = parse(text, NOW, NEW_YORK)
    except QueryError:
        return
    assert isinstance(moment, int)
    assert datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=moment)
