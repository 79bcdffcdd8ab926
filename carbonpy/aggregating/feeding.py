"""From the names under which points came to the outputs that they go into.

The law: what a name goes into is asked for once, when its first good point comes, and kept until the rules change.  A
point that goes into several outputs is handed on several times, in the order of its rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: Numbers of outputs (int64), timestamps (uint32), values (float64), equally long.
Take = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class Feeding:
    """Rows of outputs by name.  One owner.

    `outputs_of(name)` has the numbers of the outputs that the points of a raw name go into; `take` gets the points.
    """

    def __init__(self, outputs_of: Callable[[bytes], Sequence[int]], take: Take) -> None:
        self._outputs_of = outputs_of
        self._take = take
        #: Name -> its row; row 0 is of all names that go into nothing.
        self._rows: dict[bytes, int] = {}
        self._shared: dict[tuple[int, ...], int] = {}
        self._begin = self._count = self._outputs = np.zeros(0, np.int64)
        self._added: list[tuple[int, ...]] = []
        self.rules_changed()

    def rules_changed(self) -> None:
        """Ask for every name again."""
        self._rows = {}
        self._shared = {(): 0}
        self._begin, self._count = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._outputs = np.zeros(0, np.int64)
        self._added = []

    def points(self, names: Sequence[bytes], good: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Points in the order in which they came, and which of them count."""
        rows: list[int | None] = list(map(self._rows.get, names))
        if None in rows:
            for place, (name, row, fine) in enumerate(zip(names, rows, good.tolist())):
                if row is None:
                    rows[place] = self._row(name) if fine else 0
            self._extend()
        of = np.array(rows, np.int64)
        counts = np.where(good, self._count[of], 0)
        total = int(counts.sum())
        if not total:
            return
        which = np.flatnonzero(counts)
        if total == len(which):
            outputs = self._outputs[self._begin[of[which]]]
        else:
            repeated = counts[which]
            which = np.repeat(which, repeated)
            within = np.arange(total) - np.repeat(np.cumsum(repeated) - repeated, repeated)
            outputs = self._outputs[self._begin[of[which]] + within]
        self._take(outputs, timestamps[which], values[which])

    def _row(self, name: bytes) -> int:
        known = self._rows.get(name)
        if known is not None:
            return known
        outputs = tuple(self._outputs_of(name))
        row = self._shared.get(outputs)
        if row is None:
            row = self._shared[outputs] = len(self._shared)
            self._added.append(outputs)
        self._rows[name] = row
        return row

    def _extend(self) -> None:
        if self._added:
            counts = np.array([len(outputs) for outputs in self._added], np.int64)
            begins = len(self._outputs) + np.cumsum(counts) - counts
            self._count, self._begin = np.concatenate((self._count, counts)), np.concatenate((self._begin, begins))
            self._outputs = np.concatenate((self._outputs, *(np.array(o, np.int64) for o in self._added)))
            self._added = []
