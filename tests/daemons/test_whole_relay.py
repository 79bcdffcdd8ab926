"""Whole relays: real processes before real caches and sinks; nothing is lost when either side goes away."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.ports import free_ports
from support.running import RunningDaemon
from support.running_relay import RunningAggregator, RunningRelay, Sink, ended_with_the_test, sinks
from support.waiting import until

NOW = int(time.time())


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Callable[..., RunningRelay]]:
    """Start relays: `relay = relays(["127.0.0.1:1:a"], {"REPLICATION_FACTOR": 2})`; all end with the test."""
    with ended_with_the_test() as started:
        numbers = itertools.count()

        def begin(
            destinations: list[str],
            extra: dict[str, object] | None = None,
            kind: type[RunningRelay] = RunningRelay,
            **more: object,
        ) -> RunningRelay:
            return started(kind(tmp_path / f"relay{next(numbers)}", destinations, extra, **more))  # type: ignore[arg-type]

        yield begin


def lines_of(count: int, start: int = 0) -> list[str]:
    return [f"relay.test.{number % 97}.m{number} {number}.5 {NOW}" for number in range(start, start + count)]


def test_lines_go_out_as_they_came_in_each_to_its_destination(relays: Callable[..., RunningRelay]) -> None:
    with sinks(3) as there:
        names = [f"127.0.0.1:{sink.port}:{letter}" for sink, letter in zip(there, "abc")]
        relay = relays(names, {"DESTINATION_PROTOCOL": "line"})
        sent = [*lines_of(500), f"a.b 1e3 {NOW}", f"m;b=2;a=1 7.00 {NOW}"]
        relay.send_lines(sent)
        relay.wait_until_delivered(len(sent))
        # Where a line needs a second look, it and those that came with it are written anew.
        relay.send_lines([f"a.c  7.00 {NOW}"])
        relay.wait_until_delivered(len(sent) + 1)
        sent.append(f"a.c 7 {NOW}")
        until("all are there", lambda: sum(len(sink.lines) for sink in there) == len(sent))
        got = [line.decode().rstrip("\n") for sink in there for line in sink.lines]
        assert sorted(got) == sorted(sent)
        assert all(sink.lines for sink in there)
        ledger = relay.ledger()
        assert (ledger["received"], ledger["relayed"], ledger["dropped"]) == (len(sent), len(sent), {})


def test_a_real_cache_behind_a_relay_has_everything_also_after_it_was_away(
    relays: Callable[..., RunningRelay], carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    cache = carbonpy_daemon(start=False)
    name = f"127.0.0.1:{cache.pickle_port}:a"
    relay = relays([name])
    relay.send_lines(lines_of(1000))
    until("the points are on disk", lambda: relay.destination(name)["spooled"] == 1000)
    cache.start()
    relay.wait_until_delivered(1000)
    assert relay.destination(name)["acknowledges"] is True
    cache.kill()
    relay.send_lines(lines_of(1000, 1000))
    until("they wait", lambda: relay.destination(name)["spooled"] == 1000)
    relay.kill()
    relay.start()
    assert relay.destination(name)["recovered"] == 1000
    cache.start()
    relay.wait_until_delivered(1000)
    ledger = cache.wait_until_written(2000)
    assert ledger["balanced"]
    assert len(cache.render("relay.test.*.*", from_=NOW - 60, until=NOW + 60, noNullPoints="true")) == 2000


def test_points_that_were_sent_to_a_cache_that_hangs_come_when_it_lives_again_or_is_replaced(
    relays: Callable[..., RunningRelay], carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    cache = carbonpy_daemon()
    name = f"127.0.0.1:{cache.pickle_port}:a"
    relay = relays([name], {"ACKNOWLEDGE_TIMEOUT": 1})
    relay.send_lines(lines_of(10))
    relay.wait_until_delivered(10)
    os.kill(cache.pid, signal.SIGSTOP)
    relay.send_lines(lines_of(500, 10))
    until("they are on disk", lambda: relay.destination(name)["spooled"] == 500)
    os.kill(cache.pid, signal.SIGCONT)
    cache.kill()
    cache.start()
    relay.wait_until_delivered(510)
    cache.wait_until_written(510)


def test_a_dead_destination_takes_nothing_from_the_others(relays: Callable[..., RunningRelay]) -> None:
    (nobody,) = free_ports(1)
    with sinks(1) as (sink,):
        live = f"127.0.0.1:{sink.port}:a"
        relay = relays([live, f"127.0.0.1:{nobody}:b"], {"DESTINATION_PROTOCOL": "line", "REPLICATION_FACTOR": 2})
        relay.send_lines(lines_of(20_000))
        until("one has all", lambda: len(sink.lines) == 20_000)
        until("the rest waits", lambda: relay.destination(f"127.0.0.1:{nobody}:b")["spooled"] == 20_000)
        back = Sink(nobody)
        until("the other has all", lambda: len(back.lines) == 20_000)
        back.stop()
        assert relay.terminate() == 0


def test_a_stop_puts_what_nobody_took_into_the_spool_and_a_start_finds_it(relays: Callable[..., RunningRelay]) -> None:
    (nobody,) = free_ports(1)
    name = f"127.0.0.1:{nobody}:a"
    relay = relays([name], {"DESTINATION_PROTOCOL": "line", "SPOOL_AFTER": 60, "SHUTDOWN_TIMEOUT": 0.2})
    relay.send_lines(lines_of(300))
    until("they are in memory", lambda: relay.destination(name)["queued"] == 300)
    assert relay.terminate() == 0
    relay.start()
    figures = relay.destination(name)
    assert (figures["recovered"], figures["spooled"]) == (300, 300)
    sink = Sink(nobody)
    until("all are there", lambda: len(sink.lines) == 300)
    sink.stop()


def test_relays_acknowledge_to_relays_what_is_safe_with_them(relays: Callable[..., RunningRelay]) -> None:
    (nobody,) = free_ports(1)
    behind = relays([f"127.0.0.1:{nobody}:x"], {"DESTINATION_PROTOCOL": "line"})
    name = f"127.0.0.1:{behind.pickle_port}:a"
    before = relays([name])
    before.send_lines(lines_of(2000))
    before.wait_until_delivered(2000)
    assert before.destination(name)["acknowledges"] is True
    # Delivered means on disk there, so a kill loses nothing.
    behind.kill()
    behind.start()
    assert behind.destination(f"127.0.0.1:{nobody}:x")["recovered"] == 2000


def test_a_reload_moves_names_without_losing_a_point(relays: Callable[..., RunningRelay]) -> None:
    with sinks(2) as (one, two):
        relay = relays([f"127.0.0.1:{one.port}:a"], {"DESTINATION_PROTOCOL": "line"})
        relay.send_lines(lines_of(200))
        until("all are there", lambda: len(one.lines) == 200)
        relay.destinations.append(f"127.0.0.1:{two.port}:b")
        relay.reload()
        until("it knows the other", lambda: len(relay.health()["destinations"]) == 2)
        relay.send_lines(lines_of(200))
        relay.wait_until_delivered(400)
        until("all are there", lambda: len(one.lines) + len(two.lines) == 400)
        assert len(two.lines) > 50
        relay.destinations = ["not a destination"]
        relay.reload()
        until("it says so", lambda: "stay in force" in relay.log())
        relay.send_lines(lines_of(10))
        relay.wait_until_delivered(410)
        relay.destinations = [f"127.0.0.1:{two.port}:b"]
        relay.reload()
        until("the first is let go", lambda: len(relay.health()["destinations"]) == 1)
        relay.send_lines(lines_of(10))
        until("the second has them", lambda: len(one.lines) + len(two.lines) == 420)


def test_relay_rules_choose_and_what_no_rule_takes_is_counted(relays: Callable[..., RunningRelay]) -> None:
    with sinks(2) as (one, two):
        names = [f"127.0.0.1:{sink.port}:a{number}" for number, sink in enumerate((one, two))]
        rules = f"[a]\npattern = ^a\\.\ndestinations = {names[0]}\n[rest]\ndefault = true\ndestinations = {names[1]}\n"
        relay = relays(
            names, {"DESTINATION_PROTOCOL": "line", "RELAY_METHOD": "rules"}, rules={"relay-rules.conf": rules}
        )
        relay.send_lines([f"a.x 1 {NOW}", f"b.x 2 {NOW}", "nonsense", f"a.y nan {NOW}"])
        relay.wait_until_delivered(2)
        until("both are there", lambda: one.lines and two.lines)
        assert (one.lines, two.lines) == ([f"a.x 1 {NOW}\n".encode()], [f"b.x 2 {NOW}\n".encode()])
        assert relay.ledger()["dropped"] == {"malformed": 1, "nan": 1} and relay.ledger()["balanced"]


def test_an_aggregator_sends_aggregates_and_what_it_made_them_of(relays: Callable[..., RunningRelay]) -> None:
    with sinks(1) as (sink,):
        aggregator = relays(
            [f"127.0.0.1:{sink.port}:a"], {"DESTINATION_PROTOCOL": "line"}, RunningAggregator,
            rules={
                "aggregation-rules.conf": "sum.<what> (1) = sum host.*.<what>\n",
                "rewrite-rules.conf": "[pre]\n^old\\. = host.\n[post]\n_$ =\n",
            },
        )  # fmt: skip
        aggregator.send_lines([f"host.a.x 1 {NOW}", f"old.b.x 2 {NOW}", f"other_ 3 {NOW}"])
        until("all are there", lambda: {line.split()[0] for line in sink.lines} >= {b"sum.x", b"other"})
        got = {(line.split()[0], float(line.split()[1])) for line in sink.lines}
        assert {(b"host.a.x", 1.0), (b"host.b.x", 2.0), (b"other", 3.0), (b"sum.x", 3.0)} <= got
        health = aggregator.health()
        assert health["ledger"]["balanced"] and health["aggregates"]["sent"] >= 1


def test_an_aggregator_that_is_killed_goes_on_with_every_interval(relays: Callable[..., RunningRelay]) -> None:
    with sinks(1) as (sink,):
        aggregator = relays(
            [f"127.0.0.1:{sink.port}:a"], {"DESTINATION_PROTOCOL": "line", "FORWARD_ALL": "False"}, RunningAggregator,
            rules={"aggregation-rules.conf": "sum.<what> (3) = sum host.*.<what>\n"},
        )  # fmt: skip
        aggregator.send_lines(f"host.h{number}.x 1 {NOW}" for number in range(100))
        until("they are taken", lambda: aggregator.health()["aggregates"]["received"] == 100)
        aggregator.kill()
        aggregator.start()
        aggregator.send_lines(f"host.h{number}.x 1 {NOW}" for number in range(100, 120))
        until("the sum of all is there", lambda: f"sum.x 120 {NOW - NOW % 3}\n".encode() in sink.lines)


def test_own_metrics_have_carbons_names_and_are_routed_like_all_others(relays: Callable[..., RunningRelay]) -> None:
    with sinks(1) as (sink,):
        name = f"127.0.0.1:{sink.port}:a"
        relay = relays([name], {"DESTINATION_PROTOCOL": "line", "CARBON_METRIC_INTERVAL": 0.2, "HOSTNAME": "my.host"})
        prefix = "carbon.relays.my_host-a."
        wanted = {f"{prefix}metricsReceived", f"{prefix}destinations.127_0_0_1:{sink.port}:a.sent"}
        until("they come", lambda: wanted <= {line.split()[0].decode() for line in list(sink.lines)})
        status, text = relay.get("/metrics")
        assert status == 200 and f'carbonpy_destination_connected{{destination="{name}"}} 1' in text.decode()
        assert relay.get("/nowhere")[0] == 404 and json.loads(relay.get("/health")[1])["program"] == "relay"
