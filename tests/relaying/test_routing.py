"""Clusters and routes in YAML: plans."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.hashing.destination import parse_destination
from carbonpy.hashing.hashes import fnv1a_32
from carbonpy.hashing.rings import make_ring
from carbonpy.relaying.plan import BLACKHOLED, INVALID_NAME, LEAST, NO_ROUTE, Choice, Plan, Sending
from carbonpy.relaying.router import Router
from carbonpy.relaying.routing import cleansed, routes_router
from carbonpy.rules.aggregates import AggregateSpec
from carbonpy.rules.routes import RouteBook

CLUSTERS = """
ring:
  type: carbon_ch
  replication: 2
  servers: ['10.0.0.1:2004:a', '10.0.0.2:2004:a', '10.0.0.3:2004:a']
jump: {type: jump_fnv1a_ch, servers: ['10.1.0.1:2003:1', '10.1.0.2:2003:2', '10.1.0.3:2003:3'], protocol: line}
all: {type: forward, servers: ['10.2.0.1:2004', '10.2.0.2:2004']}
any: {type: any_of, servers: ['10.3.0.1:2004', '10.3.0.2:2004', '10.3.0.3:2004']}
spare: {type: failover, servers: ['10.4.0.1:2004', '10.4.0.2:2004']}
least: {type: lb, servers: ['10.5.0.1:2004', '10.5.0.2:2004']}
log: {type: file, paths: [/var/log/metrics.log]}
one: {type: any_of, servers: ['10.6.0.1:2004']}
"""


def made(routes: str, clusters: str = CLUSTERS, normalize: bool = False) -> Router:
    return routes_router(RouteBook.parse(yaml.safe_load(clusters), yaml.safe_load(routes), "carbonpy.yaml"), normalize)


def sent(router: Router, name: str) -> list[tuple[str, list[str]]]:
    """What goes to whom, while all are up."""
    shown = []
    for sending in router.plan(name.encode()).sendings:
        numbers = Plan((sending,)).numbers()
        shown.append((sending.name.decode(), [str(router.destinations[number]) for number in numbers]))
    return shown


def test_routes_are_gone_through_from_top_to_bottom_until_one_stops() -> None:
    router = made("""
- {match: '^a', send_to: all}
- {match: '^ab', send_to: [one, log], stop: true}
- {match: '*', send_to: spare}
""")
    everybody = ["10.2.0.1:2004", "10.2.0.2:2004"]
    assert sent(router, "a.x") == [("a.x", [*everybody, "10.4.0.1:2004"])]
    assert sent(router, "ab.x") == [("ab.x", [*everybody, "10.6.0.1:2004", "file:/var/log/metrics.log"])]
    assert sent(router, "x.a") == [("x.a", ["10.4.0.1:2004"])]
    assert router.plan(b"ab.x").rules == ("routes[0]: match ^a", "routes[1]: match ^ab")


def test_a_name_goes_to_a_destination_once_however_many_routes_say_so() -> None:
    router = made("- {match: ['^a', 'b$'], send_to: all}\n- {match: '*', send_to: all}\n")
    assert sent(router, "a.b") == [("a.b", ["10.2.0.1:2004", "10.2.0.2:2004"])]


def test_rings_get_what_they_own_and_numbers_are_those_of_the_router() -> None:
    router = made("- {match: '*', send_to: [jump, ring]}\n")
    ring = make_ring("carbon_ch", [parse_destination(f"10.0.0.{i}:2004:a") for i in (1, 2, 3)])
    jump = make_ring("jump_fnv1a_ch", [parse_destination(f"10.1.0.{i}:2003:{i}") for i in (1, 2, 3)])
    expected = [
        jump.destinations[jump.owners("a.b.c.d")[0]],
        *(ring.destinations[n] for n in ring.owners("a.b.c.d", 2)),
    ]
    assert sent(router, "a.b.c.d") == [("a.b.c.d", [str(destination) for destination in expected])]


def test_choices_are_left_open_until_a_batch_is_sent() -> None:
    router = made("- {match: '*', send_to: [any, spare, least, one]}\n")
    (sending,) = router.plan(b"a.b").sendings
    number = {str(destination): number for number, destination in enumerate(router.destinations)}
    hashed = [number[f"10.3.0.{i}:2004"] for i in (1, 2, 3)]
    first = fnv1a_32(b"a.b") % 3
    assert sending.targets[0] == Choice(tuple(hashed[first:] + hashed[:first]))
    assert sending.targets[1] == Choice((number["10.4.0.1:2004"], number["10.4.0.2:2004"]))
    least = sending.targets[2]
    assert isinstance(least, Choice) and least.how == LEAST and len(least.members) == 2
    assert sending.targets[3] == number["10.6.0.1:2004"]
    assert least.pick(lambda n: True, lambda n: n) == [min(least.members)]
    assert least.pick(lambda n: n != min(least.members), lambda n: n) == [max(least.members)]


def test_rewrites_are_for_all_routes_below_them() -> None:
    router = made(r"""
