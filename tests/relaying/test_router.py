"""carbon's RELAY_METHODs: plans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import Destination, parse_destinations
from carbonpy.hashing.rings import make_ring
from carbonpy.relaying.plan import NO_ROUTE, Choice, Plan, Sending
from carbonpy.relaying.router import RELAY_METHODS, Router, carbon_router, normalized
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules

C = parse_destinations([f"10.0.0.{host}:2{instance}04:{'ab'[instance]}" for host in (1, 2, 3) for instance in (0, 1)])
RULES = RelayRules.parse(
    "[web]\npattern = ^web\ndestinations = 10.0.0.2:2004:a, 10.0.0.1:2004:a\ncontinue = true\n"
    "[lost]\npattern = ^lost\ndestinations = 9.9.9.9:1\n"
    "[rest]\ndefault = true\ndestinations = 10.0.0.1:2004:a, 10.0.0.3:2004:a\n",
    "relay-rules.conf",
)
AGGREGATION = AggregationRules.parse(
    "<env>.applications.<app>.all.requests (60) = sum <env>.applications.<app>.*.requests\n"
    "<env>.all.<app>.requests (60) = sum <env>.applications.<app>.*.requests\n",
    "aggregation-rules.conf",
)


def made(method: str, **options: object) -> Router:
    files = {"relay_rules": RULES, "aggregation_rules": AGGREGATION}
    return carbon_router(method, C, **{**files, **options})  # type: ignore[arg-type]


def sent_to(router: Router, name: bytes) -> list[str]:
    return [str(router.destinations[number]) for number in router.plan(name).numbers()]


@given(st.sampled_from(RELAY_METHODS), st.binary(max_size=40))
def test_a_plan_depends_on_the_name_alone_and_goes_out_under_it(method: str, name: bytes) -> None:
    router = made(method)
    plan = router.plan(name)
    assert plan == made(method).plan(name)
    assert [sending.name for sending in plan.sendings] == ([] if plan.dropped else [name])
    assert not plan.feeds and not plan.checks


def test_constant_sends_everything_to_everybody() -> None:
    assert made("constant").plan(b"a.b").sendings == (Sending(b"a.b", (0, 1, 2, 3, 4, 5)),)


def test_rules_send_where_they_say_and_to_nobody_twice() -> None:
    router = made("rules")
    assert sent_to(router, b"web.cpu") == ["10.0.0.2:2004:a", "10.0.0.1:2004:a", "10.0.0.3:2004:a"]
    assert router.plan(b"web.cpu").rules == ("web", "rest")
    assert sent_to(router, b"db.cpu") == ["10.0.0.1:2004:a", "10.0.0.3:2004:a"]
    assert router.plan(b"lost.cpu") == Plan(dropped=NO_ROUTE, rules=("lost",))


def test_destinations_that_are_in_one_of_two_places_only_are_named() -> None:
    assert made("rules").warnings == (
        "[lost] in line 5 of the relay rules names 9.9.9.9:1, which is not in DESTINATIONS and gets nothing; "
        "add it there",
        "10.0.0.1:2104:b is in DESTINATIONS, but no relay rule names it, so that it gets nothing",
        "10.0.0.2:2104:b is in DESTINATIONS, but no relay rule names it, so that it gets nothing",
        "10.0.0.3:2104:b is in DESTINATIONS, but no relay rule names it, so that it gets nothing",
    )


@pytest.mark.parametrize(
    ("method", "ring", "kind"),
    [
        ("consistent-hashing", None, "carbon_ch"),
        ("consistent-hashing", "fnv1a_ch:c-relay", "fnv1a_ch:c-relay"),
        ("consistent-hashing", "jump_fnv1a_ch", "jump_fnv1a_ch"),
        ("consistent-hashing", "fast", "fast"),
        ("fast-hashing", "", "fast"),
        ("fast-hashing", "mmh3_ch", "fast"),
        ("fast-hashing", "carbon_ch", "fast:carbon_ch"),
        ("fast-hashing", "fnv1a_ch", "fast:fnv1a_ch"),
    ],
)
@pytest.mark.parametrize("diverse", [True, False])
def test_hashing_methods_send_to_the_owners_on_their_ring(
    method: str, ring: str | None, kind: str, diverse: bool
) -> None:
    router = made(method, ring=ring, replication=3, diverse=diverse)
    for name in ("a.b.c", "servers.web01.cpu.user", "métrique"):
        assert router.plan(name.encode()).sendings[0].targets == make_ring(kind, C).owners(name, 3, diverse)


def test_copies_go_to_different_hosts_where_the_ring_comes_from_a_relay_that_knows_hosts() -> None:
    one_host = parse_destinations(["h:1:a", "h:2:b"])
    assert len(carbon_router("consistent-hashing", one_host, replication=2).plan(b"x").sendings[0].targets) == 1
    router = carbon_router("consistent-hashing", one_host, "carbon_ch:c-relay", replication=2)
    assert len(router.plan(b"x").sendings[0].targets) == 2
    assert router.warnings == ()


@pytest.mark.parametrize("method", ["aggregated-consistent-hashing", "fast-aggregated-hashing"])
def test_aggregated_methods_hash_the_outputs_or_the_name_without_any(method: str) -> None:
    router = made(method, replication=1)
    plain = made(method.replace("aggregated-", ""), replication=1)
    outputs = ("prod.applications.apache.all.requests", "prod.all.apache.requests")
    expected = {number for output in outputs for number in plain.plan(output.encode()).numbers()}
    plan = router.plan(b"prod.applications.apache.www01.requests")
    assert set(plan.numbers()) == expected
    assert plan.sendings[0].name == b"prod.applications.apache.www01.requests"
    assert len(plan.rules) == 2
    assert sent_to(router, b"a.b.c") == sent_to(plain, b"a.b.c")


def test_a_dynamic_router_leaves_open_who_gets_the_points() -> None:
    router = made("consistent-hashing", replication=2, dynamic=True)
    (choice,) = router.plan(b"a.b.c.d").sendings[0].targets
    assert isinstance(choice, Choice)
    ring = make_ring("carbon_ch", C)
    assert choice.members == tuple(ring.order("a.b.c.d"))
    assert choice.pick(lambda n: True, lambda n: 0) == list(ring.owners("a.b.c.d", 2, diverse=True))


@given(st.text("abc.", min_size=1, max_size=12), st.sets(st.integers(0, 5), max_size=5), st.booleans())
def test_a_dynamic_choice_is_the_ring_without_those_that_are_down(name: str, down: set[int], diverse: bool) -> None:
    router = made("consistent-hashing", replication=2, dynamic=True, diverse=diverse)
    (choice,) = router.plan(name.encode()).sendings[0].targets
    assert isinstance(choice, Choice)
    picked = choice.pick(lambda number: number not in down, lambda number: 0)
    expected: list[int] = []
    for number in make_ring("carbon_ch", C).order(name):
        if number not in down and not (diverse and C[number].host in {C[other].host for other in expected}):
            expected.append(number)
    assert picked[: len(expected)] == expected[:2]
    assert len(picked) == 2  # for those that are missing it waits


def test_tags_are_sorted_before_hashing_and_sending_when_told_so() -> None:
    name = b"disk.used;rack=a1;server=web01;datacenter=dc1"
    in_order = b"disk.used;datacenter=dc1;rack=a1;server=web01"
    assert made("consistent-hashing").plan(name).sendings[0].name == name
    assert made("consistent-hashing", normalize=True).plan(name) == made("consistent-hashing").plan(in_order)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('disk.used{rack="a1",server="web01"}', "disk.used;rack=a1;server=web01"),
        ("~weird;a=b", "weird;a=b"),
        ("plain.metric", "plain.metric"),
        ("x;a=1;a=2", "x;a=2"),
        ("x;b=2;a=~1", "x;b=2;a=~1"),
        ("x;=1", "x;=1"),
        ("x;name=foo", "x"),
    ],
)
def test_names_are_normalised_as_by_carbon(name: str, expected: str) -> None:
    assert normalized(name) == expected


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("random", {}, "unknown RELAY_METHOD 'random'; use one of rules, consistent-hashing, "),
        ("rules", {"relay_rules": None}, "RELAY_METHOD = rules needs a file of rules; write relay-rules.conf"),
        (
            "fast-hashing",
            {"ring": "jump_fnv1a_ch"},
            "RELAY_METHOD = fast-hashing has no ring 'jump_fnv1a_ch'; use mmh3_ch, carbon_ch or fnv1a_ch, or ",
        ),
        ("consistent-hashing", {"ring": "md5"}, "unknown ring 'md5'; use one of carbon_ch, "),
        ("aggregated-consistent-hashing", {"aggregation_rules": None}, "RELAY_METHOD = aggregated-consistent-hashing "),
    ],
)
def test_what_cannot_be_is_a_sentence(method: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(method, **options)
    assert str(caught.value).startswith(sentence)


def test_no_destinations_are_an_error() -> None:
    with pytest.raises(ConfigError, match="there are no DESTINATIONS"):
        carbon_router("constant", [])


def test_rings_warn_through_the_router() -> None:
    router = carbon_router("consistent-hashing", [Destination("h", 1, "a"), Destination("h", 2, "b")], replication=2)
    assert router.warnings[0].startswith("copies go to different hosts, and 2 destinations are on 1")
