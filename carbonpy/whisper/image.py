"""A whole whisper file in memory: what a tool reads, changes and then puts in place of the file.

The law: an `Image` is an Access like a descriptor, so every engine of this room works on it; the file itself is
only touched by `carbonpy.whisper.replacing`, which writes an image as a whole or not at all.  `parse_image` accepts
bytes only if every ring of the header is in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.whisper.errors import CorruptWhisperFile
from carbonpy.whisper.layout import POINT, ArchiveSpan, Header, parse_header

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Image:
    """The bytes of one file.  One owner."""

    __slots__ = ("_path", "data")

    def __init__(self, data: bytes | bytearray, path: object) -> None:
        self.data = bytearray(data)
        self._path = path

    def read_at(self, size: int, offset: int, /) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write_at(self, data: bytes, offset: int, /) -> None:
        self.data[offset : offset + len(data)] = data

    @property
    def path(self) -> str:
        return str(self._path)


class Known(NamedTuple):
    """What a ring knows: `slots` ascending, int64[n], and `values`, float64[n].  Not to be changed."""

    slots: Ints
    values: Floats

    @classmethod
    def nothing(cls) -> Known:
        """No slots at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.float64))

    def between(self, first: int, last: int) -> Known:
        """The part from slot `first` to slot `last`, both included."""
        begin, end = np.searchsorted(self.slots, (first, last + 1))
        return Known(self.slots[begin:end], self.values[begin:end])

    def where(self, chosen: NDArray[np.bool_]) -> Known:
        """The part that is `chosen`, slot by slot."""
        return Known(self.slots[chosen], self.values[chosen])

    @classmethod
    def first_of(cls, parts: Iterable[Known]) -> Known:
        """All slots of all `parts`, each with the value of the first part that has it."""
        merged = cls.nothing()
        for part in parts:
            if not len(merged.slots):
                merged = part
                continue
            new = ~contains(merged.slots, part.slots)
            if bool(new.any()):
                slots = np.concatenate((merged.slots, part.slots[new]))
                order = np.argsort(slots, kind="stable")
                merged = cls(slots[order], np.concatenate((merged.values, part.values[new]))[order])
        return merged


def contains(slots: Ints, wanted: Ints) -> NDArray[np.bool_]:
    """Which of `wanted` are among `slots`, which ascend."""
    if not len(slots):
        return np.zeros(len(wanted), dtype=np.bool_)
    place = np.minimum(np.searchsorted(slots, wanted), len(slots) - 1)
    found: NDArray[np.bool_] = slots[place] == wanted
    return found


def distinct(slots: Ints) -> Ints:
    """`slots`, which ascend, each once."""
    return slots[np.flatnonzero(np.diff(slots, prepend=-1))]


def parse_image(data: bytes | bytearray, path: object) -> Header:
    """The header of a whole file.  Raises CorruptWhisperFile, also when a ring is cut short."""
    header = parse_header(data, path)
    if len(data) < header.file_size:
        raise CorruptWhisperFile(
            f"The file is cut short: {len(data)} bytes of the {header.file_size} that its header tells of", path
        )
    return header


def ring_of(data: bytes | bytearray, archive: ArchiveSpan) -> NDArray[np.void]:
    """The points of a ring as they lie in the file, an array of `layout.POINT`."""
    return np.frombuffer(data, POINT, archive.points, archive.offset)


def known_of(data: bytes | bytearray, archive: ArchiveSpan) -> Known:
    """Every point of a ring that stands where a reader would look for it, however old or far ahead it is."""
    ring = ring_of(data, archive)
    stamps = ring["t"].astype(np.int64)
    base = int(stamps[0])
    if not base:
        return Known.nothing()
    placed = (stamps != 0) & (stamps % archive.step == 0)
    placed &= (stamps - base) // archive.step % archive.points == np.arange(archive.points)
    where = np.flatnonzero(placed)
    slots = stamps[where]
    order = np.argsort(slots, kind="stable")
    return Known(slots[order], ring["v"][where[order]].astype(np.float64))


def lay_ring(known: Known, archive: ArchiveSpan, base: int) -> NDArray[np.void]:
    """A ring with these points, of which no two may want one place; `base` is the time of the first place.

    A ring whose first place is empty would be read as empty: then the oldest point moves there.
    """
    ring = np.zeros(archive.points, POINT)
    if len(known.slots):
        index = (known.slots - base) // archive.step % archive.points
        if not bool((index == 0).any()):
            index = (known.slots - known.slots[0]) // archive.step % archive.points
        ring["t"][index] = known.slots
        ring["v"][index] = known.values
    return ring
