"""THE table: every setting with its section, kind, default and one sentence.

The law: whatever else knows about settings is derived from this table: what is read from files, conf/,
docs/settings.rst, the errors.  Names are carbon's where carbon has the setting; where carbon's code and its
carbon.conf.example differ, the default is the example's.  A default that is another setting's business
is None here, `derived` says what it will be, and `carbonpy.settings.places` works it out.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonpy.settings.kinds import (
    Choice,
    Flag,
    Hosts,
    Interface,
    Kind,
    Number,
    OptionalPath,
    Path,
    Port,
    Processes,
    TimeZone,
    Urls,
    Words,
)

#: The sections whose settings are in the table, in the order in which they are shown.
SECTIONS = ("cache", "web")
#: The orders in which a sweep may be written, by carbon's names.
WRITE_STRATEGIES = ("sorted", "timesorted", "max", "naive", "bucketmax", "random")
JOURNAL_FSYNC = ("never", "interval", "batch")
#: How the series of a pattern are consolidated for maxDataPoints: by the average, or as their files say.
CONSOLIDATIONS = ("average", "storage")
#: Which of several caches has the points of a metric.
CARBONLINK_HASHING = ("all", "carbon_ch")


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


_TEXT, _FLAG, _PATH, _INTERFACE, _PORT = Kind(), Flag(), Path(), Interface(), Port()
_SECONDS = Number(unit="seconds")
_SOME_SECONDS = Number(unit="seconds", above=True)
_BYTES = Number(low=64, high=2**31 - 1, whole=True, unit="bytes")


def _row(name: str, kind: Kind, default: object, sentence: str, derived: str = "") -> Setting:
    return Setting(name, kind, default, sentence, derived=derived)


def _live(name: str, kind: Kind, default: object, sentence: str) -> Setting:
    return Setting(name, kind, default, sentence, reload=True)


# fmt: off
_GROUPS: tuple[tuple[str, str, tuple[Setting, ...]], ...] = (
    ("cache", "Places and process", (
        _row("STORAGE_DIR", _PATH, None,
             "The directory below which everything that is written lies, unless a setting below says otherwise.",
             derived="$GRAPHITE_STORAGE_DIR, or $GRAPHITE_ROOT/storage"),
        _row("CONF_DIR", _PATH, None,
             "The directory of storage-schemas.conf, storage-aggregation.conf, whitelist.conf and blacklist.conf.",
             derived="where this file lies"),
        _row("LOCAL_DATA_DIR", _PATH, None,
             "The directory of the whisper files.", derived="<STORAGE_DIR>/whisper"),
        _row("CATALOG_FILE", _PATH, None,
             "The SQLite file with the names and tags of all metrics; one for each instance, and safe to delete.",
             derived="catalog-<instance>.sqlite beside <LOCAL_DATA_DIR>"),
        _row("LOG_DIR", _PATH, None,
             "The directory of log files when not in the foreground; carbon-cache-<instance> is appended.",
             derived="<STORAGE_DIR>/log/carbon-cache"),
        _row("PID_DIR", _PATH, None,
             "The directory of carbon-cache-<instance>.pid.", derived="<STORAGE_DIR>"),
        _row("USER", _TEXT, "",
             "The user to become when started by root; empty to stay who we are."),
        _row("DATABASE", Choice(("whisper",)), "whisper",
             "The kind of files that points are kept in: whisper."),
        _row("HOSTNAME", _TEXT, "",
             "The name of this machine in the names of carbonpy's own metrics; empty for the system's."),
        _row("SWITCH_INTERVAL", Number(low=0.0001, high=1, unit="seconds"), 0.0005,
             "How long a thread may keep the interpreter while another waits; Python's own 0.005 starves the "
             "writer."),
        _live("SHUTDOWN_TIMEOUT", _SECONDS, 5,
              "Seconds that a stop may take to write points to files; what is left is in the journal."),
    )),
    ("cache", "Receivers", (
        _row("LINE_RECEIVER_INTERFACE", _INTERFACE, "0.0.0.0",
             "The address of the line receiver; :: for IPv4 and IPv6."),
        _row("LINE_RECEIVER_PORT", _PORT, 2003,
             "The TCP port for lines of name, value and timestamp; 0 for none."),
        _live("LINE_RECEIVER_MAX_LENGTH", _BYTES, 16384,
              "The longest line; a longer one is skipped and counted."),
        _row("ENABLE_UDP_LISTENER", _FLAG, False,
             "Whether lines are received over UDP, too."),
        _row("UDP_RECEIVER_INTERFACE", _INTERFACE, "0.0.0.0",
             "The address of the UDP receiver; :: for IPv4 and IPv6."),
        _row("UDP_RECEIVER_PORT", _PORT, 2003,
             "The UDP port for lines; 0 for none."),
        _row("UDP_RECEIVER_MAX_LENGTH", Number(512, 65535, whole=True, unit="bytes"), 65535,
             "The longest datagram."),
        _row("UDP_RECEIVER_BUFFER", Number(0, 2**31 - 1, whole=True, unit="bytes"), 8 * 2**20,
             "The kernel's buffer for datagrams that wait for us (SO_RCVBUF); 0 for the system's default."),
        _row("PICKLE_RECEIVER_INTERFACE", _INTERFACE, "0.0.0.0",
             "The address of the pickle receiver; :: for IPv4 and IPv6."),
        _row("PICKLE_RECEIVER_PORT", _PORT, 2004,
             "The TCP port for pickled batches; 0 for none."),
        _live("PICKLE_RECEIVER_MAX_LENGTH", _BYTES, 2**20,
              "The longest pickled batch; a longer one ends its connection and is counted."),
        _live("MAX_RECEIVER_CONNECTIONS", Number(1, whole=True, endless=True), float("inf"),
              "How many senders may be connected at once; further ones wait until one leaves."),
        _live("METRIC_CLIENT_IDLE_TIMEOUT", Number(unit="seconds", above=True, optional=True), None,
              "Seconds without a byte after which a sender is disconnected; None for never."),
        _live("TCP_KEEPALIVE", _FLAG, True,
              "Whether the system probes silent connections of senders."),
        _live("TCP_KEEPIDLE", Number(1, 32767, whole=True, unit="seconds"), 10,
              "Seconds of silence before the first probe."),
        _live("TCP_KEEPINTVL", Number(1, 32767, whole=True, unit="seconds"), 30,
              "Seconds between probes."),
        _live("TCP_KEEPCNT", Number(1, 127, whole=True), 2,
              "Unanswered probes after which a connection counts as lost."),
        _row("GATHER_INTERVAL", Number(0, 1, unit="seconds"), 0.005,
             "How long lines of all senders are gathered before they are taken in together."),
        _row("GATHER_SIZE", Number(1024, 2**30, whole=True, unit="bytes"), 262144,
             "How many gathered bytes are taken in at once without waiting for GATHER_INTERVAL to pass."),
    )),
    ("cache", "Names and timestamps", (
        _live("MAX_METRICS", Number(1, 2**31, whole=True), 4_000_000,
              "How many names are known at once; points of further names are dropped and counted."),
        _row("MAX_NAME_LENGTH", Number(16, 65536, whole=True, unit="bytes"), 2048,
             "The longest name of a metric, tags included; longer ones are dropped and counted."),
        _live("USE_WHITELIST", _FLAG, False,
              "Whether whitelist.conf and blacklist.conf decide which names are let in."),
        _row("TAG_HASH_FILENAMES", _FLAG, True,
             "Whether files of tagged metrics are named by a hash alone; False for the readable name."),
        _live("MIN_TIMESTAMP_RESOLUTION", Number(0, 2**31, whole=True, unit="seconds"), 1,
              "Timestamps are rounded down to a multiple of this; 0 and 1 are whole seconds."),
        _live("MAX_FUTURE", _SECONDS, 0,
              "How far ahead of the clock a timestamp may lie; 0 leaves it to the file, which refuses what its "
              "finest archive cannot hold yet."),
    )),
    ("cache", "Cache and journal", (
        _live("MAX_CACHE_SIZE", Number(1, whole=True, endless=True, unit="datapoints"), 5_000_000,
              "How many datapoints may wait in memory to be written; inf for no limit."),
        _live("USE_FLOW_CONTROL", _FLAG, True,
              "Whether TCP senders are paused while the cache is full; False drops their points and counts them."),
        _row("JOURNAL", _FLAG, True,
             "Whether waiting points are also on disk, so that a crash does not lose them."),
        _row("JOURNAL_DIR", _PATH, None,
             "The directory of the journal.", derived="<STORAGE_DIR>/journal/<instance>"),
        _row("JOURNAL_FSYNC", Choice(JOURNAL_FSYNC), "interval",
             "When the journal is forced to the disk, which matters when the machine loses power: never, each "
             "interval, or each batch."),
        _row("JOURNAL_FSYNC_INTERVAL", _SOME_SECONDS, 1,
             "Seconds between two forced writes with JOURNAL_FSYNC = interval."),
    )),
    ("cache", "Writer", (
        _row("WRITER_PROCESSES", Processes(), "auto",
             "How many processes write files: 0 for a thread of the daemon, auto for one less than there are "
             "cores, at most 8."),
        _live("SWEEP_INTERVAL", _SECONDS, 10,
              "Seconds between the starts of two sweeps through the cache."),
        _row("CACHE_WRITE_STRATEGY", Choice(WRITE_STRATEGIES), "sorted",
             "The order in which the metrics of a sweep are written: most points first (sorted, max, bucketmax), "
             "oldest point first (timesorted), as they come (naive), or random."),
        _live("MAX_UPDATES_PER_SECOND", Number(above=True, endless=True), 500,
              "How many files are updated each second at most; inf for no limit."),
        _live("MAX_UPDATES_PER_SECOND_ON_SHUTDOWN", Number(above=True, endless=True, optional=True), None,
              "The same while the daemon stops; None for no change."),
        _live("MAX_CREATES_PER_MINUTE", Number(endless=True), float("inf"),
              "How many files are created each minute at most; points of metrics that wait for theirs stay in the "
              "cache."),
        _row("WHISPER_AUTOFLUSH", _FLAG, False,
             "Whether each update of a file is forced to the disk; very slow."),
        _row("WHISPER_SPARSE_CREATE", _FLAG, True,
             "Whether new files take room on the disk only as they fill; False writes zeros at once."),
        _row("WHISPER_FALLOCATE_CREATE", _FLAG, False,
             "Whether the room for new files is reserved at once (posix_fallocate); stronger than "
             "WHISPER_SPARSE_CREATE."),
        _row("WHISPER_LOCK_WRITES", _FLAG, False,
             "Whether a file is locked (flock) while it is written, for programs that do the same."),
        _row("WHISPER_FADVISE_RANDOM", _FLAG, False,
             "Whether the system is told not to read ahead in files (POSIX_FADV_RANDOM)."),
    )),
    ("cache", "Query port", (
        _row("CACHE_QUERY_INTERFACE", _INTERFACE, "127.0.0.1",
             "The address where graphite-web may ask for waiting points (CarbonLink); it has no password."),
        _row("CACHE_QUERY_PORT", _PORT, 7002,
             "The TCP port of CarbonLink; 0 for none."),
    )),
    ("cache", "Own metrics and logs", (
        _row("CARBON_METRIC_PREFIX", _TEXT, "carbon",
             "How the names of carbonpy's own metrics begin."),
        _row("CARBON_METRIC_INTERVAL", _SECONDS, 60,
             "Seconds between two points of carbonpy's own metrics; 0 for none."),
        _row("ENABLE_LOGROTATION", _FLAG, True,
             "Whether log files are rotated daily; False reopens a renamed file."),
        _live("LOG_UPDATES", _FLAG, False,
              "Whether each sweep is logged with the number of files that it updated."),
        _row("LOG_CREATES", _FLAG, False,
             "Whether each new file is logged."),
        _row("LOG_CACHE_HITS", _FLAG, False,
             "Whether each query of waiting points is logged."),
        _live("LOG_CACHE_QUEUE_SORTS", _FLAG, False,
              "Whether each sweep is logged with its size and duration."),
        _live("LOG_LISTENER_CONN_SUCCESS", _FLAG, True,
              "Whether each new connection of a sender is logged."),
        _live("LOG_LISTENER_CONN_LOST", _FLAG, False,
              "Whether each connection that a sender ends is logged."),
    )),
    ("web", "Web service", (
        _row("HTTP_INTERFACE", _INTERFACE, "127.0.0.1",
             "The address of the HTTP port; :: for IPv4 and IPv6."),
        _row("HTTP_PORT", _PORT, 8080,
             "The TCP port of /render, /metrics/find, /health and /metrics; 0 for none, the default of instances "
             "other than a."),
        _row("TIME_ZONE", TimeZone(), "UTC",
             "The time zone of queries that do not name one."),
        _row("DEFAULT_CONSOLIDATION", Choice(CONSOLIDATIONS), "average",
             "How values are consolidated when a query does not say: by their average, or as the metric's file "
             "does (storage)."),
        _row("FIND_BY_LAST_WRITE", _FLAG, False,
             "Whether from and until of a find leave out metrics whose files were last written outside of them."),
        _row("EVENTS_FILE", _PATH, None,
             "The SQLite file of the events; it may be shared by all instances.",
             derived="events.sqlite beside <LOCAL_DATA_DIR>"),
        _row("LOG_REQUESTS", _FLAG, False,
             "Whether each query is logged with its duration, its series and its points."),
    )),
    ("web", "Limits of queries", (
        _row("WEB_PROCESSES", Processes(most=4, least=1), "auto",
             "How many processes answer queries: 0 for threads of the daemon, where a query that hangs cannot be "
             "ended; auto for one less than there are cores, at least 1 and at most 4. They are started when they "
             "are needed."),
        _row("HTTP_MAX_SECONDS", _SOME_SECONDS, 60,
             "Seconds that a query may take; one that takes longer is ended and told so."),
        _row("HTTP_MAX_MEMORY", Number(2**24, whole=True, endless=True, unit="bytes"), 2**30,
             "How much memory a query may use in its process; one that needs more is ended and told so."),
        _row("HTTP_MAX_POINTS", Number(1, whole=True, endless=True, unit="values"), 5_000_000,
             "How many values one answer may hold; a larger query is refused with a sentence."),
        _row("HTTP_MAX_SERIES", Number(1, whole=True, endless=True), 20_000,
             "How many series one query may match; a larger query is refused with a sentence."),
        _row("HTTP_MAX_BODY", _BYTES, 2**20,
             "The longest body of a POST request."),
        _row("RENDER_CACHE_SIZE", Number(0, whole=True, unit="bytes"), 0,
             "How much memory answers of /render may take that are kept for whoever asks the same again; 0 keeps "
             "none."),
    )),
    ("web", "Who may ask", (
        _row("HTTP_CORS_ORIGINS", Words(), (),
             "Origins whose pages may ask from a browser, like https://grafana.example.org; * for every one; empty "
             "for none."),
        _row("HTTP_AUTH_FILE", OptionalPath(), "",
             "A file with the users who may ask, a line for each as carbonpy password makes it; empty to answer "
             "everybody."),
        _row("HTTP_TLS_CERTIFICATE", OptionalPath(), "",
             "The certificate (PEM, with its chain) to answer over HTTPS, which needs pyOpenSSL; empty for HTTP."),
        _row("HTTP_TLS_KEY", OptionalPath(), "",
             "The key of HTTP_TLS_CERTIFICATE (PEM); empty if it is in the same file."),
    )),
    ("web", "Other sources, for carbonpy web", (
        _row("CARBONLINK_HOSTS", Hosts(), (),
             "The query ports (host:port or host:port:instance) of the caches whose points are not in files yet; "
             "for carbonpy web."),
        _row("CARBONLINK_TIMEOUT", _SOME_SECONDS, 1,
             "Seconds to wait for one of CARBONLINK_HOSTS."),
        _row("CARBONLINK_HASHING_TYPE", Choice(CARBONLINK_HASHING), "all",
             "Which of CARBONLINK_HOSTS is asked about a metric: all, or those where a relay with carbon_ch puts "
             "it."),
        _row("CARBONLINK_REPLICATION", Number(1, 64, whole=True), 1,
             "The relay's REPLICATION_FACTOR, for CARBONLINK_HASHING_TYPE = carbon_ch."),
        _row("CLUSTER_SERVERS", Urls(), (),
             "Other servers that are asked too (http://host:port/prefix?format=msgpack): carbonpy, graphite-web or "
             "go-carbon; for carbonpy web."),
        _row("FIND_TIMEOUT", _SOME_SECONDS, 3,
             "Seconds to wait for names from one of CLUSTER_SERVERS."),
        _row("FETCH_TIMEOUT", _SOME_SECONDS, 6,
             "Seconds to wait for values from one of CLUSTER_SERVERS."),
        _row("REMOTE_RETRY_DELAY", _SECONDS, 60,
             "Seconds during which one of CLUSTER_SERVERS or CARBONLINK_HOSTS that failed is not asked again."),
    )),
)
# fmt: on


def all_settings() -> tuple[Setting, ...]:
    """Every row with its section and group, in the order of documents."""
    rows = []
    for section, group, settings in _GROUPS:
        for row in settings:
            rows.append(Setting(row.name, row.kind, row.default, row.sentence, row.reload, row.derived, section, group))
    return tuple(rows)


SETTINGS = all_settings()
#: The rows by (section, NAME).
BY_NAME = {(setting.section, setting.name): setting for setting in SETTINGS}
