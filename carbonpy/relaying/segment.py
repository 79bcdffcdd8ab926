r"""A segment of a spool: one file of records, and what is known of each record without reading it.

The format.  A segment is named by the number of its first record, ``spool-<number>.cps``.  It is ``b"CPS1"`` and then
records, each with the number that follows the one before::

    uint32 0xFFFEFFFD (a mark, which no UTF-8 text has), uint32 crc32 of the six fields from `length` to `born`,
    uint32 length of the body, uint32 crc32 of the body, uint64 number, uint32 points, float64 born,
    4 bytes b"DONE" or zeros, body

little-endian.  The body is the text, an lz4 block with the plain size in front, as lz4.block stores it.  ``DONE`` is
written in place when the record is delivered or dropped, so that it takes no room on a disk that is full.

The law: a segment cut off at any byte has the records before the cut.  A damaged record costs itself: its neighbours
are found by their marks.  Anything but ``DONE`` in that place means not done, as a text that is sent twice does no
harm.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import zlib
from array import array
from typing import NamedTuple

import lz4.block

MAGIC = b"CPS1"
_MARK = 0xFFFEFFFD
_MARK_BYTES = struct.pack("<I", _MARK)
_START = struct.Struct("<II")
_FIELDS = struct.Struct("<IIQId")
_DONE_AT = _START.size + _FIELDS.size
_UNDONE, _DONE = bytes(4), b"DONE"
HEAD_SIZE = _DONE_AT + len(_DONE)
_CHUNK = 1 << 20
_NAME = re.compile(r"spool-(\d+)\.cps\Z")

#: The states of a record, as bytes of `Segment.states`.
WAITING, AWAY, DONE = 0, 1, 2
_NOT_DONE = re.compile(b"[\0\1]")


class Record(NamedTuple):
    """A text of whole lines with its number, its count of points, and when the oldest of them came in (s)."""

    number: int
    text: bytes
    points: int
    born: float


class _Head(NamedTuple):
    length: int
    check: int
    number: int
    points: int
    born: float
    mark: bytes


def pack_record(record: Record) -> bytes:
    """A record as it stands in a segment, not done."""
    body = lz4.block.compress(record.text)
    fields = _FIELDS.pack(len(body), zlib.crc32(body), record.number, record.points, record.born)
    return b"".join((_START.pack(_MARK, zlib.crc32(fields)), fields, _UNDONE, body))


def _read_head(data: bytes) -> _Head | None:
    """The head of a record; None if it is damaged."""
    mark, check = _START.unpack_from(data)
    if mark != _MARK or check != zlib.crc32(data[_START.size : _DONE_AT]):
        return None
    length, body, number, points, born = _FIELDS.unpack_from(data, _START.size)
    return _Head(length, body, number, points, born, data[_DONE_AT:HEAD_SIZE])


def segment_path(directory: str, first: int) -> str:
    """The path of the segment whose first record has the number `first`."""
    return os.path.join(directory, f"spool-{first}.cps")


def find_segments(directory: str) -> list[tuple[int, str]]:
    """(first number, path) of the segments in a directory, in order.  Raises OSError."""
    found = [(int(match[1]), entry) for entry in os.listdir(directory) if (match := _NAME.match(entry))]
    return [(first, os.path.join(directory, entry)) for first, entry in sorted(found)]


class Segment:
    """The records of one segment, by index (number less `first`), in some 20 bytes each.  One owner."""

    def __init__(self, path: str, first: int) -> None:
        self.path = path
        self.first = first
        self.size = len(MAGIC)
        self.states = bytearray()
        self.points = array("Q")
        self._born = array("d")
        self._offsets = array("Q")
        #: How many records are not done.
        self.undone = 0
        #: When the youngest record was born.
        self.newest = float("-inf")
        #: Stretches that could not be read.
        self.damaged = 0
        self._fd = -1
        #: No record before this index is not done.
        self._all_done_to = 0

    @property
    def end(self) -> int:
        """The number behind the last record."""
        return self.first + len(self.states)

    def add(self, size: int, points: int, born: float, state: int) -> None:
        """Note a record of `size` bytes at the end of the file."""
        self._offsets.append(self.size)
        self.states.append(state)
        self.points.append(points)
        self._born.append(born)
        self.size += size
        self.undone += state != DONE
        self.newest = max(self.newest, born)

    def scan(self) -> None:
        """Note the records that the file has, by their heads alone.  Raises OSError.

        `damaged` says how many stretches could not be read.  What was torn off at the end is no damage.
        """
        with open(self.path, "rb", buffering=0) as file:
            fd = file.fileno()
            size = os.fstat(fd).st_size
            magic = os.pread(fd, len(MAGIC), 0)
            self.damaged += len(magic) == len(MAGIC) and magic != MAGIC
            position = len(MAGIC)
            while position < size:
                data = os.pread(fd, HEAD_SIZE, position)
                if len(data) < HEAD_SIZE:
                    break
                head = _read_head(data)
                if head is None:
                    self.damaged += 1
                    position = _next_mark(fd, position + 1)
                    continue
                end = position + HEAD_SIZE + head.length
                if end > size:
                    break
                self._note(head, position, end, size)
                position = end
            self.size = max(size, len(MAGIC))

    def _note(self, head: _Head, position: int, end: int, size: int) -> None:
        """Note a record found at `position`."""
        if not self.end <= head.number <= self.first + size // HEAD_SIZE:
            return  # left over from before the file was given its name
        while self.end < head.number:
            self.size = position
            self.add(0, 0, float("-inf"), DONE)  # one that was damaged
        self.size = position
        self.damaged += head.mark not in (_UNDONE, _DONE)
        self.add(end - position, head.points, head.born, DONE if head.mark == _DONE else WAITING)

    def finish(self, index: int) -> None:
        """This record is done, delivered or not."""
        self.states[index] = DONE
        self.undone -= 1

    def first_waiting(self, index: int) -> int:
        """The first waiting record from `index` on; -1 if none is."""
        return self.states.find(WAITING, max(index, 0))

    def first_undone(self) -> int:
        """The first record that is not done; there must be one."""
        match = _NOT_DONE.search(self.states, self._all_done_to)
        assert match is not None
        self._all_done_to = match.start()
        return self._all_done_to

    def born(self, index: int) -> float:
        """When a record was born."""
        return self._born[index]

    def load(self, index: int) -> Record | None:
        """Read a record; None if it is damaged.  Raises OSError if that cannot be said now."""
        offset = self._offsets[index]
        end = self._offsets[index + 1] if index + 1 < len(self._offsets) else self.size
        try:
            data = os.pread(self._open(), end - offset, offset)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EIO):
                return None
            raise
        head = _read_head(data) if len(data) >= HEAD_SIZE else None
        if head is None or head.number != self.first + index:
            return None
        body = data[HEAD_SIZE : HEAD_SIZE + head.length]
        if len(body) != head.length or zlib.crc32(body) != head.check:
            return None
        try:
            return Record(head.number, lz4.block.decompress(body), head.points, head.born)
        except (lz4.block.LZ4BlockError, ValueError):
            return None

    def write_done(self, index: int) -> None:
        """Note in the file that a record is done.  Raises OSError."""
        os.pwrite(self._open(), _DONE, self._offsets[index] + _DONE_AT)

    @property
    def is_open(self) -> bool:
        """Whether it holds a file descriptor."""
        return self._fd >= 0

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return self._fd

    def close(self) -> None:
        """Give the file descriptor back until it is needed again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _next_mark(fd: int, position: int) -> int:
    """Where the next record may begin; the end of the file if nowhere."""
    while chunk := os.pread(fd, _CHUNK, position):
        found = chunk.find(_MARK_BYTES)
        if found >= 0:
            return position + found
        if len(chunk) < len(_MARK_BYTES):
            return position + len(chunk)
        position += len(chunk) - len(_MARK_BYTES) + 1
    return position
