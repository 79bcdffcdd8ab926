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
from collections.abc import Callable, Iterator
from functools import partial, wraps

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError

Matrix = NDArray[np.float64]
Row = NDArray[np.float64]
Aggregate = Callable[[Matrix], Row]

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100|\d{3,})\Z")


def _quiet(aggregate: Aggregate) -> Aggregate:
    """The same aggregate without numpy's warnings; what overflows is infinite, what makes no sense is NaN."""

    @wraps(aggregate)
    def silent(matrix: Matrix) -> Row:
        with np.errstate(all="ignore"):
            return aggregate(matrix)

    return silent


def _columns_with_gaps(reduced: Row) -> NDArray[np.intp] | None:
    """Where a plain reduction of a matrix met a NaN and has to be done again with care; None for nowhere.

    Most columns have no gap, and to look for gaps takes longer than to add.
    """
    gaps = np.flatnonzero(np.isnan(reduced))
    return gaps if len(gaps) else None


def _added(matrix: Matrix) -> Row:
    """The sum of each column, from the first row to the last.

    numpy adds rows one after the other only as long as they lie so in memory and are no single numbers; those
    that follow each other in memory it adds in pairs.
    """
    if matrix.shape[1] == 1 and len(matrix):
        column: Row = np.add.accumulate(matrix[:, 0])[-1:].copy()
        return column
    total: Row = np.add.reduce(np.ascontiguousarray(matrix), axis=0)
    return total


def _total(matrix: Matrix) -> tuple[Row, Row]:
    """(sum of the known values, how many there are) of each column; the sum of none is 0."""
    total = _added(matrix)
    counted = np.full(len(total), float(len(matrix)))
    gaps = _columns_with_gaps(total)
    if gaps is not None:
        total[gaps], counted[gaps] = _total_with_gaps(matrix if len(gaps) == len(total) else matrix[:, gaps])
    return total, counted


def _total_with_gaps(matrix: Matrix) -> tuple[Row, Row]:
    total, counted = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
    filled = np.empty((0, len(total)))
    for block in _blocks(matrix):
        if not len(filled):
            filled = np.empty((len(block) + 1, len(total)))  # the first block is the largest
        known = block == block
        terms = filled[: len(block) + 1]
        terms[0] = total
        terms[1:].fill(0.0)
        np.copyto(terms[1:], block, where=known)
        total = _added(terms)
        counted += _trues(known)
    return total, counted


def _blocks(matrix: Matrix) -> Iterator[Matrix]:
    """The matrix in pieces of consecutive rows, small enough for the processor's cache."""
    size = max(16, min(255, 1 + 50_000 // max(1, matrix.shape[1])))
    return (matrix[first : first + size] for first in range(0, len(matrix), size))


def _trues(block: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How many of each column's values, 255 at most, are True: several times as fast as numpy's count."""
    trues: NDArray[np.uint8] = np.add.reduce(block.view(np.uint8), axis=0, dtype=np.uint8)
    return trues


@_quiet
def _sum(matrix: Matrix) -> Row:
    total, counted = _total(matrix)
    total[counted == 0] = np.nan
    return total


@_quiet
def count(matrix: Matrix) -> Row:
    """How many values of each column are known; 0 where none is."""
    counted = np.zeros(matrix.shape[1])
    for block in _blocks(matrix):
        counted += _trues(block == block)
    return counted


@_quiet
def _count(matrix: Matrix) -> Row:
    counted = count(matrix)
    counted[counted == 0] = np.nan
    return counted


@_quiet
def _average(matrix: Matrix) -> Row:
    total, counted = _total(matrix)
    return total / counted


@_quiet
def _avg_zero(matrix: Matrix) -> Row:
    return _sum(matrix) / len(matrix)


@_quiet
def _median(matrix: Matrix) -> Row:
    known = count(matrix).astype(np.intp)
    ordered = np.sort(matrix, axis=0)  # NaN last
    columns = np.arange(matrix.shape[1])
    upper = ordered[np.minimum(known // 2, len(matrix) - 1), columns]
    lower = ordered[np.maximum((known - 1) // 2, 0), columns]
    return np.where(known % 2 == 1, upper, (lower + upper) / 2)


@_quiet
def _min(matrix: Matrix) -> Row:
    lowest: Row = np.fmin.reduce(matrix, axis=0)
    return lowest


@_quiet
def _max(matrix: Matrix) -> Row:
    highest: Row = np.fmax.reduce(matrix, axis=0)
    return highest


@_quiet
def _first(matrix: Matrix) -> Row:
    return matrix[(~np.isnan(matrix)).argmax(axis=0), np.arange(matrix.shape[1])]


@_quiet
def _last(matrix: Matrix) -> Row:
    return _first(matrix[::-1])


@_quiet
def _diff(matrix: Matrix) -> Row:
    """The first known value of a column minus all its other known ones, from the first to the last."""
    difference: Row = np.subtract.reduce(matrix, axis=0)
    gaps = _columns_with_gaps(difference)
    if gaps is not None:
        part = matrix[:, gaps]
        signed = np.where(np.isnan(part), 0.0, -part)
        first = (~np.isnan(part)).argmax(axis=0), np.arange(len(gaps))
        signed[first] = part[first]
        difference[gaps] = _added(signed)
    return difference


@_quiet
def _stddev(matrix: Matrix) -> Row:
    """Of the population."""
    return np.sqrt(_average((matrix - _average(matrix)) ** 2))


@_quiet
def _range(matrix: Matrix) -> Row:
    return _max(matrix) - _min(matrix)


@_quiet
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
    exact = np.clip(percent / 100.0 * (known + 1), 0, known + 1)
    rank = np.floor(exact).astype(np.intp) if interpolate else np.ceil(exact).astype(np.intp)
    last = np.maximum(known - 1, 0)
    position = np.clip(rank - 1, 0, last)
    found: Row = ordered[position, columns]
    if interpolate:
        following = np.minimum(position + 1, last)
        inside = (rank >= 1) & (rank < known)
        with np.errstate(all="ignore"):
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
    return partial(percentile, percent=percent)


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
