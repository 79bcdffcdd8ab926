"""/metrics/find, /metrics/expand and /metrics/index.json: the tree of names in graphite-web's shapes and carbonapi's.

The law: from and until are checked; they filter only where the server is set to (`by_time`), as
graphite-web's own finder never does.  Nothing found is an empty list, but 404 in carbonapi's protocols.
Every leaf claims the interval from 0 to now, because looking into its file would cost more than the
answer is worth; a front end that merges several servers asks them all then.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from datetime import timezone, tzinfo
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_plus

from carbonpy.errors import QueryError, WireError
from carbonpy.series import attime
from carbonpy.web import msgpack
from carbonpy.web.answer import UNCACHED, Answer, Query, is_ascii_only, json_answer, json_text_answer, sentence
from carbonpy.web.limits import Budget, Limits
from carbonpy.web.render import CONTENT_TYPES, format_of, zone
from carbonpy.wire import protobuf

BRANCH = {"allowChildren": 1, "expandable": 1, "leaf": 0}
LEAF = {"allowChildren": 0, "expandable": 0, "leaf": 1}


class StoreNode(Protocol):
    """What the store finds."""

    @property
    def path(self) -> str: ...
    @property
    def is_leaf(self) -> bool: ...


class Finder(Protocol):
    """The store, as far as finding needs it."""

    def find(self, pattern: str, leaves_only: bool = False, since: int | None = None) -> Iterable[StoreNode]:
        """Nodes that match, sorted by path."""

    def metrics(self) -> Iterable[str]:
        """All metrics, sorted."""


class Found(NamedTuple):
    """A node with the last part of its path."""

    name: str
    is_leaf: bool
    path: str


#: The formats of find.
FORMATS = ("treejson", "json", "completer", "nodelist", "pickle", "msgpack", "protobuf", "carbonapi_v3_pb")


class Times(NamedTuple):
    """When a question is asked, and about which time; seconds since the epoch, None for no bound."""

    now: int
    start: int | None
    end: int | None


class Metrics(NamedTuple):
    """Answers for everything below /metrics that is about names.  Safe from any thread if the stores are.

    local: the store for queries with ``local=1``.  by_time: whether from and until filter what find gives.
    """

    store: Finder
    local: Finder
    limits: Limits
    tz: tzinfo = timezone.utc
    by_time: bool = False

    def find(self, query: Query, budget: Budget) -> Answer:
        """/metrics/find.  Raises QueryError."""
        parameters = query.parameters
        try:
            form = format_of(query, dict.fromkeys(FORMATS), "treejson")
        except QueryError:
            # graphite-web's own words for this
            return sentence("Invalid value for 'format' parameter", 400)
        leaves_only = bool(parameters.integer("leavesOnly"))
        wildcards = bool(parameters.integer("wildcards"))
        variants = bool(parameters.integer("automatic_variants"))
        position = parameters.integer("position", -1)
        times = self._times(query)
        if form == "carbonapi_v3_pb":
            return self._find_for_carbonapi(query, times, budget)
        pattern = _required(query)
        if form == "completer":
            pattern = _completed(pattern, variants)
        interval = [{"start": 0.0, "end": float(times.now)}]
        if form == "json" and not parameters.last("pretty"):
            found = sorted(self._found(query, pattern, times, leaves_only), key=_path_of)
            return json_text_answer(query, _described_text(found, interval, is_ascii_only(query)))
        nodes = self._nodes(query, pattern, times, leaves_only)
        if form == "completer":
            return json_answer(query, _completer(nodes, wildcards))
        if form == "treejson":
            base = pattern.rpartition(".")[0]
            return json_answer(query, _tree(nodes, base + "." if "." in pattern else "", wildcards))
        if form == "nodelist":
            parts = {parts[position] for parts in (n.path.split(".") for n in nodes) if _reaches(parts, position)}
            return json_answer(query, {"nodes": sorted(parts)})
        if form == "json":
            return json_answer(query, _described(sorted(nodes, key=_path_of), interval))
        if form == "protobuf":
            return _protobuf(form, protobuf.encode(_globbed(pattern, nodes)) if nodes else b"")
        described = _described(nodes, [[0.0, float(times.now)]])
        if form == "pickle":
            return Answer([pickle.dumps(described, protocol=2)], CONTENT_TYPES[form], headers=UNCACHED)
        return Answer([msgpack.pack(described)], CONTENT_TYPES[form], headers=UNCACHED)

    def expand(self, query: Query, budget: Budget) -> Answer:
        """/metrics/expand.  Raises QueryError."""
        leaves_only = bool(query.parameters.integer("leavesOnly"))
        times = self._times(query)
        patterns = list(dict.fromkeys(query.parameters.all("query")))
        if len(patterns) > self.limits.targets:
            raise QueryError(f"{len(patterns)} queries in one request; ask for at most {self.limits.targets}")
        results: dict[str, list[str]] = {}
        for pattern in patterns:
            nodes = self._nodes(query, pattern, times, leaves_only) if pattern else []
            results[pattern] = sorted({node.path for node in nodes})
            budget(0)
        if query.parameters.integer("groupByExpr"):
            return json_answer(query, {"results": results})
        return json_answer(query, {"results": sorted(set().union(*results.values()))})

    def index_json(self, query: Query, budget: Budget) -> Answer:
        """/metrics/index.json."""
        metrics = list(self._asked(query).metrics())
        budget(0)
        return json_answer(query, metrics, headers=())

    def _find_for_carbonapi(self, query: Query, times: Times, budget: Budget) -> Answer:
        """Protocol 3: the patterns stand in the body; without one, in parameters."""
        patterns: Iterable[str]
        if query.body:
            try:
                asked = protobuf.decode(protobuf.MultiGlobRequest, query.body, most=100 * self.limits.targets)
            except WireError as error:
                raise QueryError(f"the body cannot be read: {error}") from None
            patterns = dict.fromkeys(asked.metrics)
            if asked.start_time or asked.stop_time:
                times = Times(times.now, asked.start_time or None, asked.stop_time or None)
        else:
            _required(query)
            patterns = dict.fromkeys(query.parameters.all("query"))
        patterns = list(patterns)
        if len(patterns) > self.limits.targets:
            raise QueryError(f"{len(patterns)} queries in one request; ask for at most {self.limits.targets}")
        found = []
        for pattern in patterns:
            nodes = self._nodes(query, pattern, times, False)
            budget(0)
            if nodes:
                found.append(_globbed(pattern, nodes))
        return _protobuf("carbonapi_v3_pb", protobuf.encode(protobuf.MultiGlobResponse(tuple(found))))

    def _asked(self, query: Query) -> Finder:
        return self.local if query.parameters.integer("local") else self.store

    def _nodes(self, query: Query, pattern: str, times: Times, leaves_only: bool) -> list[Found]:
        found = self._found(query, pattern, times, leaves_only)
        new = tuple.__new__  # half the time of Found()
        return sorted([new(Found, (node.path.rpartition(".")[2], node.is_leaf, node.path)) for node in found])

    def _found(self, query: Query, pattern: str, times: Times, leaves_only: bool) -> list[StoreNode]:
        since = times.start if self.by_time else None
        nodes = list(self._asked(query).find(pattern, leaves_only, since))
        if len(nodes) > self.limits.names:
            raise QueryError(
                f"{len(nodes)} nodes match {pattern[:200]!r}, of at most {self.limits.names}; write a narrower pattern"
            )
        return nodes

    def _times(self, query: Query) -> Times:
        """Now, and from and until if they make sense."""
        parameters = query.parameters
        tz = zone(parameters, self.tz)
        now = int(query.now)
        if "now" in parameters:
            now = attime.parse(parameters.last("now"), now, tz)
        start, end = (
            attime.parse(parameters.last(name), now, tz) if parameters.last(name, "-1") not in ("-1", "") else None
            for name in ("from", "until")
        )
        if start is not None and end is not None and start > end:
            raise QueryError(f"from ({start}) lies after until ({end}); swap them")
        return Times(now, start, end)


def _required(query: Query) -> str:
    """The pattern that is asked for."""
    if "query" not in query.parameters:
        raise QueryError("missing required parameter 'query'; write for example query=*")
    pattern = query.parameters.last("query")
    if not pattern:
        raise QueryError("required parameter 'query' is empty; write for example query=*")
    return pattern


def _globbed(pattern: str, nodes: list[Found]) -> protobuf.GlobResponse:
    matches = sorted((node.path, node.is_leaf) for node in nodes)
    return protobuf.GlobResponse(pattern, tuple(protobuf.GlobMatch(*match) for match in matches))


def _protobuf(form: str, data: bytes) -> Answer:
    if not data:
        return sentence("nothing matches", 404)
    return Answer([data], CONTENT_TYPES[form], headers=UNCACHED)


def _completed(pattern: str, variants: bool) -> str:
    pattern = pattern.replace("..", "*.")
    if not pattern.endswith("*"):
        pattern += "*"
    if variants:
        parts = pattern.split(".")
        pattern = ".".join(f"{{{part}}}" if "," in part and "{" not in part else part for part in parts)
    return pattern


def _completer(nodes: list[Found], wildcards: bool) -> dict[str, Any]:
    metrics = [
        {"path": node.path if node.is_leaf else node.path + ".", "name": node.name, "is_leaf": str(int(node.is_leaf))}
        for node in nodes
    ]
    if wildcards and len(metrics) > 1:
        metrics.append({"name": "*"})
    return {"metrics": metrics}


def _tree(nodes: list[Found], base: str, wildcards: bool) -> list[dict[str, Any]]:
    """Branches, then leaves; each name once, as a branch if it is both."""
    branches: list[dict[str, Any]] = []
    leaves: list[dict[str, Any]] = []
    seen = set()
    for node in nodes:
        if node.name not in seen:
            seen.add(node.name)
            entry = {"text": unquote_plus(node.name), "id": base + node.name}
            (leaves if node.is_leaf else branches).append({**entry, **(LEAF if node.is_leaf else BRANCH)})
    star: list[dict[str, Any]] = []
    if wildcards and len(nodes) > 1:
        star = [{"text": "*", "id": base + "*", **(BRANCH if branches else LEAF)}]
    return star + branches + leaves


def _described(nodes: list[Found], intervals: list[Any]) -> list[dict[str, Any]]:
    return [
        {"path": node.path, "is_leaf": True, "intervals": intervals}
        if node.is_leaf
        else {"path": node.path, "is_leaf": False}
        for node in nodes
    ]


def _described_text(nodes: list[StoreNode], intervals: list[Any], ascii_only: bool) -> str:
    """What the json module makes of `_described`, in a sixth of the time."""
    quoted = encode_basestring_ascii if ascii_only else encode_basestring
    leaf = f', "is_leaf": true, "intervals": {json.dumps(intervals)}}}'
    branch = ', "is_leaf": false}'
    texts = ['{"path": ' + quoted(node.path) + (leaf if node.is_leaf else branch) for node in nodes]
    return "[" + ", ".join(texts) + "]"


def _path_of(node: StoreNode) -> str:
    return node.path


def _reaches(parts: list[str], position: int) -> bool:
    return -len(parts) <= position < len(parts)
