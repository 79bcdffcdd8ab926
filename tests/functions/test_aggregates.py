"""Aggregates against their definitions, one column of plain Python values at a time."""

import math
import statistics
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates

NAMES = [*aggregates.AGGREGATES, *aggregates.ALIASES]


def by_the_book(name, column):
    """What Graphite says of a list of values, None for no value."""
    known = [value for value in column if value is not None]
    if not known:
        return None
    if name == "multiply":
        return None if None in column else math.prod(column)
    return {
        "average": sum(known) / len(known),
        "avg_zero": sum(known) / len(column),
        "median": statistics.median(known),
        "sum": sum(known),
        "min": min(known),
        "max": max(known),
        "diff": known[0] - sum(known[1:]),
        "stddev": statistics.pstdev(known),
        "count": len(known),
        "range": max(known) - min(known),
        "last": known[-1],
        "first": known[0],
    }[name]


def percentile_by_the_book(column, percent, interpolate):
    points = sorted(value for value in column if value is not None)
    if not points:
        return None
    exact = percent / 100 * (len(points) + 1)
    rank = math.floor(exact) if interpolate else math.ceil(exact)
    if rank < 1:
        return points[0]
    if rank >= len(points):
        return points[-1]
    value = points[rank - 1]
    return value + (exact - rank) * (points[rank] - value) if interpolate else value


def matrix_of(rows):
    return np.array([[math.nan if v is None else v for v in row] for row in rows], dtype=np.float64)


def plain(row):
    return [None if math.isnan(v) else v for v in row.tolist()]


def nearly(values):
    return [None if value is None else pytest.approx(value, rel=1e-12, abs=1e-9) for value in values]


value = st.one_of(st.none(), st.integers(-50, 50).map(float), st.sampled_from([0.5, -2.25]))
matrices = st.tuples(st.integers(1, 40), st.integers(0, 5)).flatmap(
    lambda shape: st.lists(st.lists(value, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0])
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(rows=matrices)
def test_an_aggregate_is_what_its_name_says(name, rows):
    matrix = matrix_of(rows)
    before = matrix.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = aggregates.by_name(name)(matrix)
    assert plain(result) == nearly([by_the_book(aggregates.ALIASES.get(name, name), list(c)) for c in zip(*rows)])
    assert np.array_equal(matrix, before, equal_nan=True)


@given(rows=matrices, percent=st.floats(0, 150), interpolate=st.booleans())
def test_a_percentile_follows_the_rank_among_the_known_values(rows, percent, interpolate):
    result = aggregates.percentile(matrix_of(rows), percent, interpolate)
    assert plain(result) == nearly([percentile_by_the_book(list(c), percent, interpolate) for c in zip(*rows)])


@given(rows=matrices)
def test_count_of_nothing_known_is_zero(rows):
    counted = aggregates.count(matrix_of(rows)).tolist()
    assert counted == [sum(value is not None for value in column) for column in zip(*rows)]


def test_sums_of_many_rows_with_gaps_are_those_of_a_plain_sum():
    random = np.random.default_rng(3)
    matrix = random.random((1003, 7))
    matrix[random.random(matrix.shape) < 0.3] = math.nan
    known = [[v for v in column if v == v] for column in matrix.T.tolist()]
    # bit for bit up to Python 3.11, whose sum() adds from left to right without compensation
    expected = []
    for column in known:
        total = 0.0
        for v in column:
            total += v
        expected.append(total)
    assert aggregates.by_name("sum")(matrix).tolist() == expected
    assert aggregates.count(matrix).tolist() == [len(column) for column in known]


@pytest.mark.parametrize("name", [*NAMES, "p99"])
def test_values_beyond_all_numbers_warn_nobody(name):
    matrix = np.array([[1e308, math.inf, -math.inf], [1e308, -math.inf, -math.inf], [1e308, 1.0, math.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(aggregates.by_name(name)(matrix)) == 3


@pytest.mark.parametrize(
    ("name", "percent"),
    [("p50", 50), ("p95", 95), ("p99.9", 99.9), ("p999", 99.9), ("p100", 100), ("p0", 0), ("p9999", 99.99)],
)
def test_percentiles_are_aggregates_by_name(name, percent):
    matrix = np.random.default_rng(1).random((200, 3))
    assert aggregates.by_name(name)(matrix).tolist() == aggregates.percentile(matrix, percent).tolist()


def test_names_may_end_with_series():
    assert aggregates.find("sumSeries") is aggregates.find("sum") is aggregates.find("total")
    assert aggregates.find("rangeOfSeries") is aggregates.find("range")


@pytest.mark.parametrize("name", ["", "bogus", "Series", "p", "p95x", "p9.", "pp9", "Sum", "SUM", "sumSeriesSeries"])
def test_other_names_are_refused(name):
    assert aggregates.find(name) is None
    with pytest.raises(QueryError, match="unknown aggregation function"):
        aggregates.by_name(name)


def test_the_aggregate_of_one_series_is_a_number():
    assert aggregates.of_values("max", np.array([1.0, math.nan, 3.0])) == 3.0
    assert math.isnan(aggregates.of_values("max", np.array([math.nan])))
    assert math.isnan(aggregates.of_values("sum", np.array([])))


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["sum", "average", "diff"])
@given(column=st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=300), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_sums_run_from_the_first_value_to_the_last_whatever_the_shape(name, order, width, column, seed):
    column = column * 8 if seed else column  # long enough for adding in pairs
    known = [value for value in column if value is not None]
    matrix = np.array(matrix_of([[value] * width for value in column]), order=order)
    total = 0.0
    for place, value in enumerate(known):
        total = total - value if name == "diff" and place else total + value
    expected = None if not known else total / len(known) if name == "average" else total
    assert plain(aggregates.by_name(name)(matrix)) == [expected] * width
