"""Answers of several stores for one metric, against a plain dict from moment to value."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.reading.replicas import merge_lists, merge_replicas
from carbonpy.series.series import Series

VALUES = st.lists(st.one_of(st.just(math.nan), st.floats(-5, 5)), max_size=12)
T = 1_700_000_040


def series(values, start=T, step=60, name="m", **more):
    return Series(name, start, start + step * len(values), step, np.array(values, dtype=float), **more)


def known(one):
    return {t: v for v, t in one.points() if v is not None}


@given(st.lists(st.tuples(st.integers(-10, 10), VALUES), min_size=1, max_size=5))
def test_in_each_slot_the_first_known_value_wins(answers):
    stores = [series(values, T + 60 * offset) for offset, values in answers]
    before = [one.values.copy() for one in stores]
    merged = merge_replicas(stores).series
    expected = {}
    for one in stores:
        for moment, value in known(one).items():
            expected.setdefault(moment, value)
    if merge_replicas(stores).sentence:
        expected = known(stores[0])  # too far apart
    assert known(merged) == expected
    assert merged.end >= merged.start + merged.step * len(merged)
    for one, values in zip(stores, before):
        np.testing.assert_array_equal(one.values, values)


@given(VALUES, VALUES)
def test_a_later_store_never_changes_what_an_earlier_one_knows(first, second):
    merged = merge_replicas([series(first), series(second, T - 120)]).series
    assert known(merged).items() >= known(series(first)).items()


@given(VALUES)
def test_merging_with_itself_changes_nothing(values):
    one = series(values)
    assert merge_replicas([one, one, one]).series.points() == one.points()


def test_stores_that_are_a_slot_apart_are_matched_by_time_and_not_by_index():
    merged = merge_replicas([series([1, math.nan, 3]), series([20, 30, 40], T + 60)]).series
    assert merged.points() == [(1, T), (20, T + 60), (3, T + 120), (40, T + 180)]
    assert (merged.start, merged.end) == (T, T + 240)


def test_of_different_steps_the_one_that_knows_more_wins_and_that_is_said():
    fine, coarse = series([1.0, math.nan, math.nan], step=60), series([5.0, 6.0], T - 240, step=300)
    merged = merge_replicas([fine, coarse])
    assert merged.series is coarse
    assert merged.sentence == "m: stores answered with steps of 300 and 60 seconds; that of 300 seconds was taken"
    assert merge_replicas([coarse, series([1.0, 2.0])]).series.step == 60
    filled = merge_replicas([series([1.0, math.nan, 3.0]), coarse, series([9.0, 9.0, 9.0])])
    assert filled.series.points() == [(1, T), (9, T + 60), (3, T + 120)]


def test_answers_for_times_far_apart_take_no_memory():
    merged = merge_replicas([series([1.0, 2.0]), series([3.0], T + 60 * 10**12)])
    assert merged.series.points() == [(1, T), (2, T + 60)]
    assert "far apart" in merged.sentence


def test_what_else_a_series_has_is_that_of_the_first():
    first = series([math.nan], tags={"name": "m", "dc": "1"}, path_expression="m*")
    merged = merge_replicas([first, series([2.0], tags={"name": "m"}, path_expression="x")]).series
    assert (merged.path_expression, merged.tags["dc"]) == ("m*", "1")
    assert merged.points() == [(2, T)]


def test_lists_are_merged_by_name_and_sorted():
    one = [series([1.0, math.nan], name="b"), series([1.0], name="c")]
    two = [series([5.0], name="a"), series([7.0, 8.0], name="b"), series([1.0], name="c", step=10)]
    merged, sentences = merge_lists([one, two])
    assert [(s.name, s.values.tolist()) for s in merged] == [("a", [5.0]), ("b", [1.0, 8.0]), ("c", [1.0])]
    assert len(sentences) == 1
    assert sentences[0].startswith("c: ")
    assert merge_lists([]) == ([], [])
