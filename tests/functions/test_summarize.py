"""Buckets of time against plain loops, their places by example."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values
from support.targets import Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates, intervals
from carbonpy.functions.summarize import summarize

rows = st.lists(st.one_of(st.none(), st.integers(-9, 9).map(float), st.floats(-1e6, 1e6)), max_size=30)
steps = st.sampled_from([10, 60, 90, 300])
lengths = st.integers(1, 1200)
functions = st.sampled_from([*aggregates.AGGREGATES, "p75"])


def expected_buckets(one, how, interval, start, end):
    """(values, where the last bucket ends) by the law, bucket by bucket."""
    found = []
    while start < end:
        inside = [value for value, t in one.points() if start <= t < start + interval]
        known = sum(value is not None for value in inside)
        if known and known / (interval / one.step) >= one.xff:
            row = series("", inside).values
            found.append(aggregates.of_values(how, row))
        else:
            found.append(None)
        start += interval
    return [None if value is None or math.isnan(value) else value for value in found], start


@given(rows, steps, st.integers(0, 2000), lengths, functions, st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_bucket_is_the_aggregate_of_what_lies_in_it(row, step, start, length, how, xff, to_from):
    one = series("x", row, start, step, xff=xff)
    [result] = summarize([one], f"{length}s", how, to_from)
    begin = one.start if to_from else one.start - one.start % length
    until = one.end if to_from else one.end - one.end % length + length
    expected, end = expected_buckets(one, how, length, begin, until)
    assert values(result) == pytest.approx(expected, nan_ok=True)
    assert (result.start, result.end, result.step) == (begin, end, length)
    assert result.name == result.path_expression == f'summarize(x, "{length}s", "{how}"{", true" if to_from else ""})'
    assert result.tags == {"name": "x", "summarize": f"{length}s", "summarizeFunction": how}


def expected_hits(one, interval, start, count):
    terms = [[] for _ in range(count)]
    for value, t in one.points():
        for bucket in range(count):
            begin = start + bucket * interval
            shared = min(t + one.step, begin + interval) - max(t, begin)
            if value is not None and shared > 0:
                terms[bucket].append(value * shared)
    return [sum(some) if some else None for some in terms]


@given(rows, steps, st.integers(0, 2000), lengths)
@settings(max_examples=200, deadline=None)
def test_hits_are_values_times_the_seconds_they_lie_in_a_bucket(row, step, start, length):
    one = series("x", row, start, step)
    [result] = ask(f"hitcount(x,'{length}s')", x=[one])
    count = -(-(one.end - one.start) // length)
    begin = one.end - count * length
    assert values(result) == pytest.approx(expected_hits(one, length, begin, count))
    assert (result.start, result.end, result.step) == (begin, one.end, length)
    assert (result.name, result.tags["hitcount"]) == (f'hitcount(x, "{length}s")', f"{length}s")


@given(rows, st.integers(0, 3000), st.sampled_from([60, 90, 300, 3600]))
@settings(max_examples=50, deadline=None)
def test_aligned_hits_begin_with_the_series_and_have_a_bucket_more(row, start, length):
    one = series("x", row, start)
    [result] = ask(f"hitcount(x,'{length}s',true)", x=[one])
    count = (one.end - one.start) // length + 1
    assert values(result) == pytest.approx(expected_hits(one, length, one.start, count))
    assert (result.start, result.end) == (one.start, one.start + count * length)


@pytest.mark.parametrize("interval", ["0s", "-5min", "999999999999y"])
@pytest.mark.parametrize("call", ["summarize(x,'{}')", "smartSummarize(x,'{}')", "hitcount(x,'{}')"])
def test_an_interval_that_leads_nowhere_is_refused(call, interval):
    with pytest.raises(QueryError, match="interval"):
        ask(call.format(interval), x=[series("x", [1])])


@pytest.mark.parametrize("call", ["summarize(x,'1s')", "smartSummarize(x,'1s')", "hitcount(x,'1s')"])
def test_more_points_than_the_limit_are_refused_before_they_are_made(call):
    many = [series(f"x{number}", [1.0] * 20, step=86400 * 7) for number in range(3)]
    assert intervals.MOST_POINTS < 20 * 86400 * 7
    with pytest.raises(QueryError, match="points"):
        ask(call, x=many)


def test_a_whole_number_of_buckets_is_followed_by_an_empty_one():
    [result] = ask("summarize(x,'5min')", x=[series("x", [1.0] * 10, start=0)])
    assert values(result) == [5, 5, None]


def asked(target: str, tz: str = "UTC", **times: int):
    """(where the last reading began, the answer)."""
    store = Store(now=times.get("now", T + 300))
    answer = evaluate(target, store=store, tz=ZoneInfo(tz), **times)
    return store.asked[-1][-1].start, answer


@pytest.mark.parametrize(
    ("align_to", "begun"),
    [
        ("seconds", "2026-11-23T03:14:15"),
        ("minutes", "2026-11-23T03:14:00"),
        ("hours", "2026-11-23T03:00:00"),
        ("days", "2026-11-23T00:00:00"),
        ("weeks", "2026-11-23T00:00:00"),
        ("weeks2", "2026-11-17T00:00:00"),
        ("months", "2026-11-01T00:00:00"),
        ("years", "2026-01-01T00:00:00"),
        ("1d", "2026-11-23T00:00:00"),
        ("90s", "2026-11-23T03:14:00"),
    ],
)
@pytest.mark.parametrize("tz", ["UTC", "Asia/Kathmandu"])
def test_smart_buckets_begin_after_a_unit_of_the_calendar_in_the_zone_of_the_request(align_to, begun, tz):
    start = int(datetime(2026, 11, 23, 3, 14, 15, tzinfo=ZoneInfo(tz)).timestamp())
    target = f"smartSummarize(a.h1.x,'1d','sum','{align_to}')"
    first, [result] = asked(target, tz, start=start, end=start + 600, now=start + 600)
    assert first == int(datetime.fromisoformat(begun).replace(tzinfo=ZoneInfo(tz)).timestamp())
    assert result.start > first


@pytest.mark.parametrize("align_to", ["true", "false", "none"])
def test_what_smart_summarize_no_longer_knows_is_passed_over(align_to):
    [result] = evaluate(f"smartSummarize(a.h1.x,'5min','sum',{align_to})")
    assert (result.name, result.start) == ('smartSummarize(a.h1.x, "5min", "sum")', T - 240)


@pytest.mark.parametrize("align_to", ["fortnights", "weeks9", "weeks0", ""])
def test_a_unit_that_is_none_is_refused(align_to):
    with pytest.raises(QueryError):
        evaluate(f"smartSummarize(a.h1.x,'5min','sum','{align_to}')")


@pytest.mark.parametrize(("interval", "begun"), [("90s", T - 300), ("2h", T - 3600), ("2d", T - 3 * 3600)])
def test_aligned_hits_are_read_from_the_beginning_of_a_unit(interval, begun):
    first, _ = asked(f"hitcount(a.h1.x,'{interval}',true)", start=T - 300 + 15)
    assert datetime.fromtimestamp(T, timezone.utc).hour == 3
    assert first == begun
