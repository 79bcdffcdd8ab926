"""The bytes of a whisper file: its grammar, and the way from bytes to a Header and back.

All numbers are big-endian, nothing is padded, there is no version and no checksum::

    file      = metadata archive+ ring+           ring i holds the points of archive i
    metadata  = method:uint32  max_retention:uint32  xff:float32  count:uint32     16 bytes
    archive   = offset:uint32  step:uint32  points:uint32                          12 bytes, finest first
    ring      = point * points
    point     = timestamp:uint32  value:float64                                    12 bytes

The law of a ring: there is no write pointer.  The timestamp in slot 0 is the *base*; the point of
slot time t lives at index ``(t - base) // step % points``, and it is there only if the timestamp
stored with it is t.  A base of 0 means that the ring is empty.

The law of this module: `parse_header` accepts a header only if every number in it can be worked
with (a known method, steps that divide, rings that neither overlap nor have zero slots), so code
that holds a Header needs no further checks.  Since steps at least double, a file has at most 32
archives and one read of `HEADER_READ` bytes always holds the whole header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from carbonpy.errors import RetentionError
from carbonpy.retention import validate_archives
from carbonpy.whisper.errors import (
    CorruptWhisperFile,
    InvalidAggregationMethod,
    InvalidConfiguration,
    InvalidXFilesFactor,
)

METADATA = struct.Struct(">2LfL")
ARCHIVE = struct.Struct(">3L")
POINT_STRUCT = struct.Struct(">Ld")
TIMESTAMP = struct.Struct(">L")
FLOAT = struct.Struct(">f")
#: One point as numpy sees it: ``t`` seconds, ``v`` the value.
POINT = np.dtype([("t", ">u4"), ("v", ">f8")])
POINT_SIZE = 12
#: Timestamps are below this; a point at or above it cannot be stored.
TIME_LIMIT = 1 << 32
#: Enough bytes for the longest header there can be (32 archives).
HEADER_READ = METADATA.size + 32 * ARCHIVE.size

AVERAGE, SUM, LAST, MAX, MIN, AVG_ZERO, ABSMAX, ABSMIN = range(1, 9)
METHOD_NAMES = {
    AVERAGE: "average",
    SUM: "sum",
    LAST: "last",
    MAX: "max",
    MIN: "min",
    AVG_ZERO: "avg_zero",
    ABSMAX: "absmax",
    ABSMIN: "absmin",
}
METHOD_CODES = {name: code for code, name in METHOD_NAMES.items()}


class ArchiveSpan(NamedTuple):
    """One ring of a file: `points` slots of `step` seconds, `offset` bytes from the start.  Immutable."""

    offset: int
    step: int
    points: int

    @property
    def size(self) -> int:
        """Bytes of the ring."""
        return self.points * POINT_SIZE

    @property
    def retention(self) -> int:
        """Seconds that the ring reaches back."""
        return self.step * self.points


class Header(NamedTuple):
    """What stands before the rings.  `xff` is the float32 of the file, as a Python float.  Immutable."""

    method: int
    max_retention: int
    xff: float
    archives: tuple[ArchiveSpan, ...]

    @property
    def method_name(self) -> str:
        """The aggregation method by its name."""
        return METHOD_NAMES[self.method]

    @property
    def file_size(self) -> int:
        """Bytes of the whole file, rings included."""
        last = self.archives[-1]
        return last.offset + last.size

    def pack(self) -> bytes:
        """The bytes of the header, as they stand at the start of the file."""
        return self.pack_metadata() + b"".join(ARCHIVE.pack(*archive) for archive in self.archives)

    def pack_metadata(self) -> bytes:
        """The first 16 bytes only: what changes when the method or the xFilesFactor is set."""
        return METADATA.pack(self.method, self.max_retention, self.xff, len(self.archives))


def method_code(name: str) -> int:
    """The code of an aggregation method.  Raises InvalidAggregationMethod."""
    try:
        return METHOD_CODES[name]
    except (KeyError, TypeError):
        raise InvalidAggregationMethod(f"Unrecognized aggregation method: {name}") from None


def stored_xff(xff: float) -> float:
    """`xff` as a file gives it back, rounded to float32.  Raises InvalidXFilesFactor."""
    try:
        number = float(xff)
    except (TypeError, ValueError):
        raise InvalidXFilesFactor(f"Invalid xFilesFactor {xff}, not a float") from None
    if not 0 <= number <= 1:  # so that NaN, which no reader accepts, is not written either
        raise InvalidXFilesFactor(f"Invalid xFilesFactor {number}, not between 0 and 1")
    rounded: float = FLOAT.unpack(FLOAT.pack(number))[0]
    return rounded


def make_header(archives: Iterable[tuple[int, int]], xff: float = 0.5, method: str = "average") -> Header:
    """The header of a new file with these (step, points) archives, in any order.

    Raises InvalidConfiguration, InvalidAggregationMethod or InvalidXFilesFactor.
    """
    try:
        ordered = validate_archives(archives)
    except RetentionError as error:
        raise InvalidConfiguration(str(error)) from None
    code = method_code(method)
    factor = stored_xff(xff)
    spans = []
    offset = METADATA.size + ARCHIVE.size * len(ordered)
    for archive in ordered:
        spans.append(ArchiveSpan(offset, archive.step, archive.points))
        offset += archive.points * POINT_SIZE
    return Header(code, max(span.retention for span in spans), factor, tuple(spans))


def pack_header(archives: Iterable[tuple[int, int]], xff: float = 0.5, method: str = "average") -> bytes:
    """The header bytes of a new file.  Raises as `make_header` does."""
    return make_header(archives, xff, method).pack()


def parse_header(data: bytes | bytearray, path: object) -> Header:
    """The Header at the start of `data`, which may go on behind it.  Raises CorruptWhisperFile(.., path)."""
    if len(data) < METADATA.size:
        raise CorruptWhisperFile("Unable to read header", path)
    method, max_retention, xff, count = METADATA.unpack_from(data)
    if method not in METHOD_NAMES or not 0 <= xff <= 1 or not count:
        raise CorruptWhisperFile("Unable to read header", path)
    end = METADATA.size + ARCHIVE.size * count
    if len(data) < end:
        complete = (len(data) - METADATA.size) // ARCHIVE.size
        raise CorruptWhisperFile(f"Unable to read archive{complete} metadata", path)
    archives = tuple(map(ArchiveSpan._make, ARCHIVE.iter_unpack(data[METADATA.size : end])))
    finer = 0
    for index, (offset, step, points) in enumerate(archives):
        # A step or a count of zero divides by zero later; overlapping rings destroy each other.
        if offset < end or not points or step <= finer or (finer and step % finer):
            raise CorruptWhisperFile(f"Unable to use archive{index} ({step}:{points} at byte {offset})", path)
        finer = step
        end = offset + points * POINT_SIZE
    return Header(method, max_retention, xff, archives)
