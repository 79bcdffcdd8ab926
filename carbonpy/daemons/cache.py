"""The cache daemon: what ``carbonpy cache`` runs.

Read top to bottom it is the architecture:

    names       every raw name becomes an id once; lists and rules are asked then       ingest.names
    aggregates  where AGGREGATE is set: many metrics also become one, as points come in  daemons.aggregating
    intake      what senders sent becomes batches, or is counted as dropped             ingest.intake
    journal     every batch is on disk before it counts as cached                       cache.journal
    cache       batches become sorted runs; runs are lent to the writers                cache.cache
    writers     sweeps onto whisper files, in processes or a thread                     net.writers, writing
    catalogue   which metrics there are, for find                                       catalog
    store       cache first, then file: the answer to every query                      reading
    receivers   lines, pickles and protobuf over TCP, TLS and UNIX sockets; UDP         net.receivers, daemons.listening
    query port  CarbonLink for graphite-web                                             net.carbonlink
    web         render, find, health, in processes of their own                         web, net.web_workers

The law of the ledger (`daemons.ledger`) holds at every moment.  A start replays the journal before it
listens, so that newer points come after older ones; a stop takes in what was received, writes what
it can in SHUTDOWN_TIMEOUT seconds and leaves the rest to the journal.
"""

from __future__ import annotations

import fcntl
import gc
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from carbonpy import __version__
from carbonpy.cache.cache import Cache
from carbonpy.cache.journal import Journal
from carbonpy.catalog.live import LiveCatalog
from carbonpy.catalog.store import Catalog
from carbonpy.clock import TokenBucket
from carbonpy.counters import CounterGroup
from carbonpy.daemons import running
from carbonpy.daemons.aggregating import CacheAggregation
from carbonpy.daemons.cataloguing import Cataloguing
from carbonpy.daemons.figures import Figures
from carbonpy.daemons.hot import Hot
from carbonpy.daemons.ledger import Ledger
from carbonpy.daemons.listening import Listening, receiver_limits, where
from carbonpy.daemons.migrating import Expiring, Migrating
from carbonpy.daemons.own_metrics import prefix_of
from carbonpy.daemons.removing import Removing
from carbonpy.daemons.rules import Rules
from carbonpy.daemons.sources import Sources
from carbonpy.daemons.web_side import WebSide
from carbonpy.errors import CarbonError, ConfigError, MetricError
from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import FIRST_ID, VERDICTS, NameTable
from carbonpy.metric import canonical, relative_path
from carbonpy.net.carbonlink import CarbonLinkFactory
from carbonpy.net.gathering import Gatherer
from carbonpy.net.receivers import Receivers
from carbonpy.net.writer import GrowingWriter, ProcessWriter, ThreadWriter, Writer, WriterThread
from carbonpy.net.writers import Writers
from carbonpy.reading.local import TAGGED, LocalStore
from carbonpy.settings import Automatic, Settings, compare, reloaded
from carbonpy.whisper import file as whisper_file
from carbonpy.whisper.errors import WhisperException
from carbonpy.writing.sweep import WriteSettings

log = Logger("console")
listener_log = Logger("listener")
creates_log = Logger("creates")
#: Seconds between two looks at the rules files.
_RULES_INTERVAL = 10.0
#: Seconds until the first look for expired metrics, however far apart the others are.
_FIRST_EXPIRY = 600.0
#: Seconds between two looks for aggregates that are due.
_EMIT_INTERVAL = 0.25
#: How full a cache is when reading from senders goes on after a pause (carbon's low watermark).
_LOW_WATERMARK = 0.95
#: Sweeps of so many updates of files, all shares together, are for processes; a thread needs 0.3 s for them.
_LARGE_SWEEP = 30_000


