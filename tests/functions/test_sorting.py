"""Sorting changes the order and nothing else."""

from __future__ import annotations

import math
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values

value = st.one_of(st.none(), st.integers(-3, 3).map(float))
rows = st.lists(st.lists(value, min_size=1, max_size=4), max_size=7)


def made(table):
    return [series(f"s{number}", row) for number, row in enumerate(table)]


def names(answer):
    return [one.name for one in answer]


def figure(function, row):
    known = [one for one in row if one is not None]
    return function(known) if known else -math.inf


def by(table, function, reverse):
    return [
        f"s{place}"
        for place in sorted(range(len(table)), key=lambda place: figure(function, table[place]), reverse=reverse)
    ]


@settings(deadline=None)
@given(rows, st.sampled_from([("sum", sum), ("max", max), ("min", min), ("last", lambda row: row[-1])]), st.booleans())
def test_series_are_sorted_by_an_aggregate_and_equal_ones_stay_in_order(table, function, reverse):
    name, code = function
    x = made(table)
    answer = ask(f"sortBy(x,'{name}',{str(reverse).lower()})", x=x)
    assert names(answer) == by(table, code, reverse)
    assert {one.name: values(one) for one in answer} == {one.name: values(one) for one in x}


@settings(deadline=None)
@given(rows)
def test_totals_and_maxima_are_sorted_downwards_and_minima_of_positive_series_upwards(table):
    x = made(table)
    assert names(ask("sortByTotal(x)", x=x)) == by(table, sum, True)
    assert names(ask("sortByMaxima(x)", x=x)) == by(table, max, True)
    positive = {f"s{place}" for place, row in enumerate(table) if figure(max, row) > 0}
    assert names(ask("sortByMinima(x)", x=x)) == [name for name in by(table, min, False) if name in positive]


def test_the_average_is_the_default():
    x = made([[1, 9], [2, 2], [3, 3]])
    assert names(ask("sortBy(x)", x=x)) == ["s1", "s2", "s0"]


def test_natural_order_reads_numbers():
    x = [series(name, [1]) for name in ("server11", "server2", "server1", "server02b", "server12", "a")]
    assert names(ask("sortByName(x)", x=x)) == ["a", "server02b", "server1", "server11", "server12", "server2"]
    natural = ["a", "server1", "server2", "server02b", "server11", "server12"]
    assert names(ask("sortByName(x,true)", x=x)) == natural
    assert names(ask("sortByName(x,natural=true,reverse=true)", x=x)) == natural[::-1]


@settings(deadline=None)
@given(st.lists(st.text("ab019.", max_size=14), max_size=8), st.booleans())
def test_natural_order_is_that_of_padded_numbers(texts, reverse):
    x = [series(text, [place]) for place, text in enumerate(texts)]
    expected = sorted(
        x,
        key=lambda one: re.sub(r"\d+", lambda number: f"{int(number.group()):010}", one.name),
        reverse=reverse,
    )
    answer = ask(f"sortByName(x,true,{str(reverse).lower()})", x=x)
    assert [values(one) for one in answer] == [values(one) for one in expected]
