"""THE table: every setting with its section, kind, default and one sentence.

The law: whatever else knows about settings is derived from this table: what is read from files, conf/,
docs/settings.rst, the errors.  Names are carbon's where carbon has the setting; where carbon's code and its
carbon.conf.example differ, the default is the example's.  A default that is another setting's business
is None here, `derived` says what it will be, and `carbonpy.settings.places` works it out.
"""

from __future__ import annotations

from dataclasses import replace

from carbonpy.hashing.rings import RING_TYPES
from carbonpy.settings.kinds import Choice, Hosts, Number, OptionalPath, Processes, TimeZone, Urls, Words
from carbonpy.settings.relay_rows import AGGREGATOR, CACHE_AGGREGATION, RELAY
from carbonpy.settings.rows import (
    BYTES,
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
    TAG_HASH_FILENAMES,
    TEXT,
    TIMESTAMPS,
    Setting,
    live,
    row,
)

#: The sections whose settings are in the table, in the order in which they are shown.
SECTIONS = ("cache", "web", "relay", "aggregator")
#: Program -> the sections that it reads.  The first has its directories, its user and its log.
SECTIONS_OF = {
    "cache": ("cache", "web"),
    "aggregator-cache": ("cache", "web"),
    "web": ("cache", "web"),
    "relay": ("relay",),
    "aggregator": ("aggregator",),
}
#: Programs that read a section under a name of its own, in place of the one of the table.
SECTION_NAMES = {"aggregator-cache": {"cache": "aggregator-cache"}}
#: Program -> defaults that differ from the table's.
DEFAULTS: dict[str, dict[str, object]] = {"aggregator-cache": {"AGGREGATE": True}}
#: Programs that keep points.
CACHES = ("cache", "aggregator-cache")
#: The orders in which a sweep may be written, by carbon's names.
WRITE_STRATEGIES = ("sorted", "timesorted", "max", "naive", "bucketmax", "random")
JOURNAL_FSYNC = ("never", "interval", "batch")
#: How the series of a pattern are consolidated for maxDataPoints: by the average, or as their files say.
CONSOLIDATIONS = ("average", "storage")
#: Which of several caches has the points of a metric.
CARBONLINK_HASHING = ("all", *RING_TYPES)


