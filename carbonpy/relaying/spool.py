"""The spool of a destination: texts of lines on disk, first in, first out, until they are delivered.

The law: a text that `append` took is on disk, is given out by `read`, or was counted as dropped with its reason; it is
given out again after `unread`, and after a kill, until `done`.  At every moment: points appended or found at the start
= points done + points dropped + `points`.

Texts are records of segment files (`carbonpy.relaying.segment` has the format).  A segment goes when all its records
are done; so what a spool takes of the disk is what waits, plus at most a segment at either end.  The last segment
stays, empty if need be, as its name says which numbers were given.  A spool that never had a record is an empty
directory.
"""

from __future__ import annotations

import fcntl
import os
from bisect import bisect_right
from collections.abc import Callable

from carbonpy.appending import AppendFile
from carbonpy.clock import Clock
from carbonpy.counters import Counter
from carbonpy.errors import SpoolError
from carbonpy.relaying.segment import (
    AWAY,
    DONE,
    HEAD_SIZE,
    MAGIC,
    WAITING,
    Record,
    Segment,
    find_segments,
    pack_record,
    segment_path,
)

__all__ = ["Record", "Spool"]

#: A limit of bytes or of age is made of at least this many segments, so that little goes with the oldest one.
_SEGMENTS_PER_LIMIT = 8
#: As many segments are kept open.
_OPEN_SEGMENTS = 4


