"""Series on one grid, against a model that looks at one value and its moment at a time."""

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.series.alignment import aligned, common_grid, matrix
from carbonpy.series.series import Series
from carbonpy.timespan import Span

NAN = math.nan


def series(start, step, values, **fields):
    values = np.array([NAN if v is None else v for v in values], dtype=np.float64)
    return Series("a.b", start, start + step * len(values), step, values, **fields)


def plain(row):
    return [None if math.isnan(v) else v for v in row]


def consolidated(bucket, size, how, xff):
    known = [v for v in bucket if v is not None]
    if not known or len(known) / size < xff:
        return None
    if how == "avg_zero":
        return sum(known) / len(bucket)
    return {"average": sum(known) / len(known), "sum": sum(known), "max": max(known), "last": known[-1]}[how]


def row_by_the_book(one, grid):
    """Each value by its moment into a bucket, each bucket consolidated."""
    buckets = {}
    for value, moment in one.points():
        if moment >= grid.start or one.step == grid.step:
            buckets.setdefault((moment - grid.start) // grid.step, []).append(value)
    row = [None] * grid.count
    for slot, bucket in buckets.items():
        if one.step == grid.step:
            row[slot] = bucket[0]
        else:
            row[slot] = consolidated(bucket, grid.step // one.step, one.consolidation, one.xff)
    return row


some_series = st.builds(
    series,
    st.integers(1000, 1400),
    st.sampled_from([1, 5, 10, 20, 30, 60]),
    st.lists(st.one_of(st.none(), st.integers(-9, 9).map(float)), max_size=40),
    consolidation=st.sampled_from(["average", "sum", "max", "last", "avg_zero"]),
    xff=st.sampled_from([0.0, 0.5, 1.0]),
)


@settings(deadline=timedelta(seconds=1))
@given(st.lists(some_series, min_size=1, max_size=6))
def test_every_value_lands_in_the_slot_of_its_moment(many):
    before = [one.values.copy() for one in many]
    grid, rows = matrix(many)
    assert rows.shape == (len(many), grid.count)
    assert [plain(row) for row in rows] == [row_by_the_book(one, grid) for one in many]
    assert all(np.array_equal(one.values, was, equal_nan=True) for one, was in zip(many, before))
    rows[:] = 0  # the matrix belongs to the caller


@given(st.lists(some_series.filter(len), min_size=1, max_size=6))
def test_the_grid_holds_all_but_an_incomplete_first_slot(many):
    grid = common_grid(many)
    assert all(grid.step % one.step == 0 for one in many)
    first = min(one.start for one in many)
    assert max(one.timestamps()[-1] for one in many) in range(grid.start, grid.end)
    if first < grid.start:
        assert grid.start - first < grid.step
        in_part = [one for one in many if one.start < grid.start]
        assert all(one.step < grid.step and one.span.end > grid.start for one in in_part)
        assert any(one.step == grid.step for one in many)
    else:
        assert first - grid.start < grid.step


def test_series_of_one_grid_keep_it_even_off_the_clock():
    many = [series(7, 60, [1, 2]), series(67, 60, [3, 4])]
    grid, rows = matrix(many)
    assert grid == Span(7, 187, 60)
    assert [plain(row) for row in rows] == [[1, 2, None], [None, 3, 4]]


def test_a_minute_and_ten_seconds_meet_on_the_minute():
    # a request from 10:55 (exclusive): the minutes begin at 60, the tens of seconds at 10
    minutes, tens = series(60, 60, [1, 2]), series(10, 10, [5.0] * 11 + [7.0] * 6)
    grid, rows = matrix([tens, minutes])
    assert grid == Span(60, 180, 60)
    assert plain(rows[0]) == [5, 7]
    assert plain(rows[1]) == [1, 2]


def test_a_whole_first_slot_of_a_finer_series_stays():
    grid, rows = matrix([series(120, 60, [1]), series(0, 20, [1, 2, 3, 4, 5, 6])])
    assert grid == Span(0, 180, 60)
    assert [plain(row) for row in rows] == [[None, None, 1], [2, 5, None]]


def test_series_that_are_all_finer_than_the_common_step_lose_nothing():
    grid, rows = matrix([series(10, 20, [1, 2]), series(15, 30, [4])])
    assert grid == Span(0, 60, 60)
    assert [plain(row) for row in rows] == [[1.5], [4]]


def test_a_slot_with_too_few_known_values_for_the_series_is_empty():
    half = series(0, 10, [1, None, None, 4, 5, 6], xff=0.9)
    assert plain(matrix([half, series(0, 30, [0, 0])])[1][0]) == [None, 5]


def test_series_without_values_have_no_say():
    empty = series(5, 7, [])
    grid, rows = matrix([empty, series(60, 60, [1])])
    assert grid == Span(60, 120, 60)
    assert [plain(row) for row in rows] == [[None], [1]]
    assert matrix([empty])[0] == Span(5, 5, 7)
    assert matrix([empty, empty])[1].shape == (2, 0)


def test_aligned_series_keep_all_but_their_grid():
    first, second = aligned([series(0, 30, [1, 3], xff=0.5), series(0, 60, [5])])
    assert (first.points(), second.points()) == ([(2.0, 0)], [(5.0, 0)])
    assert (first.name, first.xff, first.end, first.step) == ("a.b", 0.5, 60, 60)
    assert aligned([]) == []


def test_steps_without_a_common_multiple_are_refused():
    odd = [series(0, step, [1]) for step in (86399, 86400, 86401, 86403)]
    with pytest.raises(QueryError, match="nothing in common"):
        matrix(odd)
    assert matrix(odd[:2])[1].shape == (2, 1)


def test_a_grid_that_no_memory_holds_is_refused():
    with pytest.raises(QueryError, match="too many points"):
        matrix([series(0, 1, [1]), series(10**10, 1, [1])])


def test_an_unknown_consolidation_function_is_refused():
    with pytest.raises(QueryError, match="unknown consolidation function"):
        matrix([series(0, 30, [1, 2], consolidation="bogus"), series(0, 60, [1])])
