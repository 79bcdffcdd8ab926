"""Aggregates of a window that moves along one series.

The law: value i of the result is the aggregate of the known values among the last `size` values up to
and including i; a window without any is NaN, and where the series begins the window is as long as there
are values.  Results are those of adding from left to right to within rounding, minimum, maximum,
median and percentiles are exact.

Nothing here subtracts what leaves the window, for that would let a large value that is long gone spoil
the small ones after it.  Sums and extremes take two running aggregates instead, one from the front and
one from the back of blocks as long as the window: every window is the back part of a block and the front
part of the next.  The time that takes does not depend on the window.  Ranks are kept in a sorted list, and
sorted in blocks where windows are short.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates
from carbonpy.series.series import Values

Counts = NDArray[np.intp]
#: Called now and then by long work; raises when there is no time left.
Check = Callable[[], None]
#: Number of known values -> the two ranks, from 0, whose values' mean is wanted (the same one twice for a value).
Ranks = Callable[[Counts], tuple[Counts, Counts]]

#: Values that are looked at together where windows have to be spelled out: 8 MiB.
_BLOCK = 1 << 20
#: Windows longer than this are sorted by keeping a sorted list.
_LONG = 48
#: Values to be looked at, all windows together, where they have to be spelled out: a minute's work.
_MOST_WORK = 1 << 33
#: The same where a sorted list is kept, in which values only make room for each other.
_MOST_SORTED = 1 << 37


def moving(values: Values, size: int, name: str, check: Check = lambda: None) -> Values:
    """The aggregate called `name` of the window of `size` values (at least 1) that ends at each value.

    Nulls take no part: avg_zero is the average, and a product is that of the known values.  The input is not
    changed.  Raises QueryError for an unknown aggregate, for too much work, and what `check` raises.
    """
    aggregate = aggregates.by_name(name)
    size = max(1, min(size, len(values)))
    if not len(values):
        return np.empty(0)
    with np.errstate(all="ignore"):
        if isinstance(aggregate, partial):
            result = _ranked(values, size, partial(_percentile_rank, aggregate.keywords["percent"]), check)
        else:
            canonical = next(known for known, function in aggregates.AGGREGATES.items() if function is aggregate)
            result = MOVING[canonical](values, size, check)
        result[known(values, size) == 0] = np.nan
    return result


def known(values: Values, size: int) -> Counts:
    """How many values are known in the window of `size` values (at least 1) that ends at each value."""
    running = np.concatenate([[0], np.cumsum(~np.isnan(values))])
    ends = np.arange(1, len(values) + 1)
    counted: Counts = running[ends] - running[np.maximum(ends - size, 0)]
    return counted


def spelled_out(values: Values, size: int) -> NDArray[np.float64]:
    """A view float64[n, size] of the windows that end at each value; NaN before the first value."""
    return np.lib.stride_tricks.sliding_window_view(np.concatenate([np.full(size - 1, np.nan), values]), size)


def blocks(windows: int, size: int, check: Check) -> list[slice]:
    """Slices of so many windows of `size` values that can be spelled out together.

    Raises QueryError if all of them together are too much work.
    """
    _bounded(windows, size, _MOST_WORK)
    together = max(1, _BLOCK // size)
    return [slice(first, first + together) for first in range(0, windows, together)]


def _bounded(windows: int, size: int, most: int) -> None:
    if windows * size > most:
        raise QueryError(
            f"{windows} windows of {size} points take too long; use a shorter window, or summarize() the series first"
        )


def deviation(values: Values, size: int, check: Check = lambda: None) -> Values:
    """The standard deviation of the population in each window; what it is where nothing is known is undefined."""
    count = known(values, size)
    rows = _rows(values, size, np.nan)
    at, is_block = _places(len(values), size)
    # sums of squares lose digits unless they are counted from a value nearby: the first one of each pair of blocks
    first = rows[np.arange(len(rows)), (~np.isnan(rows)).argmax(axis=1)]
    following = np.append(first[1:], np.nan)
    near = np.nan_to_num(np.where(np.isnan(first), following, first))[:, None]
    back = np.nan_to_num(rows - near, nan=0.0, posinf=np.nan, neginf=np.nan)
    front = np.nan_to_num(rows - np.roll(near, 1, axis=0), nan=0.0, posinf=np.nan, neginf=np.nan)
    total, squares = (
        _backwards(np.add, part)[at] + np.where(is_block, 0.0, np.add.accumulate(other, axis=1).ravel()[at + size - 1])
        for part, other in ((back, front), (back * back, front * front))
    )
    about_mean = squares - total * total / np.maximum(count, 1)
    result = np.sqrt(np.maximum(about_mean, 0.0) / np.maximum(count, 1))
    doubtful = np.flatnonzero((squares > 0) & ~(about_mean > 1e-5 * squares))
    windows = spelled_out(values, size)
    for block in blocks(len(doubtful), size, check):
        check()
        result[doubtful[block]] = aggregates.AGGREGATES["stddev"](windows[doubtful[block]].T)
    return result


# Two running aggregates, from the front and from the back of each block


def _rows(values: Values, size: int, neutral: float) -> NDArray[np.float64]:
    """The values in rows of `size`, after size - 1 times `neutral` so that each value ends a window."""
    count = -(-(len(values) + size - 1) // size)
    rows = np.full(count * size, neutral)
    rows[size - 1 : size - 1 + len(values)] = values
    return rows.reshape(count, size)


def _places(count: int, size: int) -> tuple[Counts, NDArray[np.bool_]]:
    """(where the window of each value begins in the rows, whether it is just a row)."""
    at: Counts = np.arange(count)
    return at, at % size == 0


def _backwards(ufunc: np.ufunc, rows: NDArray[np.float64]) -> Values:
    flat: Values = ufunc.accumulate(rows[:, ::-1], axis=1)[:, ::-1].ravel()
    return flat


def _running(ufunc: np.ufunc, neutral: float, values: Values, size: int, check: Check) -> Values:
    check()
    rows = _rows(np.where(np.isnan(values), neutral, values), size, neutral)
    at, is_block = _places(len(values), size)
    front = ufunc.accumulate(rows, axis=1).ravel()[at + size - 1]
    joined: Values = np.where(is_block, front, ufunc(_backwards(ufunc, rows)[at], front))
    return joined


_sum = partial(_running, np.add, 0.0)
_product = partial(_running, np.multiply, 1.0)
_lowest = partial(_running, np.fmin, np.inf)
_highest = partial(_running, np.fmax, -np.inf)


def _average(values: Values, size: int, check: Check) -> Values:
    return _sum(values, size, check) / known(values, size)


def _range(values: Values, size: int, check: Check) -> Values:
    return _highest(values, size, check) - _lowest(values, size, check)


def _count(values: Values, size: int, check: Check) -> Values:
    return known(values, size).astype(np.float64)


def _last(values: Values, size: int, check: Check) -> Values:
    places = np.arange(len(values))
    return values[np.maximum.accumulate(np.where(np.isnan(values), 0, places))]


def _first(values: Values, size: int, check: Check) -> Values:
    places = np.arange(len(values))
    following = np.minimum.accumulate(np.where(np.isnan(values), len(values) - 1, places)[::-1])[::-1]
    return values[following[np.maximum(places - size + 1, 0)]]


def _difference(values: Values, size: int, check: Check) -> Values:
    """The first known value minus the others."""
    first = _first(values, size, check)
    return first - (_sum(values, size, check) - first)


# Ranks


def _middle(count: Counts) -> tuple[Counts, Counts]:
    return (count - 1) // 2, count // 2


def _percentile_rank(percent: float, count: Counts) -> tuple[Counts, Counts]:
    """As `carbonpy.functions.aggregates.percentile`, without interpolation."""
    exact = np.clip(percent / 100.0 * (count + 1), 0, count + 1)
    rank = np.clip(np.ceil(exact).astype(np.intp) - 1, 0, count - 1)
    return rank, rank


def _ranked(values: Values, size: int, ranks: Ranks, check: Check) -> Values:
    lower, upper = (np.maximum(rank, 0) for rank in ranks(known(values, size)))
    below, above = np.empty(len(values)), np.empty(len(values))
    if size > _LONG:
        _by_sorted_list(values, size, lower, upper, below, above, check)
    else:
        windows = spelled_out(values, size)
        for block in blocks(len(values), size, check):
            check()
            ordered = np.sort(windows[block], axis=1)  # NaN last
            each = np.arange(len(ordered))
            below[block], above[block] = ordered[each, lower[block]], ordered[each, upper[block]]
    return np.where(lower == upper, below, (below + above) / 2)


def _by_sorted_list(
    values: Values, size: int, lower: Counts, upper: Counts, below: Values, above: Values, check: Check
) -> None:
    """Writes the values of the ranks lower and upper of each window into below and above."""
    _bounded(len(values), size, _MOST_SORTED)
    numbers, low, high = values.tolist(), lower.tolist(), upper.tolist()
    ordered: list[float] = []
    for place, number in enumerate(numbers):
        if place % 1024 == 0:
            check()
        if place >= size and (leaving := numbers[place - size]) == leaving:
            del ordered[bisect_left(ordered, leaving)]
        if number == number:
            insort(ordered, number)
        if ordered:
            below[place], above[place] = ordered[low[place]], ordered[high[place]]


def _median(values: Values, size: int, check: Check) -> Values:
    return _ranked(values, size, _middle, check)


#: Canonical name of each aggregate -> the same of moving windows: (values, size, check) -> new float64[n], in which
#: windows without a known value may be anything.
MOVING: dict[str, Callable[[Values, int, Check], Values]] = {
    "average": _average,
    "avg_zero": _average,
    "median": _median,
    "sum": _sum,
    "min": _lowest,
    "max": _highest,
    "diff": _difference,
    "stddev": deviation,
    "count": _count,
    "range": _range,
    "multiply": _product,
    "last": _last,
    "first": _first,
}
