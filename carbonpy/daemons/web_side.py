"""The HTTP side of a daemon: the port, who answers behind it, and the end of both.

The law: with `processes` > 0 queries are answered in processes of their own and only little ones in this
one; with 0, in threads of this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from carbonpy.daemons.sources import Sources
from carbonpy.daemons.web_dispatch import Parent, WorkerDispatch, make_workers
from carbonpy.net.tls import ServerTls
from carbonpy.net.web_workers import WebWorkers
from carbonpy.settings import Settings
from carbonpy.web.access import Users
from carbonpy.web.admin import Admin, Removing
from carbonpy.web.answer import Answer, Query
from carbonpy.web.dispatch import Beginner, Dispatch, PoolDispatch
from carbonpy.web.limits import Limits
from carbonpy.web.site import make_site, report
from carbonpy.writing.parcel import pack


class _LateService:
    """The service that answers queries in this process, made for the first query.

    Grammar, functions and formats are a quarter of what this program imports and take 3 MB: a daemon that nobody
    asks, or only for its health, does without.
    """

    def __init__(self, sources: Sources, store: Any, limits: Limits, here: bool) -> None:
        self.limits = limits
        self._made: Beginner | None = None
        self._given = sources, store, here

    def begin(self, query: Query, left: Callable[[], bool]) -> Answer | Callable[[], Answer]:
        """See `Beginner`."""
        if self._made is None:
            from carbonpy.daemons.querying import make_service

            sources, store, here = self._given
            self._made = make_service(sources, store, report, here=here)
        return self._made.begin(query, left)


class WebSide:
    """Answers HTTP for one daemon.  Reactor thread only.

    store: what this process itself can answer from.  sources: for processes that start.  parent: what they may
    ask this one for.  here: whether little queries are answered in the reactor's thread, which `store` must not
    hold up then.  removing: what deletes and renames metrics, if anything can.
    Raises ConfigError for files that cannot be used.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        store: Any,
        sources: Callable[[], Sources],
        parent: Parent,
        *,
        health: Callable[[], Mapping[str, Any]],
        metrics_text: Callable[[], str],
        ready: Callable[[], bool],
        here: bool = True,
        removing: Removing | None = None,
    ) -> None:
        self._reactor = reactor
        self._web = settings.web
        self._sources = sources
        first = sources()
        limits = first.limits()
        service = _LateService(first, store, limits, here)
        self.workers: WebWorkers | None = None
        dispatch: Dispatch
        if self._web.web_processes:
            self.workers = make_workers(reactor, self._web.web_processes, sources, parent, limits.waiting)
            dispatch = WorkerDispatch(service if here else None, self.workers, parent, limits.direct_targets)
        else:
            dispatch = PoolDispatch(service, reactor, reactor.getThreadPool())
        web = settings.web
        users = Users.load(web.http_auth_file) if web.http_auth_file else None
        admin = None
        if removing is not None:
            admin = Admin(removing, guarded=users is not None, interface=web.http_interface)
        self.site = make_site(
            dispatch,
            health,
            metrics_text,
            time.time,
            reactor=reactor,
            pool=reactor.getThreadPool(),
            ready=ready,
            limits=limits,
            cors_origins=web.http_cors_origins,
            users=users,
            cache_bytes=web.render_cache_size,
            log_requests=web.log_requests,
            admin=admin,
        )
        self._tls = None
        if web.http_tls_certificate:
            self._tls = ServerTls(web.http_tls_certificate, web.http_tls_key)

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
            "busy": 0 if workers is None else workers.busy,
            "waiting": 0 if workers is None else workers.waiting,
            "killed": 0 if workers is None else workers.killed.value,
            "died": 0 if workers is None else workers.died.value,
            "answered": self.site.answered.as_dict(),
        }

    def listen(self) -> Any:
        """Open the port and return it.  Raises CannotListenError."""
        web = self._web
        where = {"backlog": 1024, "interface": web.http_interface}
        if self._tls is not None:
            return self._reactor.listenSSL(web.http_port, self.site, self._tls, **where)
        return self._reactor.listenTCP(web.http_port, self.site, **where)

    def renew(self) -> None:
        """Read the certificate again, for connections to come."""
        if self._tls is not None:
            self._tls.renew()

    def rules_changed(self) -> None:
        """Tell the processes of other rules for new files."""
        if self.workers is not None:
            now = self._sources()
            self.workers.tell(pack("rules", {"schemas": now.schemas, "aggregations": now.aggregations}))

    def stop(self) -> Deferred[Any]:
        """End the processes."""
        return maybeDeferred(lambda: None if self.workers is None else self.workers.stop())
