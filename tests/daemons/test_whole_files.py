"""Whole daemons whose files other programs change behind their back: noticed at the next write, data right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import whisper
from support.running import REPOSITORY, RunningDaemon, dropped
from support.waiting import until
from support.whisper_scripts import script
from support.whole import ask, file_of, lines, rendered, settle, stored, until_received

#: Between our write and another program's: what happens within a few milliseconds of our own write is not seen.
APART = 0.06
BEFORE, AFTER = 20, 12


class Changed:
    """A daemon that has written BEFORE seconds of one metric, and will write the next AFTER ones."""

    def __init__(self, daemon: RunningDaemon, metric: str) -> None:
        self.daemon = daemon
        self.metric = metric
        self.path = file_of(daemon, metric)
        # At the beginning of a minute, so that nothing of this reaches into a coarse slot before it.
        self.start = (int(time.time()) - 900) // 60 * 60
        self._send(range(BEFORE))
        assert stored(daemon, metric, self.start, BEFORE) == list(range(BEFORE))
        written = time.monotonic()
        until("a moment has passed", lambda: time.monotonic() - written > APART)

    def _send(self, places: range) -> None:
        before = self.daemon.ledger()["received"]
        self.daemon.send_lines(f"{self.metric} {place} {self.start + place}" for place in places)
        until_received(self.daemon, before + len(places))
        assert dropped(settle(self.daemon)) == 0

    def go_on(self) -> None:
        """Write the rest, after another moment."""
        changed = time.monotonic()
        until("a moment has passed", lambda: time.monotonic() - changed > APART)
        self._send(range(BEFORE, BEFORE + AFTER))
        assert self.values()[BEFORE:] == list(range(BEFORE, BEFORE + AFTER))
        assert self.shown() == self.values()

    def values(self) -> list[float | None]:
        """What `whisper` reads of all these seconds."""
        return stored(self.daemon, self.metric, self.start, BEFORE + AFTER)

    def shown(self) -> list[float | None]:
        """What `/render` shows of them."""
        return rendered(self.daemon, self.metric, self.start, BEFORE + AFTER)


@pytest.fixture(scope="module", params=[0, 2], ids=["thread", "processes"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One daemon for all tests here: each has a metric of its own."""
    daemon = RunningDaemon(tmp_path_factory.mktemp("files") / "daemon", {
        "WRITER_PROCESSES": request.param, "SWEEP_INTERVAL": 0.05, "MAX_UPDATES_PER_SECOND_ON_SHUTDOWN": "inf"})
    daemon.start()
    yield daemon
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.log()


