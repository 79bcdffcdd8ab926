"""The writers of a cache daemon: who sweeps what, when, and what happens if one dies.

The law.

* Each share of the metrics has one writer and at most one loan out.  A sweep ends with an Outcome,
  and the loan is confirmed; or the writer fails, and the loan is given back.  Nothing else ends it.
* The starts of two sweeps of a share lie at least `interval` seconds apart, unless the cache is more
  than half full.  After a dead writer or a sweep that wrote nothing the distance doubles, up to a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from carbonpy.cache.cache import Cache, Loan
from carbonpy.clock import TokenBucket
from carbonpy.counters import Counter, CounterGroup
from carbonpy.net.writer import RuleTexts, Writer, WriterDied
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.sweep import GAVE_WAY, Outcome

log = Logger("console")
_LONGEST_PAUSE = 60.0
#: Seconds that a sweep may take to end by itself when somebody waits for that.
_PATIENCE = 1.0
#: At the end, sweeps that bring nothing to the disk are repeated so often.
_LAST_TRIES = 4


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
        self._held = 0
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
        if not self._running or self._held:
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
        stopped = "" if outcome.stopped == GAVE_WAY else outcome.stopped
        if stopped or (failing and not outcome.written):
            share.pause = min(max(1.0, share.pause * 2), _LONGEST_PAUSE)
        else:
            share.pause = 0.0
        share.trouble = outcome.sentences[-1] if failing and outcome.sentences else stopped
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

    def hold(self) -> Deferred[None]:
        """Start no sweeps until `release`; fires when none is under way any more, which does not take long."""
        self._held += 1
        hurry = self._reactor.callLater(_PATIENCE, self._hurry)

        def idle(_: None) -> None:
            if hurry.active():
                hurry.cancel()

        return self._when_idle().addCallback(idle)

    def _hurry(self) -> None:
        for share in self._shares:
            if share.loan is not None:
                share.writer.give_way()

    def release(self) -> None:
        """The end of a `hold`."""
        self._held -= 1
        self.look()

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
