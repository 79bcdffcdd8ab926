"""The records of a journal file: written whole or not at all, read around damage.

The law stands, with the format, at the head of `carbonpy.cache.journal`: any truncation reads as a
prefix, and a damaged stretch costs the records it touches.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import lz4.block
import numpy as np

from carbonpy.columns import Columns, distinct

MAGIC = b"CPJ1"
_RECORD = struct.Struct("<IIBI")
FIRST_ID = struct.Struct("<I")
NAMES, POINTS, STRUCK = 1, 2, 3
_KIND = re.compile(b"[\1\2\3]")
_KIND_AT = 8


def pack_record(kind: int, count: int, body: bytes) -> bytes:
    """A record as it stands in the file."""
    check = zlib.crc32(body, zlib.crc32(struct.pack("<BI", kind, count)))
    return _RECORD.pack(len(body), check, kind, count) + body


class Record(NamedTuple):
    """One record as read: kind, count, body still compressed."""

    kind: int
    count: int  # type: ignore[assignment]  # a record is no sequence to be searched
    body: bytes


def _record_at(data: bytes, position: int) -> tuple[Record | None, int]:
    """The record at `position` (None if it is damaged or torn) and where it ends, as far as it says."""
    if position + _RECORD.size > len(data):
        return None, len(data) + 1
    length, check, kind, count = _RECORD.unpack_from(data, position)
    end = position + _RECORD.size + length
    if end > len(data):
        return None, end
    body = data[position + _RECORD.size : end]
    whole = check == zlib.crc32(body, zlib.crc32(struct.pack("<BI", kind, count)))
    return Record(kind, count, body) if whole else None, end


def read_records(data: bytes) -> tuple[list[Record], int, bool]:
    """(whole records, damaged stretches left out, whether the end was torn) of a journal file's bytes."""
    records: list[Record] = []
    damaged = 0
    position = len(MAGIC)
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data):
            return [], 0, True
        damaged = 1
    while position < len(data):
        record, end = _record_at(data, position)
        if record is None:
            # Damaged, or torn at the end.  A damaged length hides where the next record begins: look for it.
            for match in _KIND.finditer(data, position + 1 + _KIND_AT):
                record, next_end = _record_at(data, match.start() - _KIND_AT)
                if record is not None:
                    end = next_end
                    damaged += 1
                    break
            else:
                torn = end > len(data)
                return records, damaged + (not torn), torn
        records.append(record)
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


def batches(records: list[Record]) -> Iterator[Columns | None]:
    """The batches among `records` without the points that were struck; None for one that cannot be decoded."""
    struck = [np.frombuffer(record.body, "<u4") for record in records if record.kind == STRUCK]
    for record in records:
        if record.kind != POINTS:
            continue
        try:
            ids, timestamps, values = _decode_points(record)
        except (ValueError, RuntimeError, lz4.block.LZ4BlockError):
            yield None
            continue
        if struck:
            left = ~np.isin(ids, np.concatenate(struck))
            ids, timestamps, values = ids[left], timestamps[left], values[left]
        yield ids, timestamps, values


def count_points(records: list[Record]) -> int:
    """How many points `batches` gives, as far as the records say."""
    if any(record.kind == STRUCK for record in records):
        return sum(len(batch[0]) for batch in batches(records) if batch is not None)
    return sum(record.count for record in records if record.kind == POINTS)


class OldNames:
    """The names of an earlier epoch.  A name is interned when a point needs it, so that old names do not pile up."""

    def __init__(self, records: list[Record]) -> None:
        self._names: list[bytes] = []
        for record in records:
            if record.kind == NAMES:
                body = lz4.block.decompress(record.body)
                (first,) = FIRST_ID.unpack_from(body)
                names = body[FIRST_ID.size :].split(b"\n")[:-1]
                self._names += [b""] * (first + len(names) - len(self._names))
                self._names[first : first + len(names)] = names
        #: Old id -> id (or verdict) of this life; 0 where it was not needed yet or the name is lost.
        self._ids = np.zeros(len(self._names) + 1, np.uint32)

    def ids_of(self, metrics: Collection[bytes]) -> np.ndarray:
        """The old ids (uint32) of these names."""
        return np.array([number for number, name in enumerate(self._names) if name in metrics and name], np.uint32)

    def intern(self, ids: np.ndarray, intern: Callable[[bytes], int]) -> np.ndarray:
        """Old ids to ids of this life, 0 where the name is lost."""
        ids = np.minimum(ids, np.uint32(len(self._names)))
        found = self._ids[ids]
        if not found.all():
            for old in distinct(ids[found == 0]).tolist():
                if old < len(self._names) and self._names[old]:
                    self._ids[old] = intern(self._names[old])
            found = self._ids[ids]
        return found
