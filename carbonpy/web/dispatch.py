"""Who does the work of a query: the reactor's thread for little ones, the thread pool for the rest.

The law: the reactor is never held up for long.  A render of a few literal metrics is made at once,
because beside a busy reactor a change of threads costs more than the work.  Of the rest, a bounded
number may wait or be worked on; who comes after that is told to come back.  A query whose Deferred
is cancelled ends at its next series.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from carbonpy.web.answer import Answer, Query, sentence
from carbonpy.web.limits import Limits

#: What a site calls for each query; cancelling the Deferred means that the client left.
Dispatch = Callable[[Query], "Deferred[Answer] | Answer"]


class Beginner(Protocol):
    """What a `carbonpy.web.service.Service` is to a dispatch."""

    @property
    def limits(self) -> Limits:
        """How much a query may take."""

    def begin(self, query: Query, left: Callable[[], bool]) -> Answer | Callable[[], Answer]:
        """The answer if it is little work, else a function that makes it; neither raises."""


def overloaded() -> Answer:
    """The answer when too many queries wait."""
    return sentence("too many queries are waiting; try again in a second", 503, (("Retry-After", "1"),))


class PoolDispatch:
    """A Dispatch over threads of this process.  Reactor thread only.

    pool: a started twisted ThreadPool.  waiting: how many queries may be in it.
    """

    def __init__(self, service: Beginner, reactor: Any, pool: Any) -> None:
        self._service = service
        self._reactor = reactor
        self._pool = pool
        #: Queries that wait for the pool or are in it.
        self.waiting = 0

    def __call__(self, query: Query) -> Deferred[Answer] | Answer:
        left = threading.Event()
        work = self._service.begin(query, left.is_set)
        if isinstance(work, Answer):
            return work
        if self.waiting >= self._service.limits.waiting:
            return overloaded()
        self.waiting += 1
        make = work
        result: Deferred[Answer] = Deferred(lambda _: left.set())

        def unless_left() -> Answer | None:
            return None if left.is_set() else make()

        def done(answer: Answer | Failure | None) -> None:
            self.waiting -= 1
            if not left.is_set():
                result.callback(answer)

        deferToThreadPool(self._reactor, self._pool, unless_left).addBoth(done)
        return result
