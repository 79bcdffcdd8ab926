"""Moving windows over real requests: where they begin, what they have read, what they are called."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain import VALUES, aggregate, alike, floats, nones
from support.targets import FIRST, Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.expression.plan import Reading
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

LIBRARY = Library.standard()
#: Slots of a 60 s metric before the first that is shown.
BEFORE = (T - 240 - FIRST) // 60
ROWS = st.lists(VALUES, min_size=26, max_size=26)


def asked(target: str, values: list[float | None] | None = None, step: int = 60, **options: Any) -> list[Series]:
    store = Store({"m.x": (step, floats(values).tolist())}) if values is not None else Store()
    return evaluate(target, library=LIBRARY, store=store, **options)


def one(target: str, values: list[float | None] | None = None, step: int = 60, **options: Any) -> Series:
    (series,) = asked(target, values, step, **options)
    return series


@given(ROWS, st.integers(1, 30), st.sampled_from(["average", "median", "sum", "min", "max", "last", "p90"]), st.data())
@settings(max_examples=100, deadline=None)
def test_a_window_holds_the_values_up_to_its_own(
    values: list[float | None], size: int, name: str, data: st.DataObject
) -> None:
    xff = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    written = data.draw(st.sampled_from([str(size), f"'{size}min'", f"'-{size * 60}s'"]))
    series = one(f"movingWindow(m.x,{written},'{name}',{xff})", values)
    expected: list[float | None] = []
    for place in range(BEFORE, 26):
        known = [value for value in values[max(0, place - size + 1) : place + 1] if value is not None]
        expected.append(aggregate(name, known) if len(known) / size >= xff else None)
    assert (series.start, series.step, len(series)) == (T - 240, 60, 10)
    assert alike(nones(series.values.tolist()), expected, 1e3)


def test_the_names_of_windows_are_those_they_were_written_with() -> None:
    assert one("movingWindow(a.h1.x,3,'avg')").name == "movingAvg(a.h1.x,3)"
    assert one("movingWindow(a.h1.x,'3min','rangeOf')").name == 'movingRangeof(a.h1.x,"3min")'
    series = one("movingWindow(a.h1.x,'3min','p99.9')")
    assert series.name == series.path_expression == 'movingP99.9(a.h1.x,"3min")'
    assert series.tags == {"name": "a.h1.x", "movingP99.9": "3min"}


@pytest.mark.parametrize("window", ["'150s'", "'179s'", "'121s'"])
def test_an_interval_counts_the_whole_steps_in_it_and_leaves_the_series_on_its_grid(window: str) -> None:
    for start in range(T - 300, T - 239, 7):
        plain, moved = one("a.h1.x", start=start), one(f"movingSum(a.h1.x,{window})", start=start)
        assert (moved.start, len(moved)) == (plain.start, len(plain))
        assert moved.values.tolist() == [2 * value - 1 for value in plain.values.tolist()]


def test_a_window_of_no_point_has_no_values() -> None:
    for window in ("0", "'0s'", "'59s'"):
        series = one(f"movingSum(a.h1.x,{window})")
        assert (series.start, nones(series.values.tolist())) == (T - 240, [None] * 10)


def test_series_of_different_steps_have_windows_of_as_many_points_each() -> None:
    fine, coarse = asked("movingSum(b.*.x,3)")
    assert (fine.start, fine.values.tolist()) == (T - 290, [3.0] * 60)
    assert (coarse.start, coarse.values.tolist()) == (T, [1200.0, 1500.0])


def test_windows_over_other_functions_keep_their_grid() -> None:
    plain, moved = one("summarize(a.h1.x,'2min','sum')"), one("movingMax(summarize(a.h1.x,'2min','sum'),2)")
    assert (moved.start, moved.step, len(moved)) == (plain.start, 120, len(plain))
    assert nones(moved.values.tolist()) == [*plain.values.tolist()[:-1], plain.values[-2]]  # the last bucket is empty


def test_nothing_is_shown_before_a_whole_window_of_what_is_stored() -> None:
    oldest = T + 300 - (4 * 3600 + 600)
    series = one("movingAverage(a.h1.x,5)", start=oldest - 3600)
    plain = one("a.h1.x", start=oldest - 3600)
    assert (series.start, len(series)) == (plain.start + 5 * 60, len(plain) - 5)
    assert not len(one("movingAverage(a.h1.x,1000)", start=oldest - 3600))


class Aging(Store):
    """Keeps minutes for half an hour, then steps of five minutes."""

    def __call__(self, readings: Any) -> dict[Reading, list[Series]]:
        fine = super().__call__(readings)
        coarse = Store({"m.x": (300, [float(value) for value in range(8)])})(readings)
        return {one: (fine if one.start >= T - 1800 else coarse)[one] for one in readings}


def test_a_window_that_reaches_into_a_coarser_archive_is_read_as_far_back_as_it_then_goes() -> None:
    (series,) = evaluate("movingSum(m.x,30)", library=LIBRARY, store=Aging({"m.x": (60, [1.0] * 26)}))
    assert (series.step, series.start) == (300, T)
    assert series.values.tolist() == [sum(range(5)), sum(range(6))]


def test_windows_given_as_intervals_are_read_with_everything_else() -> None:
    store = Store()
    evaluate("sumSeries(movingAverage(a.h1.x,'5min'))", "a.h2.x", library=LIBRARY, store=store)
    assert store.asked == [
        [
            Reading("a.h1.x", T - 300, T + 300),
            Reading("a.h1.x", T - 600, T + 300),
            Reading("a.h2.x", T - 300, T + 300),
        ]
    ]


@pytest.mark.parametrize(
    "target",
    [
        "movingSum(a.h1.x,-1)",
        "movingSum(a.h1.x,'5000y')",
        "movingSum(a.h1.x,9007199254740992)",
        "exponentialMovingAverage(a.h1.x,0)",
        "exponentialMovingAverage(a.h1.x,'0s')",
        "stdev(a.h1.x,0)",
        "ewma(a.h1.x,1.1)",
    ],
)
def test_a_window_that_makes_no_sense_is_refused(target: str) -> None:
    with pytest.raises(QueryError, match=r"window|points|alpha"):
        asked(target)


def test_no_series_have_no_windows() -> None:
    for call in ("movingSum(nosuch,5)", "exponentialMovingAverage(nosuch,5)", "stdev(nosuch,5)", "ewma(nosuch,0.5)"):
        assert asked(call) == []


@given(ROWS, st.integers(1, 16), st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_exponential_average_takes_in_each_value_a_step_late(
    values: list[float | None], size: int, as_interval: bool
) -> None:
    series = one(f"exponentialMovingAverage(m.x,{repr(f'{size}min') if as_interval else size})", values)
    weight = 2 / ((size * 60 if as_interval else size) + 1)
    window = [value for value in values[BEFORE - size : BEFORE] if value is not None]
    average = sum(window) / len(window) if window else 0.0
    expected: list[float | None] = [round(average, 6)]
    for value in values[BEFORE:]:
        if value is not None:
            average = weight * value + (1 - weight) * average
        expected.append(None if value is None else round(average, 6))
    assert (series.start, series.step) == (T - 240, 60)
    assert nones(series.values.tolist()) == expected


@given(ROWS, st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_ewma_begins_with_the_first_value(values: list[float | None], alpha: float) -> None:
    (series,) = evaluate(f"ewma(m.x,{alpha!r})", library=LIBRARY, store=Store({"m.x": (60, floats(values).tolist())}))
    average, expected = math.nan, []
    for value in values[BEFORE:]:
        if value is not None:
            average = value if math.isnan(average) else alpha * value + (1 - alpha) * average
        expected.append(None if value is None else average)
    assert alike(nones(series.values.tolist()), expected)


def test_ewma_is_called_so_by_both_its_names() -> None:
    for name in ("ewma", "exponentialWeightedMovingAverage"):
        assert one(f"{name}(a.h1.x,0.25)").name == "ewma(a.h1.x,0.25)"


@given(ROWS, st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_stdev_begins_with_the_series(values: list[float | None], points: int, tolerance: float) -> None:
    series = one(f"stdev(m.x,{points},{tolerance})", values)
    shown, expected = values[BEFORE:], []
    for place in range(len(shown)):
        known = [value for value in shown[max(0, place - points + 1) : place + 1] if value is not None]
        expected.append(aggregate("stddev", known) if len(known) / points >= tolerance else None)
    assert alike(nones(series.values.tolist()), expected, 10.0)
    assert series.tags["stdev"] == str(points)
