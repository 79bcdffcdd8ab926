"""How alike two series are, and which of many stand out.

The law: series are compared at the same moments, whatever their steps and starts.  Moments at which one of
the two has no value do not count.  Where nothing can be said, because too little is known or a series
never changes, there is null.  The functions are carbonapi's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.functions import windows
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.series import attime
from carbonpy.series.alignment import aligned
from carbonpy.series.series import Series, Values

Rows = NDArray[np.float64]

_SERIES = Param("series", Kind.SERIES_LIST, required=True)
_OTHER = Param("otherSeries", Kind.SERIES_LIST, required=True)
_TUKEY = (
    SERIES_LIST,
    Param("basis", Kind.FLOAT, required=True),
    Param("n", Kind.INTEGER, required=True),
    Param("interval", Kind.INT_OR_INTERVAL, default=0),
)


@function("pearson", _SERIES, _OTHER, Param("windowSize", Kind.INTEGER, required=True), group="Calculate")
def pearson(context: Context, series: Sequence[Series], others: Sequence[Series], size: int) -> list[Series]:
    """Show Pearson's correlation, from -1 to 1, of two series over the last windowSize points.

    Null as long as there are fewer points.

    Example: pearson(servers.web1.load, servers.web1.requests, 60)
    """
    return _compared("pearson", context, series, others, size, size - 1, _correlation)


@function(
    "kolmogorovSmirnovTest2",
    _SERIES,
    _OTHER,
    Param("window", Kind.INTEGER, required=True),
    group="Calculate",
    aliases=("ksTest2",),
)
def kolmogorov_smirnov_test_2(
    context: Context, series: Sequence[Series], others: Sequence[Series], size: int
) -> list[Series]:
    """Show how probable it is, from 0 to 1, that the last so many points of two series are of one distribution.

    Null for the first so many points.

    Example: ksTest2(servers.web1.latency, servers.web2.latency, 60)
    """
    return _compared("kolmogorovSmirnovTest2", context, series, others, size, size, _same_distribution)


@function(
    "pearsonClosest",
    _SERIES,
    SERIES_LIST,
    Param("n", Kind.INTEGER, required=True),
    Param("direction", Kind.STRING, default="abs", options=("abs", "pos", "neg")),
    group="Filter Series",
)
def pearson_closest(series: Sequence[Series], others: Sequence[Series], n: int, direction: str) -> list[Series]:
    """Keep the n series that correlate most with the one given first, the closest first.

    direction: 'abs' for either way, 'pos' for those that move with it, 'neg' for those that move against it.

    Example: pearsonClosest(servers.web1.load, servers.*.requests, 5)
    """
    if n < 0:
        raise QueryError("n must not be negative")
    if not series:
        return []
    reference = _single(series, "first")
    found = []
    for other in others:
        one, two = aligned([reference, other])
        closeness = float(_correlation(one.values[None, :], two.values[None, :])[0]) if len(one) else np.nan
        if direction == "abs":
            closeness = abs(closeness)
        elif direction == "neg":
            closeness = -closeness
        if closeness >= 0:
            found.append((closeness, other))
    found.sort(key=lambda pair: -pair[0])
    return [other for _, other in found[:n]]


@function("tukeyAbove", *_TUKEY, group="Filter Series")
def tukey_above(series: Sequence[Series], basis: float, n: int, interval: int | str) -> list[Series]:
    """Keep the n series with most values far above the usual: beyond the upper quartile by basis quartile ranges.

    Quartiles are those of all values of all series, or of their last points or interval if one is given; of all
    values before the last ones if it is negative.

    Example: tukeyAbove(servers.*.latency, 1.5, 5, '1h')
    """
    return _outliers(series, basis, n, interval, lambda values, low, high: values >= high)


@function("tukeyBelow", *_TUKEY, group="Filter Series")
def tukey_below(series: Sequence[Series], basis: float, n: int, interval: int | str) -> list[Series]:
    """Keep the n series with most values far below the usual: beyond the lower quartile by basis quartile ranges.

    Quartiles are taken as by tukeyAbove.

    Example: tukeyBelow(servers.*.requests, 1.5, 5, -30)
    """
    return _outliers(series, basis, n, interval, lambda values, low, high: values <= low)


def _single(series: Sequence[Series], which: str) -> Series:
    if len(series) != 1:
        raise QueryError(f"the {which} argument must be exactly one series, not {len(series)}")
    return series[0]


def _compared(
    name: str,
    context: Context,
    series: Sequence[Series],
    others: Sequence[Series],
    size: int,
    begin: int,
    compare: Callable[[Rows, Rows], Values],
) -> list[Series]:
    """What `compare` makes of the windows of two series, from the point number `begin` on."""
    if size < 1:
        raise QueryError("the window must be of at least 1 point")
    if not series or not others:
        return []
    one, two = aligned([_single(series, "first"), _single(others, "second")])
    result = np.full(len(one), np.nan)
    if begin < len(one):
        firsts, seconds = (windows.spelled_out(each.values, size)[begin:] for each in (one, two))
        for block in windows.blocks(len(firsts), size, context.evaluator.pieces):
            context.evaluator.pieces()
            result[begin:][block] = compare(firsts[block], seconds[block])
    return [one.derived(f"{name}({one.name},{two.name},{size})", result)]


def _correlation(firsts: Rows, seconds: Rows) -> Values:
    """Pearson's correlation of each row of one with the same of the other."""
    both = ~(np.isnan(firsts) | np.isnan(seconds))
    count = both.sum(axis=1)
    with np.errstate(all="ignore"):
        away, aside = (_from_mean(rows, both, count) for rows in (firsts, seconds))
        together = (away * aside).sum(axis=1)
        lengths = np.sqrt((away * away).sum(axis=1)) * np.sqrt((aside * aside).sum(axis=1))
        correlation: Values = np.clip(together / lengths, -1.0, 1.0)
    return correlation


