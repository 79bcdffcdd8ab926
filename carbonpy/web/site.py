"""The Twisted side of HTTP: requests in, answers out.

The law: every request gets an answer.  What needs the store goes to `dispatch` as a Query and comes
back as an Answer, at once or later; what this process knows itself (health, readiness, its counters,
its version) is answered here.  A client that leaves is forgotten without a word and its query is
cancelled.  With `users`, everything but /ready wants a name and a password; with `origins`, pages of
those origins may ask from a browser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import unquote

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPFactory, Request, datetimeToString

from carbonpy import __version__
from carbonpy.clock import Clock
from carbonpy.counters import CounterGroup
from carbonpy.errors import CarbonError, QueryError
from carbonpy.web import request_log
from carbonpy.web.access import Origins, Users
from carbonpy.web.admin import PATHS as ADMIN_PATHS
from carbonpy.web.answer import CARRIED, TEXT, Answer, Cost, Query, sentence
from carbonpy.web.channel import Channel, line
from carbonpy.web.dispatch import Dispatch
from carbonpy.web.limits import DEFAULT_LIMITS, Limits
from carbonpy.web.packing import PARTIAL, pack
from carbonpy.web.parameters import is_form, parse
from carbonpy.web.relay import Relay
from carbonpy.web.response_cache import ResponseCache

#: What /version says: the graphite-web whose HTTP interface this is.  Grafana reads it as a version number.
GRAPHITE_VERSION = "1.1.10"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_log = Logger("console")
_request_log = Logger("query")
_AGAIN = (("Retry-After", "1"),)
#: An answer of more pieces than this is handed to the client piece by piece.
_FEW_CHUNKS = 4
#: Seconds without a piece taken after which the client is disconnected.
_PATIENCE = 60.0
#: Lines of heads that are remembered.
_LINES = 64
#: Passwords that are looked at at one time; each takes a core for a while.
_MOST_VERIFYING = 4


def report(what: str, error: BaseException) -> None:
    """A `Report` for the log of Twisted, with the traceback of what is no CarbonError."""
    if isinstance(error, CarbonError):
        _log.error("{what}: {error}", what=what, error=str(error))
    else:
        _log.error("{what}: {error!r}", what=what, error=error, log_failure=Failure(error))


class BoundedRequest(Request):
    """A request whose body is bounded and whose parameters are parsed by us, not by Twisted.

    It is one of ``twisted.web.http``, not of ``twisted.web.server``, which imports templates, XML and remote objects
    (3 MB) for a tree of resources that is a single one here.
    """

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
        self._headers = {
            name.decode("ascii", "replace").lower(): values[-1].decode("utf-8", "replace")
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        try:
            self.channel.site.root.take(self)
        except Exception:
            _log.failure("a web answer could not be sent")
            self.channel.loseConnection()

    def header(self, name: str) -> str | None:
        """The value of a request header, its name in small letters; None if there is none."""
        return self._headers.get(name)

    def carried(self) -> dict[str, str]:
        """The headers that answers depend on."""
        return {name: value for name, value in self._headers.items() if name in CARRIED}


class Door(NamedTuple):
    """Who may come in.  users: None for everybody.  pool: a started twisted ThreadPool, for looking at passwords."""

    origins: Origins
    users: Users | None
    reactor: Any
    pool: Any


class Root:
    """Everything: makes a Query of each request and sees to it that it is answered.  Reactor thread only.

    here: path -> what answers it in this process.  log_requests: whether each gets a line in the log.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        here: Mapping[str, Callable[[Query], Answer | Deferred[Answer]]],
        limits: Limits,
        clock: Clock,
        *,
        door: Door,
        cache: ResponseCache,
        log_requests: bool = False,
    ) -> None:
        self._dispatch = dispatch
        self._here = here
        self._limits = limits
        self._clock = clock
        self._door = door
        self._cache = cache
        self._log_requests = log_requests
        self._verifying = 0
        self._line = lru_cache(_LINES)(line)
        self._server = line("Server", f"carbonpy/{__version__}")
        #: Answers by status.  Written by the reactor's thread, read by any.
        self.answered = CounterGroup()

    def take(self, request: BoundedRequest) -> None:
        """Answer a request, now or later."""
        now, path = self._clock(), "/" + unquote(request.path.decode("utf-8", "replace")).strip("/")
        query: Query | None = None
        try:
            query = self._query(request, path, now)
            answer = self._let_in(request, query)
        except QueryError as error:
            answer = sentence(str(error), 400)
        except Exception as error:
            answer = _failed(error)
        if query is None:
            query = Query(path, now=now)
        if isinstance(answer, Answer):
            self._send(request, query, answer)
        else:
            self._send_later(request, query, answer)

    def _query(self, request: BoundedRequest, path: str, now: float) -> Query:
        content_type, body = request.header("content-type") or "", request.content.read()
        return Query(
            path,
            parse(request.query_string, content_type, body, self._limits.parameters),
            method=request.method.decode("ascii", "replace"),
            headers=request.carried(),
            body=b"" if is_form(content_type) else body,
            now=now,
        )

    # ---- who may ask

    def _let_in(self, request: BoundedRequest, query: Query) -> Answer | Deferred[Answer]:
        """The answer for those who may have one."""
        origins, users = self._door.origins, self._door.users
        if origins and query.method == "OPTIONS" and request.header("access-control-request-method"):
            told = origins.preflight(request.header("origin"))
            refused = sentence("pages of this origin may not ask; see HTTP_CORS_ORIGINS", 403)
            return refused if told is None else Answer([], status=204, headers=told)
        if request.too_large:
            return sentence(f"the body is larger than {self._limits.body_bytes} bytes; ask in several requests", 413)
        if users is None or query.path == "/ready":
            return self._answer(query)
        header = request.header("authorization")
        known = users.known(header)
        if known is not None or header is None:
            return self._answer(query) if known else _unknown()
        if self._verifying >= _MOST_VERIFYING:
            return sentence("too many passwords are being looked at; try again in a second", 503, _AGAIN)
        self._verifying += 1

        def verified(right: Any) -> Any:
            self._verifying -= 1
            if isinstance(right, Failure):
                return right
            return self._answer(query) if right else _unknown()

        return deferToThreadPool(self._door.reactor, self._door.pool, users.verify, header).addBoth(verified)

    # ---- the answer

    def _answer(self, query: Query) -> Answer | Deferred[Answer]:
        here = self._here.get(query.path)
        if here is not None:
            answer = here(query)
            return pack(answer, query.headers.get("accept-encoding", "")) if isinstance(answer, Answer) else answer
        key = self._cache.key(query)
        kept = self._cache.get(key, query.now)
        if kept is not None:
            return kept
        answer = self._dispatch(query)
        if isinstance(answer, Answer):
            self._cache.put(key, answer, query.now)
            return answer
        return answer.addCallback(self._keep, key, query.now)

    def _keep(self, answer: Answer, key: bytes | None, now: float) -> Answer:
        if answer.coming is None:
            self._cache.put(key, answer, now)
        return answer

    def _send_later(self, request: BoundedRequest, query: Query, later: Deferred[Answer]) -> None:
        def done(answer: Answer) -> None:
            self._send(request, query, answer)

        def failed(failure: Any) -> None:
            if failure.check(CancelledError):
                self.answered.add("499")
            elif failure.check(QueryError):
                done(sentence(str(failure.value), 400))
            else:
                done(_failed(failure.value))

        request.notifyFinish().addErrback(lambda failure: later.cancel())
        # what `done` itself raises is a defect and goes to the log, not into `failed`
        later.addCallbacks(done, failed).addErrback(
            lambda failure: _log.failure("a web answer could not be sent", failure=failure)
        )

    def _send(self, request: BoundedRequest, query: Query, answer: Answer) -> None:
        self.answered.add(str(answer.status))
        headers, chunks = request.responseHeaders, answer.chunks
        request.setResponseCode(answer.status)
        lines = [b"Date: %b\r\n" % datetimeToString(), self._server, self._line("Content-Type", answer.content_type)]
        origin, origins = request.header("origin"), self._door.origins
        for name, value in (*answer.headers, *origins.headers(origin)):
            lines.append(self._line(name, value))
            if name == PARTIAL:
                _log.warn("an answer lacks something: {what}", what=value)
        request.channel.lines = lines
        size = sum(map(len, chunks))
        if answer.coming is not None:
            if answer.rest_size is not None:
                headers.setRawHeaders(b"content-length", [str(size + answer.rest_size).encode()])

            def done(size: int, cost: Cost | None) -> None:
                self._note(request, query, answer if cost is None else replace(answer, cost=cost), size)

            Relay(request, chunks, self._door.reactor, _PATIENCE, answer.coming, done)
            return
        headers.setRawHeaders(b"content-length", [str(size).encode()])
        self._note(request, query, answer, size)
        if len(chunks) > _FEW_CHUNKS and request.method != b"HEAD":
            Relay(request, chunks, self._door.reactor, _PATIENCE)
        else:
            request.write(answer.body)
            request.finish()

    def _note(self, request: BoundedRequest, query: Query, answer: Answer, size: int) -> None:
        if self._log_requests:
            client = getattr(request.getClientAddress(), "host", "-")
            cached = any(name == "Age" for name, _ in answer.headers)
            text = request_log.line(client, query, answer, size, self._clock() - query.now, cached)
            _request_log.info("{line}", line=text)


