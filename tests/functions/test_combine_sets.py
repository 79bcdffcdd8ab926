"""Sets of series, counts of values, heat maps and series above a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_series import ask, series, values

from carbonpy.errors import QueryError

names = st.lists(st.sampled_from("abcdef"), max_size=6)


@given(first=names, second=names)
def test_joins_are_set_operations_on_names(first, second):
    x, y = [series(name, [1]) for name in first], [series(name, [2]) for name in second]

    def joined(how):
        return [one.name for one in ask(f"join(x,y,'{how}')", x=x, y=y)]

    assert joined("AND") == [name for name in first if name in second]
    assert joined("or") == first + [name for name in second if name not in first]
    assert joined("SUB") == [name for name in first if name not in second]
    assert joined("Xor") == joined("SUB") + [name for name in second if name not in first]
    assert [one.name for one in ask("join(x,y)", x=x, y=y)] == joined("AND")


def test_an_unknown_join_is_refused():
    with pytest.raises(QueryError, match="AND, OR, XOR, SUB, not 'NAND'"):
        ask("join(x,y,'nand')")


rows = st.lists(st.lists(st.sampled_from([None, 0.0, 1.0, 2.5, -3.0]), min_size=4, max_size=4), min_size=1, max_size=5)


@given(rows)
def test_every_value_is_counted_at_its_moment(many):
    results = ask("countValues(x)", x=[series(f"s{number}", row) for number, row in enumerate(many)])
    distinct = sorted({value for row in many for value in row if value is not None})
    assert [float(one.name) for one in results] == distinct
    for one, value in zip(results, distinct):
        assert values(one) == [sum(row[slot] == value for row in many) for slot in range(4)]
        assert (one.start, one.step) == (60, 60)


def test_counted_values_are_names():
    results = ask("countValues(x)", x=[series("a", [3, 2.5, -1])])
    assert [(one.name, one.path_expression) for one in results] == [("-1", "x"), ("2.5", "x"), ("3", "x")]
    assert ask("countValues(nosuch)") == []


def test_too_many_values_are_refused():
    many = [series("a", range(33))]
    with pytest.raises(QueryError, match="33 distinct values, more than the valuesLimit of 32"):
        ask("countValues(x)", x=many)
    assert len(ask("countValues(x,33)", x=many)) == 33
    with pytest.raises(QueryError, match="too many for"):
        ask("countValues(x,9999999)", x=[series("a", range(4000), step=1)])


def test_a_heat_map_is_the_differences_of_sorted_series():
    many = [series("le.2", [5, 6, None]), series("le.1", [1, 2, 3]), series("le.4", [9, None, 9])]
    results = ask("heatMap(x)", x=many)
    assert [(one.name, values(one)) for one in results] == [
        ("heatMap(le.2,le.1)", [4, 4, None]),
        ("heatMap(le.4,le.2)", [4, None, None]),
    ]
    assert results[0].tags == {"name": "le.2"}
    assert ask("heatMap(x)", x=many[:1]) == ask("heatMap(nosuch)") == []


def test_a_heat_map_of_mixed_steps_is_on_one_grid():
    (result,) = ask("heatMap(x)", x=[series("a", [1, 3], start=60, step=30), series("b", [7], start=60, step=60)])
    assert result.points() == [(5, 60)]
    assert result.end == 120


def test_series_above_a_value_are_kept_and_renamed():
    many = [series("a.reqs", [1, 11, None]), series("b.reqs", [10]), series("c.reqs", [None])]
    (result,) = ask("aboveSeries(x,10,'reqs$','time')", x=many)
    assert (result.name, result.path_expression, values(result)) == ("a.time", "x", [1, 11, None])
    assert [one.name for one in ask("aboveSeries(x,0)", x=many)] == ["a.reqs", "b.reqs"]
    with pytest.raises(QueryError, match="no regular expression"):
        ask("aboveSeries(x,0,'(','y')", x=many)
