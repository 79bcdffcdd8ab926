r"""The journal: every batch on disk before the next one is parsed, until its points are in their files.

The format.  A journal directory holds for every life of the daemon (an *epoch*, a number that only
grows) one file of names and any number of segments::

    names-<epoch>.cpj            the name of every id of this epoch, in the order of the ids
    points-<epoch>-<number>.cpj  batches; segments are replayed in the order of their numbers

Each file is ``b"CPJ1"`` and then records::

    uint32 length of the body, uint32 crc32 of (kind, count, body), uint8 kind, uint32 count, body

little-endian.  Kind 1 (names): uint32 first id, then `count` names, each with a newline behind it,
lz4 block.  Kind 2 (points): count x uint32 id, count x uint32 timestamp, count x float64 value, lz4
block (both with the plain size in front, as lz4.block stores it).  Kind 3 (struck): count x uint32
id, whose points in the same file were written, or given up, meanwhile.

The law: what a reader gets from a file cut off at any byte is the records before the cut.  A record
that was damaged in place is left out and counted; the records behind it are read.  Reading a
segment twice gives the same points twice, and a point is idempotent, so replay is too.

Replay has to end with the newest value of each point.  So ordinary segments bear multiples of a
number, and points that older segments hold are written anew (`Journal.rewrite`) under a number
between: before everything that came later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

import lz4.block
import numpy as np

from carbonpy.appending import AppendFile
from carbonpy.cache.records import (
    FIRST_ID,
    MAGIC,
    NAMES,
    POINTS,
    STRUCK,
    OldNames,
    batches,
    count_points,
    pack_record,
    read_records,
)
from carbonpy.columns import Columns
from carbonpy.counters import Counter
from carbonpy.errors import JournalError

_FILE = re.compile(r"(names|points)-(\d+)(?:-(\d+))?\.cpj\Z")
#: The numbers of ordinary segments are multiples of this.
_GAP = 1000


class Segment(NamedTuple):
    """A segment left by an earlier life: its file and how many points its records say they hold."""

    epoch: int
    number: int
    path: str
    points: int


class Journal:
    """Appends batches, rotates segments, forgets them when told.

    `sync` is safe from any thread; everything else belongs to one (the reactor's).  A full disk does
    not raise: the batch is counted in `unjournaled`, stays in the cache, and the next batch tries
    again.
    """

    def __init__(
        self, directory: str, *, syncs: bool = True, on_trouble: Callable[[str], None] = lambda sentence: None
    ) -> None:
        self.directory = directory
        #: Whether the owner calls `sync` now and then; if not, files are closed when they are rotated.
        self._syncs = syncs
        self._on_trouble = on_trouble
        try:
            os.makedirs(directory, exist_ok=True)
            entries = os.listdir(directory)
        except OSError as error:
            raise JournalError(f"{directory}: the journal directory cannot be used: {error}; set JOURNAL_DIR") from None
        found = [match for entry in entries if (match := _FILE.match(entry))]
        self._old_names = {int(match[2]): os.path.join(directory, match[0]) for match in found if match[1] == "names"}
        #: (epoch, number, path) of the segments that were not replayed yet.
        self._old_points = sorted(
            (int(m[2]), int(m[3]), os.path.join(directory, m[0])) for m in found if m[1] == "points" and m[3]
        )
        self.epoch = 1 + max([0, *(int(match[2]) for match in found)])
        self._names: AppendFile | None = None
        self._names_written = 0
        self._current: AppendFile | None = None
        self._number = 0
        self._unsynced: list[AppendFile] = []
        #: Segment number -> path, for all segments that still hold unconfirmed points, old ones included.
        self._paths: dict[int, str] = {}
        self._epoch_of: dict[int, int] = {}
        self._mapped: tuple[int, OldNames | None] = (0, None)
        #: Why the last batch could not be written, "" if it was.
        self.trouble = ""
        self.unjournaled = Counter()
        self.damaged = Counter()

    # ---- what an earlier life left

    def leftovers(self) -> list[Segment]:
        """The segments of earlier lives, oldest first, with the points that their records announce."""
        return [
            Segment(epoch, number, path, count_points(read_records(_read(path))[0]))
            for epoch, number, path in self._old_points
        ]

    def replay(self, segment: Segment, intern: Callable[[bytes], int]) -> Iterator[tuple[int, Columns]]:
        """(segment number in this life, batch) for every batch of an old segment, ids by `intern`.

        The segment stays on disk until `forget` is called with that number; one that gives nothing is
        forgotten at once.  Points whose name is lost (a damaged names file) are left out and counted
        as damaged.
        """
        self._number += _GAP
        number = self._number
        self._paths[number] = segment.path
        self._epoch_of[number] = segment.epoch
        self._old_points = [old for old in self._old_points if old[2] != segment.path]
        names = self._names_of(segment.epoch)
        records, damaged, _ = read_records(_read(segment.path))
        self.damaged.add(damaged)
        if damaged and not records:
            # Nothing in it is ours to read: perhaps a person can.
            os.replace(segment.path, segment.path + ".damaged")
            self._on_trouble(f"{segment.path}: not a journal segment any more; kept as {segment.path}.damaged")
        given = False
        for batch in batches(records):
            if batch is None:
                self.damaged.add(1)
                continue
            ids, timestamps, values = batch
            ids = names.intern(ids, intern)
            known = ids != 0
            if not known.all():
                self.damaged.add(int((~known).sum()))
                ids, timestamps, values = ids[known], timestamps[known], values[known]
            if len(ids):
                given = True
                yield number, (ids, timestamps, values)
        if not given:
            self.forget({number})

    def _names_of(self, epoch: int) -> OldNames:
        """The names of an epoch.  Kept for one epoch at a time."""
        mapped, names = self._mapped
        if names is None or mapped != epoch:
            path = self._old_names.get(epoch)
            records, damaged, _ = read_records(_read(path)) if path else ([], 0, False)
            self.damaged.add(damaged)
            names = OldNames(records)
            self._mapped = (epoch, names)
        return names

    # ---- this life

    def append(self, columns: Columns, new_names: Callable[[int], tuple[int, list[bytes]]]) -> bool:
        """Write a batch; True if it is in the journal.

        `new_names(n)` gives (first id, canonical names) of all ids from n on that the journal has not
        seen; they are written first, so that no batch is without its names.
        """
        try:
            if self._current is None:
                self._look_after_names()
            self._write_names(new_names)
            if self._current is None:
                self._number += _GAP
                self._current = self._segment(self._number)
                self._unsynced.append(self._current)
            self._put(self._current, columns)
        except OSError as error:
            self.unjournaled.add(len(columns[0]))
            self.trouble = (
                f"{self.directory}: the journal cannot be written: {error}; points are held in memory only, "
                "make room or mend the directory"
            )
            self._on_trouble(self.trouble)
            return False
        self.trouble = ""
        return True

    def _look_after_names(self) -> None:
        """Write all names anew if somebody removed their file: without it the segments to come mean nothing."""
        if self._names is not None and not os.path.exists(self._names.path):
            self._names = None
            self._names_written = 0

    def _segment(self, number: int) -> AppendFile:
        path = os.path.join(self.directory, f"points-{self.epoch}-{number}.cpj")
        file = AppendFile(path, MAGIC)
        self._paths[number] = path
        self._epoch_of[number] = self.epoch
        return file

    def _put(self, file: AppendFile, columns: Columns) -> None:
        body = b"".join([column.tobytes() for column in columns])
        record = pack_record(POINTS, len(columns[0]), lz4.block.compress(body))
        file.append(record)

    def rewrite(self, columns: Columns, new_names: Callable[[int], tuple[int, list[bytes]]], after: int) -> int:
        """Write points of older segments once more, to be replayed right after segment `after`.

        The number of the new segment; 0 if it cannot be written, and the points stay where they are.
        """
        number = next(free for free in range(after + 1, after + _GAP + 1) if free not in self._paths)
        if number % _GAP == 0:
            return 0
        file = None
        try:
            self._write_names(new_names)
            file = self._segment(number)
            self._put(file, columns)
            if self._syncs:
                # The segments that hold the points now may be removed next.
                file.sync()
        except OSError as error:
            self._on_trouble(f"{self.directory}: the journal cannot be written: {error}; older segments are kept")
            self.forget({number})
            return 0
        finally:
            if file is not None:
                file.close()
        return number

    def strike(self, number: int, ids: np.ndarray) -> None:
        """The points of `ids` in a segment that `rewrite` made are in their files, but the segment has to stay."""
        if number % _GAP:
            self._strike(number, ids)

    def erase(self, numbers: Iterable[int], ids: np.ndarray, metrics: Collection[bytes]) -> None:
        """The points of `ids`, which are those of `metrics`, are given up: a restart must not bring them back.

        For segments that nothing is appended to any more.
        """
        for number in numbers:
            epoch = self._epoch_of.get(number)
            if epoch is not None:
                self._strike(number, ids if epoch == self.epoch else self._names_of(epoch).ids_of(metrics))

    def _strike(self, number: int, ids: np.ndarray) -> None:
        path = self._paths.get(number)
        if path is None or not len(ids):
            return
        record = pack_record(STRUCK, len(ids), ids.astype("<u4").tobytes())
        try:
            with open(path, "r+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                if file.write(record) != len(record):
                    file.truncate(end)
        except OSError as error:
            # At worst a restart writes these points again.
            self._on_trouble(f"{path}: the journal cannot be written: {error}")

    def _write_names(self, new_names: Callable[[int], tuple[int, list[bytes]]]) -> None:
        first, names = new_names(self._names_written)
        if not names:
            return
        if self._names is None:
            self._names = AppendFile(os.path.join(self.directory, f"names-{self.epoch}.cpj"), MAGIC)
            self._unsynced.append(self._names)
        body = lz4.block.compress(FIRST_ID.pack(first) + b"".join([name + b"\n" for name in names]))
        self._names.append(pack_record(NAMES, len(names), body))
        self._names_written = first + len(names)

    def rotate(self) -> int:
        """End the current segment; the number of it (0 if nothing was written to it)."""
        if self._current is None:
            return 0
        if not self._syncs:
            self._unsynced.remove(self._current)
            self._current.close()
        self._current = None
        return self._number

    def forget(self, numbers: set[int]) -> None:
        """Remove segments whose points are all in their files, the oldest first."""
        for number in sorted(numbers):
            path = self._paths.pop(number, None)
            if path is None:
                continue
            epoch = self._epoch_of.pop(number)
            _unlink(path)
            if epoch != self.epoch:
                self.forget_leftover_names()

    def forget_leftover_names(self) -> None:
        """Remove names files of earlier lives that have no segment any more."""
        needed = {*self._epoch_of.values(), *(epoch for epoch, _, _ in self._old_points)}
        for epoch in self._old_names.keys() - needed:
            _unlink(self._old_names.pop(epoch))

    @property
    def unsynced(self) -> bool:
        """Whether `sync` has anything to force to the disk or to close.  Safe from any thread."""
        return any(file.dirty or file not in (self._current, self._names) for file in list(self._unsynced))

    def sync(self) -> None:
        """Make what was appended before this call survive a power failure.  Safe from any thread.

        Raises OSError; the next call tries again.
        """
        files, self._unsynced = self._unsynced, []
        while files:
            file = files[-1]
            try:
                if os.path.exists(file.path):
                    file.sync()
            except OSError:
                self._unsynced += files
                raise
            files.pop()
            if file is self._current or file is self._names:
                self._unsynced.append(file)
            else:
                file.close()
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Sync and close; a journal without unconfirmed segments leaves an empty directory."""
        self._current = None
        names, self._names = self._names, None
        try:
            self.sync()
        except OSError as error:
            self._on_trouble(f"{self.directory}: the journal cannot be forced to the disk: {error}")
        if not self._paths and names is not None:
            _unlink(names.path)

    @property
    def segments(self) -> int:
        """How many segments hold unconfirmed points."""
        return len(self._paths)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error}; mend it or move it away") from None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
