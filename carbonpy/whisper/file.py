"""A whisper file by its descriptor or its path: create, update, fetch, set.

The law: these functions mean what the whisper package means, with plain types (a Header, numpy
arrays) and no hidden state; `carbonpy.whisper` says the same in that package's own words.  All of
them are safe from any thread as long as a file has one writer at a time; none of them takes a lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.timespan import Span
from carbonpy.whisper import fetching
from carbonpy.whisper.access import Access, Descriptor
from carbonpy.whisper.creation import create, creating, is_temporary
from carbonpy.whisper.errors import TimestampNotCovered
from carbonpy.whisper.layout import Header, method_code, stored_xff
from carbonpy.whisper.storing import RingWriter, Stored

__all__ = [
    "Fetched",
    "Stored",
    "create",
    "creating",
    "fetch",
    "is_temporary",
    "read_header",
    "set_aggregation",
    "set_method",
    "set_xff",
    "update",
    "update_access",
    "write_points",
]

Path = str | bytes | os.PathLike[str]


class Fetched(NamedTuple):
    """An answer: `values` is float64[span.count], NaN where the file knows nothing."""

    span: Span
    values: NDArray[np.float64]
    header: Header


def read_header(fd: int, path: object = None) -> Header:
    """The header of an open file.  Raises CorruptWhisperFile, which names `path`."""
    return fetching.read_header(Descriptor(fd, path))


def write_points(
    fd: int,
    header: Header,
    timestamps: Sequence[int],
    values: Sequence[float],
    now: float,
    *,
    empty: bool = False,
    path: object = None,
) -> Stored:
    """Store points, ascending by timestamp, through a read-write descriptor, and propagate them.

    `now` decides which archive takes a point.  empty=True promises that the file has never been
    written (as in `creating`), which saves reads.  See `carbonpy.whisper.storing` for the exact
    meaning and for what is refused and counted.  Raises CorruptWhisperFile or OSError.
    """
    return RingWriter(Descriptor(fd, path), header, empty=empty).write(timestamps, values, now)


def update(fd: int, header: Header, value: float, timestamp: int, now: float) -> None:
    """Store one point that must lie in the past, but not a whole retention back.

    Raises TimestampNotCovered otherwise, CorruptWhisperFile or OSError.
    """
    update_access(Descriptor(fd), header, value, timestamp, now)


def update_access(access: Access, header: Header, value: float, timestamp: int, now: float) -> None:
    """`update` for any Access."""
    if not 0 <= now - timestamp < header.max_retention:
        raise TimestampNotCovered("Timestamp not covered by any archives in this database.")
    RingWriter(access, header).write([timestamp], [float(value)], now)


def fetch(
    path: Path, from_time: float, until_time: float | None, now: float | None = None, step: int | None = None
) -> Fetched | None:
    """What a file knows between two times (None as until: now), or None if it does not reach there.

    The finest archive that covers `from_time` answers, or the one of `step` seconds.  Raises
    CorruptWhisperFile, InvalidTimeInterval, ValueError (no archive of that step) or OSError.
    """
    if now is None:
        now = int(time.time())
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        access = Descriptor(fd, path)
        header = fetching.read_header(access)
        slots = fetching.read_range(access, header, from_time, now if until_time is None else until_time, now, step)
    finally:
        os.close(fd)
    return None if slots is None else Fetched(slots.span, slots.values, header)


def set_xff(path: Path, xff: float) -> float:
    """Set the xFilesFactor of a file; returns the one before.  Raises InvalidXFilesFactor and as `fetch`."""
    return _set(path, None, xff).xff


def set_method(path: Path, method: str, xff: float | None = None) -> str:
    """Set the aggregation method (and xFilesFactor) of a file; returns the method before."""
    return _set(path, method, xff).method_name


def _set(path: Path, method: str | None, xff: float | None) -> Header:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return set_aggregation(Descriptor(fd, path), method, xff)
    finally:
        os.close(fd)


def set_aggregation(access: Access, method: str | None, xff: float | None) -> Header:
    """Rewrite method and xFilesFactor where given; returns the Header as it was before.

    Raises InvalidAggregationMethod or InvalidXFilesFactor before anything is written.
    """
    before = fetching.read_header(access)
    code = before.method if method is None else method_code(method)
    factor = before.xff if xff is None else stored_xff(xff)
    access.write_at(before._replace(method=code, xff=factor).pack_metadata(), 0)
    return before
