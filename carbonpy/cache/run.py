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

    def only(self, identities: np.ndarray) -> Run:
        """The part of this run whose ids are among `identities`."""
        return self.where(np.isin(self.ids, identities))

    def where(self, mask: np.ndarray) -> Run:
        """The points at which `mask` (bool) is true."""
        return self._replace(ids=self.ids[mask], timestamps=self.timestamps[mask], values=self.values[mask])
