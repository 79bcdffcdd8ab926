"""Which process answers a query: little ones the daemon itself, all others the processes made for it.

The law: nothing that may take long is done in the reactor's thread; what the daemon's processes ask back
(cached points, names that are not in the catalogue yet) is looked up in a thread if it is much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from carbonpy.daemons.sources import Sources
from carbonpy.daemons.worker_talk import Points, pack_points, pack_query, unpack_answer, unpack_peek
from carbonpy.net.web_workers import Body, Bounds, QueryEnded, WebWorkers, Worked
from carbonpy.web.answer import Answer, Cost, Query, Taking, sentence
from carbonpy.web.dispatch import Beginner
from carbonpy.web.packing import pack as packed
from carbonpy.writing.parcel import Blob, Parcel, pack

#: A render whose targets are at most so many characters is looked at in the reactor's thread.
_SHORT = 1_000
#: Metrics whose points are looked up in the reactor's thread; more are in another one.
_FEW = 32


def _stays() -> bool:
    """Nobody leaves while the reactor's thread is at work."""
    return False


class Parent(Protocol):
    """What the processes may ask their daemon for.  Safe from any thread."""

    def peek_many(self, metrics: Sequence[str]) -> Mapping[str, Points]:
        """The cached points of metrics that are known; of one that has none, empty columns."""

    def flush(self) -> None:
        """Bring what was noted into the catalogue."""

    @property
    def pending(self) -> int:
        """How many names are noted; 0 if there is nothing to bring there."""


class _Rest:
    """What is `Coming` from a process.  Reactor thread only."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.leave = body.leave
        self.hold = body.hold

    def listen(self, taking: Taking) -> None:
        """See `Coming`."""
        self._body.listen(taking.add, lambda fields: taking.end(Cost(**fields["cost"])), taking.fail)


class WorkerDispatch:
    """A Dispatch over processes.  Reactor thread only.

    service: answers little queries in this thread; None if nothing is to be answered here.
    parent: what the processes may ask for.
    """

    def __init__(self, service: Beginner | None, workers: WebWorkers, parent: Parent, limits_targets: int = 4) -> None:
        self._service = service
        self.workers = workers
        self._parent = parent
        self._targets = limits_targets

    def __call__(self, query: Query) -> Deferred[Answer] | Answer:
        if self._service is not None and self._is_short(query):
            work = self._service.begin(query, _stays)
            if isinstance(work, Answer):
                return work
        asked = self.workers.ask(pack_query(query, named=not self._parent.pending))
        result: Deferred[Answer] = Deferred(lambda _: asked.cancel())

        def done(worked: Worked) -> None:
            coming = None if worked.body is None else _Rest(worked.body)
            if not result.called:
                result.callback(replace(unpack_answer(worked.fields, worked.chunks), coming=coming))
            elif coming is not None:
                coming.leave()

        def failed(failure: Failure) -> None:
            if not result.called:
                error = failure.check(QueryEnded)
                result.callback(self._excuse(query, failure.value)) if error else result.errback(failure)

        asked.addCallbacks(done, failed)
        return result

    def _is_short(self, query: Query) -> bool:
        if query.path != "/render":
            return False
        targets = query.parameters.all("target") or query.parameters.all("target[]")
        return len(targets) <= self._targets and sum(map(len, targets)) <= _SHORT

    @staticmethod
    def _excuse(query: Query, error: QueryEnded) -> Answer:
        again = (("Retry-After", "1"),) if error.status == 503 else ()
        return packed(sentence(str(error), error.status, again), query.headers.get("accept-encoding", ""))


def make_workers(
    reactor: Any, processes: int, sources: Callable[[], Sources], parent: Parent, waiting: int = 200
) -> WebWorkers:
    """The processes of a daemon.  sources: asked whenever a process starts."""

    def serve(parcel: Parcel) -> Sequence[Blob] | Deferred[Sequence[Blob]]:
        if parcel.kind == "peek":
            metrics = unpack_peek(parcel)
            return _points(parent, metrics) if len(metrics) <= _FEW else deferToThread(_points, parent, metrics)
        if parent.pending:
            return deferToThread(parent.flush).addCallback(lambda _: pack("named", {}))
        return pack("named", {})

    return WebWorkers(
        reactor,
        "carbonpy.daemons.web_worker",
        Bounds(processes, sources().max_seconds, waiting),
        setup=lambda: pack("setup", {"sources": sources().fields()}),
        serve=serve,
    )


def _points(parent: Parent, metrics: Sequence[str]) -> Sequence[Blob]:
    found = parent.peek_many(metrics)
    return pack_points([found.get(metric) for metric in metrics])
