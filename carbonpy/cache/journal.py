r"""The journal: every batch on disk before the next one is parsed, until its points are in their files.

The format.  A journal directory holds for every life of the daemon (an *epoch*, a number that only
grows) one file of names and any number of segments::

    names-<epoch>.cpj            the name of every id of this epoch, in the order of the ids
    points-<epoch>-<number>.cpj  batches

Each file is ``b"CPJ1"`` and then records::

    uint32 length of the body, uint32 crc32 of (kind, count, body), uint8 kind, uint32 count, body

little-endian.  Kind 1 (names): uint32 first id, then `count` names, each with a newline behind it,
lz4 block.  Kind 2 (points): count x uint32 id, count x uint32 timestamp, count x float64 value, lz4
block (both with the plain size in front, as lz4.block stores it).

The law: what a reader gets from a file cut off at any byte is the records before the cut.  A record
that was damaged in place is left out and counted; the records behind it are read.  Reading a
segment twice gives the same points twice, and a point is idempotent, so replay is too.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import lz4.block
import numpy as np

from carbonpy.columns import Columns
from carbonpy.counters import Counter
from carbonpy.errors import JournalError

MAGIC = b"CPJ1"
_RECORD = struct.Struct("<IIBI")
_FIRST_ID = struct.Struct("<I")
_NAMES, _POINTS = 1, 2
_FILE = re.compile(r"(names|points)-(\d+)(?:-(\d+))?\.cpj\Z")
#: No record of ours is larger; a length beyond it is damage, not a reason to allocate memory.
_MAX_BODY = 1 << 30


def _record(kind: int, count: int, body: bytes) -> bytes:
    check = zlib.crc32(body, zlib.crc32(struct.pack("<BI", kind, count)))
    return _RECORD.pack(len(body), check, kind, count) + body


class Record(NamedTuple):
    """One record as read: kind, count, body still compressed."""

    kind: int
    count: int  # type: ignore[assignment]  # a record is no sequence to be searched
    body: bytes


def read_records(data: bytes) -> tuple[list[Record], int, bool]:
    """(whole records, damaged records left out, whether the end was torn) of a journal file's bytes."""
    records: list[Record] = []
    damaged = 0
    if not data.startswith(MAGIC):
        return [], 0 if MAGIC.startswith(data) else 1, True
    position = len(MAGIC)
    while position < len(data):
        if position + _RECORD.size > len(data):
            return records, damaged, True
        length, check, kind, count = _RECORD.unpack_from(data, position)
        end = position + _RECORD.size + length
        if length > _MAX_BODY or end > len(data):
            return records, damaged, True
        body = data[position + _RECORD.size : end]
        if check == zlib.crc32(body, zlib.crc32(struct.pack("<BI", kind, count))):
            records.append(Record(kind, count, body))
        else:
            damaged += 1
        position = end
    return records, damaged, False


def _decode_points(record: Record) -> Columns:
    data = lz4.block.decompress(record.body)
    count = record.count
    if len(data) != 16 * count:
        raise ValueError("a record of points does not have the length its count says")
    return (
        np.frombuffer(data, "<u4", count).astype(np.uint32, copy=False),
        np.frombuffer(data, "<u4", count, 4 * count).astype(np.uint32, copy=False),
        np.frombuffer(data, "<f8", count, 8 * count).astype(np.float64, copy=False),
    )


class _File:
    """One append-only journal file.  Remembers the last good length, so that a failed write leaves no half record."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.length = 0
        self.dirty = True
        try:
            self.append(MAGIC)
        except OSError:
            self.close()
            os.unlink(path)
            raise

    def append(self, data: bytes) -> None:
        """Write `data` whole or not at all.  Raises OSError."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self.length)
            os.lseek(self._fd, self.length, os.SEEK_SET)
            raise
        self.length += len(data)
        self.dirty = True

    def sync(self) -> None:
        if self._fd >= 0 and self.dirty:
            self.dirty = False
            os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Segment(NamedTuple):
    """A segment left by an earlier life: its file and how many points its records say they hold."""

    epoch: int
    number: int
    path: str
    points: int


