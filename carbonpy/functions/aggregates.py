"""The aggregation functions that other functions take by name: many values to one, row by row.

The law: an aggregate gets a matrix float64[k, n] of k series with n values each, NaN for none, and gives
float64[n], one value per column from the known ones.  A column without any known value is NaN.  The
matrix is not changed.  Sums run from the first series to the last in plain float64.

Names are graphite-web's (query functions ``aggregate``, ``summarize``, ``filterSeries`` ...): average,
avg_zero, median, sum, min, max, diff, stddev, count, range, multiply, last, the aliases avg, total,
current and rangeOf, each also with ``Series`` behind it; ``first`` and percentiles like ``p95`` or
``p99.9`` are carbonapi's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError

Matrix = NDArray[np.float64]
Row = NDArray[np.float64]
Aggregate = Callable[[Matrix], Row]

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100|\d{3,})\Z")


def _sum(matrix: Matrix) -> Row:
    known = ~np.isnan(matrix)
    total: Row = np.add.reduce(np.where(known, matrix, 0.0), axis=0)
    total[~known.any(axis=0)] = np.nan
    return total


def count(matrix: Matrix) -> Row:
    """How many values of each column are known; 0 where none is."""
    counted: Row = np.count_nonzero(~np.isnan(matrix), axis=0).astype(np.float64)
    return counted


def _count(matrix: Matrix) -> Row:
    known = count(matrix)
    return np.where(known > 0, known, np.nan)


def _average(matrix: Matrix) -> Row:
    return _sum(matrix) / _count(matrix)


def _avg_zero(matrix: Matrix) -> Row:
    return _sum(matrix) / len(matrix)


def _median(matrix: Matrix) -> Row:
    known = count(matrix).astype(np.intp)
    ordered = np.sort(matrix, axis=0)  # NaN last
    columns = np.arange(matrix.shape[1])
    upper = ordered[np.minimum(known // 2, len(matrix) - 1), columns]
    lower = ordered[np.maximum((known - 1) // 2, 0), columns]
    return np.where(known % 2 == 1, upper, (lower + upper) / 2)


def _min(matrix: Matrix) -> Row:
    lowest: Row = np.fmin.reduce(matrix, axis=0)
    return lowest


def _max(matrix: Matrix) -> Row:
    highest: Row = np.fmax.reduce(matrix, axis=0)
    return highest


def _first(matrix: Matrix) -> Row:
    return matrix[(~np.isnan(matrix)).argmax(axis=0), np.arange(matrix.shape[1])]


def _last(matrix: Matrix) -> Row:
    return _first(matrix[::-1])


def _diff(matrix: Matrix) -> Row:
    """The first known value of a column minus all its other known ones."""
    first = _first(matrix)
    return first - (_sum(matrix) - first)


def _stddev(matrix: Matrix) -> Row:
    """Of the population."""
    average = _average(matrix)
    return np.sqrt(_average((matrix - average) ** 2))


def _range(matrix: Matrix) -> Row:
    return _max(matrix) - _min(matrix)


def _multiply(matrix: Matrix) -> Row:
    """No value where any is missing."""
    product: Row = np.multiply.reduce(matrix, axis=0)
    return product


#: Canonical name -> aggregate.
AGGREGATES: dict[str, Aggregate] = {
    "average": _average,
    "avg_zero": _avg_zero,
    "median": _median,
    "sum": _sum,
    "min": _min,
    "max": _max,
    "diff": _diff,
    "stddev": _stddev,
    "count": _count,
    "range": _range,
    "multiply": _multiply,
    "last": _last,
    "first": _first,
}
#: Other names.
ALIASES = {"avg": "average", "total": "sum", "current": "last", "rangeOf": "range"}


def percentile(matrix: Matrix, percent: float, interpolate: bool = False) -> Row:
    """The percentile of each column's known values by Graphite's rule.

    rank = percent / 100 * (m + 1) of m known values; without interpolation it is rounded up, with it
    the value lies between its neighbours.  A rank below the first or beyond the last value is that value.
    """
    known = count(matrix).astype(np.intp)
    ordered = np.sort(matrix, axis=0)
    columns = np.arange(matrix.shape[1])
    exact = percent / 100.0 * (known + 1)
    rank = np.floor(exact).astype(np.intp) if interpolate else np.ceil(exact).astype(np.intp)
    last = np.maximum(known - 1, 0)
    position = np.clip(rank - 1, 0, last)
    found: Row = ordered[position, columns]
    if interpolate:
        following = np.minimum(position + 1, last)
        inside = (rank >= 1) & (rank < known)
        found = np.where(inside, found + (exact - rank) * (ordered[following, columns] - found), found)
    return found


def find(name: str) -> Aggregate | None:
    """The aggregate called `name`, also with ``Series`` behind it; None if there is none."""
    name = name.removesuffix("Series")
    known = AGGREGATES.get(ALIASES.get(name, name))
    if known is not None:
        return known
    match = _PERCENTILE.match(name)
    if match is None:
        return None
    digits = match.group(1)
    # carbonapi's p999 is the percentile 99.9, and so on
    percent = (
        float(digits)
        if "." in digits or len(digits) <= 2 or digits == "100"
        else float(digits) / 10 ** (len(digits) - 2)
    )
    return lambda matrix: percentile(matrix, percent)


def by_name(name: str) -> Aggregate:
    """The aggregate called `name`.  Raises QueryError."""
    found = find(name)
    if found is None:
        known = ", ".join(sorted([*AGGREGATES, *ALIASES]))
        raise QueryError(f"unknown aggregation function {name[:60]!r}; use one of {known}, or a percentile such as p95")
    return found


def of_values(name: str, values: Row) -> float:
    """The aggregate of one series' values; NaN if none is known."""
    return float(by_name(name)(values.reshape(-1, 1))[0]) if len(values) else math.nan
