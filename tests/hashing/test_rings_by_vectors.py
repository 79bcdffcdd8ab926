"""Rings place names where carbon and carbon-c-relay do: recorded from both."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from carbonpy.hashing.destination import parse_destination
from carbonpy.hashing.hashes import fnv1a_32, murmur3, utf8
from carbonpy.hashing.rings import make_ring

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
CARBON = json.loads((VECTORS / "carbon_python_rings.json").read_text())["cases"]
C_RELAY = json.loads((VECTORS / "carbon_c_relay_rings.json").read_text())["cases"]
FAST = {"mmh3_ch": "fast", "carbon_ch": "fast:carbon_ch", "fnv1a_ch": "fast:fnv1a_ch"}


def name_of(case: dict[str, Any]) -> str:
    return "-".join(case[word] for word in ("ring", "relay_method", "router_hash_type", "cluster_type") if word in case)


@pytest.mark.parametrize("case", CARBON, ids=name_of)
def test_carbons_rings(case: dict[str, Any]) -> None:
    destinations = [parse_destination(text) for text in case["destinations"]]
    kind = case["router_hash_type"] if case["relay_method"] == "consistent-hashing" else FAST[case["router_hash_type"]]
    ring = make_ring(kind, destinations)
    if "ring_sha256" in case:
        lines = [f"{position} {destinations[n].host} {destinations[n].instance}" for position, n in ring.points()]
        assert sha256("\n".join(lines).encode()).hexdigest() == case["ring_sha256"]
    assert {name: ring.hash_of(name) for name in case["hash"]} == case["hash"]
    for way, placed in case["result"].items():
        replication, diverse = int(way[2]), way.endswith("True")
        for name, expected in placed.items():
            assert [str(destinations[n]) for n in ring.owners(name, replication, diverse)] == expected, (way, name)


@pytest.mark.parametrize("case", [case for case in C_RELAY if case["cluster_type"] != "any_of"], ids=name_of)
def test_carbon_c_relays_rings(case: dict[str, Any]) -> None:
    destinations = [parse_destination(text.replace("=", ":")) for text in case["servers"]]
    jumps = case["cluster_type"] == "jump_fnv1a_ch"
    ring = make_ring(case["cluster_type"] + ("" if jumps else ":c-relay"), destinations)
    if "hash_pos" in case and not jumps:
        assert {name: ring.hash_of(name) for name in case["hash_pos"]} == case["hash_pos"]
    for way, placed in case["result"].items():
        for name, expected in placed.items():
            owners = ring.owners(name, int(way.removeprefix("replication")))
            assert [f"{destinations[n].host}:{destinations[n].port}" for n in owners] == expected, (way, name)


@pytest.mark.parametrize("case", [case for case in C_RELAY if case["cluster_type"] == "any_of"], ids=name_of)
def test_carbon_c_relays_any_of_is_fnv_modulo_the_servers(case: dict[str, Any]) -> None:
    for name, expected in case["result"].items():
        server = case["servers"][fnv1a_32(utf8(name), signed=True) % len(case["servers"])]
        assert [server.partition("=")[0]] == ([expected] if isinstance(expected, str) else expected), name


@pytest.mark.parametrize(
    ("name", "number"), [("a.b.c.d", 210456028), ("collectd.bar.memory.free", -1558019334), ("", 0), ("a", 1009084850)]
)
def test_murmur_is_that_of_the_mmh3_package(name: str, number: int) -> None:
    assert murmur3(name) == number