- {match: '^old\.', send_to: one}
- {rewrite: '^old\.([A-Z]+)\.(.*)$', into: 'new.\_1.\.2'}
- {rewrite: 'o', into: '0'}
- {rewrite: 'b', into: 'B', all: true}
- {match: '^new\.', send_to: all}
""")
    assert sent(router, "old.WEB.foo.bob") == [
        ("old.WEB.foo.bob", ["10.6.0.1:2004"]),
        ("new.weB.f0o_BoB", ["10.2.0.1:2004", "10.2.0.2:2004"]),
    ]
    assert sent(router, "x") == []


def test_what_goes_nowhere_has_a_reason() -> None:
    router = made("- {match: '^bad', send_to: blackhole}\n- {match: '^(bad|good)', send_to: all}\n")
    assert router.plan(b"bad.x") == Plan(dropped=BLACKHOLED, rules=("routes[0]: match ^bad",))
    assert router.plan(b"other") == Plan(dropped=NO_ROUTE)
    assert router.plan(b"good").dropped == ""
    nothing_left = made("- {rewrite: '^x$', into: ''}\n- {match: '*', send_to: all}\n")
    assert nothing_left.plan(b"x") == Plan(dropped=INVALID_NAME, rules=("routes[0]: rewrite ^x$",))


def test_a_validation_with_clusters_guards_what_they_get() -> None:
    router = made(r"""
- {match: '^v', validate: '^[0-9]+ ', otherwise: log, send_to: all}
- {match: '*', send_to: one}
""")
    plan = router.plan(b"v.x")
    (check,) = plan.checks
    assert check.on_failure == "log"
    assert check.matches.search(b"17 1700000000") and not check.matches.search(b"nan 1700000000")
    assert [sending.targets for sending in plan.sendings] == [
        tuple(router.destinations.index(parse_destination(f"10.2.0.{i}:2004")) for i in (1, 2)),
        (router.destinations.index(parse_destination("10.6.0.1:2004")),),
    ]
    assert (check.sendings, check.feeds) == ((0,), ())
    assert router.plan(b"x.v").checks == ()


def test_a_validation_without_clusters_guards_all_that_comes_behind_it() -> None:
    router = made(r"""
- {match: '*', send_to: one}
- {match: '*', validate: '^[0-9]+ '}
- {aggregate: '^a', every: 10, expire: 30, compute: {sum: total}, send_to: one}
- {match: '*', send_to: all}
""")
    plan = router.plan(b"a.b")
    (check,) = plan.checks
    assert (check.sendings, check.feeds, check.on_failure) == ((1,), (0,), "drop")


def test_what_is_sent_anyway_is_not_sent_again_when_it_passes_a_check() -> None:
    router = made(r"""