def copy_in_place(path: Path) -> None:
    """Replace the file by a copy: another inode with the same content."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    os.rename(copy, path)


def test_a_file_replaced_by_its_copy_is_written_and_not_the_old_one(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.copied")
    with changed.path.open("rb") as old:
        before = old.read()
        copy_in_place(changed.path)
        changed.go_on()
        old.seek(0)
        assert old.read() == before
    assert changed.values() == list(range(BEFORE + AFTER))


def test_a_file_replaced_by_one_with_other_points_keeps_those(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.replaced")
    other = changed.path.with_suffix(".other")
    whisper.create(str(other), [(1, 3600), (60, 1440)], 0.5, "average")
    whisper.update_many(str(other), [(changed.start + place, 1000 + place) for place in range(5, 15)])
    os.rename(other, changed.path)
    changed.go_on()
    assert changed.values()[:BEFORE] == [None] * 5 + [1000 + place for place in range(5, 15)] + [None] * 5


@pytest.mark.parametrize("archives", [[(1, 7200)], [(1, 1200), (60, 60), (3600, 48)], [(1, 3600), (60, 2880)]],
                         ids=["longer", "other-archives", "longer-coarse"])
def test_a_file_with_other_archives_is_written_by_its_own_header(
    shared: RunningDaemon, archives: list[tuple[int, int]]
) -> None:
    changed = Changed(shared, f"behind.archives{len(archives)}x{archives[0][1]}x{archives[-1][1]}")
    other = changed.path.with_suffix(".other")
    whisper.create(str(other), archives, 0.0, "sum")
    points = [(changed.start + place, float(place)) for place in range(BEFORE)]
    whisper.update_many(str(other), points)
    os.rename(other, changed.path)
    changed.go_on()
    assert changed.values() == list(range(BEFORE + AFTER))
    info = whisper.info(str(changed.path))
    assert [(one["secondsPerPoint"], one["points"]) for one in info["archives"]] == archives
    if len(archives) > 1:
        # The coarse slot is the sum of the whole minute, as the other program and we would make it together.
        _, (minute,) = whisper.fetch(str(changed.path), changed.start - 1, changed.start + 1, archiveToSelect=60)
        assert minute == sum(range(BEFORE + AFTER))


@pytest.mark.parametrize("whose", ["the-package", "ours"])
def test_whisper_resize_beside_the_daemon_loses_nothing(shared: RunningDaemon, whose: str) -> None:
    changed = Changed(shared, f"behind.resized.by.{whose}")
    name = "whisper-resize"
    program = script(name) if whose == "the-package" else REPOSITORY / "tools" / f"{name}.py"
    subprocess.run([sys.executable, str(program), str(changed.path), "1s:2h", "5s:1d", "--nobackup"], check=True,
                   timeout=30, capture_output=True)
    changed.go_on()
    assert changed.values() == list(range(BEFORE + AFTER))


def test_a_file_resized_in_place_is_written_by_its_new_header(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.in_place")
    other = changed.path.with_suffix(".other")
    whisper.create(str(other), [(1, 1800), (300, 500)], 0.5, "max")
    whisper.update_many(str(other), [(changed.start + place, float(place)) for place in range(BEFORE)])
    content = other.read_bytes()
    other.unlink()
    with changed.path.open("r+b") as file:
        file.write(content)
        file.truncate()
    changed.go_on()
    assert changed.values() == list(range(BEFORE + AFTER))


def test_a_removed_file_is_made_anew(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.removed")
    changed.path.unlink()
    changed.go_on()
    assert changed.values() == [None] * BEFORE + list(range(BEFORE, BEFORE + AFTER))


def test_a_removed_directory_is_made_anew(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.directory.of.one")
    shutil.rmtree(changed.path.parent.parent)
    changed.go_on()
    assert changed.values() == [None] * BEFORE + list(range(BEFORE, BEFORE + AFTER))


@pytest.mark.parametrize("size", [0, 3, 20, 5000])
def test_a_truncated_file_is_set_aside_and_made_anew(shared: RunningDaemon, size: int) -> None:
    changed = Changed(shared, f"behind.truncated{size}")
    damaged = shared.health()["writers"]["damaged_files"]
    os.truncate(changed.path, size)
    changed.go_on()
    assert changed.values() == [None] * BEFORE + list(range(BEFORE, BEFORE + AFTER))
    (aside,) = changed.path.parent.glob(f"{changed.path.name}.damaged-*")
    assert aside.stat().st_size == size
    assert shared.health()["writers"]["damaged_files"] == damaged + 1


def test_an_empty_file_that_was_there_first_is_set_aside_and_made_anew(shared: RunningDaemon) -> None:
    path = file_of(shared, "behind.empty")
    path.parent.mkdir(exist_ok=True)
    path.touch()
    start = int(time.time()) - 100
    received = shared.ledger()["received"]
    shared.send_lines(lines(["behind.empty"], start, 5))
    until_received(shared, received + 5)
    settle(shared)
    assert stored(shared, "behind.empty", start, 5) == list(range(5))
    assert len(list(path.parent.glob("empty.wsp.damaged-*"))) == 1


def test_an_aggregation_method_changed_in_place_is_used(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.method")
    whisper.setAggregationMethod(str(changed.path), "last", 0.0)
    changed.go_on()
    assert changed.values() == list(range(BEFORE + AFTER))
    _, (minute,) = whisper.fetch(str(changed.path), changed.start - 1, changed.start + 1, archiveToSelect=60)
    assert minute == BEFORE + AFTER - 1
    assert whisper.info(str(changed.path))["aggregationMethod"] == "last"


def test_a_method_set_over_carbonlink_is_used(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.carbonlink")
    whisper.setXFilesFactor(str(changed.path), 0.0)
    answer = ask(shared, type="set-metadata", metric=changed.metric, key="aggregationMethod", value="sum")
    assert answer == {"old_value": "average", "new_value": "sum"}
    changed.go_on()
    _, (minute,) = whisper.fetch(str(changed.path), changed.start - 1, changed.start + 1, archiveToSelect=60)
    assert minute == sum(range(BEFORE + AFTER))


def test_points_another_program_writes_between_ours_stay_and_count(shared: RunningDaemon) -> None:
    changed = Changed(shared, "behind.shared")
    whisper.setAggregationMethod(str(changed.path), "sum", 0.0)
    whisper.update_many(str(changed.path), [(changed.start + 40 + place, 100.0) for place in range(5)])
    changed.go_on()
    assert stored(shared, changed.metric, changed.start + 40, 5) == [100.0] * 5
    _, (minute,) = whisper.fetch(str(changed.path), changed.start - 1, changed.start + 1, archiveToSelect=60)
    assert minute == sum(range(BEFORE + AFTER)) + 500


def test_a_directory_in_the_place_of_a_file_costs_that_metric_only(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.1, "WRITER_PROCESSES": 1})
    file_of(daemon, "place.taken").mkdir(parents=True)
    (daemon.data_dir / "blocked").write_text("a file where a directory is needed")
    start = int(time.time()) - 100
    daemon.send_lines(lines(["place.taken", "place.free", "blocked.below", "other.m"], start, 5))
    until_received(daemon, 20)
    ledger = settle(daemon)
    assert ledger["dropped"] == {"unwritable": 10}
    assert stored(daemon, "place.free", start, 5) == stored(daemon, "other.m", start, 5) == list(range(5))
    assert daemon.health()["status"] == "ok"
    assert "no file can be made for this name" in daemon.log()