def _unknown() -> Answer:
    return sentence("name and password are wanted", 401, Users.challenge)


def _failed(error: BaseException) -> Answer:
    report("a query failed", error)
    return sentence("the server failed to answer this; its log says why", 500)


class QuietSite(HTTPFactory):
    """Makes the connections' protocols; counts answers (`answered`) instead of logging each."""

    protocol = Channel

    def __init__(self, root: Root, cache: ResponseCache, limits: Limits, idle_seconds: float, reactor: Any) -> None:
        super().__init__(timeout=idle_seconds, reactor=reactor)
        self.root = root
        self.body_limit = limits.body_bytes
        #: Answers by status; read from any thread.
        self.answered = root.answered
        #: Answers that are kept; its counters may be read from any thread.
        self.cache = cache

    def buildProtocol(self, address: Any) -> Any:
        channel: Any = super().buildProtocol(address)
        channel.requestFactory = BoundedRequest
        channel.site = self
        return channel

    def log(self, request: Any) -> None:
        """Nothing: what is frequent is counted."""


def make_site(
    dispatch: Dispatch,
    health: Callable[[], Mapping[str, Any]],
    metrics_text: Callable[[], str],
    clock: Clock,
    *,
    reactor: Any,
    pool: Any = None,
    ready: Callable[[], bool] = lambda: True,
    limits: Limits = DEFAULT_LIMITS,
    idle_seconds: float = 60.0,
    cors_origins: Sequence[str] = (),
    users: Users | None = None,
    cache_bytes: int = 0,
    log_requests: bool = False,
    admin: Callable[[Query], Answer | Deferred[Answer]] | None = None,
) -> QuietSite:
    """The site that lets `dispatch` answer what needs a store (see `carbonpy.web.dispatch`).

    health: a JSON document with the ledger under "ledger".  metrics_text: Prometheus text.
    clock: seconds since the epoch.  cors_origins: see `Origins`.
    users: who may ask (`Users.load`), None for everybody; with them `pool`, a started twisted ThreadPool, is wanted.
    admin: answers the paths that change metrics, see `Admin`; None if nobody may change any.
    cache_bytes: memory for answers of /render that are given again.  log_requests: a line for each, logger "query".
    """

    def answer_health(query: Query) -> Answer:
        document = json.dumps(health(), indent=2) + "\n"
        return Answer([document.encode()], "application/json", headers=(("Cache-Control", "no-store"),))

    def answer_ready(query: Query) -> Answer:
        return sentence("ready") if ready() else sentence("not ready yet; ask again", 503, _AGAIN)

    here: dict[str, Callable[[Query], Answer | Deferred[Answer]]] = {
        "/version": lambda query: Answer([GRAPHITE_VERSION.encode() + b"\n"], TEXT),
        "/health": answer_health,
        "/ready": answer_ready,
        "/metrics": lambda query: Answer([metrics_text().encode()], PROMETHEUS),
    }
    if admin is not None:
        here |= dict.fromkeys(ADMIN_PATHS, admin)
    door, cache = Door(Origins(cors_origins), users, reactor, pool), ResponseCache(cache_bytes)
    root = Root(dispatch, here, limits, clock, door=door, cache=cache, log_requests=log_requests)
    return QuietSite(root, cache, limits, idle_seconds, reactor)
