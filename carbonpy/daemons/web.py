"""The web daemon: what ``carbonpy web`` runs.

    names       the tree of whisper files, and the names that other servers tell      catalog.tree, net.remote_store
    values      the files, what caches have not written yet, other servers             reading, net.hot_points
    web         render, find, tags, events, in processes of their own                  web, net.web_workers

The law: it answers and writes nothing but events.  All that may wait (for files, caches, other servers) is done
in the processes that answer queries, never in the reactor's thread.
"""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from carbonpy import __version__
from carbonpy.catalog.tree import TreeNames
from carbonpy.daemons import running
from carbonpy.daemons.ledger import prometheus
from carbonpy.daemons.own_metrics import cpu_seconds, memory_bytes
from carbonpy.daemons.querying import FilesAndCaches, NoCache, Rulebook, other_caches
from carbonpy.daemons.rules import Rules
from carbonpy.daemons.sources import Sources
from carbonpy.daemons.web_side import WebSide
from carbonpy.errors import ConfigError
from carbonpy.net.remote_http import Server
from carbonpy.settings import Settings

log = Logger("console")
listener_log = Logger("listener")


class _Names(NoCache):
    """What the processes of this daemon may ask it for: to look at the tree.  Safe from any thread."""

    def __init__(self, names: TreeNames) -> None:
        self._names = names

    @property
    def pending(self) -> int:
        """1 when it is time to look for new files."""
        return int(self._names.is_due)

    def flush(self) -> None:
        """Look, unless that was done a moment ago."""
        self._names.refresh()


class WebDaemon:
    """All parts of the daemon, wired.  Reactor thread only."""

    def __init__(self, settings: Settings, reactor: Any) -> None:
        """Raises CarbonError when something cannot be used.  Nothing listens yet."""
        if not settings.web.http_port:
            raise ConfigError("HTTP_PORT is 0, so there is nothing to do; give carbonpy web a port")
        self._reactor = reactor
        self._settings = settings
        self._started = reactor.seconds()
        self.ready = False
        self._names = TreeNames(settings.cache.local_data_dir)
        schemas, aggregations = Rules(settings).texts()
        sources = Sources.of(settings, self._names.path, schemas, aggregations)
        alone = not settings.web.web_processes
        store = FilesAndCaches(
            self._names,
            other_caches(sources) if alone else NoCache(),
            sources.data_dir,
            Rulebook(schemas, aggregations),
            sources.hash_filenames,
        )
        self.web = WebSide(
            reactor,
            settings,
            store,
            lambda: sources,
            _Names(self._names),
            health=self.health,
            metrics_text=self.metrics_text,
            ready=lambda: self.ready,
            # files alone never hold up the reactor's thread; caches and servers may
            here=alone or not (sources.carbonlink_hosts or sources.cluster_servers),
        )
        self._port: Any = None

    def start(self) -> None:
        """Listen.  Raises CannotListenError."""
        self._port = self.web.listen()
        where = self._port.getHost()
        listener_log.info("listening on {type} {host}:{port}", type=where.type, host=where.host, port=where.port)
        # The first look at a large tree takes a while; whoever asks meanwhile waits for it.
        deferToThread(self._names.refresh).addErrback(lambda failure: log.failure("the tree cannot be read", failure))
        # What lives as long as the daemon need not be looked at by the collector.
        gc.collect()
        gc.freeze()
        self.ready = True
        log.info(
            "carbonpy web {version}, instance {instance}, is ready",
            version=__version__,
            instance=self._settings.instance,
        )

    def reload(self) -> None:
        """SIGHUP: everything but the certificate needs a restart; who sends it to all does not mean to end us."""
        self.web.renew()

    def stop(self) -> Deferred[Any]:
        """Stop listening, end the processes."""
        self.ready = False
        ends = [self.web.stop()]
        if self._port is not None:
            ends.append(maybeDeferred(self._port.stopListening))
        return DeferredList(ends, consumeErrors=True).addCallback(lambda _: self._close())

    def _close(self) -> None:
        self._names.close()
        log.info("stopped")

    def health(self) -> dict[str, Any]:
        """The document of ``GET /health``."""
        web = self._settings.web
        return {
            "status": "ok" if self.ready else "starting",
            "version": __version__,
            "instance": self._settings.instance,
            "uptime": round(self._reactor.seconds() - self._started, 3),
            "sources": {
                "files": self._settings.cache.local_data_dir,
                "caches": list(web.carbonlink_hosts),
                "servers": [str(Server.parse(url)) for url in web.cluster_servers],
            },
            "web": self.web.health(),
        }

    def metrics_text(self) -> str:
        """The Prometheus text of ``GET /metrics``."""
        pids, web = self.web.pids, self.web.health()
        return prometheus(
            [
                ("web_answers_total", "counter", "Answers, by HTTP status.", web["answered"]),
                ("web_queries_waiting", "gauge", "Queries that wait for a process.", web["waiting"]),
                ("web_processes_killed_total", "counter", "Processes killed for their query.", web["killed"]),
                ("web_processes_died_total", "counter", "Processes that died at work.", web["died"]),
                ("cpu_seconds_total", "counter", "CPU of all processes.", round(cpu_seconds(pids), 3)),
                ("resident_bytes", "gauge", "Memory of all processes.", memory_bytes(pids)),
            ]
        )


def run(settings: Settings, config_path: str | None, overrides: dict[str, Any]) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; the exit code.

    Raises CarbonError when it cannot start.
    """
    return running.run(lambda reactor, again: WebDaemon(settings, reactor), settings, config_path, overrides)
