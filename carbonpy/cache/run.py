"""Runs: immutable, sorted columns of datapoints.

The law: a run is sorted by (id, timestamp) and holds at most one value for each; merging keeps the
value that came last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: Columns of a batch or run: ids (uint32), timestamps (uint32), values (float64).
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]

EMPTY: Columns = (np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float64))


def concatenate(parts: Sequence[Columns]) -> Columns:
    """The parts one behind the other, unsorted."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    ids, timestamps, values = zip(*parts)
    return np.concatenate(ids), np.concatenate(timestamps), np.concatenate(values)


def merge(parts: Sequence[Columns]) -> Columns:
    """The parts sorted by (id, timestamp); of equal ones the last in the order of the parts stays."""
    ids, timestamps, values = concatenate(parts)
    count = len(ids)
    if count == 0:
        return EMPTY
    key = ids.astype(np.uint64) << np.uint64(32) | timestamps
    if count > 1 and not (key[1:] > key[:-1]).all():
        order = np.argsort(key, kind="stable")
        key = key[order]
        keep = np.empty(count, bool)
        keep[-1] = True
        np.not_equal(key[1:], key[:-1], out=keep[:-1])
        if not keep.all():
            order = order[keep]
        ids, timestamps, values = ids[order], timestamps[order], values[order]
    return ids, timestamps, values


class Run(NamedTuple):
    """Sorted columns and the journal segments that hold the same points.  Immutable."""

    ids: np.ndarray
    timestamps: np.ndarray
    values: np.ndarray
    #: Numbers of the journal segments (empty without a journal).
    segments: frozenset[int]
    #: The points wait for their file to be made, or for an error to go away.
    waiting: bool = False

    @property
    def columns(self) -> Columns:
        """The three columns."""
        return self.ids, self.timestamps, self.values

    def of(self, identity: int) -> tuple[np.ndarray, np.ndarray]:
        """(timestamps, values) of one metric."""
        start = int(self.ids.searchsorted(np.uint32(identity), "left"))
        if start == len(self.ids) or self.ids[start] != identity:
            return EMPTY[1], EMPTY[2]
        end = int(self.ids.searchsorted(np.uint32(identity), "right"))
        return self.timestamps[start:end], self.values[start:end]

    def only(self, identities: np.ndarray) -> Run:
        """The part of this run whose ids are among `identities`."""
        mask = np.isin(self.ids, identities)
        return self._replace(ids=self.ids[mask], timestamps=self.timestamps[mask], values=self.values[mask])
