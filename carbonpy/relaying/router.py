"""From a name to its plan: the router, and carbon's RELAY_METHODs.

The law: the same configuration and the same name give the same plan, in every process and at any time; for a name that
carbon sends somewhere, the destinations are carbon's.  Where carbon's order is that of a set, ours is that of the ring,
or of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from carbonpy.errors import ConfigError, MetricError
from carbonpy.hashing.destination import Destination
from carbonpy.hashing.ring import Ring
from carbonpy.hashing.rings import diverse_by_default, make_ring
from carbonpy.metric import parse_tags
from carbonpy.relaying.plan import NO_ROUTE, Choice, Plan, Sending, Target
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules

#: carbon's names for how a destination is chosen.
RULES, CONSISTENT, AGGREGATED = "rules", "consistent-hashing", "aggregated-consistent-hashing"
FAST, FAST_AGGREGATED, CONSTANT = "fast-hashing", "fast-aggregated-hashing", "constant"
RELAY_METHODS = (RULES, CONSISTENT, AGGREGATED, FAST, FAST_AGGREGATED, CONSTANT)
#: ROUTER_HASH_TYPE with the fast methods -> the ring.
_FAST_RINGS = {
    "": "fast",
    "fast": "fast",
    "mmh3_ch": "fast",
    "carbon_ch": "fast:carbon_ch",
    "fnv1a_ch": "fast:fnv1a_ch",
}


class Router:
    """What is done with which names.  `destinations` are numbered as they stand.  Immutable, safe from any thread.

    `warnings` are sentences about what people may not expect of the configuration.  `rings` are those that it uses, by
    RELAY_METHOD or cluster.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        planned: Callable[[str], Plan],
        options: Sequence[Mapping[str, object]] = (),
        warnings: Sequence[str] = (),
        rings: Mapping[str, Placement] | None = None,
    ) -> None:
        self.destinations = tuple(destinations)
        self.warnings = tuple(warnings)
        self.rings = dict(rings or {})
        self._planned = planned
        self._options = tuple(options)

    def warned(self, *sentences: str) -> Router:
        """The same with more warnings."""
        return Router(self.destinations, self._planned, self._options, (*self.warnings, *sentences), self.rings)

    def options_of(self, number: int) -> Mapping[str, object]:
        """How the destination `number` is spoken to, as its cluster says; empty where the settings decide."""
        return self._options[number] if self._options else {}

    def plan(self, name: bytes) -> Plan:
        """What is done with the points of `name`."""
        return self._planned(name.decode("utf-8", "surrogateescape"))


def raw(name: str) -> bytes:
    """The bytes that the text `name` came as."""
    return name.encode("utf-8", "surrogateescape")


def normalized(name: str) -> str:
    """`name` with its tags in order, as TAG_RELAY_NORMALIZED sends it; as it is when they cannot be read."""
    try:
        metric, tags = parse_tags(name)
    except MetricError:
        return name
    return metric + "".join(sorted(f";{tag}={value}" for tag, value in tags.items()))


def carbon_router(
    method: str,
    destinations: Sequence[Destination],
    ring: str | None = None,
    replication: int = 1,
    diverse: bool | None = None,
    relay_rules: RelayRules | None = None,
    aggregation_rules: AggregationRules | None = None,
    dynamic: bool = False,
    normalize: bool = False,
) -> Router:
    """The router of RELAY_METHOD = `method` over DESTINATIONS.

    `ring` is ROUTER_HASH_TYPE; empty or None for what the method has in carbon.  `diverse` None is what the ring has
    where it comes from.  `dynamic` (DYNAMIC_ROUTER) and `normalize` (TAG_RELAY_NORMALIZED) as in carbon.  The warnings
    of the rules are not among those of the router.  Raises ConfigError, a sentence without a place.
    """
    if not destinations:
        raise ConfigError("there are no DESTINATIONS; name at least one: host:port or host:port:instance")
    route: Callable[[str], Plan]
    rings: dict[str, Placement] = {}
    if method == CONSTANT:
        destinations = tuple(dict.fromkeys(destinations))
        route = _Constant(len(destinations)).plan
        warnings: list[str] = []
    elif method == RULES:
        if relay_rules is None:
            raise ConfigError("RELAY_METHOD = rules needs a file of rules; write relay-rules.conf")
        destinations = tuple(dict.fromkeys(destinations))
        rules = _ByRules(relay_rules, destinations)
        route, warnings = rules.plan, list(rules.warnings())
    elif method in (CONSISTENT, AGGREGATED, FAST, FAST_AGGREGATED):
        made = make_ring(_ring_of(method, ring or ""), destinations)
        placement = rings[method] = Placement(
            made, replication, diverse_by_default(made.kind) if diverse is None else diverse, dynamic
        )
        warnings = made.warnings(replication, placement.diverse)
        if method in (AGGREGATED, FAST_AGGREGATED):
            if aggregation_rules is None:
                raise ConfigError(f"RELAY_METHOD = {method} needs a file of rules; write aggregation-rules.conf")
        else:
            aggregation_rules = None
        route = _ByRing(method, placement, aggregation_rules).plan
    else:
        raise ConfigError(f"unknown RELAY_METHOD {method!r}; use one of {', '.join(RELAY_METHODS)}")
    if normalize:
        return Router(destinations, lambda name: route(normalized(name)), warnings=warnings, rings=rings)
    return Router(destinations, route, warnings=warnings, rings=rings)


