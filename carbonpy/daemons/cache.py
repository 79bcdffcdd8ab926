"""The cache daemon: what ``carbonpy cache`` runs.

Read top to bottom it is the architecture:

    names       every raw name becomes an id once; lists and rules are asked then       ingest.names
    intake      what senders sent becomes batches, or is counted as dropped             ingest.intake
    journal     every batch is on disk before it counts as cached                       cache.journal
    cache       batches become sorted runs; runs are lent to the writers                cache.cache
    writers     sweeps onto whisper files, in processes or a thread                     net.writers, writing
    catalogue   which metrics there are, for find                                       catalog
    store       cache first, then file: the answer to every query                      reading
    receivers   lines and pickles over TCP, lines over UDP                              net.receivers
    query port  CarbonLink for graphite-web                                             net.carbonlink
    web         render, find, health                                                    web

The law of the ledger (`daemons.ledger`) holds at every moment.  A start replays the journal before it
listens, so that newer points come after older ones; a stop takes in what was received, writes what
it can in SHUTDOWN_TIMEOUT seconds and leaves the rest to the journal.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from carbonpy import __version__
from carbonpy.cache.cache import Cache
from carbonpy.cache.journal import Journal
from carbonpy.catalog.adoption import Progress, adopt
from carbonpy.catalog.live import LiveCatalog
from carbonpy.catalog.store import Catalog, CatalogError
from carbonpy.clock import TokenBucket
from carbonpy.counters import CounterGroup
from carbonpy.daemons.ledger import Ledger, prometheus
from carbonpy.daemons.own_metrics import OwnMetrics, cpu_seconds, memory_bytes, prefix_of
from carbonpy.errors import CarbonError, ConfigError, MetricError
from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import FIRST_ID, VERDICTS, NameTable, judge_by_lists, let_all_pass
from carbonpy.metric import canonical, encoded, is_tagged, relative_path
from carbonpy.net.carbonlink import CarbonLinkFactory
from carbonpy.net.gathering import Gatherer
from carbonpy.net.receivers import LineReceiver, PickleReceiver, ReceiverFactory, ReceiverLimits, Receivers, UdpReceiver
from carbonpy.net.writers import ProcessWriter, RuleTexts, ThreadWriter, Writer, Writers
from carbonpy.reading.local import LocalStore
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.reload import RulesFile
from carbonpy.rules.schemas import SchemaBook
from carbonpy.settings import Settings, compare, load
from carbonpy.web.limits import Limits
from carbonpy.web.site import make_site
from carbonpy.whisper import file as whisper_file
from carbonpy.whisper.errors import WhisperException
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.sweep import WriteSettings

log = Logger("console")
listener_log = Logger("listener")
#: Seconds between two looks at the rules files.
_RULES_INTERVAL = 10.0
#: How full a cache is when reading from senders goes on after a pause (carbon's low watermark).
_LOW_WATERMARK = 0.95
#: Of the time that adoption of an existing tree works, it pauses this many times as long.
_ADOPTION_PAUSE = 3.0
_NO_POINTS = (np.empty(0, np.uint32), np.empty(0, np.float64))


class CacheDaemon:
    """All parts of the daemon, wired.  Reactor thread only."""

    def __init__(self, settings: Settings, reactor: Any, reload: Callable[[], Settings] | None = None) -> None:
        """Raises CarbonError when a directory or a rules file cannot be used.  Nothing listens yet."""
        cache = settings.cache
        self._reactor = reactor
        self._settings = settings
        self._load_again = reload
        self._started = reactor.seconds()
        self.ready = False
        self._stopping = False
        os.makedirs(cache.local_data_dir, exist_ok=True)
        self._lock_fd = _lock(cache.journal_dir) if cache.journal else None

        # rules and names
        self._rules = _Rules(settings)
        self.names = NameTable(self._rules.judge(), cache.max_metrics, cache.max_name_length)
        self._encoded: dict[str, int] = {}
        self.catalog = LiveCatalog(Catalog(cache.catalog_file))
        self.names.on_new.append(self._met)

        # intake, cache, journal
        self.intake = Intake(
            self.names,
            self._accept,
            time.time,
            resolution=cache.min_timestamp_resolution,
            max_future=cache.max_future,
            complain=_complain,
            full=lambda: self.cache.cached >= self._settings.cache.max_cache_size,
            flow_control=cache.use_flow_control,
        )
        self.journal: Journal | None = None
        if cache.journal:
            self.journal = Journal(
                cache.journal_dir,
                syncs=cache.journal_fsync != "never",
                on_trouble=lambda sentence: log.error("{sentence}", sentence=sentence),
            )
        shares = max(1, cache.writer_processes)
        self.cache = Cache(shares=shares, journal=self.journal, new_names=self._new_names, on_replaced=self._replaced)
        self.ledger = Ledger(self.intake, self.cache)

        # writers
        write = WriteSettings(
            cache.local_data_dir.rstrip("/") or "/",
            hash_filenames=cache.tag_hash_filenames,
            sparse=cache.whisper_sparse_create,
            fallocate=cache.whisper_fallocate_create,
            autoflush=cache.whisper_autoflush,
            lock=cache.whisper_lock_writes,
            strategy=cache.cache_write_strategy,
            updates_per_second=cache.max_updates_per_second / shares,
        )
        writers: list[Writer] = []
        for number in range(cache.writer_processes):
            writers.append(ProcessWriter(reactor, number, self.names, write, self._rules.texts(), self._lock_fd))
        if not writers:
            writers.append(ThreadWriter(reactor, self.names, write, self._rules.book))
        self.writers = Writers(
            reactor,
            self.cache,
            writers,
            interval=cache.sweep_interval,
            creates=_per_minute(cache.max_creates_per_minute),
            pressed=self._pressed,
            on_room=self._room,
            log_sweeps=cache.log_cache_queue_sorts or cache.log_updates,
        )
        self.ledger.writers = self.writers

        # receivers and queries
        gatherer = Gatherer(reactor, self.intake, interval=cache.gather_interval, size=cache.gather_size)
        self.receivers = Receivers(self.intake, gatherer, _receiver_limits(settings))
        self.query_counters = CounterGroup()
        self.store = LocalStore(
            self.catalog,
            self.peek,
            cache.local_data_dir,
            known=lambda metric: self.names.id_of(metric) is not None,
            schema_for=lambda metric: self._rules.book.rule(metric),
            hash_only=cache.tag_hash_filenames,
        )
        self.adoption = Progress()
        self._own = OwnMetrics(
            prefix_of(cache.carbon_metric_prefix, cache.hostname or socket.gethostname(), settings.instance)
        )
        self._ports: list[Any] = []
        self._loops: list[LoopingCall] = []

    # ---- the data path

    def _met(self, identity: int, metric: str) -> None:
        """A metric is seen for the first time: the catalogue hears of it."""
        self.catalog.note(metric)
        if is_tagged(metric):
            self._encoded[encoded(metric)] = identity

    def _new_names(self, first: int) -> tuple[int, list[bytes]]:
        """For the journal: the names of all ids from `first` on."""
        first = max(first, FIRST_ID)
        return first, self.names.metrics(range(first, self.names.next_id))

    def _accept(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """A batch of accepted points."""
        self.cache.append(ids, timestamps, values)
        if self.journal is not None and self._settings.cache.journal_fsync == "batch":
            self.journal.sync()
        cache = self._settings.cache
        if cache.use_flow_control and self.cache.cached >= cache.max_cache_size and not self.receivers.paused:
            log.warn(
                "the cache is full ({points} points, of which {waiting} wait for files); senders are paused",
                points=self.cache.cached,
                waiting=self.cache.waiting(),
            )
            self.receivers.pause()
            self.writers.look()

    def _replaced(self, points: int) -> None:
        self.ledger.dropped.add("replaced", points)

    def _pressed(self) -> bool:
        return self.cache.cached > min(self._settings.cache.max_cache_size, 10_000_000) / 2

    def _room(self) -> None:
        if self.receivers.paused and self.cache.cached < _LOW_WATERMARK * self._settings.cache.max_cache_size:
            log.info("the cache has room again; senders are read")
            self.receivers.resume()

    def peek(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """(timestamps, values) of what is cached of a metric, by name or encoded path.  Safe from any thread."""
        identity = self._encoded.get(metric)
        if identity is None:
            identity = self.names.id_of(metric)
        return _NO_POINTS if identity is None else self.cache.peek(identity)

    # ---- starting

    def start(self) -> None:
        """Replay, listen, sweep.  Raises CarbonError or CannotListenError."""
        cache, web = self._settings.cache, self._settings.web
        self._replay()
        self.writers.start()
        listen = self._reactor.listenTCP
        lines, pickles = (ReceiverFactory(self.receivers, kind) for kind in (LineReceiver, PickleReceiver))
        for factory, interface, port in (
            (lines, cache.line_receiver_interface, cache.line_receiver_port),
            (pickles, cache.pickle_receiver_interface, cache.pickle_receiver_port),
        ):
            if port:
                listening = listen(port, factory, backlog=1024, interface=interface)
                self.receivers.add_port(listening)
                self._ports.append(listening)
        if cache.enable_udp_listener and cache.udp_receiver_port:
            self._ports.append(
                self._reactor.listenUDP(
                    cache.udp_receiver_port,
                    UdpReceiver(self.receivers, cache.udp_receiver_buffer),
                    interface=cache.udp_receiver_interface,
                    maxPacketSize=cache.udp_receiver_max_length,
                )
            )
        if cache.cache_query_port:
            factory = CarbonLinkFactory(
                self._reactor,
                self._query,
                self._get_metadata,
                self._set_metadata,
                self.query_counters,
                log_hits=cache.log_cache_hits,
            )
            self._ports.append(listen(cache.cache_query_port, factory, interface=cache.cache_query_interface))
        if web.http_port:
            site = make_site(
                self.store,
                self.health,
                self.metrics_text,
                time.time,
                reactor=self._reactor,
                pool=self._reactor.getThreadPool(),
                ready=lambda: self.ready,
                limits=Limits(series=web.http_max_series, points=web.http_max_points, body_bytes=web.http_max_body),
                tz=ZoneInfo(web.time_zone),
            )
            self._ports.append(listen(web.http_port, site, backlog=1024, interface=web.http_interface))
        for port in self._ports:
            where = port.getHost()
            listener_log.info("listening on {where}", where=where)
        self._every(_RULES_INTERVAL, self.reload_rules)
        self._every(0.5, self._feed_catalog)
        if self.journal is not None and cache.journal_fsync == "interval":
            self._every(cache.journal_fsync_interval, self._sync_journal)
        if cache.carbon_metric_interval:
            self._every(cache.carbon_metric_interval, self._record_own_metrics)
        self._reactor.callLater(0, self._adopt_if_new)
        self.ready = True
        log.info(
            "carbonpy {version}, instance {instance}, is ready", version=__version__, instance=self._settings.instance
        )

    def _every(self, seconds: float, work: Callable[[], Any]) -> None:
        """Call `work` now and then; its errors are logged and it is called again."""

        def careful() -> Any:
            return maybeDeferred(work).addErrback(lambda failure: log.failure("{what}", failure, what=work.__name__))

        loop = LoopingCall(careful)
        loop.clock = self._reactor
        self._loops.append(loop)
        loop.start(seconds, now=False)

    def _replay(self) -> None:
        """Take what an earlier life left in the journal."""
        if self.journal is None:
            return
        segments = self.journal.leftovers()
        announced = sum(segment.points for segment in segments)
        if not segments:
            self.journal.forget_leftover_names()
            return
        log.info("replaying {points} points of {segments} journal segments", points=announced, segments=len(segments))
        self.ledger.recovered.add(announced)
        self.ledger.backlog = announced
        for segment in segments:
            counts = self.cache.replay(self.journal, segment, self.names.intern, FIRST_ID)
            self.ledger.backlog -= segment.points
            for verdict, points in counts.items():
                if verdict != FIRST_ID:
                    self.ledger.dropped.add(VERDICTS[verdict], points)
            self.ledger.dropped.add("journal_damaged", segment.points - sum(counts.values()))
        self.journal.forget_leftover_names()
        log.info("replayed; {points} points are in the cache", points=self.cache.cached)

    # ---- what is done now and then

    def _sync_journal(self) -> Deferred[None]:
        assert self.journal is not None
        return deferToThread(self.journal.sync)

    def _feed_catalog(self) -> Any:
        if self.catalog.pending:
            return deferToThread(self.catalog.flush).addErrback(self._catalog_failed)
        return None

    def _catalog_failed(self, failure: Any) -> None:
        failure.trap(CatalogError)
        log.error("{sentence}; new metrics are not found until it is mended", sentence=failure.getErrorMessage())

    def _adopt_if_new(self) -> None:
        deferToThread(self._adopt).addErrback(lambda failure: log.failure("adopting the whisper tree", failure))

    def _adopt(self) -> None:
        """In a thread: bring an existing whisper tree into an empty catalogue, without keeping the disk busy."""
        if self.catalog.catalog.fact("adopted_at") is not None:
            self.adoption.done = True
            return
        said = then = time.monotonic()
        for progress in adopt(self._settings.cache.local_data_dir, self.catalog.catalog, self.adoption):
            now = time.monotonic()
            if self._stopping:
                return
            if not progress.done:
                if now - said > 5:
                    said = now
                    log.info(
                        "adopting: {files} files seen, {added} metrics added",
                        files=progress.files,
                        added=progress.added,
                    )
                time.sleep(min(1.0, (now - then) * _ADOPTION_PAUSE))
            then = time.monotonic()
        if self.adoption.files:
            log.info("adopted {files} whisper files into the catalogue", files=self.adoption.files)

    def _record_own_metrics(self) -> None:
        writers, queries = self.writers, self.query_counters
        pids = writers.pids
        dropped = self.intake.dropped
        counters = {
            "cache.overflow": dropped["cache_full"],
            "cache.queries": queries["cacheQueries"],
            "cache.bulk_queries": queries["cacheBulkQueries"],
            "updateOperations": writers.updates.value,
            "committedPoints": writers.written.value,
            "creates": writers.created.value,
            "droppedCreates": 0,
            "errors": writers.errors.value,
            "metricsReceived": self.intake.accepted.value,
            "blacklistMatches": dropped["blacklisted"],
            "whitelistRejects": dropped["not_whitelisted"],
            "dropped": sum(self.ledger.as_dict()["dropped"].values()),
            "sweeps": writers.sweeps.value,
            "_cpu": cpu_seconds(pids),
            "_update_seconds": writers.busy_seconds,
            "_written": writers.written.value,
            "_bulk_size": queries["cacheBulkQuerySize"],
        }
        gauges = {
            "cache.size": self.cache.cached,
            "cache.queues": self.cache.metrics(),
            "cache.waitingForCreates": writers.waiting_for_creates,
            "activeConnections": len(self.receivers),
            "memUsage": memory_bytes(pids),
            "journal.segments": self.journal.segments if self.journal is not None else 0,
        }
        now = time.time()
        points = self._own.points(now, counters, gauges)
        names = [name.encode() for name, _ in points]
        self.intake.points(names, np.full(len(points), int(now)), np.array([value for _, value in points]))

    # ---- queries

    def _query(self, metric: str) -> Sequence[tuple[float, float]]:
        timestamps, values = self.peek(metric)
        return list(zip(timestamps.tolist(), values.tolist()))

    def _path(self, metric: str) -> str:
        try:
            name = canonical(metric)
        except MetricError as error:
            raise CarbonError(str(error)) from None
        cache = self._settings.cache
        return os.path.join(cache.local_data_dir, relative_path(name, cache.tag_hash_filenames))

    def _get_metadata(self, metric: str, key: str) -> Any:
        if key != "aggregationMethod":
            raise CarbonError(f"Unsupported metadata key {key!r}; the only one is aggregationMethod")
        path = self._path(metric)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return whisper_file.read_header(fd, path).method_name
            finally:
                os.close(fd)
        except (OSError, WhisperException) as error:
            raise CarbonError(f"{metric}: its file cannot be read: {error}") from None

    def _set_metadata(self, metric: str, key: str, value: Any) -> Any:
        old = self._get_metadata(metric, key)
        try:
            whisper_file.set_method(self._path(metric), value)
        except (OSError, WhisperException) as error:
            raise CarbonError(f"{metric}: its file cannot be changed: {error}") from None
        identity = self.names.id_of(canonical(metric))
        if identity is not None:
            self.writers.forget(identity)
        return old

    def health(self) -> dict[str, Any]:
        """The document of ``GET /health``."""
        ledger = self.ledger.as_dict()
        return {
            "status": "ok" if self.ready and ledger["balanced"] else "starting" if not self.ready else "unbalanced",
            "version": __version__,
            "instance": self._settings.instance,
            "uptime": round(self._reactor.seconds() - self._started, 3),
            "ledger": ledger,
            "cache": {
                "points": self.cache.cached,
                "limit": None
                if self._settings.cache.max_cache_size == float("inf")
                else self._settings.cache.max_cache_size,
                "lent": self.cache.lent,
                "waiting": self.cache.waiting(),
                "metrics_known": len(self.names),
                "receivers_paused": self.receivers.paused,
            },
            "writers": {
                "processes": self._settings.cache.writer_processes,
                "pids": self.writers.pids,
                "sweeps": self.writers.sweeps.value,
                "updates": self.writers.updates.value,
                "creates": self.writers.created.value,
                "waiting_for_creates": self.writers.waiting_for_creates,
                "damaged_files": self.writers.damaged.value,
                "errors": self.writers.errors.value,
                "deaths": self.writers.deaths.value,
                "busy_seconds": round(self.writers.busy_seconds, 3),
            },
            "journal": {
                "enabled": self.journal is not None,
                "segments": self.journal.segments if self.journal is not None else 0,
                "unjournaled": self.journal.unjournaled.value if self.journal is not None else 0,
                "damaged_records": self.journal.damaged.value if self.journal is not None else 0,
            },
            "connections": len(self.receivers),
            "adoption": {"files": self.adoption.files, "added": self.adoption.added, "done": self.adoption.done},
            "unreadable_files": self.store.damaged,
        }

    def metrics_text(self) -> str:
        """The Prometheus text of ``GET /metrics``."""
        ledger = self.ledger.as_dict()
        writers, queries = self.writers, self.query_counters
        pids = writers.pids
        return prometheus(
            [
                ("received_total", "counter", "Datapoints received.", ledger["received"]),
                ("recovered_total", "counter", "Of these, taken from the journal at start.", ledger["recovered"]),
                ("written_total", "counter", "Datapoints written to files.", ledger["written"]),
                ("dropped_total", "counter", "Datapoints dropped, by reason.", ledger["dropped"]),
                ("cached", "gauge", "Datapoints in the cache.", ledger["cached"]),
                ("journal_backlog", "gauge", "Datapoints only in the journal.", ledger["journal_backlog"]),
                ("balanced", "gauge", "1 if received = written + cached + backlog + dropped.", int(ledger["balanced"])),
                ("metrics_known", "gauge", "Names with an id.", len(self.names)),
                ("connections", "gauge", "Senders connected.", len(self.receivers)),
                ("receivers_paused", "gauge", "1 while senders are not read.", int(self.receivers.paused)),
                ("updates_total", "counter", "Files updated.", writers.updates.value),
                ("creates_total", "counter", "Files made.", writers.created.value),
                ("creates_waiting", "gauge", "Metrics waiting for a file.", writers.waiting_for_creates),
                ("damaged_files_total", "counter", "Damaged files set aside.", writers.damaged.value),
                ("write_errors_total", "counter", "Errors with files.", writers.errors.value),
                ("writer_deaths_total", "counter", "Sweeps that a dying writer did not end.", writers.deaths.value),
                ("sweeps_total", "counter", "Sweeps done.", writers.sweeps.value),
                ("sweep_seconds_total", "counter", "Seconds that sweeps took.", round(writers.busy_seconds, 6)),
                ("cache_queries_total", "counter", "CarbonLink queries.", queries["cacheQueries"]),
                ("cpu_seconds_total", "counter", "CPU of all processes.", round(cpu_seconds(pids), 3)),
                ("resident_bytes", "gauge", "Memory of all processes.", memory_bytes(pids)),
            ]
        )

    # ---- reloading

    def reload_rules(self) -> None:
        """Look at the rules files and take what has changed."""
        if self._rules.poll_books():
            self.writers.set_rules(self._rules.texts(), self._rules.book)
        if self._rules.poll_lists():
            changed = self.names.judge_again(self._rules.judge())
            log.info("the lists of names have changed; {changed} known names are judged otherwise", changed=changed)

    def reload(self) -> None:
        """SIGHUP: read the configuration and the rules files again; what needs a restart is said."""
        if self._load_again is not None:
            try:
                new = self._load_again()
            except CarbonError as error:
                log.error("{sentence}; the settings read before stay in force", sentence=str(error))
            else:
                changes = compare(self._settings, new)
                for change in changes.restart:
                    log.warn("{change}: takes effect after a restart", change=str(change))
                for change in changes.reload:
                    log.info("{change}", change=str(change))
                self._apply(new)
        self.reload_rules()

    def _apply(self, settings: Settings) -> None:
        """Take the settings that can change while the daemon runs."""
        old, self._settings = self._settings, settings
        cache = settings.cache
        self.intake.resolution = cache.min_timestamp_resolution
        self.intake.max_future = cache.max_future
        self.intake.flow_control = cache.use_flow_control
        self.names.max_names = cache.max_metrics
        self.receivers.limits = _receiver_limits(settings)
        self.writers.interval = cache.sweep_interval
        self.writers.log_sweeps = cache.log_cache_queue_sorts or cache.log_updates
        if cache.max_creates_per_minute != old.cache.max_creates_per_minute:
            self.writers.creates = _per_minute(cache.max_creates_per_minute)
        if cache.max_updates_per_second != old.cache.max_updates_per_second:
            self.writers.set_rate(cache.max_updates_per_second)
        if cache.use_whitelist != old.cache.use_whitelist:
            self._rules.use_lists = cache.use_whitelist
            self.names.judge_again(self._rules.judge())
        self._room()

    # ---- stopping

    def stop(self) -> Deferred[Any]:
        """Stop listening, take in what was received, write for SHUTDOWN_TIMEOUT seconds, end."""
        self._stopping = True
        self.ready = False
        log.info("stopping; {points} points are in the cache", points=self.cache.cached)
        for loop in self._loops:
            if loop.running:
                loop.stop()
        done = DeferredList([maybeDeferred(port.stopListening) for port in self._ports], consumeErrors=True)
        self.receivers.stop()
        self.cache.seal()
        done.addCallback(lambda _: self._flush())
        done.addBoth(lambda _: self.writers.stop())
        done.addBoth(lambda _: self._close())
        return done

    def _flush(self) -> Deferred[Any]:
        cache = self._settings.cache
        if cache.max_updates_per_second_on_shutdown is not None:
            self.writers.set_rate(cache.max_updates_per_second_on_shutdown)
        elif self.journal is None:
            self.writers.set_rate(float("inf"))
        flushed = self.writers.flush()
        if self.journal is not None:
            # The journal keeps what is not written in time; without one, writing takes as long as it takes.
            flushed.addTimeout(cache.shutdown_timeout, self._reactor)
            flushed.addErrback(lambda _: None)
        return flushed

    def _close(self) -> None:
        try:
            self.catalog.flush()
        except CatalogError as error:
            log.error("{error}; rescan the catalogue", error=str(error))
        self.catalog.catalog.close()
        if self.journal is not None:
            self.journal.close()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
        log.info("stopped; {points} points are left to the journal", points=self.cache.cached)


class _Rules:
    """The four rules files and what they make together."""

    def __init__(self, settings: Settings) -> None:
        files = settings.files

        def report(sentence: str) -> None:
            log.warn("{sentence}", sentence=sentence)

        self._schemas = RulesFile(
            files.schemas, SchemaBook.parse, missing=SchemaBook.default(), report=report, clock=time.time, keep=True
        )
        self._aggregations = RulesFile(
            files.aggregation,
            AggregationBook.parse,
            missing=AggregationBook.default(),
            report=report,
            clock=time.time,
            keep=True,
        )
        self._allowed = RulesFile(
            files.whitelist, FilterBook.parse, missing=FilterBook.default(), report=report, clock=time.time
        )
        self._denied = RulesFile(
            files.blacklist, FilterBook.parse, missing=FilterBook.default(), report=report, clock=time.time
        )
        self.use_lists = settings.cache.use_whitelist
        self.book = HeaderBook(self._schemas.value, self._aggregations.value)

    def texts(self) -> RuleTexts:
        """What writer processes parse."""
        schemas, aggregations = (
            None if file.text is None else (file.path, file.text) for file in (self._schemas, self._aggregations)
        )
        return schemas, aggregations

    def poll_books(self) -> bool:
        """Whether new files are made by other rules from now on."""
        schemas, aggregations = self._schemas.poll(), self._aggregations.poll()
        if schemas is None and aggregations is None:
            return False
        self.book = HeaderBook(self._schemas.value, self._aggregations.value)
        return True

    def poll_lists(self) -> bool:
        """Whether names are let in by other lists from now on."""
        allowed, denied = self._allowed.poll(), self._denied.poll()
        return self.use_lists and not (allowed is None and denied is None)

    def judge(self) -> Callable[[str], int]:
        """The verdict on new names.  An empty whitelist lets everything pass, as in carbon."""
        if not self.use_lists:
            return let_all_pass
        denied, allowed = self._denied.value, self._allowed.value
        return judge_by_lists(denied.matches if denied else None, allowed.matches if allowed else None)


def _complain(sender: str, what: bytes, why: str) -> None:
    shown = what[:400].decode(errors="backslashreplace")
    listener_log.warn(
        "invalid line received from client {sender}, ignoring [{shown}]: {why}", sender=sender, shown=shown, why=why
    )


def _per_minute(creates: float) -> TokenBucket | None:
    return None if creates == float("inf") else TokenBucket(max(creates, 0.0), creates / 60.0, time.monotonic)


def _receiver_limits(settings: Settings) -> ReceiverLimits:
    cache = settings.cache
    keepalive = (cache.tcp_keepidle, cache.tcp_keepintvl, cache.tcp_keepcnt) if cache.tcp_keepalive else None
    return ReceiverLimits(
        line_length=cache.line_receiver_max_length,
        frame_length=cache.pickle_receiver_max_length,
        connections=cache.max_receiver_connections,
        idle_timeout=cache.metric_client_idle_timeout,
        keepalive=keepalive,
        log_success=cache.log_listener_conn_success,
        log_lost=cache.log_listener_conn_lost,
    )


def _lock(directory: str, patience: float = 10.0) -> int:
    """Hold the journal directory alone, together with our writers.  Raises ConfigError if another daemon has it.

    Writers of a daemon that was killed hold it until they have ended, which is a matter of milliseconds.
    """
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise ConfigError(
                    f"{path}: another carbonpy uses this journal; give each instance its own JOURNAL_DIR"
                ) from None
            time.sleep(0.05)


def make_service(settings: Settings, reactor: Any, reload: Callable[[], Settings] | None = None) -> CacheDaemon:
    """The daemon for these settings, wired and not started."""
    return CacheDaemon(settings, reactor, reload)


def run(settings: Settings, config_path: str | None, instance: str, overrides: dict[str, Any]) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; the exit code.

    Raises CarbonError when it cannot start.
    """
    from twisted.internet import reactor

    sys.setswitchinterval(settings.cache.switch_interval)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    failures: list[Exception] = []

    def reload() -> Settings:
        return load(config_path, instance=instance, program="cache", overrides=overrides)

    daemon = make_service(settings, reactor, reload)

    def start() -> None:
        try:
            daemon.start()
        except (CarbonError, CannotListenError, OSError) as error:
            failures.append(error)
            reactor.stop()

    signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(daemon.reload))
    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", daemon.stop)
    reactor.run()
    if failures:
        raise CarbonError(str(failures[0]))
    return 0
