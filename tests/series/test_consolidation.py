"""Consolidation against a value-by-value reading of the rules, and graphite-web's maxDataPoints table."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.series.consolidation import FUNCTIONS, consolidate, thin
from carbonpy.series.series import Series

values_or_none = st.lists(st.one_of(st.none(), st.integers(-1000, 1000).map(float)), max_size=60)


def floats(values):
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)


def plain(values):
    return [None if math.isnan(v) else v for v in values]


def one_bucket(bucket, size, how, xff):
    known = [v for v in bucket if v is not None]
    if not known or len(known) / size < xff:
        return None
    if how == "avg_zero":
        return sum(known) / len(bucket)
    if how in ("average", "avg"):
        return sum(known) / len(known)
    return {"sum": sum(known), "max": max(known), "min": min(known), "first": known[0], "last": known[-1]}[how]


def buckets(values, size, how, xff):
    return [one_bucket(values[i : i + size], size, how, xff) for i in range(0, len(values), size)]


def thinned_by_the_book(series_list, most):
    """The rules of maxDataPoints, one value at a time, with lists and the ranges that pair values with times."""
    seconds = max(s.end for s in series_list) - min(s.start for s in series_list)
    result = []
    for series in series_list:
        values, start, size = plain(series.values), series.start, 1
        if most == 1:
            size = max(1, len(values))
        elif most < seconds / series.step:
            size = math.ceil(seconds / series.step / most)
            bucket = int(size * series.step)
            nudge = bucket + (start % series.step) - (start % bucket)
            start += nudge
            for _ in range(1, int(nudge / series.step)):
                if values:
                    del values[0]
        if size > 1:
            values = buckets(values, size, series.consolidation, series.xff)
        result.append(list(zip(values, range(start, series.end + 1, series.step * size))))
    return result


@given(values_or_none, st.integers(1, 9), st.sampled_from(sorted(FUNCTIONS)), st.sampled_from([0, 0.25, 0.5, 1.0]))
def test_each_bucket_is_what_the_rule_says(values, size, how, xff):
    expected = values if size == 1 else buckets(values, size, how, xff)
    assert plain(consolidate(floats(values), size, how, xff)) == expected


@given(values_or_none, st.integers(1, 9), st.sampled_from(sorted(FUNCTIONS)))
def test_consolidation_leaves_its_input_alone(values, size, how):
    array = floats(values)
    array.flags.writeable = False
    consolidate(array, size, how)
    assert plain(array) == values


series_strategy = st.builds(
    lambda start, step, values, how, xff: Series(
        "m", start * step, (start + len(values)) * step, step, floats(values), consolidation=how, xff=xff
    ),
    st.integers(0, 500),
    st.sampled_from([1, 7, 10, 60]),
    values_or_none.filter(bool),
    st.sampled_from(["sum", "average", "max", "last", "first", "avg_zero"]),
    st.sampled_from([0, 0.5, 1.0]),
)


@given(st.lists(series_strategy, min_size=1, max_size=3), st.integers(1, 70))
def test_thinning_an_answer_is_what_the_book_says(answer, most):
    assert [s.points() for s in thin(answer, most)] == thinned_by_the_book(answer, most)


def test_an_unknown_function_is_named():
    with pytest.raises(QueryError, match="unknown consolidation function 'median'"):
        consolidate(floats([1, 2]), 2, "median")


def test_no_limit_changes_nothing():
    series = Series("m", 60, 180, 60, floats([1, None]))
    assert thin([series], 0) == [series]
    assert thin([], 5) == []


#: graphite-web's own table: for 20 values v = t summed with a step of 1, from three starts and with two
#: xFilesFactors: maxDataPoints -> (value, timestamp)s.  None stands for "all 20 values as they are".
PAIRS = [(2 * t - 1, t) for t in range(2, 21, 2)]
TABLE = {
    (1, 0): {
        (20, 21): None,
        (10, 19): PAIRS,
        (7, 9): [(9, 3), (18, 6), (27, 9), (36, 12), (45, 15), (54, 18), (20, 21)],
        (5, 6): [(18, 4), (34, 8), (50, 12), (66, 16), (39, 20)],
        (4, 4): [(30, 5), (55, 10), (80, 15), (39, 20)],
        (3, 3): [(63, 7), (112, 14), (20, 21)],
        (2, 2): [(135, 10), (39, 20)],
        (1, 1): [(210, 1)],
    },
    (3, 0): {
        (20, 21): None,
        (10, 19): PAIRS[1:] + [(43, 22)],
        (7, 9): [(18, 6), (27, 9), (36, 12), (45, 15), (54, 18), (63, 21)],
        (5, 6): [(18, 4), (34, 8), (50, 12), (66, 16), (82, 20)],
        (4, 4): [(30, 5), (55, 10), (80, 15), (82, 20)],
        (3, 3): [(63, 7), (112, 14), (63, 21)],
        (2, 2): [(135, 10), (82, 20)],
        (1, 1): [(250, 3)],
    },
    (5, 0): {
        (20, 21): None,
        (10, 19): PAIRS[2:] + [(43, 22), (47, 24)],
        (7, 9): [(18, 6), (27, 9), (36, 12), (45, 15), (54, 18), (63, 21), (47, 24)],
        (5, 6): [(34, 8), (50, 12), (66, 16), (82, 20), (47, 24)],
        (4, 4): [(55, 10), (80, 15), (105, 20), (24, 25)],
        (3, 3): [(63, 7), (112, 14), (110, 21)],
        (2, 2): [(135, 10), (129, 20)],
        (1, 1): [(290, 5)],
    },
    (1, 1): {
        (20, 21): None,
        (10, 19): PAIRS,
        (7, 9): [(9, 3), (18, 6), (27, 9), (36, 12), (45, 15), (54, 18), (None, 21)],
        (5, 6): [(18, 4), (34, 8), (50, 12), (66, 16), (None, 20)],
        (4, 4): [(30, 5), (55, 10), (80, 15), (None, 20)],
        (3, 3): [(63, 7), (112, 14), (None, 21)],
        (2, 2): [(135, 10), (None, 20)],
        (1, 1): [(210, 1)],
    },
    (3, 1): {
        (4, 4): [(30, 5), (55, 10), (80, 15), (None, 20)],
        (3, 3): [(63, 7), (112, 14), (None, 21)],
        (2, 2): [(135, 10), (None, 20)],
        (1, 1): [(250, 3)],
    },
}


@pytest.mark.parametrize(("start", "xff"), list(TABLE))
def test_the_table_of_graphite_web(start, xff):
    values = floats(range(start, start + 20))
    series = Series("test", start, start + 20, 1, values, consolidation="sum", xff=xff)
    for (fewest, most), expected in TABLE[start, xff].items():
        for wanted in range(fewest, most + 1):
            points = thin([series], wanted)[0].points()
            assert points == (series.points() if expected is None else expected), (start, xff, wanted)


def test_the_recorded_one_step_shift():
    # 60-s slots 17...26 that end at an hour boundary plus 300 s, three points wanted: 20..23 and 24..26
    hour = 1_709_740_800
    series = Series("m", hour - 240, hour + 360, 60, floats(range(17, 27)))
    assert thin([series], 3)[0].points() == [(21.5, hour), (25.0, hour + 240)]
