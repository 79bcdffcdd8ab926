"""The cache query port: CarbonLink over TCP.

The law: the requests of a connection are answered one after the other, in order; a request that makes no sense is
answered with ``{'error': ...}`` and the connection stays, as long as the framing can be followed (a frame longer
than the limit ends it, after its error).  No answer is larger than `max_points` datapoints, no bulk request longer
than `max_bulk_metrics`, and a client that does not read its answers is not read from.

What a metric's cached points are, and what its metadata is, are callables that are handed in; each may return its
answer or a Deferred of it.  They are given the name as it was asked, and it is theirs to know a metric by its
canonical name and by its encoded path (``_tagged.abc.def.<hash>``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from carbonpy.counters import CounterGroup
from carbonpy.errors import CarbonError, WireError
from carbonpy.wire import carbonlink as wire
from carbonpy.wire.framing import Int32Frames, encode

T = TypeVar("T")
Datapoints = Sequence[tuple[float, float]]
#: metric -> its (timestamp, value) pairs that are not on disk yet, [] if there are none.
Query = Callable[[str], Datapoints | Awaitable[Datapoints]]
#: (metric, key) -> value, or an awaitable (a Deferred) of it.  Raises CarbonError when there is none.
GetMetadata = Callable[[str, str], Any]
#: (metric, key, value) -> old value, or an awaitable of it.  Raises CarbonError when it cannot be set.
SetMetadata = Callable[[str, str, Any], Any]

MAX_FRAME = 1 << 20
MAX_CONNECTIONS = 1000
MAX_BULK_METRICS = 10_000
MAX_POINTS = 1_000_000
#: Metrics of a bulk request that are answered before others get their turn.
_TURN = 250

_log = Logger("query")


async def _now(answer: T | Awaitable[T]) -> T:
    return await answer if isinstance(answer, Awaitable) else answer


@implementer(IPushProducer)
class CarbonLinkServer(Protocol, TimeoutMixin):
    """One client, usually a graphite-web process that keeps its connection for ever.  Reactor thread only."""

    factory: CarbonLinkFactory

    def __init__(self, factory: CarbonLinkFactory) -> None:
        self.factory = factory
        self.callLater = factory.clock.callLater  # what TimeoutMixin tells the time by
        self._frames = Int32Frames(factory.max_frame)
        self._waiting: deque[bytes] = deque()
        self._answering: Deferred[None] | None = None
        self._client_reads = True
        self._ending = False
        self.peer = "?"

    # -- what the transport tells us ----------------------------------------------------------------------------

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        self.peer = f"{getattr(peer, 'host', peer)}:{getattr(peer, 'port', '')}"
        if hasattr(self.transport, "setTcpKeepAlive"):
            self.transport.setTcpKeepAlive(True)
        self.factory.connections.add(self)
        self.transport.registerProducer(self, True)
        self.setTimeout(self.factory.idle_timeout)
        _log.info("{peer} connected", peer=self.peer)

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        if not self._ending:
            self._waiting.extend(self._frames.feed(data))
            self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self.factory.connections.discard(self)
        self._ending = True
        self._waiting.clear()
        if self._answering is not None:
            self._answering.cancel()
        _log.info("{peer} disconnected: {why}", peer=self.peer, why=reason.getErrorMessage())

    def timeoutConnection(self) -> None:
        if self._answering is not None or self._waiting:  # it is we who are slow
            self.setTimeout(self.factory.idle_timeout)
            return
        self.factory.counters.add("cacheQueryIdleClosed")
        self.end()

    # -- IPushProducer: the transport's write buffer is full, or has emptied ------------------------------------

    def pauseProducing(self) -> None:
        self._client_reads = False
        self._hold_or_read()

    def resumeProducing(self) -> None:
        self._client_reads = True
        self._work()

    def stopProducing(self) -> None:
        self._waiting.clear()

    # -- answering ----------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Close the connection once what was answered has been sent."""
        if not self._ending:
            self._ending = True
            self._waiting.clear()
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _work(self) -> None:
        while self._waiting and self._client_reads and self._answering is None and not self._ending:
            answering = Deferred.fromCoroutine(self._answer(self._waiting.popleft()))
            if not answering.called:
                self._answering = answering
                answering.addCallback(self._go_on)
        if self._frames.broken is not None and not self._waiting and self._answering is None and not self._ending:
            self.factory.counters.add("cacheQueryErrors")
            self._send(wire.encode_error(str(self._frames.broken)))
            self.end()
        self._hold_or_read()

    def _go_on(self, _: None) -> None:
        self._answering = None
        self._work()

    def _hold_or_read(self) -> None:
        if self._ending:
            return
        if self._waiting or self._answering is not None or not self._client_reads:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _send(self, reply: bytes) -> None:
        self.transport.write(encode(reply))

    async def _answer(self, frame: bytes) -> None:
        try:
            reply = await self.factory.reply(wire.decode_request(frame), self.peer)
        except CancelledError:
            return
        except CarbonError as error:
            self.factory.counters.add("cacheQueryErrors")
            reply = wire.encode_error(str(error))
        except Exception as error:
            self.factory.counters.add("cacheQueryErrors")
            _log.failure("a CarbonLink request of {peer} could not be answered", peer=self.peer)
            reply = wire.encode_error(f"the request could not be answered: {type(error).__name__}: {error}")
        if not self._ending:
            self._send(reply)


