"""CLUSTERS and ROUTES: what carbon-c-relay's configuration can say, in YAML.

The law: plain lists and mappings become one immutable book, or a ConfigError with a line for each problem,
``file: relay.routes[3].match: what; what to do``.  Routes are in force from top to bottom; what they mean is that of
carbon-c-relay (router.c), and what is called alike means the same.  docs/relaying.rst is the manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from carbonpy.errors import ConfigError
from carbonpy.rules.aggregates import MAX_INTERVAL, MOMENTS, AggregateSpec, known_method
from carbonpy.rules.clusters import Cluster, Problems, read_clusters, words
from carbonpy.rules.ini import shown
from carbonpy.rules.pattern import compile_pattern
from carbonpy.rules.replacement import Replacement, read_replacement

#: The cluster that swallows everything.
BLACKHOLE = "blackhole"
#: What may stand in names besides letters, digits and dots when carbon-c-relay cleanses them.
CLEAN = "-_:#"
#: The statements, each with the other keys that it may have.
_STATEMENTS = {
    "rewrite": ("into", "all"),
    "aggregate": ("every", "expire", "timestamp", "compute", "kind", "send_to", "stop"),
    "cleanse": (),
    "set_tags_apart": (),
    "match": ("validate", "otherwise", "route_using", "send_to", "stop"),
}


@dataclass(frozen=True)
class Validation:
    """What ``value timestamp`` has to look like, and whether a failure is logged (``log``) or not (``drop``)."""

    pattern: str
    on_failure: str
    regex: re.Pattern[bytes] = field(repr=False, compare=False)


@dataclass(frozen=True)
class MatchRoute:
    """Names in which `regex` is found (all for None) go to the `clusters`.  Immutable.

    With a `validation` and without clusters, points that fail it go nowhere from here on.
    """

    label: str
    regex: re.Pattern[str] | None
    clusters: tuple[str, ...]
    stop: bool
    validation: Validation | None = None
    route_using: Replacement | None = None


@dataclass(frozen=True)
class RewriteRoute:
    """The first place (or every place) where `regex` is found becomes `into`, for all routes below.  Immutable."""

    label: str
    regex: re.Pattern[str]
    into: Replacement
    everywhere: bool = False


@dataclass(frozen=True)
class AggregateRoute:
    """Names in which `regex` is found are aggregated into the `outputs`.  Immutable.

    The outputs go to the `clusters`; without any, they come in again at the first route.  Routes made of the several
    expressions of one `statement` have its number.
    """

    label: str
    statement: int
    regex: re.Pattern[str]
    outputs: tuple[tuple[AggregateSpec, Replacement], ...]
    clusters: tuple[str, ...]
    stop: bool


@dataclass(frozen=True)
class CleanseRoute:
    """Names are made clean as carbon-c-relay does it when they come in; `allowed` may stay.  Immutable."""

    label: str
    allowed: str


@dataclass(frozen=True)
class TagsRoute:
    """From here on expressions, replacements and hashes see only what stands before the first ``;``.  Immutable."""

    label: str


Route = MatchRoute | RewriteRoute | AggregateRoute | CleanseRoute | TagsRoute


@dataclass(frozen=True)
class RouteBook:
    """The clusters by name and the routes in their order.  Immutable, safe from any thread."""

    clusters: Mapping[str, Cluster]
    routes: tuple[Route, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, clusters: object, routes: object, filename: str, section: str = "relay") -> RouteBook:
        """The book of what YAML has under `section`.  Raises ConfigError with a line for each problem."""
        problems = Problems(filename)
        known = read_clusters(clusters, f"{section}.clusters", problems)
        reader = _Reader(known, problems)
        where = f"{section}.routes"
        if not isinstance(routes, list) or not routes:
            problems.add(where, "has to be a list of routes; write at least - match: '*' and send_to: ...")
            routes = []
        for number, entry in enumerate(routes):
            reader.route(f"{where}[{number}]", entry)
        problems.raise_any()
        return cls(known, tuple(reader.routes), tuple(reader.warnings(where, filename)))


class _Reader:
    """The routes so far; one entry after the other."""

    def __init__(self, clusters: Mapping[str, Cluster], problems: Problems) -> None:
        self.routes: list[Route] = []
        self._clusters = clusters
        self._problems = problems
        self._used: set[str] = set()
        self._ended_by = ""
        self._unreachable: list[str] = []
        self._statement = -1

    def route(self, where: str, entry: object) -> None:
        """Take in one entry of the list."""
        self._statement += 1
        if not isinstance(entry, dict):
            self._problems.add(where, "has to be a mapping, such as match: '*' with send_to: ...")
            return
        statements = [word for word in _STATEMENTS if word in entry]
        if len(statements) != 1:
            self._problems.add(
                where,
                f"has to be one of {', '.join(_STATEMENTS)}" + (f", not {' and '.join(statements)}" * bool(statements)),
            )
            return
        statement = statements[0]
        self._problems.keys(where, entry, (statement, "name", *_STATEMENTS[statement]))
        label = entry.get("name")
        if label is not None and (not isinstance(label, str) or not label):
            self._problems.add(f"{where}.name", "has to be a text")
            label = None
        if self._ended_by:
            self._unreachable.append(where)
        make: Callable[[str, str, dict[str, Any]], None] = getattr(self, f"_{statement}")
        make(where, label or _described(where, statement, entry), entry)

    def warnings(self, where: str, filename: str) -> list[str]:
        """Sentences about what can have no effect."""
        made = [
            f"{filename}: {entry} is never reached: {self._ended_by} takes everything and stops; move it up"
            for entry in self._unreachable
        ]
        for name in self._clusters:
            if name not in self._used:
                made.append(f"{filename}: no route in {where} sends anything to the cluster {name}")
        return made

    def _match(self, where: str, label: str, entry: dict[str, Any]) -> None:
        clusters = self._send_to(where, entry)
        stop = self._flag(where, entry, "stop") or BLACKHOLE in clusters
        validation = self._validation(where, entry)
        if not clusters and validation is None:
            self._problems.add(where, "sends to nobody; add send_to: a cluster, or blackhole")
        template = entry.get("route_using")
        for regex in self._expressions(where, "match", entry):
            using = None
            if template is not None:
                if regex is None:
                    self._problems.add(f"{where}.route_using", "needs an expression in match to take its key from")
                else:
                    using = self._replacement(f"{where}.route_using", template, regex, names=False)
            self.routes.append(MatchRoute(label, regex, clusters, stop, validation, using))
            if regex is None and stop and validation is None and not self._ended_by:
                self._ended_by = where

    def _validation(self, where: str, entry: dict[str, Any]) -> Validation | None:
        pattern, otherwise = entry.get("validate"), entry.get("otherwise", "drop")
        if otherwise not in ("drop", "log"):
            self._problems.add(f"{where}.otherwise", f"{shown(str(otherwise))!r} is neither drop nor log")
        if pattern is None:
            if "otherwise" in entry:
                self._problems.add(f"{where}.otherwise", "stands without validate; add an expression there")
            return None
        regex = self._regex(f"{where}.validate", pattern)
        if regex is None:
            return None
        return Validation(str(pattern), str(otherwise), re.compile(regex.pattern.encode(), regex.flags & re.IGNORECASE))

    def _rewrite(self, where: str, label: str, entry: dict[str, Any]) -> None:
        if "into" not in entry:
            self._problems.add(where, "has no into; write what the match becomes")
            return
        everywhere = self._flag(where, entry, "all")
        for regex in self._expressions(where, "rewrite", entry):
            if regex is None:
                self._problems.add(f"{where}.rewrite", "'*' is no expression; write '.*' for the whole name")
                continue
            into = self._replacement(f"{where}.into", entry["into"], regex)
            if into is not None:
                self.routes.append(RewriteRoute(label, regex, into, everywhere))

    def _aggregate(self, where: str, label: str, entry: dict[str, Any]) -> None:
        clusters = self._send_to(where, entry)
        stop = self._flag(where, entry, "stop")
        every = self._seconds(where, entry, "every")
        kind = entry.get("kind", "window")
        if kind not in ("window", "carbon"):
            self._problems.add(f"{where}.kind", "is neither window nor carbon")
        moment = entry.get("timestamp", "end" if kind == "window" else "start")
        if moment not in MOMENTS:
            self._problems.add(f"{where}.timestamp", f"{shown(str(moment))!r} is none of {', '.join(MOMENTS)}")
        if kind == "carbon":
            expire = 0
            if "expire" in entry or moment != "start":
                self._problems.add(where, "of kind carbon has no expire, and timestamps at the start; remove them")
        else:
            expire = self._seconds(where, entry, "expire")
            if 0 < expire <= every:
                self._problems.add(
                    f"{where}.expire", f"has to be more than every ({every}); write at least {every + 1}"
                )
        computed = self._computed(where, entry)
        for regex in self._expressions(where, "aggregate", entry):
            if regex is None:
                self._problems.add(f"{where}.aggregate", "'*' is no expression; write '.*' for all names")
                continue
            outputs = []
            for place, method, template in computed:
                output = self._replacement(place, template, regex)
                if output is not None:
                    outputs.append((AggregateSpec(every, method, str(kind), expire, str(moment)), output))
            self.routes.append(AggregateRoute(label, self._statement, regex, tuple(outputs), clusters, stop))

    def _computed(self, where: str, entry: dict[str, Any]) -> list[tuple[str, str, object]]:
        """(place, method, output) of everything under ``compute``: a mapping, or a list of mappings."""
        raw = entry.get("compute")
        blocks = raw if isinstance(raw, list) else [raw]
        if raw is None or not all(isinstance(block, dict) and block for block in blocks):
            self._problems.add(f"{where}.compute", "has to say what goes where, such as sum: total.\\1")
            return []
        computed = []
        for number, block in enumerate(blocks):
            place = f"{where}.compute" + (f"[{number}]" if isinstance(raw, list) else "")
            for word, template in block.items():
                try:
                    computed.append((f"{place}.{word}", known_method(str(word)), template))
                except ConfigError as error:
                    self._problems.add(f"{place}.{word}", str(error))
        return computed

    def _cleanse(self, where: str, label: str, entry: dict[str, Any]) -> None:
        allowed = entry["cleanse"]
        if allowed is True:
            allowed = CLEAN
        if not isinstance(allowed, str) or not allowed.isascii() or not allowed.isprintable() or " " in allowed:
            self._problems.add(
                f"{where}.cleanse", f"has to be true, or the characters that may stay, such as '{CLEAN}'"
            )
            return
        self.routes.append(CleanseRoute(label, allowed))

    def _set_tags_apart(self, where: str, label: str, entry: dict[str, Any]) -> None:
        if entry["set_tags_apart"] is not True:
            self._problems.add(f"{where}.set_tags_apart", "has to be true; leave it out to keep tags in names")
            return
        self.routes.append(TagsRoute(label))

    def _send_to(self, where: str, entry: dict[str, Any]) -> tuple[str, ...]:
        if "send_to" not in entry:
            return ()
        names = words(entry["send_to"])
        if names is None:
            self._problems.add(f"{where}.send_to", "has to be the name of a cluster, or a list of names")
            return ()
        for name in names:
            if name != BLACKHOLE and name not in self._clusters:
                known = ", ".join(self._clusters) or "none"
                self._problems.add(f"{where}.send_to", f"there is no cluster {shown(name)!r}; the clusters are {known}")
        self._used.update(names)
        return names

    def _expressions(self, where: str, key: str, entry: dict[str, Any]) -> list[re.Pattern[str] | None]:
        """The expressions; None for ``*``."""
        texts = words(entry[key])
        if texts is None:
            self._problems.add(f"{where}.{key}", "has to be an expression, a list of expressions, or '*'")
            return []
        found: list[re.Pattern[str] | None] = []
        for number, text in enumerate(texts):
            place = f"{where}.{key}" + (f"[{number}]" if isinstance(entry[key], list) else "")
            if text == "*":
                found.append(None)
            elif (regex := self._regex(place, text)) is not None:
                found.append(regex)
        return found

    def _regex(self, place: str, text: object) -> re.Pattern[str] | None:
        if not isinstance(text, str):
            self._problems.add(place, "has to be an expression, in quotes")
            return None
        try:
            return compile_pattern(text)
        except ValueError as error:
            self._problems.add(place, f"{shown(text)}: {error}")
            return None

    def _replacement(
        self, place: str, template: object, regex: re.Pattern[str], names: bool = True
    ) -> Replacement | None:
        """The replacement that `template` is; with `names` it makes names, which lines have to carry."""
        if not isinstance(template, str):
            self._problems.add(place, "has to be a text, in quotes")
            return None
        if names and (not template.isprintable() or " " in template):
            self._problems.add(place, f"{shown(template)!r} makes names with white space or what cannot be printed")
            return None
        try:
            return read_replacement(template, regex)
        except ConfigError as error:
            self._problems.add(place, str(error))
            return None

    def _flag(self, where: str, entry: dict[str, Any], key: str) -> bool:
        value = entry.get(key, False)
        if not isinstance(value, bool):
            self._problems.add(f"{where}.{key}", f"{shown(str(value))!r} is neither true nor false")
            return False
        return value

    def _seconds(self, where: str, entry: dict[str, Any], key: str) -> int:
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_INTERVAL:
            said = "is missing" if value is None else f"{shown(str(value))!r} is no whole number of seconds"
            self._problems.add(f"{where}.{key}", f"{said}; write a number from 1 on")
            return 0
        return value


def _described(where: str, statement: str, entry: dict[str, Any]) -> str:
    """A route without a name, for people to recognise it: its place and what it begins with."""
    what = words(entry[statement])
    place = where.partition(".")[2]
    return f"{place}: {statement}" + ("" if what is None else f" {' '.join(what)}")
