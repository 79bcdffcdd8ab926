"""Points into rings: the write path of a whisper file.

The law: for the points that the whisper package stores without harm, the bytes of the file are those
that its update_many leaves, to the last one; that includes the order in which the coarse slots of a
batch are made (a set's order), since in an empty coarse ring the first of them becomes the base.

How it goes: each point belongs to the finest archive that still covers its age (age equal to the
retention included).  Archive by archive, finest first, the points are written as raw values, the
latest of a slot winning; then every coarse slot they touch is made anew from the next finer ring,
level by level, until a level at which nothing had enough known slots.

Where the whisper package harms the file or loses the batch, a point costs only itself and is counted:

* a timestamp of 2**32 or more is *too far*; one before the oldest archive, negative, or in the slot
  of time 0 (which would mark the ring as empty) is *too old*;
* a stretch of points so long that it would run over the end of its ring into the next one (possible
  only with points of the future) is cut: the future points that would come back to the slots of the
  stretch itself are *too far*.  Other future points are stored, as the whisper package does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from carbonpy.timespan import align
from carbonpy.whisper import rollup
from carbonpy.whisper.access import Access
from carbonpy.whisper.errors import CorruptWhisperFile
from carbonpy.whisper.layout import POINT, POINT_SIZE, POINT_STRUCT, TIME_LIMIT, TIMESTAMP, Header
from carbonpy.whisper.ring import index_of, pieces, runs

#: From so many coarse slots on numpy is faster than a loop.
_VECTOR_FROM = 6
#: Fine slots spread over at most so many bytes are read at once rather than coarse slot by coarse slot.
_READ_AT_ONCE = 65536
#: "Not read yet", in a list of bases.
_UNKNOWN = -1


class Stored(NamedTuple):
    """What became of the points of one call; the three numbers add up to the points given."""

    written: int
    too_old: int
    too_far: int


class RingWriter:
    """Writes points into the rings of one file and remembers their bases.  One thread at a time.

    It must be the only writer of the file while it lives; `empty=True` promises that the rings have
    never been written, which saves reading the bases.
    """

    __slots__ = ("_access", "_archives", "_bases", "_method", "_xff")

    def __init__(self, access: Access, header: Header, *, empty: bool = False) -> None:
        self._access = access
        self._archives = header.archives
        self._method = header.method
        self._xff = header.xff
        self._bases = [0 if empty else _UNKNOWN] * len(header.archives)

    def write(self, timestamps: Sequence[int], values: Sequence[float], now: float) -> Stored:
        """Store points, ascending by timestamp, as of the time `now`.  Raises CorruptWhisperFile or OSError."""
        stamps: Sequence[int] = timestamps.tolist() if isinstance(timestamps, np.ndarray) else timestamps
        floats: Sequence[float] = values.tolist() if isinstance(values, np.ndarray) else values
        total = end = len(stamps)
        if total and stamps[-1] >= TIME_LIMIT:
            end = bisect_left(stamps, TIME_LIMIT)
        written = 0
        too_far = total - end
        for level, archive in enumerate(self._archives):
            if not end:
                break
            # Below one step lies the slot of time 0, which cannot be told from an empty one.
            oldest = max(now - archive.retention, archive.step)
            start = bisect_left(stamps, oldest, 0, end)
            if start < end:
                refused = self.write_level(level, stamps[start:end], floats[start:end], now)
                written += end - start - refused
                too_far += refused
                end = start
        return Stored(written, end, too_far)

    def write_level(self, level: int, stamps: Sequence[int], values: Sequence[float], now: float) -> int:
        """Store points in archive `level`, whatever their age, and propagate; how many were refused as too far."""
        archive = self._archives[level]
        step = archive.step
        by_slot = dict(zip([stamp - stamp % step for stamp in stamps], values))
        slots = list(by_slot)
        base = self._base(level) or slots[0]
        write_at = self._access.write_at
        refused = 0
        for first, end in list(runs(slots, step)):
            index = index_of(slots[first], base, archive)
            if index + end - first > 2 * archive.points:
                kept = max(slots[first] + (archive.points - 1) * step, align(int(now), step))
                cut = min(first + (kept - slots[first]) // step + 1, first + 2 * archive.points - index)
                refused += bisect_left(stamps, slots[end - 1] + step) - bisect_left(stamps, slots[cut - 1] + step)
                for slot in slots[cut:end]:
                    del by_slot[slot]
                end = cut
            data = b"".join([POINT_STRUCT.pack(slot, by_slot[slot]) for slot in slots[first:end]])
            before_end = (archive.points - index) * POINT_SIZE
            write_at(data[:before_end], archive.offset + index * POINT_SIZE)
            if len(data) > before_end:
                write_at(data[before_end:], archive.offset)
                self._bases[level] = slots[first] + (archive.points - index) * step
            elif index == 0:
                self._bases[level] = slots[first]
        self._propagate(level, list(by_slot))
        return refused

    def _base(self, level: int) -> int:
        """The time in slot 0 of a ring, 0 if the ring is empty."""
        base = self._bases[level]
        if base == _UNKNOWN:
            data = self._access.read_at(POINT_SIZE, self._archives[level].offset)
            if len(data) < POINT_SIZE:
                raise CorruptWhisperFile("Unable to read base datapoint", self._access.path)
            (base,) = TIMESTAMP.unpack_from(data)
            self._bases[level] = base
        return base

    def _propagate(self, level: int, slots: list[int]) -> None:
        """Remake the coarse slots over `slots` of archive `level`, level by level while any had enough."""
        for coarse in range(level + 1, len(self._archives)):
            step = self._archives[coarse].step
            # A set, because the whisper package walks one: in an empty ring its first slot becomes the base.
            wanted = list({slot - slot % step for slot in slots})
            made = self._roll_up(coarse - 1, coarse, wanted)
            if not made:
                return
            self._place(coarse, made)

    def _roll_up(self, fine: int, coarse: int, wanted: list[int]) -> list[tuple[int, float]]:
        """(slot, value) for those of the `wanted` coarse slots that have enough known fine slots, in their order."""
        archive = self._archives[fine]
        base = self._base(fine)
        # More fine slots than the ring has happen only in files older than that rule; whisper reads the remainder.
        ratio = self._archives[coarse].step // archive.step
        width = ratio if ratio <= archive.points else ratio % archive.points or archive.points
        low = min(wanted)
        spread = (max(wanted) - low) // archive.step + width
        if base and spread <= archive.points and spread * POINT_SIZE <= _READ_AT_ONCE:
            data = self._read(fine, index_of(low, base, archive), spread)
            offsets = [(slot - low) // archive.step * POINT_SIZE for slot in wanted]
            if len(wanted) >= _VECTOR_FROM:
                return self._roll_up_rows(data, offsets, wanted, archive.step, width)
        else:
            data = b"".join([self._read(fine, index_of(slot, base, archive) if base else 0, width) for slot in wanted])
            offsets = list(range(0, len(data), width * POINT_SIZE))
        made = []
        for slot, offset in zip(wanted, offsets):
            expected = slot
            known = []
            for stamp, value in POINT_STRUCT.iter_unpack(data[offset : offset + width * POINT_SIZE]):
                if stamp == expected:
                    known.append(value)
                expected += archive.step
            if rollup.enough(len(known), width, self._xff):
                made.append((slot, rollup.aggregate(self._method, known, width)))
        return made

    def _roll_up_rows(
        self, data: bytes, offsets: list[int], wanted: list[int], step: int, width: int
    ) -> list[tuple[int, float]]:
        """`_roll_up` of many coarse slots with numpy."""
        points = np.frombuffer(data, POINT)
        rows = (np.array(offsets) // POINT_SIZE)[:, None] + np.arange(width)
        known = points["t"][rows] == np.array(wanted)[:, None] + np.arange(width) * step
        counts = known.sum(axis=1)
        chosen = np.flatnonzero((counts > 0) & (counts / width >= self._xff))
        if not len(chosen):
            return []
        values = points["v"][rows[chosen]].astype(np.float64)
        made = rollup.aggregate_rows(self._method, values, known[chosen])
        return [(wanted[row], value) for row, value in zip(chosen.tolist(), made.tolist())]

    def _place(self, level: int, points: list[tuple[int, float]]) -> None:
        """Write propagated points one after the other as whisper would, neighbours in one piece."""
        archive = self._archives[level]
        base = self._base(level)
        placed: dict[int, bytes] = {}
        for slot, value in points:
            index = index_of(slot, base, archive) if base else 0
            placed[index] = POINT_STRUCT.pack(slot, value)
            if index == 0:
                base = slot
        self._bases[level] = base
        indexes = sorted(placed)
        for first, end in runs(indexes, 1):
            data = b"".join([placed[index] for index in indexes[first:end]])
            self._access.write_at(data, archive.offset + indexes[first] * POINT_SIZE)

    def _read(self, level: int, index: int, count: int) -> bytes:
        """The bytes of `count` slots of a ring from `index` on."""
        archive = self._archives[level]
        parts = [self._access.read_at(size, offset) for offset, size in pieces(archive, index, count)]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(data) < count * POINT_SIZE:
            raise CorruptWhisperFile("Unable to read datapoints", self._access.path)
        return data
