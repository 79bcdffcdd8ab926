"""What the commands about rings look at: a configuration, or destinations and a type of ring.

The law: what is shown is what a relay with this configuration does; both are the same `Router`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator

from carbonpy.daemons.routers import make_router
from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import parse_destinations
from carbonpy.hashing.rings import FAST_TYPES, RING_TYPES, diverse_by_default, make_ring
from carbonpy.relaying.plan import Plan, Sending
from carbonpy.relaying.router import Placement, Router, raw
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules
from carbonpy.settings import Settings, load, read_text

#: Names that stand for a site's own where none are given.
_SERVICES = ("web", "db", "cache", "mail", "api", "queue", "search", "auth", "build", "log")
_FIGURES = (
    *("cpu.user", "cpu.system", "cpu.idle", "load.1min", "load.5min", "memory.used", "memory.free", "swap.used"),
    *("disk.sda.reads", "disk.sda.writes", "disk.sda.await", "net.eth0.rx", "net.eth0.tx", "processes.running"),
    *("requests.count", "requests.p50", "requests.p95", "requests.p99", "errors.count", "uptime"),
)


def add_source(options: argparse.ArgumentParser) -> None:
    """The options that say which ring."""
    options.add_argument("--config", metavar="FILE", help="carbonpy.yaml or carbon.conf of a relay")
    options.add_argument("--instance", metavar="X", default="a", help="with --config: instance (default: a)")
    options.add_argument(
        "--program", choices=("relay", "aggregator"), default="relay", help="with --config: whose section (relay)"
    )
    options.add_argument("--destinations", metavar="A,B,...", help="host:port or host:port:instance, with commas")
    add_ring_options(options)


def add_ring_options(options: argparse.ArgumentParser) -> None:
    """The options that say what ring, where destinations are given."""
    options.add_argument("--type", metavar="TYPE", help=f"the ring: {', '.join(RING_TYPES)} (default: carbon_ch)")
    options.add_argument("--replication", metavar="N", type=int, help="copies of each point (default: 1)")
    options.add_argument(
        "--diverse-replicas", metavar="true|false", type=_yes_or_no,
        help="copies on different hosts (default: true for carbon's rings, false for carbon-c-relay's)",
    )  # fmt: skip


def _yes_or_no(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false") from None


def chosen(options: argparse.Namespace) -> Router:
    """The router that the options of `add_source` say.  Raises ConfigError."""
    if (options.config is None) == (options.destinations is None):
        raise ConfigError("give either --config FILE or --destinations A,B,...")
    if options.config is not None:
        if options.type is not None or options.replication is not None or options.diverse_replicas is not None:
            raise ConfigError(
                "--type, --replication and --diverse-replicas go with --destinations; a configuration says them itself"
            )
        return from_settings(load(options.config, instance=options.instance, program=options.program))
    return ring_router(options.destinations, options.type, options.replication, options.diverse_replicas)


def ring_router(destinations: str, kind: str | None, replication: int | None, diverse: bool | None) -> Router:
    """The router of one ring of `destinations`, written with commas."""
    try:
        found = parse_destinations(destinations.split(","))
    except ConfigError as error:
        raise ConfigError("\n".join(f"destinations: {line}" for line in str(error).split("\n"))) from None
    kind, copies = kind or "carbon_ch", 1 if replication is None else replication
    if kind not in RING_TYPES and kind not in FAST_TYPES:
        raise ConfigError(f"--type {kind}: there is no such ring; use one of {', '.join(RING_TYPES)}")
    if copies < 1:
        raise ConfigError(f"--replication {copies}: there is at least 1 copy of each point")
    ring = make_ring(kind, found)
    placement = Placement(ring, copies, diverse_by_default(kind) if diverse is None else diverse, False)

    def planned(name: str) -> Plan:
        return Plan((Sending(raw(name), placement.targets(name)),), rules=(kind,))

    return Router(found, planned, (), ring.warnings(copies, placement.diverse), {kind: placement})


def from_settings(settings: Settings) -> Router:
    """The router of a configuration, with its rules files.  Raises ConfigError."""
    own = settings.own
    relay, aggregation = RelayRules.default(), AggregationRules.default()
    if os.path.exists(own.relay_rules):
        relay = RelayRules.parse(read_text(own.relay_rules), own.relay_rules)
    if os.path.exists(own.aggregation_rules):
        aggregation = AggregationRules.parse(read_text(own.aggregation_rules), own.aggregation_rules)
    return make_router(settings, relay, aggregation).warned(*relay.warnings, *aggregation.warnings)


def names_from(words: list[str]) -> Iterator[str]:
    """The names among the arguments; those of standard input for ``-``: the first word of each line."""
    for word in words:
        if word != "-":
            yield word
            continue
        for line in sys.stdin.buffer:
            fields = line.decode("utf-8", "surrogateescape").split()
            if fields:
                yield fields[0]


def made_up_names(count: int) -> list[str]:
    """`count` names as a site might have them: servers of some services, with some figures each."""
    every = (
        f"servers.{service}{number:04d}.{figure}"
        for number in itertools.count(1)
        for service in _SERVICES
        for figure in _FIGURES
    )
    return list(itertools.islice(every, count))


def shown_destinations(router: Router, plan: Plan) -> list[str]:
    """The destinations of a plan while all are up, in ring order."""
    return [str(router.destinations[number]) for number in plan.numbers()]


def tell(command: str, warnings: tuple[str, ...]) -> None:
    """Warnings on standard error, each once."""
    for warning in dict.fromkeys(warnings):
        print(f"carbonpy {command}: warning: {warning}", file=sys.stderr)
