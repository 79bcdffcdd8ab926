"""What holds for every ring: orders, owners, shares, warnings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import Destination, parse_destination
from carbonpy.hashing.rings import FAST_TYPES, RING_TYPES, diverse_by_default, make_ring

KINDS = st.sampled_from(RING_TYPES + FAST_TYPES)
NAMES = st.text(max_size=30)
DESTINATIONS = st.lists(
    st.builds(
        Destination,
        st.sampled_from(["10.0.0.1", "10.0.0.2", "graphite-3.example.com", "fe80::1"]),
        st.just(2004),
        st.one_of(st.none(), st.text("abc019", min_size=1, max_size=3)),
    ),
    min_size=1,
    max_size=7,
    unique=True,
)


@given(KINDS, DESTINATIONS, NAMES)
def test_an_order_has_no_destination_twice_and_begins_with_the_owner(
    kind: str, destinations: list[Destination], name: str
) -> None:
    ring = make_ring(kind, destinations)
    order = list(ring.order(name))
    assert len(set(order)) == len(order) <= len(destinations)
    assert tuple(order[:1]) == ring.owners(name)
    if kind in ("jump_fnv1a_ch", "fast", *FAST_TYPES):
        assert len(order) == len(destinations)


@given(KINDS, DESTINATIONS, NAMES, st.integers(1, 9))
def test_owners_are_the_first_of_the_order_and_diverse_ones_are_on_different_hosts(
    kind: str, destinations: list[Destination], name: str, replication: int
) -> None:
    ring = make_ring(kind, destinations)
    order = list(ring.order(name))
    assert list(ring.owners(name, replication)) == order[:replication]
    diverse = ring.owners(name, replication, diverse=True)
    hosts = [destinations[number].host for number in diverse]
    assert len(set(hosts)) == len(hosts) == min(replication, len({destinations[number].host for number in order}))
    assert list(diverse) == [number for number in order if number in diverse]
    assert ring.owners(name, replication, diverse=True) == diverse


@given(KINDS, DESTINATIONS, NAMES, st.integers(1, 4), st.booleans())
def test_a_succession_has_the_owners_first(
    kind: str, destinations: list[Destination], name: str, replication: int, diverse: bool
) -> None:
    ring = make_ring(kind, destinations)
    succession = ring.succession(name, replication, diverse)
    assert set(succession) == set(ring.order(name))
    assert len(succession) == len(set(succession))
    hosts: list[str] = []
    firsts = []
    for number in succession:
        if not (diverse and destinations[number].host in hosts):
            hosts.append(destinations[number].host)
            firsts.append(number)
    assert tuple(firsts[:replication]) == ring.owners(name, replication, diverse)


def test_successions_of_a_jump_ring_are_no_more_than_its_lists_of_owners() -> None:
    """They are kept for each way that names go, so there must not be one for every name."""
    ring = make_ring("jump_fnv1a_ch", [parse_destination(f"10.0.0.{i}:2003:{i}") for i in range(9)])
    assert len({ring.succession(f"a.b{number}", 1, False) for number in range(2000)}) == 9


@given(KINDS, DESTINATIONS)
def test_shares_add_up(kind: str, destinations: list[Destination]) -> None:
    ring = make_ring(kind, destinations)
    assert sum(ring.shares()) == pytest.approx(1)
    assert {number for number, share in enumerate(ring.shares()) if share} <= {number for _, number in ring.points()}


@pytest.mark.parametrize("kind", ["carbon_ch", "fnv1a_ch", "fnv1a_ch:c-relay"])
def test_shares_are_what_all_positions_say(kind: str) -> None:
    """All 65536 hashes, counted one by one."""
    ring = make_ring(kind, [parse_destination(f"10.0.0.{i}:2004:node-{i}-of-five") for i in range(5)])
    points = ring.points()
    counts = [0] * 5
    at = 0
    for position in range(65536):
        while at < len(points) and points[at][0] < position:
            at += 1
        counts[points[at % len(points)][1]] += 1
    assert ring.shares() == [count / 65536 for count in counts]


@given(st.sampled_from(["carbon_ch:c-relay", "fnv1a_ch:c-relay"]), DESTINATIONS, NAMES, st.randoms())
def test_the_order_of_the_configuration_does_not_count_for_carbon_c_relay(
    kind: str, destinations: list[Destination], name: str, random: object
) -> None:
    numbered = [d._replace(port=port) for port, d in enumerate(destinations, 1)]
    if kind.startswith("fnv1a") and len({d.instance for d in numbered if d.instance}) < sum(
        d.instance is not None for d in numbered
    ):
        return  # the same instance twice: the first by host and port has all points, of equal ones the first here
    shuffled = numbered.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = make_ring(kind, numbered), make_ring(kind, shuffled)
    assert [numbered[n] for n in one.owners(name, 3)] == [shuffled[n] for n in other.owners(name, 3)]


def test_a_ring_whose_destinations_share_all_points_still_ends() -> None:
    """carbon-c-relay looks for the second copy for ever here."""
    ring = make_ring("fnv1a_ch:c-relay", [Destination("h", 1, "a"), Destination("h", 2, "a")])
    assert ring.owners("a.b.c", 2) == (0,)
    assert ring.warnings(2) == ["h:2:a is the primary of no name at all; give every destination its own, long instance"]


@pytest.mark.parametrize("kind", RING_TYPES + FAST_TYPES)
def test_one_destination_owns_everything_once(kind: str) -> None:
    """carbon sends every point twice here when two copies are asked for."""
    ring = make_ring(kind, [parse_destination("127.0.0.1:2004:a")])
    assert ring.owners("a.b.c", 2) == (0,)
    assert "2 copies are asked for, but there are 1 destinations" in ring.warnings(2)[0]


def test_fnv1a_without_instances_is_a_trap_that_is_named() -> None:
    destinations = [parse_destination(f"10.0.0.{i}:2004") for i in (1, 2, 3)]
    warnings = make_ring("fnv1a_ch", destinations).warnings()
    assert warnings[0].startswith("fnv1a_ch hashes instances and not hosts, and 3 destinations have the instance None")
    assert warnings[1].startswith("10.0.0.1:2004 gets 99.7% of all names, where 33.3% would be fair")
    assert make_ring("fnv1a_ch:c-relay", destinations).warnings() == []


def test_replicas_that_collapse_to_one_host_are_named() -> None:
    destinations = [parse_destination(f"127.0.0.1:2{i}04:{i}") for i in range(3)]
    ring = make_ring("carbon_ch", destinations)
    assert ring.warnings(2, diverse=False) == []
    assert ring.warnings(2, diverse=True) == [
        "copies go to different hosts, and 3 destinations are on 1, so there are 1 copies and not 2; "
        "add hosts, or set DIVERSE_REPLICAS = False"
    ]


def test_jump_without_instances_is_named() -> None:
    destinations = [parse_destination(f"10.0.0.{i}:2004") for i in (1, 2, 3)]
    (warning,) = make_ring("jump_fnv1a_ch", destinations).warnings()
    assert warning.startswith("3 destinations have no instance, so that their order in the configuration decides")
    assert (
        make_ring("jump_fnv1a_ch", [d._replace(instance=str(n)) for n, d in enumerate(destinations)]).warnings() == []
    )


@pytest.mark.parametrize("kind", ["carbon_ch", "carbon_ch:c-relay", "fnv1a_ch", "mmh3_ch", "fast"])
def test_two_ports_of_one_host_need_instances(kind: str) -> None:
    with pytest.raises(ConfigError, match="h:1 and h:2 are the same host and instance, and ports do not count"):
        make_ring(kind, [Destination("h", 1), Destination("g", 1), Destination("h", 2)])


def test_what_is_no_ring_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="unknown ring 'crush'; use one of carbon_ch, carbon_ch:c-relay, fnv1a_ch"):
        make_ring("crush", [Destination("h", 1)])
    with pytest.raises(ConfigError, match="a ring needs destinations"):
        make_ring("carbon_ch", [])


def test_carbons_rings_are_diverse_unless_told_otherwise_and_those_of_carbon_c_relay_are_not() -> None:
    assert {kind for kind in RING_TYPES if diverse_by_default(kind)} == {"carbon_ch", "fnv1a_ch", "mmh3_ch", "fast"}
