"""Series of another time are drawn at their moment plus the shift."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values
from support.targets import Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.functions.shifting import delay


def test_without_a_sign_the_past_is_drawn_and_all_is_read_at_once():
    store = Store()
    [shifted] = evaluate("timeShift(a.h1.x,'5min')", store=store)
    assert (shifted.name, shifted.path_expression) == ('timeShift(a.h1.x, "-5min")', "a.h1.x")
    assert (shifted.start, shifted.end, values(shifted)) == (T - 240, T + 360, [float(v) for v in range(12, 22)])
    assert [{(one.start, one.end) for one in batch} for batch in store.asked] == [{(T - 300, T + 300), (T - 600, T)}]


@given(st.integers(-4000, 4000), st.integers(-900, 900), st.sampled_from(["a.h1.x", "b.h1.x", "b.h2.x"]))
@settings(max_examples=100, deadline=None)
def test_a_point_is_drawn_within_a_step_of_its_moment_plus_the_shift(seconds, start, path):
    times = {"start": T + start, "end": T + start + 600, "now": T + 10_000}
    store = Store(now=T + 10_000)
    [plain] = evaluate(path, store=store, **times)
    [shifted] = evaluate(f"timeShift({path},'{seconds:+d}s')", store=store, **times)
    [whole] = evaluate(path, store=store, start=T - 6000, end=T + 9000, now=T + 10_000)
    moments = {value: t for value, t in whole.points() if value is not None}
    assert (shifted.start, shifted.step, shifted.end) == (plain.start, plain.step, plain.end)
    for value, t in shifted.points():
        if value is not None and path != "b.h1.x":
            assert abs(t - (moments[value] - seconds)) < plain.step


class Archives(Store):
    """What is older than T - 1 h has another step."""

    def _series(self, name, wanted):
        if wanted.start >= T - 3600:
            return super()._series(name, wanted)
        return Store({name: (300, [float(v) for v in range(8)])}, now=T + 300)._series(name, wanted)


def test_an_archive_of_another_step_keeps_its_step_and_its_time():
    store = Archives()
    [shifted] = evaluate("timeShift(a.h1.x,'1h')", store=store, start=T - 300, end=T + 300)
    [plain] = evaluate("a.h1.x", store=Archives(), start=T - 3900, end=T - 3300)
    assert (plain.step, plain.start) == (300, T - 3600)
    assert (shifted.step, shifted.start, shifted.end) == (300, T, T + 600)
    assert len(shifted) == len(plain)


class Young(Store):
    """Nothing is known of what was asked for, only of the time before."""

    def __call__(self, readings):
        return {one: [] if one.end > T else series for one, series in super().__call__(readings).items()}


def test_without_series_now_the_request_says_where_the_past_is_drawn():
    [shifted] = evaluate("timeShift(a.h1.x,'10min')", store=Young())
    assert (shifted.start, shifted.end, values(shifted)) == (T - 240, T + 360, [float(v) for v in range(7, 17)])
    assert len(evaluate("timeStack(a.h1.x,'10min',0,3)", store=Young())) == 2


def test_the_end_is_its_own_or_that_of_the_request():
    assert evaluate("timeShift(a.h1.x,'+5min')")[0].end == T + 360
    ahead = evaluate("timeShift(a.h1.x,'+5min',false)")[0]
    assert (len(ahead), ahead.end) == (5, T - 240 + 300)


def test_series_of_one_list_keep_their_own_starts():
    fine, coarse = evaluate("timeShift(b.*.x,'10min')")
    assert (fine.start, coarse.start) == (T - 290, T)


@pytest.mark.parametrize(
    ("asked", "shift", "read"),
    [
        ("2024-03-20T12:00", "14d", "2024-03-06T12:00"),  # summer time began on the 10th
        ("2024-11-06T12:00", "7d", "2024-10-30T12:00"),
        ("2024-03-20T12:00", "7d", "2024-03-13T12:00"),
    ],
)
def test_hours_of_the_day_match_over_a_change_of_clocks(asked, shift, read):
    new_york = ZoneInfo("America/New_York")
    start, begun = (int(datetime.fromisoformat(text).replace(tzinfo=new_york).timestamp()) for text in (asked, read))
    store = Store()
    times = {"start": start, "end": start + 600, "now": start + 600, "tz": new_york}
    for keyword in ("alignDst", "alignDST"):
        evaluate(f"timeShift(a.h1.x,'{shift}',{keyword}=true)", store=store, **times)
        assert store.asked[-1][-1].start == begun


@pytest.mark.parametrize("target", ["timeShift(x,'9999y')", "timeShift(x,'+9999y')", "timeStack(x,'1y',0,3000)"])
def test_a_shift_out_of_the_calendar_is_refused(target):
    with pytest.raises(QueryError):
        ask(target, x=[series("x", [1])])


@pytest.mark.parametrize("count", ["1001", "9007199254740992"])
def test_too_many_shifts_are_refused(count):
    with pytest.raises(QueryError, match="too many"):
        ask(f"timeStack(x,'1s',0,{count})", x=[series("x", [1])])


def test_a_stack_names_its_shifts():
    first, second = evaluate("timeStack(a.h1.x,'-5min',1,3)")
    assert [one.name for one in (first, second)] == [f"timeShift(a.h1.x, -5min, {number})" for number in (1, 2)]
    assert first.path_expression == first.name
    assert values(second) == [float(v) for v in range(7, 17)]
    assert second.tags == {"name": "a.h1.x", "timeShiftUnit": "-5min", "timeShift": "2"}
    assert (second.start, second.end) == (T - 240, T + 360)
    assert evaluate("timeStack(a.h1.x,'5min',3,1)") == []


@given(st.lists(st.one_of(st.none(), st.integers(0, 9).map(float)), max_size=8), st.integers(-10, 10))
def test_a_delay_moves_values_along_the_same_slots(row, steps):
    padded = [None] * 10 + row + [None] * 10
    [result] = delay([series("x", row)], steps)
    assert values(result) == padded[10 - steps : 10 - steps + len(row)]
    assert (result.name, result.tags["delay"]) == (f"delay(x,{steps})", str(steps))


def test_a_delay_longer_than_any_series_leaves_no_value():
    assert values(delay([series("x", [1, 2])], 2**53)[0]) == [None, None]
    assert values(delay([series("x", [1, 2])], -(2**53))[0]) == [None, None]


def marks():
    return [
        series("releases.63_0", [1, None, None, None]),
        series("releases.64_0", [None, 1, None, None]),
        series("releases.64_10", [None, None, 1, None]),
        series("releases.65_1", [None, None, None, 1]),
        series("releases.65_2", [None, None, None, None]),
        series("releases.other", [1, 1, 1, 1]),
    ]


def test_older_versions_are_moved_to_the_release_of_the_newest():
    orders = [series(f"shop.{version}.orders", [1, 2]) for version in ("65", "64_10", "63_0", "70", "64")]
    result = ask("timeShiftByMetric(x,y,1)", x=orders, y=marks())
    assert [(one.name, one.start, one.end) for one in result] == [
        ("timeShiftByMetric(shop.65.orders)", 60, 180),
        ("timeShiftByMetric(shop.64_10.orders)", 120, 240),
        ("timeShiftByMetric(shop.63_0.orders)", 240, 360),
        ("timeShiftByMetric(shop.64.orders)", 120, 240),
    ]


def test_series_without_the_node_of_the_version_are_left_out():
    assert ask("timeShiftByMetric(x,y,5)", x=[series("shop.65.orders", [1])], y=marks()) == []


def test_marks_of_one_version_are_too_few():
    with pytest.raises(QueryError, match="1 major versions"):
        ask("timeShiftByMetric(x,y,1)", x=[series("shop.65.orders", [1])], y=marks()[1:3])
