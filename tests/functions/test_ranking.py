"""One number per series: the same as graphite-web's, and the orders that follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import series

from carbonpy.errors import QueryError
from carbonpy.functions.ranking import blocks, figures, ordered

number = st.one_of(st.none(), st.floats(-1e6, 1e6))


@settings(deadline=None)
@given(st.lists(st.lists(number, max_size=6), max_size=6))
def test_sums_run_from_the_first_value_to_the_last(table):
    expected = []
    for row in table:
        known = [one for one in row if one is not None]
        total = 0.0
        for one in known:
            total += one
        expected.append(total if known else math.nan)
    got = figures("sum", [series("a", row) for row in table])
    assert np.array_equal(got, np.array(expected), equal_nan=True)


def test_the_last_digit_does_not_depend_on_the_other_series():
    row = [0.1 * place for place in range(1000)]
    total = 0.0
    for one in row:
        total += one
    for count in (1, 2, 5):
        assert figures("sum", [series("a", row)] * count).tolist() == [total] * count


def test_what_is_not_there_counts_nothing():
    x = [series("none", [None, None]), series("empty", []), series("one", [None, 6.0])]
    assert figures("count", x).tolist() == [0, 0, 1]
    assert figures("countSeries", x).tolist() == [0, 0, 1]
    assert np.array_equal(figures("avg_zero", x), [0, math.nan, 3], equal_nan=True)
    assert np.array_equal(figures("p50", x), [math.nan, math.nan, 6], equal_nan=True)
    assert figures("max", []).tolist() == []
    with pytest.raises(QueryError, match="unknown aggregation function 'bogus'"):
        figures("bogus", x)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=9))
def test_every_series_with_values_is_in_one_block_of_its_length(lengths):
    x = [series(str(place), [float(place)] * length) for place, length in enumerate(lengths)]
    seen = []
    for places, columns in blocks(x):
        assert columns.shape[1] >= 2 and columns.shape[0] == lengths[places[0]]
        assert columns[0, : len(places)].tolist() == [float(place) for place in places]
        seen += places
    assert sorted(seen) == [place for place, length in enumerate(lengths) if length]


@settings(deadline=None)
@given(st.lists(st.one_of(st.just(math.nan), st.integers(-2, 2).map(float)), max_size=8), st.booleans())
def test_orders_are_stable_and_nothing_is_lowest(keys, descending):
    x = [series(str(place), [1]) for place in range(len(keys))]
    expected = sorted(x, key=lambda one: -math.inf if math.isnan(k := keys[int(one.name)]) else k, reverse=descending)
    assert ordered(x, np.array(keys, dtype=np.float64), descending) == expected
