"""Thousands of names on rings of several sizes: placed as by carbon's own routers and by the real carbon-c-relay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import c_relay, carbon_routing

from carbonpy.hashing.destination import Destination, parse_destinations
from carbonpy.hashing.rings import make_ring
from carbonpy.relaying.router import carbon_router
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules

NAMES = [
    *(f"servers.web{number % 97:03d}.cpu{number % 7}.{number}.user" for number in range(1200)),
    *(f"stats.timers.{word}.p{number}" for number in range(200) for word in ("api", "Login", "x-y_z", "a:b")),
    *(f"disk.used;datacenter=dc{number % 3};host=h{number}" for number in range(200)),
    *(f"métrique.température.été.{number}" for number in range(50)),
    "x",
    "",
]
RULES = """
[web]
pattern = ^SERVERS\\.web0[0-4]
destinations = 10.0.0.1:2004:a, 10.0.1.0:2003:b
continue = true
[timers]
pattern = api|login
destinations = 10.0.0.2:2002, 9.9.9.9:9
[rest]
default = true
destinations = 10.0.0.0:2000:i0
"""
AGGREGATION = """
servers.<host>.all.user (60) = sum servers.<host>.*.*.user
all.<cpu>.user (60) = avg servers.*.<cpu>.*.user
stats.<rest> (10) = count stats.timers.<<rest>>
"""


def hosts(count: int, per_host: int, instances: str) -> list[str]:
    """`count` destinations, `per_host` on each host, with or without instances, or some with and some without."""
    made = []
    for number in range(count):
        has_one = instances == "all" or (instances == "some" and number % 2)
        made.append(
            f"10.0.{number // per_host}.{number % 3 if per_host == 1 else 0}:{2000 + number}"
            + f":i{count - number}" * has_one
        )
    return made


CARBON_CASES: list[dict[str, Any]] = [
    {
        "method": method,
        "hash_type": hash_type,
        "destinations": hosts(count, per_host, "all" if per_host > 1 else instances),
        "replication": replication,
        "diverse": diverse,
        "names": NAMES,
        "aggregation_rules": AGGREGATION,
    }
    for method, hash_type in (
        ("consistent-hashing", "carbon_ch"),
        ("consistent-hashing", "fnv1a_ch"),
        ("consistent-hashing", "mmh3_ch"),
        ("fast-hashing", None),
        ("fast-hashing", "carbon_ch"),
        ("aggregated-consistent-hashing", None),
        ("fast-aggregated-hashing", "mmh3_ch"),
    )
    for count, per_host, instances in ((2, 1, "none"), (3, 3, "all"), (7, 1, "some"), (12, 2, "all"))
    for replication, diverse in ((1, True), (2, True), (2, False), (3, True), (3, False))
] + [
    {
        "method": "rules",
        "hash_type": None,
        "destinations": ["10.0.0.0:2000:i0", "10.0.1.0:2003:b", "10.0.0.1:2004:a", "10.0.0.2:2002"],
        "replication": 1,
        "diverse": True,
        "names": NAMES,
        "relay_rules": RULES,
    }
]


def test_every_relay_method_sends_every_name_where_carbon_sends_it(tmp_path: Path) -> None:
    for case, expected in zip(CARBON_CASES, carbon_routing.ask(CARBON_CASES, tmp_path), strict=True):
        router = carbon_router(
            case["method"],
            parse_destinations(case["destinations"]),
            case["hash_type"],
            case["replication"],
            case["diverse"],
            RelayRules.parse(case.get("relay_rules", RULES), "relay-rules.conf"),
            AggregationRules.parse(AGGREGATION, "aggregation-rules.conf"),
        )
        in_order = case["method"] in ("consistent-hashing", "fast-hashing", "rules")
        for name, carbons in zip(NAMES, expected, strict=True):
            ours = [str(router.destinations[number]) for number in router.plan(name.encode()).numbers()]
            if in_order:
                assert ours == list(dict.fromkeys(carbons)), (case, name)
            else:
                assert sorted(ours) == sorted(carbons), (case, name)


def test_a_ring_of_thirty_destinations_has_the_points_that_carbons_own_ring_has(tmp_path: Path) -> None:
    """More collisions than in the cases above: each moves a point on."""
    destinations = hosts(30, 1, "all")
    case = {
        "method": "consistent-hashing", "hash_type": "carbon_ch", "destinations": destinations,
        "replication": 3, "diverse": False, "names": NAMES,
    }  # fmt: skip
    ring = make_ring("carbon_ch", parse_destinations(destinations))
    for name, carbons in zip(NAMES, carbon_routing.ask([case], tmp_path)[0], strict=True):
        assert [str(ring.destinations[number]) for number in ring.owners(name, 3)] == carbons, name


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("kind", ["carbon_ch", "fnv1a_ch", "jump_fnv1a_ch"])
def test_rings_of_carbon_c_relay_have_every_name_where_its_test_mode_has_it(
    kind: str, count: int, tmp_path: Path
) -> None:
    names = [name for name in NAMES if name]
    ours = kind if kind == "jump_fnv1a_ch" else f"{kind}:c-relay"
    for instances in ("all", "none", "some"):
        destinations = [
            Destination(
                f"10.0.{number // 3}.{number % 3}",
                2000 + number,
                str(2 * count - number) if instances == "all" or (instances == "some" and number % 2) else None,
            )
            for number in range(count)
        ]
        servers = " ".join(map(c_relay.server, destinations))
        ring = make_ring(ours, destinations)
        for replication in range(1, min(count, 3) + 1):
            config = f"cluster it {kind} replication {replication} {servers};\nmatch * send to it stop;\n"
            answers = c_relay.transcripts(config, [f"{name} 1 1" for name in names], tmp_path)
            for name, answer in zip(names, answers, strict=True):
                owners = [f"{destinations[n].host}:{destinations[n].port}" for n in ring.owners(name, replication)]
                assert owners == c_relay.servers_of(answer), (instances, replication, name)
