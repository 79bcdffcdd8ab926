"""What a writer remembers of its files: layout, inode, base points and unfinished coarse slots, in columns by id.

The law: what is remembered is used only for a file that is as this writer left it, and every time the
file is opened inode, size and time of modification say whether it is.  (A program that writes to the
file within the few milliseconds in which we do is not seen; programs that share files with a writer
use WHISPER_LOCK_WRITES.)  A file that was changed is met anew: it may be another one, whose rings begin
elsewhere.

A base of 0 means "not known": it is read from the file before it is used.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from carbonpy.whisper.layout import Header, parse_header

#: Archives per file that fit the table without growing it.
_ARCHIVES = 2


class Layout:
    """One header that many files share, with its arithmetic at hand.  Immutable."""

    def __init__(self, header_bytes: bytes, header: Header) -> None:
        self.header_bytes = header_bytes
        self.header = header
        self.size = header.file_size
        self.steps = [archive.step for archive in header.archives]
        self.points = [archive.points for archive in header.archives]
        self.offsets = [archive.offset for archive in header.archives]
        self.retention = header.archives[0].retention


class OpenSlots:
    """The newest coarse slot of each file, as far as it is filled: columns by row.  One owner.

    `slot` is its timestamp; `count`, `value` and `lost` are those of a `Running` over its fine values;
    `newest` is the newest fine slot of the file, 0 for a file without points, UNKNOWN if nothing is known.
    """

    UNKNOWN = -1

    def __init__(self, rows: int) -> None:
        self.slot = np.zeros(rows, np.int64)
        self.newest = np.full(rows, self.UNKNOWN, np.int64)
        self.count = np.zeros(rows, np.int64)
        self.value = np.zeros(rows)
        self.lost = np.zeros(rows)

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows."""
        more = OpenSlots(rows - len(self.slot))
        for name, column in vars(self).items():
            setattr(self, name, np.concatenate((column, getattr(more, name))))

    def of(self, rows: np.ndarray) -> OpenSlots:
        """A copy of some rows."""
        part = OpenSlots(0)
        for name, column in vars(self).items():
            setattr(part, name, column[rows])
        return part

    def put(self, rows: np.ndarray, part: OpenSlots) -> None:
        """Take `part` as the new state of these rows."""
        for name, column in vars(self).items():
            column[rows] = getattr(part, name)

    def forget(self, rows: int | Sequence[int], newest: int = UNKNOWN) -> None:
        """Nothing is known of these rows, or (newest = 0) that their files have no points."""
        self.slot[rows] = 0
        self.newest[rows] = newest


#: Nanoseconds: the kernel stamps files with a clock that is up to some milliseconds behind.
_CLOCK_LAG = 20_000_000
Window = tuple[int, int]
#: A window that no time lies in: the file is not as we left it.
NEVER: Window = (1, 0)


def window(begun: int, ended: int) -> Window:
    """The times of modification that a file may have which was last written between these two (ns)."""
    return begun - _CLOCK_LAG, ended


class FileTable:
    """Remembered files by id.  One writer owns it."""

    def __init__(self) -> None:
        self.layouts: list[Layout] = []
        self._layout_of_header: dict[bytes, int] = {}
        #: Canonical name (UTF-8) by id, empty where none was told; index into `layouts`, -1 for not met; inode.
        self.metrics: list[bytes] = []
        self.layout: list[int] = []
        self.inode = array("Q")
        #: When this writer last wrote the file; files of one block share the tuple.
        self.window: list[Window] = []
        self.open_slots = OpenSlots(0)
        #: bases[k][id]: timestamp in the first slot of archive k, 0 for not known.
        self.bases: list[np.ndarray] = [np.zeros(0, np.int64) for _ in range(_ARCHIVES)]

    def learn(self, identities: Sequence[int], metrics: Sequence[bytes]) -> None:
        """The metrics with these ids are called so."""
        known = self.metrics
        missing = max(identities, default=-1) + 1 - len(known)
        if missing > 0:
            known += [b""] * missing
            self.layout += [-1] * missing
            self.inode.extend([0] * missing)
            self.window += [NEVER] * missing
        if len(self.bases[0]) < len(known):
            room = max(1024, len(known) * 5 // 4)
            for number, bases in enumerate(self.bases):
                self.bases[number] = np.concatenate((bases, np.zeros(room - len(bases), np.int64)))
            self.open_slots.grow(room)
        for identity, metric in zip(identities, metrics):
            known[identity] = metric

    def forget(self, identity: int) -> None:
        """The file of `identity` is not what it was: meet it anew at the next visit.  It may be one never learned."""
        if identity < len(self.layout):
            self.layout[identity] = -1
            self.window[identity] = NEVER

    def layout_of(self, header_bytes: bytes, path: str) -> int:
        """Index of the layout with this header.  Raises the whisper error of a header that is damaged."""
        index = self._layout_of_header.get(header_bytes)
        if index is None:
            header = parse_header(header_bytes, path)
            index = len(self.layouts)
            self.layouts.append(Layout(header_bytes, header))
            self._layout_of_header[header_bytes] = index
            while len(self.bases) < len(header.archives):
                self.bases.append(np.zeros(len(self.bases[0]), np.int64))
        return index
