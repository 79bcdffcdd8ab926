"""Values out of rings: the read path of a whisper file.

The law: a request is answered by one archive, the finest that reaches back to its start (or the one
of the step asked for); the slot that holds `from` is out and the one that holds `until` is in; a
value counts only if the timestamp stored with it is that of its slot.  The answer always has one
value per slot of its span.  (The whisper package returns fewer, and loses the newest, when the step
asked for belongs to a ring shorter than the span.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.timespan import Span
from carbonpy.whisper.access import Access
from carbonpy.whisper.errors import CorruptWhisperFile, InvalidTimeInterval
from carbonpy.whisper.layout import (
    HEADER_READ,
    POINT,
    POINT_SIZE,
    TIMESTAMP,
    ArchiveSpan,
    Header,
    parse_header,
)
from carbonpy.whisper.ring import index_of, pieces


class Slots(NamedTuple):
    """Part of a ring: `values` is float64[span.count], NaN where not `known`."""

    span: Span
    values: NDArray[np.float64]
    known: NDArray[np.bool_]


def read_header(access: Access) -> Header:
    """The header of a file.  Raises CorruptWhisperFile."""
    return parse_header(access.read_at(HEADER_READ, 0), access.path)


def choose(
    header: Header, from_time: float, until_time: float, now: float, step: int | None = None
) -> tuple[ArchiveSpan, Span] | None:
    """Which archive answers a request, and the span of the answer; None if the file cannot reach it.

    Raises InvalidTimeInterval if from is after until, ValueError if no archive has `step`.
    """
    if from_time > until_time:
        raise InvalidTimeInterval(f"Invalid time interval: from time '{from_time}' is after until time '{until_time}'")
    oldest = now - header.max_retention
    if from_time > now or until_time < oldest:
        return None
    from_time = max(from_time, oldest)
    until_time = min(until_time, now)
    for archive in header.archives:
        if archive.step == step if step else archive.retention >= now - from_time:
            break
    else:
        if step:
            raise ValueError(f"Invalid granularity: {step}")
    return archive, span_of(archive, from_time, until_time)


def span_of(archive: ArchiveSpan, from_time: float, until_time: float) -> Span:
    """The slots of an archive after that of `from_time`, up to and with that of `until_time`; at least one."""
    return Span.graphite(math.floor(from_time), math.floor(until_time), archive.step)


def read_range(
    access: Access, header: Header, from_time: float, until_time: float, now: float, step: int | None = None
) -> Slots | None:
    """`choose`, then `read_span`."""
    chosen = choose(header, from_time, until_time, now, step)
    return None if chosen is None else read_span(access, *chosen)


def read_span(access: Access, archive: ArchiveSpan, span: Span) -> Slots:
    """What a ring knows of a span of its own step, in at most three reads.  Raises CorruptWhisperFile."""
    count = max(span.count, 0)
    first = access.read_at(POINT_SIZE, archive.offset)
    if len(first) < POINT_SIZE:
        raise CorruptWhisperFile("Unable to read base datapoint", access.path)
    (base,) = TIMESTAMP.unpack_from(first)
    if base == 0 or count == 0:
        return Slots(span, np.full(count, math.nan), np.zeros(count, dtype=np.bool_))
    present = min(count, archive.points)
    parts = [
        access.read_at(size, offset) for offset, size in pieces(archive, index_of(span.start, base, archive), present)
    ]
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) < present * POINT_SIZE:
        raise CorruptWhisperFile("Unable to read datapoints", access.path)
    points = np.frombuffer(data, POINT)
    distance = points["t"].astype(np.int64) - span.start
    here = np.arange(present)
    if count == present:
        known = distance == here * span.step
        return Slots(span, np.where(known, points["v"], math.nan), known)
    # A span longer than the ring: every point of the ring that lies in the span finds its place.
    position = distance // span.step
    usable = (distance >= 0) & (position < count) & (distance % span.step == 0) & (position % present == here)
    values = np.full(count, math.nan)
    known = np.zeros(count, dtype=np.bool_)
    values[position[usable]] = points["v"][usable]
    known[position[usable]] = True
    return Slots(span, values, known)