class Spool:
    """A durable queue of texts.  One owner; `sync` is safe from any thread.

    Raises SpoolError if the directory cannot be used or another process has it.  `max_bytes` is of the files, `max_age`
    in seconds between a record's birth and the `now` of `expire`.  `on_dropped` is called with "spool_full",
    "spool_expired" or "spool_damaged" and a number of points, also from within `append`, `read` and `unread`.
    """

    def __init__(
        self,
        directory: str,
        *,
        max_bytes: float,
        max_age: float,
        clock: Clock,
        segment_bytes: int = 8 << 20,
        on_trouble: Callable[[str], None] = lambda sentence: None,
        on_dropped: Callable[[str, int], None] = lambda reason, points: None,
    ) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.max_age = max_age
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._on_trouble = on_trouble
        self._on_dropped = on_dropped
        #: Points of records that are not done, those on their way included.
        self.points = 0
        #: Points of records that are not given out.
        self.waiting = 0
        #: What the segments take of the disk.
        self.bytes = 0
        #: Stretches of segments that could not be read.
        self.damaged = Counter()
        self._segments: list[Segment] = []
        self._firsts: list[int] = []
        #: The last number given.
        self._number = 0
        #: No waiting record has a lower number.
        self._next = 0
        #: Number -> points of the records that are on their way.
        self._away: dict[int, int] = {}
        #: Number -> why, of records on their way whose segment was dropped: nobody can send them again.
        self._gone: dict[int, str] = {}
        self._open: list[Segment] = []
        self._current: AppendFile | None = None
        self._current_since = 0.0
        self._appended = False
        self._unsynced: dict[str, None] = {}
        self._lock = self._take_lock()
        try:
            self._find()
        except OSError as error:
            os.close(self._lock)
            raise SpoolError(f"{directory}: the spool cannot be read: {error}; mend it or move it away") from None

    def _take_lock(self) -> int:
        try:
            os.makedirs(self.directory, exist_ok=True)
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolError(f"{self.directory}: the spool directory cannot be used: {error}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise SpoolError(
                f"{self.directory}: another process uses this spool; give each instance a directory of its own"
            ) from None
        except OSError as error:
            os.close(fd)
            raise SpoolError(f"{self.directory}: the spool directory cannot be locked: {error}") from None
        return fd

    def _find(self) -> None:
        """Note what earlier lives left."""
        for first, path in find_segments(self.directory):
            segment = Segment(path, first)
            segment.scan()
            self._number = max(self._number, first, segment.end - 1)
            if segment.damaged:
                self.damaged.add(segment.damaged)
                # The numbers of damaged records at its end are not known, but they were given.
                self._number += segment.size // HEAD_SIZE
                self._on_trouble(f"{path}: {segment.damaged} damaged stretches; what records were in them is lost")
                if not segment.states:
                    os.replace(path, path + ".damaged")
                    self._on_trouble(f"{path}: not a segment any more; kept as {path}.damaged")
                    continue
            self._enter(segment)
            points = sum(count for count, state in zip(segment.points, segment.states) if state == WAITING)
            self.points += points
            self.waiting += points
        self._remove_finished()

    # ---- in

    def append(self, text: bytes, points: int, born: float) -> int:
        """Put a text of whole lines at the end; its number.  Raises OSError, and then nothing of it is there.

        What is older goes if it is more than `max_bytes` with this.
        """
        return self._append(text, points, born, WAITING)

    def append_read(self, text: bytes, points: int, born: float) -> int:
        """`append` for a text that is on its way already: `read` gives it only after `unread` or a new start."""
        return self._append(text, points, born, AWAY)

    def _append(self, text: bytes, points: int, born: float, state: int) -> int:
        file = self._file_to_append_to()
        number = self._number + 1
        data = pack_record(Record(number, text, points, born))
        file.append(data)
        self._note_unsynced(file.path)
        self._segments[-1].add(len(data), points, born, state)
        self._number = number
        self._appended = True
        self.bytes += len(data)
        self.points += points
        if state == AWAY:
            self._away[number] = points
        else:
            self.waiting += points
        while self.bytes > self.max_bytes and any(segment.states for segment in self._segments):
            self._drop_segment(next(segment for segment in self._segments if segment.states), "spool_full")
        return number

    def _file_to_append_to(self) -> AppendFile:
        if self._current is not None and (
            self._current.length >= min(self._segment_bytes, self.max_bytes / _SEGMENTS_PER_LIMIT)
            or self._clock() - self._current_since > self.max_age / _SEGMENTS_PER_LIMIT
        ):
            self._end_current()
        if self._current is None:
            first = self._number + 1
            self._current = AppendFile(segment_path(self.directory, first), MAGIC)
            self._current_since = self._clock()
            self._enter(Segment(self._current.path, first))
            self._remove_finished()
        return self._current

    def _end_current(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None
            # An empty one would be in the way of the next, which would have the same name.
            self._number = max(self._number, self._segments[-1].first)

    def _enter(self, segment: Segment) -> None:
        self._segments.append(segment)
        self._firsts.append(segment.first)
        self.bytes += segment.size

    # ---- out

    def read(self) -> Record | None:
        """The oldest record that is not given out; None if there is none, or it cannot be read just now."""
        while self._next <= self._number:
            index = max(bisect_right(self._firsts, self._next) - 1, 0)
            while index < len(self._segments) and self._segments[index].end <= self._next:
                index += 1
            if index == len(self._segments):
                break
            segment = self._segments[index]
            at = segment.first_waiting(self._next - segment.first)
            if at < 0:
                self._next = segment.end
                continue
            try:
                record = segment.load(at)
            except OSError as error:
                self._on_trouble(f"{segment.path}: cannot be read: {error}; trying again")
                return None
            self._next = segment.first + at + 1
            if record is None:
                self.damaged.add(1)
                self._on_trouble(f"{segment.path}: record {segment.first + at} is damaged; {segment.points[at]} points")
                self._drop(segment, [at], "spool_damaged")
                continue
            self._note_open(segment)
            segment.states[at] = AWAY
            self._away[record.number] = record.points
            self.waiting -= record.points
            return record
        return None

    def done(self, number: int) -> None:
        """A record was delivered.  For the second time, or of one that nobody knows, this does nothing."""
        points = self._away.pop(number, None)
        if self._gone.pop(number, None) is not None:
            self.points -= points or 0
            return
        segment = self._segment_of(number)
        if segment is None:
            return
        at = number - segment.first
        if segment.states[at] == DONE:
            return
        if segment.states[at] == WAITING:
            self.waiting -= segment.points[at]
        self.points -= segment.points[at]
        self._finish(segment, at)
        self._after_finishing(segment)

    def unread(self, number: int) -> None:
        """A record was given out but not delivered: it waits again, in its place."""
        points = self._away.pop(number, None)
        if points is None:
            return
        reason = self._gone.pop(number, None)
        segment = self._segment_of(number)
        if reason is not None or segment is None:
            self.points -= points
            self._on_dropped(reason or "spool_damaged", points)
            return
        segment.states[number - segment.first] = WAITING
        self.waiting += points
        self._next = min(self._next, number)

    def unread_all(self) -> None:
        """`unread` for all records that are on their way."""
        for number in list(self._away):
            self.unread(number)

    @property
    def oldest(self) -> float | None:
        """When the first record that is not done was born; None if all are."""
        for segment in self._segments:
            if segment.undone:
                return segment.born(segment.first_undone())
        return None

    # ---- limits

    def expire(self, now: float) -> None:
        """Drop what is older than `max_age` or more than `max_bytes`, and give room back that is not needed.

        Records on their way are counted as dropped when they would have to be sent again.
        """
        limit = now - self.max_age
        for segment in self._segments[:]:
            if segment.undone and segment.newest < limit:
                self._drop_segment(segment, "spool_expired")
        for segment in self._segments:
            if segment.undone:
                self._expire_first(segment, limit)
                break
        while self.bytes > self.max_bytes and any(segment.states for segment in self._segments):
            self._drop_segment(next(segment for segment in self._segments if segment.states), "spool_full")
        if not self._appended and not self.points and self._segments and self._segments[-1].states:
            self._empty_last()
        self._appended = False

    def _expire_first(self, segment: Segment, limit: float) -> None:
        """The old records at the beginning of a segment that has younger ones."""
        old = []
        for at in range(segment.first_undone(), len(segment.states)):
            if segment.born(at) >= limit and segment.states[at] != DONE:
                break
            if segment.states[at] != DONE:
                old.append(at)
        if old:
            self._drop(segment, old, "spool_expired")

    def _drop_segment(self, segment: Segment, reason: str) -> None:
        """A whole segment goes."""
        self._drop(segment, [at for at, state in enumerate(segment.states) if state != DONE], reason, remove=True)
        if segment is self._segments[-1]:
            self._empty_last()
        else:
            self._remove(segment)

    def _drop(self, segment: Segment, indexes: list[int], reason: str, remove: bool = False) -> None:
        """Records go, and those that are not on their way are counted; on disk too, unless `remove` follows."""
        dropped = 0
        for at in indexes:
            if segment.states[at] == AWAY:
                self._gone[segment.first + at] = reason
            else:
                dropped += segment.points[at]
            if remove:
                segment.finish(at)
            else:
                self._finish(segment, at)
        self.points -= dropped
        self.waiting -= dropped
        if not remove:
            self._after_finishing(segment)
        if dropped:
            self._on_dropped(reason, dropped)

    # ---- segments

    def _segment_of(self, number: int) -> Segment | None:
        index = bisect_right(self._firsts, number) - 1
        if index < 0 or number >= self._segments[index].end:
            return None
        return self._segments[index]

    def _finish(self, segment: Segment, at: int) -> None:
        segment.finish(at)
        try:
            segment.write_done(at)
        except OSError as error:
            self._on_trouble(f"{segment.path}: cannot be written: {error}; after a restart a record may be sent twice")

    def _after_finishing(self, segment: Segment) -> None:
        if not segment.undone and segment is not self._segments[-1]:
            self._remove(segment)
        else:
            self._note_open(segment)

    def _remove_finished(self) -> None:
        for segment in self._segments[:-1]:
            if not segment.undone:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        """A segment that is not the last and has nothing left to deliver."""
        self._close_segment(segment)
        index = self._segments.index(segment)
        del self._segments[index], self._firsts[index]
        self.bytes -= segment.size
        self._unsynced.pop(segment.path, None)
        try:
            os.unlink(segment.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._on_trouble(f"{segment.path}: cannot be removed: {error}; its records will be sent again")

    def _empty_last(self) -> None:
        """The last segment becomes an empty one that bears the next number.  That takes no room on a full disk."""
        self._end_current()
        segment = self._segments.pop()
        self._firsts.pop()
        self._close_segment(segment)
        self.bytes -= segment.size
        self._unsynced.pop(segment.path, None)
        self._number += 1
        path = segment_path(self.directory, self._number)
        try:
            os.rename(segment.path, path)
            os.truncate(path, len(MAGIC))
        except OSError as error:
            self._on_trouble(f"{segment.path}: cannot be emptied: {error}; its records may be sent again")
            return
        self._note_unsynced(path)
        self._enter(Segment(path, self._number))

    def _close_segment(self, segment: Segment) -> None:
        segment.close()
        if segment in self._open:
            self._open.remove(segment)

    def _note_open(self, segment: Segment) -> None:
        """This segment is used: if it is open now, an older one may have to be closed for it."""
        if segment.is_open and segment not in self._open:
            self._open.append(segment)
            if len(self._open) > _OPEN_SEGMENTS:
                self._open.pop(0).close()

    # ---- disk

    def _note_unsynced(self, path: str) -> None:
        unsynced = self._unsynced
        unsynced[path] = None
        if unsynced is not self._unsynced:  # a `sync` in another thread has just taken it, perhaps without this
            self._unsynced[path] = None

    @property
    def unsynced(self) -> bool:
        """Whether `sync` has anything to do.  Safe from any thread."""
        return bool(self._unsynced)

    def sync(self) -> None:
        """Make what was appended before this call survive a power failure.  Safe from any thread.

        Raises OSError; the next call tries again.
        """
        paths, self._unsynced = self._unsynced, {}
        if not paths:
            return
        try:
            for path in list(paths):
                try:
                    _force(path)
                except FileNotFoundError:
                    pass  # its records are done
            _force(self.directory)
        except OSError:
            self._unsynced.update(paths)
            raise

    def close(self) -> None:
        """Sync and let go of the directory.  What is on its way is given out again at the next start."""
        if self._lock < 0:
            return
        self._end_current()
        try:
            self.sync()
        except OSError as error:
            self._on_trouble(f"{self.directory}: the spool cannot be forced to the disk: {error}")
        for number in list(self._gone):
            self.unread(number)
        for segment in self._open:
            segment.close()
        os.close(self._lock)
        self._lock = -1


def _force(path: str) -> None:
    # A descriptor of its own: another thread may close its own at any time.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
