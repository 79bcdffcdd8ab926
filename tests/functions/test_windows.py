"""Moving aggregates against plain loops over each window: exact where they choose a value, to 1e-9 where they add."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.plain import VALUES, aggregate, alike, floats, nones

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates, windows

NAMES = [*aggregates.AGGREGATES, "p50", "p95", "p99.9"]
CHOSEN = {"median", "min", "max", "last", "first", "count", "p50", "p95", "p99.9"}


def model(values: list[float | None], size: int, name: str) -> list[float | None]:
    rows = [values[max(0, end - size) : end] for end in range(1, len(values) + 1)]
    return [aggregate(name, [value for value in row if value is not None]) for row in rows]


def test_every_aggregate_has_its_moving_form() -> None:
    assert set(windows.MOVING) == set(aggregates.AGGREGATES)


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(VALUES, max_size=130), st.one_of(st.integers(1, 8), st.integers(1, 140)))
@settings(max_examples=40, deadline=None)
@example([None] * 5, 3)
@example([0.1] * 60, 50)
@example([1e6, 1e6 + 0.001] * 40, 50)
@example([1e15, *[0.001] * 100], 3)
@example([1.0, 2.0, 3.0], 2**50)
def test_a_moving_aggregate_is_that_of_each_window(name: str, values: list[float | None], size: int) -> None:
    before = floats(values)
    given_ = before.copy()
    got = nones(windows.moving(given_, size, name))
    expected = model(values, size, name)
    if name in CHOSEN:
        assert got == expected
    elif name == "multiply":
        assert alike(got, expected, 1e-300)
    else:
        # as good as the terms allow: where they cancel out, digits are lost in any order
        scales = model([None if value is None else abs(value) for value in values], size, "sum")
        assert all(alike([one], [two], (scale or 1.0) / 1e3) for one, two, scale in zip(got, expected, scales))
    assert given_.tobytes() == before.tobytes()


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=100), st.integers(1, 110))
@settings(max_examples=60, deadline=None)
def test_sums_of_positive_values_are_right_to_the_ninth_digit(values: list[float], size: int) -> None:
    for name in ("sum", "average"):
        assert alike(nones(windows.moving(floats(values), size, name)), model(list(values), size, name), 0.0)


def test_what_left_the_window_spoils_nothing() -> None:
    values = floats([1e18, 1.0, 2.0, 3.0, 4.0])
    assert windows.moving(values, 2, "sum").tolist()[2:] == [3.0, 5.0, 7.0]
    assert windows.moving(values, 2, "stddev").tolist()[2:] == [0.5, 0.5, 0.5]
    huge = floats([1e308, -1e308, 1e308, 1.0, 2.0, 4.0])
    assert windows.moving(huge, 3, "average")[-1] == pytest.approx(7 / 3)
    assert windows.moving(huge, 2, "stddev").tolist()[-2:] == [0.5, 1.0]


def test_the_deviation_of_equal_values_is_nothing_at_all() -> None:
    assert windows.moving(np.full(500, 0.1), 7, "stddev").tolist() == [0.0] * 500
    steps = np.repeat([0.1, 1e6 + 0.1, 0.3], 100)
    assert windows.moving(steps, 20, "stddev")[[50, 150, 250]].tolist() == [0.0] * 3


def test_a_window_as_long_as_a_million_values_takes_little_memory() -> None:
    values = np.arange(200_000.0)
    tracemalloc.start()
    for name in ("sum", "max", "stddev", "last"):
        windows.moving(values, 200_000, name)
    windows.moving(values, 40, "median")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_ranks_of_a_day_of_seconds_are_kept_in_a_list() -> None:
    values = np.random.default_rng(5).normal(size=6000)
    got = windows.moving(values, 2000, "median")
    for end in (1, 2, 1999, 2000, 4321, 6000):
        assert got[end - 1] == np.median(values[max(0, end - 2000) : end])


def test_too_much_work_is_refused_and_long_work_asks_for_its_time() -> None:
    values = np.broadcast_to(np.float64(1.0), 1_000_000)
    with pytest.raises(QueryError, match="use a shorter window"):
        windows.moving(values, 1_000_000, "median")
    asked: list[int] = []
    windows.moving(np.arange(5000.0), 100, "median", lambda: asked.append(1))
    assert len(asked) >= 4
    with pytest.raises(QueryError, match="unknown aggregation function"):
        windows.moving(values, 2, "bogus")


def test_nothing_has_no_windows() -> None:
    for name in NAMES:
        assert len(windows.moving(np.empty(0), 5, name)) == 0
    assert windows.known(floats([1.0, None, 2.0]), 2).tolist() == [1, 1, 1]
    assert nones(windows.spelled_out(floats([1.0, 2.0]), 2).ravel()) == [None, 1.0, 1.0, 2.0]
