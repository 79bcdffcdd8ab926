"""Lines without data, events, changes and what consolidates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values
from support.targets import T, evaluate

from carbonpy.errors import QueryError
from carbonpy.functions.context import Shared
from carbonpy.functions.special import series_by_tag

value = st.one_of(st.none(), st.integers(-2, 2).map(float))


@settings(deadline=None)
@given(st.lists(st.lists(value, max_size=8), max_size=3))
def test_a_change_is_a_value_unlike_the_last_known_one(table):
    x = [series(f"s{place}", row, consolidation="max") for place, row in enumerate(table)]
    answer = ask("changed(x)", x=x)
    for one, row, before in zip(answer, table, x):
        last, expected = None, []
        for now in row:
            expected.append(float(last is not None and now is not None and now != last))
            last = last if now is None else now
        assert (one.name, one.path_expression) == (f"changed({before.name})",) * 2
        assert (values(one), one.start, one.step, one.consolidation) == (expected, before.start, before.step, "max")
        assert values(before) == row


@pytest.mark.parametrize("how", ["average", "avg", "avg_zero", "first", "last", "max", "min", "sum"])
def test_consolidation_is_set_and_named(how):
    (one,) = evaluate(f"consolidateBy(a.h1.x,'{how}')")
    assert one.name == one.path_expression == f'consolidateBy(a.h1.x,"{how}")'
    assert (one.consolidation, one.tags) == (how, {"name": "a.h1.x", "consolidateBy": how})


def test_cumulative_is_consolidated_by_sum():
    (one,) = evaluate("cumulative(a.h1.x)")
    assert (one.name, one.consolidation, one.tags["consolidateBy"]) == ('consolidateBy(a.h1.x,"sum")', "sum", "sum")
    with pytest.raises(QueryError, match="consolidationFunc must be one of average, avg,"):
        evaluate("consolidateBy(a.h1.x,'bogus')")


@pytest.mark.parametrize("name", ["setXFilesFactor", "xFilesFactor"])
def test_the_share_that_must_be_known_holds_for_all_that_follows(name):
    first, before, marked, after = evaluate("a.h1.x", "sumSeries(a.*.x)", f"{name}(a.h2.x,0.9)", "sumSeries(a.*.x)")
    assert (marked.xff, marked.tags, marked.name) == (0.9, {"name": "a.h2.x", "xFilesFactor": "0.9"}, "a.h2.x")
    assert first.xff == 0.0
    assert values(before)[3] == 20.0 and values(after)[3] is None
    assert values(evaluate(f"sumSeries({name}(a.*.x,0.9))")[0])[3] is None
    assert values(evaluate(f"{name}(sumSeries(a.*.x),0.9)")[0])[3] == 20.0


def test_a_fallback_is_for_no_series_not_for_no_values():
    x, y = [series("a", [None])], [series("b", [1])]
    assert ask("fallbackSeries(x,y)", x=x, y=y)[0].name == "a"
    assert ask("fallbackSeries(nosuch,y)", x=x, y=y)[0].name == "b"
    assert ask("fallbackSeries(nosuch,none_either)") == []
    assert evaluate("fallbackSeries(nosuch,constantLine(0))")[0].points() == [(0.0, T - 300), (0.0, T), (0.0, T + 300)]


@pytest.mark.parametrize(("written", "name"), [("12.5", "12.5"), ("12", "12.0"), ("-1e300", "-1e+300"), ("0", "0.0")])
def test_a_constant_is_a_line_of_three_points(written, name):
    (one,) = evaluate(f"constantLine({written})", xff=0.25)
    assert (one.name, one.tags, one.path_expression) == (name, {"name": name}, f"constantLine({name})")
    assert (one.start, one.end, one.step, one.xff) == (T - 300, T + 300, 300, 0.25)
    assert one.points() == [(float(written), T + offset) for offset in (-300, 0, 300)]


@settings(deadline=None)
@given(st.integers(1, 10_000))
def test_a_line_never_goes_beyond_the_time_asked_for(seconds):
    (one,) = evaluate("constantLine(1)", start=T, end=T + seconds)
    moments = list(one.timestamps())
    assert moments[0] == T and T + seconds - 1 <= moments[-1] <= T + seconds
    assert len(moments) == (3 if seconds > 1 else 2)


def asked_events(*moments):
    asked = []

    def found(tags, start, end):
        asked.append((tuple(tags), start, end))
        return moments

    return Shared(events=found), asked


def test_events_are_counted_by_the_second():
    shared, asked = asked_events(T, T + 5, T, T - 300, T + 300, T - 301, T + 9999)
    (one,) = evaluate("events('a','b')", shared=shared, xff=0.5)
    assert asked == [(("a", "b"), T - 300, T + 300)]
    assert (one.name, one.tags) == ('events("a", "b")', {"name": 'events("a", "b")'})
    assert (one.start, one.end, one.step, len(one), one.consolidation, one.xff) == (
        T - 300,
        T + 300,
        1,
        600,
        "sum",
        0.5,
    )
    assert [point for point in one.points() if point[0] is not None] == [(1.0, T - 300), (2.0, T), (1.0, T + 5)]


def test_no_events_are_a_series_without_values():
    shared, asked = asked_events()
    (one,) = evaluate("events('*')", shared=shared)
    assert asked[0][0] == ("*",)
    assert one.name == 'events("*")' and len(one) == 600 and np.isnan(one.values).all()
    with pytest.raises(QueryError, match="tags is missing"):
        evaluate("events()")


def test_events_of_a_year_are_too_many_values():
    with pytest.raises(QueryError, match=r"one value every second makes 31536000 of them.*ask for less time"):
        evaluate("events('*')", start=T - 31_536_000, end=T)


@settings(deadline=None)
@given(st.text("ab(;=", max_size=4), st.integers(1, 700))
def test_a_random_walk_is_the_same_for_the_same_request(name, step):
    call = f"randomWalk('{name}',{step})"
    (one,), (same,) = evaluate(call), evaluate(call)
    assert one.name == one.path_expression == name
    assert (one.start, one.end, one.step) == (T - 300, T + 300, step)
    assert len(one) == -(-600 // step)
    assert one.values.tobytes() == same.values.tobytes()
    assert one.values[0] == 0 and (np.abs(np.diff(one.values)) <= 0.5).all()


def test_random_walks_differ_by_name_and_start():
    walks = {
        evaluate(f"randomWalk('{name}')", start=start)[0].values[:5].tobytes()
        for name in "ab"
        for start in (T - 600, T - 540)
    }
    assert len(walks) == 4
    assert evaluate("randomWalkFunction('a')")[0].step == 60


@pytest.mark.parametrize("step", [0, -1])
def test_a_random_walk_takes_steps(step):
    with pytest.raises(QueryError, match="leads nowhere"):
        evaluate(f"randomWalk('a',{step})")


def test_a_random_walk_is_of_bounded_length():
    with pytest.raises(QueryError, match="ask for less time"):
        evaluate("randomWalk('a',1)", start=T - 10**8)


def test_series_by_tag_is_a_path_and_no_callback():
    with pytest.raises(QueryError, match="read like a path"):
        series_by_tag("name=cpu")
    with pytest.raises(QueryError, match="seriesByTag"):
        evaluate("groupByNode(a.*.x,0,'seriesByTag')")
