"""The relay daemon: what ``carbonpy relay`` and ``carbonpy aggregator`` run.

Read top to bottom it is the architecture:

    names         every raw name becomes an id once                                    ingest.names
    intake        what senders sent becomes batches, or is counted as dropped          ingest.intake
    plans         per id: under what name it is sent, and to whom                      relaying.plans, relaying.router
    aggregates    the points of some names become fewer points of other names          aggregating
    outboxes      what waits for each destination, in memory and in its spool          relaying.outbox
    destinations  connections that empty the outboxes                                  net.destinations
    receivers     the ports of the cache, with its limits                              net.receivers
    web           ready, health and figures                                            web.site

The law of the ledger: received + aggregates = relayed + aggregated + sum of dropped by reason; and for every
destination the law of its outbox.  A destination that is dead or slow is the business of its outbox alone.  Peers that
want to know are told that their points are safe when every outbox has them delivered or on disk.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from carbonpy import __version__
from carbonpy.daemons import running
from carbonpy.daemons.listening import Listening, receiver_limits, where
from carbonpy.daemons.outboxes import Outboxes, force_to_disk
from carbonpy.daemons.relay_figures import RelayFigures
from carbonpy.daemons.routing import Routing
from carbonpy.daemons.speech import try_out
from carbonpy.errors import CarbonError
from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import FIRST_ID, NameTable
from carbonpy.metric import as_it_came
from carbonpy.net.gathering import Gatherer
from carbonpy.net.receivers import Receivers
from carbonpy.relaying.plan import Plan
from carbonpy.relaying.plans import Plans
from carbonpy.settings import Settings, compare, reloaded

log = Logger("relay")
listener_log = Logger("listener")
#: Seconds between two looks at rules files, at the outboxes, and between forcing the spools to the disk.
_RULES_INTERVAL, _TICK, _SYNC_INTERVAL = 10.0, 0.1, 1.0


class RelayDaemon:
    """All parts of the daemon, wired.  Reactor thread only."""

    def __init__(self, settings: Settings, reactor: Any, reload: Callable[[], Settings] | None = None) -> None:
        """Raises CarbonError when a directory or a rules file cannot be used.  Nothing listens yet."""
        own = settings.own
        self._reactor = reactor
        self.settings = settings
        self._load_again = reload
        self._started = reactor.seconds()
        self.ready = False

        # names and where they go
        host = (own.hostname or socket.gethostname()).replace(".", "_")
        kind = "relays" if settings.program == "relay" else "aggregator"
        self.own_prefix = f"{own.carbon_metric_prefix}.{kind}.{host}-{settings.instance}."
        self.routing = Routing(settings, self.own_prefix)
        self.names = NameTable(self.routing.judge(), own.max_metrics, own.max_name_length, as_it_came)
        self.plans = self._plans(self.routing.plan, self.names)
        #: Aggregates have names and plans of their own: they are never rewritten or aggregated by carbon's rules.
        self.outputs = NameTable(max_names=own.max_metrics, max_name_bytes=own.max_name_length, form=as_it_came)
        self.output_plans = self._plans(self.routing.plan_of_aggregate, self.outputs)

        # the way in
        self.intake = Intake(
            self.names,
            self._accept_columns,
            time.time,
            resolution=own.min_timestamp_resolution,
            max_future=own.max_future,
            complain=running.complain,
        )
        self.intake.accept_lines = self._accept
        gatherer = Gatherer(reactor, self.intake, interval=own.gather_interval, size=own.gather_size)
        self.receivers = Receivers(self.intake, gatherer, receiver_limits(own))
        self.receivers.when_safe = self._when_safe
        self.listening = Listening(reactor, own, self.receivers)

        # the way out
        self.outboxes = Outboxes(reactor, settings, on_room=self._room)
        self.outboxes.use(self.routing.router)
        #: Peers that wait for the points they sent until a time to be safe: (time, whom to tell).
        self._unsafe: list[tuple[float, Callable[[], None]]] = []

        self.figures = RelayFigures(self)
        self._ports: list[Any] = []
        self._loops = running.Loops(reactor)

    def _plans(self, plan_of: Callable[[bytes], Plan], names: NameTable) -> Plans:
        plans = Plans(
            plan_of, names.metrics, time.time, buffer=self.routing.buffer, feed=self.routing.feed, on_invalid=_invalid
        )
        names.on_new.append(plans.met)
        return plans

    def uptime(self) -> float:
        """Seconds since the daemon was made."""
        return float(self._reactor.seconds() - self._started)

    # ---- the data path

    def _accept_columns(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        self._accept(ids, timestamps, values, None)

    def _accept(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray, text: bytes | None) -> None:
        """A batch of accepted points, and its lines if they may go on as they came in."""
        for way in self.plans.deal(ids, timestamps, values, text):
            self.outboxes.put(way)
        self.outboxes.pump()
        if not self.receivers.paused and self.outboxes.full:
            log.warn("a queue with QUEUE_POLICY = block is full; senders are paused")
            self.receivers.pause()

    def _room(self) -> None:
        if self.receivers.paused and self.outboxes.have_room:
            log.info("the queues have room again; senders are read")
            self.receivers.resume()

    def _when_safe(self, done: Callable[[], None], failed: Callable[[], None]) -> None:
        self._unsafe.append((time.time(), done))

    def _tell_who_is_safe(self) -> None:
        if self._unsafe:
            until = self.outboxes.secured_until(time.time())
            while self._unsafe and self._unsafe[0][0] < until:
                self._unsafe.pop(0)[1]()

    # ---- starting

    def start(self) -> None:
        """Listen and connect.  Raises CarbonError or CannotListenError."""
        own = self.settings.own
        self.listening.open()
        if own.http_port:
            site = self.figures.site(self._reactor)
            self._ports.append(self._reactor.listenTCP(own.http_port, site, backlog=64, interface=own.http_interface))
        for port in self._ports:
            listener_log.info("listening on {where}", where=where(port))
        self.outboxes.start()
        for warning in self.routing.warnings:
            log.warn("{warning}", warning=warning)
        self._loops.every(_TICK, self._tick)
        self._loops.every(_SYNC_INTERVAL, self._sync_spools)
        self._loops.every(_RULES_INTERVAL, self.reload_rules)
        if own.carbon_metric_interval:
            self._loops.every(own.carbon_metric_interval, self._record_own_metrics)
        gc.collect()
        gc.freeze()
        self.ready = True
        log.info(
            "carbonpy {program} {version}, instance {instance}, is ready",
            program=self.settings.program,
            version=__version__,
            instance=self.settings.instance,
        )

    def _sync_spools(self) -> Any:
        spools = self.outboxes.unsynced()
        return deferToThread(force_to_disk, spools) if spools else None

    def _tick(self) -> None:
        self._emit_aggregates()
        self.outboxes.tick(time.time())
        self._tell_who_is_safe()

    def _emit_aggregates(self) -> None:
        """Aggregates that are due go the way that their names have."""
        due = self.routing.due(time.time())
        if not due.names:
            return
        ids = np.array([self.outputs.intern(name) for name in due.names], np.uint32)
        known = ids >= FIRST_ID
        self.figures.refused_aggregates.add(int((~known).sum()))
        if known.any():
            for way in self.output_plans.deal(ids[known], due.timestamps[known], due.values[known], None):
                self.outboxes.put(way)
            self.outboxes.pump()

    def _record_own_metrics(self) -> None:
        now = time.time()
        points = self.figures.own_metrics(now)
        names = [name.encode() for name, _ in points]
        self.intake.points(names, np.full(len(points), int(now)), np.array([value for _, value in points]))

    # ---- reloading

    def reload_rules(self) -> None:
        """Look at the rules files and take what has changed."""
        if self.routing.poll():
            self._routes_changed()
        if self.routing.poll_lists():
            changed = self.names.judge_again(self.routing.judge())
            log.info("the lists of names have changed; {changed} known names are judged otherwise", changed=changed)

    def _routes_changed(self) -> None:
        self.outboxes.use(self.routing.router)
        moved = known = 0
        for plans, plan_of, names in (
            (self.plans, self.routing.plan, self.names),
            (self.output_plans, self.routing.plan_of_aggregate, self.outputs),
        ):
            metrics = names.metrics(range(FIRST_ID, names.next_id))
            moved += plans.use(plan_of, list(enumerate(metrics, FIRST_ID)))
            known += len(metrics)
        log.info(
            "rules or destinations have changed; {moved} of {known} known names go another way",
            moved=moved,
            known=known,
        )
        for warning in self.routing.warnings:
            log.warn("{warning}", warning=warning)

    def reload(self) -> None:
        """SIGHUP: read the configuration and the rules files again; what needs a restart is said."""
        if self._load_again is not None:
            try:
                new = self._load_again()
                changes = compare(self.settings, new)
                settings = reloaded(self.settings, new)
                try_out(settings.own)
                routing_changes = self.routing.reconfigure(settings)
            except CarbonError as error:
                log.error("{sentence}; the settings read before stay in force", sentence=str(error))
            else:
                for change in changes.restart:
                    log.warn("{change}: takes effect after a restart", change=str(change))
                for change in changes.reload:
                    log.info("{change}", change=str(change))
                self._apply(settings, routing_changes)
        self.listening.renew()
        self.reload_rules()

    def _apply(self, settings: Settings, routes_changed: bool) -> None:
        self.settings = settings
        own = settings.own
        self.intake.resolution = own.min_timestamp_resolution
        self.intake.max_future = own.max_future
        self.names.max_names = own.max_metrics
        self.receivers.limits = receiver_limits(own)
        self.outboxes.reconfigure(settings)
        if routes_changed:
            self._routes_changed()
        self._room()

    # ---- stopping

    def stop(self) -> Deferred[Any]:
        """Stop listening, send for SHUTDOWN_TIMEOUT seconds, put the rest into the spool, end."""
        self.ready = False
        log.info("stopping; {points} points wait for destinations", points=self.outboxes.waiting)
        self._loops.stop()
        ends = [self.listening.close(), *(maybeDeferred(port.stopListening) for port in self._ports)]
        self.receivers.stop()
        self._emit_aggregates()
        self.routing.close()
        done = DeferredList([*ends, self.outboxes.stop(self.settings.own.shutdown_timeout)], consumeErrors=True)
        done.addBoth(lambda _: self._close())
        return done

    def _close(self) -> None:
        left = self.outboxes.close()
        log.info("stopped; {points} points are left to the spool", points=left)


def _invalid(name: bytes, text: bytes) -> None:
    shown = name.decode(errors="backslashreplace")
    log.warn("{name} {text}: refused by a validate rule", name=shown, text=text.decode())


def make_service(settings: Settings, reactor: Any, reload: Callable[[], Settings] | None = None) -> RelayDaemon:
    """The daemon for these settings, wired and not started."""
    return RelayDaemon(settings, reactor, reload)


def run(settings: Settings, config_path: str | None, overrides: dict[str, Any]) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; the exit code.

    Raises CarbonError when it cannot start.
    """
    return running.run(
        lambda reactor, again: make_service(settings, reactor, again), settings, config_path, overrides
    )
