"""One file's gaps filled from another file, and a range of time taken out of a file.

The law of `fill`: a slot that the file knows keeps its value, whatever that is (0.0 and NaN are values).  A slot that
it does not know gets what a file of the same archives made from the source would have there (`resizing`), so the two
files may have different archives; a coarser value of the source is taken only where nothing of its span is known.
Coarse slots above a filled one are made anew where the finer archive covers them; else they keep their value, or get
the source's.

The law of `erase`: what lies in the range is gone from every archive.  A coarse slot that lies in it in part is made
anew of what is left, if the finer archive covers it; else it stays as it was.
"""

from __future__ import annotations

import numpy as np

from carbonpy.whisper.image import Ints, Known, contains, distinct, lay_ring, parse_image, ring_of
from carbonpy.whisper.layout import POINT, ArchiveSpan, Header
from carbonpy.whisper.resizing import Source, aggregated, covered, made_levels, reach, slots_of, with_coarser


def fill(data: bytes, path: object, source: bytes, source_path: object, now: float) -> tuple[bytes, int]:
    """`data` with its gaps filled from `source` (both whole files), and how many slots were; pure.

    Raises CorruptWhisperFile.
    """
    header = parse_image(data, path)
    source_header = parse_image(source, source_path)
    sources = [Source.of(source, archive, now) for archive in source_header.archives]
    filled = bytearray(data)
    count = 0
    finer: Known | None = None
    touched: Ints = np.zeros(0, np.int64)
    for level, (archive, made) in enumerate(zip(header.archives, made_levels(sources, header))):
        own = Source.of(data, archive, now)
        oldest, newest = reach(archive, now)
        merged = Known.first_of((own.known, made.between(oldest, newest)))
        merged = with_coarser(sources, merged, archive, now, header.method, edges=False)
        free = ~contains(own.taken, merged.slots)  # a point of the future keeps its place
        merged = Known(merged.slots[free], merged.values[free])
        count += len(merged.slots) - len(own.known.slots)
        if finer is not None and len(touched):
            below = Source.of(data, header.archives[level - 1], now)
            merged = _remade(merged, finer, below, archive, header, touched, drop=False)
            # What was made of a finer slot that the archive does not reach would take the place of something newer.
            within = (merged.slots >= oldest) & (merged.slots <= newest)
            merged = merged.where(within | contains(own.known.slots, merged.slots))
        changed = _changed(own.known, merged)
        _write(filled, archive, merged, changed)
        finer, touched = merged, changed
    return bytes(filled), count


def erase(data: bytes, path: object, begin: int, end: int, now: float) -> tuple[bytes, int]:
    """`data` without the slots that lie between two times, both included; and how many were known.  Pure.

    Raises CorruptWhisperFile.
    """
    header = parse_image(data, path)
    left = bytearray(data)
    count = 0
    finer: Known | None = None
    touched: Ints = np.zeros(0, np.int64)
    finest = header.archives[0].step
    for level, archive in enumerate(header.archives):
        own = Source.of(data, archive, now)
        slots = own.known.slots
        gone = (slots >= begin) & (slots + archive.step <= end - end % finest + finest)
        count += int(gone.sum())
        kept = Known(slots[~gone], own.known.values[~gone])
        if finer is not None and len(touched):
            below = Source.of(data, header.archives[level - 1], now)
            partly = touched[contains(kept.slots, slots_of(touched, archive.step))]
            kept = _remade(kept, finer, below, archive, header, partly, drop=True)
        changed = _changed(own.known, kept)
        if len(changed):
            base = int(ring_of(data, archive)["t"][0])
            ring = lay_ring(_fitting(kept, archive), archive, base)
            left[archive.offset : archive.offset + archive.size] = ring.tobytes()
        finer, touched = kept, changed
    return bytes(left), count


def _remade(
    held: Known, finer: Known, below: Source, archive: ArchiveSpan, header: Header, touched: Ints, *, drop: bool
) -> Known:
    """`held` with the coarse slots over `touched` finer ones aggregated anew from `finer`.

    Where the finer ring does not cover a slot, a value stays.  Where too little is left, it stays unless `drop`.
    """
    wanted = distinct(slots_of(touched, archive.step))
    made = aggregated(finer, below.step, archive.step, header)
    chosen = contains(wanted, made.slots)
    made = Known(made.slots[chosen], made.values[chosen])
    sure = covered([below], made.slots, archive.step)
    if drop:
        lost = wanted[covered([below], wanted, archive.step)]
        stay = ~contains(lost, held.slots)
        held = Known(held.slots[stay], held.values[stay])
    return Known.first_of(
        (Known(made.slots[sure], made.values[sure]), held, Known(made.slots[~sure], made.values[~sure]))
    )


def _changed(before: Known, after: Known) -> Ints:
    """The slots of which one knows what the other does not, or something else."""
    lost = before.slots[~contains(after.slots, before.slots)]
    there = contains(before.slots, after.slots)
    old = before.values[np.searchsorted(before.slots, after.slots[there])]
    other = ~there
    other[there] = old.view(np.int64) != after.values[there].view(np.int64)
    changed: Ints = np.sort(np.concatenate((lost, after.slots[other])))
    return changed


def _fitting(known: Known, archive: ArchiveSpan) -> Known:
    """Of slots that want the same place, the newest: what a ring that was written in order would have."""
    place = known.slots // archive.step % archive.points
    _, first = np.unique(place[::-1], return_index=True)
    chosen = np.sort(len(place) - 1 - first)
    return Known(known.slots[chosen], known.values[chosen])


def _write(data: bytearray, archive: ArchiveSpan, known: Known, slots: Ints) -> None:
    """Write the values of `slots` to their places in a ring; an empty ring begins with the oldest."""
    if not len(slots):
        return
    ring = np.frombuffer(data, POINT, archive.points, archive.offset)
    base = int(ring["t"][0]) or int(slots[0])
    index = (slots - base) // archive.step % archive.points
    ring["t"][index] = slots
    ring["v"][index] = known.values[np.searchsorted(known.slots, slots)]
