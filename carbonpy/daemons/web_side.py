"""The HTTP side of a daemon: the port, who answers behind it, and the end of both.

The law: with `processes` > 0 queries are answered in processes of their own and only little ones in this
one; with 0, in threads of this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from carbonpy.daemons.querying import Sources, make_service
from carbonpy.daemons.web_dispatch import Parent, WorkerDispatch, make_workers
from carbonpy.net.web_workers import WebWorkers
from carbonpy.settings import Settings
from carbonpy.web.dispatch import Dispatch, PoolDispatch
from carbonpy.web.site import make_site, report
from carbonpy.writing.parcel import pack


class WebSide:
    """Answers HTTP for one daemon.  Reactor thread only.

    store: what this process itself can answer from.  sources: for processes that start.  parent: what they may
    ask this one for.  here: whether little queries are answered in the reactor's thread, which `store` must not
    hold up then.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        store: Any,
        sources: Callable[[], Sources],
        parent: Parent | None,
        *,
        health: Callable[[], Mapping[str, Any]],
        metrics_text: Callable[[], str],
        ready: Callable[[], bool],
        here: bool = True,
    ) -> None:
        self._reactor = reactor
        self._web = settings.web
        self._sources = sources
        first = sources()
        service = make_service(first, store, report)
        limits = first.limits()
        self.workers: WebWorkers | None = None
        dispatch: Dispatch
        if self._web.web_processes:
            self.workers = make_workers(reactor, self._web.web_processes, sources, parent, limits.waiting)
            dispatch = WorkerDispatch(service if here else None, self.workers, limits.direct_targets)
        else:
            dispatch = PoolDispatch(service, reactor, reactor.getThreadPool())
        self.site = make_site(dispatch, health, metrics_text, time.time, reactor=reactor, ready=ready, limits=limits)
        self._port: Any = None

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that answer queries."""
        return [] if self.workers is None else self.workers.pids

    def health(self) -> dict[str, Any]:
        """For the document of ``GET /health``."""
        workers = self.workers
        return {
            "processes": self._web.web_processes,
            "pids": self.pids,
            "waiting": 0 if workers is None else workers.waiting,
            "killed": 0 if workers is None else workers.killed.value,
            "died": 0 if workers is None else workers.died.value,
            "answered": self.site.answered.as_dict(),
        }

    def listen(self) -> Any:
        """Open the port and return it.  Raises CannotListenError."""
        web = self._web
        self._port = self._reactor.listenTCP(web.http_port, self.site, backlog=1024, interface=web.http_interface)
        return self._port

    def rules_changed(self) -> None:
        """Tell the processes of other rules for new files."""
        if self.workers is not None:
            now = self._sources()
            self.workers.tell(pack("rules", {"schemas": now.schemas, "aggregations": now.aggregations}))

    def stop(self) -> Deferred[Any]:
        """End the processes."""
        return maybeDeferred(lambda: None if self.workers is None else self.workers.stop())
