"""Runs: immutable, sorted columns of datapoints.

The law: a run is sorted by (id, timestamp) and holds at most one value for each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from carbonpy.columns import EMPTY, Columns


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

    def of_many(self, identities: np.ndarray) -> Columns:
        """The points of metrics whose ids, sorted, are `identities`."""
        starts, ends = self.ids.searchsorted(identities, "left"), self.ids.searchsorted(identities, "right")
        counts = ends - starts
        if not counts.any():
            return EMPTY
        # Position by position: each metric's start, and how far the point is behind it.
        behind = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        at = np.repeat(starts, counts) + behind
        return self.ids[at], self.timestamps[at], self.values[at]

    def only(self, identities: np.ndarray) -> Run:
        """The part of this run whose ids are among `identities`."""
        return self.where(np.isin(self.ids, identities))

    def where(self, mask: np.ndarray) -> Run:
        """The points at which `mask` (bool) is true."""
        return self._replace(ids=self.ids[mask], timestamps=self.timestamps[mask], values=self.values[mask])


def among(columns: Columns, wanted: np.ndarray) -> Columns:
    """The points whose ids are among `wanted`, which is sorted and not empty."""
    ids, timestamps, values = columns
    mask = wanted[np.minimum(wanted.searchsorted(ids), len(wanted) - 1)] == ids
    return ids[mask], timestamps[mask], values[mask]


def partition(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """(waiting runs, the others), each in their order: the points of the former are older."""
    return [run for run in runs if run.waiting], [run for run in runs if not run.waiting]
