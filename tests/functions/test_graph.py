"""Drawing: options, names and tags; stacks add up across targets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values
from support.targets import T, evaluate

from carbonpy.errors import QueryError

value = st.one_of(st.none(), st.integers(-4, 4).map(float))
row = st.lists(value, max_size=5)


@pytest.mark.parametrize(
    ("call", "name", "options", "tag"),
    [
        ("alpha(x,0.5)", "a", {"alpha": 0.5}, {}),
        ("color(x,'red')", "a", {"color": "red"}, {}),
        ("lineWidth(x,3)", "a", {"lineWidth": 3.0}, {}),
        ("dashed(x)", "dashed(a, 5)", {"dashed": 5}, {"dashed": "5"}),
        ("dashed(x,2.5)", "dashed(a, 2.5)", {"dashed": 2.5}, {"dashed": "2.5"}),
        ("drawAsInfinite(x)", "drawAsInfinite(a)", {"drawAsInfinite": True}, {"drawAsInfinite": "1"}),
        ("secondYAxis(x)", "secondYAxis(a)", {"secondYAxis": True}, {"secondYAxis": "1"}),
        ("color(alpha(x,1),'red')", "a", {"alpha": 1.0, "color": "red"}, {}),
    ],
)
@settings(deadline=None)
@given(row=row)
def test_drawing_is_told_by_options(call, name, options, tag, row):
    x = [series("a", row, consolidation="max", tags={"name": "n"})]
    (one,) = ask(call, x=x)
    assert (one.name, one.path_expression, one.consolidation) == (name, "x", "max")
    assert (one.options, one.tags) == (options, {"name": "n", **tag})
    assert (one.start, one.end, one.step, values(one)) == (x[0].start, x[0].end, x[0].step, row)
    assert (x[0].options, x[0].tags) == ({}, {"name": "n"})


def test_an_area_lies_between_two_series():
    low, high = series("low", [1], tags={"name": "l"}), series("high", [2], tags={"name": "h"})
    lower, upper = ask("areaBetween(x)", x=[low, high])
    assert lower.name == upper.name == "areaBetween(x)"
    assert lower.tags == upper.tags == {"name": "h", "areaBetween": "1"}
    assert (lower.options, upper.options) == ({"stacked": True, "invisible": True}, {"stacked": True})
    assert (values(lower), values(upper), lower.path_expression) == ([1], [2], "x")
    for count in (0, 1, 3):
        with pytest.raises(QueryError, match=f"got {count}; give it exactly two"):
            ask("areaBetween(x)", x=[low] * count)


@settings(deadline=None)
@given(st.lists(row, max_size=5))
def test_a_stack_adds_up_what_is_known(table):
    x = [series(str(place), one) for place, one in enumerate(table)]
    answer = ask("stacked(x,'s')", x=x)
    sums = [0.0] * 5
    for one, got in zip(table, answer):
        for slot, step in enumerate(one):
            sums[slot] += step or 0.0
        assert values(got) == [None if step is None else sums[slot] for slot, step in enumerate(one)]
        assert got.options == {"stacked": True}
    assert [values(one) for one in x] == table


def test_stacks_go_on_across_targets_each_under_its_name():
    answer = evaluate("stacked(a.h1.x)", "stacked(b.h2.x,'s')", "stacked(neg.n)", "stacked(b.h2.x,stackName='s')")
    assert [one.name for one in answer] == ["stacked(a.h1.x)", "b.h2.x", "stacked(neg.n)", "b.h2.x"]
    assert [one.tags.get("stacked") for one in answer] == ["__DEFAULT__", None, "__DEFAULT__", None]
    first, second, third, fourth = map(values, answer)
    (added,) = map(values, evaluate("neg.n"))
    assert third == [a + b for a, b in zip(first, added)]
    assert fourth == [2 * one for one in second]
    assert evaluate("stacked(a.h1.x)")[0].values.tolist() == first  # another request has stacks of its own


def test_a_stack_that_overflows_has_no_value_there():
    x = [series("a", [1e308, 1]), series("b", [1e308, 1])]
    assert values(ask("stacked(x)", x=x)[1]) == [None, 2]


def test_a_threshold_is_a_line_with_a_label_and_a_color():
    (one,) = evaluate("threshold(5,'lbl','red')")
    assert (one.name, one.tags, one.options, one.path_expression) == (
        "lbl",
        {"name": "5.0"},
        {"color": "red"},
        "constantLine(5.0)",
    )
    assert one.points() == [(5.0, T - 300), (5.0, T), (5.0, T + 300)]
    (plain,) = evaluate("threshold(5)")
    assert (plain.name, plain.options) == ("5.0", {})


def test_a_vertical_line_stands_at_a_moment_of_the_request():
    (one,) = evaluate("verticalLine('-2min','vl','blue')")
    assert (one.name, one.options, one.points()) == ("vl", {"drawAsInfinite": True, "color": "blue"}, [(1.0, T + 180)])
    (plain,) = evaluate(f"verticalLine({T})")
    assert (plain.name, plain.options, plain.start) == ("", {"drawAsInfinite": True}, T)
    for moment, where in (("-1h", "before the start"), ("+1h", "after the end")):
        with pytest.raises(QueryError, match=f"verticalLine.*{where}"):
            evaluate(f"verticalLine('{moment}')")
    with pytest.raises(QueryError, match="cannot read the time"):
        evaluate("verticalLine('bogus')")


def test_options_of_numbers_are_finite():
    for call in ("alpha(a.h1.x,'nan')", "lineWidth(a.h1.x,inf)", "dashed(a.h1.x,'inf')"):
        with pytest.raises(QueryError, match="must be a number"):
            evaluate(call)
    assert not math.isnan(evaluate("alpha(a.h1.x,1)")[0].options["alpha"])
