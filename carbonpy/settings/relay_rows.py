"""The rows of the table for relays and aggregators.

The law: see `carbonpy.settings.table`.  An aggregator is a relay with rules in front; it has every row of a relay and
those of the rules.  Its ports are those of carbon's example.
"""

from __future__ import annotations

from dataclasses import replace

from carbonpy.hashing.rings import RING_TYPES
from carbonpy.settings.kinds import Choice, Number, OptionalPath, Structure, Words
from carbonpy.settings.rows import (
    CONNECTION_LOGS,
    FLAG,
    INTERFACE,
    NAMES,
    OWN_METRICS,
    PATH,
    PORT,
    RECEIVERS,
    SECONDS,
    SOME_SECONDS,
    TEXT,
    TIMESTAMPS,
    Setting,
    live,
    row,
    with_defaults,
)

#: How a relay chooses destinations, by carbon's names.
RELAY_METHODS = (
    "rules",
    "consistent-hashing",
    "aggregated-consistent-hashing",
    "fast-hashing",
    "fast-aggregated-hashing",
    "constant",
)
#: Where on a ring a name lies; empty for what the method has in carbon.
HASH_TYPES = ("", *RING_TYPES)
PROTOCOLS = ("pickle", "line", "protobuf", "udp")
#: What becomes of points that a destination does not take fast enough.
POLICIES = ("spool", "block", "drop_oldest", "drop_newest")

_RATE = Number(above=True, endless=True, unit="datapoints a second")


# fmt: off
def _places(name: str) -> tuple[Setting, ...]:
    return (
        row("STORAGE_DIR", PATH, None,
            "The directory below which everything that is written lies, unless a setting below says otherwise.",
            derived="$GRAPHITE_STORAGE_DIR, or $GRAPHITE_ROOT/storage"),
        row("CONF_DIR", PATH, None,
            "The directory of relay-rules.conf, aggregation-rules.conf, rewrite-rules.conf, whitelist.conf and "
            "blacklist.conf.", derived="where this file lies"),
        row("SPOOL_DIR", PATH, None,
            "The directory of what destinations have not taken yet.", derived=f"<STORAGE_DIR>/spool/{name}-<instance>"),
        row("LOG_DIR", PATH, None,
            f"The directory of log files when not in the foreground; carbon-{name}-<instance> is appended.",
            derived=f"<STORAGE_DIR>/log/carbon-{name}"),
        row("PID_DIR", PATH, None,
            f"The directory of carbon-{name}-<instance>.pid.", derived="<STORAGE_DIR>"),
        row("USER", TEXT, "",
            "The user to become when started by root; empty to stay who we are."),
        row("HOSTNAME", TEXT, "",
            "The name of this machine in the names of carbonpy's own metrics; empty for the system's."),
        live("SHUTDOWN_TIMEOUT", SECONDS, 5,
             "Seconds that a stop may take to send what waits; what is left is in the spool."),
    )


