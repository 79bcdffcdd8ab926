"""Differences and running sums are those of plain loops over the values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values

from carbonpy.errors import QueryError
from carbonpy.functions import derivatives
from carbonpy.series.attime import parse_offset

number = st.one_of(st.integers(-20, 100).map(float), st.floats(-1e9, 1e9))
rows = st.lists(st.one_of(st.none(), number, number), max_size=25)
bounds = st.one_of(st.none(), st.integers(-10, 60).map(float))


def grown(row, highest, lowest):
    deltas, before = [], None
    for value in row:
        delta = None
        if value is not None and ((highest is not None and value > highest) or (lowest is not None and value < lowest)):
            value = None
        if value is not None and before is not None:
            if value >= before:
                delta = value - before
            elif highest is not None:
                delta = highest + 1 + value - before - (lowest or 0)
            elif lowest is not None:
                delta = value - lowest
        deltas.append(delta)
        before = value
    return deltas


@given(rows)
@settings(max_examples=100, deadline=None)
def test_a_derivative_needs_two_neighbours(row):
    expected = [None if None in pair else pair[1] - pair[0] for pair in zip([None, *row], row)]
    [result] = derivatives.derivative([series("x", row)])
    assert (result.name, values(result), result.tags["derivative"]) == ("derivative(x)", expected, "1")


@given(rows, bounds, bounds)
@settings(max_examples=200, deadline=None)
def test_counters_that_wrap_grow_as_their_bounds_say(row, highest, lowest):
    [result] = derivatives.non_negative_derivative([series("x", row)], highest, lowest)
    assert values(result) == grown(row, highest, lowest)
    [rate] = derivatives.per_second([series("x", row)], highest, lowest)
    assert values(rate) == [None if delta is None else round(delta / 60, 6) for delta in grown(row, highest, lowest)]


@given(rows)
@settings(max_examples=100, deadline=None)
def test_an_integral_goes_on_over_gaps(row):
    expected, total = [], 0.0
    for value in row:
        total += value or 0.0
        expected.append(None if value is None else total)
    assert values(derivatives.integral([series("x", row)])[0]) == expected


@given(
    rows, st.sampled_from(["60s", "1min", "90s", "2min", "-3min", "1h", "1s", "999999999999y"]), st.integers(-5, 400)
)
@settings(max_examples=150, deadline=None)
def test_an_integral_begins_anew_with_every_interval_since_the_request(row, interval, start):
    seconds = abs(parse_offset(interval))
    expected, total = [], 0.0
    for place, value in enumerate(row):
        since = start + 60 * place
        if since // seconds != (since - 60) // seconds:
            total = 0.0
        total += value or 0.0
        expected.append(total)
    [result] = ask(f"integralByInterval(x,'{interval}')", x=[series("x", row, start=start)])
    assert result.name == f"integralByInterval(x,'{interval}')"
    assert values(result) == expected
    assert result.tags["integralByInterval"] == interval


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(QueryError, match="never ends"):
        ask("integralByInterval(x,'0s')", x=[series("x", [1])])


@given(rows, st.lists(st.sampled_from([None, 0.0, 0.0, 1.0]), max_size=25))
@settings(max_examples=150, deadline=None)
def test_an_integral_begins_anew_where_the_other_series_is_not_zero(row, resets):
    padded = [*resets, *[None] * len(row)]
    expected, total = [], 0.0
    for value, reset in zip(row, padded):
        if value is None:
            expected.append(None)
            continue
        total = 0.0 if reset else total + value
        expected.append(total)
    [result] = ask("integralWithReset(x,y)", x=[series("x", row)], y=[series("y", resets)])
    assert (result.name, values(result)) == ("integralWithReset(x,y)", expected)


def test_one_series_says_where_sums_begin_anew():
    with pytest.raises(QueryError, match="there are 2"):
        ask("integralWithReset(x,y)", x=[series("x", [1])], y=[series("y", [1]), series("z", [1])])


def test_what_grows_beyond_all_numbers_is_no_value():
    huge = [series("x", [1e308, 1e308, -1e308, -1e308])]
    assert values(derivatives.derivative(huge)[0]) == [None, 0, None, 0]
    assert values(derivatives.integral(huge)[0])[:2] == [1e308, None]
    assert not any(math.isinf(value or 0) for value in values(derivatives.integral(huge)[0]))