class CacheDaemon:
    """All parts of the daemon, wired.  Reactor thread only."""

    def __init__(self, settings: Settings, reactor: Any, reload: Callable[[], Settings] | None = None) -> None:
        """Raises CarbonError when a directory or a rules file cannot be used.  Nothing listens yet."""
        cache = settings.cache
        self._reactor = reactor
        self.settings = settings
        self._load_again = reload
        self._started = reactor.seconds()
        self.ready = False
        self._stopping = False
        os.makedirs(cache.local_data_dir, exist_ok=True)
        self._lock_fd = _lock(cache.journal_dir) if cache.journal else None

        host = cache.hostname or socket.gethostname()
        self._own_prefix = prefix_of(cache.carbon_metric_prefix, host, settings.instance)

        # rules and names
        self._rules = Rules(settings)
        self.aggregation = CacheAggregation(settings, self._own_prefix) if cache.aggregate else None
        self.names = NameTable(
            self._rules.judge(self._own_prefix),
            cache.max_metrics,
            cache.max_name_length,
            rename=self.aggregation.rename if self.aggregation is not None else None,
        )
        self.catalog = LiveCatalog(Catalog(cache.catalog_file))
        self.cataloguing = Cataloguing(self.catalog, self.names, cache.local_data_dir)
        self.names.on_new.append(self._met)

        # intake, cache, journal
        self.intake = Intake(
            self.names,
            self._accept,
            time.time,
            resolution=cache.min_timestamp_resolution,
            max_future=cache.max_future,
            complain=running.complain,
            full=lambda: self.cache.cached >= self.settings.cache.max_cache_size,
            flow_control=cache.use_flow_control,
        )
        if self.aggregation is not None:
            self.aggregation.feed(self.intake)
        self.journal: Journal | None = None
        self._sync_batches = cache.journal and cache.journal_fsync == "batch"
        if cache.journal:
            self.journal = Journal(
                cache.journal_dir,
                syncs=cache.journal_fsync != "never",
                on_trouble=lambda sentence: log.error("{sentence}", sentence=sentence),
            )
        shares = max(1, cache.writer_processes)
        self.cache = Cache(shares=shares, journal=self.journal, new_names=self._new_names, on_replaced=self._replaced)
        self.ledger = Ledger(self.intake, self.cache)
        self.hot = Hot(self.names, self.cache, self.catalog, cache.tag_hash_filenames)

        # writers
        write = WriteSettings(
            cache.local_data_dir.rstrip("/") or "/",
            hash_filenames=cache.tag_hash_filenames,
            sparse=cache.whisper_sparse_create,
            fallocate=cache.whisper_fallocate_create,
            autoflush=cache.whisper_autoflush,
            lock=cache.whisper_lock_writes,
            advise_random=cache.whisper_fadvise_random,
            strategy=cache.cache_write_strategy,
            updates_per_second=cache.max_updates_per_second / shares,
        )
        self.writers = Writers(
            reactor,
            self.cache,
            self._make_writers(cache.writer_processes, write),
            interval=cache.sweep_interval,
            creates=_per_minute(cache.max_creates_per_minute),
            pressed=self._pressed,
            on_room=self._room,
            on_made=self._made,
            log_sweeps=cache.log_cache_queue_sorts or cache.log_updates,
        )
        self.ledger.writers = self.writers

        # receivers and queries
        gatherer = Gatherer(reactor, self.intake, interval=cache.gather_interval, size=cache.gather_size)
        self.receivers = Receivers(self.intake, gatherer, receiver_limits(cache))
        #: The last gathering of which the journal did not take something.
        self._unsafe_flush = -1
        self.receivers.when_safe = self._when_safe
        self.receivers.fullness = lambda: self.cache.cached / self.settings.cache.max_cache_size
        self.listening = Listening(reactor, cache, self.receivers)
        self.query_counters = CounterGroup()
        self.store = LocalStore(
            self.catalog,
            self.hot.peek,
            cache.local_data_dir,
            known=self.hot.known,
            schema_for=lambda metric: self._rules.book.rule(metric),
            hash_only=cache.tag_hash_filenames,
            peek_many=self.hot.peek_many,
        )
        self.migrating = Migrating(reactor, self._to_migrate) if cache.migrate_schemas else None
        self.removing = Removing(self, cache.local_data_dir, cache.tag_hash_filenames, self.ledger.dropped)
        self.expiring = Expiring(reactor, self._to_expire, self.removing) if cache.expiry_rules else None
        self.figures = Figures(self, self._own_prefix)
        self.web = WebSide(
            reactor,
            settings,
            self.store,
            lambda: Sources.of(settings, cache.catalog_file, *self._rules.texts()),
            self.hot,
            health=self.figures.health,
            metrics_text=self.figures.metrics_text,
            ready=lambda: self.ready,
            removing=self.removing,
        )
        self._ports: list[Any] = []
        self._loops = running.Loops(reactor)

    def _make_writers(self, processes: int, write: WriteSettings) -> Sequence[Writer]:
        """The writers of all shares."""
        thread = WriterThread(self._reactor)

        def threaded() -> ThreadWriter:
            return ThreadWriter(thread, self.names, write, self._rules.book.header)

        def process(number: int) -> ProcessWriter:
            return ProcessWriter(self._reactor, number, self.names, write, self._rules.texts(), self._lock_fd)

        if not processes:
            return [threaded()]
        if isinstance(processes, Automatic):
            large = _LARGE_SWEEP // processes
            return [GrowingWriter(threaded(), partial(process, number), large) for number in range(processes)]
        return [process(number) for number in range(processes)]

    def uptime(self) -> float:
        """Seconds since the daemon was made."""
        return float(self._reactor.seconds() - self._started)

    # ---- the data path

    def _met(self, first: int, metrics: Sequence[bytes]) -> None:
        """Metrics are seen for the first time: the catalogue hears of them."""
        self.catalog.note(metrics)
        self.hot.met(first, metrics)

    def _new_names(self, first: int) -> tuple[int, list[bytes]]:
        """For the journal: the names of all ids from `first` on."""
        first = max(first, FIRST_ID)
        return first, self.names.metrics(range(first, self.names.next_id))

    def _accept(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """A batch of accepted points."""
        self.cache.append(ids, timestamps, values)
        if self.journal is not None and self.journal.trouble:
            self._unsafe_flush = self.receivers.gatherer.flushes
        if self._sync_batches:
            self._sync()
        cache = self.settings.cache
        if cache.use_flow_control and self.cache.cached >= cache.max_cache_size and not self.receivers.paused:
            log.warn(
                "the cache is full ({points} points, of which {waiting} wait for files); senders are paused",
                points=self.cache.cached,
                waiting=self.cache.waiting(),
            )
            self.receivers.pause()
            self.writers.look()

    def _when_safe(self, done: Callable[[], None], failed: Callable[[], None]) -> None:
        """What was taken in is in the journal, unless the disk refused it: then peers keep it and send it again."""
        if self._unsafe_flush == self.receivers.gatherer.flushes:
            failed()
        else:
            done()

    def _made(self, identities: Sequence[int]) -> None:
        """A writer has made files."""
        for identity in identities:
            self.cataloguing.made(identity)
        if self.settings.cache.log_creates:
            for identity in identities:
                creates_log.info("created {metric}", metric=self.names.metric(identity))

    def _replaced(self, points: int) -> None:
        self.ledger.dropped.add("replaced", points)

    def _pressed(self) -> bool:
        """Whether more than half of the room is taken.  Points that wait for files have theirs; haste is no help."""
        waiting = self.cache.waiting()
        room = min(self.settings.cache.max_cache_size - waiting, 10_000_000)
        return self.cache.cached - waiting > max(room, 0) / 2

    def _room(self) -> None:
        if self.receivers.paused and self.cache.cached < _LOW_WATERMARK * self.settings.cache.max_cache_size:
            log.info("the cache has room again; senders are read")
            self.receivers.resume()

    # ---- starting

    def start(self) -> None:
        """Replay, listen, sweep.  Raises CarbonError or CannotListenError."""
        cache, web = self.settings.cache, self.settings.web
        self._replay()
        if self.aggregation is not None:
            self.aggregation.start()
        self.writers.start()
        self.listening.open()
        if cache.cache_query_port:
            factory = CarbonLinkFactory(
                self._reactor,
                self._query,
                self._get_metadata,
                self._set_metadata,
                self.query_counters,
                log_hits=cache.log_cache_hits,
            )
            interface = cache.cache_query_interface
            self._ports.append(self._reactor.listenTCP(cache.cache_query_port, factory, interface=interface))
        if web.http_port:
            self._ports.append(self.web.listen())
        for port in self._ports:
            listener_log.info("listening on {where}", where=where(port))
        self._loops.every(_RULES_INTERVAL, self.reload_rules)
        if self.aggregation is not None:
            self._loops.every(_EMIT_INTERVAL, self._emit_aggregates)
        self._loops.every(0.5, self.cataloguing.feed)
        self._loops.every(60.0, self.cataloguing.look_back)
        if self.expiring is not None:
            self._loops.every(cache.expiry_interval, self.expiring.begin)
            self._reactor.callLater(min(cache.expiry_interval, _FIRST_EXPIRY), self.expiring.begin)
        if self.migrating is not None:
            self.migrating.begin()
        if self.journal is not None and cache.journal_fsync == "interval":
            self._loops.every(cache.journal_fsync_interval, self._sync_journal)
        if cache.carbon_metric_interval:
            self._loops.every(cache.carbon_metric_interval, self._record_own_metrics)
        self._reactor.callLater(0, self.cataloguing.look_back)
        # What lives as long as the daemon need not be looked at by the collector: a full collection takes 1 ms, not 25.
        gc.collect()
        gc.freeze()
        self.ready = True
        log.info(
            "carbonpy {version}, instance {instance}, is ready", version=__version__, instance=self.settings.instance
        )

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
            counts = self.cache.replay(self.journal, segment, self.names.identify, FIRST_ID)
            self.ledger.backlog -= segment.points
            for verdict, points in counts.items():
                if verdict != FIRST_ID:
                    self.ledger.dropped.add(VERDICTS[verdict], points)
            self.ledger.dropped.add("journal_damaged", segment.points - sum(counts.values()))
        self.journal.forget_leftover_names()
        log.info("replayed; {points} points are in the cache", points=self.cache.cached)

    # ---- what is done now and then

    def _sync(self) -> None:
        """Force the journal to the disk, as far as the disk lets us.  Safe from any thread."""
        assert self.journal is not None
        try:
            self.journal.sync()
        except OSError as error:
            log.error(
                "{directory}: the journal cannot be forced to the disk: {error}; a loss of power may cost points",
                directory=self.journal.directory,
                error=str(error),
            )

    def _sync_journal(self) -> Any:
        if self.aggregation is not None:
            self.aggregation.sync()
        # An idle daemon leaves the disk alone.
        return deferToThread(self._sync) if self.journal is not None and self.journal.unsynced else None

    def _record_own_metrics(self) -> None:
        now = time.time()
        points = self.figures.own_metrics(now)
        names = [name.encode() for name, _ in points]
        self.intake.points(names, np.full(len(points), int(now)), np.array([value for _, value in points]))

    def _emit_aggregates(self) -> None:
        if self.aggregation is not None:
            self.aggregation.emit(self.intake)

    # ---- queries

    def _query(self, metric: str) -> Sequence[tuple[float, float]]:
        timestamps, values = self.hot.peek(metric)
        return list(zip(timestamps.tolist(), values.tolist()))

    def _path(self, metric: str) -> str:
        try:
            name = canonical(metric)
        except MetricError as error:
            raise CarbonError(str(error)) from None
        cache = self.settings.cache
        # The path of a tagged metric with a readable leaf has a ";", but is no name with tags.
        there = metric.replace(".", "/") + ".wsp" if metric.startswith(TAGGED) else None
        return os.path.join(cache.local_data_dir, there or relative_path(name, cache.tag_hash_filenames))

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
        identity = self.hot.identity(metric if self.hot.is_encoded(metric) else canonical(metric))
        if identity is not None:
            self.writers.forget(identity)
        return old

    # ---- reloading

    def _to_migrate(self) -> dict[str, Any]:
        cache = self.settings.cache
        schemas, aggregations = self._rules.texts()
        return {
            "root": cache.local_data_dir,
            "catalog": cache.catalog_file,
            "rate": cache.migrate_rate,
            "schemas": schemas,
            "aggregations": aggregations,
        }

    def _to_expire(self) -> dict[str, Any]:
        cache = self.settings.cache
        return {"root": cache.local_data_dir, "catalog": cache.catalog_file, "rules": cache.expiry_rules}

    def reload_rules(self) -> None:
        """Look at the rules files and take what has changed."""
        if self._rules.poll_books():
            self.writers.set_rules(self._rules.texts(), self._rules.book)
            self.web.rules_changed()
            if self.migrating is not None:
                self.migrating.begin()
        if self.aggregation is not None and self.aggregation.poll():
            self.names.rename_again(self.aggregation.rename)
        if self._rules.poll_lists():
            changed = self.names.judge_again(self._rules.judge(self._own_prefix))
            log.info("the lists of names have changed; {changed} known names are judged otherwise", changed=changed)

    def reload(self) -> None:
        """SIGHUP: read the configuration and the rules files again; what needs a restart is said."""
        if self._load_again is not None:
            try:
                new = self._load_again()
            except CarbonError as error:
                log.error("{sentence}; the settings read before stay in force", sentence=str(error))
            else:
                changes = compare(self.settings, new)
                for change in changes.restart:
                    log.warn("{change}: takes effect after a restart", change=str(change))
                for change in changes.reload:
                    log.info("{change}", change=str(change))
                self._apply(reloaded(self.settings, new))
        self.listening.renew()
        self.web.renew()
        self.reload_rules()

    def _apply(self, settings: Settings) -> None:
        """Take the settings that can change while the daemon runs."""
        old, self.settings = self.settings, settings
        cache = settings.cache
        self.intake.resolution = cache.min_timestamp_resolution
        self.intake.max_future = cache.max_future
        self.intake.flow_control = cache.use_flow_control
        self.names.max_names = cache.max_metrics
        self.receivers.limits = receiver_limits(cache)
        self.writers.interval = cache.sweep_interval
        self.writers.log_sweeps = cache.log_cache_queue_sorts or cache.log_updates
        if cache.max_creates_per_minute != old.cache.max_creates_per_minute:
            self.writers.creates = _per_minute(cache.max_creates_per_minute)
        if cache.max_updates_per_second != old.cache.max_updates_per_second:
            self.writers.set_rate(cache.max_updates_per_second)
        if self.aggregation is not None and self.aggregation.reconfigure(settings):
            self.names.rename_again(self.aggregation.rename)
        if cache.use_whitelist != old.cache.use_whitelist:
            self._rules.use_lists = cache.use_whitelist
            self.names.judge_again(self._rules.judge(self._own_prefix))
        self._room()

    # ---- stopping

    def stop(self) -> Deferred[Any]:
        """Stop listening, take in what was received, write for SHUTDOWN_TIMEOUT seconds, end."""
        self._stopping = True
        self.ready = False
        log.info("stopping; {points} points are in the cache", points=self.cache.cached)
        self._loops.stop()
        ends = [maybeDeferred(port.stopListening) for port in self._ports]
        closing = [self.listening.close(), self.web.stop(), self.removing.stop()]
        done = DeferredList([*ends, *closing], consumeErrors=True)
        self.receivers.stop()
        for job in (self.migrating, self.expiring):
            if job is not None:
                job.stop()
        if self.aggregation is not None:
            self.aggregation.close(self.intake)
        self.cache.seal()
        done.addCallback(lambda _: self._flush())
        done.addBoth(lambda _: self.writers.stop())
        done.addBoth(lambda _: self._close())
        return done

    def _flush(self) -> Deferred[Any]:
        cache = self.settings.cache
        if cache.max_updates_per_second_on_shutdown is not None:
            self.writers.set_rate(cache.max_updates_per_second_on_shutdown)
        elif self.journal is None:
            self.writers.set_rate(float("inf"))
        flushed = self.writers.flush(everything=self.journal is None)
        if self.journal is not None:
            # The journal keeps what is not written in time; without one, writing takes as long as it takes.
            flushed.addTimeout(cache.shutdown_timeout, self._reactor)
            flushed.addErrback(lambda _: None)
        return flushed

    def _close(self) -> None:
        self.cataloguing.close()
        if self.journal is not None:
            self.journal.close()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
        if self.journal is None and self.cache.cached:
            log.error(
                "stopped; {points} points could not be written and are lost, since JOURNAL is off",
                points=self.cache.cached,
            )
        else:
            log.info("stopped; {points} points are left to the journal", points=self.cache.cached)


def _per_minute(creates: float) -> TokenBucket | None:
    if creates == float("inf"):
        return None
    return TokenBucket(max(creates, 1.0) if creates > 0 else 0.0, creates / 60.0, time.monotonic)


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


def run(settings: Settings, config_path: str | None, overrides: dict[str, Any]) -> int:
    """Run the daemon in this process until SIGTERM or SIGINT; the exit code.

    Raises CarbonError when it cannot start.
    """
    sys.setswitchinterval(settings.cache.switch_interval)
    return running.run(
        lambda reactor, again: make_service(settings, reactor, again), settings, config_path, overrides
    )
