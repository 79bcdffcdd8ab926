"""Cache, journal and writer together against a dict, with everything that can fail on the way.

The law: whatever fails (a write, a file, a writer, the daemon at any moment, the journal's last bytes), when
everything is flushed in the end, each metric's file as the `whisper` package reads it has the last value that was
sent for each second, and nothing else.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import numpy as np
import whisper
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from carbonpy.cache.cache import Cache, Loan
from carbonpy.cache.journal import Journal
from carbonpy.ingest.names import FIRST_ID, NameTable
from carbonpy.metric import relative_path
from carbonpy.whisper.layout import pack_header
from carbonpy.writing.parcel import ParcelBuffer, pack_outcome, unpack_outcome
from carbonpy.writing.sweep import Outcome, Sweeper, WriteSettings

NAMES = ["a", "a.b", "a.c", "d.e.f", "g;tag=1"]
NOW = 1_700_000_000
SECONDS = 3
#: One-second slots, and enough of them for all that is sent.
HEADER = pack_header([(1, 1000)], 0.0, "last")


batches = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, SECONDS)), min_size=1, max_size=8)


class Killed(Exception):
    """The writer process is killed here."""


class DaemonInSmall(RuleBasedStateMachine):
    @initialize(shares=st.integers(1, 3), syncs=st.booleans())
    def begin(self, shares: int, syncs: bool) -> None:
        self.directory = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.data_dir = f"{self.directory}/data"
        self.shares = shares
        self.syncs = syncs
        self.value = 0.0
        self.model: dict[tuple[str, int], float] = {}
        self.start()

    def start(self) -> None:
        self.names = NameTable()
        self.journal = Journal(f"{self.directory}/journal", syncs=self.syncs)
        self.ledger = {"received": 0, "written": 0, "dropped": 0}
        self.cache = Cache(
            shares=self.shares,
            journal=self.journal,
            new_names=lambda first: (
                max(first, FIRST_ID),
                self.names.metrics(range(max(first, FIRST_ID), self.names.next_id)),
            ),
            on_replaced=self.drop,
        )
        self.sweepers = [self.sweeper() for _ in range(self.shares)]
        self.loans: dict[int, Loan] = {}

    def drop(self, points: int) -> None:
        self.ledger["dropped"] += points

    def sweeper(self) -> Sweeper:
        """A writer that was started just now."""
        return Sweeper(WriteSettings(self.data_dir), lambda metric: HEADER, clock=lambda: NOW + SECONDS, sleep=no_wait)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            try:
                self.flush()
            finally:
                shutil.rmtree(self.directory)

    def balance(self) -> None:
        assert self.ledger["received"] == self.ledger["written"] + self.ledger["dropped"] + self.cache.cached

    # ---- what arrives

    @rule(points=batches)
    def receive(self, points: list[tuple[str, int]]) -> None:
        ids, times, values = [], [], []
        for name, second in points:
            self.value += 1
            ids.append(self.names.intern(name.encode()))
            times.append(NOW + second)
            values.append(self.value)
            self.model[name, NOW + second] = self.value
        self.ledger["received"] += len(points)
        self.cache.append(np.array(ids, np.uint32), np.array(times, np.uint32), np.array(values))
        self.balance()

    # ---- what is written

    @rule(share=st.integers(0, 2), creates=st.sampled_from([float("inf"), 0, 1, 2]))
    def lend(self, share: int, creates: float) -> None:
        if share < self.shares and (loan := self.cache.lend(share, creates=creates)) is not None:
            self.loans[share] = loan

    def sweep(self, share: int, loan: Loan, creates: float, blocks: int | None = None) -> Outcome:
        """What a writer does with a loan; after so many blocks it is killed."""
        sweeper = self.sweepers[share]
        ids = np.unique(loan.columns[0]).tolist()
        sweeper.learn(ids, self.names.metrics(ids))

        def give_up() -> bool:
            nonlocal blocks
            if blocks is not None:
                blocks -= 1
                if blocks < 0:
                    raise Killed
            return False

        if blocks is not None:
            # One file at a time, and the rate is no hindrance.
            sweeper.set_rate(10.0)
        outcome = sweeper.sweep([run.columns for run in loan.runs], creates=creates, held=loan.held, give_up=give_up)
        (parcel,) = ParcelBuffer().feed(b"".join(bytes(piece) for piece in pack_outcome(outcome)))
        return unpack_outcome(parcel)

    def settle(self, loan: Loan, outcome: Outcome) -> None:
        left = self.cache.confirm(loan, outcome.deferred, outcome.missing)
        assert left == outcome.written + outcome.replaced + sum(outcome.dropped.values())
        assert outcome.dropped == {}
        self.ledger["written"] += outcome.written
        self.ledger["dropped"] += outcome.replaced
        self.balance()

    @precondition(lambda self: self.loans)
    @rule(data=st.data(), creates=st.sampled_from([float("inf"), 0, 1, 3]))
    def write(self, data: st.DataObject, creates: float) -> None:
        share = data.draw(st.sampled_from(sorted(self.loans)))
        loan = self.loans.pop(share)
        self.settle(loan, self.sweep(share, loan, creates))

    @precondition(lambda self: self.loans)
    @rule(data=st.data(), blocks=st.integers(0, 6))
    def kill_the_writer(self, data: st.DataObject, blocks: int) -> None:
        """Some files of the loan may be written; the next writer knows nothing of them."""
        share = data.draw(st.sampled_from(sorted(self.loans)))
        loan = self.loans.pop(share)
        try:
            outcome = self.sweep(share, loan, float("inf"), blocks)
        except Killed:
            self.cache.give_back(loan)
        else:
            self.settle(loan, outcome)
        self.sweepers[share] = self.sweeper()
        self.balance()

    @precondition(lambda self: self.loans)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def write_fails(self, data: st.DataObject, name: str) -> None:
        """The directory of a metric is on a disk that has gone away: an error that may go away again."""
        share = data.draw(st.sampled_from(sorted(self.loans)))
        loan = self.loans.pop(share)
        path = Path(self.data_dir, relative_path(name))
        aside = path.with_suffix(".away")
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        if there:
            path.rename(aside)
        make_socket(path)
        outcome = self.sweep(share, loan, float("inf"))
        path.unlink()
        if there:
            aside.rename(path)
        mine = self.names.id_of(name)
        if mine is not None and mine in loan.columns[0]:
            assert mine in outcome.deferred and mine not in outcome.missing
            assert outcome.errors == 1
        self.settle(loan, outcome)

    # ---- what else happens

    @rule(cleanly=st.booleans(), shares=st.integers(1, 3))
    def crash(self, cleanly: bool, shares: int) -> None:
        """The daemon ends at this moment."""
        if cleanly:
            self.cache.seal()
            self.journal.close()
        self.shares = shares
        self.start()
        for segment in self.journal.leftovers():
            counts = self.cache.replay(self.journal, segment, self.names.intern, FIRST_ID)
            assert counts == {FIRST_ID: segment.points} or segment.points == 0
            self.ledger["received"] += segment.points
        self.journal.forget_leftover_names()
        self.balance()

    @rule(points=batches, data=st.data())
    def crash_while_receiving(self, points: list[tuple[str, int]], data: st.DataObject) -> None:
        """The daemon is killed at any byte that it writes to the journal: the batch is lost whole, and only it."""
        before = self.sizes()
        model = dict(self.model)
        self.receive(points=points)
        grown = [(path, before.get(path, 0), size) for path, size in self.sizes().items() if size > before.get(path, 0)]
        # Names are written before the points that need them.
        grown.sort(key=lambda growth: growth[0].name.startswith("points"))
        cut = data.draw(st.integers(0, sum(size - old for _, old, size in grown) - 1))
        for path, old, size in grown:
            kept = min(cut, size - old)
            cut -= kept
            if not old and not kept:
                path.unlink()
            else:
                os.truncate(path, old + kept)
        self.model = model
        self.crash(cleanly=False, shares=self.shares)

    def sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in Path(self.directory, "journal").iterdir()}

    @rule()
    def read(self) -> None:
        """A query peeks and then reads: it finds every second's last value, whatever is under way."""
        found = {}
        for name in NAMES:
            identity = self.names.id_of(name)
            timestamps, values = self.cache.peek(identity) if identity is not None else ((), ())
            found.update(self.stored(name))
            found.update({(name, int(time)): float(value) for time, value in zip(timestamps, values)})
        assert found == self.model

    @rule()
    def flush(self) -> None:
        """Everything is written; then nothing is left in cache and journal, and the files hold the model."""
        for loan in self.loans.values():
            self.cache.give_back(loan)
        self.loans = {}
        for share in range(self.shares):
            while (loan := self.cache.lend(share)) is not None:
                outcome = self.sweep(share, loan, float("inf"))
                assert len(outcome.deferred) == 0
                self.settle(loan, outcome)
        assert self.cache.cached == 0
        assert self.journal.segments == 0
        assert not list(Path(self.directory, "journal").glob("points-*"))
        assert {key: value for name in NAMES for key, value in self.stored(name).items()} == self.model

    def stored(self, name: str) -> dict[tuple[str, int], float]:
        path = f"{self.data_dir}/{relative_path(name)}"
        if not os.path.exists(path):
            return {}
        (start, end, step), values = whisper.fetch(path, NOW - 1, NOW + SECONDS, now=NOW + SECONDS)
        return {(name, time): value for time, value in zip(range(start, end, step), values) if value is not None}


def no_wait(seconds: float) -> None:
    """The update rate is kept in no time."""


def make_socket(path: Path) -> None:
    """A socket in the file system: opening it as a file fails with ENXIO for everybody."""
    with socket.socket(socket.AF_UNIX) as listener:
        # By way of the directory's descriptor, since the address of a socket is short.
        directory = os.open(path.parent, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)


TestDaemonInSmall = DaemonInSmall.TestCase
TestDaemonInSmall.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
