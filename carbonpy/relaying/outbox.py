"""An outbox: everything that waits for one destination, in memory, on its way, and in the spool.

The law of its ledger, which holds between any two calls:

    received + recovered = delivered + queued + in flight + spooled + moved + sum of dropped by reason

What comes in is queued; what is taken from the queue is in flight until the destination confirmed it (`arrived`) or
the connection ended (`failed`), and then it is queued again, in its old order.  Points older than `spool_after` seconds
that nobody confirmed are in the spool: so a crash costs at most the points of that time.  A chunk in flight that was
spooled meanwhile is still in flight; confirmed, its record is done with.

Live points go first: the spool is read only when nothing is queued, and no faster than `replay_rate` allows.  The
policy says what happens when more is queued than `limit`:

    spool         the oldest chunks go to the spool
    block         nothing; `full` asks whoever brings points to pause
    drop_oldest   the oldest chunks are dropped, as queue_full
    drop_newest   what comes is dropped, as queue_full

If the disk does not take the spool, memory holds up to twice the limit (or one chunk, if that is larger), and then the
oldest go, as spool_failed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from carbonpy.clock import Clock, TokenBucket
from carbonpy.counters import Counter, CounterGroup
from carbonpy.relaying.chunk import Chunk, joined
from carbonpy.relaying.spool import Spool

#: A record of the spool has about this many bytes of text.
_RECORD_BYTES = 1 << 18
#: A replay may run ahead of its rate by this many seconds.
_BURST = 0.25


class Flight:
    """A chunk on its way.  `record`: its number in the spool, None when it is not there."""

    __slots__ = ("chunk", "record")

    def __init__(self, chunk: Chunk, record: int | None) -> None:
        self.chunk = chunk
        self.record = record


class Outbox:
    """What waits for one destination.  Reactor thread only.

    limit: points in the queue.  monotonic: seconds for the rate of the replay.
    on_trouble: gets sentences for the log.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        limit: int,
        policy: str,
        spool_after: float,
        replay_rate: float,
        on_trouble: Callable[[str], None],
        monotonic: Clock = time.monotonic,
    ) -> None:
        self.spool = spool
        self.limit = limit
        self.policy = policy
        self.spool_after = spool_after
        self._monotonic = monotonic
        self._on_trouble = on_trouble
        self._replay = _bucket(replay_rate, monotonic)
        self._queue: deque[Chunk] = deque()
        self._flights: deque[Flight] = deque()
        self._spool_fails = False
        #: Points that wait in memory, and points on their way.
        self.queued = 0
        self.in_flight = 0
        #: Of those on their way, how many are in the spool as well.
        self._both = 0
        self.received = Counter()
        self.recovered = Counter()
        self.delivered = Counter()
        #: Points that other outboxes took over.
        self.moved = Counter()
        self.dropped = CounterGroup()
        #: The receiver says how full it is, 0 to 1: a fuller one than this gets nothing from the spool.
        self.peer_fullness = 0.0
        self.recovered.add(spool.points)

    # ---- figures

    @property
    def spooled(self) -> int:
        """Points that are in the spool and not on their way."""
        return self.spool.points - self._both

    @property
    def full(self) -> bool:
        """Whether whoever brings points should pause."""
        return self.policy == "block" and self.queued >= self.limit

    @property
    def waits(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._queue) or self.spool.waiting > 0

    @property
    def oldest_in_memory(self) -> float | None:
        """When the oldest point came in that is queued or on its way."""
        first = [self._queue[0].born] if self._queue else []
        first += [self._flights[0].chunk.born] if self._flights else []
        return min(first, default=None)

    @property
    def unsecured_since(self) -> float | None:
        """When the oldest point came in that neither the destination nor the disk has for certain; None: there is none.

        Only the spool secures points: with another policy that is nobody's business.
        """
        if self.policy != "spool":
            return None
        oldest = [self._queue[0].born] if self._queue else []
        oldest += [flight.chunk.born for flight in self._flights if flight.record is None][:1]
        return min(oldest, default=None)

    @property
    def balanced(self) -> bool:
        """The law."""
        came = self.received.value + self.recovered.value
        kept = self.queued + self.in_flight + self.spooled
        return came == self.delivered.value + kept + self.moved.value + self.dropped.total()

    @property
    def replay_rate(self) -> float:
        """Points a second that may be read from the spool."""
        return self._replay.rate

    @replay_rate.setter
    def replay_rate(self, rate: float) -> None:
        self._replay = _bucket(rate, self._monotonic)

    # ---- coming in

    def put(self, chunk: Chunk) -> None:
        """Take a chunk."""
        points = chunk.points
        self.received.add(points)
        if self.policy == "drop_newest" and self.queued + points > self.limit:
            self.dropped.add("queue_full", points)
            return
        self._queue.append(chunk)
        self.queued += points
        if self.queued > self.limit:
            if self.policy == "spool":
                self._spill(lambda: self.queued > self.limit)
            elif self.policy == "drop_oldest":
                self._shed(self.limit, "queue_full")

    def count_dropped(self, reason: str, points: int) -> None:
        """What the spool had to give up."""
        self.dropped.add(reason, points)

    def _shed(self, limit: int, reason: str) -> None:
        while self.queued > limit and len(self._queue) > 1:
            points = self._queue.popleft().points
            self.queued -= points
            self.dropped.add(reason, points)

    def _spill(self, more: Callable[[], bool]) -> bool:
        """The oldest chunks to the spool, as long as `more` says so; whether the disk took them."""
        while self._queue and more():
            batch: list[Chunk] = []
            size = 0
            while self._queue and more() and size < _RECORD_BYTES:
                chunk = self._queue.popleft()
                self.queued -= chunk.points
                batch.append(chunk)
                size += 40 * chunk.points
            points = sum(chunk.points for chunk in batch)
            try:
                self.spool.append(joined(batch), points, batch[0].born)
            except OSError as error:
                self._queue.extendleft(reversed(batch))
                self.queued += points
                self._complain(error)
                self._shed(2 * self.limit, "spool_failed")
                return False
        self._spool_fails = False
        return True

    def _complain(self, error: OSError) -> None:
        if not self._spool_fails:
            self._spool_fails = True
            self._on_trouble(
                f"{self.spool.directory}: the spool cannot be written: {error}; points wait in memory, "
                f"at most {2 * self.limit}"
            )

    # ---- going out

    def take(self) -> Flight | None:
        """The next chunk to send, which is in flight from now on; None when there is nothing or it is not its turn."""
        if self._queue:
            chunk = self._queue.popleft()
            self.queued -= chunk.points
            flight = Flight(chunk, None)
        else:
            if not self.spool.waiting or self.peer_fullness > 0.5 or self._replay.available() <= 0:
                return None
            record = self.spool.read()
            if record is None:
                return None
            self._replay.wait(record.points)
            flight = Flight(Chunk(record.points, record.born, record.text), record.number)
            self._both += record.points
        self._flights.append(flight)
        self.in_flight += flight.chunk.points
        return flight

    def arrived(self, count: int = 1) -> None:
        """The first `count` chunks in flight are with the destination."""
        for _ in range(count):
            flight = self._flights.popleft()
            points = flight.chunk.points
            self.in_flight -= points
            self.delivered.add(points)
            if flight.record is not None:
                self._both -= points
                self.spool.done(flight.record)

    @property
    def flights(self) -> int:
        """Chunks in flight."""
        return len(self._flights)

    def failed(self) -> None:
        """The connection is gone: nothing in flight arrived for certain."""
        again = []
        for flight in self._flights:
            if flight.record is not None:
                self._both -= flight.chunk.points
                self.spool.unread(flight.record)
            else:
                again.append(flight.chunk)
                self.queued += flight.chunk.points
        self.in_flight = 0
        self._flights.clear()
        self._queue.extendleft(reversed(again))

    def surrender(self) -> list[Chunk]:
        """Everything that is queued, for other outboxes to take over."""
        chunks = list(self._queue)
        self._queue.clear()
        for chunk in chunks:
            self.queued -= chunk.points
            self.moved.add(chunk.points)
        return chunks

    # ---- time

    def tick(self, now: float) -> None:
        """Secure what is old, a few times a second."""
        if not self._flights:
            # A peer says how full it is when it acknowledges; one that is asked nothing gets room again and is tried.
            self.peer_fullness *= 0.9
        if self.policy == "spool":
            before = now - self.spool_after
            if self._queue and self._queue[0].born <= before:
                self._spill(lambda: self._queue[0].born <= before)
            self._secure_flights(before)

    def _secure_flights(self, before: float) -> None:
        for flight in self._flights:
            if flight.chunk.born > before:
                break
            if flight.record is None:
                try:
                    flight.record = self.spool.append_read(flight.chunk.text(), flight.chunk.points, flight.chunk.born)
                except OSError as error:
                    self._complain(error)
                    return
                self._both += flight.chunk.points

    def put_away(self) -> None:
        """Everything that is not delivered goes to the spool: the daemon ends."""
        self.failed()
        if not self._spill(lambda: True):
            for chunk in self._queue:
                self.dropped.add("spool_failed", chunk.points)
            self._queue.clear()
            self.queued = 0


def _bucket(rate: float, clock: Clock) -> TokenBucket:
    return TokenBucket(max(1.0, rate * _BURST), rate, clock)
