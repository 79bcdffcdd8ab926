"""The intervals that an aggregator keeps: one cell for each interval of each output, in columns.

The law: a (buffer, start) has at most one cell, and `index` leads to it; a free cell has the owner -1 and is
used again.  Numbers of cells stay valid until the cell is dropped.  `held_values` is how many values all cells hold.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from carbonpy.aggregating.methods import ADD, HOLD, LAST, MAX, MIN, NOTHING_YET

#: What an interval without values has in its place, by how its values are kept.
_NOTHING_YET = np.array([NOTHING_YET[keeping] for keeping in sorted(NOTHING_YET)])


def keys_of(buffers: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The keys in `Cells.index` (int64) of the intervals of `buffers` that begin at `starts`."""
    return buffers.astype(np.int64) << 32 | starts


def grow(owner: object, columns: Sequence[tuple[str, type, float]], size: int) -> None:
    """Let the columns (name, type, what fills them), attributes of `owner`, have `size` places."""
    for name, kind, fill in columns:
        column: np.ndarray = np.full(size, fill, kind)
        old = getattr(owner, name, None)
        if old is not None:
            column[: len(old)] = old
        setattr(owner, name, column)


class Cells:
    """Columns of cells.  One owner."""

    #: The number of the output, -1 for a free cell; when the interval begins.
    owner: np.ndarray
    start: np.ndarray
    #: How many values came, the running figure, and (kept for LAST only) the newest timestamp.
    count: np.ndarray
    figure: np.ndarray
    newest: np.ndarray
    #: Whether values came since the interval was sent, and when the last one came.
    active: np.ndarray
    touched: np.ndarray

    _COLUMNS = (
        ("owner", np.int32, -1),
        ("start", np.int64, 0),
        ("count", np.int64, 0),
        ("figure", np.float64, 0.0),
        ("newest", np.int64, -1),
        ("active", np.bool_, False),
        ("touched", np.float64, 0.0),
    )

    def __init__(self) -> None:
        self.index: dict[int, int] = {}
        self._free: list[int] = []
        #: How many cells were ever made.
        self.made = 0
        self._held: dict[int, array[float]] = {}
        self.held_values = 0
        self._room(256)

    def _room(self, size: int) -> None:
        old = len(self.owner) if hasattr(self, "owner") else 0
        grow(self, self._COLUMNS, size)
        self._free[:0] = range(size - 1, old - 1, -1)

    def __len__(self) -> int:
        return len(self.index)

    def make(self, keys: np.ndarray, keeping: np.ndarray, now: float) -> np.ndarray:
        """New cells for intervals that have none: by their `keys`, each once, and how their values are kept."""
        count = len(keys)
        self.made += count
        if count > len(self._free):
            self._room(max(2 * len(self.owner), len(self.index) + count))
        free = self._free[-count:] if count else []
        del self._free[len(self._free) - count :]
        cells = np.array(free[::-1], np.int64)
        self.index.update(zip(keys.tolist(), cells.tolist()))
        self.owner[cells], self.start[cells] = keys >> 32, keys & 0xFFFFFFFF
        self.count[cells], self.figure[cells], self.newest[cells] = 0, _NOTHING_YET[keeping], -1
        self.active[cells], self.touched[cells] = False, now
        return cells

    def drop(self, cells: np.ndarray) -> None:
        """Free cells, and what they hold."""
        keys = keys_of(self.owner[cells], self.start[cells])
        for cell, key in zip(cells.tolist(), keys.tolist()):
            del self.index[key]
            held = self._held.pop(cell, None)
            if held is not None:
                self.held_values -= len(held)
            self._free.append(cell)
        self.owner[cells] = -1

    def used(self) -> np.ndarray:
        """The numbers of all cells that are in use."""
        return np.flatnonzero(self.owner >= 0)

    def take(self, cells: np.ndarray, keeping: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Put `values` (in the order in which they came) into `cells`; `keeping` says how, per value."""
        np.add.at(self.count, cells, 1)
        self.active[cells] = True
        present = np.flatnonzero(np.bincount(keeping, minlength=HOLD + 1)).tolist()
        for how in present:
            if len(present) == 1:
                some, times, theirs = cells, timestamps, values
            else:
                which = np.flatnonzero(keeping == how)
                some, times, theirs = cells[which], timestamps[which], values[which]
            if how == ADD:
                with np.errstate(invalid="ignore", over="ignore"):  # infinite values; what comes of them is looked at
                    np.add.at(self.figure, some, theirs)
            elif how == MIN:
                np.minimum.at(self.figure, some, theirs)
            elif how == MAX:
                np.maximum.at(self.figure, some, theirs)
            elif how == LAST:
                self._take_last(some, times, theirs)
            elif how == HOLD:
                self._hold(some, theirs)

    def _take_last(self, cells: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """The value with the newest timestamp, of equal ones the one that came last."""
        times = timestamps.astype(np.int64)
        if len(times) > 1 and not (times[1:] >= times[:-1]).all():
            order = np.argsort(times, kind="stable")
            cells, times, values = cells[order], times[order], values[order]
        newer = times >= self.newest[cells]
        if not newer.all():
            cells, times, values = cells[newer], times[newer], values[newer]
        self.figure[cells] = values
        self.newest[cells] = times

    def _hold(self, cells: np.ndarray, values: np.ndarray) -> None:
        order = np.argsort(cells, kind="stable")
        ordered, values = cells[order], np.ascontiguousarray(values[order], np.float64)
        begins = np.flatnonzero(np.diff(ordered, prepend=-1)).tolist()
        held = self._held
        for cell, begin, end in zip(ordered[begins].tolist(), begins, [*begins[1:], len(values)]):
            mine = held.get(cell)
            if mine is None:
                mine = held[cell] = array("d")
            mine.frombytes(values[begin:end].tobytes())
        self.held_values += len(values)

    def held(self, cell: int) -> np.ndarray:
        """The values that a cell holds: float64, not to be kept."""
        return np.array(self._held.get(cell, ()), np.float64)

    def all_held(self, cells: np.ndarray) -> tuple[np.ndarray, bytes]:
        """How many values each of `cells` holds (int64), and all of them as bytes."""
        lengths = np.zeros(len(self.owner), np.int64)
        for cell, values in self._held.items():
            lengths[cell] = len(values)
        lengths = lengths[cells]
        held = self._held
        return lengths, b"".join([held[cell].tobytes() for cell in cells[lengths > 0].tolist()])

    def hold_bytes(self, cell: int, values: bytes) -> None:
        """Let a cell hold what `all_held` gave."""
        self._held[cell] = array("d", values)
        self.held_values += len(values) // 8
