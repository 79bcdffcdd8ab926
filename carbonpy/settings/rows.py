"""A row of the table of settings, and the rows that receiving daemons share.

The law: see `carbonpy.settings.table`.  A setting that cache, relay and aggregator have in common is written down
once, here; where only its default differs, `with_defaults` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from carbonpy.settings.kinds import Flag, Interface, Kind, Number, OptionalPath, Path, Port
from carbonpy.settings.listeners import Listeners


@dataclass(frozen=True)
class Setting:
    """One row.  `reload`: a change takes effect on SIGHUP; otherwise the daemon must be restarted."""

    name: str
    kind: Kind
    default: object
    sentence: str
    reload: bool = False
    derived: str = ""
    section: str = "cache"
    group: str = ""

    @property
    def key(self) -> str:
        """The name in YAML and as attribute."""
        return self.name.lower()

    @property
    def default_text(self) -> str:
        """The default as documents show it."""
        return self.derived or self.kind.show(self.default)


TEXT, FLAG, PATH, INTERFACE, PORT = Kind(), Flag(), Path(), Interface(), Port()
SECONDS = Number(unit="seconds")
SOME_SECONDS = Number(unit="seconds", above=True)
BYTES = Number(low=64, high=2**31 - 1, whole=True, unit="bytes")


def row(name: str, kind: Kind, default: object, sentence: str, derived: str = "") -> Setting:
    return Setting(name, kind, default, sentence, derived=derived)


def live(name: str, kind: Kind, default: object, sentence: str) -> Setting:
    return Setting(name, kind, default, sentence, reload=True)


def with_defaults(rows: tuple[Setting, ...], **defaults: object) -> Iterator[Setting]:
    """The same rows with other defaults, by NAME."""
    for one in rows:
        yield replace(one, default=defaults[one.name]) if one.name in defaults else one


# fmt: off
#: How points come in.
RECEIVERS = (
    row("LINE_RECEIVER_INTERFACE", INTERFACE, "0.0.0.0",
         "The address of the line receiver; :: for IPv4 and IPv6."),
    row("LINE_RECEIVER_PORT", PORT, 2003,
         "The TCP port for lines of name, value and timestamp; 0 for none."),
    live("LINE_RECEIVER_MAX_LENGTH", BYTES, 16384,
          "The longest line; a longer one is skipped and counted."),
    row("ENABLE_UDP_LISTENER", FLAG, False,
         "Whether lines are received over UDP, too."),
    row("UDP_RECEIVER_INTERFACE", INTERFACE, "0.0.0.0",
         "The address of the UDP receiver; :: for IPv4 and IPv6."),
    row("UDP_RECEIVER_PORT", PORT, 2003,
         "The UDP port for lines; 0 for none."),
    row("UDP_RECEIVER_MAX_LENGTH", Number(512, 65535, whole=True, unit="bytes"), 65535,
         "The longest datagram."),
    row("UDP_RECEIVER_BUFFER", Number(0, 2**31 - 1, whole=True, unit="bytes"), 8 * 2**20,
         "The kernel's buffer for datagrams that wait for us (SO_RCVBUF); 0 for the system's default."),
    row("PICKLE_RECEIVER_INTERFACE", INTERFACE, "0.0.0.0",
         "The address of the pickle receiver; :: for IPv4 and IPv6."),
    row("PICKLE_RECEIVER_PORT", PORT, 2004,
         "The TCP port for pickled batches; 0 for none."),
    live("PICKLE_RECEIVER_MAX_LENGTH", BYTES, 2**20,
          "The longest batch, pickled or of protobuf; a longer one ends its connection and is counted."),
    row("PROTOBUF_RECEIVER_INTERFACE", INTERFACE, "0.0.0.0",
         "The address of the protobuf receiver; :: for IPv4 and IPv6."),
    row("PROTOBUF_RECEIVER_PORT", PORT, 0,
         "The TCP port for batches in carbon's protobuf form; 0 for none."),
    row("LISTENERS", Listeners(), (),
         "Further places to listen at, like line+gzip://0.0.0.0:2103, pickle+tls://[::]:2204, "
         "line+lz4+unix:///run/carbonpy.sock?mode=660 or udp://127.0.0.1:2003: line, pickle, protobuf or udp, then "
         "gzip or lz4, then tls or unix."),
    row("TLS_CERTIFICATE", OptionalPath(), "",
         "The certificate (PEM, with its chain) of listeners with tls, which need pyOpenSSL; SIGHUP reads it again."),
    row("TLS_KEY", OptionalPath(), "",
         "The key of TLS_CERTIFICATE (PEM, without a password); empty if it is in the same file."),
    row("TLS_CLIENT_CA", OptionalPath(), "",
         "The authorities (PEM) one of which must have signed the certificate of a sender to a listener with tls; "
         "empty to ask senders for no certificate."),
    live("MAX_RECEIVER_CONNECTIONS", Number(1, whole=True, endless=True), float("inf"),
          "How many senders may be connected at once; further ones wait until one leaves."),
    live("METRIC_CLIENT_IDLE_TIMEOUT", Number(unit="seconds", above=True, optional=True), None,
          "Seconds without a byte after which a sender is disconnected; None for never."),
    live("TCP_KEEPALIVE", FLAG, True,
          "Whether the system probes silent connections of senders."),
    live("TCP_KEEPIDLE", Number(1, 32767, whole=True, unit="seconds"), 10,
          "Seconds of silence before the first probe."),
    live("TCP_KEEPINTVL", Number(1, 32767, whole=True, unit="seconds"), 30,
          "Seconds between probes."),
    live("TCP_KEEPCNT", Number(1, 127, whole=True), 2,
          "Unanswered probes after which a connection counts as lost."),
    row("GATHER_INTERVAL", Number(0, 1, unit="seconds"), 0.005,
         "How long lines of all senders are gathered before they are taken in together."),
    row("GATHER_SIZE", Number(1024, 2**30, whole=True, unit="bytes"), 262144,
         "How many gathered bytes are taken in at once without waiting for GATHER_INTERVAL to pass."),
)
#: What is a name.
NAMES = (
    live("MAX_METRICS", Number(1, 2**31, whole=True), 4_000_000,
          "How many names are known at once; points of further names are dropped and counted."),
    row("MAX_NAME_LENGTH", Number(16, 65536, whole=True, unit="bytes"), 2048,
         "The longest name of a metric, tags included; longer ones are dropped and counted."),
    live("USE_WHITELIST", FLAG, False,
          "Whether whitelist.conf and blacklist.conf decide which names are let in."),
)
TAG_HASH_FILENAMES = row("TAG_HASH_FILENAMES", FLAG, True,
         "Whether files of tagged metrics are named by a hash alone; False for the readable name.")
#: What is a timestamp.
TIMESTAMPS = (
    live("MIN_TIMESTAMP_RESOLUTION", Number(0, 2**31, whole=True, unit="seconds"), 1,
          "Timestamps are rounded down to a multiple of this; 0 and 1 are whole seconds."),
    live("MAX_FUTURE", SECONDS, 0,
          "How far ahead of the clock a timestamp may lie; 0 leaves it to the file, which refuses what its "
          "finest archive cannot hold yet."),
)
#: What a daemon tells of itself.
OWN_METRICS = (
    row("CARBON_METRIC_PREFIX", TEXT, "carbon",
         "How the names of carbonpy's own metrics begin."),
    row("CARBON_METRIC_INTERVAL", SECONDS, 60,
         "Seconds between two points of carbonpy's own metrics; 0 for none."),
    row("ENABLE_LOGROTATION", FLAG, True,
         "Whether log files are rotated daily; False reopens a renamed file."),
)
#: Who comes and goes.
CONNECTION_LOGS = (
    live("LOG_LISTENER_CONN_SUCCESS", FLAG, True,
          "Whether each new connection of a sender is logged."),
    live("LOG_LISTENER_CONN_LOST", FLAG, False,
          "Whether each connection that a sender ends is logged."),
)
# fmt: on
