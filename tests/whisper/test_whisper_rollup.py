"""The vectorised roll-up is the plain one, and the plain one is the whisper package's."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import whisper
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.whisper import rollup
from carbonpy.whisper.errors import InvalidAggregationMethod
from carbonpy.whisper.layout import METHOD_NAMES

NUMBERS = st.one_of(
    st.floats(),
    st.floats(-1e3, 1e3),
    st.sampled_from((0.0, -0.0, 1.0, -1.0, 0.1, 1e16, -1e16, float("inf"), -float("inf"), float("nan"), -float("nan"))),
)


def bits(value: float) -> bytes:
    return struct.pack(">d", value)


@st.composite
def tables(draw: st.DrawFn) -> list[list[float | None]]:
    """Some rows of equal length, in which None is an unknown slot."""
    width = draw(st.integers(1, 12))
    return draw(st.lists(st.lists(st.none() | NUMBERS, min_size=width, max_size=width), min_size=1, max_size=12))


@pytest.mark.parametrize("method", METHOD_NAMES)
@given(rows=tables())
@settings(max_examples=80, deadline=None)
def test_each_row_is_aggregated_to_the_bit_as_the_whisper_package_does_it(
    method: int, rows: list[list[float | None]]
) -> None:
    values = np.array([[np.inf if value is None else value for value in row] for row in rows])
    known = np.array([[value is not None for value in row] for row in rows])
    result = rollup.aggregate_rows(method, values, known)
    for row, value in zip(rows, result.tolist()):
        there = [number for number in row if number is not None]
        if there:
            expected = whisper.aggregate(METHOD_NAMES[method], there, row)
            assert bits(rollup.aggregate(method, there, len(row))) == bits(expected)
            assert bits(value) == bits(expected)
        else:
            assert np.isnan(value)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_sums_of_many_columns_follow_the_interpreters_own_sum(method: int) -> None:
    random = np.random.default_rng(method)
    values = random.normal(size=(200, 60)) * 10.0 ** random.integers(-12, 13, size=(200, 60))
    known = random.random((200, 60)) < 0.7
    known[:, 0] = True
    for row, here, value in zip(values, known, rollup.aggregate_rows(method, values, known)):
        assert bits(float(value)) == bits(rollup.aggregate(method, row[here].tolist(), 60))


def test_the_inputs_are_not_changed() -> None:
    values, known = np.array([[1.0, np.nan], [3.0, 4.0]]), np.array([[True, True], [False, True]])
    before = values.copy(), known.copy()
    for method in METHOD_NAMES:
        rollup.aggregate_rows(method, values, known)
    assert np.array_equal(values, before[0], equal_nan=True) and np.array_equal(known, before[1])


def test_an_xff_that_float32_rounds_up_wants_one_point_more() -> None:
    stored = struct.unpack(">f", struct.pack(">f", 0.2))[0]
    assert rollup.enough(1, 5, 0.2)
    assert not rollup.enough(1, 5, stored)
    assert rollup.enough(2, 5, stored)
    assert rollup.enough(1, 5, 0.0)
    assert not rollup.enough(0, 5, 0.0)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InvalidAggregationMethod):
        rollup.aggregate(9, [1.0], 1)
    with pytest.raises(InvalidAggregationMethod):
        rollup.aggregate_rows(0, np.ones((1, 1)), np.ones((1, 1), dtype=bool))
