"""The time as values, and series cut to a part of it, seen from the request's own now."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest
from support.made_series import ask, series, values
from support.targets import T, evaluate

from carbonpy.errors import QueryError


def test_time_as_values_begins_with_the_request():
    [line] = ask("time('t',250)")
    assert (line.start, line.end, line.step, values(line)) == (0, 600, 250, [0, 250, 500])
    assert (line.name, line.path_expression, line.tags) == ("t", "t", {"name": "t"})
    assert len(ask("timeFunction('t')")[0]) == 10


def test_a_name_with_tags_gives_them():
    assert ask("time('t;dc=eu')")[0].tags == {"name": "t", "dc": "eu"}


def test_a_sine_has_an_amplitude():
    [line] = ask("sin('s',3,200)")
    assert values(line) == pytest.approx([3 * math.sin(second) for second in (0, 200, 400)])


@pytest.mark.parametrize("step", ["0", "-60"])
@pytest.mark.parametrize("call", ["time('t',{})", "sin('t',1,{})"])
def test_a_step_that_leads_nowhere_is_refused(call, step):
    with pytest.raises(QueryError, match="never gets to the end"):
        ask(call.format(step))


@pytest.mark.parametrize("call", ["time('t',1)", "sin('t',1,1)"])
def test_a_century_of_seconds_is_refused(call):
    with pytest.raises(QueryError, match="points"):
        evaluate(call, start=T - 100 * 365 * 86400)


def test_a_step_longer_than_the_request_gives_one_point():
    assert values(ask("time('t',9007199254740992)")[0]) == [0]


def test_a_slice_keeps_its_ends_and_nothing_outside():
    x = [series("x", [1, 2, None, 4, 5], start=60)]
    [result] = ask("timeSlice(x,120,240)", x=x)
    assert (result.name, result.path_expression) == ("timeSlice(x, 120, 240)", "x")
    assert values(result) == [None, 2, None, 4, None]
    assert result.tags == {"name": "x", "timeSliceStart": "120", "timeSliceEnd": "240"}
    assert values(ask("timeSlice(x,121,239)", x=x)[0]) == [None, None, None, None, None]
    assert values(ask("timeSlice(x,0)", x=x)[0]) == [1, 2, None, 4, 5]
    assert values(ask("timeSlice(x,240,120)", x=x)[0]) == [None] * 5
    assert values(ask("timeSlice(x,5000,9000)", x=x)[0]) == [None] * 5


def test_dates_are_seen_from_the_requests_now_and_zone():
    kathmandu = ZoneInfo("Asia/Kathmandu")  # 5:45 ahead of UTC
    [result] = evaluate("timeSlice(a.h1.x,'8:44 today','-4min')", tz=kathmandu)
    assert result.name == f"timeSlice(a.h1.x, {T - 60}, {T + 60})"
    assert [value is not None for value in values(result)] == [False] * 3 + [True] * 3 + [False] * 4


def test_a_date_that_is_none_is_refused():
    with pytest.raises(QueryError, match="cannot read the time"):
        ask("timeSlice(x,'whenever')", x=[series("x", [1])])
