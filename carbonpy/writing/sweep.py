"""A sweep: every metric with points is visited once, with all of them.

The law: each point of a sweep ends as exactly one of

* written   - in its file (a later value for the same slot may stand there instead),
* replaced  - not written since the same sweep carries a later value for the same timestamp,
* dropped   - ``too_old`` or ``too_far`` for every archive, or ``unwritable``: no file can ever be
              made for this name (another file stands where a directory is needed),
* deferred  - with its metric: the file may not be made now, or an error may go away.

A full disk ends the sweep: the rest is deferred, and `Outcome.stopped` says so.  A damaged file is
set aside as ``<file>.damaged-<time>`` and made anew.  Files are touched under the lock of the tree alone, which tools
take as well (`whisper.treelock`), a block of them at a time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from carbonpy.clock import Clock, TokenBucket
from carbonpy.columns import Columns, firsts, merge
from carbonpy.errors import CarbonError
from carbonpy.metric import relative_path
from carbonpy.whisper import file as whisper_file
from carbonpy.whisper.creation import NewFile
from carbonpy.whisper.errors import FileAlreadyExists, WhisperException
from carbonpy.whisper.layout import HEADER_READ
from carbonpy.whisper.treelock import TreeLock
from carbonpy.writing.order import in_chunks, visiting_order
from carbonpy.writing.ring_writes import RingWrites, plain_metrics
from carbonpy.writing.table import FileTable, Layout, OpenSlots, Window, window

#: Files open at once, and points written at once.  The numpy work of a block costs about 0.4 ms
#: whatever its size, so a block should not be small; its arrays should not be large either.
BLOCK_FILES = 768
BLOCK_POINTS = 65536
#: Errors that will not go away by waiting: the name itself cannot be a file here.
_HOPELESS = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
#: `Outcome.stopped` of a sweep that was asked to end early.
GAVE_WAY = "asked to stop"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass
class Outcome:
    """What became of a sweep.  Counts of points, except where it says files."""

    written: int = 0
    replaced: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    deferred: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint32))
    #: Of these, the ids of metrics whose file was missing and could not be made now (uint32).
    missing: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint32))
    #: Ids of metrics whose file was made (uint32).
    made: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint32))
    #: Files updated (new ones included), damaged files set aside.
    updates: int = 0
    damaged: int = 0
    errors: int = 0
    stopped: str = ""
    #: A few sentences for the log.
    sentences: list[str] = field(default_factory=list)

    @property
    def creates(self) -> int:
        """How many files were made."""
        return len(self.made)

    def drop(self, reason: str, points: int) -> None:
        """Count dropped points."""
        if points:
            self.dropped[reason] = self.dropped.get(reason, 0) + points

    def say(self, sentence: str) -> None:
        """Add a sentence, unless there are enough."""
        if len(self.sentences) < 5:
            self.sentences.append(sentence)


@dataclass
class WriteSettings:
    """How files are made and written; plain values."""

    data_dir: str
    hash_filenames: bool = True
    sparse: bool = True
    fallocate: bool = False
    autoflush: bool = False
    lock: bool = False
    advise_random: bool = False
    strategy: str = "sorted"
    updates_per_second: float = float("inf")


class Sweeper:
    """Writes sweeps and remembers files.  One thread; it owns its share of the metrics alone."""

    def __init__(
        self,
        settings: WriteSettings,
        header_for: Callable[[str], bytes],
        *,
        clock: Clock = time.time,
        sleep: Callable[[float], object] = time.sleep,
        token: str = "",
    ) -> None:
        """`header_for(metric)` gives the header bytes of a new file; `sleep` waits for the update rate."""
        self.settings = settings
        self.header_for = header_for
        self.clock = clock
        self._sleep = sleep
        self.token = token or f"{os.getpid()}-{os.urandom(4).hex()}"
        #: Files made; what the sweep under way may make and what it deferred.
        self.made = 0
        self.creates_left = float("inf")
        self.held: set[int] = set()
        self.deferred: list[int] = []
        self.made_ids: list[int] = []
        self.missing: list[int] = []
        self._outcome = Outcome()
        self._all_deferred: list[int] = []
        self.table = FileTable()
        self._lock = TreeLock(settings.data_dir, create=True)
        self._unlocked = ""
        self.set_rate(settings.updates_per_second)

    def set_rate(self, updates_per_second: float) -> None:
        """At most so many files a second (inf: as fast as it goes)."""
        limited = updates_per_second != float("inf")
        self._bucket = TokenBucket(updates_per_second, updates_per_second, time.monotonic) if limited else None
        self._block = int(max(1, min(_block_files(), updates_per_second / 10 if limited else BLOCK_FILES)))

    def set_rules(self, header_for: Callable[[str], bytes]) -> None:
        """New rules for the files that are made from now on."""
        self.header_for = header_for

    def learn(self, identities: Sequence[int], metrics: Sequence[bytes]) -> None:
        """The canonical names (UTF-8) of metrics that sweeps will bring."""
        self.table.learn(identities, metrics)

    def sweep(
        self,
        parts: Sequence[Columns],
        *,
        creates: float = float("inf"),
        held: np.ndarray | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Write sorted runs given in order of arrival, in chunks of whole metrics.  See `begin` and `take`."""
        self.begin(creates, held)
        for chunk in in_chunks(parts, self.settings.strategy, self.made):
            self.take(chunk, give_up)
        return self.finish()

    def begin(self, creates: float = float("inf"), held: np.ndarray | None = None) -> None:
        """A sweep starts: at most `creates` files are made, none for the ids in `held`."""
        self._outcome = Outcome()
        self.creates_left = creates
        self.held = set(held.tolist()) if held is not None and len(held) else set()
        self._all_deferred = []
        self.made_ids = []
        self.missing = []

    def take(self, chunk: Sequence[Columns], give_up: Callable[[], bool] = lambda: False) -> None:
        """Write some whole metrics: pieces of sorted runs, in order of arrival.

        `give_up` is asked between blocks; when it says so the rest is deferred.
        """
        self.deferred = []
        self._sweep_chunk(chunk, self._outcome, give_up)
        self._all_deferred += self.deferred

    def finish(self) -> Outcome:
        """The sweep is over: what became of it."""
        outcome = self._outcome
        outcome.deferred = np.array(sorted(self._all_deferred), np.uint32)
        outcome.made = np.array(self.made_ids, np.uint32)
        outcome.missing = np.array(self.missing, np.uint32)
        return outcome

    def _sweep_chunk(self, parts: Sequence[Columns], outcome: Outcome, give_up: Callable[[], bool]) -> None:
        """Write some whole metrics; `self.deferred` has those that were not."""
        ids, timestamps, values = merge(parts)
        starts = firsts(ids)
        counts = np.diff(np.append(starts, len(ids)))
        metrics = ids[starts]
        order = visiting_order(self.settings.strategy, counts, timestamps[starts], self.made)
        if order is not None:
            starts, counts, metrics = starts[order], counts[order], metrics[order]
        dropped = sum(outcome.dropped.values())
        ends = np.cumsum(counts)
        at = 0
        while at < len(metrics):
            if give_up():
                outcome.stopped = outcome.stopped or GAVE_WAY
            if outcome.stopped:
                self.deferred += metrics[at:].tolist()
                break
            before = int(ends[at - 1]) if at else 0
            end = min(at + self._block, max(at + 1, int(ends.searchsorted(before + BLOCK_POINTS))))
            if self._bucket is not None and (wait := self._bucket.wait(end - at)) > 0:
                self._sleep(wait)
            block = _Block(self, metrics[at:end], starts[at:end], counts[at:end], outcome)
            with self._beside_tools(outcome):
                block.write(timestamps, values)
            at = end
        sent, merged = sum(len(part[0]) for part in parts), len(ids)
        if self.deferred:
            sent -= sum(int(np.isin(part[0], self.deferred).sum()) for part in parts)
            merged -= int(np.isin(ids, self.deferred).sum())
        outcome.replaced += sent - merged
        outcome.written += merged - (sum(outcome.dropped.values()) - dropped)

    @contextmanager
    def _beside_tools(self, outcome: Outcome) -> Iterator[None]:
        """Hold the lock of the tree, if it can have one; who cannot make a file there can often still write to some."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lock.shared())
                self._unlocked = ""
            except OSError as error:
                sentence = f"{error.filename}: {error.strerror}; tools that change files must not run meanwhile"
                if sentence != self._unlocked:
                    self._unlocked = sentence
                    outcome.say(sentence)
            yield

    def file_of(self, identity: int) -> str:
        """Where the file of a metric is."""
        metric = self.table.metrics[identity].decode()
        return f"{self.settings.data_dir}/{relative_path(metric, self.settings.hash_filenames)}"


def _block_files() -> int:
    """How many files may be open at once: at most half of what the system lets this process open."""
    return min(BLOCK_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class _Block:
    """Some metrics of a sweep whose files are open at the same time.  One use."""

    def __init__(
        self, sweeper: Sweeper, metrics: np.ndarray, starts: np.ndarray, counts: np.ndarray, outcome: Outcome
    ) -> None:
        self._sweeper = sweeper
        self._table = sweeper.table
        self._identities: list[int] = metrics.tolist()
        self._starts = starts
        self._counts = counts
        self._outcome = outcome
        #: By number within the block: descriptor (-1: left out), layout, the NewFile of a file without a name.
        self._fds: list[int] = []
        self._layouts: list[int] = []
        self._new: dict[int, NewFile] = {}
        #: The beginnings of files met just now.
        self._met: dict[int, bytes] = {}
        self._failed: dict[int, OSError] = {}

    def write(self, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Open, write, close."""
        self._open_all()
        begun = time.time_ns()
        try:
            now = int(self._sweeper.clock())
            for layout in set(self._layouts) - {-1}:
                chosen = [number for number, one in enumerate(self._layouts) if one == layout]
                self._write_layout(self._table.layouts[layout], chosen, timestamps, values, now)
        except BaseException:
            for identity in self._identities:
                self._table.forget(identity)
            raise
        finally:
            self._close_all(window(begun, time.time_ns()))

    # ---- opening

    def _open_all(self) -> None:
        sweeper, table = self._sweeper, self._table
        metrics, layouts, inodes, windows = table.metrics, table.layout, table.inode, table.window
        sizes = [layout.size for layout in table.layouts]
        prefix = os.fsencode(sweeper.settings.data_dir + "/")
        lock, advise = sweeper.settings.lock, sweeper.settings.advise_random
        os_open, fstat, pread, flags = os.open, os.fstat, os.pread, os.O_RDWR | os.O_CLOEXEC
        outcome = self._outcome
        fds, found, met = self._fds, self._layouts, self._met
        # The header of the file that was met last, which the next one has, too, more often than not.
        last, header, size = -1, b"", 0
        # The loop that every update passes: a known file costs open and fstat here, and nothing else, one that is met
        # a read more.
        for number, identity in enumerate(self._identities):
            if outcome.stopped:
                sweeper.deferred.append(identity)
                fds.append(-1)
                found.append(-1)
                continue
            metric = metrics[identity]
            if metric.isascii() and b";" not in metric:
                path = b"%b%b.wsp" % (prefix, metric.replace(b".", b"/"))
            else:
                path = os.fsencode(sweeper.file_of(identity))
            fd = -1
            try:
                fd = os_open(path, flags)
                if advise:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
                if lock:
                    self._lock(fd, path)
                status = fstat(fd)
                known = layouts[identity]
                if known >= 0 and not lock:
                    begun, ended = windows[identity]
                    if (
                        begun <= status.st_mtime_ns <= ended
                        and status[1] == inodes[identity]
                        and status[6] == sizes[known]
                    ):
                        fds.append(fd)
                        found.append(known)
                        continue
                # The file is met now, also one with the inode, size and header that we knew: it may be another one,
                # restored or written over, whose rings begin elsewhere.
                head = pread(fd, HEADER_READ, 0)
                if last < 0 or status[6] < size or not head.startswith(header):
                    last = self._layout_of(head, status[6], identity)
                    header, size = table.layouts[last].header_bytes, table.layouts[last].size
                layouts[identity] = known = last
                inodes[identity] = status[1]
                met[number] = head
            except FileNotFoundError:
                if fd >= 0:  # removed while its lock was waited for
                    os.close(fd)
                place = sweeper.file_of(identity)
                if b";" in metric and self._takes_hashed_name(metric.decode(), place):
                    fd, known = self._open_again(number, identity, place)
                else:
                    fd, known = self._make(number, identity, place)
            except WhisperException as error:
                os.close(fd)
                last = -1
                fd, known = self._replace(number, identity, sweeper.file_of(identity), str(error))
            except OSError as error:
                if fd >= 0:
                    os.close(fd)
                self._error(number, error)
                fd = known = -1
            fds.append(fd)
            found.append(known)
            if known >= len(sizes):
                sizes = [layout.size for layout in table.layouts]

    def _layout_of(self, head: bytes, size: int, identity: int) -> int:
        """The layout of a file that begins like this.  Raises WhisperException if it is damaged."""
        length = 16 + 12 * int.from_bytes(head[12:16], "big")
        found = self._table.layout_of(head[:length], self._sweeper.file_of(identity))
        wanted = self._table.layouts[found].size
        if size < wanted:
            raise WhisperException(f"the file has {size} bytes where its header wants {wanted}")
        return found

    @staticmethod
    def _lock(fd: int, path: str | bytes) -> None:
        """Lock an open file.  If it was replaced while we waited, the descriptor leads to what is there now."""
        while True:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return
            there = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(there, fd, inheritable=False)
            os.close(there)

    def _takes_hashed_name(self, metric: str, path: str) -> bool:
        """Whether the file of a tagged metric was there under its readable name; it has `path` now, as in carbon."""
        if not self._sweeper.settings.hash_filenames:
            return False
        readable = f"{self._sweeper.settings.data_dir}/{relative_path(metric, False)}"
        try:
            os.rename(readable, path)
        except OSError:
            return False
        return True

    def _open_again(self, number: int, identity: int, path: str) -> tuple[int, int]:
        """(descriptor, layout) of a file that was renamed a moment ago; (-1, -1) if it cannot be used now."""
        fd = -1
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if self._sweeper.settings.lock:
                self._lock(fd, path)
            status, head = os.fstat(fd), os.pread(fd, HEADER_READ, 0)
            found = self._layout_of(head, status.st_size, identity)
            self._table.layout[identity] = found
            self._table.inode[identity] = status.st_ino
            self._met[number] = head
            return fd, found
        except WhisperException as error:
            os.close(fd)
            return self._replace(number, identity, path, str(error))
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            self._error(number, error)
            return -1, -1

    def _make(self, number: int, identity: int, path: str) -> tuple[int, int]:
        """(descriptor, layout) of a new file; (-1, -1) if it may not or cannot be made now."""
        sweeper = self._sweeper
        if sweeper.creates_left < 1 or identity in sweeper.held:
            sweeper.missing.append(identity)
            sweeper.deferred.append(identity)
            return -1, -1
        try:
            headed = sweeper.header_for(self._table.metrics[identity].decode())
            index = self._table.layout_of(headed, path)
        except CarbonError as error:
            self._error(number, OSError(errno.EIO, str(error)))
            return -1, -1
        size = self._table.layouts[index].size
        sweeper.made += 1
        token = f"{sweeper.token}-{sweeper.made}"
        sparse, fallocate = sweeper.settings.sparse, sweeper.settings.fallocate
        try:
            try:
                new = NewFile(path, headed, size, token, sparse=sparse, fallocate=fallocate)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                new = NewFile(path, headed, size, token, sparse=sparse, fallocate=fallocate)
        except OSError as error:
            self._error(number, error)
            return -1, -1
        sweeper.creates_left -= 1
        self._table.layout[identity] = index
        self._new[number] = new
        return new.fd, index

    def _replace(self, number: int, identity: int, path: str, why: str) -> tuple[int, int]:
        """Set a damaged file aside and make it anew."""
        aside = f"{path}.damaged-{int(self._sweeper.clock())}"
        try:
            os.rename(path, aside)
        except OSError as error:
            self._error(number, error)
            return -1, -1
        self._outcome.damaged += 1
        self._outcome.say(f"{path}: damaged: {why}; set aside as {aside} and made anew")
        return self._make(number, identity, path)

    # ---- writing

    def _write_layout(
        self, layout: Layout, chosen: list[int], timestamps: np.ndarray, values: np.ndarray, now: int
    ) -> None:
        """Write the metrics with these numbers, whose files have one layout."""
        sizes = self._counts[chosen]
        ends = np.cumsum(sizes)
        metric = np.repeat(np.arange(len(chosen)), sizes)
        take = np.arange(int(ends[-1])) + np.repeat(self._starts[chosen] - (ends - sizes), sizes)
        times = timestamps[take].astype(np.int64)
        points = values[take]
        identities = np.array([self._identities[number] for number in chosen])
        fds = [self._fds[number] for number in chosen]
        bases = [self._table.bases[level][identities] for level in range(len(layout.steps))]
        open_slots = self._table.open_slots.of(identities)
        new = np.zeros(len(chosen), bool)
        if self._new or self._met:
            self._start_anew(layout, chosen, bases, open_slots, new)
        heads = {row: self._met[number] for row, number in enumerate(chosen) if number in self._met}

        def on_error(number: int, error: OSError) -> None:
            self._failed[chosen[number]] = error

        plain = plain_metrics(layout, metric, times, len(chosen), now)
        if plain.all():
            RingWrites(layout, fds, bases, open_slots, new, heads, now, on_error).write(metric, times, points)
        else:
            fast = plain[metric]
            if fast.any():
                RingWrites(layout, fds, bases, open_slots, new, heads, now, on_error).write(
                    metric[fast], times[fast], points[fast]
                )
            for number in np.flatnonzero(~plain).tolist():
                mine = metric == number
                self._write_slowly(layout, fds[number], times[mine], points[mine], now, number, on_error)
                for base in bases:
                    base[number] = 0
                open_slots.forget(number)
        for level, base in enumerate(bases):
            self._table.bases[level][identities] = base
        self._table.open_slots.put(identities, open_slots)

    def _start_anew(
        self, layout: Layout, chosen: list[int], bases: list[np.ndarray], open_slots: OpenSlots, new: np.ndarray
    ) -> None:
        """Forget what the columns say of files that were made or met now."""
        made = [row for row, number in enumerate(chosen) if number in self._new]
        met = [row for row, number in enumerate(chosen) if number in self._met]
        for base in bases:
            base[made + met] = 0
        at = layout.offsets[0]
        first = b"".join([self._met[chosen[row]][at : at + 4].ljust(4, b"\0") for row in met])
        bases[0][met] = np.frombuffer(first, ">u4")
        open_slots.forget(made, 0)
        open_slots.forget(met)
        new[made] = True

    def _write_slowly(
        self,
        layout: Layout,
        fd: int,
        times: np.ndarray,
        points: np.ndarray,
        now: int,
        number: int,
        on_error: Callable[[int, OSError], None],
    ) -> None:
        """Late, far future or lapping points of one file: the whole semantics of update_many."""
        try:
            stored = whisper_file.write_points(fd, layout.header, times.tolist(), points.tolist(), now)
        except OSError as error:
            on_error(number, error)
        except WhisperException as error:
            on_error(number, OSError(errno.EIO, str(error)))
        else:
            self._outcome.drop("too_old", stored.too_old)
            self._outcome.drop("too_far", stored.too_far)

    # ---- closing

    def _close_all(self, written: Window) -> None:
        table, outcome, new, failed = self._table, self._outcome, self._new, self._failed
        autoflush = self._sweeper.settings.autoflush
        close, windows, identities = os.close, table.window, self._identities
        for number, fd in enumerate(self._fds):
            if fd < 0:
                continue
            windows[identities[number]] = written
            try:
                if number not in new and number not in failed and not autoflush:
                    close(fd)
                    outcome.updates += 1
                    continue
                error = failed.get(number)
                if number in new:
                    if error is not None:
                        new[number].abandon()
                        raise error
                    inode = os.fstat(fd).st_ino
                    new[number].publish(autoflush)
                    table.inode[self._identities[number]] = inode
                    self._sweeper.made_ids.append(self._identities[number])
                else:
                    try:
                        if error is not None:
                            raise error
                        os.fsync(fd)
                    finally:
                        close(fd)
                outcome.updates += 1
            except FileAlreadyExists:
                # Another program made the file between our look and our link: it is met at the next visit.
                table.forget(self._identities[number])
                self._sweeper.deferred.append(self._identities[number])
            except OSError as problem:
                self._error(number, problem)

    def _error(self, number: int, error: OSError) -> None:
        """An error with one file: give its points up if that is hopeless, else defer the metric."""
        outcome = self._outcome
        identity = self._identities[number]
        path = self._sweeper.file_of(identity)
        outcome.errors += 1
        self._table.forget(identity)
        if error.errno in _HOPELESS:
            outcome.drop("unwritable", int(self._counts[number]))
            outcome.say(f"{path}: {error.strerror}: no file can be made for this name; its points are dropped")
            return
        self._sweeper.deferred.append(identity)
        if error.errno in _FULL:
            outcome.stopped = "disk full" if error.errno != errno.EROFS else "disk read-only"
            outcome.say(f"{path}: {error.strerror}; points are kept until it can be written")
        else:
            outcome.say(f"{path}: {error.strerror or error}; its points are kept and tried again")
