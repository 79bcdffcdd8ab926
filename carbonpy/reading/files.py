"""Many whisper files over one window at once: the read path of a plan.

The law: `read` and `values` together answer for each file what `whisper.file.fetch` answers for it alone, slot by
slot.  A file costs an open, one read of its header, one or two reads of its ring and a close; the rings of files with
the same archive land in one block of memory, which is turned into values in a few numpy steps for all of them.  Headers
are parsed once for all files that have the same.

``name.wsp.gz`` is read where ``name.wsp`` is not: as a whole, since it cannot be read in part, up to MAX_UNPACKED
bytes.  It is never written.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.reading.store import Info
from carbonpy.retention import Archive
from carbonpy.timespan import Span
from carbonpy.whisper import fetching
from carbonpy.whisper.access import Access, Descriptor
from carbonpy.whisper.errors import CorruptWhisperFile
from carbonpy.whisper.layout import (
    ARCHIVE,
    HEADER_READ,
    METADATA,
    POINT,
    POINT_SIZE,
    TIMESTAMP,
    ArchiveSpan,
    Header,
    parse_header,
)
from carbonpy.whisper.ring import index_of, pieces

#: The largest file that is unpacked, in bytes.
MAX_UNPACKED = 256 << 20
#: Bytes of rings that are decoded together: small enough for a processor's cache.
_BLOCK_BYTES = 1 << 20
_HEADERS_KEPT = 64
#: Headers of files with more archives are parsed each time.
_MOST_ARCHIVES = 32
#: Where the number of archives stands in a header, and the bytes before its lowest.
_COUNT_HIGH, _COUNT = 12, 15

Values = NDArray[np.float64]
#: (index of an archive, the archive, the span asked of it)
_Chosen = tuple[int, ArchiveSpan, Span]


class Unpacked:
    """A whisper file in memory, for reading.  An `Access`."""

    def __init__(self, data: bytes, path: str) -> None:
        self._data = data
        self._path = path

    def read_at(self, size: int, offset: int, /) -> bytes:
        return self._data[offset : offset + size]

    def write_at(self, data: bytes, offset: int, /) -> None:
        raise OSError(f"{self._path} is packed and cannot be written; unpack it")

    @property
    def path(self) -> str:
        return self._path


def unpack(path: str, most: int = MAX_UNPACKED) -> Unpacked:
    """The whisper file packed in the gzip file at `path`.

    Raises OSError, or CorruptWhisperFile for what is no gzip file, ends too soon or is larger than `most` bytes.
    """
    with gzip_errors(path), gzip.open(path, "rb") as file:
        head = file.read(HEADER_READ)
        size = parse_header(head, path).file_size
        if size > most:
            raise CorruptWhisperFile(f"Unpacked, the file has {size} bytes; at most {most} are read", path)
        return Unpacked(head[:size] + file.read(max(0, size - len(head))), path)


@contextmanager
def gzip_errors(path: str) -> Iterator[None]:
    """Inside it, what is wrong with the gzip file at `path` is a CorruptWhisperFile."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptWhisperFile(f"Unable to unpack: {error}", path) from None


def read_slots(path: str, header: Header, level: int, start: int, end: int) -> Values:
    """The slots from start to end of archive `level` of the file that had `header` a moment ago; `path` as in Found.

    All NaN if the file went or changed its archives since.  Raises OSError, CorruptWhisperFile or ValueError.
    """
    archive = header.archives[level]
    span = Span(start, end, archive.step)
    if path.endswith(".gz"):
        return fetching.read_span(unpack(path), archive, span).values
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        access = Descriptor(fd, path)
        if fetching.read_header(access).archives != header.archives:
            return np.full(span.count, np.nan)
        return fetching.read_span(access, archive, span).values
    finally:
        os.close(fd)


class Found(NamedTuple):
    """What a file answers: `row` of `block` when read in bulk, else the `values` themselves."""

    path: str
    header: Header
    level: int
    span: Span
    block: Block | None
    row: int
    values: Values | None


