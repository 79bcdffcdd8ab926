"""The spool: against a plain list, cut off and damaged anywhere, on a full disk, at its limits, and killed."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.disks import files_of_at_most
from support.waiting import until

from carbonpy.errors import SpoolError
from carbonpy.relaying.segment import HEAD_SIZE, pack_record
from carbonpy.relaying.spool import Record, Spool

SHM = "/dev/shm" if os.path.isdir("/dev/shm") else None
REPOSITORY = Path(__file__).resolve().parents[2]
thorough = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


class Kept:
    """A spool with what it said."""

    def __init__(self, directory: str, **options: Any) -> None:
        self.dropped: Counter[str] = Counter()
        self.troubles: list[str] = []
        given = {"max_bytes": float("inf"), "max_age": float("inf"), "clock": lambda: 0.0, **options}
        self.spool = Spool(directory, on_dropped=self._drop, on_trouble=self.troubles.append, **given)

    def _drop(self, reason: str, points: int) -> None:
        assert points > 0
        self.dropped[reason] += points

    def rest(self) -> list[Record]:
        """Everything that `read` gives."""
        return list(iter(self.spool.read, None))


@pytest.fixture
def directory() -> Iterator[str]:
    path = tempfile.mkdtemp(dir=SHM)
    yield path
    shutil.rmtree(path)


@contextmanager
def copy_of(directory: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=SHM) as parent:
        yield shutil.copytree(directory, f"{parent}/spool")


def text_of(number: int, length: int = 1) -> bytes:
    return b"".join(b"servers.web%d.load %d.5 17000%d\n" % (number, line, number) for line in range(length))


def filled(directory: str, lengths: list[int], **options: Any) -> list[Record]:
    """Make a spool with these records and close it."""
    kept = Kept(directory, **options)
    records = []
    for index, length in enumerate(lengths):
        number = kept.spool.append(text_of(index, length), length, 100.0 + index)
        records.append(Record(number, text_of(index, length), length, 100.0 + index))
    kept.spool.close()
    return records


def segments(directory: str) -> list[str]:
    return sorted((name for name in os.listdir(directory) if name.endswith(".cps")), key=lambda name: int(name[6:-4]))


class AgainstAList(RuleBasedStateMachine):
    """The spool is a list of records, each waiting, away or done.  `born` only grows, as clocks mostly do."""

    def __init__(self) -> None:
        super().__init__()
        self.parent = tempfile.mkdtemp(dir=SHM)
        self.lives = 0
        self.directory = f"{self.parent}/0"
        self.now = 1000.0
        self.records: dict[int, tuple[bytes, int, float]] = {}
        self.away: set[int] = set()
        #: Dropped while they were away: number -> points.
        self.gone: dict[int, int] = {}
        self.last = 0
        self.expected_drops = 0
        self.kept = self.open()

    def open(self) -> Kept:
        return Kept(self.directory, max_age=100.0, segment_bytes=300, clock=lambda: self.now)

    def teardown(self) -> None:
        self.kept.spool.close()
        shutil.rmtree(self.parent)

    def added(self, number: int, text: bytes, points: int) -> None:
        assert number > self.last
        self.last = number
        self.records[number] = (text, points, self.now)

    texts = st.integers(0, 40).map(lambda length: text_of(length, length))

    @rule(text=texts, points=st.integers(1, 9), later=st.sampled_from([0.0, 0.0, 1.0, 30.0]))
    def append(self, text: bytes, points: int, later: float) -> None:
        self.now += later
        self.added(self.kept.spool.append(text, points, self.now), text, points)

    @rule(text=texts, points=st.integers(1, 9))
    def append_read(self, text: bytes, points: int) -> None:
        number = self.kept.spool.append_read(text, points, self.now)
        self.added(number, text, points)
        self.away.add(number)

    @rule()
    def read(self) -> None:
        expected = next((number for number in self.records if number not in self.away), None)
        record = self.kept.spool.read()
        if expected is None:
            assert record is None
        else:
            assert record == Record(expected, *self.records[expected])
            self.away.add(expected)

    @precondition(lambda self: self.away or self.gone)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted([*self.away, *self.gone])))
        for _ in range(2):  # the second time it does nothing
            self.kept.spool.done(number)
        if self.gone.pop(number, None) is None:
            self.away.remove(number)
            del self.records[number]

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def done_without_being_read(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(list(self.records)))
        self.kept.spool.done(number)
        self.away.discard(number)
        del self.records[number]

    @precondition(lambda self: self.away or self.gone)
    @rule(data=st.data())
    def unread(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted([*self.away, *self.gone])))
        for _ in range(2):
            self.kept.spool.unread(number)
        self.away.discard(number)
        self.expected_drops += self.gone.pop(number, 0)

    @rule()
    def unread_all(self) -> None:
        self.kept.spool.unread_all()
        self.away.clear()
        self.expected_drops += sum(self.gone.values())
        self.gone.clear()

    @rule(later=st.sampled_from([0.0, 10.0, 60.0]))
    def expire(self, later: float) -> None:
        self.now += later
        self.kept.spool.expire(self.now)
        for number, (_, points, born) in list(self.records.items()):
            if born < self.now - 100.0:
                if number in self.away:
                    self.away.remove(number)
                    self.gone[number] = points
                else:
                    self.expected_drops += points
                del self.records[number]

    @rule()
    def close_and_open(self) -> None:
        self.kept.spool.close()
        self.expected_drops += sum(self.gone.values())
        self.gone.clear()
        assert self.kept.dropped["spool_expired"] == self.expected_drops
        self.away.clear()
        self.expected_drops = 0
        self.kept = self.open()

    @rule()
    def be_killed_and_open(self) -> None:
        """What is in the files at this moment is what another process finds."""
        killed = self.kept
        self.lives += 1
        before, self.directory = self.directory, f"{self.parent}/{self.lives}"
        shutil.copytree(before, self.directory)
        killed.spool.close()
        self.away.clear()
        self.gone.clear()
        self.expected_drops = 0
        self.kept = self.open()

    @rule()
    def sync(self) -> None:
        self.kept.spool.sync()

    @invariant()
    def the_sums_are_those_of_the_list(self) -> None:
        spool = self.kept.spool
        waiting = sum(points for number, (_, points, _) in self.records.items() if number not in self.away)
        assert spool.waiting == waiting
        assert spool.points == sum(points for _, points, _ in self.records.values()) + sum(self.gone.values())
        assert spool.oldest == next((born for _, _, born in self.records.values()), None)
        assert spool.bytes == sum(os.path.getsize(f"{self.directory}/{name}") for name in os.listdir(self.directory))
        assert self.kept.dropped == Counter(spool_expired=self.expected_drops) - Counter()
        assert self.kept.troubles == []
        assert spool.damaged.value == 0


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@thorough
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6), segment_bytes=st.sampled_from([1, 150, 1 << 20]))
def test_a_spool_cut_off_at_any_byte_replays_a_prefix(lengths: list[int], segment_bytes: int) -> None:
    with tempfile.TemporaryDirectory(dir=SHM) as directory:
        records = filled(directory, lengths, segment_bytes=segment_bytes)
        name = segments(directory)[-1]
        before = [record for record in records if record.number < int(name[6:-4])]
        inside = records[len(before) :]
        for size in range(os.path.getsize(f"{directory}/{name}") + 1):
            with copy_of(directory) as copy:
                os.truncate(f"{copy}/{name}", size)
                kept = Kept(copy)
                found = kept.rest()
                kept.spool.close()
                assert found == before + inside[: len(found) - len(before)]
                assert (kept.spool.damaged.value, kept.troubles, kept.dropped) == (0, [], Counter())
        assert found == records


@thorough
@given(
    lengths=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    flip=st.integers(1, 255),
    segment_bytes=st.sampled_from([1, 1 << 20]),
)
def test_a_flipped_byte_costs_its_record_only_and_is_counted(lengths: list[int], flip: int, segment_bytes: int) -> None:
    with tempfile.TemporaryDirectory(dir=SHM) as directory:
        records = filled(directory, lengths, segment_bytes=segment_bytes)
        name = segments(directory)[0]
        for place in range(os.path.getsize(f"{directory}/{name}")):
            with copy_of(directory) as copy:
                with open(f"{copy}/{name}", "r+b") as file:
                    file.seek(place)
                    byte = file.read(1)[0]
                    file.seek(place)
                    file.write(bytes([byte ^ flip]))
                kept = Kept(copy)
                number = kept.spool.append(b"new 1 1\n", 1, 500.0)
                *found, new = kept.rest()
                kept.spool.close()
                assert new == Record(number, b"new 1 1\n", 1, 500.0)
                assert number > records[-1].number
                missing = [record for record in records if record not in found]
                assert [record for record in records if record not in missing] == found
                assert len(missing) <= 1
                assert kept.spool.damaged.value == 1
                assert len(kept.troubles) >= 1
                assert kept.dropped.total() in (0, sum(record.points for record in missing))


@thorough
@given(
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=6),
    garbage=st.binary(min_size=1, max_size=200),
    data=st.data(),
)
def test_garbage_in_the_middle_costs_only_what_it_covers(
    lengths: list[int], garbage: bytes, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory(dir=SHM) as directory:
        records = filled(directory, lengths)
        path = f"{directory}/{segments(directory)[0]}"
        whole = Path(path).read_bytes()
        start = data.draw(st.integers(0, len(whole)))
        Path(path).write_bytes(whole[:start] + garbage + whole[start:])
        kept = Kept(directory)
        found = kept.rest()
        kept.spool.close()
        assert [record for record in records if record in found] == found
        assert len(found) >= len(records) - 1


@pytest.mark.parametrize("aside", range(-4, 3))
def test_the_record_behind_a_damaged_one_is_found_across_the_pieces_in_which_it_is_looked_for(
    directory: str, aside: int
) -> None:
    kept = Kept(directory)
    # The next head begins `aside` bytes beside the end of the first piece of a megabyte.
    noise = os.urandom(1 << 20)
    size = (1 << 20) + 1 + aside
    texts = (noise[: size - HEAD_SIZE - less] for less in range(4000, 4500))
    kept.spool.append(next(text for text in texts if len(pack_record(Record(1, text, 1, 1.0))) == size), 1, 1.0)
    kept.spool.append(b"a 1 1\n", 1, 1.0)
    kept.spool.close()
    with open(f"{directory}/{segments(directory)[0]}", "r+b") as file:
        file.seek(6)
        file.write(b"damage")
        file.seek(4 + size)
        assert file.read(4) == struct.pack("<I", 0xFFFEFFFD)
    again = Kept(directory)
    assert [record.text for record in again.rest()] == [b"a 1 1\n"]
    assert again.spool.damaged.value == 1
    again.spool.close()


def test_records_that_stand_where_others_were_are_not_given_out(directory: str) -> None:
    """Another segment in the place of one; and one that was renamed to bear a number, and not emptied any more."""
    kept = Kept(directory, segment_bytes=1)
    first, second = (kept.spool.append(text_of(1, 4), 4, 1.0) for _ in range(2))
    shutil.copy(f"{directory}/spool-{second}.cps", f"{directory}/spool-{first}.cps")
    assert [record.number for record in kept.rest()] == [second]
    assert kept.dropped == {"spool_damaged": 4}
    kept.spool.close()
    assert segments(directory) == [f"spool-{second}.cps"]
    os.rename(f"{directory}/spool-{second}.cps", f"{directory}/spool-{second + 1}.cps")
    again = Kept(directory)
    assert (again.rest(), again.spool.damaged.value, again.spool.points) == ([], 0, 0)
    assert again.spool.append(b"a 1 1\n", 1, 1.0) > second + 1
    again.spool.close()


def test_a_file_that_is_no_segment_any_more_is_kept_for_a_person(directory: str) -> None:
    (record,) = filled(directory, [3])
    path = f"{directory}/spool-{record.number}.cps"
    Path(path).write_bytes(b"something else entirely, and longer than a head")
    kept = Kept(directory)
    assert kept.rest() == []
    assert kept.spool.damaged.value > 0
    assert any(".damaged" in sentence for sentence in kept.troubles)
    assert os.path.exists(path + ".damaged")
    assert kept.spool.append(b"a 1 1\n", 1, 1.0) > record.number
    kept.spool.close()


def test_a_segment_that_somebody_removed_is_counted_as_damaged(directory: str) -> None:
    kept = Kept(directory, segment_bytes=1)
    for number in range(3):
        kept.spool.append(text_of(number, 5), 5, 1.0)
    os.unlink(f"{directory}/{segments(directory)[1]}")
    assert [record.points for record in kept.rest()] == [5, 5]
    assert kept.dropped == {"spool_damaged": 5}
    assert (kept.spool.points, kept.spool.waiting) == (10, 0)
    kept.spool.close()


def test_a_spool_without_a_record_has_no_file(directory: str) -> None:
    kept = Kept(f"{directory}/new/spool")
    kept.spool.expire(1.0)
    kept.spool.sync()
    assert (kept.spool.read(), kept.spool.oldest, kept.spool.points, kept.spool.bytes) == (None, None, 0, 0)
    kept.spool.close()
    kept.spool.close()
    assert os.listdir(f"{directory}/new/spool") == []


def test_a_drained_spool_gives_its_room_back_and_keeps_counting(directory: str) -> None:
    kept = Kept(directory)
    last = [kept.spool.append(text_of(number, 100), 100, 1.0) for number in range(9)][-1]
    for record in kept.rest():
        kept.spool.done(record.number)
    kept.spool.expire(2.0)  # it was used a moment ago
    kept.spool.expire(3.0)
    assert kept.spool.bytes < 10
    assert len(segments(directory)) == 1
    kept.spool.close()
    for _ in range(3):
        kept = Kept(directory)
        number = kept.spool.append(b"a 1 1\n", 1, 1.0)
        assert number > last
        last = number
        kept.spool.done(number)
        kept.spool.expire(1.0)
        kept.spool.expire(1.0)
        kept.spool.close()


def test_finished_segments_go_whatever_the_order(directory: str) -> None:
    kept = Kept(directory, segment_bytes=1)
    numbers = [kept.spool.append(text_of(number, 5), 5, 1.0) for number in range(5)]
    for number in (numbers[2], numbers[0], numbers[3]):
        kept.spool.done(number)
    assert segments(directory) == [f"spool-{numbers[1]}.cps", f"spool-{numbers[4]}.cps"]
    assert [record.number for record in kept.rest()] == [numbers[1], numbers[4]]
    kept.spool.close()


# ---- limits


@thorough
@given(
    steps=st.lists(st.tuples(st.integers(1, 50), st.booleans(), st.integers(0, 2)), min_size=1, max_size=60),
    max_bytes=st.sampled_from([1, 300, 1000, 5000]),
)
def test_more_than_max_bytes_goes_oldest_first_and_is_counted(
    steps: list[tuple[int, bool, int]], max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory(dir=SHM) as directory:
        kept = Kept(directory, max_bytes=max_bytes)
        left: list[Record] = []
        total = delivered = 0
        for index, (points, away, reads) in enumerate(steps):
            text = text_of(index, points)
            append = kept.spool.append_read if away else kept.spool.append
            left.append(Record(append(text, points, 1.0), text, points, 1.0))
            total += points
            files = sum(os.path.getsize(f"{directory}/{name}") for name in os.listdir(directory))
            assert kept.spool.bytes == files
            assert files <= max_bytes or files == 4
            for _ in range(reads):
                record = kept.spool.read()
                if record is not None and reads == 2:
                    kept.spool.done(record.number)
                    left.remove(record)
                    delivered += record.points
        kept.spool.unread_all()
        rest = kept.rest()
        assert rest == left[len(left) - len(rest) :]
        assert kept.dropped.keys() <= {"spool_full"}
        assert total == delivered + sum(record.points for record in rest) + kept.dropped["spool_full"]
        kept.spool.close()


def test_a_limit_that_became_smaller_holds_from_the_next_expire(directory: str) -> None:
    records = filled(directory, [40] * 20, segment_bytes=500)
    kept = Kept(directory, max_bytes=2000)
    kept.spool.expire(0.0)
    assert kept.spool.bytes <= 2000
    rest = kept.rest()
    assert rest == records[-len(rest) :]
    assert kept.dropped == {"spool_full": 40 * (20 - len(rest))}
    kept.spool.close()


def test_what_is_dropped_on_its_way_counts_only_if_it_would_be_sent_again(directory: str) -> None:
    kept = Kept(directory, max_age=10.0)
    first = kept.spool.append_read(text_of(1, 3), 3, 0.0)
    second = kept.spool.append_read(text_of(2, 4), 4, 0.0)
    third = kept.spool.append_read(text_of(2, 5), 5, 0.0)
    kept.spool.expire(11.0)
    assert kept.dropped == {}
    assert (kept.spool.points, kept.spool.waiting) == (12, 0)
    kept.spool.done(first)
    assert (kept.spool.points, kept.dropped) == (9, {})
    kept.spool.unread(second)
    assert kept.dropped == {"spool_expired": 4}
    assert kept.spool.points == 5
    assert kept.spool.read() is None
    assert third not in (first, second)
    kept.spool.close()
    assert kept.dropped == {"spool_expired": 9}


# ---- the disk


@pytest.mark.parametrize("room", [0, 1, 3, 4, 5, 20, 43, 44, 45, 60, 100, 200])
@pytest.mark.parametrize("begun", [True, False])
def test_on_a_full_disk_append_raises_and_leaves_nothing_half_written(directory: str, room: int, begun: bool) -> None:
    kept = Kept(directory)
    expected = []
    if begun:
        expected.append(kept.spool.append(text_of(1, 3), 3, 1.0))
    size = kept.spool.bytes
    refused = 0
    with files_of_at_most(size + room):
        for _ in range(5):
            try:
                expected.append(kept.spool.append(os.urandom(30) + b"\n", 2, 1.0))
            except OSError:
                refused += 1
    assert refused > 0
    expected.append(kept.spool.append(text_of(9, 9), 9, 1.0))
    assert kept.spool.points == sum(record.points for record in kept.rest())
    with copy_of(directory) as copy:
        again = Kept(copy)
        assert [record.number for record in again.rest()] == expected
        assert again.spool.damaged.value == 0
        again.spool.close()
    kept.spool.close()


def test_what_is_delivered_is_noted_on_a_full_disk_too(directory: str) -> None:
    kept = Kept(directory)
    first = kept.spool.append(text_of(1, 3), 3, 1.0)
    second = kept.spool.append(text_of(2, 3), 3, 1.0)
    with files_of_at_most(kept.spool.bytes):
        kept.spool.done(first)
        kept.spool.close()
        again = Kept(directory)
        assert [record.number for record in again.rest()] == [second]
        again.spool.done(second)
        again.spool.expire(1.0)
        again.spool.expire(1.0)
        assert again.spool.bytes == 4
        again.spool.close()
    assert kept.troubles == again.troubles == []


def test_what_has_to_be_forced_to_the_disk_is_known_and_forced_by_any_thread(directory: str) -> None:
    kept = Kept(directory, segment_bytes=1)
    assert not kept.spool.unsynced
    for number in range(3):
        kept.spool.append(text_of(number), 1, 1.0)
    kept.spool.done(1)
    assert kept.spool.unsynced
    thread = threading.Thread(target=kept.spool.sync)
    thread.start()
    thread.join(20)
    assert not kept.spool.unsynced
    kept.spool.append(text_of(4), 1, 1.0)
    shutil.move(directory, directory + ".away")
    with pytest.raises(FileNotFoundError):
        kept.spool.sync()
    assert kept.spool.unsynced
    shutil.move(directory + ".away", directory)
    kept.spool.sync()
    assert not kept.spool.unsynced
    kept.spool.close()


def test_a_second_process_is_kept_out_until_the_first_has_ended(directory: str) -> None:
    script = (
        "import sys; from carbonpy.relaying.spool import Spool\n"
        f"spool = Spool({directory!r}, max_bytes=1e9, max_age=1e9, clock=lambda: 0.0)\n"
        "spool.append(b'a 1 1\\n', 1, 1.0); print('ready', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    with pytest.raises(SpoolError, match="another process uses this spool"):
        Kept(directory)
    child.kill()
    child.communicate()
    kept = Kept(directory)
    assert [record.text for record in kept.rest()] == [b"a 1 1\n"]
    with pytest.raises(SpoolError, match="another process"):
        Kept(directory)
    kept.spool.close()
    Kept(directory).spool.close()


def test_a_directory_that_cannot_be_one_is_named(directory: str) -> None:
    Path(f"{directory}/file").write_text("")
    with pytest.raises(SpoolError, match=f"{directory}/file"):
        Kept(f"{directory}/file")


WRITER = """
import sys
from carbonpy.relaying.spool import Spool
spool = Spool(sys.argv[1], max_bytes=1e12, max_age=1e12, clock=lambda: 0.0, segment_bytes=20000)
while True:
    text = b"".join(b"a.b.c %d 1\\n" % line for line in range(100))
    number = spool.append(text, 100, 1.0)
    print("+", number, flush=True)
    if number % 3 == 0:
        record = spool.read()
        spool.done(record.number)
        print("-", record.number, flush=True)
"""


def let_it_write(directory: str, said: Path, size: int) -> None:
    """Kill a writer when it has said that much."""
    with said.open("wb") as output:
        child = subprocess.Popen([sys.executable, "-c", WRITER, directory], cwd=REPOSITORY, stdout=output)
    until("the writer has written a little", lambda: said.stat().st_size > size, interval=0.001)
    child.kill()
    child.wait()


def test_killed_while_it_writes_it_has_everything_that_it_took_and_nothing_that_was_delivered(
    directory: str, tmp_path: Path
) -> None:
    left: set[int] = set()
    for life in range(5):
        said = tmp_path / f"said-{life}"
        let_it_write(directory, said, 1000 * (life + 1))
        lines = [line.split() for line in said.read_text().splitlines(keepends=True) if line.endswith("\n")]
        left |= {int(number) for sign, number in lines if sign == "+"}
        left -= {int(number) for sign, number in lines if sign == "-"}
        kept = Kept(directory)
        found = {record.number for record in kept.rest()}
        assert kept.spool.damaged.value == 0
        kept.spool.close()
        # The kill may have come between a deed and its line: one append and one delivery.
        assert len(found - left) <= 1
        assert len(left - found) <= 1
        left = found
