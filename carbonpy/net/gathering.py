"""Gathering: what many connections sent in a few milliseconds is taken in as one.

The law: bytes and points are handed to the intake in the order in which they came, at the latest
`interval` seconds after the first of them, at once when `size` bytes have come together.  Only lines
that may be dropped (UDP) come after the others with which they were gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from carbonpy.ingest.intake import Intake


class Later(Protocol):
    """The part of a reactor that is needed here."""

    def callLater(self, delay: float, callable: object, *args: object) -> object: ...


class Gatherer:
    """Between receivers and the intake.  Reactor thread only."""

    def __init__(self, reactor: Later, intake: Intake, *, interval: float, size: int) -> None:
        self._reactor = reactor
        self._intake = intake
        self._interval = interval
        self._size = size
        self._texts: list[tuple[bytes, str]] = []
        self._droppable: list[tuple[bytes, str]] = []
        self._points: list[tuple[list[bytes], np.ndarray, np.ndarray]] = []
        self._gathered = 0
        self._scheduled = False
        self._after: list[Callable[[], None]] = []
        #: How often something was handed over.
        self.flushes = 0

    @property
    def gathered(self) -> int:
        """About how many bytes wait to be handed over."""
        return self._gathered

    def after(self, done: Callable[[], None]) -> None:
        """Call `done` when all that was gathered so far has been handed over."""
        if self._gathered:
            self._after.append(done)
        else:
            done()

    def lines(self, text: bytes, sender: str, droppable: bool = False) -> None:
        """Whole lines from a sender; `droppable` if the sender cannot be paused."""
        if self._points:
            self.flush()
        (self._droppable if droppable else self._texts).append((text, sender))
        self._gather(len(text))

    def points(self, names: list[bytes], timestamps: np.ndarray, values: np.ndarray) -> None:
        """Datapoints of one pickle."""
        if self._texts or self._droppable:
            self.flush()
        self._points.append((names, timestamps, values))
        self._gather(32 * len(names))

    def _gather(self, size: int) -> None:
        self._gathered += size
        if self._gathered >= self._size or not self._interval:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(self._interval, self._due)

    def _due(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Hand over what there is now."""
        texts, self._texts = self._texts, []
        droppable, self._droppable = self._droppable, []
        points, self._points = self._points, []
        self._gathered = 0
        self.flushes += 1
        if texts:
            self._intake.lines(texts)
        if droppable:
            self._intake.lines(droppable, droppable=True)
        if len(points) == 1:
            self._intake.points(*points[0])
        elif points:
            names = [name for batch in points for name in batch[0]]
            self._intake.points(
                names, np.concatenate([batch[1] for batch in points]), np.concatenate([batch[2] for batch in points])
            )
        if self._after:
            after, self._after = self._after, []
            for done in after:
                done()
