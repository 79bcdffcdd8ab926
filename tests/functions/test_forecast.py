"""Holt-Winters against a model with a list for every quantity, and its bands and aberrations against the forecast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain import VALUES, alike, floats, nones
from support.targets import FIRST, Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.expression.plan import Reading
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

LIBRARY = Library.standard()
BEFORE = (T - 240 - FIRST) // 60
ROWS = st.lists(VALUES, min_size=26, max_size=26)
Row = list[float | None]


def asked(target: str, values: Row | None = None, **options: Any) -> list[Series]:
    store = Store({"m.x": (60, floats(values).tolist())}) if values is not None else Store()
    return evaluate(target, library=LIBRARY, store=store, **options)


def model(values: Row, season: int) -> tuple[Row, Row]:
    """(forecasts, deviations), with graphite-web's words."""
    intercepts: Row = []
    slopes: list[float] = []
    seasonals: list[float] = []
    predictions: Row = []
    deviations: Row = []
    next_prediction: float | None = None
    for place, value in enumerate(values):

        def last(row: list[Any], place: int) -> float:
            return row[place - season] if place >= season else 0.0

        if value is None:
            predictions.append(next_prediction)
            next_prediction = None
            for row, nothing in ((intercepts, None), (slopes, 0.0), (seasonals, 0.0), (deviations, 0.0)):
                row.append(nothing)  # type: ignore[arg-type]
            continue
        prediction = value if place == 0 else next_prediction
        last_intercept = intercepts[-1] if intercepts else None
        if last_intercept is None:
            last_intercept = value
        last_slope = slopes[-1] if slopes else 0.0
        intercept = 0.1 * (value - last(seasonals, place)) + 0.9 * (last_intercept + last_slope)
        slope = 0.0035 * (intercept - last_intercept) + 0.9965 * last_slope
        next_prediction = intercept + slope + last(seasonals, place + 1)
        deviations.append(0.1 * abs(value - (prediction or 0.0)) + 0.9 * last(deviations, place))
        seasonals.append(0.1 * (value - intercept) + 0.9 * last(seasonals, place))
        intercepts.append(intercept)
        slopes.append(slope)
        predictions.append(prediction)
    return predictions, deviations


@given(ROWS, st.integers(0, 16), st.integers(0, 12), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_forecast_bands_and_aberration_are_those_of_the_model(
    values: Row, preview: int, season: int, delta: int
) -> None:
    lengths = f"'{preview}min','{season}min'"
    forecasts, deviations = model(values[BEFORE - preview :], max(2, season))
    forecasts, deviations = forecasts[preview:], deviations[preview:]
    (forecast,) = asked(f"holtWintersForecast(m.x,{lengths})", values)
    assert alike(nones(forecast.values.tolist()), forecasts, 1e3)
    lower, upper = asked(f"holtWintersConfidenceBands(m.x,{delta},{lengths})", values)
    limits: list[Row] = [
        [None if f is None or d is None else f + sign * delta * d for f, d in zip(forecasts, deviations)]
        for sign in (-1, 1)
    ]
    assert alike(nones(lower.values.tolist()), limits[0], 1e3)
    assert alike(nones(upper.values.tolist()), limits[1], 1e3)
    (aberration,) = asked(f"holtWintersAberration(m.x,{delta},{lengths})", values)
    for value, low, high, beyond in zip(
        values[BEFORE:], lower.values.tolist(), upper.values.tolist(), aberration.values.tolist()
    ):
        assert beyond == (0 if value is None else value - high if value > high else value - low if value < low else 0)
    for series in (forecast, lower, upper, aberration):
        assert (series.start, series.end, series.step, len(series)) == (T - 240, T + 360, 60, 10)


def test_a_forecast_begins_where_the_history_does_if_that_is_shorter_than_the_preview() -> None:
    (forecast,) = asked("holtWintersForecast(a.h1.x,'30d','5min')")
    assert (forecast.start, len(forecast)) == (T - 240, 10)
    assert np.isfinite(forecast.values).all()
    (same,) = asked("holtWintersForecast(a.h1.x,'-30d','5min')")
    assert same.values.tolist() == forecast.values.tolist()


def test_bands_keep_the_path_of_their_series_and_forecasts_do_not() -> None:
    for call, path in (
        ("holtWintersForecast(alias(a.h1.x,'x'))", "holtWintersForecast(x)"),
        ("holtWintersConfidenceBands(alias(a.h1.x,'x'))", "a.h1.x"),
        ("holtWintersAberration(alias(a.h1.x,'x'))", "holtWintersAberration(x)"),
        ("holtWintersConfidenceArea(alias(a.h1.x,'x'))", "holtWintersConfidenceArea(a.h1.x)"),
    ):
        assert {series.path_expression for series in asked(call)} == {path}


def test_results_are_averaged_for_display_whatever_their_series_were() -> None:
    for name in ("Forecast", "ConfidenceBands", "ConfidenceArea", "Aberration"):
        series = asked(f"holtWinters{name}(consolidateBy(a.h1.x,'max'))")
        assert {one.consolidation for one in series} == {"average"}


def test_an_area_is_two_stacked_series_of_one_name() -> None:
    lower, upper = asked("holtWintersConfidenceArea(a.h1.x)")
    assert lower.name == upper.name == "holtWintersConfidenceArea(a.h1.x)"
    assert lower.options == {"stacked": True, "invisible": True} and upper.options == {"stacked": True}
    assert lower.tags == upper.tags and upper.tags["holtWintersConfidenceArea"] == "1"
    assert (lower.values < upper.values).all()
    with pytest.raises(QueryError, match="exactly one"):
        asked("holtWintersConfidenceArea(a.*.x)")


def test_aberrations_find_their_bands_by_time() -> None:
    fine, coarse = asked("holtWintersAberration(b.*.x,3,'10min','5min')")
    assert (fine.start, fine.step, len(fine)) == (T - 290, 10, 60)
    assert (coarse.start, coarse.step, len(coarse)) == (T, 300, 2)


def test_the_preview_is_read_with_everything_else() -> None:
    store = Store()
    for number, call in enumerate(("Forecast(a.h1.x,'5min')", "Aberration(a.h1.x,2,'5min')")):
        evaluate("holtWinters" + call, library=LIBRARY, store=store)
        assert store.asked[number:] == [[Reading("a.h1.x", T - 300, T + 300), Reading("a.h1.x", T - 600, T + 300)]]


def test_no_series_have_no_forecast() -> None:
    for name in ("Forecast", "ConfidenceBands", "ConfidenceArea", "Aberration"):
        assert asked(f"holtWinters{name}(nosuch)") == []


def test_what_cannot_be_read_again_is_refused() -> None:
    with pytest.raises(QueryError, match="cannot do so as a callback"):
        asked("groupByNode(a.*.x,0,'holtWintersForecast')")
    with pytest.raises(QueryError, match="beyond the year 1"):
        asked("holtWintersForecast(a.h1.x,'9000y')")