class Journal:
    """Appends batches, rotates segments, forgets them when told.

    `append`, `rotate` and `forget` belong to one thread (the reactor's); `sync` is safe from any
    thread.  A full disk does not raise: the batch is counted in `unjournaled`, stays in the cache,
    and the next batch tries again.
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
        self._old_points = sorted(
            (int(m[2]), int(m[3]), os.path.join(directory, m[0])) for m in found if m[1] == "points"
        )
        self.epoch = 1 + max([0, *(int(match[2]) for match in found)])
        self._names: _File | None = None
        self._names_written = 0
        self._current: _File | None = None
        self._number = 0
        self._unsynced: list[_File] = []
        #: Segment number -> path, for all segments that still hold unconfirmed points, old ones included.
        self._paths: dict[int, str] = {}
        self._epoch_of: dict[int, int] = {}
        self._mapped = (0, np.zeros(1, np.uint32))
        self.unjournaled = Counter()
        self.damaged = Counter()
        self.bytes_written = Counter()

    # ---- what an earlier life left

    def leftovers(self) -> list[Segment]:
        """The segments of earlier lives, oldest first, with the points that their records announce."""
        segments = []
        for epoch, number, path in self._old_points:
            records, _, _ = read_records(_read(path))
            segments.append(Segment(epoch, number, path, sum(r.count for r in records if r.kind == _POINTS)))
        return segments

    def replay(self, segment: Segment, intern: Callable[[bytes], int]) -> Iterator[tuple[int, Columns]]:
        """(segment number in this life, batch) for every batch of an old segment, ids by `intern`.

        The segment stays on disk until `forget` is called with that number.  Points whose name is
        lost (a damaged names file) are left out and counted as damaged.
        """
        self._number += 1
        number = self._number
        self._paths[number] = segment.path
        self._epoch_of[number] = segment.epoch
        mapping = self._mapping(segment.epoch, intern)
        records, damaged, _ = read_records(_read(segment.path))
        self.damaged.add(damaged)
        for record in records:
            if record.kind != _POINTS:
                continue
            try:
                ids, timestamps, values = _decode_points(record)
            except (ValueError, RuntimeError, lz4.block.LZ4BlockError):
                self.damaged.add(1)
                continue
            named = ids < len(mapping)
            ids = mapping[np.where(named, ids, 0)]
            known = named & (ids != 0)
            if not known.all():
                self.damaged.add(int((~known).sum()))
                ids, timestamps, values = ids[known], timestamps[known], values[known]
            if len(ids):
                yield number, (ids, timestamps, values)

    def _mapping(self, epoch: int, intern: Callable[[bytes], int]) -> np.ndarray:
        """Old id -> new id (or verdict) of an epoch; 0 where the name is not known.  Kept for one epoch at a time."""
        if self._mapped[0] == epoch:
            return self._mapped[1]
        mapping = np.zeros(1, np.uint32)
        path = self._old_names.get(epoch)
        records, damaged, _ = read_records(_read(path)) if path else ([], 0, False)
        self.damaged.add(damaged)
        for record in records:
            if record.kind != _NAMES:
                continue
            try:
                body = lz4.block.decompress(record.body)
            except lz4.block.LZ4BlockError:
                self.damaged.add(1)
                continue
            (first,) = _FIRST_ID.unpack_from(body)
            names = body[_FIRST_ID.size :].split(b"\n")[:-1]
            if first + len(names) > len(mapping):
                mapping = np.concatenate((mapping, np.zeros(first + len(names) - len(mapping), np.uint32)))
            mapping[first : first + len(names)] = [intern(name) for name in names]
        self._mapped = (epoch, mapping)
        return mapping

    # ---- this life

    def append(self, columns: Columns, new_names: Callable[[int], tuple[int, list[bytes]]]) -> bool:
        """Write a batch; True if it is in the journal.

        `new_names(n)` gives (first id, canonical names) of all ids from n on that the journal has not
        seen; they are written first, so that no batch is without its names.
        """
        ids, timestamps, values = columns
        try:
            self._write_names(new_names)
            if self._current is None:
                self._number += 1
                path = os.path.join(self.directory, f"points-{self.epoch}-{self._number}.cpj")
                self._current = _File(path)
                self._paths[self._number] = path
                self._epoch_of[self._number] = self.epoch
                self._unsynced.append(self._current)
            body = b"".join((ids.tobytes(), timestamps.tobytes(), values.tobytes()))
            record = _record(_POINTS, len(ids), lz4.block.compress(body))
            self._current.append(record)
            self.bytes_written.add(len(record))
        except OSError as error:
            self.unjournaled.add(len(ids))
            self._on_trouble(
                f"{self.directory}: the journal cannot be written: {error}; points are held in memory only, "
                "make room or mend the directory"
            )
            return False
        return True

    def _write_names(self, new_names: Callable[[int], tuple[int, list[bytes]]]) -> None:
        first, names = new_names(self._names_written)
        if not names:
            return
        if self._names is None:
            self._names = _File(os.path.join(self.directory, f"names-{self.epoch}.cpj"))
            self._unsynced.append(self._names)
        body = lz4.block.compress(_FIRST_ID.pack(first) + b"".join([name + b"\n" for name in names]))
        self._names.append(_record(_NAMES, len(names), body))
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
        """Remove segments whose points are all in their files."""
        for number in numbers:
            path = self._paths.pop(number, None)
            if path is None:
                continue
            epoch = self._epoch_of.pop(number)
            _unlink(path)
            if epoch != self.epoch and epoch not in self._epoch_of.values() and epoch in self._old_names:
                _unlink(self._old_names.pop(epoch))

    def forget_leftover_names(self) -> None:
        """Remove names files of earlier lives that have no segment any more.  Call when all segments were replayed."""
        for epoch in [epoch for epoch in self._old_names if epoch not in self._epoch_of.values()]:
            _unlink(self._old_names.pop(epoch))

    def sync(self) -> None:
        """Make what was appended before this call survive a power failure.  Safe from any thread."""
        files, self._unsynced = self._unsynced, []
        for file in files:
            if os.path.exists(file.path):
                file.sync()
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
        self.sync()
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


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
