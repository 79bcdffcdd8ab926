"""The cache against a dict: whatever is appended, lent, confirmed, given back or lost in a crash."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from carbonpy.cache.cache import SEAL_POINTS, Cache, Loan
from carbonpy.cache.journal import Journal
from carbonpy.columns import Columns

FIRST = 16
METRICS = 6
DENIED = 3
NOTHING = np.empty(0, np.uint32)
Model = dict[tuple[int, int], float]


def columns(points: list[tuple[int, int, float]]) -> Columns:
    return (
        np.array([point[0] for point in points], np.uint32),
        np.array([point[1] for point in points], np.uint32),
        np.array([point[2] for point in points], np.float64),
    )


def peeked(cache: Cache, ids: range = range(FIRST, FIRST + METRICS)) -> Model:
    found: Model = {}
    for identity in ids:
        timestamps, values = cache.peek(identity)
        assert timestamps.dtype == np.uint32 and values.dtype == np.float64
        assert (np.diff(timestamps.astype(np.int64)) > 0).all()
        found.update({(identity, time): value for time, value in zip(timestamps.tolist(), values.tolist())})
    return found


class Names:
    """Names of ids, a prefix of which is known; another life gives other ids to the same names."""

    def __init__(self, order: list[int]) -> None:
        self.names = [b"metric%d" % number for number in order]

    def new_names(self, first: int) -> tuple[int, list[bytes]]:
        first = max(first, FIRST)
        return first, self.names[first - FIRST :]

    def intern(self, name: bytes) -> int:
        return FIRST + self.names.index(name)

    def number(self, identity: int) -> int:
        return int(self.names[identity - FIRST][6:])

    def identity(self, number: int) -> int:
        return FIRST + self.names.index(b"metric%d" % number)


class CacheAgainstADict(RuleBasedStateMachine):
    """`model`: what was appended and not confirmed.  `written`: what files would hold."""

    journalled = False

    @initialize(shares=st.integers(1, 3), syncs=st.booleans())
    def begin(self, shares: int, syncs: bool) -> None:
        self.directory = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.shares = shares
        self.syncs = syncs
        self.names = Names(list(range(METRICS)))
        self.replaced = self.received = self.left = 0
        self.model: Model = {}
        self.written: Model = {}
        self.loans: dict[int, tuple[Loan, Model]] = {}
        self.value = 0.0
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.directory, syncs=self.syncs) if self.journalled else None
        self.cache = Cache(
            shares=self.shares, journal=self.journal, new_names=self.names.new_names, on_replaced=self.on_replaced
        )

    def on_replaced(self, points: int) -> None:
        self.replaced += points

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)

    # ---- what can happen

    @rule(points=st.lists(st.tuples(st.integers(0, METRICS - 1), st.integers(1, 3)), min_size=1, max_size=8))
    def append(self, points: list[tuple[int, int]]) -> None:
        batch = []
        for number, time in points:
            self.value += 1
            batch.append((self.names.identity(number), time, self.value))
            self.model[number, time] = self.value
        self.received += len(batch)
        self.cache.append(*columns(batch))

    @rule()
    def seal(self) -> None:
        self.cache.seal()

    @rule(
        share=st.integers(0, 2),
        creates=st.sampled_from([float("inf"), 0, 0.5, 1, 2, 5]),
    )
    def lend(self, share: int, creates: float) -> None:
        share %= self.shares
        out = share in self.loans
        loan = self.cache.lend(share, creates=creates)
        if loan is None:
            return
        assert not out
        points: Model = {}
        ids, times, values = loan.columns
        assert (ids % self.shares == share).all()
        assert loan.points == len(ids) > 0
        for identity, time, value in zip(ids.tolist(), times.tolist(), values.tolist()):
            points[self.names.number(identity), time] = value
        # Older points that stay belong to held metrics; nothing of those waiting goes.
        waiting = {identity for run in loan.runs if run.waiting for identity in run.ids.tolist()}
        assert not waiting & set(loan.held.tolist())
        self.loans[share] = loan, points

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        share = data.draw(st.sampled_from(sorted(self.loans)))
        loan, points = self.loans.pop(share)
        ids = np.unique(loan.columns[0]).tolist()
        deferred = set(data.draw(st.lists(st.sampled_from(ids), unique=True))) if ids else set()
        # A writer makes no file for a held metric.
        deferred |= {identity for identity in loan.held.tolist() if identity in ids}
        failed = set(data.draw(st.lists(st.sampled_from(sorted(deferred))))) if deferred else set()
        missing = np.array(sorted(deferred - failed | set(loan.held.tolist()) & deferred), np.uint32)
        self.left += self.cache.confirm(loan, np.array(sorted(deferred), np.uint32), missing)
        for (number, time), value in points.items():
            if self.names.identity(number) in deferred:
                continue
            self.written[number, time] = value
            if self.model.get((number, time)) == value:
                del self.model[number, time]

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        share = data.draw(st.sampled_from(sorted(self.loans)))
        self.cache.give_back(self.loans.pop(share)[0])

    @precondition(lambda self: self.journal is not None)
    @rule()
    def sync(self) -> None:
        self.journal.sync()

    @precondition(lambda self: self.journal is not None)
    @rule(order=st.permutations(range(METRICS)), cleanly=st.booleans(), shares=st.integers(1, 3))
    def crash(self, order: list[int], cleanly: bool, shares: int) -> None:
        """Another life, with other ids and perhaps another number of writers."""
        if cleanly:
            self.cache.seal()
            self.journal.close()
        self.names = Names(order)
        self.shares = shares
        self.loans = {}
        self.start()
        segments = self.journal.leftovers()
        recovered = 0
        for segment in segments:
            counts = self.cache.replay(self.journal, segment, self.names.intern, FIRST)
            assert sum(counts.values()) == segment.points
            recovered += segment.points
        self.journal.forget_leftover_names()
        found = {(self.names.number(identity), time): value for (identity, time), value in peeked(self.cache).items()}
        for key, value in self.model.items():
            assert found[key] == value
        for key, value in found.items():
            # What was confirmed may come back, but only as it stands in its file.
            assert self.model.get(key, self.written.get(key)) == value
        self.model = found
        self.received, self.left, self.replaced = recovered, 0, recovered - self.cache.cached

    # ---- what always holds

    @invariant()
    def every_point_is_readable(self) -> None:
        if not hasattr(self, "cache"):
            return
        found = {(self.names.number(identity), time): value for (identity, time), value in peeked(self.cache).items()}
        # A point that was sent again while its first value was on loan is readable with the newer value.
        assert found == self.model
        everyone = range(FIRST, FIRST + METRICS)
        for identity, (timestamps, values) in self.cache.peek_many([*everyone, FIRST]).items():
            alone = self.cache.peek(identity)
            assert (timestamps.tolist(), values.tolist()) == (alone[0].tolist(), alone[1].tolist())
            assert (timestamps.dtype, values.dtype) == (np.uint32, np.float64)

    @invariant()
    def the_points_are_counted(self) -> None:
        if not hasattr(self, "cache"):
            return
        assert self.cache.cached == self.received - self.left - self.replaced
        assert self.cache.cached >= len(self.model)
        assert self.cache.lent == sum(loan.points for loan, _ in self.loans.values())
        assert self.cache.metrics() == len({number for number, _ in self.model})

    @precondition(lambda self: self.journal is not None and not self.loans)
    @rule()
    def write_everything(self) -> None:
        for share in range(self.shares):
            while (loan := self.cache.lend(share)) is not None:
                assert not len(loan.held)
                self.left += self.cache.confirm(loan, NOTHING)
        self.written.update(self.model)
        self.model = {}
        assert self.cache.cached == 0 and self.cache.waiting() == 0
        assert self.journal.segments == 0
        assert not [name for name in os.listdir(self.directory) if name.startswith("points")]


class JournalledCacheAgainstADict(CacheAgainstADict):
    journalled = True


limits = settings(max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
TestCacheAgainstADict = CacheAgainstADict.TestCase
TestCacheAgainstADict.settings = limits
TestJournalledCacheAgainstADict = JournalledCacheAgainstADict.TestCase
TestJournalledCacheAgainstADict.settings = limits


def test_metrics_wait_for_their_files_in_turn_although_some_can_never_be_made() -> None:
    cache = Cache()
    everything = range(FIRST, FIRST + 20)
    hopeless = set(range(FIRST, FIRST + 5))
    cache.append(*columns([(identity, 1, 1.0) for identity in everything]))
    deferred = np.array(everything, np.uint32)
    made: set[int] = set()
    for time in range(2, 14):
        # New points of all of them arrive all the time; three files may be made in a sweep.
        loan = cache.lend(0, creates=3)
        assert loan is not None
        may_be_made = set(loan.columns[0].tolist()) - set(loan.held.tolist())
        if time > 2:
            assert len(may_be_made - made) <= 3
            made |= may_be_made - hopeless
        deferred = np.array(sorted(set(everything) - made), np.uint32)
        cache.confirm(loan, deferred[np.isin(deferred, loan.columns[0])])
        cache.append(*columns([(identity, time, 1.0) for identity in everything]))
    assert made == set(everything) - hopeless


def test_points_that_an_error_held_up_are_not_rationed_with_those_without_a_file() -> None:
    cache = Cache()
    cache.append(*columns([(identity, 1, 1.0) for identity in range(FIRST, FIRST + 10)]))
    loan = cache.lend(0)
    everything = np.unique(loan.columns[0])
    cache.confirm(loan, everything, everything[:4])
    loan = cache.lend(0, creates=1)
    assert loan.columns[0].tolist() == [int(everything[0]), *everything[4:].tolist()]
    assert loan.held.tolist() == everything[1:4].tolist()


def test_the_journal_does_not_grow_while_few_metrics_wait(tmp_path) -> None:
    names = Names(list(range(METRICS)))
    journal = Journal(str(tmp_path), syncs=False)
    cache = Cache(journal=journal, new_names=names.new_names)
    waits = np.array([FIRST], np.uint32)
    for time in range(1, 200):
        cache.append(*columns([(FIRST, 1, float(time)), (FIRST + 1, time, 1.0)]))
        cache.confirm(cache.lend(0), waits)
        assert journal.segments <= 10
        assert cache.cached <= 10
    assert peeked(cache) == {(FIRST, 1): 199.0}


def test_what_was_written_is_not_replayed_because_other_metrics_of_its_segment_wait(tmp_path) -> None:
    names = Names(list(range(METRICS)))
    journal = Journal(str(tmp_path), syncs=False)
    cache = Cache(journal=journal, new_names=names.new_names)
    everyone = range(FIRST, FIRST + METRICS)
    cache.append(*columns([(identity, 1, 1.0) for identity in everyone]))
    cache.confirm(cache.lend(0), np.array(everyone, np.uint32))
    for _ in range(5):
        loan = cache.lend(0, creates=1)
        cache.confirm(loan, NOTHING)
    again = Journal(str(tmp_path))
    replayed = Cache(journal=again, new_names=names.new_names)
    counts = [replayed.replay(again, segment, names.intern, FIRST) for segment in again.leftovers()]
    assert counts == [{FIRST: METRICS - 5}]
    assert peeked(replayed) == {(identity, 1): 1.0 for identity in everyone[5:]}


def test_an_older_value_does_not_outlive_the_newer_one_because_another_share_is_slow(tmp_path) -> None:
    names = Names(list(range(METRICS)))
    journal = Journal(str(tmp_path))
    cache = Cache(shares=2, journal=journal, new_names=names.new_names)
    cache.append(*columns([(FIRST, 1, 1.0), (FIRST + 1, 1, 1.0)]))
    slow = cache.lend(1)
    cache.confirm(cache.lend(0), NOTHING)
    cache.append(*columns([(FIRST, 1, 2.0)]))
    cache.confirm(cache.lend(0), NOTHING)
    again = Journal(str(tmp_path))
    replayed = Cache(journal=again, new_names=names.new_names)
    for segment in again.leftovers():
        replayed.replay(again, segment, names.intern, FIRST)
    # The file holds 2.0: after a crash it is written again, and not 1.0 over it.
    assert peeked(replayed) == {(FIRST, 1): 2.0, (FIRST + 1, 1): 1.0}
    cache.confirm(slow, NOTHING)
    assert journal.segments == 0


def test_points_whose_names_are_refused_now_are_counted_by_verdict_and_their_segment_goes(tmp_path) -> None:
    names = Names(list(range(METRICS)))
    journal = Journal(str(tmp_path))
    Cache(journal=journal, new_names=names.new_names).append(*columns([(FIRST, 1, 1.0), (FIRST + 1, 1, 1.0)]))
    journal.close()
    again = Journal(str(tmp_path))
    cache = Cache(journal=again, new_names=names.new_names)
    (segment,) = again.leftovers()
    assert cache.replay(again, segment, lambda name: DENIED, FIRST) == {DENIED: 2, FIRST: 0}
    assert cache.cached == cache.metrics() == 0
    assert os.listdir(tmp_path) == []


def test_a_long_tail_is_sealed_by_itself() -> None:
    cache = Cache()
    ids = np.full(SEAL_POINTS, FIRST, np.uint32)
    times = np.arange(1, SEAL_POINTS + 1, dtype=np.uint32)
    cache.append(ids, times, times.astype(np.float64))
    loan = cache.lend(0)
    assert [len(run.ids) for run in loan.runs] == [SEAL_POINTS]


def test_a_reader_in_another_thread_always_sees_every_point() -> None:
    cache = Cache()
    cache.append(*columns([(FIRST, 1, 1.0)]))
    ended = threading.Event()
    seen: list[int] = []
    failures: list[str] = []

    def read() -> None:
        last = 0
        while not ended.is_set():
            timestamps, _ = cache.peek(FIRST)
            seen.append(len(timestamps))
            if len(timestamps) < last:
                failures.append(f"{last} points and then {len(timestamps)}")
            last = len(timestamps)

    reader = threading.Thread(target=read)
    reader.start()
    waits = np.array([FIRST], np.uint32)
    for time in range(2, 400):
        cache.append(*columns([(FIRST, time, 1.0), (FIRST + 1, time, 1.0)]))
        if time % 3 == 0 and (loan := cache.lend(0)) is not None:
            if time % 2:
                cache.give_back(loan)
            else:
                cache.confirm(loan, waits)
    ended.set()
    reader.join()
    assert not failures
    assert len(seen) > 10
    assert len(cache.peek(FIRST)[0]) == 399
    assert {identity: len(found[0]) for identity, found in cache.peek_many([FIRST, FIRST + 5]).items()} == {
        FIRST: 399,
        FIRST + 5: 0,
    }
