"""Many series to one: against a model of plain Python values by moment, and the rules by example."""

from __future__ import annotations

import math
import statistics
import warnings
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values

from carbonpy.errors import QueryError
from carbonpy.functions.combine import combined
from carbonpy.series.alignment import aligned, common_grid


def multiplied(row):
    return None if None in row else math.prod(row)


def raised(row):
    result = row[0]
    for exponent in row[1:]:
        try:
            result = None if result is None or exponent is None else math.pow(result, exponent)
        except (ValueError, OverflowError):
            result = None
    return result


def of_known(function):
    def of_row(row):
        known = [value for value in row if value is not None]
        return function(known) if known else None

    return of_row


#: Function -> what it makes of the values of one moment, None for no value.
MODELS = {
    "sumSeries": of_known(sum),
    "sum": of_known(sum),
    "total": of_known(sum),
    "averageSeries": of_known(statistics.fmean),
    "avg": of_known(statistics.fmean),
    "avg_zero": lambda row: of_known(sum)(row) and of_known(sum)(row) / len(row),
    "minSeries": of_known(min),
    "maxSeries": of_known(max),
    "stddevSeries": of_known(statistics.pstdev),
    "rangeOfSeries": of_known(lambda known: max(known) - min(known)),
    "range": of_known(lambda known: max(known) - min(known)),
    "diffSeries": of_known(lambda known: known[0] - sum(known[1:])),
    "median": of_known(statistics.median),
    "first": of_known(lambda known: known[0]),
    "last": of_known(lambda known: known[-1]),
    "current": of_known(lambda known: known[-1]),
    "count": of_known(len),
    "multiply": multiplied,
    "multiplySeries": multiplied,
    "countSeries": len,
    "powSeries": raised,
}

value = st.one_of(st.none(), st.integers(-6, 6).map(float))
some_series = st.builds(
    lambda name, row, start, step: series(f"a.{name}.x", row, start * 10, step),
    st.sampled_from("bcde"),
    st.lists(value, max_size=12),
    st.integers(1, 12),
    st.sampled_from([10, 20, 60]),
)
alike_series = st.builds(
    lambda name, row: series(f"a.{name}.x", row), st.sampled_from("bcde"), st.lists(value, max_size=9)
)


@settings(deadline=timedelta(seconds=2), max_examples=40)
@pytest.mark.parametrize("name", MODELS)
@given(many=st.one_of(st.lists(some_series, min_size=2, max_size=5), st.lists(alike_series, min_size=2, max_size=5)))
def test_a_value_is_made_of_the_values_of_its_moment(name, many):
    before = [one.values.copy() for one in many]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = ask(f"{name}(x)", x=many)
    rows = zip(*(values(one) for one in aligned(many)))
    expected = [MODELS[name](list(row)) for row in rows]
    assert values(result) == [None if v is None else pytest.approx(v, rel=1e-12, abs=1e-9) for v in expected]
    assert (result.start, result.end, result.step) == common_grid(many)
    assert len(result) * result.step == result.end - result.start
    assert all((one.values.tobytes() == was.tobytes()) for one, was in zip(many, before))


@pytest.mark.parametrize("name", [*MODELS, "percentileOfSeries"])
def test_no_series_make_no_series(name):
    more = ",50" if name.startswith("percentile") else ""
    assert ask(f"{name}(nosuch{more})") == []


def test_a_sum_keeps_shared_tags_and_says_how_it_was_made():
    one = series("cpu;dc=eu;host=a", [1, 2], tags={"name": "cpu", "dc": "eu", "host": "a"})
    two = series("cpu;dc=eu;host=b", [3, None], tags={"name": "cpu", "dc": "eu", "host": "b"})
    (result,) = ask("sum(x,y)", x=[one], y=[two])
    assert (result.name, result.path_expression) == ("sumSeries(x,y)", "sumSeries(x,y)")
    assert result.tags == {"name": "cpu", "dc": "eu", "aggregatedBy": "sum"}
    assert (values(result), result.consolidation) == ([4, 2], "average")


