"""The Twisted side of HTTP: requests in, answers out, and which thread does the work.

The law.

* The reactor is never held up for long: what may be long is done in the thread pool.  A render of a
  few literal metrics is done at once in the reactor's thread, because beside a busy reactor a change
  of threads costs more than the work (see `Limits.direct_targets`).
* Every request gets an answer: 400 and a sentence for what the client got wrong, 503 when too many
  wait, 500 without details (they are in the log) for a defect.
* A client that leaves is forgotten without a word; its work ends at the next series.
* Bodies of 200 bytes and more are compressed for clients that accept gzip.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from datetime import timezone, tzinfo
from io import BytesIO
from typing import Any, NamedTuple

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from carbonpy import __version__
from carbonpy.clock import Clock
from carbonpy.counters import CounterGroup
from carbonpy.errors import CarbonError, QueryError
from carbonpy.web.answer import TEXT, Answer, Query, sentence
from carbonpy.web.find import Metrics
from carbonpy.web.limits import DEFAULT_LIMITS, Limits
from carbonpy.web.page import Page
from carbonpy.web.parameters import parse
from carbonpy.web.render import Plan, Renderer

#: What /version says: the graphite-web whose HTTP interface this is.  Grafana reads it as a version number.
GRAPHITE_VERSION = "1.1.10"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_GZIP_FROM = 200
_GZIP_LEVEL = 2


class ClientLeft(Exception):
    """The client closed its connection; nobody waits for the answer."""


class Route(NamedTuple):
    """What answers a path.  `here` is for answers that take no time: they are made in the reactor's thread."""

    answer: Callable[[Query], Answer]
    here: bool = False