# fmt: off
_GROUPS: tuple[tuple[str, str, tuple[Setting, ...]], ...] = (
    ("cache", "Places and process", (
        row("STORAGE_DIR", PATH, None,
             "The directory below which everything that is written lies, unless a setting below says otherwise.",
             derived="$GRAPHITE_STORAGE_DIR, or $GRAPHITE_ROOT/storage"),
        row("CONF_DIR", PATH, None,
             "The directory of storage-schemas.conf, storage-aggregation.conf, whitelist.conf and blacklist.conf.",
             derived="where this file lies"),
        row("LOCAL_DATA_DIR", PATH, None,
             "The directory of the whisper files.", derived="<STORAGE_DIR>/whisper"),
        row("CATALOG_FILE", PATH, None,
             "The SQLite file with the names and tags of all metrics; one for each instance, and safe to delete.",
             derived="catalog-<instance>.sqlite beside <LOCAL_DATA_DIR>"),
        row("LOG_DIR", PATH, None,
             "The directory of log files when not in the foreground; carbon-cache-<instance> is appended.",
             derived="<STORAGE_DIR>/log/carbon-cache"),
        row("PID_DIR", PATH, None,
             "The directory of carbon-cache-<instance>.pid.", derived="<STORAGE_DIR>"),
        row("USER", TEXT, "",
             "The user to become when started by root; empty to stay who we are."),
        row("DATABASE", Choice(("whisper",)), "whisper",
             "The kind of files that points are kept in: whisper."),
        row("HOSTNAME", TEXT, "",
             "The name of this machine in the names of carbonpy's own metrics; empty for the system's."),
        row("SWITCH_INTERVAL", Number(low=0.0001, high=1, unit="seconds"), 0.0005,
             "How long a thread may keep the interpreter while another waits; Python's own 0.005 starves the "
             "writer."),
        live("SHUTDOWN_TIMEOUT", SECONDS, 5,
              "Seconds that a stop may take to write points to files; what is left is in the journal."),
    )),
    ("cache", "Receivers", RECEIVERS),
    ("cache", "Names and timestamps", (*NAMES, TAG_HASH_FILENAMES, *TIMESTAMPS)),
    ("cache", "Aggregation and rewriting", CACHE_AGGREGATION),
    ("cache", "Cache and journal", (
        live("MAX_CACHE_SIZE", Number(1, whole=True, endless=True, unit="datapoints"), 5_000_000,
              "How many datapoints may wait in memory to be written; inf for no limit."),
        live("USE_FLOW_CONTROL", FLAG, True,
              "Whether TCP senders are paused while the cache is full; False drops their points and counts them."),
        row("JOURNAL", FLAG, True,
             "Whether waiting points are also on disk, so that a crash does not lose them."),
        row("JOURNAL_DIR", PATH, None,
             "The directory of the journal.", derived="<STORAGE_DIR>/journal/<instance>"),
        row("JOURNAL_FSYNC", Choice(JOURNAL_FSYNC), "interval",
             "When the journal is forced to the disk, which matters when the machine loses power: never, each "
             "interval, or each batch."),
        row("JOURNAL_FSYNC_INTERVAL", SOME_SECONDS, 1,
             "Seconds between two forced writes with JOURNAL_FSYNC = interval."),
    )),
    ("cache", "Writer", (
        row("WRITER_PROCESSES", Processes(), "auto",
             "How many processes write files: 0 for a thread of the daemon; auto for one less than there are "
             "cores, at most 8, which take over from a thread when there is much to write."),
        row("MIGRATE_SCHEMAS", FLAG, False,
             "Whether existing files are made as storage-schemas.conf and storage-aggregation.conf want new ones, "
             "at the start and when these change."),
        row("MIGRATE_RATE", Number(above=True, unit="files a second"), 20,
             "How many files MIGRATE_SCHEMAS replaces each second at most."),
        row("EXPIRY_RULES", OptionalPath(), "",
             "A file with rules of expiry, as for carbonpy expire, by which the daemon deletes metrics; empty for "
             "none."),
        row("EXPIRY_INTERVAL", SOME_SECONDS, 86400,
             "Seconds between two looks for metrics that EXPIRY_RULES lets go."),
        live("SWEEP_INTERVAL", SECONDS, 10,
              "Seconds between the starts of two sweeps through the cache."),
        row("CACHE_WRITE_STRATEGY", Choice(WRITE_STRATEGIES), "sorted",
             "The order in which the metrics of a sweep are written: most points first (sorted, max, bucketmax), "
             "oldest point first (timesorted), as they come (naive), or random."),
        live("MAX_UPDATES_PER_SECOND", Number(above=True, endless=True), 500,
              "How many files are updated each second at most; inf for no limit."),
        live("MAX_UPDATES_PER_SECOND_ON_SHUTDOWN", Number(above=True, endless=True, optional=True), None,
              "The same while the daemon stops; None for no change."),
        live("MAX_CREATES_PER_MINUTE", Number(endless=True), float("inf"),
              "How many files are created each minute at most; points of metrics that wait for theirs stay in the "
              "cache."),
        row("WHISPER_AUTOFLUSH", FLAG, False,
             "Whether each update of a file is forced to the disk; very slow."),
        row("WHISPER_SPARSE_CREATE", FLAG, True,
             "Whether new files take room on the disk only as they fill; False writes zeros at once."),
        row("WHISPER_FALLOCATE_CREATE", FLAG, False,
             "Whether the room for new files is reserved at once (posix_fallocate); stronger than "
             "WHISPER_SPARSE_CREATE."),
        row("WHISPER_LOCK_WRITES", FLAG, False,
             "Whether a file is locked (flock) while it is written, for programs that do the same."),
        row("WHISPER_FADVISE_RANDOM", FLAG, False,
             "Whether the system is told not to read ahead in files (POSIX_FADV_RANDOM)."),
    )),
    ("cache", "Query port", (
        row("CACHE_QUERY_INTERFACE", INTERFACE, "127.0.0.1",
             "The address where graphite-web may ask for waiting points (CarbonLink); it has no password."),
        row("CACHE_QUERY_PORT", PORT, 7002,
             "The TCP port of CarbonLink; 0 for none."),
    )),
    ("cache", "Own metrics and logs", (
        *OWN_METRICS,
        live("LOG_UPDATES", FLAG, False,
              "Whether each sweep is logged with the number of files that it updated."),
        row("LOG_CREATES", FLAG, False,
             "Whether each new file is logged."),
        row("LOG_CACHE_HITS", FLAG, False,
             "Whether each query of waiting points is logged."),
        live("LOG_CACHE_QUEUE_SORTS", FLAG, False,
              "Whether each sweep is logged with its size and duration."),
        *CONNECTION_LOGS,
    )),
    ("web", "Web service", (
        row("HTTP_INTERFACE", INTERFACE, "127.0.0.1",
             "The address of the HTTP port; :: for IPv4 and IPv6."),
        row("HTTP_PORT", PORT, 8080,
             "The TCP port of /render, /metrics/find, /health and /metrics; 0 for none, the default of instances "
             "other than a."),
        row("TIME_ZONE", TimeZone(), "UTC",
             "The time zone of queries that do not name one."),
        row("DEFAULT_CONSOLIDATION", Choice(CONSOLIDATIONS), "average",
             "How values are consolidated when a query does not say: by their average, or as the metric's file "
             "does (storage)."),
        row("FIND_BY_LAST_WRITE", FLAG, False,
             "Whether from and until of a find leave out metrics whose files were last written outside of them."),
        row("EVENTS_FILE", PATH, None,
             "The SQLite file of the events; it may be shared by all instances.",
             derived="events.sqlite beside <LOCAL_DATA_DIR>"),
        row("LOG_REQUESTS", FLAG, False,
             "Whether each query is logged with its duration, its series and its points."),
    )),
    ("web", "Limits of queries", (
        row("WEB_PROCESSES", Processes(most=4, least=1), "auto",
             "How many processes answer queries: 0 for threads of the daemon, where a query that hangs cannot be "
             "ended; auto for one less than there are cores, at least 1 and at most 4. They are started when they "
             "are needed."),
        row("HTTP_MAX_SECONDS", SOME_SECONDS, 60,
             "Seconds that a query may take; one that takes longer is ended and told so."),
        row("HTTP_MAX_MEMORY", Number(2**24, whole=True, endless=True, unit="bytes"), 2**30,
             "How much memory a query may use in its process; one that needs more is ended and told so."),
        row("HTTP_MAX_POINTS", Number(1, whole=True, endless=True, unit="values"), 5_000_000,
             "How many values one answer may hold; a larger query is refused with a sentence."),
        row("HTTP_MAX_SERIES", Number(1, whole=True, endless=True), 20_000,
             "How many series one query may match; a larger query is refused with a sentence."),
        row("HTTP_MAX_BODY", BYTES, 2**20,
             "The longest body of a POST request."),
        row("RENDER_CACHE_SIZE", Number(0, whole=True, unit="bytes"), 0,
             "How much memory answers of /render may take that are kept for whoever asks the same again; 0 keeps "
             "none."),
    )),
    ("web", "Who may ask", (
        row("HTTP_CORS_ORIGINS", Words(), (),
             "Origins whose pages may ask from a browser, like https://grafana.example.org; * for every one; empty "
             "for none."),
        row("HTTP_AUTH_FILE", OptionalPath(), "",
             "A file with the users who may ask, a line for each as carbonpy password makes it; empty to answer "
             "everybody."),
        row("HTTP_TLS_CERTIFICATE", OptionalPath(), "",
             "The certificate (PEM, with its chain) to answer over HTTPS, which needs pyOpenSSL; empty for HTTP."),
        row("HTTP_TLS_KEY", OptionalPath(), "",
             "The key of HTTP_TLS_CERTIFICATE (PEM); empty if it is in the same file."),
    )),
    ("web", "Other sources, for carbonpy web", (
        row("CARBONLINK_HOSTS", Hosts(), (),
             "The query ports (host:port or host:port:instance) of the caches whose points are not in files yet; "
             "for carbonpy web."),
        row("CARBONLINK_TIMEOUT", SOME_SECONDS, 1,
             "Seconds to wait for one of CARBONLINK_HOSTS."),
        row("CARBONLINK_HASHING_TYPE", Choice(CARBONLINK_HASHING), "all",
             "Which of CARBONLINK_HOSTS is asked about a metric: all, or those where a relay with this ring puts it."),
        row("CARBONLINK_REPLICATION", Number(1, 64, whole=True), 1,
             "The relay's REPLICATION_FACTOR, where CARBONLINK_HASHING_TYPE is a ring."),
        row("CLUSTER_SERVERS", Urls(), (),
             "Other servers that are asked too (http://host:port/prefix?format=msgpack): carbonpy, graphite-web or "
             "go-carbon; for carbonpy web."),
        row("FIND_TIMEOUT", SOME_SECONDS, 3,
             "Seconds to wait for names from one of CLUSTER_SERVERS."),
        row("FETCH_TIMEOUT", SOME_SECONDS, 6,
             "Seconds to wait for values from one of CLUSTER_SERVERS."),
        row("REMOTE_RETRY_DELAY", SECONDS, 60,
             "Seconds during which one of CLUSTER_SERVERS or CARBONLINK_HOSTS that failed is not asked again."),
    )),
    *RELAY,
    *AGGREGATOR,
)
# fmt: on


def all_settings() -> tuple[Setting, ...]:
    """Every row with its section and group, in the order of documents."""
    rows: list[Setting] = []
    for section, group, settings in _GROUPS:
        rows.extend(replace(setting, section=section, group=group) for setting in settings)
    return tuple(rows)


SETTINGS = all_settings()
#: The rows by (section, NAME).
BY_NAME = {(setting.section, setting.name): setting for setting in SETTINGS}