def _ring_of(method: str, ring: str) -> str:
    if method in (CONSISTENT, AGGREGATED):
        return ring or "carbon_ch"
    try:
        return _FAST_RINGS[ring]
    except KeyError:
        raise ConfigError(
            f"RELAY_METHOD = {method} has no ring {ring!r}; use mmh3_ch, carbon_ch or fnv1a_ch, or "
            f"RELAY_METHOD = {CONSISTENT}"
        ) from None


class Placement:
    """A ring with how many copies it makes: a name's targets, the primary first.  Safe from any thread.

    `numbers` are the router's numbers of the ring's destinations; None when they are the same.
    """

    def __init__(
        self, ring: Ring, replication: int, diverse: bool, dynamic: bool, numbers: Sequence[int] | None = None
    ) -> None:
        self.ring = ring
        self.replication = replication
        self.diverse = diverse
        self.dynamic = dynamic
        self.numbers = tuple(range(len(ring.destinations)) if numbers is None else numbers)
        hosts = list(dict.fromkeys(destination.host for destination in ring.destinations))
        self._hosts = [hosts.index(destination.host) for destination in ring.destinations]

    def targets(self, key: str) -> tuple[Target, ...]:
        """Where what hashes as `key` goes."""
        numbers = self.numbers
        if not self.dynamic:
            return tuple(numbers[n] for n in self.ring.owners(key, self.replication, self.diverse))
        order = self.ring.succession(key, self.replication, self.diverse)
        hosts = tuple(self._hosts[n] for n in order) if self.diverse else ()
        return (Choice(tuple(numbers[n] for n in order), min(self.replication, len(order)), hosts=hosts),)


class _Constant:
    """RELAY_METHOD = constant: everything to everybody."""

    def __init__(self, count: int) -> None:
        self._everybody = tuple(range(count))

    def plan(self, name: str) -> Plan:
        return Plan((Sending(raw(name), self._everybody),), rules=(CONSTANT,))


class _ByRules:
    """RELAY_METHOD = rules: where relay-rules.conf says, as far as it is in DESTINATIONS."""

    def __init__(self, rules: RelayRules, destinations: Sequence[Destination]) -> None:
        self._rules = rules
        self._numbers = {destination: number for number, destination in enumerate(destinations)}

    def plan(self, name: str) -> Plan:
        matching = self._rules.matching(name)
        named = chain.from_iterable(rule.destinations for rule in matching)
        targets = tuple(dict.fromkeys(self._numbers[one] for one in named if one in self._numbers))
        rules = tuple(rule.name for rule in matching)
        if not targets:
            return Plan(dropped=NO_ROUTE, rules=rules)
        return Plan((Sending(raw(name), targets),), rules=rules)

    def warnings(self) -> Iterator[str]:
        """Sentences about destinations that are in one of the two places only."""
        used: set[Destination] = set()
        for rule in self._rules.rules:
            used.update(rule.destinations)
            for destination in rule.destinations:
                if destination not in self._numbers:
                    yield (
                        f"[{rule.name}] in line {rule.line} of the relay rules names {destination}, which is not in "
                        "DESTINATIONS and gets nothing; add it there"
                    )
        for destination in self._numbers:
            if destination not in used:
                yield f"{destination} is in DESTINATIONS, but no relay rule names it, so that it gets nothing"


class _ByRing:
    """The methods that hash: by the name, or by the names of the aggregates that it goes into."""

    def __init__(self, method: str, placement: Placement, aggregation: AggregationRules | None) -> None:
        self._method = method
        self._placement = placement
        self._aggregation = aggregation

    def plan(self, name: str) -> Plan:
        keys: dict[str, str] = {}
        if self._aggregation is not None:
            for number, output in self._aggregation.outputs(name):
                keys.setdefault(output, f"{self._method}: {self._aggregation.rules[number].output}")
        if not keys:
            keys[name] = self._method
        targets = dict.fromkeys(chain.from_iterable(self._placement.targets(key) for key in keys))
        return Plan((Sending(raw(name), tuple(targets)),), rules=tuple(keys.values()))