class Packed(NamedTuple):
    """An answer ready to be sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def pack(answer: Answer, gzip: bool) -> Packed:
    """The headers and the body as they go out.  Safe from any thread."""
    headers: tuple[tuple[str, str], ...] = (
        ("Content-Type", answer.content_type),
        ("X-Content-Type-Options", "nosniff"),
        *answer.headers,
    )
    size = sum(map(len, answer.chunks))
    if size < _GZIP_FROM:
        return Packed(answer.status, headers, answer.body)
    headers += (("Vary", "Accept-Encoding"),)
    if not gzip:
        return Packed(answer.status, headers, answer.body)
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    pieces = [compressor.compress(chunk) for chunk in answer.chunks]
    return Packed(answer.status, (*headers, ("Content-Encoding", "gzip")), b"".join([*pieces, compressor.flush()]))


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for part in header.lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


class BoundedRequest(Request):
    """A request whose body is bounded and whose parameters are parsed by us, not by Twisted."""

    too_large = False
    query_string = b""
    _body_bytes = 0

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self.channel.site.body_limit:
            self.too_large = True
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query_string = path.partition(b"?")
        self.args: dict[bytes, list[bytes]] = {}
        self.content.seek(0)
        self.process()

    def header(self, name: bytes) -> str | None:
        """The value of a request header, None if there is none."""
        value = self.requestHeaders.getRawHeaders(name)
        return None if not value else value[-1].decode("utf-8", "replace")


class Root(Resource):
    """Everything: finds the route of a path and sees to it that it is answered.  Reactor thread only."""

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        routes: Mapping[str, Route],
        renderer: Renderer,
        limits: Limits,
        *,
        reactor: Any,
        pool: Any,
        monotonic: Clock = time.monotonic,
    ) -> None:
        super().__init__()
        self._routes = routes
        self._renderer = renderer
        self._limits = limits
        self._reactor = reactor
        self._pool = pool
        self._monotonic = monotonic
        self._waiting = 0
        #: Answers by status.  Written by the reactor's thread, read by any.
        self.answered = CounterGroup()

    def render(self, request: BoundedRequest) -> int:
        left = threading.Event()
        request.notifyFinish().addErrback(lambda failure: left.set())
        gzip = accepts_gzip(request.header(b"accept-encoding") or "")
        try:
            self._start(request, gzip, left)
        except Exception as error:
            self._send(request, pack(self._excuse(error), gzip), left)
        return NOT_DONE_YET

    def _start(self, request: BoundedRequest, gzip: bool, left: threading.Event) -> None:
        if request.too_large:
            answer = sentence(f"the body is larger than {self._limits.body_bytes} bytes; ask in several requests", 413)
            self._send(request, pack(answer, gzip), left)
            return
        query = Query(
            "/" + request.path.decode("utf-8", "replace").strip("/"),
            parse(
                request.query_string,
                request.header(b"content-type") or "",
                request.content.read(),
                self._limits.parameters,
            ),
            request.header(b"accept"),
            self._checker(left),
        )
        if query.path == "/render":
            self._render(request, query, gzip, left)
            return
        route = self._routes.get(query.path)
        if route is None:
            answer = sentence(f"there is nothing at {query.path[:200]!r}; the page at / shows what there is", 404)
            self._send(request, pack(answer, gzip), left)
        elif route.here:
            self._send(request, pack(route.answer(query), gzip), left)
        else:
            answer_it = route.answer
            self._elsewhere(request, lambda: pack(answer_it(query), gzip), gzip, left)

    def _render(self, request: BoundedRequest, query: Query, gzip: bool, left: threading.Event) -> None:
        plan: Plan = self._renderer.plan(query.parameters)
        if not self._renderer.is_small(plan):
            self._elsewhere(
                request,
                lambda: pack(self._renderer.write(plan, self._renderer.fetch(plan, query.check)), gzip),
                gzip,
                left,
            )
            return
        found = self._renderer.fetch(plan, query.check)
        if sum(map(len, found)) <= self._limits.direct_points:
            self._send(request, pack(self._renderer.write(plan, found), gzip), left)
        else:
            self._elsewhere(request, lambda: pack(self._renderer.write(plan, found), gzip), gzip, left)

    def _checker(self, left: threading.Event) -> Callable[[int], None]:
        """What handlers call now and then: ends the work of a client that left or that asked for too much."""
        deadline = self._monotonic() + self._limits.seconds
        total = 0

        def check(points: int) -> None:
            nonlocal total
            total += points
            if left.is_set():
                raise ClientLeft
            if total > self._limits.points:
                raise QueryError(
                    f"more than {self._limits.points} points in one answer; ask for less time or fewer series"
                )
            if self._monotonic() > deadline:
                raise QueryError(f"no answer within {self._limits.seconds:g} s; ask for less time or fewer series")

        return check

    def _elsewhere(
        self, request: BoundedRequest, work: Callable[[], Packed], gzip: bool, left: threading.Event
    ) -> None:
        """Do `work` in the thread pool and send what comes out."""
        if self._waiting >= self._limits.waiting:
            answer = sentence("too many queries are waiting; try again in a second", 503, (("Retry-After", "1"),))
            self._send(request, pack(answer, gzip), left)
            return
        self._waiting += 1

        def unless_left() -> Packed:
            if left.is_set():
                raise ClientLeft
            return work()

        def done(packed: Packed) -> None:
            self._waiting -= 1
            self._send(request, packed, left)

        def failed(failure: Any) -> None:
            done(pack(self._excuse(failure.value), gzip))

        # what `done` itself raises is a defect and goes to the log, not into `failed`
        deferToThreadPool(self._reactor, self._pool, unless_left).addCallbacks(done, failed).addErrback(
            lambda failure: self._log.failure("a web answer could not be sent", failure=failure)
        )

    def _excuse(self, error: BaseException) -> Answer:
        """The answer to a request that failed."""
        if isinstance(error, QueryError):
            return sentence(str(error), 400)
        if isinstance(error, ClientLeft):
            return sentence("nobody is listening", 499)
        if isinstance(error, CarbonError):
            self._log.error("a query could not be answered: {error}", error=str(error))
            return sentence("the server cannot answer this now; its log says why", 503)
        self._log.error("a query failed: {error!r}", error=error, log_failure=Failure(error))
        return sentence("the server failed to answer this; its log says why", 500)

    def _send(self, request: BoundedRequest, packed: Packed, left: threading.Event) -> None:
        self.answered.add(str(packed.status))
        if left.is_set():
            return
        request.setResponseCode(packed.status)
        request.setHeader(b"server", f"carbonpy/{__version__}".encode())
        for name, value in packed.headers:
            request.setHeader(name.encode(), value.encode("utf-8", "replace"))
        request.setHeader(b"content-length", str(len(packed.body)).encode())
        request.write(packed.body)
        request.finish()


class QuietSite(Site):
    """A Site that counts its answers (`answered`) instead of logging each."""

    displayTracebacks = False

    def __init__(self, root: Root, limits: Limits, idle_seconds: float, reactor: Any) -> None:
        super().__init__(root, requestFactory=BoundedRequest, timeout=idle_seconds, reactor=reactor)
        self.body_limit = limits.body_bytes
        #: Answers by status; read from any thread.
        self.answered = root.answered

    def log(self, request: Any) -> None:
        """Nothing: what is frequent is counted."""


def make_site(
    store: Any,
    health: Callable[[], Mapping[str, Any]],
    metrics_text: Callable[[], str],
    clock: Clock,
    *,
    reactor: Any,
    pool: Any,
    ready: Callable[[], bool] = lambda: True,
    limits: Limits = DEFAULT_LIMITS,
    tz: tzinfo = timezone.utc,
    cache_seconds: int = 60,
    idle_seconds: float = 60.0,
) -> QuietSite:
    """The site that answers for `store` (a LocalStore, or anything with its methods).

    health: a JSON document with the ledger under "ledger".  metrics_text: Prometheus text.
    pool: a started twisted ThreadPool.  cache_seconds: how long clients may keep a render by default.
    """
    renderer = Renderer(store, clock, limits, tz=tz, cache_seconds=cache_seconds)
    metrics = Metrics(store, clock, limits, tz)

    def answer_health(query: Query) -> Answer:
        document = json.dumps(health(), indent=2) + "\n"
        return Answer([document.encode()], "application/json", headers=(("Cache-Control", "no-store"),))

    def answer_ready(query: Query) -> Answer:
        return sentence("ready") if ready() else sentence("not ready yet; ask again", 503, (("Retry-After", "1"),))

    routes = {
        "/": Route(Page(store)),
        "/metrics/find": Route(metrics.find),
        "/metrics/expand": Route(metrics.expand),
        "/metrics/index.json": Route(metrics.index_json),
        "/version": Route(lambda query: Answer([GRAPHITE_VERSION.encode() + b"\n"], TEXT), here=True),
        "/health": Route(answer_health, here=True),
        "/ready": Route(answer_ready, here=True),
        "/metrics": Route(lambda query: Answer([metrics_text().encode()], PROMETHEUS), here=True),
    }
    root = Root(routes, renderer, limits, reactor=reactor, pool=pool)
    return QuietSite(root, limits, idle_seconds, reactor)
