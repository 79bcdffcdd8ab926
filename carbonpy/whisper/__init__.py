"""Whisper files: the engine of carbonpy, and a module that can stand in for the whisper package.

The law: ``import carbonpy.whisper as whisper`` gives a script the names, signatures, exceptions,
return types, file bytes and answers of the whisper package.  carbonpy itself uses the modules below
(`layout`, `ring`, `rollup`, `file`, `maintenance`), not these functions.

The switches LOCK, AUTOFLUSH and FADVISE_RANDOM may be set by the importing program at any time and
are read at each call: they are the one exception in the house to "no mutable module globals", kept
because that is how programs configure the whisper package.  CACHE_HEADERS and BUFFERING may be set and
change nothing: a header is read each time (it costs about a microsecond and is never stale), and
files are read and written without a buffer.  CAN_LOCK, CAN_FALLOCATE and CAN_FADVISE tell what the
system offers.  Not offered: enableDebug and disableDebug, which print to standard output.

Where the result differs on purpose (a failed create leaves nothing behind; a point outside the range
of a timestamp or beyond its ring costs only itself; a span longer than the selected archive is
answered in full; NaN is not a valid xFilesFactor; a header that cannot be worked with is refused when
it is read) the whisper package loses data, raises an unrelated error, or damages the file.
"""

from __future__ import annotations

import fcntl
import operator  # noqa: F401  (programs that use the whisper package reach it as whisper.operator)
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from carbonpy.whisper import fetching, maintenance
from carbonpy.whisper import file as _file
from carbonpy.whisper.access import Access, Descriptor, Stream
from carbonpy.whisper.compat import (
    UnitMultipliers,
    aggregate,
    aggregationMethods,
    aggregationMethodToType,
    aggregationTypeToMethod,
    archiveInfoFormat,
    archiveInfoSize,
    floatFormat,
    floatSize,
    getUnitString,
    header_dict,
    longFormat,
    longSize,
    metadataFormat,
    metadataSize,
    parseRetentionDef,
    pointFormat,
    pointSize,
    validateArchiveList,
    valueFormat,
    valueSize,
)
from carbonpy.whisper.errors import (
    ArchivesUnalike,
    CorruptWhisperFile,
    FileAlreadyExists,
    InvalidAggregationMethod,
    InvalidConfiguration,
    InvalidTimeInterval,
    InvalidXFilesFactor,
    TimestampNotCovered,
    WhisperException,
)
from carbonpy.whisper.storing import RingWriter

__all__ = [
    "AUTOFLUSH",
    "BUFFERING",
    "CACHE_HEADERS",
    "CAN_FADVISE",
    "CAN_FALLOCATE",
    "CAN_LOCK",
    "FADVISE_RANDOM",
    "LOCK",
    "ArchivesUnalike",
    "CorruptWhisperFile",
    "FileAlreadyExists",
    "InvalidAggregationMethod",
    "InvalidConfiguration",
    "InvalidTimeInterval",
    "InvalidXFilesFactor",
    "TimestampNotCovered",
    "UnitMultipliers",
    "WhisperException",
    "aggregate",
    "aggregationMethodToType",
    "aggregationMethods",
    "aggregationTypeToMethod",
    "archiveInfoFormat",
    "archiveInfoSize",
    "create",
    "diff",
    "fetch",
    "file_diff",
    "file_fetch",
    "file_merge",
    "file_update",
    "file_update_many",
    "floatFormat",
    "floatSize",
    "getUnitString",
    "info",
    "longFormat",
    "longSize",
    "merge",
    "metadataFormat",
    "metadataSize",
    "parseRetentionDef",
    "pointFormat",
    "pointSize",
    "setAggregationMethod",
    "setXFilesFactor",
    "update",
    "update_many",
    "validateArchiveList",
    "valueFormat",
    "valueSize",
]

LOCK = False
AUTOFLUSH = False
FADVISE_RANDOM = False
CACHE_HEADERS = False
BUFFERING = 0
CAN_LOCK = True
CAN_FALLOCATE = hasattr(os, "posix_fallocate")
CAN_FADVISE = hasattr(os, "posix_fadvise")

