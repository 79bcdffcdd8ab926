"""From the settings of a relay to its router."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonpy.daemons.routers import make_router
from carbonpy.errors import ConfigError
from carbonpy.hashing.rings import make_ring
from carbonpy.relaying.router import Router
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules
from carbonpy.settings import load

RULES = RelayRules.parse("[all]\ndefault = true\ndestinations = 127.0.0.1:2004:a\n", "relay-rules.conf")
TWO = "DESTINATIONS = 127.0.0.1:2004:a, 127.0.0.1:2104:b\n"


def router_of(tmp_path: Path, text: str, name: str = "carbon.conf", rules: RelayRules = RULES) -> Router:
    path = tmp_path / name
    path.write_text(text)
    return make_router(load(str(path), program="relay"), rules, AggregationRules.default())


def test_destinations_and_a_method_are_carbons(tmp_path: Path) -> None:
    router = router_of(tmp_path, f"[relay]\n{TWO}RELAY_METHOD = consistent-hashing\nREPLICATION_FACTOR = 2\n")
    ring = make_ring("carbon_ch", router.destinations)
    assert router.plan(b"a.b").sendings[0].targets == ring.owners("a.b", 2, diverse=True)
    assert len(router.plan(b"a.b").sendings[0].targets) == 1
    assert router_of(tmp_path, f"[relay]\n{TWO}").plan(b"a.b").rules == ("all",)


def test_a_ring_of_carbon_c_relay_does_not_know_hosts_unless_it_is_told_so(tmp_path: Path) -> None:
    text = (
        f"[relay]\n{TWO}RELAY_METHOD = consistent-hashing\nROUTER_HASH_TYPE = jump_fnv1a_ch\nREPLICATION_FACTOR = 2\n"
    )
    assert len(router_of(tmp_path, text).plan(b"a.b").sendings[0].targets) == 2
    assert len(router_of(tmp_path, text + "DIVERSE_REPLICAS = True\n").plan(b"a.b").sendings[0].targets) == 1


def test_clusters_and_routes_take_the_place_of_destinations(tmp_path: Path) -> None:
    router = router_of(
        tmp_path,
        "relay:\n  clusters: {a: {type: forward, servers: ['h:1']}}\n  routes: [{match: '*', send_to: a}]\n"
        "  destinations: ['g:1']\n",
        "carbonpy.yaml",
    )
    assert [str(destination) for destination in router.destinations] == ["h:1"]
    (warning,) = router.warnings
    assert warning == (
        f"{tmp_path}/carbonpy.yaml:4 [relay] DESTINATIONS are not used, since there are CLUSTERS and ROUTES; remove one"
    )


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("carbon.conf", "[relay]\n", "[relay] DESTINATIONS: there are no DESTINATIONS; name at least one: "),
        (
            "carbon.conf",
            "[relay]\nDESTINATIONS = h, g:x\n",
            "{}/carbon.conf:2 [relay] DESTINATIONS: 'h' has no port; write host:port or host:port:instance\n"
            "{}/carbon.conf:2 [relay] DESTINATIONS: 'x' in 'g:x' is no port; ",
        ),
        (
            "carbonpy.yaml",
            "relay:\n  clusters: {a: {type: forward, servers: ['h:1']}}\n  routes: [{match: '(', send_to: a}]\n",
            "{}/carbonpy.yaml: relay.routes[0].match: (: not a regular expression: ",
        ),
        (
            "carbonpy.yaml",
            "relay:\n  routes: [{match: a, send_to: blackhole}]\n",
            "{}/carbonpy.yaml: relay.clusters: has to be a mapping of names to clusters; name at least one",
        ),
    ],
)
def test_what_is_wrong_has_its_place(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        router_of(tmp_path, text, name)
    assert str(caught.value).startswith(sentence.replace("{}", str(tmp_path)))


def test_the_method_rules_needs_rules(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="RELAY_METHOD = rules needs rules, and there are none"):
        router_of(tmp_path, f"[relay]\n{TWO}", rules=RelayRules.default())
