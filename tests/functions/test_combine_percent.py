"""asPercent: every kind of total."""

from __future__ import annotations

import warnings

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


def share(one, total):
    return None if one is None or not total else one / total * 100


def shares(results):
    return {one.name: values(one) for one in results}


@given(many=st.lists(some_series, min_size=1, max_size=5))
def test_without_a_total_the_sum_of_all_is_a_hundred(many):
    before = [one.values.tobytes() for one in many]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = ask("asPercent(x)", x=many)
    rows = [values(one) for one in aligned(many)]
    totals = [sum(v for v in column if v is not None) for column in zip(*rows)]
    for result, one, row in zip(results, many, rows):
        assert result.name == f"asPercent({one.name},sumSeries(x))"
        expected = [share(v, total) for v, total in zip(row, totals)]
        assert values(result) == [None if v is None else pytest.approx(v, rel=1e-12) for v in expected]
    assert len(results) == len(many)
    assert [one.values.tobytes() for one in many] == before


@given(many=st.lists(some_series, min_size=1, max_size=4), total=some_series)
def test_one_total_is_that_of_every_series(many, total):
    results = ask("asPercent(x,y)", x=many, y=[total])
    *rows, totals = [values(one) for one in aligned([*many, total])]
    assert [values(one) for one in results] == [[share(v, t) for v, t in zip(row, totals)] for row in rows]
    assert [one.name for one in results] == [f"asPercent({one.name},{total.name})" for one in many]


@pytest.mark.parametrize(("total", "text"), [("50", "50"), ("50.0", "50.0"), ("total=50", "50")])
def test_a_number_is_a_total(total, text):
    assert shares(ask(f"asPercent(x,{total})", x=[series("a", [25, None])])) == {f"asPercent(a,{text})": [50, None]}


def test_nothing_is_a_share_of_zero():
    assert shares(ask("asPercent(x,0)", x=[series("a", [25, 0])])) == {"asPercent(a,0)": [None, None]}


def test_as_many_totals_as_series_are_paired_by_name():
    many = [series("b", [1]), series("a", [2])]
    totals = [series("z", [4]), series("y", [8])]
    assert list(shares(ask("pct(x,y)", x=many, y=totals)).items()) == [
        ("asPercent(a,y)", [25]),
        ("asPercent(b,z)", [25]),
    ]


@pytest.mark.parametrize("totals", [[], [series("c", [1])] * 2])
def test_another_number_of_totals_is_refused(totals):
    with pytest.raises(QueryError, match=f"3, not {len(totals)}"):
        ask("asPercent(x,y)", x=[series("a", [1])] * 3, y=totals)


@pytest.mark.parametrize("total", ["'x'", "true", "inf", "mapSeries(x,0)"])
def test_other_totals_are_refused(total):
    with pytest.raises(QueryError, match="total"):
        ask(f"asPercent(x,{total})", x=[series("a", [1])])


def test_groups_are_shares_of_their_own_sum():
    many = [series("d.a.used", [1]), series("d.a.free", [3]), series("d.b.used", [5])]
    assert shares(ask("asPercent(x,None,1)", x=many)) == {
        "asPercent(d.a.used,sumSeries(x))": [25],
        "asPercent(d.a.free,sumSeries(x))": [75],
        "asPercent(d.b.used,d.b.used)": [100],
    }


def test_groups_meet_the_totals_with_the_same_nodes():
    many = [series("d.a.used", [1]), series("d.b.used", [5]), series("d.a.free", [2])]
    totals = [series("d.c.all", [9]), series("d.a.all", [10], start=60, step=60), series("d.a.more", [10])]
    assert list(shares(ask("asPercent(x,y,1)", x=many, y=totals)).items()) == [
        ("asPercent(d.a.used,sumSeries(y))", [5]),
        ("asPercent(d.a.free,sumSeries(y))", [10]),
        ("asPercent(d.b.used,MISSING)", [None]),
        ("asPercent(MISSING,d.c.all)", [None]),
    ]


def test_a_total_without_series_keeps_its_own_grid():
    missing = ask("asPercent(x,y,1)", x=[series("d.a", [1])], y=[series("d.b", [1, 2, 3], start=30, step=30)])[-1]
    assert (missing.name, missing.points()) == ("asPercent(MISSING,d.b)", [(None, 30), (None, 60), (None, 90)])


def test_nodes_and_a_number_are_too_much():
    with pytest.raises(QueryError, match="total must be None or a seriesList"):
        ask("asPercent(x,100,0)", x=[series("a", [1])])


@pytest.mark.parametrize("more", ["", ",100", ",x", ",y", ",y,0", ",None,0"])
def test_no_series_have_no_shares(more):
    assert ask(f"asPercent(nosuch{more})", x=[series("a", [1])]) == []
