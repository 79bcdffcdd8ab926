"""Pairs of series: by position, by divisor, by weight."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_series import ask, series, values

from carbonpy.errors import QueryError
from carbonpy.series.alignment import aligned

value = st.one_of(st.none(), st.integers(-6, 6).map(float))
some_series = st.builds(
    lambda name, row, start, step: series(f"a.{name}", row, start * 10, step),
    st.sampled_from("bcde"),
    st.lists(value, min_size=1, max_size=10),
    st.integers(1, 12),
    st.sampled_from([10, 20, 60]),
)


def divided(one, two):
    return None if one is None or not two else one / two


def added(one, two):
    return two if one is None else one if two is None else one + two


def subtracted(one, two):
    return two if one is None else one if two is None else one - two


def multiplied(one, two):
    return None if one is None or two is None else one * two


def raised(one, two):
    try:
        return None if one is None or two is None else math.pow(one, two)
    except (ValueError, OverflowError):
        return None


MODELS = {
    "divideSeriesLists(x,y)": ("divideSeries", divided),
    "sumSeriesLists(x,y)": ("sumSeries", added),
    "diffSeriesLists(x,y)": ("diffSeries", subtracted),
    "multiplySeriesLists(x,y)": ("multiplySeries", multiplied),
    "powSeriesLists(x,y)": ("powSeries", raised),
    "aggregateSeriesLists(x,y,'sum')": ("sumSeries", added),
}


@pytest.mark.parametrize("target", MODELS)
@given(pairs=st.lists(st.tuples(some_series, some_series), max_size=4))
def test_pairs_meet_by_position_and_by_time(target, pairs):
    first, second = [one for one, _ in pairs], [two for _, two in pairs]
    before = [one.values.tobytes() for pair in pairs for one in pair]
    results = ask(target, x=first, y=second)
    name, model = MODELS[target]
    assert [one.name for one in results] == [f"{name}({one.name},{two.name})" for one, two in pairs]
    for result, pair in zip(results, pairs):
        one, two = aligned(pair)
        expected = [model(*row) for row in zip(values(one), values(two))]
        assert values(result) == [None if v is None else pytest.approx(v, rel=1e-12) for v in expected]
        assert (result.start, result.end, result.step) == (one.start, one.end, one.step)
        assert result.path_expression == result.name
    assert [one.values.tobytes() for pair in pairs for one in pair] == before


@pytest.mark.parametrize(
    "target",
    [
        *MODELS,
        "weightedAverage(x,y,0)",
    ],
)
def test_lists_of_different_lengths_are_refused(target):
    with pytest.raises(QueryError, match="as many series as each other, not 1 and 2"):
        ask(target, x=[series("a", [1])], y=[series("b", [1]), series("c", [1])])


def test_a_pair_needs_as_many_known_values_as_the_x_files_factor_says():
    lists = {"x": [series("a", [1, 2])], "y": [series("b", [5, None])]}
    assert values(ask("aggregateSeriesLists(x,y,'avg',1)", **lists)[0]) == [3, None]
    assert ask("aggregateSeriesLists(x,y,'avg')", **lists)[0].name == "avgSeries(a,b)"
    assert values(ask("sumSeriesLists(x,y)", xff=1.0, **lists)[0]) == [6, None]


def test_all_of_a_list_are_divided_by_one():
    dividends = [series("a", [4, 6, None, 1]), series("b", [1, 0, 1, None])]
    results = ask("divideSeries(x,y)", x=dividends, y=[series("c", [2, 0, 1, None])])
    assert [(one.name, values(one)) for one in results] == [
        ("divideSeries(a,c)", [2, None, None, None]),
        ("divideSeries(b,c)", [0.5, None, 1, None]),
    ]
    assert results[0].tags == {"name": "divideSeries(a,c)"}


def test_a_divisor_of_another_step_is_the_same_for_every_dividend():
    divisor = series("c", [2, 4, 6, 8], start=60, step=30)
    dividends = [series("a", [6, 14], start=60, step=60), series("b", [2, 4, 6, 8], start=60, step=30)]
    results = ask("divideSeries(x,y)", x=dividends, y=[divisor])
    assert [(values(one), one.step) for one in results] == [([2, 2], 60), ([1, 1, 1, 1], 30)]


def test_without_a_divisor_there_are_no_values():
    (result,) = ask("divideSeries(x,nosuch)", x=[series("a", [1, 2], tags={"name": "a", "dc": "eu"})])
    assert (result.name, values(result)) == ("divideSeries(a,MISSING)", [None, None])
    assert result.tags == {"name": "a", "dc": "eu"}
    assert ask("divideSeries(nosuch,y)", y=[series("c", [1])]) == []


def test_two_divisors_are_refused():
    with pytest.raises(QueryError, match="one divisor, not 2"):
        ask("divideSeries(x,y)", x=[series("a", [1])], y=[series("b", [1]), series("c", [1])])


def test_a_weighted_average_divides_products_by_all_weights():
    averages = [series("s.a.ms", [10, 20, None, 1]), series("s.b.ms", [40, None, None, 1])]
    weights = [series("s.a.n", [1, 2, 3, 0]), series("s.b.n", [3, 2, 3, 0])]
    (result,) = ask("weightedAverage(x,y,1)", x=averages, y=weights)
    assert result.name == "weightedAverage(x, y, 1)"
    assert values(result) == [130 / 4, 40 / 4, None, None]


def test_of_several_series_with_the_same_nodes_the_last_one_is_weighed():
    averages = [series("s.a", [10]), series("s.b", [30])]
    weights = [series("s.a", [1]), series("s.b", [2])]
    assert values(ask("weightedAverage(x,y,0)", x=averages, y=weights)[0]) == [60 / 3]


def test_without_any_pair_there_is_no_weighted_average():
    assert ask("weightedAverage(x,y,0)", x=[series("a", [1])], y=[series("b", [1])]) == []
    assert ask("weightedAverage(nosuch,neither,0)") == []
