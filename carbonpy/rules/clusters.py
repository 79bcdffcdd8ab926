"""CLUSTERS in YAML: named groups of servers, and how they are spoken to.

The law: a cluster is what carbon-c-relay calls one: a type, which says who of the servers gets a name, and the servers
with their options.  The same server may be in several clusters if it has the same options in all of them, since it has
one connection and one queue.  Problems are gathered, not raised one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import Destination, file_destination, parse_destination
from carbonpy.hashing.rings import FAST_TYPES, RING_TYPES, diverse_by_default, make_ring
from carbonpy.rules.ini import shown

#: Types besides the rings.  ``lb``: the server for which the fewest points wait.
FORWARD, ANY_OF, FAILOVER, LB, FILE = "forward", "any_of", "failover", "lb", "file"
CLUSTER_TYPES = (FORWARD, ANY_OF, FAILOVER, LB, FILE, *RING_TYPES, *FAST_TYPES)
#: How tags count when a name is hashed: as they were sent, in order, or not at all.
TAGS = ("as_sent", "sorted", "ignored")
PROTOCOLS = ("line", "pickle", "protobuf", "udp")
COMPRESSIONS = ("none", "gzip", "lz4")
#: Options of servers, which a cluster may give for all of its own.
OPTIONS = ("protocol", "compression", "tls", "policy")
#: What becomes of points that a server does not take fast enough (QUEUE_POLICY).
POLICIES = ("spool", "block", "drop_oldest", "drop_newest")


class Problems:
    """What is wrong with a structure, by place.  One owner."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._sentences: list[str] = []

    def add(self, where: str, sentence: str) -> None:
        """Something is wrong at `where`."""
        self._sentences.append(f"{self._filename}: {where}: {sentence}")

    def keys(self, where: str, entry: Mapping[Any, Any], known: Iterable[str]) -> None:
        """Every key of `entry` that is not `known` is a problem."""
        known = tuple(known)
        for key in entry:
            if key not in known:
                self.add(f"{where}.{shown(str(key))}", f"is not known here; known are {', '.join(known)}")

    def raise_any(self) -> None:
        """Raises ConfigError with a line for each problem, if there are any."""
        if self._sentences:
            raise ConfigError("\n".join(self._sentences))


@dataclass(frozen=True)
class Cluster:
    """Servers, and who of them gets a name.  Immutable.

    `options` has for each server how it is spoken to: ``protocol``, ``compression``, ``tls`` (True) with ``tls_ca``,
    ``tls_certificate``, ``tls_key`` and ``tls_name``, ``policy``, and ``unix``, the path of a socket to connect to in
    place of host and port; for a file ``protocol`` is ``file`` and ``path`` its path.  What is not in it is for the
    settings to say.
    """

    name: str
    kind: str
    servers: tuple[Destination, ...]
    options: tuple[Mapping[str, object], ...] = field(hash=False)
    replication: int = 1
    diverse: bool = False
    dynamic: bool = False
    tags: str = TAGS[0]


