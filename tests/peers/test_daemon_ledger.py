"""The ledger of a whole daemon: what comes in, by whatever way, is written, cached, journalled or named as dropped.

`received = written + cached + journal_backlog + dropped` is asked again and again while things happen, not only at
the end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import whisper
from support.running import RunningDaemon, descendants, dropped
from support.waiting import until

METRICS = 100


def check(ledger: dict[str, Any]) -> dict[str, Any]:
    """The ledger, after checking its own claim that it balances."""
    kept = ledger["written"] + ledger["cached"] + ledger["journal_backlog"] + dropped(ledger)
    assert ledger["balanced"], ledger
    assert ledger["received"] == kept, ledger
    return ledger


def flood(moment: int, first: int, points: int, family: str = "flood") -> Iterator[str]:
    """`points` lines for each of METRICS metrics, in the seconds from `moment + first` on; the value is the second."""
    for place in range(first, first + points):
        for metric in range(METRICS):
            yield f"{family}.m{metric:03d} {place} {moment + place}"


def file_of(daemon: RunningDaemon, metric: str) -> Path:
    return daemon.data_dir.joinpath(*metric.split(".")).with_suffix(".wsp")


def stored(daemon: RunningDaemon, metric: str, moment: int, points: int) -> list[float | None]:
    """What the file holds in the seconds [moment, moment + points)."""
    values: list[float | None] = whisper.fetch(str(file_of(daemon, metric)), moment - 1, moment + points - 1)[1]
    return values


class Watching(threading.Thread):
    """Checks the ledger every few milliseconds until it is stopped; keeps what it saw."""

    def __init__(self, daemon: RunningDaemon) -> None:
        super().__init__(daemon=True)
        self._subject = daemon
        self._stop_asked = threading.Event()
        self.seen: list[dict[str, Any]] = []
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(0.01):
                self.seen.append(check(self._subject.ledger()))
        except BaseException as problem:
            self.problem = problem

    def __enter__(self) -> Watching:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stop_asked.set()
        self.join(20)
        if self.problem is not None and problem[0] is None:
            raise self.problem


def test_every_way_in_is_accounted_for_and_bad_input_costs_itself_only(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.2})
    points = 120
    moment = int(time.time()) - 300
    good = list(flood(moment, 0, points))
    bad = [b"two.fields 1", b"four fields are many", b"not.a.number x 1500000000", b"bad.\xff\xfe.byte",
           b"\x00\x01\x02"]
    mixed = []
    for number, line in enumerate(good):
        mixed.append(line.encode())
        if number % 40 == 0:
            mixed.append(bad[number // 40 % len(bad)])
    refused = len(mixed) - len(good)
    nans, late = 7, 5

    with Watching(daemon) as watching:
        senders = [
            threading.Thread(target=daemon.send_bytes, args=(b"".join(line + b"\n" for line in mixed),)),
            threading.Thread(target=daemon.send_pickle, args=(
                [(f"pickled.m{metric:03d}", (moment + place, place))
                 for place in range(points) for metric in range(METRICS)],)),
            threading.Thread(target=daemon.send_lines, args=([f"refused.nan nan {moment}"] * nans
                                                             + ["refused.time 1 99999999999"] * late,)),
            threading.Thread(target=daemon.send_udp, args=([f"udp.m{n} 1 {moment}" for n in range(20)],)),
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        written = 2 * len(good) + 20
        daemon.wait_until_written(written)

    ledger = check(daemon.ledger())
    assert ledger["written"] == written
    assert ledger["cached"] == ledger["journal_backlog"] == 0
    assert ledger["received"] == written + refused + nans + late
    assert dropped(ledger) == refused + nans + late
    assert ledger["dropped"]["nan"] == nans
    assert ledger["dropped"]["timestamp"] == late
    assert len(watching.seen) > 5
    for family in ("flood", "pickled"):
        for metric in range(METRICS):
            assert stored(daemon, f"{family}.m{metric:03d}", moment, points) == list(range(points))
    assert not file_of(daemon, "refused.nan").exists()
    assert file_of(daemon, "udp.m19").exists()


def test_points_sent_again_are_accounted_for_and_the_last_wins(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.3})
    moment = int(time.time()) - 300
    with Watching(daemon):
        for turn in range(5):
            daemon.send_lines(f"again.m{metric} {turn * 10 + metric} {moment + place}"
                              for place in range(50) for metric in range(10))
        ledger = until("all is written", lambda: (now := daemon.ledger())["received"] == 5 * 50 * 10
                       and now["cached"] == 0 and now)
    check(ledger)
    assert ledger["written"] + ledger["dropped"].get("replaced", 0) == 5 * 50 * 10
    for metric in range(10):
        assert stored(daemon, f"again.m{metric}", moment, 50) == [40 + metric] * 50


def test_a_full_cache_pauses_tcp_senders_and_loses_nothing(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    limit, points = 20_000, 2000
    daemon = carbonpy_daemon(conf_extra={
        "MAX_CACHE_SIZE": limit, "MAX_UPDATES_PER_SECOND": 400, "SWEEP_INTERVAL": 0.1})
    moment = int(time.time()) - points - 100
    with Watching(daemon) as watching:
        daemon.send_lines(flood(moment, 0, points))
        daemon.wait_until_written(METRICS * points, timeout=40)
    assert dropped(check(daemon.ledger())) == 0
    most = max(ledger["cached"] for ledger in watching.seen)
    assert limit * 0.5 < most < limit * 2
    for metric in range(0, METRICS, 7):
        assert stored(daemon, f"flood.m{metric:03d}", moment, points) == list(range(points))


def test_sigterm_under_load_exits_soon_and_the_next_life_has_what_was_taken(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"MAX_UPDATES_PER_SECOND": 50})
    moment, points = int(time.time()) - 3000, 2500
    # The daemon closes the connection in the middle: the sender's error is what the test wants.
    payload = "".join(f"{line}\n" for line in flood(moment, 0, points)).encode()

    def send() -> None:
        try:
            daemon.send_bytes(payload)
        except OSError:
            return

    sender = threading.Thread(target=send)
    sender.start()
    taken = until("a good part was received", lambda: (now := daemon.ledger()["received"]) > 20_000 and now)
    begun = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - begun < 10
    sender.join(20)

    daemon.conf_extra["MAX_UPDATES_PER_SECOND"] = "inf"
    daemon.start()
    ledger = until("all is written", lambda: (now := check(daemon.ledger()))["cached"] == 0
                   and now["journal_backlog"] == 0 and now, timeout=40)
    assert dropped(ledger) == 0
    found = 0
    for metric in range(METRICS):
        values = stored(daemon, f"flood.m{metric:03d}", moment, points)
        there = [value for value in values if value is not None]
        # One connection, in order: what is there is a beginning of what was sent, without a hole.
        assert there == list(range(len(there)))
        assert values[: len(there)] == there
        found += len(there)
    assert taken <= found <= METRICS * points
    assert daemon.terminate() == 0


def test_a_killed_writer_process_loses_nothing(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 2, "SWEEP_INTERVAL": 0.1, "MAX_UPDATES_PER_SECOND": 2000})
    moment, points = int(time.time()) - 3000, 1500
    with Watching(daemon):
        sender = threading.Thread(target=daemon.send_lines, args=(flood(moment, 0, points),))
        sender.start()
        for turn in range(3):
            until("some more was written", lambda turn=turn: daemon.ledger()["written"] > turn * 1000)
            children = until("both writers run", lambda: len(found := writers(daemon)) == 2 and found)
            os.kill(children[turn % 2], signal.SIGKILL)
        sender.join(60)
        daemon.wait_until_written(METRICS * points, timeout=60)
    assert dropped(check(daemon.ledger())) == 0
    for metric in range(METRICS):
        assert stored(daemon, f"flood.m{metric:03d}", moment, points) == list(range(points))


def writers(daemon: RunningDaemon) -> list[int]:
    """The process ids of the writer processes of a daemon."""
    found = []
    for pid in descendants(daemon.pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"writer" in command:
            found.append(pid)
    return found
