"""Aggregates that grow value by value, for many coarse slots at once.

The law: after any sequence of `add`s, `results` are for each row what `rollup.aggregate` gives for
the values added to the row, in that order, to the last bit.  So a writer that remembers a Running
need not read a coarse slot's fine values again to add one more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carbonpy.whisper.layout import ABSMAX, ABSMIN, AVERAGE, AVG_ZERO, LAST, MAX, MIN, SUM
from carbonpy.whisper.rollup import COMPENSATED

Floats = NDArray[np.float64]


class Running:
    """Rows of unfinished aggregates: `count` (int64), `value` and `lost` (float64), changed in place.

    `value` is the sum so far, or the value chosen so far; `lost` what the sum's rounding lost (only
    where this interpreter's sum() carries it along).  One thread.
    """

    __slots__ = ("_method", "count", "lost", "value")

    def __init__(self, method: int, count: NDArray[np.int64], value: Floats, lost: Floats) -> None:
        self._method = method
        self.count = count
        self.value = value
        self.lost = lost

    @classmethod
    def empty(cls, method: int, rows: int) -> Running:
        """Rows to which nothing was added."""
        return cls(method, np.zeros(rows, np.int64), np.zeros(rows), np.zeros(rows))

    def add(self, rows: NDArray[np.int64] | slice, values: Floats) -> None:
        """Add ``values[i]`` to row ``rows[i]``; no row may occur twice."""
        method = self._method
        before = self.value[rows]
        with np.errstate(all="ignore"):
            if method in (AVERAGE, SUM, AVG_ZERO):
                after = before + values
                if COMPENSATED:
                    larger = np.abs(before) >= np.abs(values)
                    self.lost[rows] += np.where(larger, (before - after) + values, (values - after) + before)
            elif method == LAST:
                after = values
            else:
                if method == MAX:
                    better = values > before
                elif method == MIN:
                    better = values < before
                elif method == ABSMAX:
                    better = np.abs(values) > np.abs(before)
                else:
                    assert method == ABSMIN
                    better = np.abs(values) < np.abs(before)
                after = np.where(better | (self.count[rows] == 0), values, before)
        self.value[rows] = after
        self.count[rows] += 1

    def add_groups(self, starts: NDArray[np.int64], sizes: NDArray[np.int64], values: Floats) -> None:
        """Add to row i the values from ``starts[i]`` on, ``sizes[i]`` of them."""
        longest = int(sizes.max(initial=0))
        if longest and bool((sizes == longest).all()):
            everyone = slice(None)
            for offset in range(longest):
                self.add(everyone, values[starts + offset])
            return
        for offset in range(longest):
            rows = np.flatnonzero(sizes > offset)
            self.add(rows, values[starts[rows] + offset])

    def add_known(self, values: Floats, known: NDArray[np.bool_]) -> None:
        """Add to row i those of ``values[i, :]`` that are known, in order."""
        for column in range(values.shape[1]):
            rows = np.flatnonzero(known[:, column])
            self.add(rows, values[rows, column])

    def results(self, slots: int | NDArray[np.int64]) -> Floats:
        """The aggregate of every row, of `slots` fine slots (each, or row by row); NaN for a row without values."""
        method = self._method
        with np.errstate(all="ignore"):
            result = self.value
            if method in (AVERAGE, SUM, AVG_ZERO):
                if COMPENSATED:
                    lost = self.lost
                    result = np.where((lost != 0.0) & np.isfinite(lost), result + lost, result)
                if method == AVERAGE:
                    result = result / self.count
                elif method == AVG_ZERO:
                    result = result / slots
                else:
                    result = result + 0.0
            return np.where(self.count == 0, np.nan, result)
