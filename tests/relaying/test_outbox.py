"""The outbox: its ledger balances whatever happens, its order is kept, and what is old is on disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from carbonpy.relaying.chunk import Chunk
from carbonpy.relaying.outbox import Outbox
from carbonpy.relaying.spool import Spool


class Box:
    """An outbox over a real spool, with a clock that the test moves."""

    def __init__(self, directory: Path, policy: str = "spool", limit: int = 10, **options: float) -> None:
        self.now = 1000.0
        self.directory = directory
        self.policy, self.limit = policy, limit
        self.options = {"max_bytes": float("inf"), "max_age": float("inf"), **options}
        self.troubles: list[str] = []
        self.open()

    def open(self) -> None:
        self.spool = Spool(
            str(self.directory),
            clock=lambda: self.now,
            on_dropped=lambda reason, points: self.outbox.count_dropped(reason, points),
            **self.options,
        )
        self.outbox = Outbox(
            self.spool, limit=self.limit, policy=self.policy, spool_after=0.5, replay_rate=1e9,
            on_trouble=self.troubles.append, monotonic=lambda: self.now,
        )  # fmt: skip

    def put(self, *numbers: int) -> None:
        text = b"".join(b"m %d %d\n" % (number, number) for number in numbers)
        self.outbox.put(Chunk(len(numbers), self.now, text))

    def take(self) -> list[int] | None:
        flight = self.outbox.take()
        return None if flight is None else numbers_of(flight.chunk)

    def drain(self) -> list[int]:
        found = []
        while (numbers := self.take()) is not None:
            found += numbers
            self.outbox.arrived()
        return found

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.outbox.tick(self.now)


def numbers_of(chunk: Chunk) -> list[int]:
    return [int(line.split()[1]) for line in chunk.text().splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "spool"


def test_what_fits_never_touches_the_disk(place: Path) -> None:
    box = Box(place)
    box.put(1, 2, 3)
    box.later(0.4)
    assert box.drain() == [1, 2, 3]
    assert list(place.iterdir()) == [] and box.outbox.delivered.value == 3 and box.outbox.balanced


def test_what_is_not_taken_in_time_is_on_disk_and_outlives_a_kill(place: Path) -> None:
    box = Box(place)
    box.put(1, 2)
    assert box.outbox.unsecured_since == 1000.0
    box.later(0.6)
    assert (box.outbox.queued, box.outbox.spooled, box.outbox.unsecured_since) == (0, 2, None)
    box.put(3)
    box.spool.close()  # a kill closes files as well; nothing else of this is used again
    box.open()
    assert box.outbox.recovered.value == 2
    assert box.drain() == [1, 2] and box.outbox.balanced


def test_what_is_on_its_way_for_too_long_is_on_disk_too_and_is_not_sent_twice_when_it_arrives(place: Path) -> None:
    box = Box(place)
    box.put(1)
    box.put(2)
    assert (box.take(), box.take()) == ([1], [2])
    box.later(0.6)
    assert (box.outbox.in_flight, box.outbox.spooled, box.spool.points) == (2, 0, 2)
    box.outbox.arrived(2)
    assert box.spool.points == 0 and box.drain() == [] and box.outbox.balanced


def test_what_was_on_its_way_when_the_connection_ended_is_sent_again_in_its_order(place: Path) -> None:
    box = Box(place)
    for number in (1, 2, 3):
        box.put(number)
    assert (box.take(), box.take()) == ([1], [2])
    box.outbox.arrived()
    box.outbox.failed()
    assert box.drain() == [2, 3] and box.outbox.balanced
    # The same for what was spooled meanwhile.
    box.put(4)
    assert box.take() == [4]
    box.later(0.6)
    box.outbox.failed()
    assert box.drain() == [4] and box.outbox.balanced


def test_live_points_go_before_those_of_the_spool(place: Path) -> None:
    box = Box(place)
    box.put(1)
    box.later(0.6)
    box.put(2)
    assert box.drain() == [2, 1]


def test_more_than_the_limit_goes_to_the_spool_oldest_first(place: Path) -> None:
    box = Box(place, limit=4)
    for number in range(6):
        box.put(number)
    assert (box.outbox.queued, box.outbox.spooled) == (4, 2)
    assert box.drain() == [2, 3, 4, 5, 0, 1]


@pytest.mark.parametrize(
    ("policy", "delivered"),
    [("drop_oldest", [2, 3, 4, 5]), ("drop_newest", [0, 1, 2, 3]), ("block", [0, 1, 2, 3, 4, 5])],
)
def test_other_policies_drop_and_count_or_ask_for_a_pause(place: Path, policy: str, delivered: list[int]) -> None:
    box = Box(place, policy, limit=4)
    for number in range(6):
        box.put(number)
    assert box.outbox.full is (policy == "block")
    assert box.outbox.dropped["queue_full"] == 6 - len(delivered)
    box.later(60)
    assert box.drain() == delivered and box.outbox.balanced and not box.outbox.full
    assert list(place.iterdir()) == []


def test_a_full_peer_gets_nothing_from_the_spool_but_live_points(place: Path) -> None:
    box = Box(place)
    box.put(1)
    box.later(0.6)
    box.outbox.peer_fullness = 0.9
    box.put(2)
    assert box.drain() == [2]
    for _ in range(3):
        box.later(0.1)
    assert box.drain() == []
    # It says nothing more, since nothing is sent to it: after a while it is tried again.
    for _ in range(10):
        box.later(0.1)
    assert box.drain() == [1]


def test_the_replay_keeps_to_its_rate(place: Path) -> None:
    box = Box(place, limit=1000)
    for _ in range(20):
        box.put(*range(100))
        box.later(0.6)
    box.outbox.replay_rate = 100.0
    taken = 0
    for _ in range(40):
        while box.take() is not None:
            box.outbox.arrived()
            taken += 100
        box.now += 0.5
    assert 1800 <= taken <= 2000


def test_everything_is_put_away_at_the_end_and_found_again(place: Path) -> None:
    box = Box(place, "block")
    for number in (1, 2, 3):
        box.put(number)
    assert box.take() == [1]
    box.outbox.put_away()
    assert box.outbox.balanced and box.outbox.spooled == 3
    box.spool.close()
    box.open()
    assert box.drain() == [1, 2, 3]


def test_a_disk_that_takes_nothing_leaves_points_in_memory_up_to_a_bound(place: Path, monkeypatch: object) -> None:
    box = Box(place, limit=10)
    (place / "x").mkdir(parents=True)
    box.spool.close()
    shutil.rmtree(place)
    place.write_text("not a directory")
    for number in range(40):
        box.put(number)
    outbox = box.outbox
    assert outbox.queued <= 20 and outbox.dropped["spool_failed"] == 40 - outbox.queued
    assert outbox.balanced and len(box.troubles) == 1
    place.unlink()
    box.open()


class OutboxMachine(RuleBasedStateMachine):
    """Whatever happens, nothing is lost, nothing is invented, and the ledger balances."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.box = Box(self.home / "spool", limit=6)
        self.number = 0
        self.put: set[int] = set()
        self.got: list[int] = []
        self.flying: list[list[int]] = []
        self.secured = 0.0

    def teardown(self) -> None:
        self.box.spool.close()
        shutil.rmtree(self.home)

    @rule(count=st.integers(1, 4))
    def come_in(self, count: int) -> None:
        numbers = list(range(self.number, self.number + count))
        self.number += count
        self.put.update(numbers)
        self.box.put(*numbers)

    @rule()
    def send(self) -> None:
        numbers = self.box.take()
        if numbers is not None:
            self.flying.append(numbers)

    @precondition(lambda self: self.flying)
    @rule()
    def arrive(self) -> None:
        self.box.outbox.arrived()
        self.got += self.flying.pop(0)

    @rule()
    def fail(self) -> None:
        self.box.outbox.failed()
        self.flying.clear()

    @rule(seconds=st.floats(0, 1))
    def wait(self, seconds: float) -> None:
        self.box.later(seconds)

    @rule()
    def restart(self) -> None:
        self.box.outbox.put_away()
        self.flying.clear()
        self.box.spool.close()
        self.box.open()

    @rule()
    def be_killed_when_all_is_secure(self) -> None:
        self.box.later(0.6)
        assert self.box.outbox.unsecured_since is None
        self.flying.clear()
        self.box.spool.close()
        self.box.open()

    @rule()
    def drain(self) -> None:
        self.box.outbox.failed()
        self.flying.clear()
        self.got += self.box.drain()
        assert set(self.got) == self.put
        assert self.box.spool.points == 0

    @invariant()
    def balances(self) -> None:
        outbox = self.box.outbox
        assert outbox.balanced and outbox.queued >= 0 and outbox.spooled >= 0
        assert outbox.in_flight == sum(map(len, self.flying))
        assert not set(self.got) - self.put


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
