"""Datapoints into a tree without a daemon: what a daemon's writer would make of them.

The law: points of one metric and time replace each other in the order in which they come; files are made by the rules;
what no file takes is counted with its reason.  No daemon may write to the tree meanwhile, as a file has one writer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from carbonpy.columns import merge

#: Points that are gathered before files are written.
PORTION = 500_000

#: Writes sorted columns (ids, timestamps, values): `Sweeper.sweep`'s outcome, as plain numbers.
Write = Callable[[tuple[np.ndarray, np.ndarray, np.ndarray]], tuple[int, dict[str, int], list[str]]]


class Loader:
    """Gathers points and has them written.  One owner."""

    def __init__(self, learn: Callable[[list[int], list[bytes]], None], write: Write) -> None:
        """`learn(ids, names)`: new metrics, in UTF-8.  `write(columns)`: (written, dropped, sentences)."""
        self._learn = learn
        self._write = write
        self._ids: dict[str, int] = {}
        self._told = 0
        self._gathered: list[tuple[int, int, float]] = []
        self.written = 0
        self.dropped: Counter[str] = Counter()
        self.sentences: list[str] = []

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics so far."""
        return list(self._ids)

    def add(self, points: Iterable[tuple[str, int, float]]) -> None:
        """Take points; they are written when there are many."""
        ids = self._ids
        for metric, timestamp, value in points:
            self._gathered.append((ids.setdefault(metric, len(ids)), timestamp, value))
            if len(self._gathered) >= PORTION:
                self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if not self._gathered:
            return
        names = [name.encode() for name in list(self._ids)[self._told :]]
        self._learn(list(range(self._told, len(self._ids))), names)
        self._told = len(self._ids)
        ids, timestamps, values = zip(*self._gathered)
        self._gathered = []
        columns = np.array(ids, np.uint32), np.array(timestamps, np.uint32), np.array(values, np.float64)
        merged = merge([columns])
        self.dropped["replaced"] += len(ids) - len(merged[0])
        written, dropped, sentences = self._write(merged)
        self.written += written
        self.dropped.update(dropped)
        self.sentences += sentences
