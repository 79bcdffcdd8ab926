"""From a name to its plan by clusters and routes in YAML.

The law: routes are walked from top to bottom as carbon-c-relay does it (router_route of router.c), once per name.  What
comes of it is what it would send, with these exceptions: the same name goes to the same destination once, however many
routes say so; an aggregate that comes in again is not taken by the route that made it, nor by one that led to it, so
that there are no loops; what goes nowhere has a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from carbonpy.hashing.destination import Destination
from carbonpy.hashing.hashes import fnv1a_32, utf8
from carbonpy.hashing.rings import make_ring
from carbonpy.relaying.plan import (
    BLACKHOLED,
    INVALID_NAME,
    LEAST,
    NO_ROUTE,
    Check,
    Choice,
    Feed,
    Plan,
    Sending,
    Target,
)
from carbonpy.relaying.router import Placement, Router, normalized, raw
from carbonpy.rules.clusters import ANY_OF, FAILOVER, FILE, FORWARD, LB, Cluster
from carbonpy.rules.routes import (
    BLACKHOLE,
    AggregateRoute,
    CleanseRoute,
    MatchRoute,
    RewriteRoute,
    RouteBook,
    TagsRoute,
)

#: Plans of aggregates that are kept: many names go into one aggregate.
REMEMBERED_AGGREGATES = 4096

#: For a cluster: from the name that is hashed to the targets.
_Placed = Callable[[str], tuple[Target, ...]]


def routes_router(book: RouteBook, normalize: bool = False) -> Router:
    """The router of CLUSTERS and ROUTES.  `normalize` (TAG_RELAY_NORMALIZED): with tags in order, before all routes."""
    numbers: dict[Destination, int] = {}
    options: list[Mapping[str, object]] = []
    warnings = list(book.warnings)
    placed: dict[str, _Placed] = {}
    rings: dict[str, Placement] = {}
    for name, cluster in book.clusters.items():
        for server, own in zip(cluster.servers, cluster.options, strict=True):
            if server not in numbers:
                numbers[server] = len(numbers)
                options.append(own)
        placed[name] = _placement(cluster, [numbers[server] for server in cluster.servers], warnings, rings)
    walk = _Walks(book, placed, frozenset(rings)).plan
    planned = (lambda name: walk(normalized(name), frozenset())) if normalize else partial(walk, taken=frozenset())
    return Router(tuple(numbers), planned, options, warnings, rings)


def _placement(cluster: Cluster, numbers: Sequence[int], warnings: list[str], rings: dict[str, Placement]) -> _Placed:
    """Who of the `cluster` gets a name; what there is to say about its ring is added to `warnings` and `rings`."""
    members = tuple(numbers)
    placed: _Placed
    if cluster.kind in (FORWARD, FILE) or (len(members) == 1 and cluster.kind in (ANY_OF, FAILOVER, LB)):
        return lambda key: members
    if cluster.kind == FAILOVER:
        return lambda key: (Choice(members),)
    if cluster.kind in (ANY_OF, LB):

        def placed(key: str) -> tuple[Target, ...]:
            first = fnv1a_32(utf8(key), signed=True) % len(members)
            in_order = members[first:] + members[:first]
            return (Choice(in_order) if cluster.kind == ANY_OF else Choice(in_order, how=LEAST),)

    else:
        ring = make_ring(cluster.kind, cluster.servers)
        warnings.extend(
            f"cluster {cluster.name}: {sentence}" for sentence in ring.warnings(cluster.replication, cluster.diverse)
        )
        rings[cluster.name] = Placement(ring, cluster.replication, cluster.diverse, cluster.dynamic, members)
        placed = rings[cluster.name].targets
    if cluster.tags == "sorted":
        return lambda key: placed(normalized(key))
    if cluster.tags == "ignored":
        return lambda key: placed(key.partition(";")[0])
    return placed


class _Walks:
    """All walks over one book.  What is remembered is bounded.  Safe from any thread."""

    def __init__(self, book: RouteBook, placed: Mapping[str, _Placed], rings: frozenset[str]) -> None:
        # With what a name has to be found by before a route is asked at all; most routes are not for it.
        self._routes = tuple(
            (regex.search if (regex := getattr(route, "regex", None)) else None, route) for route in book.routes
        )
        self.placed = placed
        self.rings = rings
        self.onward = lru_cache(REMEMBERED_AGGREGATES)(self._onward)

    def plan(self, name: str, taken: frozenset[int]) -> Plan:
        """What is done with `name`; the aggregating statements `taken` have led to it."""
        walk = _Walk(self, name, taken)
        for search, route in self._routes:
            if (search is None or search(walk.key) is not None) and walk.step(route):
                break
        return walk.plan()

    def _onward(self, name: str, clusters: tuple[str, ...], taken: frozenset[int]) -> Plan:
        """What is done with the aggregate `name`."""
        if not clusters:
            return self.plan(name, taken)
        walk = _Walk(self, name, taken)
        walk.send(clusters, name, ())
        return walk.plan()


class _Walk:
    """One name on its way through the routes.  One owner."""

    def __init__(self, walks: _Walks, name: str, taken: frozenset[int]) -> None:
        self._walks = walks
        self._taken = taken
        # What expressions see, and the tags that were set apart.
        self.key, self._tags = name, ""
        self._rules: list[str] = []
        self._blackholed = False
        self._invalid = False
        # (name as it is sent, target) -> for each way there the checks to pass; likewise for what aggregates take.
        self._sent: dict[tuple[str, Target], list[tuple[int, ...]]] = {}
        self._fed: dict[Feed, list[tuple[int, ...]]] = {}
        self._checks: list[tuple[re.Pattern[bytes], str]] = []
        # Checks of routes without clusters: what does not pass goes no further.
        self._gates: tuple[int, ...] = ()

    def step(self, route: object) -> bool:
        """Go past one route; whether the way ends here."""
        if isinstance(route, MatchRoute):
            return self._match(route)
        if isinstance(route, AggregateRoute):
            return self._aggregate(route)
        if isinstance(route, RewriteRoute):
            if route.regex.search(self.key):
                self._rules.append(route.label)
                self.key = route.regex.sub(route.into.expand, self.key, count=0 if route.everywhere else 1)
        elif isinstance(route, CleanseRoute):
            self.key, semicolon, tags = self.key.partition(";")
            self.key = cleansed(self.key, route.allowed) + semicolon + tags
        elif isinstance(route, TagsRoute):
            self.key, semicolon, tags = self.key.partition(";")
            self._tags = semicolon + tags + self._tags
        if not self.key:
            self._invalid = True
        return self._invalid

    def _match(self, route: MatchRoute) -> bool:
        found = None
        if route.regex is not None:
            found = route.regex.search(self.key)
            if found is None:
                return False
        self._rules.append(route.label)
        checks = self._gates
        if route.validation is not None:
            checks = (*checks, len(self._checks))
            self._checks.append((route.validation.regex, route.validation.on_failure))
            if not route.clusters:
                self._gates = checks
        hashed = self.key
        if route.route_using is not None and found is not None:
            hashed = route.route_using.applied(found)
        self.send(route.clusters, hashed, checks)
        return route.stop

    def send(self, clusters: Sequence[str], hashed: str, checks: tuple[int, ...]) -> None:
        """Send to all of `clusters` what passes the `checks`; rings place it by `hashed`, others by its name."""
        walks = self._walks
        name = self.key + self._tags
        for cluster in clusters:
            if cluster == BLACKHOLE:
                self._blackholed = True
                continue
            for target in walks.placed[cluster](hashed if cluster in walks.rings else self.key):
                _add(self._sent, (name, target), checks)

    def _aggregate(self, route: AggregateRoute) -> bool:
        if route.statement in self._taken:
            return False
        found = route.regex.search(self.key)
        if found is None:
            return False
        self._rules.append(route.label)
        taken = self._taken | {route.statement}
        for spec, output in route.outputs:
            # As in carbon-c-relay: with groups the match is replaced and the rest stays, without it is the whole name.
            name = output.applied(found) if route.regex.groups else output.expand(found)
            if name:
                _add(self._fed, Feed(raw(name), spec, self._walks.onward(name, route.clusters, taken)), self._gates)
        return route.stop

    def plan(self) -> Plan:
        """What the way led to."""
        rules = tuple(self._rules)
        if self._invalid and not self._sent and not self._fed:
            return Plan(dropped=INVALID_NAME, rules=rules)
        grouped: dict[tuple[str, tuple[int, ...]], list[Target]] = {}
        for (name, target), ways in self._sent.items():
            for checks in ways:
                grouped.setdefault((name, checks), []).append(target)
        fed = [(feed, checks) for feed, ways in self._fed.items() for checks in ways]
        if not grouped and not fed:
            return Plan(dropped=BLACKHOLED if self._blackholed else NO_ROUTE, rules=rules)
        made = (
            Check(
                regex,
                on_failure,
                tuple(at for at, (_, checks) in enumerate(grouped) if number in checks),
                tuple(at for at, (_, checks) in enumerate(fed) if number in checks),
            )
            for number, (regex, on_failure) in enumerate(self._checks)
        )
        return Plan(
            tuple(Sending(raw(name), tuple(targets)) for (name, _), targets in grouped.items()),
            tuple(feed for feed, _ in fed),
            tuple(check for check in made if check.sendings or check.feeds),
            "",
            rules,
        )


def _add(wanted: dict[Any, list[tuple[int, ...]]], what: object, checks: tuple[int, ...]) -> None:
    """Note that `what` is wanted by points that pass `checks`; those that pass fewer are among them."""
    ways = wanted.setdefault(what, [])
    if not any(set(way) <= set(checks) for way in ways):
        ways[:] = [way for way in ways if not set(checks) <= set(way)] + [checks]


def cleansed(name: str, allowed: str) -> str:
    """`name` as carbon-c-relay makes it when it comes in (dispatcher.c): no empty nodes, and ``_`` for each byte that
    is no ASCII letter, digit, dot, nor in `allowed`."""
    data = re.sub(rb"\.\.+", b".", raw(name)).strip(b".")
    return re.sub(b"[^A-Za-z0-9.%b]" % re.escape(allowed.encode()), b"_", data).decode()
