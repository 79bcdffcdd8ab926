"""One writer of a share: a process, a thread, or first the one and then the other.

The law: a writer has at most one sweep at a time, and its Deferred fires once: with an Outcome, or with a failure,
and then nothing is known of what was written.  A writer process that dies is started again; it is told the names
anew as it needs them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from carbonpy.cache.cache import Loan
from carbonpy.columns import EMPTY, Columns, distinct
from carbonpy.counters import Counter
from carbonpy.errors import CarbonError
from carbonpy.ingest.names import NameTable
from carbonpy.net.children import command, environment
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.order import CHUNK_POINTS, in_chunks
from carbonpy.writing.parcel import ORDERS_FD, Blob, Parcel, ParcelBuffer, pack, unpack_outcome
from carbonpy.writing.sweep import Outcome, Sweeper, WriteSettings

log = Logger("console")
#: A process that cannot be started is tried again after so many seconds at the latest.
_LONGEST_PAUSE = 30.0
_NAMES_AT_ONCE = 10_000
#: Seconds that a writer has to close its files when the daemon stops.
_STOP_SECONDS = 2.0
#: Points beyond the first of an update that cost as much as the update.
_POINTS_OF_AN_UPDATE = 100
#: (file name, text) of storage-schemas.conf and storage-aggregation.conf; None: the built-in rules.
RuleTexts = tuple[tuple[str, str] | None, tuple[str, str] | None]


class WriterDied(CarbonError):
    """A writer process ended before it had confirmed its loan; the loan comes back and it is started again."""


class Writer(Protocol):
    """One writer of a share, thread or process.  Reactor thread only."""

    def sweep(self, loan: Loan, creates: float) -> Deferred[Outcome]:
        """Write a loan; fires once."""

    def set_rules(self, texts: RuleTexts, book: HeaderBook) -> None:
        """New rules for new files."""

    def set_rate(self, updates_per_second: float) -> None:
        """At most so many files a second."""

    def forget(self, identity: int) -> None:
        """The file of a metric was changed by the daemon itself."""

    def give_way(self) -> None:
        """End the sweep under way soon, and well: what is not written by then is deferred."""

    def stop(self) -> Deferred[None]:
        """End it; a sweep under way may be cut short at any point."""

    @property
    def pid(self) -> int | None:
        """Process id, None for a thread or while it is down."""


class _Told:
    """Which ids a writer knows the names of."""

    def __init__(self, names: NameTable) -> None:
        self._names = names
        self._told = np.zeros(0, bool)

    def reset(self) -> None:
        """The writer knows nothing."""
        self._told = np.zeros(0, bool)

    def news(self, loan: Loan) -> np.ndarray:
        """Ids of the loan (uint32) that the writer was not told yet; from now on it was."""
        if len(self._told) < self._names.next_id:
            room = max(1024, self._names.next_id * 5 // 4)
            self._told = np.concatenate((self._told, np.zeros(room - len(self._told), bool)))
        fresh: list[np.ndarray] = []
        for run in loan.runs:
            ids = run.ids[~self._told[run.ids]]
            if len(ids):
                new = distinct(ids)
                self._told[new] = True
                fresh.append(new)
        return np.concatenate(fresh) if fresh else EMPTY[0]


class WriterThread:
    """One thread for any number of ThreadWriters, one sweep after the other; it ends with the last of them.

    Reactor thread only.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(1, 1, "writer")
        self._writers = 0

    def enter(self) -> None:
        """One writer more."""
        if not self._writers:
            self._pool.start()
        self._writers += 1

    def run(self, work: Callable[..., Outcome], *arguments: Any) -> Deferred[Outcome]:
        """Do some work in the thread."""
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)

    def leave(self) -> Deferred[None]:
        """One writer less; fires when what it was at is done."""
        self._writers -= 1
        done: Deferred[None] = Deferred()
        if self._writers:
            self.run(Outcome).addBoth(lambda _: done.callback(None))
        else:
            self._reactor.callInThread(self._join, done)
        return done

    def _join(self, done: Deferred[None]) -> None:
        self._pool.stop()
        self._reactor.callFromThread(done.callback, None)