- {match: '*', validate: '^[0-9]', send_to: one}
- {match: '*', send_to: one}
""")
    plan = router.plan(b"a.b")
    assert len(plan.sendings) == 1 and plan.checks == ()


def test_route_using_changes_what_is_hashed_and_not_what_is_sent() -> None:
    router = made(r"- {match: '^servers\.([^.]+)\..*$', route_using: '\1', send_to: jump}" + "\n")
    placed = {tuple(sent(router, f"servers.web01.cpu{i}.user")[0][1]) for i in range(50)}
    assert len(placed) == 1
    jump = make_ring("jump_fnv1a_ch", [parse_destination(f"10.1.0.{i}:2003:{i}") for i in (1, 2, 3)])
    assert placed == {(str(jump.destinations[jump.owners("web01")[0]]),)}
    assert sent(router, "servers.web01.cpu1.user")[0][0] == "servers.web01.cpu1.user"


def test_an_aggregate_goes_to_its_clusters_by_its_own_name() -> None:
    router = made(r"""
- aggregate: ['^sys\.([^.]+)\.cpu\.(user|system)$']
  every: 60
  expire: 90
  timestamp: middle
  compute: {sum: 'sum.\1', percentile95: 'p95.\1'}
  send_to: jump
  stop: true
- {match: '*', send_to: all}
""")
    plan = router.plan(b"sys.web.cpu.user")
    assert [(feed.name, feed.rule) for feed in plan.feeds] == [
        (b"sum.web", AggregateSpec(60, "sum", "window", 90, "middle")),
        (b"p95.web", AggregateSpec(60, "percentile95", "window", 90, "middle")),
    ]
    assert plan.sendings == () and plan.dropped == ""
    jump = make_ring("jump_fnv1a_ch", [parse_destination(f"10.1.0.{i}:2003:{i}") for i in (1, 2, 3)])
    for feed in plan.feeds:
        assert feed.onward is not None
        ((number,),) = (sending.targets for sending in feed.onward.sendings)
        assert router.destinations[number] == jump.destinations[jump.owners(feed.name.decode())[0]]
    assert plan.feeds == router.plan(b"sys.web.cpu.system").feeds


def test_what_an_expression_does_not_match_stays_in_the_name_of_an_aggregate_if_there_are_groups() -> None:
    """As in carbon-c-relay, where this surprises people who leave the ^ or the $ out."""
    router = made(r"""
- {aggregate: '^agg\.([a-z]+)\.', every: 10, expire: 20, compute: {sum: 'out.\1'}, send_to: one}
- {aggregate: '^agg\.', every: 10, expire: 20, compute: {sum: total}, send_to: one}
""")
    assert [feed.name for feed in router.plan(b"agg.foo.bar").feeds] == [b"out.foobar", b"total"]


def test_an_aggregate_without_clusters_comes_in_again_but_never_in_a_loop() -> None:
    router = made(r"""
- {aggregate: '^(a|b)$', every: 10, expire: 20, compute: {sum: b}}
- {aggregate: '^b$', every: 60, expire: 90, compute: {max: a}}
- {match: '*', send_to: one}
""")
    plan = router.plan(b"a")
    (feed,) = plan.feeds
    assert feed.name == b"b" and feed.onward is not None
    (again,) = feed.onward.feeds
    assert again.name == b"a" and again.onward is not None
    assert again.onward.feeds == ()
    assert [sending.name for sending in again.onward.sendings] == [b"a"]


def test_a_name_is_cleansed_where_the_routes_say_so() -> None:
    router = made("- {cleanse: true}\n- {match: '*', send_to: one}\n")
    assert sent(router, "..a..b c.é;t=x y") == [("a.b_c.__;t=x y", ["10.6.0.1:2004"])]
    assert router.plan(b"...").dropped == INVALID_NAME


@given(st.binary(max_size=30))
def test_what_is_clean_stays_clean(data: bytes) -> None:
    name = cleansed(data.decode("utf-8", "surrogateescape"), "-_:#")
    assert re.fullmatch(r"([A-Za-z0-9_:#-]+(\.[A-Za-z0-9_:#-]+)*)?", name)
    assert cleansed(name, "-_:#") == name


def test_tags_can_be_set_apart_as_carbon_c_relay_does_it() -> None:
    router = made(r"""
