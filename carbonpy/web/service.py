"""All of HTTP that needs the store, as one function from Query to Answer.

The law: `answer` always gives an Answer and never raises: 400 and a sentence for what the client got
wrong, 503 when the store cannot answer now, 500 without details for a defect (`report` gets them).
It depends on nothing but the query and the store, keeps no state between queries, knows nothing of
Twisted, and is safe from any thread; so a thread, this process or another one may call it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timezone, tzinfo
from typing import Any

from carbonpy.clock import Clock
from carbonpy.errors import CarbonError, QueryError
from carbonpy.web.answer import Answer, Check, Query, sentence
from carbonpy.web.find import Metrics
from carbonpy.web.limits import DEFAULT_LIMITS, Limits
from carbonpy.web.packing import pack
from carbonpy.web.page import Page
from carbonpy.web.render import Renderer

Route = Callable[[Query, Check], Answer]
#: (what happened, the exception): told to whoever keeps the log.
Report = Callable[[str, BaseException], None]


class ClientLeft(Exception):
    """The client closed its connection; nobody waits for the answer."""


def _never() -> bool:
    return False


def _unreported(what: str, error: BaseException) -> None:
    """Nobody keeps a log."""


class Service:
    """Answers queries about `store`.  Safe from any thread if the store is.

    store: a LocalStore, or anything with its methods.  tz: for queries that name none.
    cache_seconds: how long clients may keep a render that does not say so itself.
    monotonic: seconds for measuring.  report: gets what the client is not told.
    """

    def __init__(
        self,
        store: Any,
        *,
        limits: Limits = DEFAULT_LIMITS,
        tz: tzinfo = timezone.utc,
        cache_seconds: int = 60,
        monotonic: Clock = time.monotonic,
        report: Report = _unreported,
    ) -> None:
        self.limits = limits
        self._monotonic = monotonic
        self._report = report
        self._renderer = Renderer(store, limits, tz=tz, cache_seconds=cache_seconds)
        metrics = Metrics(store, limits, tz)
        self._routes: dict[str, Route] = {
            "/": Page(store),
            "/metrics/find": metrics.find,
            "/metrics/expand": metrics.expand,
            "/metrics/index.json": metrics.index_json,
        }

    def answer(self, query: Query, left: Callable[[], bool] = _never) -> Answer:
        """The answer, ready to be sent.  `left`: whether the client is gone, so that the work can end."""
        work = self.begin(query, left, small=0)
        return work if isinstance(work, Answer) else work()

    def begin(
        self, query: Query, left: Callable[[], bool] = _never, small: int | None = None
    ) -> Answer | Callable[[], Answer]:
        """The answer if it is little work, else a function that makes it (and never raises either).

        Little work is a render of few literal targets (`Limits.direct_targets`) with few points.
        """
        check = self._checker(left)
        if query.path == "/render":
            return self._guarded(query, lambda: self._render(query, check, small))
        route = self._routes.get(query.path)
        if route is None:
            return self._packed(query, nothing_at(query.path))
        found = route
        return lambda: self._answered(query, lambda: found(query, check))

    def _render(self, query: Query, check: Check, small: int | None) -> Answer | Callable[[], Answer]:
        renderer = self._renderer
        plan = renderer.plan(query)

        def whole() -> Answer:
            return self._answered(query, lambda: renderer.write(plan, renderer.fetch(plan, check)))

        if small == 0 or not renderer.is_small(plan):
            return whole
        found = renderer.fetch(plan, check)
        if sum(map(len, found)) > self.limits.direct_points:
            return lambda: self._answered(query, lambda: renderer.write(plan, found))
        return self._packed(query, renderer.write(plan, found))

    def _answered(self, query: Query, work: Callable[[], Answer]) -> Answer:
        try:
            return self._packed(query, work())
        except Exception as error:
            return self._packed(query, self._excuse(error))

    def _guarded(
        self, query: Query, work: Callable[[], Answer | Callable[[], Answer]]
    ) -> Answer | Callable[[], Answer]:
        try:
            return work()
        except Exception as error:
            return self._packed(query, self._excuse(error))

    def _packed(self, query: Query, answer: Answer) -> Answer:
        return pack(answer, query.headers.get("accept-encoding", ""))

    def _checker(self, left: Callable[[], bool]) -> Check:
        """What handlers call now and then: ends the work of a client that left or that asked for too much."""
        deadline = self._monotonic() + self.limits.seconds
        total = 0

        def check(points: int) -> None:
            nonlocal total
            total += points
            if left():
                raise ClientLeft
            if total > self.limits.points:
                raise QueryError(
                    f"more than {self.limits.points} points in one answer; ask for less time or fewer series"
                )
            if self._monotonic() > deadline:
                raise QueryError(f"no answer within {self.limits.seconds:g} s; ask for less time or fewer series")

        return check

    def _excuse(self, error: BaseException) -> Answer:
        """The answer to a query that failed."""
        if isinstance(error, QueryError):
            return sentence(str(error), 400)
        if isinstance(error, ClientLeft):
            return sentence("nobody is listening", 499)
        if isinstance(error, CarbonError):
            self._report("a query could not be answered", error)
            return sentence("the server cannot answer this now; its log says why", 503)
        self._report("a query failed", error)
        return sentence("the server failed to answer this; its log says why", 500)


def nothing_at(path: str) -> Answer:
    """The answer for a path that means nothing."""
    return sentence(f"there is nothing at {path[:200]!r}; the page at / shows what there is", 404)