class ThreadWriter:
    """A writer that is a thread of the daemon: WRITER_PROCESSES = 0."""

    pid: int | None = None

    def __init__(
        self, thread: WriterThread, names: NameTable, settings: WriteSettings, header_for: Callable[[str], bytes]
    ) -> None:
        self._names = names
        self._told = _Told(names)
        self._stopping = False
        #: Set while a sweep is to end early, and for good when the thread is to end.
        self._giving_way = threading.Event()
        self._settings = settings
        self._sweeper = Sweeper(settings, header_for, sleep=self._giving_way.wait)
        self._thread = thread
        thread.enter()

    def sweep(self, loan: Loan, creates: float) -> Deferred[Outcome]:
        """Write a loan in the writer's thread."""
        if not self._stopping:
            self._giving_way.clear()
        new = self._told.news(loan).tolist()
        return self._thread.run(self._sweep, loan, creates, new, self._names.metrics(new))

    def _sweep(self, loan: Loan, creates: float, new: Sequence[int], names: Sequence[bytes]) -> Outcome:
        self._sweeper.learn(new, names)
        parts = [run.columns for run in loan.runs]
        return self._sweeper.sweep(parts, creates=creates, held=loan.held, give_up=self._giving_way.is_set)

    def set_rules(self, texts: RuleTexts, book: HeaderBook) -> None:
        """New rules for new files."""
        self._sweeper.set_rules(book.header)

    def set_rate(self, updates_per_second: float) -> None:
        """At most so many files a second."""
        self._settings.updates_per_second = updates_per_second
        self._sweeper.set_rate(updates_per_second)

    def forget(self, identity: int) -> None:
        """Remembered headers are compared at the next visit that checks them; this one is met anew."""
        self._sweeper.table.forget(identity)

    def give_way(self) -> None:
        """End the sweep under way at its next block."""
        self._giving_way.set()

    def stop(self) -> Deferred[None]:
        """End the thread after the block that it is writing."""
        self._stopping = True
        self._giving_way.set()
        return self._thread.leave()


class GrowingWriter:
    """A writer that is a thread until the first large sweep, and a process from then on: WRITER_PROCESSES = auto.

    What a thread writes in a moment does not pay for a second interpreter and its memory; what takes longer would
    hold up receiving and answering.  The change is made between two sweeps, when no file is open, so a file has one
    owner at any time; the process meets the files anew.
    """

    def __init__(self, thread: ThreadWriter, process: Callable[[], Writer], large: int) -> None:
        """`process()` starts the process, which gets every sweep from the first one on that `is_large`."""
        self._writer: Writer = thread
        self._process: Callable[[], Writer] | None = process
        self._large = large

    @property
    def pid(self) -> int | None:
        """Process id, None while it is a thread or down."""
        return self._writer.pid

    def sweep(self, loan: Loan, creates: float) -> Deferred[Outcome]:
        """Write a loan."""
        if self._process is not None and is_large(loan, self._large):
            process, self._process = self._process, None
            self._writer.stop()
            self._writer = process()
        return self._writer.sweep(loan, creates)

    def set_rules(self, texts: RuleTexts, book: HeaderBook) -> None:
        """New rules for new files."""
        self._writer.set_rules(texts, book)

    def set_rate(self, updates_per_second: float) -> None:
        """At most so many files a second."""
        self._writer.set_rate(updates_per_second)

    def forget(self, identity: int) -> None:
        """The file of a metric was changed by the daemon itself."""
        self._writer.forget(identity)

    def give_way(self) -> None:
        """End the sweep under way soon."""
        self._writer.give_way()

    def stop(self) -> Deferred[None]:
        """End what it is now."""
        self._process = None
        return self._writer.stop()


def is_large(loan: Loan, large: int) -> bool:
    """Whether a loan is as much work as `large` updates of files of a point each, which take some 10 microseconds."""
    points = loan.points // _POINTS_OF_AN_UPDATE
    if not points < large <= points + loan.points:
        return points >= large  # however many files they are for
    ids = [run.ids for run in loan.runs]
    visited = np.zeros(1 + max(int(column[-1]) for column in ids), bool)
    for column in ids:
        visited[column] = True
    return points + int(np.count_nonzero(visited)) >= large


class _Feed:
    """Feeds pieces to a pipe as fast as it takes them, made one by one, so that no large buffer comes about."""

    def __init__(self, pipe: Any, pieces: Iterator[Blob]) -> None:
        self._pipe = pipe
        self._pieces = pieces
        pipe.registerProducer(self, False)

    def resumeProducing(self) -> None:
        for piece in self._pieces:
            if len(piece):
                self._pipe.write(bytes(piece))
                return
        self._pipe.unregisterProducer()

    def stopProducing(self) -> None:
        self._pieces = iter(())