- {set_tags_apart: true}
- {rewrite: 'web$', into: 'WEB'}
- {match: 'WEB$', send_to: jump, stop: true}
- {match: 'host=', send_to: all}
""")
    placed = {tuple(sent(router, f"disk.web;host=h{i}")[0][1]) for i in range(20)}
    assert len(placed) == 1
    assert sent(router, "disk.web;host=h1")[0][0] == "disk.WEB;host=h1"
    assert sent(router, "disk;host=h1") == []


@pytest.mark.parametrize(
    ("tags", "hashed"),
    [("as_sent", "d;b=1;a=2"), ("sorted", "d;a=2;b=1"), ("ignored", "d")],
)
def test_a_cluster_says_how_tags_count_for_its_hash(tags: str, hashed: str) -> None:
    servers = [f"10.0.0.{i}:2004:{i}" for i in range(20)]
    router = made(
        "- {match: '*', send_to: it}\n", yaml.safe_dump({"it": {"type": "carbon_ch", "servers": servers, "tags": tags}})
    )
    ring = make_ring("carbon_ch", [parse_destination(server) for server in servers])
    assert router.plan(b"d;b=1;a=2").sendings == (Sending(b"d;b=1;a=2", ring.owners(hashed)),)


def test_tags_are_put_in_order_before_all_routes_when_told_so() -> None:
    router = made("- {match: ';a=2;b=1$', send_to: one}\n", normalize=True)
    assert sent(router, "d;b=1;a=2") == [("d;a=2;b=1", ["10.6.0.1:2004"])]


def test_options_of_servers_are_those_of_their_clusters() -> None:
    router = made(
        "- {match: '*', send_to: [a, b]}\n",
        """
a:
  type: forward
  protocol: line
  compression: lz4
  tls: {ca: /etc/ca.pem, certificate: /etc/me.pem, key: /etc/me.key}
  servers:
    - h:1
    - {server: 'h:2:x', compression: none, tls: false}
    - {server: 'h:3', protocol: udp, compression: none, tls: false}
b: {type: file, paths: [/tmp/x]}
""",
    )
    secured = {
        "protocol": "line", "compression": "lz4", "tls": True, "tls_ca": "/etc/ca.pem",
        "tls_certificate": "/etc/me.pem", "tls_key": "/etc/me.key",
    }  # fmt: skip
    options = {str(destination): router.options_of(n) for n, destination in enumerate(router.destinations)}
    assert options["h:1"] == secured
    assert options["h:2:x"] == {**secured, "compression": "none", "tls": False}
    assert options["file:/tmp/x"] == {"protocol": "file", "path": "/tmp/x"}


def test_warnings_are_about_what_has_no_effect_and_about_rings() -> None:
    router = made(
        "- {match: '*', send_to: a, stop: true}\n- {match: b, send_to: a}\n",
        "a: {type: fnv1a_ch, servers: ['h:1', 'g:1']}\nb: {type: forward, servers: ['i:1']}\n",
    )
    assert router.warnings[:2] == (
        "carbonpy.yaml: relay.routes[1] is never reached: relay.routes[0] takes everything and stops; move it up",
        "carbonpy.yaml: no route in relay.routes sends anything to the cluster b",
    )
    assert router.warnings[2].startswith("cluster a: fnv1a_ch hashes instances and not hosts")


@given(st.binary(max_size=40))
def test_any_bytes_have_a_plan_and_always_the_same(name: bytes) -> None:
    routes = r"""
- {rewrite: '(.)b', into: '\^1', all: true}
- {aggregate: '^(.)', every: 10, expire: 20, compute: {sum: 'x.\1'}}
- {match: a, validate: '^1', send_to: ring}
- {match: '*', send_to: [any, log]}
"""
    assert made(routes).plan(name) == made(routes).plan(name)