_Path = str | bytes | os.PathLike[str]
_TimeInfo = tuple[int, int, int]


@contextmanager
def _opened(path: _Path, flags: int) -> Iterator[Descriptor]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        if CAN_FADVISE and FADVISE_RANDOM and flags != os.O_RDONLY:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        yield Descriptor(fd, path)
    finally:
        os.close(fd)


def _lock(file: int | BinaryIO) -> None:
    if CAN_LOCK and LOCK:
        fcntl.flock(file, fcntl.LOCK_EX)


def _settle(file: int | BinaryIO) -> None:
    if AUTOFLUSH:
        os.fsync(file)


def _now(now: float | None) -> float:
    return int(time.time()) if now is None else now


def __readHeader(fh: BinaryIO) -> dict[str, Any]:
    """The header of an open file as `info` gives it; the position of `fh` stays.  (graphite-web uses this name.)"""
    position = fh.tell()
    try:
        return header_dict(fetching.read_header(Stream(fh)))
    finally:
        fh.seek(position)


def info(path: _Path) -> dict[str, Any] | None:
    """The header of a file; None if it cannot be opened.  Raises CorruptWhisperFile."""
    try:
        with _opened(path, os.O_RDONLY) as access:
            return header_dict(fetching.read_header(access))
    except OSError:
        return None


def create(
    path: _Path,
    archiveList: list[tuple[int, int]],
    xFilesFactor: float | None = None,
    aggregationMethod: str | None = None,
    sparse: bool = False,
    useFallocate: bool = False,
) -> None:
    """Make an empty file; `archiveList` is sorted in place.  An xFilesFactor of None is 0.5, a method average.

    Raises InvalidConfiguration, InvalidAggregationMethod, InvalidXFilesFactor or OSError, and then
    there is no new file.
    """
    validateArchiveList(archiveList)
    if os.path.exists(path):
        raise FileAlreadyExists(f"File {os.fsdecode(path)} already exists!")
    _file.create(
        path,
        archiveList,
        0.5 if xFilesFactor is None else xFilesFactor,
        "average" if aggregationMethod is None else aggregationMethod,
        sparse=sparse,
        fallocate=useFallocate and CAN_FALLOCATE,
        fsync=AUTOFLUSH,
    )


def update(path: _Path, value: float, timestamp: float | None = None, now: float | None = None) -> None:
    """Store one value; a timestamp of None is now.  Raises TimestampNotCovered."""
    number = float(value)
    with _opened(path, os.O_RDWR) as access:
        _update(access, access.fd, number, timestamp, now)
        _settle(access.fd)


def file_update(fh: BinaryIO, value: float, timestamp: float | None, now: float | None = None) -> None:
    """`update` on a file object opened for reading and writing."""
    _update(Stream(fh), fh, value, timestamp, now)
    if AUTOFLUSH:
        fh.flush()
        _settle(fh)


def _update(access: Access, file: int | BinaryIO, value: float, timestamp: float | None, now: float | None) -> None:
    _lock(file)
    header = fetching.read_header(access)
    now = _now(now)
    _file.update_access(access, header, value, int(now if timestamp is None else timestamp), now)


def update_many(path: _Path, points: Iterable[tuple[float, float]], now: float | None = None) -> None:
    """Store (timestamp, value) points in any order; of equal timestamps the first given wins."""
    if not points:
        return
    pairs = [(int(timestamp), float(value)) for timestamp, value in points]
    with _opened(path, os.O_RDWR) as access:
        _update_many(access, access.fd, pairs, now)
        _settle(access.fd)


def file_update_many(fh: BinaryIO, points: Iterable[tuple[int, float]], now: float | None = None) -> None:
    """`update_many` on a file object opened for reading and writing."""
    _update_many(Stream(fh), fh, list(points), now)
    if AUTOFLUSH:
        fh.flush()
        _settle(fh)


def _update_many(access: Access, file: int | BinaryIO, points: list[tuple[int, float]], now: float | None) -> None:
    _lock(file)
    header = fetching.read_header(access)
    # Newest first, then turned round: equal timestamps end up in reverse, and the last of them is kept.
    points.sort(key=lambda point: point[0], reverse=True)
    points.reverse()
    stamps = [timestamp for timestamp, _ in points]
    RingWriter(access, header).write(stamps, [value for _, value in points], _now(now))


