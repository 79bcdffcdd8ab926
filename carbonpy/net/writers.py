"""The writers of a cache daemon: who sweeps what, when, and what happens if one dies.

The law.

* Each share of the metrics has one writer and at most one loan out.  A sweep ends with an Outcome,
  and the loan is confirmed; or the writer fails, and the loan is given back.  Nothing else ends it.
* The starts of two sweeps of a share lie at least `interval` seconds apart, unless the cache is more
  than half full.  After a dead writer or a sweep that wrote nothing the distance doubles, up to a minute.
* A writer process that dies is started again; it is told the names anew as it needs them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from carbonpy.cache.cache import Cache, Loan
from carbonpy.clock import TokenBucket
from carbonpy.columns import EMPTY, Columns
from carbonpy.counters import Counter, CounterGroup
from carbonpy.errors import CarbonError
from carbonpy.ingest.names import NameTable
from carbonpy.net.children import command, environment
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.order import CHUNK_POINTS, in_chunks
from carbonpy.writing.parcel import ORDERS_FD, Blob, Parcel, ParcelBuffer, pack, unpack_outcome
from carbonpy.writing.sweep import Outcome, Sweeper, WriteSettings

log = Logger("console")
_LONGEST_PAUSE = 60.0
_NAMES_AT_ONCE = 10_000
#: Seconds that a writer has to close its files when the daemon stops.
_STOP_SECONDS = 2.0
#: At the end, sweeps that bring nothing to the disk are repeated so often.
_LAST_TRIES = 4
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
                new = np.unique(ids)
                self._told[new] = True
                fresh.append(new)
        return np.concatenate(fresh) if fresh else EMPTY[0]


class ThreadWriter:
    """A writer that is a thread of the daemon: WRITER_PROCESSES = 0."""

    pid: int | None = None

    def __init__(self, reactor: Any, names: NameTable, settings: WriteSettings, book: HeaderBook) -> None:
        self._reactor = reactor
        self._names = names
        self._told = _Told(names)
        self._stopping = threading.Event()
        self._sweeper = Sweeper(settings, book.header, sleep=self._stopping.wait)
        self._pool = ThreadPool(1, 1, "writer")
        self._pool.start()

    def sweep(self, loan: Loan, creates: float) -> Deferred[Outcome]:
        """Write a loan in the writer's thread."""
        new = self._told.news(loan).tolist()
        return deferToThreadPool(self._reactor, self._pool, self._sweep, loan, creates, new, self._names.metrics(new))

    def _sweep(self, loan: Loan, creates: float, new: Sequence[int], names: Sequence[bytes]) -> Outcome:
        self._sweeper.learn(new, [name.decode() for name in names])
        parts = [run.columns for run in loan.runs]
        return self._sweeper.sweep(parts, creates=creates, held=loan.held, give_up=self._stopping.is_set)

    def set_rules(self, texts: RuleTexts, book: HeaderBook) -> None:
        """New rules for new files."""
        self._sweeper.set_rules(book.header)

    def set_rate(self, updates_per_second: float) -> None:
        """At most so many files a second."""
        self._sweeper.set_rate(updates_per_second)

    def forget(self, identity: int) -> None:
        """Remembered headers are compared at the next visit that checks them; this one is met anew."""
        self._sweeper.table.forget(identity)

    def stop(self) -> Deferred[None]:
        """End the thread after the block that it is writing."""
        self._stopping.set()
        done: Deferred[None] = Deferred()
        self._reactor.callInThread(self._join, done)
        return done

    def _join(self, done: Deferred[None]) -> None:
        self._pool.stop()
        self._reactor.callFromThread(done.callback, None)


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
        self._pause = min(self._pause * 2, _LONGEST_PAUSE / 2)

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


class _Share:
    """One share: its writer, its loan, when it may sweep next."""

    def __init__(self, number: int, writer: Writer) -> None:
        self.number = number
        self.writer = writer
        self.loan: Loan | None = None
        #: Files that the sweep under way may make, out of what MAX_CREATES_PER_MINUTE allows for all shares.
        self.granted = 0.0
        self.started = float("-inf")
        self.pause = 0.0
        #: What keeps points from their files, in a sentence; "" if nothing does.
        self.trouble = ""


