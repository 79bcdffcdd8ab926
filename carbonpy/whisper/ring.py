"""Slot arithmetic of a ring: times to indexes, indexes to bytes.

The law: a slot time is a multiple of the step; its index is ``(slot - base) // step % points``, or 0
while the base is 0 (an empty ring starts wherever its first point falls).  `index_of` works on ints
and on numpy int64 arrays alike; nothing here reads or writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from carbonpy.whisper.layout import POINT_SIZE, ArchiveSpan


def index_of(slot: int, base: int, archive: ArchiveSpan) -> int:
    """Which slot of the ring holds the time `slot`.  Safe from any thread, as all of this module."""
    return (slot - base) // archive.step % archive.points


def pieces(archive: ArchiveSpan, index: int, count: int) -> list[tuple[int, int]]:
    """(byte offset, bytes) of `count` slots from `index` on: one piece, or two where the ring wraps.

    `count` is at most `archive.points`.
    """
    before_end = archive.points - index
    start = archive.offset + index * POINT_SIZE
    if count <= before_end:
        return [(start, count * POINT_SIZE)]
    return [(start, before_end * POINT_SIZE), (archive.offset, (count - before_end) * POINT_SIZE)]


def runs(slots: Sequence[int], step: int) -> Iterator[tuple[int, int]]:
    """Strictly ascending slot times as (first, last + 1) positions of stretches without a gap."""
    count = len(slots)
    if count and slots[-1] - slots[0] == (count - 1) * step:
        yield 0, count
        return
    first = 0
    for position in range(1, count):
        if slots[position] - slots[position - 1] != step:
            yield first, position
            first = position
    if count:
        yield first, count
