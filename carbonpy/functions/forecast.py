"""Holt-Winters: what a series that repeats itself each season is expected to do next.

The law: triple exponential smoothing with the constants of graphite-web (`_ALPHA`, `_BETA`, `_GAMMA`), begun
at the first value of a preview (`bootstrapInterval`) that is read before the time asked for.  Each value is
foretold from those before it; the deviation is the smoothed error of the forecasts of a season ago.  After
a null nothing is foretold for one slot, the trend begins anew, and season and deviation are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions import previews
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, Window, function
from carbonpy.series import attime
from carbonpy.series.series import Series, Values

#: Weights of the newest value in the level, in the slope, and in seasons and deviations.
_ALPHA, _BETA, _GAMMA = 0.1, 0.0035, 0.1

_DELTA = Param("delta", Kind.INTEGER, default=3)
_BOOTSTRAP = Param("bootstrapInterval", Kind.INTERVAL, default="7d", suggestions=("7d", "30d"))
_SEASONALITY = Param("seasonality", Kind.INTERVAL, default="1d", suggestions=("1d", "7d"))


def _reads(argument: int) -> Callable[[int, int, Sequence[Any]], list[Window]]:
    """The preview whose length is the argument of that number."""

    def windows(start: int, end: int, arguments: Sequence[Any]) -> list[Window]:
        interval = arguments[argument]
        return [previews.window(start, end, previews.length(interval))] if interval is not None else []

    return windows


@function("holtWintersForecast", SERIES_LIST, _BOOTSTRAP, _SEASONALITY, group="Calculate", reads=_reads(1))
def holt_winters_forecast(context: Context, series: Sequence[Series], bootstrap: str, seasonality: str) -> list[Series]:
    """Foretell each value of the series from those before it and from the season before.

    The forecast begins bootstrapInterval before the time asked for, to get used to the series.

    Example: holtWintersForecast(shop.orders, '7d', '1d')
    """
    results = []
    for one in _foretold(context, series, bootstrap, seasonality):
        name = f"holtWintersForecast({one.source.name})"
        results.append(one.source.derived(name, one.forecast, holtWintersForecast="1", holtWintersDeviation="1"))
    return results


@function(
    "holtWintersConfidenceBands",
    SERIES_LIST,
    _DELTA,
    _BOOTSTRAP,
    _SEASONALITY,
    group="Calculate",
    reads=_reads(2),
)
def holt_winters_confidence_bands(
    context: Context, series: Sequence[Series], delta: int, bootstrap: str, seasonality: str
) -> list[Series]:
    """Show the lower and the upper limit of what was foretold: the forecast and delta deviations to each side.

    Example: holtWintersConfidenceBands(shop.orders, 3)
    """
    return [band for one in _foretold(context, series, bootstrap, seasonality) for band in _bands(one, delta)]


@function(
    "holtWintersAberration",
    SERIES_LIST,
    _DELTA,
    _BOOTSTRAP,
    _SEASONALITY,
    group="Calculate",
    reads=_reads(2),
)
def holt_winters_aberration(
    context: Context, series: Sequence[Series], delta: int, bootstrap: str, seasonality: str
) -> list[Series]:
    """Show by how much each value is above or below the confidence bands; 0 within them and for null.

    Example: holtWintersAberration(shop.orders, 3, '7d', '1d')
    """
    bands = {one.source.name: _bands(one, delta) for one in _foretold(context, series, bootstrap, seasonality)}
    results = []
    for one in series:
        lower, upper = (_at_slots_of(one, band) for band in bands.get(one.name, (None, None)))
        with np.errstate(all="ignore"):
            beyond = np.where(
                one.values > upper, one.values - upper, np.where(one.values < lower, one.values - lower, 0.0)
            )
        named = one.derived(f"holtWintersAberration({one.name})", beyond, holtWintersAberration="1")
        results.append(named.changed(consolidation="average"))
    return results


@function(
    "holtWintersConfidenceArea",
    SERIES_LIST,
    _DELTA,
    _BOOTSTRAP,
    _SEASONALITY,
    group="Calculate",
    reads=_reads(2),
)
def holt_winters_confidence_area(
    context: Context, series: Sequence[Series], delta: int, bootstrap: str, seasonality: str
) -> list[Series]:
    """Draw the area between the confidence bands of exactly one series.

    Example: holtWintersConfidenceArea(shop.orders, 3)
    """
    foretold = _foretold(context, series, bootstrap, seasonality)
    if not foretold:
        return []
    if len(foretold) > 1:
        raise QueryError(f"it draws one area, and there are {len(foretold)} series; write a path of exactly one")
    lower, upper = _bands(foretold[0], delta)
    name = f"holtWintersConfidenceArea({upper.path_expression})"
    tags = {**upper.tags, "holtWintersConfidenceArea": "1"}
    return [
        band.derived(name).changed(tags=tags, options={**band.options, **options})
        for band, options in ((lower, {"stacked": True, "invisible": True}), (upper, {"stacked": True}))
    ]


class _Foretold(NamedTuple):
    """source: the series where it is shown.  forecast, deviation: for each of its slots."""

    source: Series
    forecast: Values
    deviation: Values


def _foretold(context: Context, series: Sequence[Series], bootstrap: str, seasonality: str) -> list[_Foretold]:
    """The forecasts of the series as they are read again with their preview, on the grids of `series`."""
    if not series:
        return []
    season = attime.parse_offset(seasonality)
    results = []
    for one in previews.read(context, previews.length(bootstrap)):
        context.evaluator.pieces()
        first = previews.shown(one, series)
        forecast, deviation = _analysed(one.values.tolist(), max(2, season // one.step))
        source = previews.cut(one, first, one.values[first:]).changed(consolidation="average")
        results.append(_Foretold(source, np.array(forecast[first:]), np.array(deviation[first:])))
    return results


def _analysed(values: Sequence[float], season: int) -> tuple[list[float], list[float]]:
    """(what was foretold for each value, how far off forecasts were there); NaN for null.

    season: how many values (at least 2) there are to a season.
    """
    null = float("nan")
    forecasts, deviations, seasonals = [], [], []
    foretold = level = null
    slope = 0.0
    for place, value in enumerate(values):
        if value != value:
            forecasts.append(foretold)
            deviations.append(0.0)
            seasonals.append(0.0)
            foretold = level = null
            slope = 0.0
            continue
        if place == 0:
            foretold = value
        if level != level:
            level = value
        ago = place - season
        seasonal, deviation = (seasonals[ago], deviations[ago]) if ago >= 0 else (0.0, 0.0)
        before = level
        level = _ALPHA * (value - seasonal) + (1 - _ALPHA) * (before + slope)
        slope = _BETA * (level - before) + (1 - _BETA) * slope
        forecasts.append(foretold)
        error = abs(value - foretold) if foretold == foretold else abs(value)
        deviations.append(_GAMMA * error + (1 - _GAMMA) * deviation)
        seasonals.append(_GAMMA * (value - level) + (1 - _GAMMA) * seasonal)
        foretold = level + slope + (seasonals[ago + 1] if ago + 1 >= 0 else 0.0)
    return forecasts, deviations


def _bands(foretold: _Foretold, delta: int) -> tuple[Series, Series]:
    """(lower, upper), both with the tags of both, as they come in graphite-web."""
    source, forecast, deviation = foretold
    with np.errstate(all="ignore"):
        width = delta * deviation
        limits = {"Lower": forecast - width, "Upper": forecast + width}
    marks = ("Forecast", "Deviation", "ConfidenceUpper", "ConfidenceLower")
    tags = {**source.tags, **{f"holtWinters{mark}": "1" for mark in marks}}
    lower, upper = (
        source.labelled(f"holtWintersConfidence{side}({source.name})").changed(values=values, tags=tags)
        for side, values in limits.items()
    )
    return lower, upper


def _at_slots_of(one: Series, band: Series | None) -> Values:
    """The values of `band` at the slots of `one`; NaN where it has none."""
    if band is None or not len(band):
        return np.full(len(one), np.nan)
    if (band.start, band.step, len(band)) == (one.start, one.step, len(one)):
        return band.values
    places = (one.start - band.start + np.arange(len(one)) * one.step) // band.step
    inside = (places >= 0) & (places < len(band))
    return np.where(inside, band.values[np.clip(places, 0, len(band) - 1)], np.nan)
