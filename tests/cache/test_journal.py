"""The journal: cut off anywhere, damaged anywhere, on a full disk; and what it leaves on the disk and open."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.disks import files_of_at_most

from carbonpy.cache.journal import Journal, Segment
from carbonpy.cache.records import read_records
from carbonpy.columns import Columns, concatenate
from carbonpy.errors import JournalError

FIRST = 16
Point = tuple[str, int, float]


class Names:
    """A growing list of names, as the name table gives it to the journal."""

    def __init__(self) -> None:
        self.names: list[bytes] = []

    def intern(self, name: bytes) -> int:
        if name not in self.names:
            self.names.append(name)
        return FIRST + self.names.index(name)

    def new_names(self, first: int) -> tuple[int, list[bytes]]:
        first = max(first, FIRST)
        return first, self.names[first - FIRST :]

    def columns(self, points: list[Point]) -> Columns:
        return (
            np.array([self.intern(name.encode()) for name, _, _ in points], np.uint32),
            np.array([time for _, time, _ in points], np.uint32),
            np.array([value for _, _, value in points], np.float64),
        )

    def points(self, columns: Columns) -> list[Point]:
        ids, times, values = (column.tolist() for column in columns)
        return [
            (self.names[identity - FIRST].decode(), time, value) for identity, time, value in zip(ids, times, values)
        ]


@pytest.fixture
def directory() -> Iterator[str]:
    path = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    yield path
    shutil.rmtree(path)


def write(directory: str, segments: list[list[list[Point]]], **options: object) -> Journal:
    """A journal with these segments of batches, not closed."""
    journal = Journal(directory, **options)  # type: ignore[arg-type]
    names = Names()
    for batches in segments:
        for batch in batches:
            assert journal.append(names.columns(batch), names.new_names)
        journal.rotate()
    return journal


def replayed(directory: str) -> tuple[Journal, list[list[list[Point]]]]:
    """What another life reads: segments of batches."""
    journal = Journal(directory)
    names = Names()
    names.intern(b"another.life.has.other.ids")
    found = []
    for segment in journal.leftovers():
        batches = [names.points(columns) for _, columns in journal.replay(segment, names.intern)]
        assert sum(map(len, batches)) <= segment.points
        found.append(batches)
    return journal, found


def is_prefix(found: list[list[list[Point]]], segments: list[list[list[Point]]], of: int) -> bool:
    """Whether `found` is `segments` but for batches missing at the end of segment `of`."""
    return (
        found[:of] == segments[:of]
        and found[of + 1 :] == segments[of + 1 :]
        and (found[of] == segments[of][: len(found[of])])
    )


points = st.tuples(
    st.sampled_from(["a", "a.b", "c;d=e", "sch\u00f6n", "x" * 200]),
    st.integers(0, 2**32 - 1),
    st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False)),
)
histories = st.lists(
    st.lists(st.lists(points, min_size=1, max_size=10), min_size=1, max_size=4), min_size=1, max_size=3
)
thorough = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@contextmanager
def copy_of(directory: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as parent:
        yield shutil.copytree(directory, f"{parent}/journal")


def files(directory: str, kind: str) -> list[str]:
    """Journal files of a kind, in the order of their numbers."""
    found = [name for name in os.listdir(directory) if name.startswith(kind)]
    return sorted(found, key=lambda name: [int(part) for part in name[:-4].split("-")[1:]])


@thorough
@given(history=histories, data=st.data())
def test_a_segment_cut_off_at_any_byte_replays_a_prefix(history: list[list[list[Point]]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write(directory, history).close()
        cut = data.draw(st.integers(0, len(history) - 1))
        name = files(directory, "points")[cut]
        size = os.path.getsize(f"{directory}/{name}")
        for length in range(size + 1):
            with copy_of(directory) as copy:
                os.truncate(f"{copy}/{name}", length)
                journal, found = replayed(copy)
                assert is_prefix(found, history, cut)
                assert journal.damaged.value == 0
                if length == size:
                    assert found == history


@thorough
@given(history=histories)
def test_a_names_file_cut_off_at_any_byte_costs_only_the_points_of_lost_names(history: list[list[list[Point]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write(directory, history).close()
        (name,) = files(directory, "names")
        sent = [point for batches in history for batch in batches for point in batch]
        previous: list[Point] = []
        for length in range(os.path.getsize(f"{directory}/{name}") + 1):
            with copy_of(directory) as copy:
                os.truncate(f"{copy}/{name}", length)
                journal, found = replayed(copy)
                read = [point for batches in found for batch in batches for point in batch]
                known = {point[0] for point in read}
                assert read == [point for point in sent if point[0] in known]
                assert len(read) + journal.damaged.value == len(sent)
                assert len(read) >= len(previous)
                previous = read
        assert previous == sent


@settings(thorough, max_examples=8)
@given(history=histories, data=st.data())
def test_a_flipped_byte_costs_at_most_its_record(history: list[list[list[Point]]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write(directory, history).close()
        hit = data.draw(st.integers(0, len(history) - 1))
        name = files(directory, "points")[hit]
        with open(f"{directory}/{name}", "rb") as file:
            whole = file.read()
        mask = data.draw(st.integers(1, 255))
        for at in range(len(whole)):
            with copy_of(directory) as copy:
                with open(f"{copy}/{name}", "r+b") as file:
                    file.seek(at)
                    file.write(bytes([whole[at] ^ mask]))
                _, damaged, torn = read_records(Path(copy, name).read_bytes())
                assert damaged == 1 or torn
                journal, found = replayed(copy)
                assert found[:hit] == history[:hit] and found[hit + 1 :] == history[hit + 1 :]
                lost = [n for n in range(len(history[hit])) if found[hit] == history[hit][:n] + history[hit][n + 1 :]]
                assert lost or found[hit] == history[hit]
                assert journal.damaged.value == damaged


@thorough
@given(garbage=st.binary(max_size=400), kind=st.sampled_from(["names-3.cpj", "points-3-1000.cpj"]))
def test_garbage_in_place_of_a_file_is_never_fatal(garbage: bytes, kind: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write(directory, [[[("a", 1, 1.0)]]]).close()
        Path(directory, kind).write_bytes(garbage)
        journal, found = replayed(directory)
        assert found[0] == [[("a", 1, 1.0)]]
        assert journal.append(
            (np.array([FIRST], np.uint32), np.array([1], np.uint32), np.array([1.0])), Names().new_names
        )


@thorough
@given(history=histories)
def test_replaying_twice_gives_the_same_points_twice(history: list[list[list[Point]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write(directory, history).close()
        assert replayed(directory)[1] == history
        assert replayed(directory)[1] == history


def test_a_segment_that_cannot_be_read_at_all_is_kept_for_a_person(directory: str) -> None:
    write(directory, [[[("a", 1, 1.0)]], [[("a", 2, 2.0)]]]).close()
    Path(directory, "points-1-1000.cpj").write_bytes(b"Something else entirely.")
    sentences: list[str] = []
    journal = Journal(directory, on_trouble=sentences.append)
    found = [list(journal.replay(segment, Names().intern)) for segment in journal.leftovers()]
    assert [len(batches) for batches in found] == [0, 1]
    assert Path(directory, "points-1-1000.cpj.damaged").read_bytes() == b"Something else entirely."
    assert len(sentences) == 1 and "points-1-1000.cpj.damaged" in sentences[0]
    assert journal.damaged.value == 1
    assert journal.segments == 1


def test_a_directory_in_the_place_of_a_segment_is_said_in_one_sentence(directory: str) -> None:
    os.mkdir(f"{directory}/points-1-1000.cpj")
    with pytest.raises(JournalError, match=r"points-1-1000.cpj: cannot be read"):
        Journal(directory).leftovers()


def test_a_file_in_the_place_of_the_directory_is_said_in_one_sentence(directory: str) -> None:
    Path(directory, "journal").write_bytes(b"")
    with pytest.raises(JournalError, match="JOURNAL_DIR"):
        Journal(f"{directory}/journal")


def test_foreign_files_in_the_directory_are_left_alone(directory: str) -> None:
    for name in ("lock", "points-1.cpj", "names-1.cpj~", "points-1-1.cpj.damaged", "notes.txt"):
        Path(directory, name).write_bytes(b"mine")
    journal, found = replayed(directory)
    assert found == []
    journal.forget_leftover_names()
    journal.close()
    assert len(os.listdir(directory)) == 5


def test_names_are_on_the_disk_before_the_batches_that_use_them(directory: str) -> None:
    names = Names()
    journal = Journal(directory)
    for number in range(20):
        assert journal.append(names.columns([(f"metric{number}", 1, float(number))]), names.new_names)
        # A kill -9 now: what the kernel has been given is there.
        with copy_of(directory) as copy:
            _, ((*batches,),) = replayed(copy)
            assert batches[-1] == [(f"metric{number}", 1, float(number))]
    assert names.new_names(FIRST + 20) == (FIRST + 20, [])


def test_names_are_written_anew_when_their_file_was_removed(directory: str) -> None:
    names = Names()
    journal = Journal(directory)
    assert journal.append(names.columns([("a", 1, 1.0), ("b", 1, 1.0)]), names.new_names)
    journal.rotate()
    for entry in os.listdir(directory):
        os.unlink(os.path.join(directory, entry))
    assert journal.append(names.columns([("b", 2, 2.0)]), names.new_names)
    journal.sync()
    assert replayed(directory)[1] == [[[("b", 2, 2.0)]]]


def test_trouble_is_told_until_a_batch_is_written(directory: str) -> None:
    names, heard = Names(), []
    place = f"{directory}/journal"
    journal = Journal(place, on_trouble=heard.append)
    shutil.rmtree(place)
    assert not journal.append(names.columns([("a", 1, 1.0)]), names.new_names)
    assert place in journal.trouble and heard == [journal.trouble]
    os.mkdir(place)
    assert journal.append(names.columns([("a", 1, 1.0)]), names.new_names)
    assert journal.trouble == ""
    assert journal.unjournaled.value == 1


def test_a_name_is_interned_only_if_a_point_needs_it(directory: str) -> None:
    journal = write(directory, [[[("gone", 1, 1.0)]], [[("here", 1, 1.0)]]])
    journal.forget({1000})
    journal.close()
    journal, names = Journal(directory), Names()
    for segment in journal.leftovers():
        assert [names.points(columns) for _, columns in journal.replay(segment, names.intern)] == [[("here", 1, 1.0)]]
    assert names.names == [b"here"]


# ---- what is left on the disk


def test_names_of_an_earlier_life_go_with_its_last_segment(directory: str) -> None:
    write(directory, [[[("a", 1, 1.0)]], [[("b", 1, 1.0)]]]).close()
    journal, _ = replayed(directory)
    names = Names()
    assert journal.append(names.columns([("c", 1, 1.0)]), names.new_names)
    assert sorted(os.listdir(directory)) == [
        "names-1.cpj",
        "names-2.cpj",
        "points-1-1000.cpj",
        "points-1-2000.cpj",
        "points-2-3000.cpj",
    ]
    assert journal.segments == 3
    journal.forget({2000})
    assert files(directory, "names") == ["names-1.cpj", "names-2.cpj"]
    journal.forget({1000})
    assert sorted(os.listdir(directory)) == ["names-2.cpj", "points-2-3000.cpj"]
    journal.forget({3000})
    journal.close()
    assert os.listdir(directory) == []


def test_names_stay_while_a_segment_of_theirs_was_not_replayed_yet(directory: str) -> None:
    write(directory, [[[("a", 1, 1.0)]], [[("b", 1, 1.0)]]]).close()
    journal, names = Journal(directory), Names()
    first, _ = journal.leftovers()
    for number, _ in journal.replay(first, names.intern):
        journal.forget({number})
    # The daemon is killed here, with one segment still to be replayed.
    assert sorted(os.listdir(directory)) == ["names-1.cpj", "points-1-2000.cpj"]
    assert replayed(directory)[1] == [[[("b", 1, 1.0)]]]


def test_a_segment_that_a_crash_left_empty_goes_at_the_next_start(directory: str) -> None:
    for size in range(5):
        Path(directory, f"points-1-{size + 1}000.cpj").write_bytes(b"CPJ1"[:size])
    Path(directory, "names-1.cpj").write_bytes(b"CPJ1")
    journal, found = replayed(directory)
    assert found == [[]] * 5
    assert journal.segments == 0
    assert os.listdir(directory) == []
    assert journal.damaged.value == 0


def test_lives_do_not_mix_their_names_or_numbers(directory: str) -> None:
    sent = []
    for life in range(4):
        history = [[[(f"life{life}.m{number}", life, float(number))] for number in range(3)]]
        sent += history
        write(directory, history).close()
        if life == 1:
            journal, _ = replayed(directory)
            journal.close()
    assert replayed(directory)[1] == sent


def test_rewritten_points_are_replayed_before_everything_newer(directory: str) -> None:
    names = Names()
    journal = write(directory, [[[("a", 1, 1.0)]], [[("a", 1, 2.0)]], [[("a", 1, 3.0)]]])
    names.intern(b"a")
    assert journal.rewrite(names.columns([("a", 1, 1.5)]), names.new_names, 1000) == 1001
    assert journal.rewrite(names.columns([("a", 1, 1.7)]), names.new_names, 1001) == 1002
    assert [batch[0][2] for (batch,) in replayed(directory)[1]] == [1.0, 1.5, 1.7, 2.0, 3.0]


def test_struck_points_are_not_replayed_and_not_announced(directory: str) -> None:
    names = Names()
    journal = write(directory, [[[("a", 1, 1.0), ("b", 1, 2.0), ("c", 1, 3.0)]]])
    for name in (b"a", b"b", b"c"):
        names.intern(name)
    number = journal.rewrite(names.columns([("a", 1, 1.0), ("b", 1, 2.0), ("c", 1, 3.0)]), names.new_names, 1000)
    journal.forget({1000})
    journal.strike(number, np.array([FIRST + 1], np.uint32))
    assert [segment.points for segment in Journal(directory).leftovers()] == [2]
    assert replayed(directory)[1] == [[[("a", 1, 1.0), ("c", 1, 3.0)]]]
    path = f"{directory}/points-1-{number}.cpj"
    for length in range(os.path.getsize(path)):
        with copy_of(directory) as copy:
            os.truncate(f"{copy}/points-1-{number}.cpj", length)
            read = [point for batches in replayed(copy)[1] for batch in batches for point in batch]
            assert {point[0] for point in read} in [set(), {"a", "b", "c"}]


# ---- a full disk


FULL = """
import resource, signal, sys
import numpy as np
from carbonpy.cache.journal import Journal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
names = [b"metric%d" % number for number in range(10)]
new_names = lambda first: (max(first, 16), names[max(first, 16) - 16 :])
troubles = []
journal = Journal(sys.argv[1], syncs=bool(int(sys.argv[3])), on_trouble=troubles.append)
random = np.random.default_rng(1)
taken = []
for number in range(60):
    size = limit if number % 3 else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    ids = np.full(20, 16 + number % 10, np.uint32)
    columns = (ids, np.full(20, number, np.uint32), random.random(20))
    if journal.append(columns, new_names):
        taken.append(number)
    if number % 10 == 9:
        journal.rotate()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert journal.unjournaled.value == 20 * (60 - len(taken)), journal.unjournaled.value