def fetch(
    path: _Path,
    fromTime: float,
    untilTime: float | None = None,
    now: float | None = None,
    archiveToSelect: str | int | None = None,
) -> tuple[_TimeInfo, list[float | None]] | None:
    """((start, end, step), values) between two times, or None.  `archiveToSelect` is a step: 60, "60s", "1h"."""
    with _opened(path, os.O_RDONLY) as access:
        return _fetch(access, fromTime, untilTime, now, archiveToSelect)


def file_fetch(
    fh: BinaryIO,
    fromTime: float,
    untilTime: float | None,
    now: float | None = None,
    archiveToSelect: str | int | None = None,
) -> tuple[_TimeInfo, list[float | None]] | None:
    """`fetch` from a file object, which may be a gzip file."""
    return _fetch(Stream(fh), fromTime, untilTime, now, archiveToSelect)


def _fetch(
    access: Access,
    from_time: float,
    until_time: float | None,
    now: float | None,
    selected: str | int | None,
) -> tuple[_TimeInfo, list[float | None]] | None:
    header = fetching.read_header(access)
    now = _now(now)
    until_time = int(now if until_time is None else until_time)
    step = parseRetentionDef(f"{selected}:1")[0] if selected else None
    slots = fetching.read_range(access, header, int(from_time), until_time, now, step)
    if slots is None:
        return None
    start, end, seconds = slots.span
    return ((start, end, seconds), maintenance.values_or_none(slots))


def setXFilesFactor(path: _Path, xFilesFactor: float) -> float:
    """Set the xFilesFactor of a file; returns the old one.  Raises InvalidXFilesFactor."""
    return _set_aggregation(path, None, xFilesFactor)["xFilesFactor"]


def setAggregationMethod(path: _Path, aggregationMethod: str, xFilesFactor: float | None = None) -> str:
    """Set the aggregation method, and the xFilesFactor if given; returns the old method."""
    return _set_aggregation(path, aggregationMethod, xFilesFactor)["aggregationMethod"]


def _set_aggregation(path: _Path, method: str | None, xff: float | None) -> dict[str, Any]:
    with _opened(path, os.O_RDWR) as access:
        _lock(access.fd)
        before = _file.set_aggregation(access, method, xff)
        _settle(access.fd)
    return header_dict(before)


def merge(
    path_from: _Path,
    path_to: _Path,
    time_from: float | None = None,
    time_to: float | None = None,
    now: float | None = None,
) -> None:
    """Copy the known values of one file into another with the same archives.  Raises NotImplementedError otherwise."""
    with _opened(path_from, os.O_RDONLY) as source, _opened(path_to, os.O_RDWR) as target:
        maintenance.merge(source, target, _now(now), time_from, time_to)


def file_merge(
    fh_from: BinaryIO,
    fh_to: BinaryIO,
    time_from: float | None = None,
    time_to: float | None = None,
    now: float | None = None,
) -> None:
    """`merge` on file objects."""
    maintenance.merge(Stream(fh_from), Stream(fh_to), _now(now), time_from, time_to)


def diff(
    path_from: _Path,
    path_to: _Path,
    ignore_empty: bool = False,
    until_time: float | None = None,
    now: float | None = None,
) -> list[tuple[int, list[maintenance.Difference], int]]:
    """For each archive (number, [(timestamp, value, other)], compared).  Raises NotImplementedError if unalike."""
    with _opened(path_from, os.O_RDONLY) as first, _opened(path_to, os.O_RDONLY) as second:
        return maintenance.diff(first, second, _now(now), ignore_empty, until_time)


def file_diff(
    fh_from: BinaryIO,
    fh_to: BinaryIO,
    ignore_empty: bool = False,
    until_time: float | None = None,
    now: float | None = None,
) -> list[tuple[int, list[maintenance.Difference], int]]:
    """`diff` on file objects."""
    return maintenance.diff(Stream(fh_from), Stream(fh_to), _now(now), ignore_empty, until_time)
