"""Whole daemons in every mode: what came in by line, pickle and UDP is on disk after a stop and a start.

The modes are those of the writer (a thread, one process, two) with and without a journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from support.running import RunningDaemon, dropped
from support.whole import balanced, lines, rendered, settle, stored, until_received, writers

POINTS = 40
FAMILIES = {family: [f"{family}.m{number:02d}" for number in range(50)] for family in ("line", "pickle", "udp")}


def feed(daemon: RunningDaemon, start: int, points: int = POINTS) -> int:
    """Send `points` points of every metric by each way in at the same time; how many were sent."""
    pickled = [(metric, (start + place, float(place))) for place in range(points) for metric in FAMILIES["pickle"]]
    senders = [
        threading.Thread(target=daemon.send_lines, args=(lines(FAMILIES["line"], start, points),)),
        threading.Thread(target=daemon.send_pickle, args=(pickled,)),
        threading.Thread(target=daemon.send_udp, args=(lines(FAMILIES["udp"], start, points),)),
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return points * sum(map(len, FAMILIES.values()))


def check_files(daemon: RunningDaemon, start: int, points: int) -> None:
    """`whisper` reads every point of `feed` from the files."""
    for metrics in FAMILIES.values():
        for metric in metrics:
            assert stored(daemon, metric, start, points) == list(range(points)), metric


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no-journal"])
@pytest.mark.parametrize("processes", [0, 1, 2])
def test_nothing_is_lost_over_a_stop_and_a_start_in_any_mode(
    carbonpy_daemon: Callable[..., RunningDaemon], processes: int, journal: bool
) -> None:
    start = int(time.time()) - 600
    # The interval is so long that everything is still in the cache when the daemon is told to stop.
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": processes, "JOURNAL": journal, "SWEEP_INTERVAL": 300})
    assert len(writers(daemon)) == processes
    sent = feed(daemon, start)
    ledger = until_received(daemon, sent)
    assert dropped(ledger) == 0
    assert rendered(daemon, "udp.m07", start, POINTS) == list(range(POINTS))

    begun = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - begun < 8
    check_files(daemon, start, POINTS)

    daemon.conf_extra["SWEEP_INTERVAL"] = 0.2
    daemon.start()
    assert balanced(daemon.ledger())["recovered"] == 0
    more = feed(daemon, start + POINTS)
    until_received(daemon, more)
    ledger = settle(daemon)
    assert ledger["written"] == more
    assert daemon.terminate() == 0
    for metrics in FAMILIES.values():
        for metric in metrics:
            assert stored(daemon, metric, start, 2 * POINTS) == [*range(POINTS), *range(POINTS)], metric


@pytest.mark.parametrize("processes", [0, 2])
def test_a_slow_writer_without_a_journal_gives_everything_to_the_disk_before_it_ends(
    carbonpy_daemon: Callable[..., RunningDaemon], processes: int
) -> None:
    start = int(time.time()) - 600
    # At these rates the metrics would take 75 s to update and 25 minutes to create.
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": processes, "JOURNAL": False, "SWEEP_INTERVAL": 0.1,
                                         "MAX_UPDATES_PER_SECOND": 2, "MAX_CREATES_PER_MINUTE": 6})
    until_received(daemon, feed(daemon, start))
    begun = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - begun < 10
    check_files(daemon, start, POINTS)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_slow_writer_with_a_journal_ends_in_time_and_leaves_the_rest_to_the_next_life(
    carbonpy_daemon: Callable[..., RunningDaemon], processes: int
) -> None:
    start = int(time.time()) - 600
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": processes, "SWEEP_INTERVAL": 0.1, "SHUTDOWN_TIMEOUT": 1,
                                         "MAX_UPDATES_PER_SECOND": 2, "MAX_CREATES_PER_MINUTE": 6})
    sent = feed(daemon, start)
    until_received(daemon, sent)
    begun = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - begun < 5
    daemon.conf_extra.update(MAX_UPDATES_PER_SECOND="inf", MAX_CREATES_PER_MINUTE="inf")
    daemon.start()
    ledger = settle(daemon)
    assert 0 < ledger["recovered"] <= sent
    assert dropped(ledger) == 0
    check_files(daemon, start, POINTS)
    assert daemon.terminate() == 0