def words(value: object) -> tuple[str, ...] | None:
    """One text, or a list of texts, as a tuple; None for anything else."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    return None


def read_clusters(raw: object, where: str, problems: Problems) -> dict[str, Cluster]:
    """The clusters of the mapping `raw` by name; those that have problems are among them as far as they go."""
    if not isinstance(raw, dict) or not raw:
        problems.add(where, "has to be a mapping of names to clusters; name at least one")
        return {}
    clusters = {}
    spoken_to: dict[Destination, tuple[str, Mapping[str, object]]] = {}
    for name, entry in raw.items():
        place = f"{where}.{shown(str(name))}"
        if not isinstance(name, str) or name == "blackhole" or not name:
            problems.add(place, "cannot be the name of a cluster; choose a word other than blackhole")
        elif not isinstance(entry, dict):
            problems.add(place, "has to be a mapping with type and servers")
        else:
            cluster = clusters[name] = _cluster(name, place, entry, problems)
            for server, options in zip(cluster.servers, cluster.options, strict=True):
                other, others = spoken_to.setdefault(server, (name, options))
                if others != options:
                    problems.add(
                        place,
                        f"{server} has other options than in the cluster {other}, and it has one connection; "
                        "make them the same, or give it another instance",
                    )
    return clusters


def _cluster(name: str, where: str, entry: dict[str, Any], problems: Problems) -> Cluster:
    kind = entry.get("type")
    if kind not in CLUSTER_TYPES:
        said = "is missing" if kind is None else f"{shown(str(kind))!r} is no type of cluster"
        problems.add(f"{where}.type", f"{said}; use one of {', '.join(CLUSTER_TYPES)}")
        kind = FORWARD
    kind = str(kind)
    if kind == FILE:
        return _files(name, where, entry, problems)
    is_ring = kind in RING_TYPES or kind in FAST_TYPES
    ring_keys = ("replication", "diverse", "dynamic", "tags") if is_ring else ("tags",) if kind in (ANY_OF, LB) else ()
    problems.keys(where, entry, ("type", "servers", *OPTIONS, *ring_keys))
    shared = _options(where, entry, problems)
    servers, options = _servers(f"{where}.servers", entry.get("servers"), shared, problems)
    replication = entry.get("replication", 1)
    if isinstance(replication, bool) or not isinstance(replication, int) or not 1 <= replication <= 255:
        problems.add(f"{where}.replication", f"{shown(str(replication))!r} is no number from 1 to 255")
        replication = 1
    elif servers and replication > len(servers):
        problems.add(
            f"{where}.replication", f"{replication} copies need as many servers, and there are {len(servers)}; add some"
        )
    tags = entry.get("tags", TAGS[0])
    if tags not in TAGS:
        problems.add(f"{where}.tags", f"{shown(str(tags))!r} is none of {', '.join(TAGS)}")
    if is_ring and servers:
        try:
            make_ring(kind, servers)
        except ConfigError as error:
            problems.add(f"{where}.servers", str(error))
    return Cluster(
        name, kind, servers, options, replication,
        _flag(where, entry, "diverse", is_ring and diverse_by_default(kind), problems),
        _flag(where, entry, "dynamic", False, problems),
        str(tags),
    )  # fmt: skip


def _files(name: str, where: str, entry: dict[str, Any], problems: Problems) -> Cluster:
    problems.keys(where, entry, ("type", "paths"))
    paths = words(entry.get("paths"))
    if paths is None or not all(path.startswith("/") for path in paths):
        problems.add(f"{where}.paths", "has to be a path that begins with /, or a list of such paths")
        paths = ()
    return Cluster(
        name,
        FILE,
        tuple(file_destination(path) for path in paths),
        tuple({"protocol": FILE, "path": path} for path in paths),
    )


def _servers(
    where: str, raw: object, shared: Mapping[str, object], problems: Problems
) -> tuple[tuple[Destination, ...], tuple[Mapping[str, object], ...]]:
    if not isinstance(raw, list) or not raw:
        problems.add(where, "has to be a list of servers, such as - 10.0.0.1:2004:a")
        return (), ()
    servers: list[Destination] = []
    options: list[Mapping[str, object]] = []
    for number, entry in enumerate(raw):
        place = f"{where}[{number}]"
        own: Mapping[str, object] = shared
        text = entry
        if isinstance(entry, dict):
            problems.keys(place, entry, ("server", "unix", *OPTIONS))
            text = entry.get("server")
            own = _options(place, entry, problems, shared)
            if "unix" in entry:
                own = {**own, "unix": _socket(place, entry["unix"], own, problems)}
        if not isinstance(text, str):
            problems.add(place, "has to be host:port or host:port:instance, or a mapping with server")
            continue
        try:
            server = parse_destination(text)
        except ConfigError as error:
            problems.add(place, str(error))
            continue
        if server in servers:
            problems.add(place, f"{server} is in the list already; remove one of them")
            continue
        servers.append(server)
        options.append(own)
    return tuple(servers), tuple(options)


def _options(
    where: str, entry: dict[str, Any], problems: Problems, shared: Mapping[str, object] | None = None
) -> dict[str, object]:
    """How a server is spoken to: what `entry` says, and what it does not say from `shared`."""
    options = dict(shared or {})
    for key, known in (("protocol", PROTOCOLS), ("compression", COMPRESSIONS), ("policy", POLICIES)):
        if key in entry:
            if entry[key] in known:
                options[key] = entry[key]
            else:
                problems.add(
                    f"{where}.{key}", f"{shown(str(entry[key]))!r} is none of {', '.join(known)}{_why(entry[key])}"
                )
    tls = entry.get("tls")
    if isinstance(tls, bool) or tls is None:
        if tls is not None:
            options["tls"] = tls
    elif isinstance(tls, dict):
        known = ("ca", "certificate", "key", "name")
        problems.keys(f"{where}.tls", tls, known)
        options["tls"] = True
        for key in known:
            if key in tls:
                if not isinstance(tls[key], str) or not tls[key]:
                    what = "the name in the server's certificate" if key == "name" else "the path of a PEM file"
                    problems.add(f"{where}.tls.{key}", f"has to be {what}")
                else:
                    options[f"tls_{key}"] = tls[key]
        if "key" in tls and "certificate" not in tls:
            problems.add(f"{where}.tls", "has a key and no certificate; add certificate")
    else:
        problems.add(f"{where}.tls", "has to be true, false, or a mapping with ca, certificate, key and name")
    if options.get("compression", "none") != "none" and options.get("protocol") != "line":
        problems.add(where, "compression is for lines over TCP; add protocol: line, or remove it")
    if options.get("tls") and options.get("protocol") == "udp":
        problems.add(where, "tls is not for udp; use another protocol, or remove it")
    return options


def _socket(where: str, path: object, options: Mapping[str, object], problems: Problems) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        problems.add(f"{where}.unix", "has to be the path of a socket that begins with /")
    if options.get("protocol") == "udp":
        problems.add(f"{where}.unix", "is not for udp; use another protocol, or remove it")
    return str(path)


def _why(word: object) -> str:
    if word == "snappy":
        return "; carbon-c-relay's snappy has no framing and cannot be read back, so use lz4"
    return ""


def _flag(where: str, entry: dict[str, Any], key: str, default: bool, problems: Problems) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        problems.add(f"{where}.{key}", f"{shown(str(value))!r} is neither true nor false")
        return default
    return value
