"""A chunk: points that go the same way together, as lines, as columns, or as both.

The law: both forms say the same, and a form that nobody asks for is never made.  Lines are as they came in where they
came in as lines; columns are as the intake judged them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from carbonpy.wire import line


class Columns(NamedTuple):
    """Parallel columns: names (UTF-8), whole timestamps (int64 or uint32), values (float64)."""

    names: list[bytes]
    timestamps: np.ndarray
    values: np.ndarray


class Chunk:
    """Some points for one way.  Immutable to its users; one owner (the reactor's thread), since forms are made late.

    text: whole lines; names, timestamps and values: columns, the names as what gives them.  born: when the points came
    in, by the clock of the outboxes.  At least one form is given.
    """

    __slots__ = ("_columns", "_names", "_text", "_timestamps", "_values", "born", "points")

    def __init__(
        self,
        points: int,
        born: float,
        text: bytes | None = None,
        names: Callable[[], list[bytes]] | None = None,
        timestamps: np.ndarray | None = None,
        values: np.ndarray | None = None,
    ) -> None:
        self.points = points
        self.born = born
        self._text = text
        self._names = names
        self._timestamps = timestamps
        self._values = values
        self._columns: Columns | None = None

    def text(self) -> bytes:
        """The points as lines, each with its newline."""
        if self._text is None:
            self._text = line.format_columns(*self.columns())
        return self._text

    def columns(self) -> Columns:
        """The points as columns."""
        if self._columns is None:
            if self._names is not None:
                assert self._timestamps is not None and self._values is not None
                self._columns = Columns(self._names(), self._timestamps, self._values)
            else:
                assert self._text is not None
                self._columns = _parsed(self._text)
        return self._columns


def _parsed(text: bytes) -> Columns:
    """Columns of lines that were well formed when they came in."""
    points = line.parse(text)
    if points is None:
        # Well formed for carbon, but not for the fast reader: other white space, no time in whole seconds.
        rows = [row for row in map(line.parse_line, text.split(b"\n")) if row is not None]
        names = [name for name, _, _ in rows]
        points = line.Points(names, np.array([row[1] for row in rows]), np.array([row[2] for row in rows], np.float64))
    timestamps = points.timestamps
    if timestamps.dtype != np.int64:
        timestamps = np.trunc(timestamps).astype(np.int64)
    return Columns(points.names, timestamps, points.values)


def joined(chunks: Sequence[Chunk]) -> bytes:
    """The lines of several chunks."""
    return b"".join([chunk.text() for chunk in chunks])