_ROUTING = (
    live("DESTINATIONS", Words(), (),
         "Where points go: host:port or host:port:instance, with commas between them."),
    live("RELAY_METHOD", Choice(RELAY_METHODS), "rules",
         "How a destination is chosen for a name: by relay-rules.conf, by a ring, or all of them (constant)."),
    live("ROUTER_HASH_TYPE", Choice(HASH_TYPES), "",
         "The ring, for methods that hash; empty for carbon_ch, or mmh3_ch with the fast ones, as in carbon."),
    live("REPLICATION_FACTOR", Number(1, 128, whole=True), 1,
         "How many destinations get each point."),
    live("DIVERSE_REPLICAS", FLAG, True,
         "Whether the copies of a point go to different hosts."),
    live("DYNAMIC_ROUTER", FLAG, False,
         "Whether the next one on the ring gets the points of a destination that is down; False keeps them for it."),
    row("DYNAMIC_ROUTER_MAX_RETRIES", Number(1, whole=True), 5,
        "Failed attempts to connect after which a destination counts as down."),
    live("TAG_RELAY_NORMALIZED", FLAG, False,
         "Whether tags are sorted before names are hashed and sent on, as caches do it; False leaves names as they "
         "came."),
    row("RELAY_RULES", PATH, None,
        "The file of rules for RELAY_METHOD = rules.", derived="<CONF_DIR>/relay-rules.conf"),
    row("AGGREGATION_RULES", PATH, None,
        "The file of rules by which many metrics become one.", derived="<CONF_DIR>/aggregation-rules.conf"),
    row("REWRITE_RULES", PATH, None,
        "The file of rules by which names change.", derived="<CONF_DIR>/rewrite-rules.conf"),
    live("CLUSTERS", Structure(), None,
         "Named groups of servers, in YAML; with ROUTES in place of DESTINATIONS and RELAY_METHOD."),
    live("ROUTES", Structure(), None,
         "What is done with which names, in order, in YAML."),
)
_AGGREGATION = (
    live("FORWARD_ALL", FLAG, True,
         "Whether points that were aggregated are sent on as well; False sends aggregates only."),
    live("MAX_AGGREGATION_INTERVALS", Number(1, whole=True), 5,
         "How many intervals of an aggregate are kept for late points."),
    row("WRITE_BACK_FREQUENCY", Number(unit="seconds", above=True, optional=True), None,
         "Seconds between two values of an aggregate whose interval is not over; None for its own frequency."),
    live("REWRITE_AGGREGATES", FLAG, False,
         "Whether the [post] rules of rewrite-rules.conf change the names of aggregates too; carbon's do not."),
)
_SENDING = (
    live("DESTINATION_PROTOCOL", Choice(PROTOCOLS), "pickle",
         "What is spoken to DESTINATIONS: pickle, line or protobuf over TCP, or lines over UDP."),
    live("DESTINATION_TRANSPORT", Choice(("none", "ssl")), "none",
         "Whether connections to DESTINATIONS are encrypted (ssl), with their certificates and host names checked."),
    live("DESTINATION_SSL_CA", OptionalPath(), "",
         "The certificates (PEM) that DESTINATION_TRANSPORT = ssl trusts; empty for the system's."),
    live("DESTINATION_TLS_CERTIFICATE", OptionalPath(), "",
         "The certificate (PEM) that we show to DESTINATIONS; empty for none."),
    live("DESTINATION_TLS_KEY", OptionalPath(), "",
         "The key of DESTINATION_TLS_CERTIFICATE (PEM); empty if it is in the same file."),
    live("DESTINATION_COMPRESSION", Choice(("none", "gzip", "lz4")), "none",
         "How lines to DESTINATIONS are compressed, as carbon-c-relay does it."),
    live("DESTINATION_CONNECT_TIMEOUT", SOME_SECONDS, 5,
         "Seconds after which an attempt to connect has failed."),
    live("MAX_DATAPOINTS_PER_MESSAGE", Number(1, 100_000, whole=True), 500,
         "How many points one pickle or protobuf message holds at most."),
    live("ACKNOWLEDGE", Choice(("auto", "required", "off")), "auto",
         "Whether destinations confirm what they took, which carbonpy's pickle port does: where it is understood, "
         "always, or never."),
    live("ACKNOWLEDGE_TIMEOUT", SOME_SECONDS, 10,
         "Seconds without a confirmation after which a connection is given up and its points are sent again."),
)
_QUEUES = (
    live("QUEUE_POLICY", Choice(POLICIES), "spool",
         "What happens when a destination takes less than comes: points go to disk (spool), senders are paused "
         "(block), or points are dropped and counted."),
    live("MAX_QUEUE_SIZE", Number(1, whole=True, unit="datapoints"), 100_000,
         "How many points for one destination wait in memory."),
    live("QUEUE_LOW_WATERMARK_PCT", Number(0, 1), 0.8,
         "How full a queue is when paused senders are read again, with QUEUE_POLICY = block."),
    live("SPOOL_AFTER", SOME_SECONDS, 0.5,
         "Seconds after which a point that its destination has not taken is on disk; what a crash may cost."),
    live("SPOOL_MAX_SIZE", Number(2**20, whole=True, endless=True, unit="bytes"), 10 * 2**30,
         "How much disk the spool of one destination may take; then the oldest points go, counted as spool_full."),
    live("SPOOL_MAX_AGE", Number(unit="seconds", above=True, endless=True), float("inf"),
         "How long points are kept in the spool; older ones go, counted as spool_expired."),
    live("SPOOL_REPLAY_RATE", _RATE, 50_000,
         "How fast the spool is sent to a destination that is back; what arrives meanwhile goes first."),
)


def _rows(name: str, http_port: int, port: int) -> tuple[tuple[str, str, tuple[Setting, ...]], ...]:
    ports = {"LINE_RECEIVER_PORT": port, "UDP_RECEIVER_PORT": port, "PICKLE_RECEIVER_PORT": port + 1}
    web = (
        row("HTTP_INTERFACE", INTERFACE, "127.0.0.1",
            "The address of the HTTP port; :: for IPv4 and IPv6."),
        row("HTTP_PORT", PORT, http_port,
            "The TCP port of /ready, /health and /metrics; 0 for none, the default of instances other than a."),
    )
    aggregate = live("AGGREGATE", FLAG, name == "aggregator",
                     "Whether aggregation-rules.conf and rewrite-rules.conf are applied before points are sent on.")
    return (
        (name, "Places and process", _places(name)),
        (name, "Receivers", tuple(with_defaults(RECEIVERS, **ports))),
        (name, "Names and timestamps", (*NAMES, *TIMESTAMPS)),
        (name, "Routing", tuple(with_defaults(
            _ROUTING, RELAY_METHOD="consistent-hashing" if name == "aggregator" else "rules"))),
        (name, "Aggregation and rewriting", (aggregate, *_AGGREGATION)),
        (name, "Sending", _SENDING),
        (name, "Queues and spool", _QUEUES),
        (name, "Own metrics, logs and HTTP", (*OWN_METRICS, *CONNECTION_LOGS, *web)),
    )


#: What a cache has of these; it aggregates before it keeps points, and sends nothing on.
_KEPT = {
    "FORWARD_ALL": "Whether points that were aggregated are kept as well; False keeps aggregates only.",
}
CACHE_AGGREGATION = (
    row("AGGREGATE", FLAG, False,
        "Whether aggregation-rules.conf and rewrite-rules.conf are applied before points go into the cache, as "
        "carbon-aggregator-cache does."),
    *(setting for setting in _ROUTING if setting.name in ("AGGREGATION_RULES", "REWRITE_RULES")),
    *(replace(setting, sentence=_KEPT.get(setting.name, setting.sentence)) for setting in _AGGREGATION),
)
RELAY = _rows("relay", 8081, 2013)
AGGREGATOR = _rows("aggregator", 8082, 2023)
# fmt: on
