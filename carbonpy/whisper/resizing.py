"""Other archives, another method or xFilesFactor for a file, from the best that it still knows of each span.

The law.  Every new archive gets, for each of its slots within its reach, in this order:

1. What the finest data says that covers the whole slot and knows anything of it: a value of the same step as it is,
   or the aggregate of the finer values in the slot, where enough are known by the xFilesFactor.  A new archive is made
   of the next finer new one, as a daemon would have made it, and that reaches back here as far as the old values do.
2. An old value of the same step, where finer data is too little; or finer data that covers the slot in part, because
   newer points have taken the places of the rest.  Nothing coarser is made of these where 1 holds.
3. A value of a coarser old archive, in the slot of its own time (or in all slots of its span: `spread`), where no finer
   archive can know better.

So resizing to the same archives changes no value, and no old value within the new reach is lost unless a finer one
stands for it, or the xFilesFactor says that it is too few.  Whatever is in a ring counts, also points older than the
retention that nothing has overwritten, and points of the future as long as their places are free.

The whisper package's script writes old points through update_many instead: coarse values get aggregated with fine ones,
propagation that fails drops what a coarse archive had, and fine values beyond a narrower archive replace aggregates.
Where both keep the same values the bytes are the same, too, since `_Replay` finds the place where that script's
first point of each ring goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.timespan import align
from carbonpy.whisper.fetching import span_of
from carbonpy.whisper.image import Ints, Known, contains, distinct, known_of, lay_ring, parse_image
from carbonpy.whisper.layout import AVG_ZERO, SUM, ArchiveSpan, Header, make_header
from carbonpy.whisper.running import Running


def changed_header(
    old: Header,
    archives: Iterable[tuple[int, int]] | None = None,
    xff: float | None = None,
    method: str | None = None,
) -> Header:
    """A header like `old` in all that is None.  Raises as `make_header`."""
    return make_header(
        [(archive.step, archive.points) for archive in old.archives] if archives is None else archives,
        old.xff if xff is None else xff,
        old.method_name if method is None else method,
    )


def resize(data: bytes | bytearray, path: object, new: Header, now: float, *, spread: bool = False) -> bytes:
    """The bytes of a file with the header `new` and what `data`, a whole file, knows.  Pure; `path` is for messages.

    `now` decides what the new archives reach.  With `spread` a value that only a coarser archive has goes to all the
    finer slots of its span (a sum in equal parts), not only to the first.  Raises CorruptWhisperFile.
    """
    old = parse_image(data, path)
    sources = [Source.of(data, archive, now) for archive in old.archives]
    first = _Replay(new, now).firstslots_of(old, [source.known for source in sources])
    parts = [new.pack()]
    for archive, made, start in zip(new.archives, made_levels(sources, new), first):
        known = with_coarser(sources, made, archive, now, new.method, spread=spread)
        parts.append(lay_ring(_placed(known, archive, now), archive, start).tobytes())
    return b"".join(parts)


def made_levels(sources: Sequence[Source], new: Header) -> Iterator[Known]:
    """For each archive of `new` what `sources` say about its slots in data of its own or a finer step, however old."""
    level: _Level | None = None
    for number, archive in enumerate(new.archives):
        finer = new.archives[number - 1].step if number else 0
        level = _made(sources, level, finer, archive.step, new)
        yield level.made


class Source(NamedTuple):
    """An old ring: all it knows, and which slots it would know if they had ever been written.  Immutable.

    A slot is *covered* unless a newer point has taken its place: from `covered_from` on, except the slots in `taken`,
    whose places hold points of the future.
    """

    step: int
    known: Known
    covered_from: int
    taken: Ints

    @classmethod
    def of(cls, data: bytes | bytearray, archive: ArchiveSpan, now: float) -> Source:
        """The ring of `archive` in the file `data`."""
        known = known_of(data, archive)
        present = int(np.searchsorted(known.slots, int(now), side="right"))
        newest = int(known.slots[present - 1]) if present else 0
        taken = known.slots[present:] - archive.retention
        return cls(archive.step, known, newest - archive.retention + archive.step, taken)


def covered(sources: Sequence[Source], slots: Ints, width: int) -> NDArray[np.bool_]:
    """Whether one of the `sources` covers all of `width` seconds, for each of the slots."""
    answer = np.zeros(len(slots), dtype=np.bool_)
    for source in sources:
        free = np.searchsorted(source.taken, slots) == np.searchsorted(source.taken, slots + width)
        answer |= (slots >= source.covered_from) & free
    return answer


class _Level(NamedTuple):
    """What a new archive gets from data of its own or a finer step: points 1 and 2 of the law.

    `exact` is what the finest source that covers a slot and knows anything about it says; coarser archives are made of
    that.  `made` has in addition what is kept although that source says that it is too little, or covers it in part.
    """

    exact: Known
    made: Known


def _made(sources: Sequence[Source], finer: _Level | None, finer_step: int, step: int, new: Header) -> _Level:
    """The level of `step` seconds; `finer` is that of the next finer new archive, of `finer_step` seconds."""
    exact: list[Known] = []
    kept: list[Known] = []
    partial: list[Known] = []
    if finer is not None:
        below = [source for source in sources if source.step <= finer_step]
        known = aggregated(finer.exact, finer_step, step, new)
        exact.append(known.where(covered(below, known.slots, step)))
        known = aggregated(finer.made, finer_step, step, new)
        partial.append(known.where(~covered(below, known.slots, step)))
    for number, source in enumerate(sources):
        if not finer_step < source.step <= step:
            continue
        own = source.known.where(~_explained(sources[:number], source, step))
        if source.step == step:
            exact.append(own)
            kept.append(source.known)
            continue
        known = aggregated(own, source.step, step, new)
        sure = covered([source], known.slots, step)
        exact.append(known.where(sure))
        partial.append(known.where(~sure))
    found = Known.first_of(exact)
    return _Level(found, Known.first_of([found, *kept, *partial[::-1]]))


def _explained(finer: Sequence[Source], source: Source, step: int) -> NDArray[np.bool_]:
    """Which values of `source` were made of values that one of the `finer` sources still has.

    That is where it covers and knows something of the value's span, and covers the slot of `step` seconds as well.
    """
    slots = source.known.slots
    answer = np.zeros(len(slots), dtype=np.bool_)
    for one in finer:
        held = np.searchsorted(one.known.slots, slots) < np.searchsorted(one.known.slots, slots + source.step)
        if bool(held.any()):
            held &= covered([one], slots, source.step) & covered([one], slots_of(slots, step), step)
            answer |= held
    return answer


def aggregated(fine: Known, fine_step: int, step: int, new: Header) -> Known:
    """Coarse slots of those fine ones, where enough are known.  The steps need not divide each other."""
    if not len(fine.slots):
        return fine
    coarse = slots_of(fine.slots, step)
    starts = np.flatnonzero(np.diff(coarse, prepend=-1))
    sizes = np.diff(starts, append=len(coarse))
    slots: Ints = coarse[starts]
    # Fine slots that begin in the coarse one: a constant where the steps divide each other.
    total = (slots + step + fine_step - 1) // fine_step - (slots + fine_step - 1) // fine_step
    enough = sizes / total >= new.xff
    starts, sizes, slots, total = starts[enough], sizes[enough], slots[enough], total[enough]
    running = Running.empty(new.method, len(slots))
    running.add_groups(starts, sizes, fine.values)
    return Known(slots, running.results(total))


def slots_of(times: Ints, step: int) -> Ints:
    """The slots that `times` fall in."""
    return align(times, step)  # type: ignore[arg-type,return-value]


def reach(archive: ArchiveSpan, now: float) -> tuple[int, int]:
    """The oldest and the newest slot that an archive can be asked for."""
    newest = align(int(now), archive.step)
    return newest - (archive.points - 1) * archive.step, newest


def with_coarser(
    sources: Sequence[Source],
    known: Known,
    archive: ArchiveSpan,
    now: float,
    method: int,
    *,
    spread: bool = False,
    edges: bool = True,
) -> Known:
    """Point 3 of the law: what is `known`, and coarser old values where no finer archive can know better.

    With `edges` that is also where a part of their span is known but newer points have overwritten the rest.
    """
    spread = spread or method == AVG_ZERO  # of one value among empty slots an avg_zero would become less
    oldest, newest = reach(archive, now)
    step = archive.step
    shown = known
    for number, source in enumerate(sources):
        if source.step <= step:
            continue
        coarse = source.known.between(oldest, newest + step - 1)
        slots = slots_of(coarse.slots, step)
        begin = np.searchsorted(shown.slots, slots)
        held = np.searchsorted(shown.slots, slots + source.step) - begin
        there = np.append(shown.slots, -1)[begin] == slots
        wanted = held == 0
        if edges:
            wanted |= ~there & ~covered(sources[:number], coarse.slots, source.step)
        values = coarse.values
        if not spread:
            shown = Known.first_of((shown, Known(slots[wanted], values[wanted])))
            continue
        ratio = max(source.step // step, 1)
        if method == SUM:
            values = values / ratio
        times = slots[wanted, None] + np.arange(ratio) * step
        every = Known(times.ravel(), np.repeat(values[wanted], ratio))
        # A span of which something finer is left gets nothing but its first slot, and no span reaches into the future.
        alone = np.repeat(held[wanted] == 0, ratio) | np.tile(np.arange(ratio) == 0, len(times))
        alone &= every.slots <= newest
        shown = Known.first_of((shown, Known(every.slots[alone], every.values[alone])))
    return shown


def _placed(known: Known, archive: ArchiveSpan, now: float) -> Known:
    """The points that a ring takes: all within its reach, and those of the future whose places are free."""
    oldest, newest = reach(archive, now)
    present = known.between(oldest, newest)
    ahead = known.between(newest + archive.step, newest + archive.retention)
    if not len(ahead.slots):
        return present
    free = ~contains(present.slots, ahead.slots - archive.retention)
    return Known.first_of((present, Known(ahead.slots[free], ahead.values[free])))


class _Replay:
    """Where whisper-resize.py's first point of each ring would go: which slots are known, without any values.

    Old archives are written coarsest first, each as one batch of update_many; it ends when every ring has a point.
    """

    def __init__(self, new: Header, now: float) -> None:
        self._new = new
        self._now = now
        self._first = [0] * len(new.archives)
        self._stamps: list[Ints] = [np.zeros(0, np.int64)] * len(new.archives)

    def firstslots_of(self, old: Header, known: Sequence[Known]) -> list[int]:
        """The time of the first point of each new ring; 0 where none comes."""
        for archive in reversed(old.archives):
            if all(self._first):
                break
            from_time = int(self._now) - archive.retention + archive.step
            number = next(n for n, one in enumerate(old.archives) if one.retention >= archive.retention - archive.step)
            span = span_of(old.archives[number], from_time, self._now)
            self._batch(known[number].between(span.start, span.end - span.step).slots)
        return self._first

    def _batch(self, stamps: Ints) -> None:
        end = len(stamps)
        for level, archive in enumerate(self._new.archives):
            oldest = max(self._now - archive.retention, archive.step)
            start = int(np.searchsorted(stamps[:end], oldest))
            if start < end:
                slots = distinct(slots_of(stamps[start:end], archive.step)).tolist()
                self._put(level, slots)
                self._propagate(level, slots)
                end = start

    def _put(self, level: int, slots: list[int]) -> None:
        archive = self._new.archives[level]
        if not self._first[level]:
            self._first[level] = slots[0]
            self._stamps[level] = np.zeros(archive.points, np.int64)
        times = np.array(slots, np.int64)
        self._stamps[level][(times - self._first[level]) // archive.step % archive.points] = times

    def _propagate(self, level: int, slots: list[int]) -> None:
        for coarse in range(level + 1, len(self._new.archives)):
            fine, step = self._new.archives[coarse - 1], self._new.archives[coarse].step
            wanted = list({slot - slot % step for slot in slots})  # in the order of a set, as the whisper package
            ratio = step // fine.step
            times = np.array(wanted, np.int64)[:, None] + np.arange(ratio) * fine.step
            place = (times - self._first[coarse - 1]) // fine.step % fine.points
            counts = (self._stamps[coarse - 1][place] == times).sum(axis=1)
            enough = (counts > 0) & (counts / ratio >= self._new.xff)
            made = [slot for slot, chosen in zip(wanted, enough.tolist()) if chosen]
            if not made:
                return
            self._put(coarse, made)
