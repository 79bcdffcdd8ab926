"""/metrics/find, /metrics/expand and /metrics/index.json: the tree of names in graphite-web's shapes.

The law: from and until are checked but do not filter, as with graphite-web's own finder.  Nothing
found is an empty list.  Every leaf claims the interval from 0 to now, because looking into its file
would cost more than the answer is worth; a front end that merges several servers asks them all then.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from datetime import timezone, tzinfo
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_plus

from carbonpy.errors import QueryError
from carbonpy.series import attime
from carbonpy.web import msgpack
from carbonpy.web.answer import UNCACHED, Answer, Query, json_answer, sentence
from carbonpy.web.limits import Budget, Limits
from carbonpy.web.render import zone

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


class Metrics(NamedTuple):
    """Answers for everything below /metrics that is about names.  Safe from any thread if the store is."""

    store: Finder
    limits: Limits
    tz: tzinfo = timezone.utc

    def find(self, query: Query, budget: Budget) -> Answer:
        """/metrics/find.  Raises QueryError."""
        parameters = query.parameters
        leaves_only = bool(parameters.integer("leavesOnly"))
        wildcards = bool(parameters.integer("wildcards"))
        variants = bool(parameters.integer("automatic_variants"))
        position = parameters.integer("position", -1)
        parameters.integer("local")
        now = self._check_times(query)
        if "query" not in parameters:
            raise QueryError("missing required parameter 'query'; write for example query=*")
        pattern = parameters.last("query")
        if not pattern:
            raise QueryError("required parameter 'query' is empty; write for example query=*")
        form = parameters.last("format", "treejson")
        if form == "completer":
            nodes = self._nodes(_completed(pattern, variants), leaves_only)
            return json_answer(query, _completer(nodes, wildcards))
        if form not in ("treejson", "json", "nodelist", "pickle", "msgpack"):
            # graphite-web's own words for this
            return sentence("Invalid value for 'format' parameter", 400)
        nodes = self._nodes(pattern, leaves_only)
        if form == "treejson":
            base = pattern.rpartition(".")[0]
            return json_answer(query, _tree(nodes, base + "." if "." in pattern else "", wildcards))
        if form == "nodelist":
            parts = {parts[position] for parts in (n.path.split(".") for n in nodes) if _reaches(parts, position)}
            return json_answer(query, {"nodes": sorted(parts)})
        if form == "json":
            interval = [{"start": 0.0, "end": float(now)}]
            return json_answer(query, sorted(_described(nodes, interval), key=lambda node: str(node["path"])))
        described = _described(nodes, [[0.0, float(now)]])
        if form == "pickle":
            return Answer([pickle.dumps(described, protocol=2)], "application/pickle", headers=UNCACHED)
        return Answer([msgpack.pack(described)], "application/x-msgpack", headers=UNCACHED)

    def expand(self, query: Query, budget: Budget) -> Answer:
        """/metrics/expand.  Raises QueryError."""
        leaves_only = bool(query.parameters.integer("leavesOnly"))
        patterns = list(dict.fromkeys(query.parameters.all("query")))
        if len(patterns) > self.limits.targets:
            raise QueryError(f"{len(patterns)} queries in one request; ask for at most {self.limits.targets}")
        results: dict[str, list[str]] = {}
        for pattern in patterns:
            results[pattern] = sorted({node.path for node in self.store.find(pattern, leaves_only)}) if pattern else []
            budget(0)
        if query.parameters.integer("groupByExpr"):
            return json_answer(query, {"results": results})
        return json_answer(query, {"results": sorted(set().union(*results.values()))})

    def index_json(self, query: Query, budget: Budget) -> Answer:
        """/metrics/index.json."""
        return json_answer(query, list(self.store.metrics()), headers=())

    def _nodes(self, pattern: str, leaves_only: bool) -> list[Found]:
        found = self.store.find(pattern, leaves_only)
        return sorted(Found(node.path.rpartition(".")[2], node.is_leaf, node.path) for node in found)

    def _check_times(self, query: Query) -> int:
        """Now, after looking whether from and until make sense."""
        parameters = query.parameters
        tz = zone(parameters, self.tz)
        now = int(query.now)
        if "now" in parameters:
            now = attime.parse(parameters.last("now"), now, tz)
        ends = [
            attime.parse(parameters.last(name), now, tz) if parameters.last(name, "-1") != "-1" else None
            for name in ("from", "until")
        ]
        if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            raise QueryError(f"from ({ends[0]}) lies after until ({ends[1]}); swap them")
        return now


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


def _reaches(parts: list[str], position: int) -> bool:
    return -len(parts) <= position < len(parts)
