"""Metrics that have had no point, or whose files were not written to, for longer than the rules allow.

The law: this only looks.  A file without any point counts from when it was last written to; what cannot be read stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from carbonpy.errors import CarbonError
from carbonpy.rules.expiry import WRITTEN, ExpiryBook
from carbonpy.upkeep.tree import NamesOf, files_below, named
from carbonpy.whisper.layout import POINT, parse_header


class Expired(NamedTuple):
    """A metric that may go: the rule's section, when it had its last point (or write), the size of its file."""

    metric: str
    path: str
    rule: str
    last: int
    size: int


class Expiry:
    """Looks through a tree.  One owner; the counts may be read from any thread."""

    def __init__(self, root: str, book: ExpiryBook, names_of: NamesOf, now: float) -> None:
        self._root = root
        self._book = book
        self._names_of = names_of
        self._now = now
        self.files = 0
        self.nameless = 0
        self.unreadable = 0

    def expired(self, start: str = "") -> Iterator[Expired]:
        """The metrics below `root`/`start` that may go, in order of their paths."""
        for path, metric in named(files_below(self._root, start), self._names_of):
            self.files += 1
            if metric is None:
                self.nameless += 1
                continue
            try:
                found = self.look(path, metric)
            except (OSError, CarbonError):
                self.unreadable += 1
                continue
            if found is not None:
                yield found

    def look(self, path: str, metric: str) -> Expired | None:
        """The metric of a file, if it may go.  Raises OSError or CorruptWhisperFile."""
        rule = self._book.match(metric)
        if rule is None:
            return None
        limit = self._now - rule.after
        where = os.path.join(self._root, path)
        status = os.stat(where)
        last = int(status.st_mtime)
        if rule.by != WRITTEN:
            last = newest_point(where, limit) or last
        return Expired(metric, path, rule.name, last, status.st_size) if last < limit else None


def newest_point(path: str, enough: float = float("inf")) -> int:
    """The time of the newest point in a file, 0 if there is none; of the first archive with one at `enough` or later.

    Raises OSError or CorruptWhisperFile.
    """
    with open(path, "rb") as file:
        data = file.read()
    newest = 0
    for archive in parse_header(data, path).archives:
        count = min(archive.points, max(0, len(data) - archive.offset) // POINT.itemsize)
        stamps = np.frombuffer(data, POINT, count, archive.offset)["t"] if count else np.zeros(0)
        newest = max(newest, int(stamps.max(initial=0)))
        if newest >= enough:
            break
    return newest
