"""CLUSTERS and ROUTES in YAML: what is wrong with them is said with its place."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.rules.routes import AggregateRoute, MatchRoute, RouteBook

CLUSTERS = "a: {type: forward, servers: ['h:1']}\nb: {type: any_of, servers: ['h:2', 'h:3']}\n"
ROUTES = "- {match: '*', send_to: [a, b]}\n"


def parsed(clusters: str = CLUSTERS, routes: str = ROUTES) -> RouteBook:
    return RouteBook.parse(yaml.safe_load(clusters), yaml.safe_load(routes), "c.yaml")


def problems(clusters: str = CLUSTERS, routes: str = ROUTES) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(clusters, routes)
    assert all(line.startswith("c.yaml: relay.") for line in str(caught.value).split("\n"))
    return [line.removeprefix("c.yaml: relay.") for line in str(caught.value).split("\n")]


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ("[]", "clusters: has to be a mapping of names to clusters; name at least one"),
        ("blackhole: {}", "clusters.blackhole: cannot be the name of a cluster; choose a word other than blackhole"),
        ("x: 1", "clusters.x: has to be a mapping with type and servers"),
        ("x: {servers: ['h:1']}", "clusters.x.type: is missing; use one of forward, any_of, failover, lb, file, "),
        ("x: {type: ring, servers: ['h:1']}", "clusters.x.type: 'ring' is no type of cluster; use one of forward, "),
        ("x: {type: forward}", "clusters.x.servers: has to be a list of servers, such as - 10.0.0.1:2004:a"),
        ("x: {type: forward, servers: [h]}", "clusters.x.servers[0]: 'h' has no port; write host:port or "),
        ("x: {type: forward, servers: ['h:1', 'h:1']}", "clusters.x.servers[1]: h:1 is in the list already; "),
        ("x: {type: forward, servers: [{host: h}]}", "clusters.x.servers[0].host: is not known here; known are server"),
        (
            "x: {type: carbon_ch, servers: ['h:1', 'h:2']}",
            "clusters.x.servers: h:1 and h:2 are the same host and instance, and ports do not count; give each",
        ),
        (
            "x: {type: carbon_ch, replication: 2, servers: ['h:1']}",
            "clusters.x.replication: 2 copies need as many servers, and there are 1; add some",
        ),
        ("x: {type: carbon_ch, replication: 0, servers: ['h:1']}", "clusters.x.replication: '0' is no number from 1"),
        ("x: {type: forward, replication: 2, servers: ['h:1']}", "clusters.x.replication: is not known here; known"),
        ("x: {type: carbon_ch, dynamic: 1, servers: ['h:1']}", "clusters.x.dynamic: '1' is neither true nor false"),
        ("x: {type: carbon_ch, tags: no, servers: ['h:1']}", "clusters.x.tags: 'False' is none of as_sent, sorted, "),
        ("x: {type: file, paths: [x]}", "clusters.x.paths: has to be a path that begins with /, or a list of such"),
        ("x: {type: forward, protocol: tcp, servers: ['h:1']}", "clusters.x.protocol: 'tcp' is none of line, pickle,"),
        (
            "x: {type: forward, protocol: line, compression: snappy, servers: ['h:1']}",
            "clusters.x.compression: 'snappy' is none of none, gzip, lz4; carbon-c-relay's snappy has no framing and",
        ),
        ("x: {type: forward, policy: hope, servers: ['h:1']}", "clusters.x.policy: 'hope' is none of spool, block, "),
        (
            "x: {type: forward, servers: [{server: 'h:1', unix: s}]}",
            "clusters.x.servers[0].unix: has to be the path of a socket that begins with /",
        ),
        (
            "x: {type: forward, compression: gzip, servers: ['h:1']}",
            "clusters.x: compression is for lines over TCP; add protocol: line, or remove it",
        ),
        (
            "x: {type: forward, tls: yes please, servers: ['h:1']}",
            "clusters.x.tls: has to be true, false, or a mapping",
        ),
        ("x: {type: forward, tls: {name: 7}, servers: ['h:1']}", "clusters.x.tls.name: has to be the name in the "),
        ("x: {type: forward, tls: {key: /k}, servers: ['h:1']}", "clusters.x.tls: has a key and no certificate; add"),
        ("x: {type: forward, tls: true, protocol: udp, servers: ['h:1']}", "clusters.x: tls is not for udp; use "),
    ],
)
def test_what_is_wrong_with_a_cluster_has_its_place(clusters: str, expected: str) -> None:
    assert problems(clusters, "- {match: '*', send_to: blackhole}")[0].startswith(expected)


def test_one_server_has_one_set_of_options() -> None:
    (sentence,) = problems(
        "a: {type: forward, servers: ['h:1'], protocol: line}\nb: {type: forward, servers: ['h:1']}\n"
    )
    assert sentence == (
        "clusters.b: h:1 has other options than in the cluster a, and it has one connection; make them the same, or "
        "give it another instance"
    )


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("{}", "routes: has to be a list of routes; write at least - match: '*' and send_to: ..."),
        ("- x", "routes[0]: has to be a mapping, such as match: '*' with send_to: ..."),
        ("- {send_to: a}", "routes[0]: has to be one of rewrite, aggregate, cleanse, set_tags_apart, match"),
        (
            "- {match: a, rewrite: b}",
            "routes[0]: has to be one of rewrite, aggregate, cleanse, set_tags_apart, match, ",
        ),
        ("- {match: a}", "routes[0]: sends to nobody; add send_to: a cluster, or blackhole"),
        ("- {match: 5, send_to: a}", "routes[0].match: has to be an expression, a list of expressions, or '*'"),
        ("- {match: ['a', '('], send_to: a}", "routes[0].match[1]: (: not a regular expression: "),
        ("- {match: a, send_to: c}", "routes[0].send_to: there is no cluster 'c'; the clusters are a, b"),
        ("- {match: a, send_to: []}", "routes[0].send_to: has to be the name of a cluster, or a list of names"),
        ("- {match: a, send_to: a, stop: 1}", "routes[0].stop: '1' is neither true nor false"),
        ("- {match: a, sendto: a}", "routes[0].sendto: is not known here; known are match, name, validate, otherwise"),
        ("- {match: a, otherwise: log, send_to: a}", "routes[0].otherwise: stands without validate; add an expression"),
        ("- {match: a, validate: b, otherwise: keep}", "routes[0].otherwise: 'keep' is neither drop nor log"),
        ("- {match: '*', route_using: x, send_to: a}", "routes[0].route_using: needs an expression in match to take "),
        (r"- {match: 'a(b)', route_using: '\2', send_to: a}", r"routes[0].route_using: '\\2' is no group of 'a(b)', "),
        ("- {rewrite: a}", "routes[0]: has no into; write what the match becomes"),
        ("- {rewrite: '*', into: x}", "routes[0].rewrite: '*' is no expression; write '.*' for the whole name"),
        ("- {rewrite: a, into: 1}", "routes[0].into: has to be a text, in quotes"),
        ("- {rewrite: a, into: 'b c'}", "routes[0].into: 'b c' makes names with white space or what cannot be printed"),
        ('- {rewrite: a, into: "b\\ud800"}', r"routes[0].into: 'b' makes names with white space or what cannot be "),
        ("- {cleanse: 1}", "routes[0].cleanse: has to be true, or the characters that may stay, such as '-_:#'"),
        ("- {set_tags_apart: false}", "routes[0].set_tags_apart: has to be true; leave it out to keep tags in names"),
        ("- {aggregate: a, expire: 9, compute: {sum: x}}", "routes[0].every: is missing; write a number from 1 on"),
        (
            "- {aggregate: a, every: 60, expire: 60, compute: {sum: x}}",
            "routes[0].expire: has to be more than every (60); write at least 61",
        ),
        ("- {aggregate: a, every: 1, expire: 2}", "routes[0].compute: has to say what goes where, such as sum: total"),
        (
            "- {aggregate: a, every: 1, expire: 2, compute: [{sum: x}, {mode: y}]}",
            "routes[0].compute[1].mode: unknown method 'mode'; use sum, ",
        ),
        (
            "- {aggregate: a, every: 1, expire: 2, timestamp: now, compute: {sum: x}}",
            "routes[0].timestamp: 'now' is none of start, middle, end",
        ),
        (
            "- {aggregate: a, every: 1, kind: carbon, expire: 2, compute: {sum: x}}",
            "routes[0]: of kind carbon has no expire, and timestamps at the start; remove them",
        ),
    ],
)
def test_what_is_wrong_with_a_route_has_its_place(routes: str, expected: str) -> None:
    assert problems(routes=routes)[0].startswith(expected)


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(problems("a: {type: x}\nb: 3\n", "- {match: '('}\n- {rewrite: x}\n")) >= 4


def test_several_expressions_are_as_many_routes() -> None:
    book = parsed(routes="- {match: ['^a', 'b$'], send_to: a}\n- {match: '*', send_to: b, stop: true}\n")
    assert [route.regex and route.regex.pattern for route in book.routes if isinstance(route, MatchRoute)] == [
        "^a", "b$", None,
    ]  # fmt: skip
    assert [route.label for route in book.routes] == ["routes[0]: match ^a b$"] * 2 + ["routes[1]: match *"]


def test_routes_can_have_names() -> None:
    book = parsed(routes="- {name: everything, match: '*', send_to: [a, b]}\n")
    assert book.routes[0].label == "everything"
    assert book.warnings == ()


def test_aggregates_in_the_manner_of_carbon_are_of_kind_carbon() -> None:
    book = parsed(
        routes="- {aggregate: '^x', every: 60, kind: carbon, compute: [{avg: y}, {avg: z, average: w}], "
        "send_to: [a, b]}\n"
    )
    (route,) = book.routes
    assert isinstance(route, AggregateRoute)
    assert [(spec.kind, spec.method, output.template) for spec, output in route.outputs] == [
        ("carbon", "avg", "y"), ("carbon", "avg", "z"), ("carbon", "avg", "w"),
    ]  # fmt: skip
    assert route.outputs[0][0].moment == "start"


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.sampled_from(["a", "b", "*", "(", "^x(.)", r"\1", "sum", "h:1", ""]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["match", "send_to", "rewrite", "into", "aggregate", "every", "expire", "compute", "type", "servers", "a",
             "cleanse", "validate", "route_using", "stop", "sum", "name", "tls", "protocol", "replication"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN, PLAIN)
def test_whatever_yaml_says_it_is_a_book_or_a_sentence(clusters: object, routes: object) -> None:
    for one, other in ((clusters, yaml.safe_load(ROUTES)), (yaml.safe_load(CLUSTERS), routes), (clusters, routes)):
        try:
            RouteBook.parse(one, other, "c.yaml")
        except ConfigError as error:
            assert str(error).startswith("c.yaml: relay.")
