"""The Twisted side of HTTP: requests in, answers out.

The law: every request gets an answer.  What needs the store goes to `dispatch` as a Query and comes
back as an Answer, at once or later; what this process knows itself (health, readiness, its counters,
its version) is answered here.  A client that leaves is forgotten without a word and its query is
cancelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from carbonpy import __version__
from carbonpy.clock import Clock
from carbonpy.counters import CounterGroup
from carbonpy.errors import CarbonError, QueryError
from carbonpy.web.answer import CARRIED, TEXT, Answer, Query, sentence
from carbonpy.web.dispatch import Dispatch
from carbonpy.web.limits import DEFAULT_LIMITS, Limits
from carbonpy.web.packing import pack
from carbonpy.web.parameters import is_form, parse

#: What /version says: the graphite-web whose HTTP interface this is.  Grafana reads it as a version number.
GRAPHITE_VERSION = "1.1.10"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_log = Logger()


def report(what: str, error: BaseException) -> None:
    """A `Report` for the log of Twisted, with the traceback of what is no CarbonError."""
    if isinstance(error, CarbonError):
        _log.error("{what}: {error}", what=what, error=str(error))
    else:
        _log.error("{what}: {error!r}", what=what, error=error, log_failure=Failure(error))


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

    def header(self, name: str) -> str | None:
        """The value of a request header, None if there is none."""
        value = self.requestHeaders.getRawHeaders(name.encode())
        return None if not value else value[-1].decode("utf-8", "replace")

    def carried(self) -> dict[str, str]:
        """The headers that answers depend on."""
        return {name: value for name in CARRIED if (value := self.header(name)) is not None}


class Root(Resource):
    """Everything: makes a Query of each request and sees to it that it is answered.  Reactor thread only.

    here: path -> what answers it at once, in this process.
    """

    isLeaf = True

    def __init__(
        self, dispatch: Dispatch, here: Mapping[str, Callable[[Query], Answer]], limits: Limits, clock: Clock
    ) -> None:
        super().__init__()
        self._dispatch = dispatch
        self._here = here
        self._limits = limits
        self._clock = clock
        #: Answers by status.  Written by the reactor's thread, read by any.
        self.answered = CounterGroup()

    def render(self, request: BoundedRequest) -> int:
        try:
            answer = self._answer(request)
        except QueryError as error:
            answer = sentence(str(error), 400)
        except Exception as error:
            answer = _failed(error)
        if isinstance(answer, Answer):
            self._send(request, answer)
        else:
            self._send_later(request, answer)
        return NOT_DONE_YET

    def _answer(self, request: BoundedRequest) -> Answer | Deferred[Answer]:
        if request.too_large:
            return sentence(f"the body is larger than {self._limits.body_bytes} bytes; ask in several requests", 413)
        content_type, body = request.header("content-type") or "", request.content.read()
        query = Query(
            path="/" + request.path.decode("utf-8", "replace").strip("/"),
            parameters=parse(request.query_string, content_type, body, self._limits.parameters),
            method=request.method.decode("ascii", "replace"),
            headers=request.carried(),
            body=b"" if is_form(content_type) else body,
            now=self._clock(),
        )
        here = self._here.get(query.path)
        if here is not None:
            return pack(here(query), query.headers.get("accept-encoding", ""))
        return self._dispatch(query)

    def _send_later(self, request: BoundedRequest, later: Deferred[Answer]) -> None:
        def done(answer: Answer) -> None:
            self._send(request, answer)

        def failed(failure: Any) -> None:
            if failure.check(CancelledError):
                self.answered.add("499")
            else:
                done(_failed(failure.value))

        request.notifyFinish().addErrback(lambda failure: later.cancel())
        # what `done` itself raises is a defect and goes to the log, not into `failed`
        later.addCallbacks(done, failed).addErrback(
            lambda failure: _log.failure("a web answer could not be sent", failure=failure)
        )

    def _send(self, request: BoundedRequest, answer: Answer) -> None:
        self.answered.add(str(answer.status))
        body = answer.body
        request.setResponseCode(answer.status)
        request.setHeader(b"server", f"carbonpy/{__version__}".encode())
        request.setHeader(b"content-type", answer.content_type.encode())
        for name, value in answer.headers:
            request.setHeader(name.encode(), value.encode("utf-8", "replace"))
        request.setHeader(b"content-length", str(len(body)).encode())
        request.write(body)
        request.finish()


def _failed(error: BaseException) -> Answer:
    report("a query failed", error)
    return sentence("the server failed to answer this; its log says why", 500)


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
    dispatch: Dispatch,
    health: Callable[[], Mapping[str, Any]],
    metrics_text: Callable[[], str],
    clock: Clock,
    *,
    reactor: Any,
    ready: Callable[[], bool] = lambda: True,
    limits: Limits = DEFAULT_LIMITS,
    idle_seconds: float = 60.0,
) -> QuietSite:
    """The site that lets `dispatch` answer what needs a store (see `carbonpy.web.dispatch`).

    health: a JSON document with the ledger under "ledger".  metrics_text: Prometheus text.
    clock: seconds since the epoch.
    """

    def answer_health(query: Query) -> Answer:
        document = json.dumps(health(), indent=2) + "\n"
        return Answer([document.encode()], "application/json", headers=(("Cache-Control", "no-store"),))

    def answer_ready(query: Query) -> Answer:
        return sentence("ready") if ready() else sentence("not ready yet; ask again", 503, (("Retry-After", "1"),))

    here = {
        "/version": lambda query: Answer([GRAPHITE_VERSION.encode() + b"\n"], TEXT),
        "/health": answer_health,
        "/ready": answer_ready,
        "/metrics": lambda query: Answer([metrics_text().encode()], PROMETHEUS),
    }
    return QuietSite(Root(dispatch, here, limits, clock), limits, idle_seconds, reactor)
