"""All of HTTP that needs the store, as one function from Query to Answer.

The law: `answer` always gives an Answer and never raises: 400 and a sentence for what the client got
wrong, 503 when the store cannot answer now, 500 without details for a defect (`report` gets them).
It depends on nothing but the query and the stores, keeps no state between queries, knows nothing of
Twisted, and is safe from any thread; so a thread, this process or another one may call it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timezone, tzinfo

from carbonpy.clock import Clock
from carbonpy.errors import CarbonError, QueryError
from carbonpy.events.store import EventStore
from carbonpy.functions.library import Library
from carbonpy.reading.store import Store
from carbonpy.web.answer import Answer, Query, sentence
from carbonpy.web.events import Events
from carbonpy.web.find import Metrics
from carbonpy.web.functions import Functions
from carbonpy.web.info import Infos
from carbonpy.web.json_format import fast_numbers
from carbonpy.web.limits import DEFAULT_LIMITS, Budget, ClientLeft, Limits, Little, TooMuch
from carbonpy.web.packing import pack
from carbonpy.web.page import Page
from carbonpy.web.render import Renderer
from carbonpy.web.tags import Tags

Route = Callable[[Query, Budget], Answer]
#: (what happened, the exception): told to whoever keeps the log.
Report = Callable[[str, BaseException], None]


def _never() -> bool:
    return False


def _unreported(what: str, error: BaseException) -> None:
    """Nobody keeps a log."""


def _no_events(tags: Sequence[str], start: int, end: int) -> Sequence[int]:
    return ()


class Service:
    """Answers queries about `store`.  Safe from any thread if the stores are.

    store: names and points (see `carbonpy.reading.store`).  events: what happened; None for a server without /events.
    local: the store for queries with ``local=1``, which a server that asks other servers must not pass on;
    by default the same.
    library: the functions of targets; all by default.
    tz: for queries that name none.  cache_seconds: how long clients may keep a render that does not say so itself.
    consolidate_as_stored: whether maxDataPoints consolidates a series as its file does (by its average otherwise).
    find_by_time: whether from and until of a find leave out metrics that were not written since `from`.
    monotonic: seconds for measuring.  report: gets what the client is not told.
    """

    def __init__(
        self,
        store: Store,
        events: EventStore | None = None,
        library: Library | None = None,
        *,
        local: Store | None = None,
        limits: Limits = DEFAULT_LIMITS,
        tz: tzinfo = timezone.utc,
        cache_seconds: int = 60,
        consolidate_as_stored: bool = False,
        find_by_time: bool = False,
        monotonic: Clock = time.monotonic,
        report: Report = _unreported,
    ) -> None:
        self.limits = limits
        self._monotonic = monotonic
        self._report = report
        library = Library.standard() if library is None else library
        self._renderer = Renderer(
            store,
            library,
            limits,
            monotonic,
            local=local,
            events=_no_events if events is None else events.moments,
            tz=tz,
            cache_seconds=cache_seconds,
            as_stored=consolidate_as_stored,
            numbers=fast_numbers(),
        )
        metrics = Metrics(store, local or store, limits, tz, find_by_time)
        infos = Infos(store, limits)
        functions = Functions(library)
        tags = Tags(store, local or store, limits).answer
        #: Path -> what answers it.
        self._routes: dict[str, Route] = {
            "/": Page(store),
            "/metrics/find": metrics.find,
            "/metrics/expand": metrics.expand,
            "/metrics/index.json": metrics.index_json,
            "/info": infos.info,
            "/_internal/capabilities": infos.capabilities,
            "/functions": functions.all,
            "/tags": tags,
        }
        #: First part of a path -> what answers all that is below it.
        self._below: dict[str, Route] = {"functions": functions.one, "tags": tags}
        if events is not None:
            self._routes["/events"] = self._below["events"] = Events(events, tz).answer

    def answer(self, query: Query, left: Callable[[], bool] = _never, streamed: bool = False) -> Answer:
        """The answer, ready to be sent.  `left`: whether the client is gone, so that the work can end.

        streamed: whether a large answer may have a `rest`; what goes wrong with that is raised where it is taken.
        """
        work = self.begin(query, left, at_once=False, streamed=streamed and query.method != "HEAD")
        return work if isinstance(work, Answer) else work()

    def begin(
        self, query: Query, left: Callable[[], bool] = _never, *, at_once: bool = True, streamed: bool = False
    ) -> Answer | Callable[[], Answer]:
        """The answer if it is little work, else a function that makes it (and never raises either).

        Little work is what is wrong at first sight, and (with `at_once`) a render of few plain metrics with few
        points (`Limits.direct_targets`, `Limits.direct_points`), so this may read files.
        """
        budget = Budget(self.limits, self._monotonic, left)
        if query.path == "/render":
            try:
                little = Little(self.limits, self._monotonic, left) if at_once else None
                return self._render(query, budget, little, streamed)
            except Exception as error:
                return self._packed(query, self._excuse(error))
        route = self._routes.get(query.path) or self._below.get(query.path.split("/")[1])
        if route is None:
            return self._packed(query, nothing_at(query.path))
        found = route
        return lambda: self._guarded(query, lambda: found(query, budget))

    def _render(
        self, query: Query, budget: Budget, little: Little | None, streamed: bool
    ) -> Answer | Callable[[], Answer]:
        renderer = self._renderer
        plan = renderer.plan(query)
        if little is not None and renderer.is_plain(plan):
            try:
                return self._packed(query, renderer.write(plan, renderer.fetch(plan, little), little))
            except TooMuch:
                pass
        return lambda: self._guarded(
            query, lambda: renderer.write(plan, renderer.fetch(plan, budget), budget, streamed)
        )

    def _guarded(self, query: Query, work: Callable[[], Answer]) -> Answer:
        try:
            return self._packed(query, work())
        except Exception as error:
            return self._packed(query, self._excuse(error))

    def _packed(self, query: Query, answer: Answer) -> Answer:
        return pack(answer, query.headers.get("accept-encoding", ""))

    def _excuse(self, error: BaseException) -> Answer:
        """The answer to a query that failed."""
        if isinstance(error, QueryError):
            return sentence(str(error), 400)
        if isinstance(error, ClientLeft):
            return sentence("nobody is listening", 499)
        if isinstance(error, MemoryError):
            return sentence("the answer needs more memory than there is; ask for less time or fewer series", 400)
        if isinstance(error, CarbonError):
            self._report("a query could not be answered", error)
            return sentence("the server cannot answer this now; its log says why", 503)
        self._report("a query failed", error)
        return sentence("the server failed to answer this; its log says why", 500)


def nothing_at(path: str) -> Answer:
    """The answer for a path that means nothing."""
    return sentence(f"there is nothing at {path[:200]!r}; the page at / shows what there is", 404)