class ProcessWriter(ProcessProtocol):
    """A writer that is a process of its own."""

    def __init__(
        self,
        reactor: Any,
        number: int,
        names: NameTable,
        settings: WriteSettings,
        texts: RuleTexts,
        lock_fd: int | None,
    ) -> None:
        self._reactor = reactor
        self._number = number
        self._names = names
        self._told = _Told(names)
        self._settings = settings
        self._texts = texts
        self._lock_fd = lock_fd
        self._buffer = ParcelBuffer()
        self._waiting: Deferred[Outcome] | None = None
        self._stopped: Deferred[None] | None = None
        self._pause = 0.1
        self._sweeps = 0
        self.restarts = Counter()
        self.pid: int | None = None
        self._start()

    def _start(self) -> None:
        if self._stopped is not None:
            return
        self._buffer = ParcelBuffer()
        self._told.reset()
        descriptors: dict[int, Any] = {0: "w", 1: "r", 2: 2, ORDERS_FD: "w"}
        if self._lock_fd is not None:
            descriptors[ORDERS_FD + 1] = self._lock_fd
        words = command("carbonpy.daemons.writer")
        try:
            process = self._reactor.spawnProcess(self, words[0], words, environment(), childFDs=descriptors)
        except OSError as error:
            self._start_later(f"cannot be started: {error}")
            return
        self.pid = process.pid
        self._send(0, pack("setup", {"settings": asdict(self._settings), **_rules_fields(self._texts)}))

    def _start_later(self, why: str) -> None:
        log.error("writer process {number} {why}; it is started again", number=self._number, why=why)
        self._reactor.callLater(self._pause, self._start)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    @property
    def _pipe(self) -> Any:
        """The pipe to the process; None while it is down, which shows here before `processEnded`."""
        return None if self.pid is None else self.transport.pipes.get(0)

    def _send(self, descriptor: int, pieces: list[Blob]) -> None:
        for piece in pieces:
            self.transport.writeToChild(descriptor, bytes(piece))

    def sweep(self, loan: Loan, creates: float) -> Deferred[Outcome]:
        """Send a loan; fires with what the process answers, or fails with WriterDied."""
        self._waiting = waiting = Deferred()
        if self._pipe is None:
            self._fail()
            return waiting
        self._sweeps += 1
        parts = [run.columns for run in loan.runs]
        if loan.points <= CHUNK_POINTS:
            self._feed(in_chunks(parts, self._settings.strategy, self._sweeps), loan, creates, waiting)
        else:
            # Planning a large sweep takes longer than a turn of the reactor should.
            planned = deferToThread(in_chunks, parts, self._settings.strategy, self._sweeps)
            planned.addCallback(self._feed, loan, creates, waiting)
            planned.addErrback(lambda failure: self._fail(failure))
        return waiting

    def _feed(self, chunks: Iterator[list[Columns]], loan: Loan, creates: float, waiting: Deferred[Outcome]) -> None:
        # The process may have ended while the sweep was planned; then the loan has been, or will be, given back.
        if self._waiting is waiting and self._pipe is not None:
            _Feed(self._pipe, self._parcels(chunks, loan, creates))

    def _parcels(self, chunks: Iterator[list[Columns]], loan: Loan, creates: float) -> Iterator[Blob]:
        """What a sweep sends.  The loan is cut into chunks here, so that the process never holds all of it."""
        new = self._told.news(loan)
        for start in range(0, len(new), _NAMES_AT_ONCE):
            some = new[start : start + _NAMES_AT_ONCE]
            names = b"".join([name + b"\n" for name in self._names.metrics(some.tolist())])
            yield from pack("names", {}, [some.tobytes(), names])
        yield from pack("sweep", {"creates": creates}, [loan.held.tobytes()])
        for chunk in chunks:
            yield from pack("chunk", {}, [column.data.cast("B") for columns in chunk for column in columns])
        yield from pack("end", {})

    def set_rules(self, texts: RuleTexts, book: HeaderBook) -> None:
        """New rules for new files."""
        self._texts = texts
        self._order("rules", _rules_fields(texts))

    def set_rate(self, updates_per_second: float) -> None:
        """At most so many files a second."""
        self._settings.updates_per_second = updates_per_second
        self._order("rate", {"updates_per_second": updates_per_second})

    def forget(self, identity: int) -> None:
        """The file of a metric was changed by the daemon itself."""
        self._order("forget", {"ids": [identity]})

    def _order(self, kind: str, fields: dict[str, Any]) -> None:
        """Say what counts at once, also in the middle of a sweep; a process that starts later knows it anyway."""
        if self.pid is not None and ORDERS_FD in self.transport.pipes:
            self._send(ORDERS_FD, pack(kind, fields))

    def give_way(self) -> None:
        """End the sweep under way at its next block."""
        self._order("give-way", {})

    def stop(self) -> Deferred[None]:
        """End it after the files that are open now, by force if that takes long.

        What it had not confirmed is in the journal.
        """
        self._stopped = stopped = Deferred()
        if self.pid is None:
            stopped.callback(None)
        else:
            self._order("stop", {})
            self.transport.closeStdin()
            force = self._reactor.callLater(_STOP_SECONDS, self._signal, "KILL")
            stopped.addCallback(lambda _: force.cancel() if force.active() else None)
        return stopped

    def _signal(self, name: str) -> None:
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            pass

    # ---- what the process does

    def outReceived(self, data: bytes) -> None:
        for parcel in self._buffer.feed(data):
            self._answered(parcel)

    def _answered(self, parcel: Parcel) -> None:
        waiting, self._waiting = self._waiting, None
        self._pause = 0.1
        if waiting is not None:
            waiting.callback(unpack_outcome(parcel))

    def processEnded(self, reason: Failure) -> None:
        self.pid = None
        if self._stopped is not None:
            self._stopped.callback(None)
        else:
            self.restarts.add()
            self._start_later(f"ended: {reason.getErrorMessage()}")
        self._fail()

    def _fail(self, failure: Failure | None = None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(failure or Failure(WriterDied(f"writer process {self._number} ended before its sweep did")))


def _rules_fields(texts: RuleTexts) -> dict[str, Any]:
    return {"schemas": texts[0], "aggregations": texts[1]}
