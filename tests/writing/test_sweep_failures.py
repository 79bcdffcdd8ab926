"""Sweeps that meet what disks and other programs do to files: every point is accounted for, none is lost."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import whisper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonpy.columns import Columns, merge
from carbonpy.metric import relative_path
from carbonpy.whisper.layout import pack_header
from carbonpy.writing.sweep import Outcome, Sweeper, WriteSettings

FIRST = 16
NOW = 1_700_000_000
ARCHIVES = [(1, 60), (10, 60)]
HEADER = pack_header(ARCHIVES, 0.0, "average")
Point = tuple[int, int, float]


class Ground:
    """A data directory with a sweeper; metric number n is called `names[n]` and has the id FIRST + n."""

    def __init__(self, data_dir: str, names: list[str], header: bytes = HEADER, **settings: object) -> None:
        self.data_dir = data_dir
        self.names = names
        self.now = float(NOW)
        self.slept: list[float] = []
        self.header = header
        self.sweeper = Sweeper(
            WriteSettings(data_dir, **settings),  # type: ignore[arg-type]
            lambda metric: self.header,
            clock=lambda: self.now,
            sleep=self.slept.append,
        )
        self.sweeper.learn(range(FIRST, FIRST + len(names)), [name.encode() for name in names])

    def path(self, number: int) -> str:
        return f"{self.data_dir}/{relative_path(self.names[number])}"

    def sweep(self, points: list[Point], **options: object) -> Outcome:
        """Sweep (number, timestamp, value) points, check that the outcome balances, and that no part is left."""
        parts = [columns(points)] if points else []
        outcome = self.sweeper.sweep(parts, **options)  # type: ignore[arg-type]
        ids = np.array([FIRST + number for number, _, _ in points], np.uint32)
        deferred = int(np.isin(ids, outcome.deferred).sum())
        assert outcome.written + outcome.replaced + sum(outcome.dropped.values()) + deferred == len(points)
        assert set(outcome.missing.tolist()) <= set(outcome.deferred.tolist())
        assert len(np.unique(outcome.deferred)) == len(outcome.deferred)
        assert leftovers(self.data_dir) == []
        return outcome

    def read(self, number: int) -> dict[int, float]:
        return read(self.path(number), self.now)


def columns(points: list[Point]) -> Columns:
    return merge(
        [
            (
                np.array([FIRST + number for number, _, _ in points], np.uint32),
                np.array([time for _, time, _ in points], np.uint32),
                np.array([value for _, _, value in points], np.float64),
            )
        ]
    )


def leftovers(directory: str) -> list[str]:
    return [name for _, _, names in os.walk(directory) for name in names if name.endswith(".part")]


def read(path: str, now: float, archive: int = 0) -> dict[int, float]:
    """The points of the finest archive, as the whisper package reads them."""
    step, points = whisper.info(path)["archives"][archive]["secondsPerPoint"], 60
    (start, end, step), values = whisper.fetch(
        path, int(now) - step * points, int(now), now=int(now), archiveToSelect=step
    )
    return {time: value for time, value in zip(range(start, end, step), values) if value is not None}


def deferred(outcome: Outcome) -> set[int]:
    return {identity - FIRST for identity in outcome.deferred.tolist()}


@pytest.fixture
def directory() -> Iterator[str]:
    path = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    yield path
    shutil.rmtree(path)


class SmallDisk:
    """A directory whose disk is full soon: a small file system for root, else a limit on the size of files."""

    def __init__(self, directory: str) -> None:
        self.place = f"{directory}/disk"
        self.mounted = os.getuid() == 0
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.getsignal(signal.SIGXFSZ)

    def __enter__(self) -> SmallDisk:
        os.mkdir(self.place)
        if self.mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", self.place], check=True)
        return self

    def fill(self) -> None:
        """From now on there is no room."""
        if self.mounted:
            with open(f"{self.place}/filler", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))
        else:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, self._limit[1]))

    def relieve(self) -> None:
        """There is room again."""
        if self.mounted:
            os.unlink(f"{self.place}/filler")
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", self.place], check=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)
            signal.signal(signal.SIGXFSZ, self._handler)


def numbers(count: int, group: str = "m") -> list[str]:
    return [f"{group}.number{number}" for number in range(count)]


# ---- a full disk


def test_new_files_on_a_full_disk_wait_and_are_written_when_there_is_room(directory: str) -> None:
    with SmallDisk(directory) as disk:
        ground = Ground(disk.place, numbers(60))
        points = [(number, NOW - 1, float(number)) for number in range(60)]
        disk.fill()
        outcome = ground.sweep(points)
        waiting = deferred(outcome)
        assert waiting == set(range(60))
        # They wait for room, not for leave to make files.
        assert len(outcome.missing) == 0
        assert outcome.errors >= 1 and outcome.sentences
        assert outcome.stopped == "disk full" or not disk.mounted
        assert list(Path(disk.place).rglob("*.wsp")) == []
        disk.relieve()
        if disk.mounted:
            # 128 kB hold 32 pages, one for each file.
            written = set(range(60)) - deferred(ground.sweep(points))
            assert 20 <= len(written) <= 32
        else:
            written = set(range(60)) - deferred(ground.sweep(points))
            assert written == set(range(60))
        for number in written:
            assert ground.read(number) == {NOW - 1: float(number)}


def test_points_of_existing_files_survive_a_full_disk(directory: str) -> None:
    # A ring of many pages, so that each new page needs room.
    header = pack_header([(1, 3600)], 0.5, "average")
    with SmallDisk(directory) as disk:
        ground = Ground(disk.place, numbers(5), header)
        first = [(number, NOW - 3000, 1.0) for number in range(5)]
        assert deferred(ground.sweep(first)) == set()
        disk.fill()
        later = [(number, NOW - age, 2.0) for number in range(5) for age in range(0, 2000, 400)]
        outcome = ground.sweep(later)
        assert len(outcome.missing) == 0
        assert deferred(outcome) != set()
        assert outcome.stopped == "disk full" or not disk.mounted
        disk.relieve()
        assert deferred(ground.sweep(later)) == set()
        for number in range(5):
            (start, _, step), values = whisper.fetch(ground.path(number), NOW - 3600, NOW, now=NOW)
            found = {start + at * step: value for at, value in enumerate(values) if value is not None}
            assert found == {NOW - 3000: 1.0, **{NOW - age: 2.0 for age in range(0, 2000, 400)}}


def test_a_write_that_fails_half_way_is_done_again_whole(directory: str) -> None:
    """A limit on the size of files fails the write at any byte of the ring."""
    ground = Ground(directory, ["m"])
    ground.sweep([(0, NOW - 50, 0.0)])
    points = [(0, NOW - 40 + second, float(second)) for second in range(30)]
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in (40, 41, 170, 171, 200, 365, 520, 700, 760, 770):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            outcome = ground.sweep(points)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert deferred(outcome) == {0} and outcome.errors == 1 and len(outcome.missing) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert deferred(ground.sweep(points)) == set()
    theirs = f"{directory}/theirs.wsp"
    whisper.create(theirs, ARCHIVES, 0.0, "average")
    whisper.update_many(theirs, [(NOW - 50, 0.0)], now=NOW)
    whisper.update_many(theirs, [(time, value) for _, time, value in points], now=NOW)
    assert Path(theirs).read_bytes() == Path(ground.path(0)).read_bytes()


# ---- names that cannot be files


def test_a_file_where_a_directory_is_needed_makes_the_points_unwritable(directory: str) -> None:
    ground = Ground(directory, ["a.b", "a.c", "d"])
    Path(directory, "a").write_bytes(b"")
    outcome = ground.sweep([(0, NOW, 1.0), (0, NOW - 1, 1.0), (1, NOW, 2.0), (2, NOW, 3.0)])
    assert outcome.dropped == {"unwritable": 3}
    assert deferred(outcome) == set()
    assert outcome.written == 1 and outcome.errors == 2
    assert "no file can be made" in outcome.sentences[0]
    assert ground.read(2) == {NOW: 3.0}


def test_a_directory_where_the_file_should_be_makes_the_points_unwritable(directory: str) -> None:
    ground = Ground(directory, ["a", "b"])
    os.mkdir(f"{directory}/a.wsp")
    outcome = ground.sweep([(0, NOW, 1.0), (1, NOW, 2.0)])
    assert outcome.dropped == {"unwritable": 1}
    assert ground.read(1) == {NOW: 2.0}


def test_a_name_too_long_for_the_file_system_makes_the_points_unwritable(directory: str) -> None:
    ground = Ground(directory, ["x" * 256, "a." + "y" * 256 + ".z", "short"])
    outcome = ground.sweep([(0, NOW, 1.0), (1, NOW, 2.0), (2, NOW, 3.0)])
    assert outcome.dropped == {"unwritable": 2}
    assert outcome.written == 1


def test_a_loop_of_symbolic_links_makes_the_points_unwritable(directory: str) -> None:
    ground = Ground(directory, ["loop"])
    os.symlink("loop.wsp", ground.path(0))
    assert ground.sweep([(0, NOW, 1.0)]).dropped == {"unwritable": 1}


# ---- files that others damaged, replaced, removed or changed


@pytest.mark.parametrize(
    ("why", "content"),
    [
        ("empty", b""),
        ("half a header", HEADER[:10]),
        ("no whisper file", b"Once upon a time there was a file that was no ring at all." * 10),
        ("cut off", HEADER + bytes(100)),
        ("short by one byte", HEADER + bytes(1439)),
        ("zeros", bytes(4096)),
        ("a billion archives", HEADER[:12] + (1 << 30).to_bytes(4, "big") + bytes(4096)),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_a_damaged_file_is_set_aside_and_made_anew(directory: str, why: str, content: bytes, known: bool) -> None:
    ground = Ground(directory, ["a.m"])
    if known:
        ground.sweep([(0, NOW - 5, 1.0)])
    os.makedirs(f"{directory}/a", exist_ok=True)
    Path(ground.path(0)).write_bytes(content)
    outcome = ground.sweep([(0, NOW, 2.0)])
    assert outcome.damaged == 1 and outcome.creates == 1 and outcome.written == 1
    assert outcome.made.tolist() == [FIRST]
    assert "set aside" in outcome.sentences[0]
    assert Path(f"{ground.path(0)}.damaged-{NOW}").read_bytes() == content
    assert ground.read(0) == {NOW: 2.0}


def test_a_damaged_file_waits_for_leave_to_be_made_anew(directory: str) -> None:
    ground = Ground(directory, ["m"])
    Path(ground.path(0)).write_bytes(b"")
    outcome = ground.sweep([(0, NOW, 2.0)], creates=0)
    assert deferred(outcome) == {0} and outcome.missing.tolist() == [FIRST]
    assert ground.sweep([(0, NOW, 2.0)], creates=1).creates == 1


def test_a_file_that_was_removed_between_sweeps_is_made_anew(directory: str) -> None:
    ground = Ground(directory, ["a.m", "a.n"])
    ground.sweep([(0, NOW - 9, 1.0), (1, NOW - 9, 1.0)])
    shutil.rmtree(f"{directory}/a")
    outcome = ground.sweep([(0, NOW, 2.0), (1, NOW, 3.0)])
    assert outcome.creates == 2
    assert ground.read(0) == {NOW: 2.0} and ground.read(1) == {NOW: 3.0}


def others(
    path: str, archives: list[tuple[int, int]], points: list[tuple[int, float]], method: str = "average"
) -> None:
    """Another program makes a file and puts points into it."""
    whisper.create(path, list(archives), 0.0, method)
    whisper.update_many(path, list(points), now=NOW)


@pytest.mark.parametrize(
    "archives", [[(1, 60), (10, 60)], [(2, 60)], [(1, 60), (5, 60), (60, 60)], [(1, 90), (10, 60)]]
)
@pytest.mark.parametrize("how", ["rename", "remove", "overwrite"])
def test_a_file_that_was_replaced_between_sweeps_is_met_anew(
    directory: str, archives: list[tuple[int, int]], how: str
) -> None:
    """Be it a file of the same layout whose rings begin elsewhere, or one of another layout."""
    ground = Ground(directory, ["m"])
    ground.sweep([(0, NOW - 31, 1.0), (0, NOW - 30, 1.0)])
    theirs = f"{directory}/theirs.wsp"
    others(theirs, archives, [(NOW - 17, 5.0), (NOW - 16, 6.0)])
    same = shutil.copy(theirs, f"{directory}/same.wsp")
    if how == "rename":
        os.rename(theirs, ground.path(0))
    elif how == "remove":
        # The number of the inode may well be given to the new file.
        os.unlink(ground.path(0))
        shutil.copyfile(theirs, ground.path(0))
    else:
        Path(ground.path(0)).write_bytes(Path(theirs).read_bytes())
    os.utime(ground.path(0), (NOW, NOW))
    for time, value in [(NOW - 12, 7.0), (NOW - 3, 8.0)]:
        outcome = ground.sweep([(0, time, value)])
        assert outcome.creates == 0 and outcome.written == 1
        whisper.update_many(same, [(time, value)], now=NOW)
        assert Path(ground.path(0)).read_bytes() == Path(same).read_bytes()


def test_a_method_that_was_set_between_sweeps_is_used(directory: str) -> None:
    ground = Ground(directory, ["m"])
    start = NOW - NOW % 10
    ground.now = start + 10
    ground.sweep([(0, start + 1, 1.0), (0, start + 2, 5.0)])
    whisper.setAggregationMethod(ground.path(0), "max")
    os.utime(ground.path(0))
    ground.sweep([(0, start + 3, 3.0)])
    assert read(ground.path(0), ground.now, 1) == {start: 5.0}
    whisper.setAggregationMethod(ground.path(0), "sum")
    os.utime(ground.path(0))
    ground.sweep([(0, start + 4, 1.0)])
    assert read(ground.path(0), ground.now, 1) == {start: 10.0}


histories = st.lists(
    st.tuples(
        st.sampled_from(["ours", "ours", "theirs", "moved", "method", "removed"]),
        st.lists(
            st.tuples(st.integers(0, 1), st.integers(0, 55), st.integers(0, 9).map(float)), min_size=1, max_size=8
        ),
        st.integers(0, 15),
    ),
    min_size=2,
    max_size=10,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories, method=st.sampled_from(["average", "sum", "max", "last"]))
def test_files_that_others_write_to_between_sweeps_have_the_bytes_of_all_updates_in_turn(history, method) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        ground = Ground(f"{directory}/ours", ["a", "b"], pack_header(ARCHIVES, 0.3, method))
        os.mkdir(f"{directory}/theirs")
        paths = [f"{directory}/theirs/{name}.wsp" for name in "ab"]
        future = 2_000_000_000
        for what, points, later in history:
            ground.now += later
            now = int(ground.now)
            rows = sorted({(number, now - age): value for number, age, value in points}.items())
            for number in {number for (number, _), _ in rows}:
                pairs = [(time, value) for (one, time), value in rows if one == number]
                ours, theirs = ground.path(number), paths[number]
                if what == "removed" and os.path.exists(ours):
                    os.unlink(ours)
                    os.unlink(theirs)
                if not os.path.exists(theirs):
                    whisper.create(theirs, ARCHIVES, 0.3, method)
                elif what == "theirs":
                    whisper.update_many(ours, list(pairs), now=now)
                elif what == "moved":
                    shutil.copy(ours, f"{ours}.copy")
                    os.rename(f"{ours}.copy", ours)
                elif what == "method":
                    for path in (ours, theirs):
                        whisper.setAggregationMethod(path, "min")
                whisper.update_many(theirs, pairs, now=now)
                if os.path.exists(ours) and what not in ("ours", "removed"):
                    # As if some time had passed between our sweep and the others' hands.
                    future += 1
                    os.utime(ours, (future, future))
            if what != "theirs" or any(not os.path.exists(ground.path(number)) for (number, _), _ in rows):
                ground.sweep([(number, time, value) for (number, time), value in rows])
            for number in {number for (number, _), _ in rows}:
                assert Path(ground.path(number)).read_bytes() == Path(paths[number]).read_bytes()


def test_a_file_that_another_program_makes_at_the_same_moment_is_not_replaced(directory: str) -> None:
    """The header is asked for between our look and our link: there the other program comes in."""
    ground = Ground(directory, ["m"])
    path = ground.path(0)

    def header_for(metric: str) -> bytes:
        others(path, ARCHIVES, [(NOW - 5, 9.0)])
        return HEADER

    ground.sweeper.set_rules(header_for)
    outcome = ground.sweep([(0, NOW, 1.0)])
    assert deferred(outcome) == {0} and outcome.creates == 0
    assert ground.read(0) == {NOW - 5: 9.0}
    assert deferred(ground.sweep([(0, NOW, 1.0)])) == set()
    assert ground.read(0) == {NOW - 5: 9.0, NOW: 1.0}


def test_new_rules_are_for_new_files(directory: str) -> None:
    ground = Ground(directory, ["old", "new"])
    ground.sweep([(0, NOW, 1.0)])
    ground.sweeper.set_rules(lambda metric: pack_header([(60, 10)], 0.5, "sum"))
    ground.sweep([(0, NOW, 2.0), (1, NOW, 2.0)])
    assert whisper.info(ground.path(0))["aggregationMethod"] == "average"
    assert whisper.info(ground.path(1))["archives"][0]["secondsPerPoint"] == 60


# ---- limits


def test_files_beyond_the_limit_of_creates_are_made_later_with_all_their_points(directory: str) -> None:
    ground = Ground(directory, numbers(10))
    ground.sweep([(0, NOW - 1, 0.5)])
    points = [(number, NOW - age, float(age)) for number in range(10) for age in (0, 3)]
    done: set[int] = {0}
    for _ in range(3):
        todo = [point for point in points if point[0] not in done or point[0] == 0]
        outcome = ground.sweep(todo, creates=3)
        assert outcome.creates == 3
        assert outcome.missing.tolist() == outcome.deferred.tolist()
        done |= set(range(10)) - deferred(outcome)
        assert outcome.dropped == {} and outcome.stopped == ""
    assert done == set(range(10))
    for number in range(1, 10):
        assert ground.read(number) == {NOW: 0.0, NOW - 3: 3.0}


def test_no_file_is_made_for_a_metric_whose_older_points_wait_elsewhere(directory: str) -> None:
    ground = Ground(directory, ["a", "b", "c"])
    ground.sweep([(1, NOW - 9, 1.0)])
    held = np.array([FIRST, FIRST + 1], np.uint32)
    outcome = ground.sweep([(0, NOW, 1.0), (1, NOW, 1.0), (2, NOW, 1.0)], held=held)
    assert deferred(outcome) == {0}
    assert not os.path.exists(ground.path(0))
    assert ground.read(1) == {NOW - 9: 1.0, NOW: 1.0}


def test_the_update_rate_is_kept_by_sleeping(directory: str) -> None:
    ground = Ground(directory, numbers(100), updates_per_second=20.0)
    ground.sweep([(number, NOW, 1.0) for number in range(100)])
    # A second's worth may go at once.
    assert 3.0 <= max(ground.slept) <= 80 / 20
    assert len(ground.slept) >= 30
    fast = Ground(directory, numbers(100))
    fast.sweep([(number, NOW, 1.0) for number in range(100)])
    assert fast.slept == []
    fast.sweeper.set_rate(20.0)
    fast.sweep([(number, NOW, 1.0) for number in range(100)])
    assert fast.slept
    before = len(fast.slept)
    fast.sweeper.set_rate(float("inf"))
    fast.sweep([(number, NOW, 1.0) for number in range(100)])
    assert len(fast.slept) == before


def test_a_sweep_that_is_told_to_give_up_defers_the_rest(directory: str) -> None:
    ground = Ground(directory, numbers(100), updates_per_second=100.0)
    asked = []

    def give_up() -> bool:
        asked.append(1)
        return len(asked) > 4

    outcome = ground.sweep([(number, NOW, 1.0) for number in range(100)], give_up=give_up)
    assert outcome.stopped and len(outcome.missing) == 0
    assert outcome.updates == 40
    assert len(deferred(outcome)) == 60
    assert deferred(ground.sweep([(number, NOW, 1.0) for number in sorted(deferred(outcome))])) == set()


# ---- settings


def test_a_locked_file_is_written_when_the_lock_is_gone(directory: str) -> None:
    ground = Ground(directory, ["m"], lock=True)
    ground.sweep([(0, NOW - 1, 1.0)])
    with open(ground.path(0), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.append(ground.sweep([(0, NOW, 2.0)])))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and ground.read(0) == {NOW - 1: 1.0}
        fcntl.flock(file, fcntl.LOCK_UN)
        thread.join(10)
    assert [outcome.written for outcome in outcomes] == [1]
    assert ground.read(0) == {NOW - 1: 1.0, NOW: 2.0}


@pytest.mark.parametrize(
    "settings_of_files",
    [{"sparse": False}, {"fallocate": True}, {"autoflush": True}, {"lock": True}, {"advise_random": True}],
)
def test_every_way_of_making_files_gives_the_same_bytes(directory: str, settings_of_files: dict[str, bool]) -> None:
    plain = Ground(f"{directory}/plain", ["a.m"])
    other = Ground(f"{directory}/other", ["a.m"], **settings_of_files)
    for time in (NOW - 7, NOW - 3, NOW):
        for ground in (plain, other):
            assert ground.sweep([(0, time, 1.5), (0, time - 1, 0.5)]).written == 2
    assert Path(plain.path(0)).read_bytes() == Path(other.path(0)).read_bytes()
    blocks = os.stat(other.path(0)).st_blocks * 512
    assert blocks >= 1480 or not settings_of_files.get("fallocate")


def test_names_with_tags_have_their_files_where_graphite_looks_for_them(directory: str) -> None:
    ground = Ground(directory, ["cpu;host=a", "cpu;host=b"])
    ground.sweep([(0, NOW, 1.0), (1, NOW, 2.0)])
    assert ground.read(0) == {NOW: 1.0} and ground.read(1) == {NOW: 2.0}
    assert Path(directory, "_tagged").is_dir()


# ---- no descriptor is left open


def test_failures_leave_no_descriptor_open(directory: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with SmallDisk(directory) as disk:
        names = [*numbers(20), "dir", "damaged", "file.below"]
        ground = Ground(disk.place, names)
        os.mkdir(f"{disk.place}/dir.wsp")
        Path(disk.place, "damaged.wsp").write_bytes(b"x")
        Path(disk.place, "file").write_bytes(b"x")
        points = [(number, NOW, 1.0) for number in range(len(names))]
        for creates in (2, float("inf")):
            ground.sweep(points, creates=creates)
        disk.fill()
        ground.sweep([(number, NOW - age, 1.0) for number in range(len(names)) for age in range(50)])
        disk.relieve()
        ground.sweep(points)
    assert len(os.listdir("/proc/self/fd")) == before


def test_too_old_and_too_far_points_are_dropped_by_reason_and_their_neighbours_written(directory: str) -> None:
    ground = Ground(directory, ["m"])
    points = [(0, NOW - 10_000, 1.0), (0, 0, 1.0), (0, NOW - 30, 2.0), (0, NOW, 3.0)]
    outcome = ground.sweep(points)
    assert outcome.dropped == {"too_old": 2}
    assert ground.read(0) == {NOW - 30: 2.0, NOW: 3.0}


def test_two_values_of_one_moment_in_two_runs_are_counted_as_one_written_and_one_replaced(directory: str) -> None:
    ground = Ground(directory, ["m"])
    outcome = ground.sweeper.sweep([columns([(0, NOW, 1.0)]), columns([(0, NOW, 2.0)])])
    assert (outcome.written, outcome.replaced) == (1, 1)
    assert ground.read(0) == {NOW: 2.0}