class Block:
    """Rings of several files with the same archive and span, one a row.

    `room` is memory for the raw rings, given back as `room` when the values are made.
    """

    __slots__ = ("_bytes", "_empty", "_rows", "_span", "_values", "room", "used")

    def __init__(self, span: Span, room: bytearray) -> None:
        self.room: bytearray | None = room
        self._span = span
        self._bytes = memoryview(room)
        self._rows = len(room) // (span.count * POINT_SIZE)
        self._empty: list[int] = []
        self._values: Values | None = None
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether there is no row left."""
        return self.used == self._rows

    def take(self, fd: int, archive: ArchiveSpan, base: int, path: str) -> int:
        """Read the ring behind `fd` into the next row; the row.  Raises OSError or CorruptWhisperFile."""
        row = self.used
        if base:
            position = row * self._span.count * POINT_SIZE
            for offset, size in pieces(archive, index_of(self._span.start, base, archive), self._span.count):
                # One call reads it all or the file is too short.
                if os.preadv(fd, [self._bytes[position : position + size]], offset) < size:
                    raise CorruptWhisperFile("Unable to read datapoints", path)
                position += size
        else:
            self._empty.append(row)
        self.used += 1
        return row

    def values(self) -> Values:
        """float64[used, span.count], NaN where nothing is known.  The block takes no more rows afterwards."""
        if self._values is None:
            count, span = self.used * self._span.count, self._span
            points = np.frombuffer(self._bytes, POINT, count).reshape(self.used, span.count)
            known = points["t"] == np.arange(span.start, span.end, span.step)
            if self._empty:
                known[self._empty] = False
            values = points["v"].astype(np.float64)
            if not np.logical_and.reduce(known, axis=None):
                values[~known] = np.nan
            self._values, self._rows = values, self.used
        return self._values

    def give_back(self) -> bytearray:
        """Make the values now; the room, for another block."""
        self.values()
        self._bytes = memoryview(b"")
        room, self.room = self.room, None
        assert room is not None
        return room


class Headers:
    """Headers by their bytes: most files of a tree have the same few.  Safe from any thread."""

    def __init__(self) -> None:
        self._parsed: dict[bytes, Header] = {}
        #: How a file with this header is made.
        self.info = lru_cache(_HEADERS_KEPT)(_info)

    def parsed(self, head: bytes, path: str) -> Header:
        """The header that a file begins with.  Raises as `parse_header` does."""
        header = self._parsed.get(head)
        if header is None:
            header = parse_header(head, path)
            if len(self._parsed) >= _HEADERS_KEPT:
                self._parsed = {}
            self._parsed[head] = header
        return header


def _info(header: Header) -> Info:
    archives = tuple(Archive(archive.step, archive.points) for archive in header.archives)
    return Info(header.method_name, header.xff, archives)


class FileReader:
    """Reads files at one moment.  One thread; make one for each plan.

    check: called with the number of points before they are read; may raise.
    """

    def __init__(
        self, now: int, check: Callable[[int], None] = lambda points: None, headers: Headers | None = None
    ) -> None:
        self._now = now
        self._check = check
        self._parsed = (headers or Headers()).parsed
        self._headers: dict[tuple[bytes, int, int], tuple[Header, _Chosen | None]] = {}
        self._open: dict[tuple[ArchiveSpan, Span], Block] = {}

    def read(self, path: str, from_time: int, until_time: int) -> tuple[Header, Found | None]:
        """The header of the file at `path` and what it answers, None when that is out of its reach.

        Raises FileNotFoundError or NotADirectoryError when there is neither a file nor a packed one, and OSError,
        CorruptWhisperFile or ValueError for one that cannot be read.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._read_access(unpack(path + ".gz"), from_time, until_time)
        try:
            head = os.pread(fd, HEADER_READ, 0)
            header, chosen = self._understood(head, path, from_time, until_time)
            if chosen is None:
                return header, None
            level, archive, span = chosen
            self._check(span.count)
            if not 0 < span.count <= archive.points:
                return self._read_chosen(Descriptor(fd, path), header, chosen)
            base = _base(fd, head, archive, path)
            key = archive, span
            block = self._open.get(key)
            if block is None or block.full:
                block = self._open[key] = self._new_block(span, block)
            return header, Found(path, header, level, span, block, block.take(fd, archive, base, path), None)
        finally:
            os.close(fd)

    def _new_block(self, span: Span, full: Block | None) -> Block:
        # Fresh memory costs more than reading into it, so the first block has room for one metric, which is what most
        # queries ask for, and later ones hand their room on.
        size = span.count * POINT_SIZE
        if full is None:
            return Block(span, bytearray(size))
        room = full.give_back()
        return Block(span, room if len(room) >= _BLOCK_BYTES else bytearray(max(_BLOCK_BYTES, size)))

    def _read_access(self, access: Access, from_time: int, until_time: int) -> tuple[Header, Found | None]:
        header = fetching.read_header(access)
        chosen = self._choose(header, from_time, until_time)
        if chosen is None:
            return header, None
        self._check(chosen[2].count)
        return self._read_chosen(access, header, chosen)

    def _read_chosen(self, access: Access, header: Header, chosen: _Chosen) -> tuple[Header, Found | None]:
        level, archive, span = chosen
        slots = fetching.read_span(access, archive, span)
        return header, Found(access.path, header, level, span, None, 0, slots.values)

    def header(self, path: str) -> Header:
        """The header of the file at `path`, or of the packed one.  Raises as `read` does."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            with gzip_errors(path + ".gz"), gzip.open(path + ".gz", "rb") as file:
                return parse_header(file.read(HEADER_READ), path + ".gz")
        try:
            return parse_header(os.pread(fd, HEADER_READ, 0), path)
        finally:
            os.close(fd)

    def _understood(self, head: bytes, path: str, from_time: int, until_time: int) -> tuple[Header, _Chosen | None]:
        # The metadata tell how many archives there are; what follows those is points.
        count = head[_COUNT] if head[_COUNT_HIGH:_COUNT] == b"\0\0\0" and len(head) > _COUNT else _MOST_ARCHIVES
        if count >= _MOST_ARCHIVES:
            header = parse_header(head, path)
            return header, self._choose(header, from_time, until_time)
        key = head[: METADATA.size + ARCHIVE.size * count], from_time, until_time
        known = self._headers.get(key)
        if known is None:
            header = self._parsed(key[0], path)
            known = header, self._choose(header, from_time, until_time)
            if len(self._headers) < _HEADERS_KEPT:
                self._headers[key] = known
        return known

    def _choose(self, header: Header, from_time: int, until_time: int) -> _Chosen | None:
        found = fetching.choose(header, from_time, until_time, self._now)
        return None if found is None else (header.archives.index(found[0]), *found)


def _base(fd: int, head: bytes, archive: ArchiveSpan, path: str) -> int:
    """The timestamp in the first slot of a ring; it stands in what was read already for the finest archive."""
    end = archive.offset + POINT_SIZE
    first = head[archive.offset : end] if end <= len(head) else os.pread(fd, POINT_SIZE, archive.offset)
    if len(first) < POINT_SIZE:
        raise CorruptWhisperFile("Unable to read base datapoint", path)
    return int(TIMESTAMP.unpack_from(first)[0])
