"""Whole daemons that are killed, as a whole or in parts: nothing is lost, nothing stays behind, nobody shares."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.ports import free_ports
from support.running import RunningDaemon, dropped, is_running
from support.waiting import until
from support.whole import ask, balanced, file_of, lines, settle, stored, until_received, writers

METRICS = [f"load.m{number:03d}" for number in range(200)]
CARBONPY = [sys.executable, "-m", "carbonpy"]


def run_beside(daemon: RunningDaemon, **changes: object) -> subprocess.CompletedProcess[str]:
    """Start `carbonpy cache` with the daemon's configuration but for `changes`, and wait until it has given up."""
    changes = {"PID_DIR": daemon.root / "second", **changes}
    text = daemon.config_path.read_text().splitlines()
    kept = [line for line in text if line.partition(" = ")[0] not in changes]
    kept[1:1] = [f"{name} = {value}" for name, value in changes.items() if not name.startswith("HTTP")]
    kept += [f"{name} = {value}" for name, value in changes.items() if name.startswith("HTTP")]
    config = daemon.config_path.with_name("second.conf")
    config.write_text("\n".join(kept) + "\n")
    return subprocess.run([*CARBONPY, "cache", "--config", str(config)], capture_output=True, text=True, timeout=40)


def test_writers_killed_again_and_again_under_load_lose_nothing_and_are_counted(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 2, "SWEEP_INTERVAL": 0.05, "MAX_UPDATES_PER_SECOND": 2000})
    start, points, enough = int(time.time()) - 3300, 0, threading.Event()

    def send() -> None:
        """Go on until the last writer was killed, so that there is always something to write."""
        nonlocal points
        while points < 100 or (points < 3000 and not enough.is_set()):
            daemon.send_lines(f"{m} {place} {start + place}" for place in range(points, points + 20) for m in METRICS)
            points += 20
            enough.wait(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    for turn in range(1, 6):
        children = until("both writers run", lambda: len(found := writers(daemon)) == 2 and found)
        until("a sweep is under way", lambda: balanced(daemon.ledger()) and daemon.health()["cache"]["lent"] > 0)
        for child in children[: 1 + turn % 2]:
            with contextlib.suppress(ProcessLookupError):  # the one of the last turn may be seen as it goes
                os.kill(child, signal.SIGKILL)
    enough.set()
    sender.join()
    until_received(daemon, points * len(METRICS))
    ledger = settle(daemon)
    assert dropped(ledger) == 0
    assert ledger["written"] == points * len(METRICS)
    health = daemon.health()
    assert 3 <= health["writers"]["deaths"] <= 10
    assert sorted(health["writers"]["pids"]) == sorted(writers(daemon))
    for metric in METRICS:
        assert stored(daemon, metric, start, points) == list(range(points)), metric
    assert daemon.terminate() == 0


@pytest.mark.parametrize("rate", ["inf", 0.2])
def test_a_killed_daemon_leaves_no_writer_and_no_lock(
    carbonpy_daemon: Callable[..., RunningDaemon], rate: object
) -> None:
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 2, "SWEEP_INTERVAL": 0.05, "MAX_UPDATES_PER_SECOND": rate})
    start = int(time.time()) - 600
    daemon.send_lines(lines(METRICS, start, 50))
    until_received(daemon, 50 * len(METRICS))
    children = writers(daemon)
    assert len(children) == 2
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(10)
    until("the writers have ended", lambda: not any(map(is_running, children)), timeout=2)
    daemon.conf_extra["MAX_UPDATES_PER_SECOND"] = "inf"
    begun = time.monotonic()
    daemon.start()
    assert time.monotonic() - begun < 8
    assert dropped(settle(daemon)) == 0
    for metric in METRICS:
        assert stored(daemon, metric, start, 50) == list(range(50)), metric


def test_a_second_daemon_is_told_in_one_line_what_it_may_not_share(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon()
    daemon.send_lines([f"first.m 1 {int(time.time())}"])
    line, pickles, query, http = free_ports(4)
    other = {"LINE_RECEIVER_PORT": line, "UDP_RECEIVER_PORT": line, "PICKLE_RECEIVER_PORT": pickles,
             "CACHE_QUERY_PORT": query, "HTTP_PORT": http}

    done = run_beside(daemon, **other)
    said = [text for text in done.stderr.splitlines() if "carbonpy cache: " in text and "warning" not in text]
    assert done.returncode == 2, done.stderr
    assert len(said) == 1
    assert "JOURNAL_DIR" in said[0] and str(daemon.storage_dir / "journal") in said[0]
    assert "Traceback" not in done.stderr

    # With a journal of its own it comes as far as the port that is taken.
    for taken in ("HTTP_PORT", "LINE_RECEIVER_PORT", "CACHE_QUERY_PORT", "UDP_RECEIVER_PORT"):
        ports = {name: port for name, port in other.items() if name != taken}
        done = run_beside(daemon, JOURNAL_DIR=daemon.root / "journal2", CATALOG_FILE=daemon.root / "catalog2", **ports)
        said = [text for text in done.stderr.splitlines() if text.startswith("carbonpy cache: ")
                and "warning" not in text]
        assert done.returncode == 1, (taken, done.stderr)
        assert len(said) == 1
        assert str(daemon.http_port if taken == "HTTP_PORT" else daemon.query_port if taken == "CACHE_QUERY_PORT"
                   else daemon.line_port) in said[0]
        assert "Traceback" not in done.stderr
    # And the first one was not disturbed.
    settle(daemon)
    assert file_of(daemon, "first.m").exists()
    assert daemon.terminate() == 0


def test_metadata_of_a_metric_that_no_writer_has_met_harms_no_writer(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    import whisper

    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 1, "SWEEP_INTERVAL": 1.5})
    path = file_of(daemon, "old.m")
    path.parent.mkdir(parents=True)
    whisper.create(str(path), [(1, 3600)], 0.5, "average")
    start = int(time.time()) - 100
    daemon.send_lines(lines(["old.m"], start, 10))
    until_received(daemon, 10)
    pids = writers(daemon)
    answer = ask(daemon, type="set-metadata", metric="old.m", key="aggregationMethod", value="max")
    assert answer == {"old_value": "average", "new_value": "max"}
    settle(daemon)
    assert stored(daemon, "old.m", start, 10) == list(range(10))
    assert writers(daemon) == pids
    assert daemon.health()["writers"]["deaths"] == 0
    assert whisper.info(str(path))["aggregationMethod"] == "max"


def test_the_journal_is_replayed_over_several_lives_that_write_nothing(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 300, "SHUTDOWN_TIMEOUT": 0}, start=False)
    start = int(time.time()) - 600
    for life in range(4):
        daemon.start()
        daemon.send_lines(f"lives.m{number} {life} {start + place}" for place in range(life, 40) for number in range(9))
        until_received(daemon, 9 * (40 - life))
        daemon.kill()
    daemon.conf_extra.update(SWEEP_INTERVAL=0.2, SHUTDOWN_TIMEOUT=5)
    daemon.start()
    settle(daemon)
    for number in range(9):
        assert stored(daemon, f"lives.m{number}", start, 40) == [0, 1, 2, *[3] * 37]
    assert daemon.terminate() == 0
    left = {path.name for path in Path(daemon.storage_dir / "journal" / "a").iterdir()}
    assert left == {"lock"}