assert len(troubles) == 60 - len(taken)
assert all("make room" in sentence for sentence in troubles)
print(*taken)
"""


@pytest.mark.parametrize("limit", [0, 2, 4, 10, 100, 150, 300, 301, 307, 500, 1000])
@pytest.mark.parametrize("syncs", [True, False])
def test_a_write_that_fails_half_way_leaves_no_half_record_and_later_batches_succeed(
    directory: str, limit: int, syncs: bool
) -> None:
    """The limit on the size of files fails writes at any byte, as a disk does that fills up."""
    arguments = [sys.executable, "-c", FULL, directory, str(limit), str(int(syncs))]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    taken = [int(word) for word in run.stdout.split()]
    assert len(taken) >= 20
    journal, found = replayed(directory)
    times = [batch[0][1] for batches in found for batch in batches]
    assert times == taken
    assert all(len(batch) == 20 for batches in found for batch in batches)
    assert journal.damaged.value == 0
    for name in os.listdir(directory):
        _, damaged, torn = read_records(Path(directory, name).read_bytes())
        assert (damaged, torn) == (0, False)


@pytest.mark.parametrize("limit", [0, 3, 4, 12, 30])
def test_points_that_cannot_be_rewritten_stay_in_their_segment(directory: str, limit: int) -> None:
    names = Names()
    journal = write(directory, [[[("a", 1, 1.0)]]])
    names.intern(b"a")
    with files_of_at_most(limit):
        assert journal.rewrite(names.columns([("a", 1, 1.0)]), names.new_names, 1000) == 0
    assert files(directory, "points") == ["points-1-1000.cpj"]
    assert journal.unjournaled.value == 0
    assert journal.rewrite(names.columns([("a", 1, 1.0)]), names.new_names, 1000) == 1001


def test_a_strike_that_does_not_fit_changes_nothing(directory: str) -> None:
    names = Names()
    journal = write(directory, [[[("a", 1, 1.0)]]])
    names.intern(b"a")
    number = journal.rewrite(names.columns([("a", 1, 1.0)]), names.new_names, 1000)
    path = Path(directory, f"points-1-{number}.cpj")
    before = path.read_bytes()
    with files_of_at_most(len(before) + 5):
        journal.strike(number, np.array([FIRST], np.uint32))
    assert path.read_bytes() == before


# ---- what is left open


def open_files(directory: str) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith(directory):
            found.append(target)
    return found


def work(journal: Journal, names: Names, rounds: int, sync_every: int) -> int:
    """Rounds of append, rotate and forget; the most files that were open at the end of one."""
    most = 0
    for number in range(rounds):
        assert journal.append(names.columns([("a", number, 1.0), (f"b{number % 7}", 1, 1.0)]), names.new_names)
        if number % 3 == 2:
            held = journal.rotate()
            assert held
            if number % 4:
                journal.forget({held})
        if sync_every and number % sync_every == 0:
            journal.sync()
            most = max(most, len(open_files(journal.directory)))
        elif not sync_every:
            most = max(most, len(open_files(journal.directory)))
    return most


@pytest.mark.parametrize("sync_every", [1, 5])
def test_sync_leaves_only_the_files_open_that_are_written_to(directory: str, sync_every: int) -> None:
    journal = Journal(directory)
    assert work(journal, Names(), 60, sync_every) <= 2
    journal.close()
    assert open_files(directory) == []


def test_without_syncing_files_are_closed_when_they_are_rotated(directory: str) -> None:
    journal = Journal(directory, syncs=False)
    assert work(journal, Names(), 60, 0) <= 2
    journal.close()
    assert open_files(directory) == []


def test_a_journal_is_read_without_leaving_it_open(directory: str) -> None:
    write(directory, [[[("a", 1, 1.0)]]]).close()
    journal, _ = replayed(directory)
    assert open_files(directory) == []
    journal.close()


def test_closing_twice_and_closing_an_unused_journal_do_nothing(directory: str) -> None:
    journal = Journal(directory)
    journal.close()
    journal.close()
    assert os.listdir(directory) == []


def test_a_long_history_comes_back_whole(directory: str) -> None:
    random = np.random.default_rng(7)
    names = [b"metric%d" % number for number in range(5000)]
    journal = Journal(directory, syncs=False)
    sent: list[Columns] = []
    for number in range(50):
        count = int(random.integers(1, 5000))
        known = 100 * (number + 1)
        batch = (
            random.integers(FIRST, FIRST + known, count).astype(np.uint32),
            random.integers(0, 2**32, count).astype(np.uint32),
            random.random(count),
        )
        sent.append(batch)
        assert journal.append(
            batch, lambda first, known=known: (max(first, FIRST), names[max(first, FIRST) - FIRST : known])
        )
        if number % 7 == 6:
            journal.rotate()
    journal.close()
    again = Journal(directory)
    position = {name: FIRST + number for number, name in enumerate(names)}
    segments = again.leftovers()
    assert all(isinstance(segment, Segment) for segment in segments)
    found = [columns for segment in segments for _, columns in again.replay(segment, position.__getitem__)]
    for ours, theirs in zip(concatenate(sent), concatenate(found)):
        assert (ours == theirs).all()


def test_a_journal_says_whether_there_is_anything_to_sync(directory: str) -> None:
    journal, names = Journal(directory), Names()
    assert not journal.unsynced
    for _ in range(2):
        assert journal.append(names.columns([("a", 1, 1.0)]), names.new_names)
        assert journal.unsynced
        journal.sync()
        assert not journal.unsynced
    held = journal.rotate()
    assert journal.unsynced
    journal.forget({held})
    journal.sync()
    assert not journal.unsynced
    journal.close()
