"""Whole relays with clusters and routes in YAML: choices, files, validation, aggregates, policies, sockets."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.ports import free_ports
from support.running_relay import RunningRelay, Sink, ended_with_the_test, sinks
from support.waiting import until

NOW = int(time.time())


class YamlRelay(RunningRelay):
    """A relay whose configuration is YAML: `clusters` and `routes` beside the usual."""

    def __init__(self, root: Path, clusters: object, routes: object, **extra: object) -> None:
        super().__init__(root, (), extra)
        self.clusters, self.routes = clusters, routes
        self.config_path = self.config_path.with_suffix(".yaml")

    def write_config(self) -> None:
        """The YAML as it stands."""
        relay = {
            "storage_dir": str(self.storage_dir), "line_receiver_interface": "127.0.0.1",
            "line_receiver_port": self.line_port, "pickle_receiver_interface": "127.0.0.1",
            "pickle_receiver_port": self.pickle_port, "http_port": self.http_port, "carbon_metric_interval": 0,
            "destination_protocol": "line", "clusters": self.clusters, "routes": self.routes, **self.conf_extra,
        }  # fmt: skip
        self.config_path.write_text(yaml.safe_dump({"relay": relay}))


@pytest.fixture
def relay_of(tmp_path: Path) -> Iterator[Callable[..., YamlRelay]]:
    """Start a relay with clusters and routes; it ends with the test."""
    with ended_with_the_test() as started:
        numbers = itertools.count()

        def begin(clusters: object, routes: object, **extra: object) -> YamlRelay:
            return started(YamlRelay(tmp_path / f"relay{next(numbers)}", clusters, routes, **extra))

        yield begin


def names(sink: Sink) -> list[str]:
    return sorted(line.split()[0].decode() for line in sink.lines)


def test_routes_match_rewrite_validate_and_send_to_several_clusters(
    relay_of: Callable[..., YamlRelay], tmp_path: Path
) -> None:
    log = tmp_path / "lines.log"
    with sinks(2) as (one, two):
        relay = relay_of(
            {
                "one": {"type": "forward", "servers": [f"127.0.0.1:{one.port}"]},
                "two": {"type": "forward", "servers": [f"127.0.0.1:{two.port}"]},
                "log": {"type": "file", "paths": [str(log)]},
            },
            [
                {"match": "^junk\\.", "send_to": "blackhole"},
                {"match": "*", "validate": "^[0-9.]+ [0-9]+$", "otherwise": "drop", "send_to": "log"},
                {"rewrite": "^old\\.(.+)$", "into": "new.\\1"},
                {"match": "^new\\.", "send_to": ["one", "two"], "stop": True},
                {"match": "*", "send_to": "two"},
            ],
        )
        relay.send_lines([f"junk.a 1 {NOW}", f"old.x 2 {NOW}", f"rest.y 3 {NOW}", f"rest.z -4 {NOW}"])
        until("all are there", lambda: (names(one), len(two.lines)) == (["new.x"], 3))
        until("the file has them", lambda: log.read_bytes().count(b"\n") >= 2)
        assert names(two) == ["new.x", "rest.y", "rest.z"]
        assert sorted(log.read_text().splitlines()) == [f"old.x 2 {NOW}", f"rest.y 3 {NOW}"]
        assert relay.ledger()["dropped"] == {"blackholed": 1} and relay.ledger()["balanced"]


def test_a_failover_cluster_goes_to_the_next_and_takes_along_what_waited(relay_of: Callable[..., YamlRelay]) -> None:
    (nobody,) = free_ports(1)
    with sinks(1) as (sink,):
        relay = relay_of(
            {"all": {"type": "failover", "servers": [f"127.0.0.1:{nobody}", f"127.0.0.1:{sink.port}"]}},
            [{"match": "*", "send_to": "all"}],
        )
        relay.send_lines([f"a.m{number} 1 {NOW}" for number in range(100)])
        until("the second has all", lambda: len(sink.lines) == 100)
        first = Sink(nobody)
        until("the first is up", lambda: relay.destination(f"127.0.0.1:{nobody}")["connected"])
        relay.send_lines([f"b.m{number} 1 {NOW}" for number in range(100)])
        until("the first gets the rest", lambda: len(first.lines) == 100)
        first.stop()
        assert all(one["balanced"] for one in relay.health()["destinations"].values())


def test_aggregates_of_routes_go_where_they_are_sent_to(relay_of: Callable[..., YamlRelay]) -> None:
    with sinks(2) as (raw, made):
        relay = relay_of(
            {
                "raw": {"type": "forward", "servers": [f"127.0.0.1:{raw.port}"]},
                "made": {"type": "forward", "servers": [f"127.0.0.1:{made.port}"]},
            },
            [
                {
                    "aggregate": "^h\\.[^.]+\\.(.+)$", "every": 1, "expire": 2, "timestamp": "start",
                    "compute": [{"sum": "all.\\1"}, {"percentile90": "p90.\\1"}], "send_to": "made",
                },
                {"match": "*", "send_to": "raw"},
            ],
        )  # fmt: skip
        now = int(time.time())
        relay.send_lines([f"h.a.x 1 {now}", f"h.b.x 2 {now}"])
        until("the aggregates come", lambda: set(names(made)) == {"all.x", "p90.x"}, 15)
        assert names(raw) == ["h.a.x", "h.b.x"]
        (total,) = [line for line in made.lines if line.startswith(b"all.x")]
        assert float(total.split()[1]) == 3.0 and int(total.split()[2]) == now
        assert relay.ledger()["balanced"]


def test_each_server_may_have_a_policy_of_its_own(relay_of: Callable[..., YamlRelay]) -> None:
    dead, gone = free_ports(2)
    relay = relay_of(
        {
            "keep": {"type": "forward", "servers": [f"127.0.0.1:{dead}"]},
            "drop": {"type": "forward", "policy": "drop_newest", "servers": [f"127.0.0.1:{gone}"]},
        },
        [{"match": "*", "send_to": ["keep", "drop"]}],
        max_queue_size=100,
    )
    relay.send_lines([f"a.m{number} 1 {NOW}" for number in range(1000)])
    until("one keeps all", lambda: relay.destination(f"127.0.0.1:{dead}")["spooled"] == 1000)
    until("the other drops", lambda: relay.destination(f"127.0.0.1:{gone}")["dropped"].get("queue_full", 0) >= 900)
    assert all(one["balanced"] for one in relay.health()["destinations"].values())


def test_a_mistake_in_a_route_is_one_readable_line_with_its_place(tmp_path: Path) -> None:
    relay = YamlRelay(tmp_path / "r", {"a": {"type": "forward", "servers": ["h:1"]}}, [{"match": "(", "send_to": "a"}])
    with pytest.raises(RuntimeError, match="ended with 2"):
        relay.start()
    (line,) = [line for line in relay.log().splitlines() if "routes[0]" in line]
    assert line.startswith("carbonpy relay: ") and ".yaml: relay.routes[0].match" in line
