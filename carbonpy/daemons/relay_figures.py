"""What a relay tells of itself: /health, /metrics, and carbon.relays.* or carbon.aggregator.*.

The law: every figure is read where it is kept; but for aggregates that were sent, nothing is counted here.  Names are
carbon's (instrumentation.py of carbon 1.1), what carbon does not have is added.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from carbonpy import __version__
from carbonpy.counters import Counter, Deltas
from carbonpy.daemons.ledger import prometheus
from carbonpy.daemons.own_metrics import cpu_seconds, memory_bytes
from carbonpy.net.couriers import Courier
from carbonpy.web.answer import Answer, Query, sentence
from carbonpy.web.site import make_site

if TYPE_CHECKING:
    from carbonpy.daemons.relay import RelayDaemon


def _nothing_at(query: Query) -> Answer:
    return sentence("a relay has /ready, /health, /metrics and /version", 404)


def label_of(name: str) -> str:
    """``host:port:instance`` as carbon writes it in names of metrics: the host's dots as underscores."""
    host, *rest = name.rsplit(":", 2) if name.count(":") >= 2 else name.rsplit(":", 1)
    return ":".join([host.replace(".", "_"), *rest, *(["None"] if len(rest) == 1 else [])])


class RelayFigures:
    """The figures of one relay.  Reactor thread only."""

    def __init__(self, daemon: RelayDaemon) -> None:
        self._daemon = daemon
        self._deltas = Deltas()
        self._then: float | None = None
        #: Aggregates whose names are refused.
        self.refused_aggregates = Counter()

    def site(self, reactor: Any) -> Any:
        """What answers at HTTP_PORT."""
        daemon = self._daemon
        return make_site(
            _nothing_at, self.health, self.metrics_text, time.time, reactor=reactor, ready=lambda: daemon.ready
        )

    # ---- documents

    def ledger(self) -> dict[str, Any]:
        """Where every point went that came in."""
        d = self._daemon
        dropped = d.intake.dropped.as_dict()
        for reason, points in (*d.plans.dropped.as_dict().items(), *d.output_plans.dropped.as_dict().items()):
            dropped[reason] = dropped.get(reason, 0) + points
        if self.refused_aggregates.value:
            dropped["invalid_name"] = dropped.get("invalid_name", 0) + self.refused_aggregates.value
        received, emitted = d.intake.received.value, d.routing.aggregator.sent.value
        relayed = d.plans.relayed.value + d.output_plans.relayed.value
        aggregated = d.plans.aggregated.value + d.output_plans.aggregated.value
        return {
            "received": received,
            "emitted": emitted,
            "relayed": relayed,
            "aggregated": aggregated,
            "dropped": dropped,
            "balanced": received + emitted == relayed + aggregated + sum(dropped.values()),
        }

    def destination(self, courier: Courier) -> dict[str, Any]:
        """The state and the ledger of one destination."""
        outbox = courier.outbox
        now = time.time()
        oldest = [since for since in (outbox.oldest_in_memory, outbox.spool.oldest) if since is not None]
        return {
            "connected": courier.connected,
            "acknowledges": courier.acknowledges,
            "failures": courier.failures,
            "why": courier.why,
            "received": outbox.received.value,
            "recovered": outbox.recovered.value,
            "delivered": outbox.delivered.value,
            "queued": outbox.queued,
            "in_flight": outbox.in_flight,
            "spooled": outbox.spooled,
            "spool_bytes": outbox.spool.bytes,
            "moved": outbox.moved.value,
            "dropped": outbox.dropped.as_dict(),
            "balanced": outbox.balanced,
            "lag_seconds": round(max(0.0, now - min(oldest)), 3) if oldest else 0.0,
            "replay_rate": outbox.replay_rate,
            "replay_eta_seconds": round(outbox.spooled / outbox.replay_rate, 1) if outbox.spooled else 0,
        }

    def health(self) -> dict[str, Any]:
        """The document of ``GET /health``."""
        d = self._daemon
        destinations = {name: self.destination(courier) for name, courier in d.outboxes}
        return {
            "status": self._status(destinations),
            "version": __version__,
            "program": d.settings.program,
            "instance": d.settings.instance,
            "uptime": round(d.uptime(), 3),
            "ledger": self.ledger(),
            "destinations": destinations,
            "aggregates": d.routing.aggregate_figures(),
            "receivers": {"connections": len(d.receivers), "paused": d.receivers.paused},
            "names": len(d.names),
        }

    def _status(self, destinations: dict[str, dict[str, Any]]) -> str:
        if not self._daemon.ready:
            return "starting"
        well = all(figures["connected"] and figures["balanced"] for figures in destinations.values())
        return "ok" if well and not self._daemon.receivers.paused else "degraded"

    def metrics_text(self) -> str:
        """The Prometheus text of ``GET /metrics``."""
        d, ledger = self._daemon, self.ledger()
        text = prometheus(
            [
                ("received_total", "counter", "Datapoints that came in.", ledger["received"]),
                ("relayed_total", "counter", "Datapoints that were sent on.", ledger["relayed"]),
                ("aggregated_total", "counter", "Datapoints that only aggregates took.", ledger["aggregated"]),
                ("emitted_total", "counter", "Aggregates that were sent on.", ledger["emitted"]),
                ("dropped_total", "counter", "Datapoints dropped, by reason.", ledger["dropped"]),
                ("balanced", "gauge", "1 if every datapoint is accounted for.", int(ledger["balanced"])),
                ("connections", "gauge", "Senders that are connected.", len(d.receivers)),
                ("names", "gauge", "Names that are known.", len(d.names)),
                ("cpu_seconds_total", "counter", "CPU of this process.", round(cpu_seconds(()), 3)),
                ("resident_bytes", "gauge", "Memory of this process.", memory_bytes(())),
            ]
        )
        return text + self._destinations_text()

    def _destinations_text(self) -> str:
        lines = []
        figures = {name: self.destination(courier) for name, courier in self._daemon.outboxes}
        for key, kind, what in _DESTINATION_FIGURES:
            lines += [f"# HELP carbonpy_destination_{key} {what}", f"# TYPE carbonpy_destination_{key} {kind}"]
            field = key.removesuffix("_total")
            for name, one in figures.items():
                if field == "dropped":
                    for reason, points in one["dropped"].items():
                        lines.append(f'carbonpy_destination_{key}{{destination="{name}",reason="{reason}"}} {points}')
                else:
                    value = one[field]
                    lines.append(f'carbonpy_destination_{key}{{destination="{name}"}} '
                                 f"{int(value) if isinstance(value, bool) else value}")  # fmt: skip
        return "\n".join(lines) + "\n" if lines else ""

    # ---- own metrics

    def own_metrics(self, now: float) -> list[tuple[str, float]]:
        """(name, value) of every figure: growth since the last call for what grows, as it is for the rest."""
        d, ledger = self._daemon, self.ledger()
        grown: dict[str, float] = {
            "metricsReceived": d.intake.accepted.value,
            "blacklistMatches": d.intake.dropped["blacklisted"],
            "whitelistRejects": d.intake.dropped["not_whitelisted"],
            "dropped": sum(ledger["dropped"].values()),
            "_cpu": cpu_seconds(()),
        }
        gauges: dict[str, float] = {"activeConnections": len(d.receivers), "memUsage": memory_bytes(())}
        if d.routing.aggregates:
            aggregates = d.routing.aggregate_figures()
            grown["aggregateDatapointsSent"] = ledger["emitted"]
            gauges["allocatedBuffers"], gauges["bufferedDatapoints"] = aggregates["buffers"], aggregates["points"]
        for name, courier in d.outboxes:
            outbox, place = courier.outbox, f"destinations.{label_of(name)}."
            grown[place + "attemptedRelays"] = outbox.received.value
            grown[place + "sent"] = outbox.delivered.value
            grown[place + "batchesSent"] = courier.batches
            grown[place + "fullQueueDrops"] = outbox.dropped["queue_full"]
            grown[place + "dropped"] = outbox.dropped.total()
            gauges[place + "relayMaxQueueLength"] = outbox.queued
            gauges[place + "inFlight"] = outbox.in_flight
            gauges[place + "spooled"] = outbox.spooled
        values = {name: self._deltas.take(name, value) for name, value in grown.items()}
        seconds = now - self._then if self._then is not None else 0.0
        self._then = now
        cpu = values.pop("_cpu")
        gauges["cpuUsage"] = 100.0 * cpu / seconds if seconds > 0 else 0.0
        return [(d.own_prefix + name, float(value)) for name, value in {**values, **gauges}.items()]


#: (key, type, help) of the figures of each destination in the Prometheus text.
_DESTINATION_FIGURES = (
    ("received_total", "counter", "Datapoints for the destination."),
    ("recovered_total", "counter", "Datapoints that an earlier life left in the spool."),
    ("delivered_total", "counter", "Datapoints that arrived."),
    ("queued", "gauge", "Datapoints that wait in memory."),
    ("in_flight", "gauge", "Datapoints on their way."),
    ("spooled", "gauge", "Datapoints that wait on disk."),
    ("spool_bytes", "gauge", "Bytes of the spool."),
    ("moved_total", "counter", "Datapoints that other destinations took over."),
    ("dropped_total", "counter", "Datapoints dropped, by reason."),
    ("connected", "gauge", "1 if there is a connection."),
    ("lag_seconds", "gauge", "Age of the oldest datapoint that waits."),
    ("balanced", "gauge", "1 if every datapoint is accounted for."),
)
