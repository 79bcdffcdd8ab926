"""Limits of whole daemons: files made a minute, files updated a second, points in memory. What waits is readable."""

from __future__ import annotations

import pickle
import socket
import struct
import time
from collections.abc import Callable

import pytest
from support.running import RunningDaemon, dropped
from support.waiting import until
from support.whole import ask, balanced, file_of, lines, rendered, settle, share_of_a_core, stored, until_received


def made(daemon: RunningDaemon, metrics: list[str]) -> int:
    """How many of the metrics have a file."""
    return sum(file_of(daemon, metric).exists() for metric in metrics)


@pytest.mark.parametrize("processes", [0, 2])
def test_points_of_metrics_that_wait_for_their_file_are_readable_and_outlive_a_kill(
    carbonpy_daemon: Callable[..., RunningDaemon], processes: int
) -> None:
    metrics = [f"new.m{number:02d}" for number in range(50)]
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": processes, "SWEEP_INTERVAL": 0.1,
                                         "MAX_CREATES_PER_MINUTE": 6})
    start = int(time.time()) - 600
    daemon.send_lines(lines(metrics, start, 30))
    until_received(daemon, 30 * 50)
    until("the first files are made", lambda: made(daemon, metrics) == 6)
    until("the others wait", lambda: daemon.health()["writers"]["waiting_for_creates"] == 44)
    ledger = balanced(daemon.ledger())
    assert (ledger["written"], ledger["cached"]) == (6 * 30, 44 * 30)
    for metric in metrics:
        assert rendered(daemon, metric, start, 30) == list(range(30)), metric
    bulk = ask(daemon, type="cache-query-bulk", metrics=metrics)["datapointsByMetric"]
    assert sorted(len(points) for points in bulk.values()) == [0] * 6 + [30] * 44

    # Those that have a file do not stand in the queue behind the others.
    lucky = [metric for metric in metrics if file_of(daemon, metric).exists()]
    daemon.send_lines(lines(lucky, start + 30, 5))
    until("known files are written", lambda: stored(daemon, lucky[0], start, 35) == [*range(30), *range(5)])

    daemon.kill()
    daemon.conf_extra["MAX_CREATES_PER_MINUTE"] = 600
    daemon.start()
    assert rendered(daemon, metrics[-1], start, 30) == list(range(30))
    until("all files are made", lambda: made(daemon, metrics) == 50)
    ledger = settle(daemon)
    assert dropped(ledger) == 0
    for metric in metrics:
        assert stored(daemon, metric, start, 30) == list(range(30)), metric


def test_more_files_appear_with_time(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    metrics = [f"new.m{number:03d}" for number in range(320)]
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 2, "SWEEP_INTERVAL": 0.05, "MAX_CREATES_PER_MINUTE": 300})
    daemon.send_lines(lines(metrics, int(time.time()) - 60, 1))
    until("a minute's worth is made at once", lambda: made(daemon, metrics) >= 300)
    begun = time.monotonic()
    most = made(daemon, metrics) + 3
    until("the rest follows", lambda: made(daemon, metrics) == 320)
    assert time.monotonic() - begun > (320 - most) / 5 - 1


def test_a_rate_of_less_than_one_file_for_each_writer_still_makes_files(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    metrics = ["few.a", "few.b", "few.c", "few.d"]
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 2, "SWEEP_INTERVAL": 0.05, "MAX_CREATES_PER_MINUTE": 1})
    daemon.send_lines(lines(metrics, int(time.time()) - 60, 5))
    until("one file is made", lambda: made(daemon, metrics) == 1, timeout=5)
    ledger = until("its points are counted", lambda: (now := balanced(daemon.ledger()))["written"] == 5 and now)
    assert ledger["cached"] == 15


@pytest.mark.parametrize("processes", [0, 2])
def test_the_rate_of_updates_holds_and_what_waits_is_readable(
    carbonpy_daemon: Callable[..., RunningDaemon], processes: int
) -> None:
    metrics = [f"slow.m{number:03d}" for number in range(120)]
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": processes, "SWEEP_INTERVAL": 0.1,
                                         "MAX_UPDATES_PER_SECOND": 20})
    start = int(time.time()) - 600
    begun = time.monotonic()
    daemon.send_lines(lines(metrics, start, 10))
    until_received(daemon, 10 * len(metrics))
    for number in range(0, 120, 7):
        assert rendered(daemon, metrics[number], start, 10) == list(range(10))
    until("two thirds are written", lambda: made(daemon, metrics) >= 80)
    took = time.monotonic() - begun
    # 20 at once, then 20 a second.
    assert 2.0 < took < 7.0, took
    assert rendered(daemon, "slow.*", start, 10) == list(range(10))
    # A higher limit counts in the middle of the sweep.
    daemon.conf_extra["MAX_UPDATES_PER_SECOND"] = "inf"
    daemon.reload()
    until("the rest is written at once", lambda: made(daemon, metrics) == 120, timeout=1)