class Writers:
    """All writers of a daemon and their calendar.  Reactor thread only."""

    def __init__(
        self,
        reactor: IReactorTime,
        cache: Cache,
        writers: Sequence[Writer],
        *,
        interval: float,
        creates: TokenBucket | None,
        pressed: Callable[[], bool],
        on_room: Callable[[], None],
        on_made: Callable[[Sequence[int]], None] = lambda identities: None,
        log_sweeps: bool = False,
    ) -> None:
        """`pressed()`: the cache is so full that sweeps do not wait for their time.  `on_room`: points have left it.

        `on_made` hears the ids of metrics whose files were made.
        """
        self._reactor = reactor
        self._cache = cache
        self._shares = [_Share(number, writer) for number, writer in enumerate(writers)]
        self.interval = interval
        self.creates = creates
        self._pressed = pressed
        self._on_room = on_room
        self._on_made = on_made
        self.log_sweeps = log_sweeps
        self._running = False
        self._first = 0
        self._timer: Any = None
        self._idle: list[Deferred[None]] = []
        self.written = Counter()
        self.dropped = CounterGroup()
        #: Files updated, created, set aside; errors; sweeps; seconds that sweeps took.
        self.updates = Counter()
        self.created = Counter()
        self.damaged = Counter()
        self.errors = Counter()
        self.sweeps = Counter()
        self.deaths = Counter()
        self.busy_seconds = 0.0

    @property
    def pids(self) -> list[int]:
        """Process ids of the writers that are processes."""
        return [share.writer.pid for share in self._shares if share.writer.pid is not None]

    @property
    def waiting_for_creates(self) -> int:
        """How many metrics have points that wait for their file to be made."""
        return self._cache.missing

    @property
    def trouble(self) -> str:
        """What kept points from their files in the last sweeps, in a sentence; "" if nothing did."""
        return next((share.trouble for share in self._shares if share.trouble), "")

    def start(self) -> None:
        """Sweep from now on."""
        self._running = True
        self.look()

    def look(self) -> None:
        """Start the sweeps that are due, and come back when the next one is."""
        if not self._running:
            return
        now = self._reactor.seconds()
        interval = 0.0 if self._pressed() else self.interval
        next_look = self.interval or 0.05
        # Not always the same first, which would take the only file that may be made.
        self._first = (self._first + 1) % len(self._shares)
        for share in self._shares[self._first :] + self._shares[: self._first]:
            if share.loan is None:
                due = share.started + max(interval, share.pause)
                if due <= now:
                    self._sweep(share, now)
                    due = now + max(interval, share.pause)
                next_look = min(next_look, max(due - now, 0.05))
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._reactor.callLater(next_look, self.look)

    def _sweep(self, share: _Share, now: float) -> None:
        allowed = self._allowed()
        loan = self._cache.lend(share.number, creates=allowed)
        if loan is None:
            return
        share.loan = loan
        share.granted = allowed
        share.started = now
        finished = maybeDeferred(share.writer.sweep, loan, allowed)
        finished.addCallbacks(self._done, self._died, callbackArgs=(share,), errbackArgs=(share,))
        finished.addErrback(lambda failure: log.failure("a sweep could not be settled", failure))
        finished.addBoth(lambda _: self._settled())

    def _allowed(self) -> float:
        """How many files the next sweep may make: an equal part of what is not granted to others, but at least one."""
        if self.creates is None:
            return float("inf")
        idle = sum(share.loan is None for share in self._shares)
        granted = sum(share.granted for share in self._shares if share.loan is not None)
        return float(max(0, -(-int(self.creates.available() - granted) // max(1, idle))))

    def _done(self, outcome: Outcome, share: _Share) -> None:
        loan, share.loan = share.loan, None
        assert loan is not None
        seconds = self._reactor.seconds() - share.started
        left = self._cache.confirm(loan, outcome.deferred, outcome.missing)
        accounted = outcome.written + outcome.replaced + sum(outcome.dropped.values())
        if left != accounted:
            log.error(
                "a sweep of {left} points accounted for {accounted}; tell the authors", left=left, accounted=accounted
            )
        self.written.add(outcome.written)
        self.dropped.add("replaced", outcome.replaced)
        for reason, points in outcome.dropped.items():
            self.dropped.add(reason, points)
        self.updates.add(outcome.updates)
        self.created.add(outcome.creates)
        self.damaged.add(outcome.damaged)
        self.errors.add(outcome.errors)
        self.sweeps.add()
        self.busy_seconds += seconds
        if self.creates is not None and outcome.creates:
            self.creates.wait(outcome.creates)
        if len(outcome.made):
            self._on_made(outcome.made.tolist())
        for sentence in outcome.sentences:
            log.warn("{sentence}", sentence=sentence)
        failing = bool(outcome.errors) and len(outcome.deferred) > len(outcome.missing)
        if outcome.stopped or (failing and not outcome.written):
            share.pause = min(max(1.0, share.pause * 2), _LONGEST_PAUSE)
        else:
            share.pause = 0.0
        share.trouble = outcome.sentences[-1] if failing and outcome.sentences else outcome.stopped
        if self.log_sweeps:
            log.info(
                "swept {points} points of {files} files ({new} new) in {seconds:.3f} s",
                points=loan.points,
                files=outcome.updates,
                new=outcome.creates,
                seconds=seconds,
            )
        self._on_room()

    def _died(self, failure: Failure, share: _Share) -> None:
        loan, share.loan = share.loan, None
        assert loan is not None
        self._cache.give_back(loan)
        self.deaths.add()
        share.pause = min(max(0.2, share.pause * 2), _LONGEST_PAUSE)
        if not failure.check(WriterDied):
            log.failure("a sweep failed; its points are kept and tried again", failure)

    def _settled(self) -> None:
        if all(share.loan is None for share in self._shares):
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)
        if self._running and (self._pressed() or not self.interval):
            self.look()

    def set_rules(self, texts: RuleTexts, book: HeaderBook) -> None:
        """New rules for new files."""
        for share in self._shares:
            share.writer.set_rules(texts, book)

    def set_rate(self, updates_per_second: float) -> None:
        """At most so many files a second, all writers together."""
        for share in self._shares:
            share.writer.set_rate(updates_per_second / len(self._shares))

    def forget(self, identity: int) -> None:
        """The file of a metric was changed by the daemon itself."""
        self._shares[identity % len(self._shares)].writer.forget(identity)

    def flush(self, everything: bool = False) -> Deferred[None]:
        """Sweep what is in the cache now, whatever the calendar says; fires when no loan is out any more.

        `everything`: and again, with as many new files as it takes, until nothing more can be written.
        """
        self._running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if everything:
            self.creates = None
        return self._when_idle().addCallback(lambda _: self._last_sweeps(_LAST_TRIES if everything else 0))

    def _last_sweeps(self, tries: int) -> Deferred[None]:
        before = self._cache.cached
        for share in self._shares:
            self._sweep(share, self._reactor.seconds())

        def again(_: None) -> Deferred[None] | None:
            stuck = self._cache.cached >= before
            if not tries or not self._cache.cached or (stuck and tries == 1):
                return None
            # A writer that has just died is there again in a moment.
            wait = 0.5 if stuck else 0.0
            return deferLater(self._reactor, wait, self._last_sweeps, tries - 1 if stuck else _LAST_TRIES)

        return self._when_idle().addCallback(again)

    def _when_idle(self) -> Deferred[None]:
        idle: Deferred[None] = Deferred()
        if all(share.loan is None for share in self._shares):
            idle.callback(None)
        else:
            self._idle.append(idle)
        return idle

    def stop(self) -> Deferred[Any]:
        """End all writers now; points of loans that are out stay in the journal."""
        self._running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return DeferredList([share.writer.stop() for share in self._shares])
