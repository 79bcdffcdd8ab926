"""What tests of whole daemons ask again and again: the ledger's own claim, files read by `whisper`, CarbonLink."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import whisper

from support.running import RunningDaemon, descendants, dropped, is_running
from support.waiting import until

TAGGED = "whole.tagged;door=one;room=two"


def balanced(ledger: dict[str, Any]) -> dict[str, Any]:
    """The ledger, after checking its own claim that it balances."""
    kept = ledger["written"] + ledger["cached"] + ledger["journal_backlog"] + dropped(ledger)
    assert ledger["balanced"], ledger
    assert ledger["received"] == kept, ledger
    return ledger


def file_of(daemon: RunningDaemon, metric: str) -> Path:
    """The whisper file of an untagged metric."""
    return daemon.data_dir.joinpath(*metric.split(".")).with_suffix(".wsp")


def stored(daemon: RunningDaemon, metric: str, start: int, points: int, step: int = 1) -> list[float | None]:
    """What `whisper` reads from the metric's file in the `points` slots that begin with the one of `start`."""
    end = start + (points - 1) * step
    (_, _, found), values = whisper.fetch(str(file_of(daemon, metric)), start - step, end)
    assert found == step, (found, step)
    return list(values)


def rendered(daemon: RunningDaemon, target: str, start: int, points: int) -> list[float | None]:
    """What `/render` shows of one metric in the seconds [start, start + points), [] if there is no such metric."""
    answer = daemon.render(target, from_=start - 1, until=start + points - 1)
    return [value for value, _ in answer[0]["datapoints"]] if answer else []


def lines(metrics: Iterable[str], start: int, points: int) -> Iterable[str]:
    """`points` lines for each metric, in the seconds from `start` on; the value is the number of the second."""
    metrics = list(metrics)
    return (f"{metric} {place} {start + place}" for place in range(points) for metric in metrics)


def ask(daemon: RunningDaemon, **request: Any) -> dict[str, Any]:
    """The answer of the query port to one CarbonLink request."""
    body = pickle.dumps(request, 2)
    with socket.create_connection(("127.0.0.1", daemon.query_port), timeout=10) as link:
        link.sendall(struct.pack("!L", len(body)) + body)
        reader = link.makefile("rb")
        (length,) = struct.unpack("!L", reader.read(4))
        answer: dict[str, Any] = pickle.loads(reader.read(length))
    return answer


def writers(daemon: RunningDaemon) -> list[int]:
    """The process ids of the writer processes that run."""
    found = []
    for pid in descendants(daemon.pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"carbonpy.daemons.writer" in command and is_running(pid):
            found.append(pid)
    return found


def cpu_seconds(daemon: RunningDaemon) -> float:
    """User and system time of the daemon and its children."""
    total = 0
    for pid in (daemon.pid, *descendants(daemon.pid)):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def share_of_a_core(daemon: RunningDaemon, seconds: float) -> float:
    """How much of one core the daemon and its children use in the `seconds` to come."""
    begun, before = time.monotonic(), cpu_seconds(daemon)
    until(f"{seconds:g} s have passed", lambda: time.monotonic() - begun > seconds, interval=0.25)
    return (cpu_seconds(daemon) - before) / (time.monotonic() - begun)


def until_received(daemon: RunningDaemon, count: int, timeout: float = 20.0) -> dict[str, Any]:
    """The ledger once `count` points have been received in this life."""
    def enough() -> dict[str, Any]:
        ledger = balanced(daemon.ledger())
        assert ledger["received"] - ledger["recovered"] >= count, ledger
        return ledger
    return until(f"{count} points are received", enough, timeout)


def settle(daemon: RunningDaemon, timeout: float = 30.0) -> dict[str, Any]:
    """The ledger once all that was sent is taken in, and nothing is cached or waits in the journal any more."""
    def nothing_left() -> dict[str, Any]:
        health = daemon.health()
        ledger = balanced(health["ledger"])
        assert not health["gathered_bytes"], health
        assert ledger["cached"] == ledger["journal_backlog"] == 0, ledger
        return ledger
    return until("everything is written", nothing_left, timeout)