def test_a_full_cache_stops_tcp_senders_drops_udp_and_goes_on_when_there_is_room(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"MAX_CACHE_SIZE": 2000, "SWEEP_INTERVAL": 0.1, "MAX_CREATES_PER_MINUTE": 0,
                                         "GATHER_SIZE": 4096, "WRITER_PROCESSES": 1})
    start = int(time.time()) - 3000
    metrics = [f"full.m{number:02d}" for number in range(20)]
    payload = "".join(f"{line}\n" for line in lines(metrics, start, 2500)).encode()
    pickled = pickle.dumps([(f"full.p{number}", (start + place, float(place)))
                            for number in range(20) for place in range(1000)], 2)
    with (
        socket.create_connection(("127.0.0.1", daemon.line_port), timeout=1) as sender,
        socket.create_connection(("127.0.0.1", daemon.pickle_port), timeout=20) as other,
    ):
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < len(payload):
                sent += sender.send(payload[sent : sent + 4096])
        assert sent < len(payload)
        health = daemon.health()
        assert health["cache"]["receivers_paused"]
        assert 2000 <= health["cache"]["points"] < 12000
        received = balanced(health["ledger"])["received"]

        # Who cannot wait is counted; who asks is answered; who connects waits.
        daemon.send_udp([f"full.udp 1 {start}"] * 7)
        ledger = until("the datagrams are counted", lambda: (now := daemon.ledger())["dropped"].get("cache_full") == 7
                       and now)
        assert balanced(ledger)["received"] == received + 7
        assert rendered(daemon, metrics[0], start, 5) == [0, 1, 2, 3, 4]
        other.sendall(struct.pack("!L", len(pickled)) + pickled)
        with socket.create_connection(("127.0.0.1", daemon.line_port), timeout=1) as late:
            late.sendall(f"full.late 1 {start}\n".encode())
            assert balanced(daemon.ledger())["received"] == received + 7

            # Files may be made again: everything flows.
            daemon.conf_extra["MAX_CREATES_PER_MINUTE"] = "inf"
            daemon.reload()
            sender.settimeout(30)
            sender.sendall(payload[sent:])
            until_received(daemon, 20 * 2500 + 20 * 1000 + 1 + 7)
    ledger = settle(daemon)
    assert dropped(ledger) == ledger["dropped"]["cache_full"] == 7
    assert not daemon.health()["cache"]["receivers_paused"]
    for metric in metrics:
        assert stored(daemon, metric, start, 2500) == list(range(2500)), metric
    for number in range(20):
        assert stored(daemon, f"full.p{number}", start, 1000) == list(range(1000))
    assert file_of(daemon, "full.late").exists()


def test_a_cache_full_of_points_that_wait_for_files_is_not_looked_through_without_end(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"MAX_CACHE_SIZE": 500_000, "MAX_CREATES_PER_MINUTE": 0, "SWEEP_INTERVAL": 4})
    metrics = [f"many.m{number}" for number in range(40_000)]
    daemon.send_lines(lines(metrics, int(time.time()) - 100, 10))
    until("all of them wait", lambda: daemon.health()["cache"]["waiting"] == 400_000)
    used = share_of_a_core(daemon, 3)
    assert used < 0.1, f"{used:.1%} of a core"


def test_a_hard_limit_of_open_files_slows_nothing_to_a_halt(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 0, "SWEEP_INTERVAL": 0.1}, start=False)
    daemon.launcher = ["prlimit", "--nofile=256:256"]
    daemon.start()
    metrics = [f"many.m{number:04d}" for number in range(1500)]
    start = int(time.time()) - 600
    for turn in range(3):
        daemon.send_lines(lines(metrics, start + turn, 1))
        until_received(daemon, (turn + 1) * 1500)
    settle(daemon)
    assert daemon.health()["writers"]["errors"] == 0
    assert daemon.terminate() == 0
