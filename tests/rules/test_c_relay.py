"""The configuration of carbon-c-relay as clusters and routes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.cli.relay_convert import as_yaml
from carbonpy.errors import ConfigError
from carbonpy.rules.c_relay import Converted, read_c_relay
from carbonpy.rules.routes import RouteBook

FULL = r"""
# every statement that there is
cluster graphite
    carbon_ch replication 2 dynamic
        10.0.0.1:2003=a
        10.0.0.2=b  # the default port
        [fe80::1]:2004=c transport gzip ssl
    ;
cluster "send" any_of useall h.example.com:2013 proto udp;
cluster old forward g:1 transport plain mtls /etc/c.pem /etc/k.pem type linemode;
cluster log file ip /var/log/a /var/log/b;
match "^a b;c=d" ^x[[:digit:]]+
    validate "^[0-9]+ [0-9]+$" else log
    route using \_1
    send to graphite send
    stop;
match * send to blackhole;
rewrite ^([^.]+)\. into \1-;
aggregate ^sys\.(.*) every 60 seconds expire after 90 seconds timestamp at start of bucket
    compute sum write to sum.\1 compute percentile95 write to p95.\1
    send to old stop;
statistics submit every 10 seconds reset counters after interval prefix with carbon.\.1 send to log;
listen type linemode 2103 proto tcp 127.0.0.1:2104 proto udp /run/x proto unix;
""".replace('"send"', "spread").replace("graphite send", "graphite spread")


def read(text: str, **files: str) -> Converted:
    return read_c_relay(text, "relay.conf", lambda pattern: [(pattern, files[pattern])] if pattern in files else [])


def test_every_statement_has_its_counterpart() -> None:
    converted = read(FULL)
    assert converted.settings == {
        "carbon_metric_interval": 10,
        "line_receiver_port": 2103,
        "udp_receiver_port": 2104,
        "udp_receiver_interface": "127.0.0.1",
        "enable_udp_listener": True,
    }
    assert converted.clusters == {
        "graphite": {
            "type": "carbon_ch:c-relay",
            "replication": 2,
            "dynamic": True,
            "protocol": "line",
            "servers": [
                "10.0.0.1:2003:a",
                "10.0.0.2:2003:b",
                {"server": "[fe80::1]:2004:c", "compression": "gzip", "tls": True},
            ],
        },
        "spread": {
            "type": "any_of",
            "protocol": "line",
            "servers": [{"server": "h.example.com:2013", "protocol": "udp"}],
        },
        "old": {
            "type": "forward",
            "protocol": "line",
            "servers": [{"server": "g:1", "tls": {"certificate": "/etc/c.pem", "key": "/etc/k.pem"}}],
        },
        "log": {"type": "file", "paths": ["/var/log/a", "/var/log/b"]},
    }
    assert converted.routes == [
        {"cleanse": True},
        {"set_tags_apart": True},
        {"name": "own figures", "match": r"^carbon\.(relays|aggregator)\.", "send_to": ["log"], "stop": True},
        {
            "match": ["^a b;c=d", "^x[0-9]+"],
            "validate": "^[0-9]+ [0-9]+$",
            "otherwise": "log",
            "route_using": r"\_1",
            "send_to": ["graphite", "spread"],
            "stop": True,
        },
        {"match": "*", "send_to": ["blackhole"]},
        {"rewrite": r"^([^.]+)\.", "into": r"\1-"},
        {
            "aggregate": r"^sys\.(.*)",
            "every": 60,
            "expire": 90,
            "timestamp": "start",
            "compute": [{"sum": r"sum.\1"}, {"percentile95": r"p95.\1"}],
            "send_to": ["old"],
            "stop": True,
        },
    ]
    assert [warning.partition(":")[2].partition(":")[0] for warning in converted.warnings] == ["9", "11", "22", "23"]


def test_what_is_converted_can_be_written_and_read_as_yaml() -> None:
    converted = read(FULL.replace(r"route using \_1", ""))
    again: dict[str, Any] = yaml.safe_load(as_yaml(converted, "relay.conf"))["relay"]
    assert again.pop("clusters") == converted.clusters
    assert again.pop("routes") == converted.routes
    assert again == converted.settings
    RouteBook.parse(converted.clusters, converted.routes, "relay.conf")


def test_other_files_are_taken_in_where_they_are_named() -> None:
    converted = read(
        "cluster a forward h:1;\ninclude more;\nmatch c send to b;\n",
        more="cluster b forward g:1;\nmatch x send to a;\n",
    )
    assert list(converted.clusters) == ["a", "b"]
    assert [route.get("match") for route in converted.routes[2:]] == ["x", "c"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clutser a forward h:1;", "1: 'clutser' is no statement; use one of cluster, match, rewrite, aggregate, "),
        ("cluster a ring h:1;", "1: 'ring' is no type of cluster; use one of forward, any_of, failover, carbon_ch, "),
        ("cluster a forward h:1", "1: the statement has no ';' at its end; add it"),
        (
            "\n\ncluster a forward h:1 transport snappy;",
            "3: carbon-c-relay's snappy has no framing and cannot be read ",
        ),
        ("cluster a forward h:1 type syslog;", "1: 'syslog' is no type that can be spoken here; use one of linemode"),
        ("cluster a carbon_ch replication two h:1;", "1: 'two' is no number of copies; write a number"),
        ("cluster a forward h:1;\ncluster a forward h:2;", "2: there is a cluster a already; rename one of them"),
        ("match x send to a;", "1: there is no cluster 'a' above; define it before it is used"),
        ("match x validate y send to blackhole;", "1: 'else' has to stand in place of 'send'"),
        ("rewrite x y;", "1: 'into' has to stand in place of 'y'"),
        ("rewrite x into;", "1: a replacement has to stand before the ';'"),
        (
            "match * send to blackhole now stop please;",
            "1: there is no cluster 'now' above; define it before it is used",
        ),
        ("match * send to blackhole stop please;", "1: 'please' is not expected here; remove it, or end with ';'"),
        ("aggregate x every 5 minutes;", "1: 'seconds expire after' has to stand in place of 'minutes'"),
        ("match [[:vowel:]] send to blackhole;", "1: [:vowel:] is no class of characters; there are alpha, "),
        ('match "a;', "1: a string without its closing quote; write such words in quotes"),
        ("match é;", "1: 'é', which needs quotes; write such words in quotes"),
        ("include nothing;", "1: there is no file nothing; check the path"),
        ("include relay.conf;", "1: relay.conf includes itself; break the circle"),
    ],
)
def test_what_is_wrong_has_its_line(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_c_relay(text, "relay.conf", lambda pattern: [(pattern, text)] if pattern == "relay.conf" else [])
    assert str(caught.value).startswith(f"relay.conf:{sentence}")


@given(st.lists(st.sampled_from(FULL.split()), max_size=25))
def test_whatever_the_words_it_is_a_configuration_or_a_sentence(words: list[str]) -> None:
    try:
        converted = read(" ".join(words))
        RouteBook.parse(converted.clusters, converted.routes, "relay.conf")
    except ConfigError as error:
        assert str(error).startswith("relay.conf:")
