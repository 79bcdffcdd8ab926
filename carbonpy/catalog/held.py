"""The names of a catalogue held in memory for those who ask often, and kept as the file is.

The law: what is answered is what the file answers at that version or a later one.  The first question is left to
SQLite, so that who asks once pays nothing; the second one reads all names (a second for a million), later ones what
has changed since.  Where too much has changed, SQLite answers, and names are read anew only after a while, so that
reading them takes no more than a small part of the time.  Where they are too many, or take too long, it is not tried
again.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from carbonpy.catalog.database import Database, lines
from carbonpy.catalog.nametree import Below, NameTree
from carbonpy.catalog.pattern import Part
from carbonpy.clock import Clock

#: Of the time, at most one part in this many goes into reading all names.
_SHARE = 30
#: Seconds for reading all names, since somebody waits.
_MOST_SECONDS = 10.0

_CHANGES = "SELECT number, gone, paths FROM changes WHERE number > ? ORDER BY number"
_NEWEST = "SELECT max(number) FROM changes"
#: What comes and goes, in order, and the number of the last change; None where some are not known any more.
_News = tuple[list[tuple[str, bool]], int] | None


class HeldNames:
    """Answers patterns from memory where it can.  Safe from any thread."""

    def __init__(self, database: Database, clock: Clock = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = False
        self._tree: NameTree | None = None
        self._version: tuple[int, int] | None = None
        self._number = 0
        self._not_before = -math.inf

    def find(
        self, alternatives: Sequence[Sequence[Part]], leaves_only: bool, version: tuple[int, int]
    ) -> Below | None:
        """(branches, leaves) as `NameTree.find` gives them, None if the file has to be asked.

        version: `Database.version()` from before the call.  Raises what the database raises.
        """
        if not self._asked:
            self._asked = True
            return None
        if not self._lock.acquire(blocking=False):
            return None  # somebody is reading the names
        try:
            if version != self._version:
                self._follow(version)
            tree = self._tree
        finally:
            self._lock.release()
        return None if tree is None else tree.find(alternatives, leaves_only)

    def _follow(self, version: tuple[int, int]) -> None:
        """See that the tree is of the version, or that there is none."""
        same_file = self._version is not None and version[0] == self._version[0]
        if not same_file:
            self._tree, self._not_before = None, -math.inf
        if self._tree is not None:
            news = self._database.read(self._news)
            if news is None or not self._tree.change(news[0]):
                self._tree = None
            else:
                self._number = news[1]
        if self._tree is None and self._clock() >= self._not_before:
            began = self._clock()
            try:
                late = partial(self._is_late, began + _MOST_SECONDS)
                self._tree, self._number = self._database.read(partial(_all, late=late))
            except MemoryError:
                self._tree = None
            taken = self._clock() - began
            self._not_before = math.inf if self._tree is None else self._clock() + _SHARE * taken
        self._version = version

    def _is_late(self, moment: float) -> bool:
        return self._clock() > moment

    def _news(self, connection: sqlite3.Connection) -> _News:
        changes: list[tuple[str, bool]] = []
        number = self._number
        for number_of_row, gone, paths in connection.execute(_CHANGES, (number,)):
            if number_of_row != number + 1:
                return None
            number = number_of_row
            changes += ((path, not gone) for path in lines(paths))
        return changes, number


def _all(connection: sqlite3.Connection, late: Callable[[], bool]) -> tuple[NameTree | None, int]:
    connection.execute("BEGIN")
    try:
        return NameTree.read(connection, late), connection.execute(_NEWEST).fetchone()[0]
    finally:
        connection.execute("ROLLBACK")