def test_a_lost_name_is_the_result_s():
    (result,) = ask("maxSeries(x)", x=[series("a", [1]), series("b", [2])])
    assert result.tags == {"name": "maxSeries(x)", "aggregatedBy": "max"}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("avg(x)", "averageSeries(x)"),
        ("aggregate(x,'avg')", "avgSeries(x)"),
        ("aggregate(x,'rangeOfSeries')", "rangeOfSeries(x)"),
        ("aggregate(x,'p99')", "p99Series(x)"),
        ("medianSeries(x)", "medianSeries(x)"),
        ("rangeSeries(x)", "rangeSeries(x)"),
    ],
)
def test_results_are_called_after_the_function_as_it_was_spelled(target, name):
    assert [one.name for one in ask(target, x=[series("a", [1, 2])])] == [name]


def test_too_few_known_values_give_none():
    many = [series("a", [1, 1, 1]), series("b", [2, 2, None]), series("c", [3, None, None])]
    assert values(ask("aggregate(x,'sum',0.5)", x=many)[0]) == [6, 3, None]
    assert values(ask("sumSeries(x)", xff=0.7, x=many)[0]) == [6, None, None]
    assert values(ask("aggregate(x,'sum',0)", xff=0.7, x=many)[0]) == [6, 3, 1]
    assert values(ask("aggregate(x,'count',0.6)", x=many)[0]) == [3, 2, None]
    assert ask("sumSeries(x)", xff=0.7, x=many)[0].xff == 0.7


def test_one_series_alone_is_not_multiplied():
    one = series("a", [2, None], consolidation="max")
    (alone,) = ask("multiplySeries(x)", x=[one])
    assert (alone.name, values(alone), alone.consolidation) == ("a", [2, None], "max")
    (twice,) = ask("multiplySeries(x,x)", x=[one])
    assert (twice.name, values(twice)) == ("multiplySeries(x)", [4, None])
    (beside_none,) = ask("multiplySeries(x,nosuch)", x=[one])
    assert beside_none.name == "multiplySeries(x)"


def test_count_series_counts_what_has_no_values_too():
    (result,) = ask("countSeries(x)", x=[series("a", [None, None]), series("b", [1, 2])])
    assert (values(result), result.tags) == ([2, 2], {"name": "countSeries(x)"})
    (zeros,) = ask("countSeries()")
    assert (zeros.name, zeros.points()) == ("0", [(0, 0), (0, 300), (0, 600)])


def test_a_percentile_of_series_is_called_after_the_first_path():
    many = [series("a", [1, 4]), series("b", [2, None]), series("c", [3, None])]
    (result,) = ask("percentileOfSeries(group(x,y),50)", x=many[:1], y=many[1:])
    assert (result.name, values(result)) == ("percentileOfSeries(x,50)", [2, 4])
    (between,) = ask("percentileOfSeries(x,62.5,true)", x=many)
    assert (between.name, values(between)) == ("percentileOfSeries(x,62.5)", [2.5, 4])
    assert values(ask("percentileOfSeries(x,100,true)", x=many)[0]) == [3, 4]


@pytest.mark.parametrize("n", ["0", "-1"])
def test_a_percentage_is_greater_than_nothing(n):
    with pytest.raises(QueryError, match="greater than 0"):
        ask(f"percentileOfSeries(x,{n})", x=[series("a", [1])])


def test_powers_that_are_no_numbers_are_no_values():
    base, exponent = series("a", [2, -1, 0, 10, None, 1]), series("b", [3, 0.5, -1, 400, 0, None])
    (result,) = ask("powSeries(x,y)", x=[base], y=[exponent])
    assert (result.name, values(result)) == ("powSeries(a,b)", [8, None, None, None, None, None])
    assert values(ask("powSeries(x)", x=[base])[0]) == values(base)


def test_what_is_beyond_all_numbers_is_no_value():
    big = series("a", [1e308, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(ask("sumSeries(x,x)", x=[big, big])[0]) == [None, 4]
        assert values(ask("multiplySeries(x)", x=[big, big])[0]) == [None, 1]


def test_sums_of_mixed_steps_add_what_happened_together():
    tens = series("a", [1.0] * 11 + [3.0] * 6, start=10, step=10)
    minutes = series("b", [100, 200], start=60, step=60)
    (result,) = ask("sumSeries(x)", x=[tens, minutes])
    assert result.points() == [(101, 60), (203, 120)]


def test_an_unknown_aggregate_is_refused():
    with pytest.raises(QueryError, match="aggregation function"):
        ask("aggregate(nosuch,'bogus')")
    with pytest.raises(QueryError, match="unknown aggregation function"):
        combined([series("a", [1])], "bogus", 0.0)