class CarbonLinkFactory(Factory):
    """What all connections of the query port share.  Reactor thread only.

    `counters` grow by carbon's names: ``cacheQueries``, ``cacheBulkQueries``, ``cacheBulkQuerySize`` (metrics asked
    in bulk), and by our own ``cacheQueryErrors``, ``cacheQueryRefused`` (connections), ``cacheQueryIdleClosed``.
    `idle_timeout` is None by default because graphite-web keeps idle connections in a pool and takes a closed one
    for a failed host; TCP keepalive finds the dead ones.
    """

    noisy = False

    def __init__(
        self,
        clock: Any,
        query: Query,
        get_metadata: GetMetadata,
        set_metadata: SetMetadata,
        counters: CounterGroup,
        *,
        idle_timeout: float | None = None,
        max_connections: float = MAX_CONNECTIONS,
        max_frame: int = MAX_FRAME,
        max_bulk_metrics: int = MAX_BULK_METRICS,
        max_points: int = MAX_POINTS,
        log_hits: bool = False,
    ) -> None:
        self.clock = clock
        self.query = query
        self.get_metadata = get_metadata
        self.set_metadata = set_metadata
        self.counters = counters
        self.idle_timeout = idle_timeout
        self.max_connections = max_connections
        self.max_frame = max_frame
        self.max_bulk_metrics = max_bulk_metrics
        self.max_points = max_points
        self.log_hits = log_hits
        self.connections: set[CarbonLinkServer] = set()

    def buildProtocol(self, addr: Any) -> CarbonLinkServer | None:
        if len(self.connections) >= self.max_connections:
            self.counters.add("cacheQueryRefused")
            _log.warn("connection from {peer} refused: {limit} are open", peer=addr, limit=self.max_connections)
            return None
        return CarbonLinkServer(self)

    def end_all(self) -> None:
        """Close every connection (at shutdown)."""
        for connection in list(self.connections):
            connection.end()

    async def reply(self, request: wire.Request, peer: str) -> bytes:
        """The frame that answers `request`.  Raises CarbonError with a sentence for the asker."""
        if isinstance(request, wire.CacheQuery):
            self.counters.add("cacheQueries")
            points = await self._points(request.metric, self.max_points)
            if self.log_hits:
                _log.info(
                    '[{peer}] cache query for "{metric}" returned {count} values',
                    peer=peer,
                    metric=request.metric,
                    count=len(points),
                )
            return wire.encode_datapoints(points)
        if isinstance(request, wire.BulkQuery):
            return await self._bulk_reply(request, peer)
        if isinstance(request, wire.GetMetadata):
            return wire.encode_metadata(await _now(self.get_metadata(request.metric, request.key)))
        if isinstance(request, wire.SetMetadata):
            old = await _now(self.set_metadata(request.metric, request.key, request.value))
            return wire.encode_metadata_set(old, request.value)
        return wire.encode_unknown(request)

    async def _bulk_reply(self, request: wire.BulkQuery, peer: str) -> bytes:
        count = len(request.metrics)
        if count > self.max_bulk_metrics:
            raise WireError(
                f"cache-query-bulk asks for {count} metrics; ask for at most {self.max_bulk_metrics} at a time"
            )
        self.counters.add("cacheBulkQueries")
        self.counters.add("cacheBulkQuerySize", count)
        answer: dict[str, Datapoints] = {}
        room = self.max_points
        for number, metric in enumerate(request.metrics, 1):
            if metric not in answer:
                answer[metric] = await self._points(metric, room)
                room -= len(answer[metric])
            if number % _TURN == 0:
                await deferLater(self.clock, 0, lambda: None)
        if self.log_hits:
            _log.info(
                '[{peer}] cache query bulk for "{count}" metrics returned {points} values',
                peer=peer,
                count=count,
                points=self.max_points - room,
            )
        return wire.encode_bulk(answer)

    async def _points(self, metric: str, room: int) -> Datapoints:
        points = await _now(self.query(metric))
        if len(points) > room:
            raise WireError(
                f"the answer would hold more than {self.max_points} datapoints (at {metric!r:.200}); "
                "ask for fewer metrics at a time"
            )
        return points
