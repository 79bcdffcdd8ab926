"""Rounding is Python's for every double, and nothing infinite is left."""

from __future__ import annotations

import math
import warnings

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carbonpy.functions.doubles import finite, rounded

numbers = st.one_of(
    st.floats(),
    st.floats(-1e6, 1e6),
    st.integers(-(10**9), 10**9).map(lambda number: number / 2_000_000),  # halves of the sixth digit
    st.integers(-(10**6), 10**6).map(lambda number: number / 64),
)


def python(value: float, digits: int) -> float:
    try:
        result = round(value, digits)
    except OverflowError:
        return math.nan
    return math.nan if math.isinf(result) else result


@given(st.lists(numbers, max_size=30), st.one_of(st.integers(-25, 25), st.sampled_from([-400, -309, 308, 400, 2**53])))
@example([0.285, 2.675, 1.005, 1.115], 2)
@example([0.5, 1.5, -2.5], 0)
@example([1.7e308, 2.0**52 + 0.5, 25.0, 35.0], -1)
@example([math.nan, math.inf, -0.0, 5e-324], 6)
@settings(max_examples=400, deadline=None)
def test_rounding_is_that_of_python(values, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = rounded(np.array(values), digits)
    expected = [python(value, digits) for value in values]
    assert [repr(value) for value in result.tolist()] == [repr(value) for value in expected]


def test_the_input_of_rounding_stays_as_it_was():
    values = np.array([0.285, 1.5])
    rounded(values, 1)
    assert values.tolist() == [0.285, 1.5]


def test_infinite_values_become_none_and_others_stay():
    assert np.array_equal(finite(np.array([1.0, np.inf, -np.inf, np.nan])), [1, np.nan, np.nan, np.nan], equal_nan=True)
    whole = np.array([1.0, np.nan])
    assert finite(whole) is whole
