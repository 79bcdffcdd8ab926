"""An aggregator's journal: what it took in since its state was last written, so that kill -9 loses no interval.

The law: a directory holds ``<n>.state``, what `carbonpy.aggregating.state` made, and ``<n>.log``, what was taken
in after that.  Each point is in exactly one of the two: `checkpoint` writes the state n + 1 under another name, forces
it to the disk, renames it, and only then do points go to the log n + 1 and the old files go.  A start takes the newest
state that is whole and what its log has; a log that is cut off at any byte gives the records before the cut, and a
damaged record costs itself.  Figures that were sent after the last checkpoint are sent again, made of at least the
points that they were made of: one timestamp has one value, so that does no harm.

A record of a log, all numbers little-endian: CRC-32 of what follows it (uint32), length of the body (uint32), and
the body.  A body begins with one byte.  ``O``: outputs, a JSON list of ``[number, name, spec]``, names as Latin-1 texts
of their bytes.  ``P``: points, the time at which they came (float64), their number (uint32), and, compressed by lz4
(block format with its size in front), columns of numbers of outputs (int32), timestamps (uint32) and values (float64).
A log names an output before its first point.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import lz4.block
import numpy as np

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.state import restore, state
from carbonpy.counters import Counter
from carbonpy.errors import JournalError
from carbonpy.rules.aggregates import AggregateSpec

_HEAD = struct.Struct("<II")
_POINTS = struct.Struct("<dI")
_FILE = re.compile(r"([0-9]{1,15})\.(state|log)\Z")
#: The largest record that is read.
_MAX_RECORD = 1 << 28


class Restored(NamedTuple):
    """What a start found: intervals of the state, points of the log, damaged records."""

    intervals: int
    points: int
    damaged: int


class AggregateJournal:
    """An aggregator and its directory, which nobody else may use.  One owner.

    The directory is made when there is something to write.  `checkpoint_bytes` and `checkpoint_seconds`: when the log
    has grown so long, or so old, the state is written.  `on_trouble` gets a sentence when the disk does not take what
    it should; points are aggregated all the same, and `unjournaled` counts them.
    """

    def __init__(
        self,
        directory: str,
        aggregator: Aggregator,
        *,
        on_trouble: Callable[[str], None],
        checkpoint_bytes: int = 32 * 2**20,
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self.directory = directory
        self.aggregator = aggregator
        self._on_trouble = on_trouble
        self._checkpoint_bytes = checkpoint_bytes
        self._checkpoint_seconds = checkpoint_seconds
        self._number = 0
        self._log: BinaryIO | None = None
        self._written = 0
        self._begun: float | None = None
        #: Outputs that the log has named.
        self._named = np.zeros(256, bool)
        #: Whether the state has changed in another way than the log tells.
        self._stale = False
        self.unjournaled = Counter()
        #: Why the last record or state could not be written, "" if it was.
        self.trouble = ""

    # ---- starting

    def start(self, now: float) -> Restored:
        """Take what an earlier life left, into an aggregator that is new.  Raises JournalError."""
        try:
            found = [match for entry in os.listdir(self.directory) if (match := _FILE.match(entry))]
        except FileNotFoundError:
            return Restored(0, 0, 0)
        except OSError as error:
            raise JournalError(f"{self.directory}: cannot be used for aggregates: {error.strerror}") from None
        states = sorted({int(match[1]) for match in found if match[2] == "state"}, reverse=True)
        logs = {int(match[1]) for match in found if match[2] == "log"}
        intervals, begin = 0, min(logs, default=0)
        for number in states:
            path = self._path(number, "state")
            try:
                with open(path, "rb") as file:
                    intervals = restore(self.aggregator, file.read())
            except (JournalError, OSError) as error:
                self._on_trouble(f"{path}: {error}; it is kept as {path}.damaged")
                os.replace(path, f"{path}.damaged")
                continue
            begin = number
            break
        points = damaged = 0
        for number in sorted(logs):
            if number >= begin:
                taken, bad = self._replay(self._path(number, "log"))
                points, damaged = points + taken, damaged + bad
        self._number = max([0, *states, *logs])
        if states or logs:
            self._stale = True
            self.checkpoint(now)
        return Restored(intervals, points, damaged)

    def _replay(self, path: str) -> tuple[int, int]:
        """Take in the points of a log: how many there were, and how many records were damaged."""
        points = damaged = 0
        numbers: dict[int, int] = {}
        with open(path, "rb") as file:
            data = file.read()
        for body in _records(data):
            try:
                if body is None:
                    raise ValueError
                if body[:1] == b"O":
                    for number, name, spec in json.loads(body[1:]):
                        numbers[number] = self.aggregator.buffer(name.encode("latin-1"), AggregateSpec(*spec))
                    continue
                when, count = _POINTS.unpack_from(body, 1)
                raw = lz4.block.decompress(body[1 + _POINTS.size :])
                old = np.frombuffer(raw, "<i4", count)
                buffers = np.array([numbers[number] for number in old.tolist()], np.int64)
                timestamps = np.frombuffer(raw, "<u4", count, 4 * count)
                values = np.frombuffer(raw, "<f8", count, 8 * count)
            except (ValueError, KeyError, TypeError, struct.error, lz4.block.LZ4BlockError):
                damaged += 1
                continue
            self.aggregator.take(buffers, timestamps, values, when)
            points += count
        self.aggregator.rules_changed()
        return points, damaged

    # ---- points

    def take(self, buffers: np.ndarray, timestamps: np.ndarray, values: np.ndarray, now: float) -> None:
        """Write points down, and let the aggregator take them (see `Aggregator.take`)."""
        if len(buffers):
            self._write(buffers, timestamps, values, now)
        self.aggregator.take(buffers, timestamps, values, now)

    def _write(self, buffers: np.ndarray, timestamps: np.ndarray, values: np.ndarray, now: float) -> None:
        if buffers.min() < 0:
            kept = buffers >= 0
            buffers, timestamps, values = buffers[kept], timestamps[kept], values[kept]
            if not len(buffers):
                return
        highest = int(buffers.max())
        if highest >= len(self._named):
            self._named = np.concatenate((self._named, np.zeros(max(highest, len(self._named)), bool)))
        new = buffers[~self._named[buffers]]
        parts = []
        if len(new):
            names = np.unique(new)
            outputs = self.aggregator.outputs
            listed = [[n, outputs.names[n].decode("latin-1"), outputs.specs[n]] for n in names.tolist()]
            parts.append(_record(b"O" + json.dumps(listed, separators=(",", ":")).encode()))
        columns = (
            np.asarray(buffers, "<i4").tobytes(),
            np.asarray(timestamps, "<u4").tobytes(),
            np.asarray(values, "<f8").tobytes(),
        )
        packed = lz4.block.compress(b"".join(columns))
        parts.append(_record(b"".join((b"P", _POINTS.pack(now, len(buffers)), packed))))
        data = b"".join(parts)
        try:
            if self._log is None:
                os.makedirs(self.directory, exist_ok=True)
                self._log = open(self._path(self._number, "log"), "ab", buffering=0)  # noqa: SIM115
                self._written, self._begun = 0, now
            _write_all(self._log, data, self._written)
        except OSError as error:
            self.unjournaled.add(len(buffers))
            self._stale = True
            self._complain(f"{self.directory}: points of aggregates cannot be written: {error.strerror}")
            return
        self._named[new] = True
        self._written += len(data)

    # ---- the state

    def look(self, now: float) -> None:
        """To be called about once a second: write the state when it is time."""
        if self._begun is not None and (
            self._stale or self._written >= self._checkpoint_bytes or now - self._begun >= self._checkpoint_seconds
        ):
            self.checkpoint(now)

    def rules_changed(self, now: float) -> None:
        """The rules were read again (see `Aggregator.rules_changed`): the log begins anew, since specs may change."""
        self.aggregator.rules_changed()
        self.checkpoint(now)

    def checkpoint(self, now: float) -> None:
        """Write the state, and begin a new log."""
        if self._log is None and not self._stale:
            return
        number = self._number + 1
        path = self._path(number, "state")
        try:
            os.makedirs(self.directory, exist_ok=True)
            with open(f"{path}.part", "wb") as file:
                file.write(state(self.aggregator))
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.part", path)
        except OSError as error:
            self._stale = True
            self._begun = now
            self._complain(f"{path}: the state of aggregates cannot be written: {error.strerror}")
            return
        if self._log is not None:
            self._log.close()
        self._log, self._begun, self._written, self._stale, self.trouble = None, None, 0, False, ""
        self._named[:] = False
        self._number = number
        for entry in os.listdir(self.directory):
            match = _FILE.match(entry)
            if match and int(match[1]) < number:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.directory, entry))

    def sync(self) -> None:
        """Force the log to the disk.  Raises OSError."""
        if self._log is not None:
            os.fsync(self._log.fileno())

    def close(self, now: float) -> None:
        """Write the state for the next life."""
        self.checkpoint(now)
        if self._log is not None:
            self._log.close()
            self._log = None

    def _path(self, number: int, kind: str) -> str:
        return os.path.join(self.directory, f"{number}.{kind}")

    def _complain(self, sentence: str) -> None:
        if sentence != self.trouble:
            self.trouble = sentence
            self._on_trouble(f"{sentence}; they are in memory only, and lost if the daemon is killed")


def _record(body: bytes) -> bytes:
    return _HEAD.pack(zlib.crc32(body), len(body)) + body


def _records(data: bytes) -> Iterator[bytes | None]:
    """The bodies of a log; None for one that is damaged.  What is cut off at the end is none."""
    begin = 0
    while begin + _HEAD.size <= len(data):
        check, length = _HEAD.unpack_from(data, begin)
        end = begin + _HEAD.size + length
        if length > _MAX_RECORD or end > len(data):
            return
        body = data[begin + _HEAD.size : end]
        yield body if zlib.crc32(body) == check else None
        begin = end


def _write_all(file: BinaryIO, data: bytes, begin: int) -> None:
    """Append `data` to a file of `begin` bytes; raises OSError with the file as it was, as far as the disk lets us."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(begin)
        raise
