"""What a cache daemon tells of itself: /health, /metrics, and carbon.agents.*.

The law: every figure is read where it is kept; nothing is counted here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carbonpy import __version__
from carbonpy.daemons.ledger import prometheus
from carbonpy.daemons.own_metrics import OwnMetrics, cpu_seconds, memory_bytes

if TYPE_CHECKING:
    from carbonpy.daemons.cache import CacheDaemon


class Figures:
    """The figures of one daemon.  Reactor thread only."""

    def __init__(self, daemon: CacheDaemon, prefix: str) -> None:
        self._daemon = daemon
        self._own = OwnMetrics(prefix)

    def own_metrics(self, now: float) -> list[tuple[str, float]]:
        """(name, value) of carbon.agents.*, growth since the last call."""
        d = self._daemon
        writers, queries = d.writers, d.query_counters
        pids = [*writers.pids, *d.web.pids]
        dropped = d.intake.dropped
        counters = {
            "cache.overflow": dropped["cache_full"],
            "cache.queries": queries["cacheQueries"],
            "cache.bulk_queries": queries["cacheBulkQueries"],
            "updateOperations": writers.updates.value,
            "committedPoints": writers.written.value,
            "creates": writers.created.value,
            "droppedCreates": 0,
            "errors": writers.errors.value,
            "metricsReceived": d.intake.accepted.value,
            "blacklistMatches": dropped["blacklisted"],
            "whitelistRejects": dropped["not_whitelisted"],
            "dropped": sum(d.ledger.as_dict()["dropped"].values()),
            "sweeps": writers.sweeps.value,
            "_cpu": cpu_seconds(pids),
            "_update_seconds": writers.busy_seconds,
            "_written": writers.written.value,
            "_bulk_size": queries["cacheBulkQuerySize"],
        }
        gauges = {
            "cache.size": d.cache.cached,
            "cache.queues": d.cache.metrics(),
            "cache.waitingForCreates": writers.waiting_for_creates,
            "activeConnections": len(d.receivers),
            "memUsage": memory_bytes(pids),
            "journal.segments": d.journal.segments if d.journal is not None else 0,
        }
        if d.aggregation is not None:
            aggregator = d.aggregation.aggregator
            counters["aggregateDatapointsSent"] = aggregator.sent.value
            gauges["allocatedBuffers"], gauges["bufferedDatapoints"] = len(aggregator), aggregator.buffered
        return self._own.points(now, counters, gauges)

    def health(self) -> dict[str, Any]:
        """The document of ``GET /health``."""
        d = self._daemon
        ledger = d.ledger.as_dict()
        journal_trouble = d.journal.trouble if d.journal is not None else ""
        aggregate_trouble = d.aggregation.trouble if d.aggregation is not None else ""
        return {
            "status": self._status(ledger["balanced"], d.writers.trouble or journal_trouble or aggregate_trouble),
            "version": __version__,
            "instance": d.settings.instance,
            "uptime": round(d.uptime(), 3),
            "ledger": ledger,
            "cache": {
                "points": d.cache.cached,
                "limit": None if d.settings.cache.max_cache_size == float("inf") else d.settings.cache.max_cache_size,
                "lent": d.cache.lent,
                "waiting": d.cache.waiting(),
                "metrics_known": len(d.names),
                "receivers_paused": d.receivers.paused,
            },
            "writers": {
                "processes": d.settings.cache.writer_processes,
                "pids": d.writers.pids,
                "sweeps": d.writers.sweeps.value,
                "updates": d.writers.updates.value,
                "creates": d.writers.created.value,
                "waiting_for_creates": d.writers.waiting_for_creates,
                "damaged_files": d.writers.damaged.value,
                "errors": d.writers.errors.value,
                "deaths": d.writers.deaths.value,
                "busy_seconds": round(d.writers.busy_seconds, 3),
                "trouble": d.writers.trouble,
            },
            "journal": {
                "enabled": d.journal is not None,
                "segments": d.journal.segments if d.journal is not None else 0,
                "unjournaled": d.journal.unjournaled.value if d.journal is not None else 0,
                "damaged_records": d.journal.damaged.value if d.journal is not None else 0,
                "trouble": journal_trouble,
            },
            "web": d.web.health(),
            "aggregation": d.aggregation.health() if d.aggregation is not None else None,
            "connections": len(d.receivers),
            "gathered_bytes": d.receivers.gatherer.gathered,
            "adoption": {
                "files": d.cataloguing.progress.files,
                "added": d.cataloguing.progress.added,
                "done": d.cataloguing.progress.done,
            },
            "unreadable_files": d.store.damaged,
        }

    def _status(self, balanced: bool, trouble: str) -> str:
        if not self._daemon.ready:
            return "starting"
        return "unbalanced" if not balanced else "degraded" if trouble else "ok"

    def metrics_text(self) -> str:
        """The Prometheus text of ``GET /metrics``."""
        d = self._daemon
        ledger = d.ledger.as_dict()
        writers, queries = d.writers, d.query_counters
        pids = [*writers.pids, *d.web.pids]
        return prometheus(
            [
                ("received_total", "counter", "Datapoints received.", ledger["received"]),
                ("recovered_total", "counter", "Of these, taken from the journal at start.", ledger["recovered"]),
                ("written_total", "counter", "Datapoints written to files.", ledger["written"]),
                ("dropped_total", "counter", "Datapoints dropped, by reason.", ledger["dropped"]),
                ("cached", "gauge", "Datapoints in the cache.", ledger["cached"]),
                ("journal_backlog", "gauge", "Datapoints only in the journal.", ledger["journal_backlog"]),
                ("balanced", "gauge", "1 if received = written + cached + backlog + dropped.", int(ledger["balanced"])),
                ("metrics_known", "gauge", "Names with an id.", len(d.names)),
                ("connections", "gauge", "Senders connected.", len(d.receivers)),
                ("receivers_paused", "gauge", "1 while senders are not read.", int(d.receivers.paused)),
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
                *self._aggregate_figures(),
            ]
        )

    def _aggregate_figures(self) -> list[tuple[str, str, str, dict[str, float] | float]]:
        if self._daemon.aggregation is None:
            return []
        aggregator = self._daemon.aggregation.aggregator
        dropped: dict[str, float] = {**aggregator.dropped.as_dict()}
        return [
            ("aggregates_received_total", "counter", "Points for aggregates.", aggregator.received.value),
            ("aggregates_sent_total", "counter", "Aggregates made.", aggregator.sent.value),
            ("aggregates_dropped_total", "counter", "Points that no aggregate has, by reason.", dropped),
            ("aggregate_outputs", "gauge", "Aggregates with intervals.", len(aggregator)),
            ("aggregate_points", "gauge", "Points in intervals that are kept.", aggregator.buffered),
        ]
