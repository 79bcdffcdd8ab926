"""Whole daemons on disks that fill up, turn read-only or vanish: points are kept, health says so, and it goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.running import RunningDaemon, dropped
from support.waiting import until
from support.whole import balanced, lines, rendered, settle, stored, until_received

METRICS = [f"disk.m{number:02d}" for number in range(30)]
Mount = Callable[[Path, str], None]


@pytest.fixture
def tiny_disk() -> Iterator[Mount]:
    """Mount a tmpfs of a given size at a path; unmounted when the test ends."""
    mounted: list[Path] = []

    def mount(place: Path, size: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True, timeout=10)
        mounted.append(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


def fill(place: Path) -> Path:
    """Take the last byte of the disk at `place`; the file that has them."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")


@needs_root
@pytest.mark.parametrize("processes", [0, 2])
def test_points_for_a_full_disk_are_kept_and_written_when_there_is_room(
    carbonpy_daemon: Callable[..., RunningDaemon], tiny_disk: Mount, processes: int
) -> None:
    daemon = carbonpy_daemon(start=False, conf_extra={"WRITER_PROCESSES": processes, "SWEEP_INTERVAL": 0.1})
    tiny_disk(daemon.data_dir, "2m")
    start = int(time.time()) - 600
    daemon.start()
    daemon.send_lines(lines(METRICS[:10], start, 10))
    until_received(daemon, 100)
    settle(daemon)
    assert daemon.health()["status"] == "ok"

    ballast = fill(daemon.data_dir)
    daemon.send_lines(lines(METRICS, start, 20))
    until_received(daemon, 100 + 20 * len(METRICS))
    health = until("health says so", lambda: (now := daemon.health())["status"] != "ok" and now)
    assert health["status"] == "degraded"
    assert "No space left on device" in health["writers"]["trouble"]
    assert health["writers"]["errors"] > 0
    for metric in METRICS:
        assert rendered(daemon, metric, start, 20) == list(range(20))
    assert dropped(balanced(daemon.ledger())) == 0
    assert "No space left on device" in daemon.log()

    ballast.unlink()
    ledger = settle(daemon)
    assert dropped(ledger) == 0
    for metric in METRICS:
        assert stored(daemon, metric, start, 20) == list(range(20)), metric
    assert daemon.health()["status"] == "ok"
    assert daemon.health()["writers"]["trouble"] == ""
    assert daemon.terminate() == 0


@needs_root
def test_a_full_disk_at_the_end_costs_nothing_that_the_journal_has(
    carbonpy_daemon: Callable[..., RunningDaemon], tiny_disk: Mount
) -> None:
    daemon = carbonpy_daemon(start=False, conf_extra={"WRITER_PROCESSES": 1, "SWEEP_INTERVAL": 0.1})
    tiny_disk(daemon.data_dir, "1m")
    start = int(time.time()) - 600
    ballast = fill(daemon.data_dir)
    daemon.start()
    daemon.send_lines(lines(METRICS, start, 20))
    until_received(daemon, 20 * len(METRICS))
    begun = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - begun < 8
    ballast.unlink()
    daemon.start()
    ledger = settle(daemon)
    assert ledger["recovered"] == 20 * len(METRICS)
    assert stored(daemon, METRICS[7], start, 20) == list(range(20))


@needs_root
@pytest.mark.parametrize("fsync", ["interval", "batch"])
def test_a_full_journal_keeps_no_point_from_its_file(
    carbonpy_daemon: Callable[..., RunningDaemon], tiny_disk: Mount, fsync: str
) -> None:
    daemon = carbonpy_daemon(start=False, conf_extra={"SWEEP_INTERVAL": 0.2, "JOURNAL_FSYNC": fsync,
                                                      "JOURNAL_FSYNC_INTERVAL": 0.1})
    journal = daemon.storage_dir / "journal" / "a"
    tiny_disk(journal, "256k")
    start = int(time.time()) - 600
    daemon.start()
    ballast = fill(journal)
    daemon.send_lines(lines(METRICS, start, 20))
    ledger = until_received(daemon, 20 * len(METRICS))
    health = daemon.health()
    assert health["journal"]["unjournaled"] == 20 * len(METRICS)
    assert "No space left on device" in health["journal"]["trouble"]
    assert health["status"] == "degraded"
    ledger = settle(daemon)
    assert dropped(ledger) == 0
    assert stored(daemon, METRICS[3], start, 20) == list(range(20))

    ballast.unlink()
    daemon.send_lines(lines(METRICS, start + 20, 20))
    until_received(daemon, 40 * len(METRICS))
    settle(daemon)
    health = daemon.health()
    assert health["journal"]["unjournaled"] == 20 * len(METRICS)
    assert (health["status"], health["journal"]["trouble"]) == ("ok", "")
    assert "Traceback" not in daemon.log()
    assert daemon.terminate() == 0
    assert [path.name for path in journal.iterdir()] == ["lock"]


@pytest.mark.parametrize("fsync", ["never", "interval", "batch"])
def test_a_journal_directory_that_was_removed_keeps_no_point_from_its_file(
    carbonpy_daemon: Callable[..., RunningDaemon], fsync: str
) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.2, "JOURNAL_FSYNC": fsync, "JOURNAL_FSYNC_INTERVAL": 0.1})
    start = int(time.time()) - 600
    daemon.send_lines(lines(METRICS, start, 5))
    until_received(daemon, 5 * len(METRICS))
    settle(daemon)
    shutil.rmtree(daemon.storage_dir / "journal")
    for turn in range(1, 4):
        daemon.send_lines(lines(METRICS, start + 5 * turn, 5))
        until_received(daemon, 5 * (turn + 1) * len(METRICS))
        assert dropped(settle(daemon)) == 0
    for metric in METRICS:
        assert stored(daemon, metric, start, 20) == [*range(5)] * 4
    assert daemon.health()["journal"]["unjournaled"] > 0
    assert "Traceback" not in daemon.log()
    assert daemon.terminate() == 0


@needs_root
def test_a_read_only_disk_is_tried_again_without_haste(
    carbonpy_daemon: Callable[..., RunningDaemon], tiny_disk: Mount
) -> None:
    daemon = carbonpy_daemon(start=False, conf_extra={"WRITER_PROCESSES": 0, "SWEEP_INTERVAL": 0.05,
                                                      "MAX_CACHE_SIZE": 800})
    tiny_disk(daemon.data_dir, "4m")
    start = int(time.time()) - 600
    daemon.start()
    subprocess.run(["mount", "-o", "remount,ro", str(daemon.data_dir)], check=True, timeout=10)
    daemon.send_lines(lines(METRICS, start, 20))
    until_received(daemon, 20 * len(METRICS))
    before = daemon.health()["writers"]["errors"]
    begun = time.monotonic()
    until("it was tried again", lambda: daemon.health()["writers"]["errors"] > before)
    until("a second has passed", lambda: time.monotonic() - begun > 1.5)
    # A sweep of all 30 files at most once a second, though the cache is more than half full.
    assert daemon.health()["writers"]["errors"] - before <= 30 * 3
    assert daemon.health()["status"] == "degraded"
    subprocess.run(["mount", "-o", "remount,rw", str(daemon.data_dir)], check=True, timeout=10)
    ledger = settle(daemon)
    assert dropped(ledger) == 0
    assert stored(daemon, METRICS[3], start, 20) == list(range(20))
