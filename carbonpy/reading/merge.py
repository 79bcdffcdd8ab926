"""What a file will answer once the cached points are written to it, without writing them.

The law: for a grid of a file's archive, `merge` gives the values that the file alone would give if
all cached points were written to it now.  A cached point replaces its slot in the archive that it
will be written to (the finest that reaches back to it), and with it whatever else has that place in
the ring.  A slot of a coarser archive that such a point falls into is aggregated anew from the finer
slots, stored and cached together, with the file's method and xFilesFactor, archive by archive.

So a value does not change when it moves from the cache to the disk; in particular a coarse slot that
is only half in the cache is not replaced by the aggregate of that half, and one with too few known
values has none until enough have arrived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.retention import Archive
from carbonpy.timespan import Span, align
from carbonpy.whisper.rollup import aggregate, enough

#: Values of the slots from start to end (exclusive) in the archive of that index; NaN where there is none.
ReadSlots = Callable[[int, int, int], NDArray[np.float64]]


class Recipe(NamedTuple):
    """What decides how points become slots: archives finest first, the method's code, the xFilesFactor."""

    archives: Sequence[Archive]
    method: int
    xff: float


def grid(archives: Sequence[Archive], from_time: int, until_time: int, now: int) -> tuple[int, Span] | None:
    """(index of the archive that answers, its slots) for a question asked at `now`; None if out of reach.

    The same choice as whisper's fetch: the finest archive that reaches back to `from_time`.
    """
    oldest = now - archives[-1].retention
    if from_time > now or until_time < oldest:
        return None
    from_time, until_time = max(from_time, oldest), min(until_time, now)
    for index, archive in enumerate(archives):
        if archive.retention >= now - from_time:
            return index, Span.graphite(from_time, until_time, archive.step)
    return None


def merge(
    recipe: Recipe,
    level: int,
    span: Span,
    stored: NDArray[np.float64],
    timestamps: NDArray[np.uint32],
    values: NDArray[np.float64],
    now: int,
    read: ReadSlots,
) -> NDArray[np.float64]:
    """`stored`, the values of `span` in archive `level`, with the cached points (ascending by time) worked in.

    Pure but for `read`, which is asked only for archives finer than `level`.  `stored` is not changed.
    """
    if not len(timestamps):
        return stored
    merged = stored.copy()
    if level == 0:
        place_finest(recipe.archives[0], span, merged.reshape(1, -1), 0, timestamps, values, now)
        return merged
    places = _propagated(recipe, level, timestamps.tolist(), values.tolist(), now, read)
    places.apply(span, merged)
    return merged


def place_finest(
    archive: Archive,
    span: Span,
    merged: NDArray[np.float64],
    rows: NDArray[np.intp] | int,
    timestamps: NDArray[np.uint32],
    values: NDArray[np.float64],
    now: int,
) -> None:
    """Work cached points into `merged`, float64[any, span.count], which is changed: row `rows[i]` gets point i.

    The common case, without a loop: the span is of the finest archive, and nothing has to be aggregated.  The points
    of a row ascend by time.
    """
    slots = (timestamps.astype(np.int64) - span.start) // span.step
    rows = np.broadcast_to(rows, slots.shape)
    fresh = timestamps >= now - archive.retention
    inside = fresh & (slots >= 0) & (slots < span.count)
    # Ascending by time, as they will be written; a slot outside the span takes the place of one inside.
    older = fresh & (slots < 0)
    if older.any():
        _empty(merged, rows[older], slots[older] % archive.points)
    merged[rows[inside], slots[inside]] = values[inside]  # of several points in a slot, numpy keeps the last
    newer = fresh & (slots >= span.count)
    if newer.any():
        _empty(merged, rows[newer], slots[newer] % archive.points)


def _empty(merged: NDArray[np.float64], rows: NDArray[np.intp], positions: NDArray[np.int64]) -> None:
    within = positions < merged.shape[1]
    merged[rows[within], positions[within]] = np.nan


class _Places:
    """What would be written to one archive: for each place of the ring the slot and the value it would get."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._places: dict[int, tuple[int, float]] = {}

    def write(self, slot: int, value: float) -> None:
        self._places[slot // self._archive.step % self._archive.points] = (slot, value)

    def value(self, slot: int, stored: float) -> float:
        """The value of a slot that now has the value `stored` (NaN for none)."""
        place = self._places.get(slot // self._archive.step % self._archive.points)
        if place is None:
            return stored
        return place[1] if place[0] == slot else math.nan

    def apply(self, span: Span, merged: NDArray[np.float64]) -> None:
        """Change the stored values of the slots of `span`."""
        for slot, value in self._places.values():
            position = (slot - span.start) // span.step % self._archive.points
            if position < span.count:
                merged[position] = value if span.start <= slot < span.end else math.nan


def _propagated(
    recipe: Recipe, level: int, timestamps: list[int], values: list[float], now: int, read: ReadSlots
) -> _Places:
    """What writing the points would change in archive `level`."""
    archives = recipe.archives
    places = [_Places(archive) for archive in archives[: level + 1]]
    youngest = math.inf
    for first in range(level + 1):
        archive = archives[first]
        oldest = now - archive.retention
        slots: list[int] = []
        for timestamp, value in zip(timestamps, values):
            if oldest <= timestamp < youngest:
                slot = align(timestamp, archive.step)
                places[first].write(slot, value)
                if not slots or slot != slots[-1]:
                    slots.append(slot)
        youngest = oldest
        for coarse in range(first + 1, level + 1):
            step = archives[coarse].step
            # A set, and filled like this one, since the write path walks such a set: of two slots with the
            # same place in the ring (one of them in the future) the one that it gives last stays.
            if not _propagate(recipe, coarse, {slot - slot % step for slot in slots}, places, read):
                break
    return places[level]


def _propagate(recipe: Recipe, coarse: int, slots: set[int], places: list[_Places], read: ReadSlots) -> bool:
    """Aggregate `slots` of archive `coarse` from the archive before it; whether any got a value."""
    fine = recipe.archives[coarse - 1]
    step = recipe.archives[coarse].step
    size = step // fine.step
    made: dict[int, float] = {}
    for first, last in _stretches(sorted(slots), step, fine.retention):
        found = read(coarse - 1, first, last + step).tolist()
        for slot in range(first, last + step, step):
            if slot in slots:
                begin = (slot - first) // fine.step
                fine_slots = range(slot, slot + step, fine.step)
                now_there = map(places[coarse - 1].value, fine_slots, found[begin : begin + size])
                known = [value for value in now_there if value == value]
                if enough(len(known), size, recipe.xff):
                    made[slot] = aggregate(recipe.method, known, size)
    for slot in slots:
        if slot in made:
            places[coarse].write(slot, made[slot])
    return bool(made)


def _stretches(slots: list[int], step: int, most_seconds: int) -> list[tuple[int, int]]:
    """(first slot, last slot) of stretches to read at once, none longer than the ring that is read."""
    stretches: list[tuple[int, int]] = []
    for slot in slots:
        if stretches and slot + step - stretches[-1][0] <= most_seconds and slot - stretches[-1][1] <= 8 * step:
            stretches[-1] = (stretches[-1][0], slot)
        else:
            stretches.append((slot, slot))
    return stretches
