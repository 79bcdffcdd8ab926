"""Two whisper files side by side: merge one into the other, list where they differ.

The law: both files must have the same archives, and both functions work archive by archive within
its own reach back from `now`.  `merge` overwrites the values of the target where the source has one
and remakes the coarse slots above them; `diff` compares archive n only where archive n - 1 does not
reach.  One thread at a time for the file that is written; no locks are taken.
"""

from __future__ import annotations

from carbonpy.whisper.access import Access
from carbonpy.whisper.errors import ArchivesUnalike
from carbonpy.whisper.fetching import Slots, read_header, read_span, span_of
from carbonpy.whisper.layout import ArchiveSpan, Header
from carbonpy.whisper.storing import RingWriter

#: (slot, value in the first file, value in the second), None where a file knows nothing.
Difference = tuple[int, float | None, float | None]


def merge(
    source: Access, target: Access, now: float, time_from: float | None = None, time_to: float | None = None
) -> int:
    """Copy what `source` knows between two times into `target`; returns how many values were copied.

    None means the beginning of time, and now.  Raises ArchivesUnalike, ValueError (time_to before
    time_from), CorruptWhisperFile or OSError.
    """
    header = read_header(source)
    target_header = read_header(target)
    _demand_same_archives(header, target_header, source, target, "merging")
    begin = 0 if time_from is None else time_from
    until = now if time_to is None else time_to
    if until < begin:
        raise ValueError("time_to must be >= time_from")
    writer = RingWriter(target, target_header)
    copied = 0
    for archive in _by_retention(header):
        oldest = now - archive.retention
        if until < oldest:
            continue
        found = read_span(source, archive, span_of(archive, max(begin, oldest), until))
        stamps = [found.span.start + position * archive.step for position in found.known.nonzero()[0].tolist()]
        if stamps:
            level = header.archives.index(archive)
            copied += len(stamps) - writer.write_level(level, stamps, found.values[found.known].tolist(), now)
    return copied


def diff(
    first: Access, second: Access, now: float, ignore_empty: bool = False, until_time: float | None = None
) -> list[tuple[int, list[Difference], int]]:
    """For each archive: its number, where the files differ, and how many slots were compared.

    A slot is compared if either file knows it, with `ignore_empty` only if both do.  NaN differs from
    everything.  Raises ArchivesUnalike, CorruptWhisperFile or OSError.
    """
    header = read_header(first)
    _demand_same_archives(header, read_header(second), first, second, "diffing")
    until = until_time or now
    answer = []
    for number, archive in enumerate(_by_retention(header)):
        start = now - archive.retention
        span = span_of(archive, start, until)
        pairs = [
            (slot, one, other)
            for slot, one, other in zip(
                range(span.start, span.end, span.step),
                values_or_none(read_span(first, archive, span)),
                values_or_none(read_span(second, archive, span)),
            )
            if (one is not None and other is not None) or (not ignore_empty and (one is not None or other is not None))
        ]
        answer.append((number, [pair for pair in pairs if pair[1] != pair[2]], len(pairs)))
        until = min(start, until)
    return answer


def values_or_none(slots: Slots) -> list[float | None]:
    """The values of a span as Python floats, None where nothing is known (a stored NaN stays a NaN)."""
    return [value if known else None for value, known in zip(slots.values.tolist(), slots.known.tolist())]


def _by_retention(header: Header) -> list[ArchiveSpan]:
    return sorted(header.archives, key=lambda archive: archive.retention)


def _demand_same_archives(one: Header, other: Header, one_file: Access, other_file: Access, purpose: str) -> None:
    if one.archives != other.archives:
        raise ArchivesUnalike(
            f"{one_file.path} and {other_file.path} archive configurations are unalike. "
            f"Resize the input before {purpose}"
        )