def _from_mean(rows: Rows, counted: NDArray[np.bool_], count: NDArray[np.intp]) -> Rows:
    """How far the counted values of each row are from their mean; 0 for the others and in rows that never change."""
    first = rows[np.arange(len(rows)), counted.argmax(axis=1)][:, None]
    shifted = np.where(counted, rows - first, 0.0)
    means = shifted.sum(axis=1) / count
    return np.where(counted, shifted - means[:, None], 0.0)


def _same_distribution(firsts: Rows, seconds: Rows) -> Values:
    """Kolmogorov's and Smirnov's test of each row of one with the same of the other: the p value."""
    counts = [(~np.isnan(rows)).sum(axis=1) for rows in (firsts, seconds)]
    mixed = np.concatenate([firsts, seconds], axis=1)
    order = np.argsort(mixed, axis=1, kind="stable")  # NaN last
    ordered = np.take_along_axis(mixed, order, axis=1)
    known = ~np.isnan(ordered)
    is_first = order < firsts.shape[1]
    below, above = (np.cumsum(known & chosen, axis=1) for chosen in (is_first, ~is_first))
    # equal values count together, so look where a run of them ends
    ends = np.concatenate([ordered[:, 1:] != ordered[:, :-1], np.ones((len(ordered), 1), bool)], axis=1)
    with np.errstate(all="ignore"):
        apart = np.abs(below / counts[0][:, None] - above / counts[1][:, None])
        distance = np.where(ends, apart, 0.0).max(axis=1)
        effective = np.sqrt(counts[0] * counts[1] / (counts[0] + counts[1]))
        return np.where((counts[0] > 0) & (counts[1] > 0), _kolmogorov(effective * distance), np.nan)


def _kolmogorov(distance: Values) -> Values:
    """The probability that Kolmogorov's distribution exceeds a distance, by the series that converges faster."""
    odd = np.array([1.0, 3.0, 5.0, 7.0])[:, None] * np.pi / np.maximum(distance, 1e-3)
    near = 1.0 - np.sqrt(2 * np.pi) / np.maximum(distance, 1e-3) * np.exp(-(odd**2) / 8).sum(axis=0)
    number = np.array([1.0, 2.0, 3.0])[:, None]
    far = 2.0 * (np.array([1.0, -1.0, 1.0])[:, None] * np.exp(-2.0 * (number * distance) ** 2)).sum(axis=0)
    return np.clip(np.where(distance < 1.18, near, far), 0.0, 1.0)


def _outliers(
    series: Sequence[Series],
    basis: float,
    n: int,
    interval: int | str,
    is_outlier: Callable[[Values, float, float], NDArray[np.bool_]],
) -> list[Series]:
    if basis <= 0:
        raise QueryError(f"basis must be greater than 0, not {basis:g}")
    if n < 1:
        raise QueryError("n must be at least 1")
    parts = [_part(one, interval) for one in series]
    everything = np.sort(np.concatenate(parts)) if parts else np.empty(0)
    everything = everything[~np.isnan(everything)]
    if not len(everything):
        return []
    lower, upper = (float(everything[int(share * len(everything))]) for share in (0.25, 0.75))
    reach = basis * (upper - lower)
    counts = [int(is_outlier(part, lower - reach, upper + reach).sum()) for part in parts]
    chosen = sorted((number for number in range(len(series)) if counts[number]), key=lambda number: -counts[number])
    return [series[number] for number in chosen[:n]]


def _part(one: Series, interval: int | str) -> Values:
    """The last points, or all before them if their number is negative; all if it is 0 or beyond the series."""
    points = int(attime.parse_offset(interval) / one.step) if isinstance(interval, str) else interval
    if points == 0 or abs(points) >= len(one):
        return one.values
    return one.values[-points:] if points > 0 else one.values[:points]
