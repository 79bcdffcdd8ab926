"""Lines and curves: what lies on one is found again, whatever is missing and wherever it is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain import VALUES, floats, nones
from support.targets import FIRST, Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.functions.library import Library
from carbonpy.functions.regression import paired
from carbonpy.series.series import Series

LIBRARY = Library.standard()
BEFORE = (T - 240 - FIRST) // 60


def asked(target: str, values: list[float | None] | None = None, **options: Any) -> list[Series]:
    store = Store({"m.x": (60, floats(values).tolist())}) if values is not None else Store()
    return evaluate(target, library=LIBRARY, store=store, **options)


@given(st.lists(VALUES, min_size=26, max_size=26))
@settings(max_examples=60, deadline=None)
def test_a_line_is_that_of_least_squares(values: list[float | None]) -> None:
    points = [(place, value) for place, value in enumerate(values[BEFORE:]) if value is not None]
    answer = asked("linearRegression(m.x)", values)
    if len(points) < 2:
        assert answer == []
        return
    places, known = np.array(points).T
    slope, level = np.polyfit(places, known, 1)
    # times as large as seconds since 1970 leave nine digits of the slope
    assert np.allclose(answer[0].values, level + slope * np.arange(10), atol=1e-6 + 1e-7 * abs(slope))
    assert answer[0].name == f"linearRegression(m.x, {T - 300}, {T + 300})"
    assert answer[0].tags["linearRegressions"] == f"{T - 300}, {T + 300}"


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 5), st.sets(st.integers(0, 25), max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_lies_on_a_curve_is_continued(level: int, slope: int, degree: int, missing: set[int]) -> None:
    def height(place: int) -> float:
        return float(level + slope * place + (place - 3) ** degree)

    values: list[float | None] = [None if place in missing else height(place - BEFORE) for place in range(26)]
    (curve,) = asked(f"polyfit(m.x,{degree},'5min')", values)
    assert curve.name == f"polyfit(m.x,{degree},'5min')"
    if sum(value is not None for value in values[BEFORE:]) <= degree:
        assert nones(curve.values.tolist()) == [None] * 15
    else:
        assert np.allclose(curve.values, [height(place) for place in range(15)], rtol=1e-6, atol=1e-3)
    assert (curve.start, curve.end, len(curve)) == (T - 240, T + 660, 15)


def test_a_line_through_another_time_is_shown_over_the_time_asked_for() -> None:
    (line,) = asked(f"linearRegression(a.h1.x,'{T - 1200}','-20min')")
    assert line.name == f"linearRegression(a.h1.x, {T - 1200}, {T - 900})"
    assert (line.start, line.path_expression) == (T - 240, line.name)
    assert np.allclose(line.values, np.arange(17.0, 27.0), rtol=1e-6)


def test_a_line_needs_two_points_and_a_time() -> None:
    assert asked(f"linearRegression(a.h1.x,'{T}','{T}')") == []
    assert asked("linearRegression(nosuch)") == []
    assert asked("linearRegression(a.h1.x,'-100d','-99d')") == []
    with pytest.raises(QueryError, match="must not be after"):
        asked("linearRegression(a.h1.x,'-5min','-10min')")
    with pytest.raises(QueryError, match="cannot read the time"):
        asked("linearRegression(a.h1.x,'someday')")


def test_series_that_came_or_went_are_paired_by_name_and_all_others_by_place() -> None:
    first, second, other = (Series(name, 0, 60, 60, np.zeros(1)) for name in ("a", "b", "b"))
    assert paired([first, second], [other, first]) == [(first, other), (second, first)]
    assert paired([first, second], [other]) == [(first, None), (second, other)]


def test_the_name_of_a_curve_tells_what_was_written() -> None:
    for call in ("polyfit(a.h1.x)", "polyfit(a.h1.x,1)", "polyfit(a.h1.x,2,'1h')"):
        assert asked(call)[0].name == call
    assert asked("polyfit(a.h1.x,offset='1h')")[0].name == "polyfit(a.h1.x,1,'1h')"


def test_a_curve_that_makes_no_sense_is_refused() -> None:
    for call in ("polyfit(a.h1.x,0)", "polyfit(a.h1.x,31)", "polyfit(a.h1.x,1,'-1h')", "polyfit(a.h1.x,1,'100y')"):
        with pytest.raises(QueryError, match=r"degree|offset|limit"):
            asked(call)


def test_high_degrees_and_large_values_stay_in_bounds() -> None:
    wave = [float(np.sin(place)) * 1e300 for place in range(26)]
    (curve,) = asked("polyfit(m.x,9)", list(wave))
    assert np.allclose(curve.values / 1e300, np.array(wave[BEFORE:]) / 1e300, atol=1e-6)
