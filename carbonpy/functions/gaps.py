"""Slots without a value: to fill them, to tell them, to move values over them.

The law: a result has the grid of its input, but for `compressPeriodicGaps`, which finds a coarser one.
A gap is a run of slots without a value; those at the beginning of a series are never filled from the values
after them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.functions import buckets
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.doubles import finite
from carbonpy.series.series import Series, Values

_LIMIT = Param("limit", Kind.INT_OR_INF, default=float("inf"))


def slots_touching(one: Series, others: Sequence[tuple[Series, NDArray[np.bool_]]]) -> NDArray[np.bool_]:
    """Which slots of `one` share time with a marked slot of any of `others`.

    others: (series, which of its slots are marked); on any grid, since slots are compared by the time they cover.
    """
    touching = np.zeros(len(one), dtype=np.bool_)
    for other, marked in others:
        begins = one.start - other.start + one.step * np.arange(len(one), dtype=np.int64)
        first = np.clip(begins // other.step, 0, len(other))
        behind = np.clip(-(-(begins + one.step) // other.step), 0, len(other))
        counted = np.concatenate([[0], np.cumsum(marked)])
        touching |= counted[behind] > counted[first]
    return touching


@function("isNonNull", SERIES_LIST, group="Transform", aliases=("isNotNull",))
def is_non_null(series: Sequence[Series]) -> list[Series]:
    """Put 1 where a series has a value and 0 where it has none.

    Example: isNonNull(servers.*.load)
    """
    return [
        one.derived(f"isNonNull({one.name})", (~np.isnan(one.values)).astype(np.float64), isNonNull="1")
        for one in series
    ]


@function(
    "transformNull",
    SERIES_LIST,
    Param("default", Kind.FLOAT, default=0),
    Param("referenceSeries", Kind.SERIES_LIST),
    group="Transform",
)
def transform_null(series: Sequence[Series], default: float, references: Sequence[Series] | None) -> list[Series]:
    """Put a number where there is no value; with reference series only where one of them has a value.

    Example: transformNull(servers.*.errors, 0)
    """
    others = [(one, ~np.isnan(one.values)) for one in references or ()]
    suffix = ",referenceSeries" if others else ""
    tags = {"transformNull": str(default)}
    if others:
        tags["referenceSeries"] = "1"
    results = []
    grid, wanted = None, np.zeros(0, dtype=np.bool_)
    for one in series:
        missing = np.isnan(one.values)
        if others:
            if one.span != grid:
                grid, wanted = one.span, slots_touching(one, others)
            missing &= wanted
        name = f"transformNull({one.name},{default:g}{suffix})"
        results.append(one.derived(name, np.where(missing, float(default), one.values), **tags))
    return results


@function("keepLastValue", SERIES_LIST, _LIMIT, group="Transform")
def keep_last_value(series: Sequence[Series], limit: float) -> list[Series]:
    """Fill gaps with the value before them, also the one at the end; gaps longer than the limit stay gaps.

    Example: keepLastValue(servers.*.temperature, 5)
    """
    return [one.derived(f"keepLastValue({one.name})", _kept(one.values, limit)) for one in series]


@function("interpolate", SERIES_LIST, _LIMIT, group="Transform")
def interpolate(series: Sequence[Series], limit: float) -> list[Series]:
    """Fill gaps with a straight line between the values around them; gaps longer than the limit stay gaps.

    Example: interpolate(servers.*.temperature, 5)
    """
    return [one.derived(f"interpolate({one.name})", _interpolated(one.values, limit)) for one in series]


def _neighbours(values: Values) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each slot the last known slot up to it (-1: none) and the first from it on (their number: none)."""
    places = np.arange(len(values))
    known = ~np.isnan(values)
    before = np.maximum.accumulate(np.where(known, places, -1))
    after = np.minimum.accumulate(np.where(known, places, len(values))[::-1])[::-1]
    return before, after


def _kept(values: Values, limit: float) -> Values:
    if not np.isnan(values).any():
        return values
    before, after = _neighbours(values)
    filled = np.isnan(values) & (before >= 0) & (after - before - 1 <= limit)
    return np.where(filled, values[before], values)


def _interpolated(values: Values, limit: float) -> Values:
    if not np.isnan(values).any():
        return values
    before, after = _neighbours(values)
    places = np.flatnonzero(np.isnan(values) & (before >= 0) & (after < len(values)) & (after - before - 1 <= limit))
    left, right = values[before[places]], values[after[places]]
    result = values.copy()
    with np.errstate(all="ignore"):
        distance, width = places - before[places], after[places] - before[places]
        result[places] = left + distance * (right - left) / width
    return finite(result)


@function("compressPeriodicGaps", SERIES_LIST, group="Transform")
def compress_periodic_gaps(series: Sequence[Series]) -> list[Series]:
    """Give series that have only every n-th value the step they have in truth, if three values show which.

    Example: compressPeriodicGaps(servers.*.hourly)
    """
    return [_compressed(one.derived(f"compressPeriodicGaps({one.name})")) for one in series]


def _compressed(one: Series) -> Series:
    """`one` on the step that its first values show, as it is if they show none."""
    values = one.values
    # as in graphite-web a value of 0, and one in the very first slot, says nothing about the step
    telling = np.flatnonzero(~np.isnan(values) & (values != 0))
    telling = telling[telling > 0]
    if len(telling) < 2:
        return one
    first, second = telling[:2].tolist()
    third = 2 * second - first
    if second - first < 2 or third > len(values) - 2 or np.isnan(values[third]) or values[third] == 0:
        return one
    if not (np.isnan(values[third - 1]) and np.isnan(values[third + 1])):
        return one
    step, start = (second - first) * one.step, one.start + first * one.step
    lasts = buckets.summarized(one, "last", step, start, one.end)
    return one.changed(start=start, end=start + step * (len(lasts) - 1), step=step, values=lasts)
