"""The calendar of the writers, and what becomes of loans when disks are full and writers die."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st
from support.running import is_running
from support.waiting import until
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from carbonpy.cache.cache import Cache, Loan
from carbonpy.cache.run import Run
from carbonpy.clock import TokenBucket
from carbonpy.ingest.names import FIRST_ID
from carbonpy.net.writer import RuleTexts, WriterDied, is_large
from carbonpy.net.writers import Writers
from carbonpy.whisper.treelock import LOCK, TURN
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.sweep import Outcome

ROOT = Path(__file__).resolve().parent.parent.parent


class HandWriter:
    """A Writer that the test drives: it keeps what it was asked, and answers when the test does."""

    def __init__(self) -> None:
        self.sweeps: list[tuple[Loan, float]] = []
        self.waiting: Deferred[Outcome] | None = None
        self.told: list[tuple[str, Any]] = []
        self.pid: int | None = None

    def sweep(self, loan: Loan, creates: float) -> Deferred[Outcome]:
        assert self.waiting is None, "a second loan before the first was settled"
        self.sweeps.append((loan, creates))
        self.waiting = Deferred()
        return self.waiting

    def answer(self, outcome: Outcome | None = None) -> None:
        """The sweep ended: with this outcome, or with everything written."""
        waiting, self.waiting = self.waiting, None
        assert waiting is not None
        waiting.callback(outcome or Outcome(written=self.sweeps[-1][0].points))

    def die(self, error: Exception) -> None:
        waiting, self.waiting = self.waiting, None
        assert waiting is not None
        waiting.errback(error)

    def set_rules(self, texts: RuleTexts, book: HeaderBook) -> None:
        self.told.append(("rules", texts))

    def set_rate(self, updates_per_second: float) -> None:
        self.told.append(("rate", updates_per_second))

    def forget(self, identity: int) -> None:
        self.told.append(("forget", identity))

    def stop(self) -> Deferred[None]:
        self.told.append(("stop", None))
        stopped: Deferred[None] = Deferred()
        stopped.callback(None)
        if self.waiting is not None:
            self.die(WriterDied("stopped"))
        return stopped


class RefusingWriter(HandWriter):
    """A Writer whose `sweep` raises at once."""

    refuses = True

    def sweep(self, loan: Loan, creates: float) -> Deferred[Outcome]:
        if self.refuses:
            raise RuntimeError("no pipe")
        return super().sweep(loan, creates)


class Office:
    """Writers with hand-driven writers, a cache, and a clock that the test turns."""

    def __init__(
        self, writers: Sequence[HandWriter] = (), *, interval: float = 1.0, creates: TokenBucket | None = None
    ) -> None:
        self.clock = Clock()
        self.hands = list(writers) or [HandWriter()]
        self.cache = Cache(shares=len(self.hands))
        self.pressed = False
        self.room = 0
        self.made: list[int] = []
        self.writers = Writers(
            self.clock,
            self.cache,
            self.hands,
            interval=interval,
            creates=creates,
            pressed=lambda: self.pressed,
            on_room=self.on_room,
            on_made=self.made.extend,
        )

    def on_room(self) -> None:
        self.room += 1

    def append(self, *ids: int, time: int = 1) -> None:
        numbers = np.array(ids, np.uint32)
        self.cache.append(numbers, np.full(len(ids), time, np.uint32), np.ones(len(ids)))

    def starts(self, seconds: float, answer: Callable[[HandWriter], None], hand: int = 0) -> list[float]:
        """When the sweeps of a writer start within so many seconds, if each is answered so at once."""
        writer = self.hands[hand]
        found = []
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            if writer.waiting is not None:
                found.append(round(self.clock.seconds(), 3))
                answer(writer)
            self.clock.advance(0.01)
        return found


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What was logged as a failure or an error."""
    found: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_level") is not None and event["log_level"].name in ("error", "critical"):
            found.append(str(event.get("log_format")))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def test_a_sweep_confirms_its_loan_and_the_counts_add_up(complaints: list[str]) -> None:
    office = Office()
    office.append(16, 17, 18, time=1)
    office.writers.start()
    loan, _ = office.hands[0].sweeps[0]
    assert loan.points == 3
    assert office.cache.cached == 3
    office.clock.advance(0.5)
    made = np.array([16, 17], np.uint32)
    office.hands[0].answer(
        Outcome(written=1, dropped={"too_old": 1}, deferred=np.array([18], np.uint32), made=made, updates=2, errors=1)
    )
    writers = office.writers
    assert (writers.written.value, writers.dropped.as_dict(), office.cache.cached) == (1, {"too_old": 1}, 1)
    assert (writers.updates.value, writers.created.value, writers.errors.value, writers.sweeps.value) == (2, 2, 1, 1)
    assert writers.busy_seconds == 0.5
    assert (office.room, office.made) == (1, [16, 17])
    assert complaints == []


def test_an_outcome_that_does_not_add_up_is_said(complaints: list[str]) -> None:
    office = Office()
    office.append(16, 17)
    office.writers.start()
    office.hands[0].answer(Outcome(written=1))
    assert len(complaints) == 1 and "accounted for" in complaints[0]


def test_sweeps_start_an_interval_apart() -> None:
    office = Office(interval=5.0)
    office.writers.start()
    office.append(16)

    def answer(hand: HandWriter) -> None:
        hand.answer()
        office.append(16)

    starts = office.starts(30, answer)
    assert len(starts) >= 5
    assert all(5.0 <= later - earlier <= 5.1 for earlier, later in zip(starts, starts[1:]))


def test_a_sweep_that_takes_longer_than_the_interval_is_followed_by_the_next_soon() -> None:
    office = Office(interval=1.0)
    office.append(16)
    office.writers.start()
    office.append(16, time=2)
    office.clock.pump([0.1] * 50)
    assert len(office.hands[0].sweeps) == 1
    office.hands[0].answer()
    office.clock.pump([0.1] * 11)
    assert len(office.hands[0].sweeps) == 2


def test_pressure_does_not_wait_for_the_interval() -> None:
    office = Office(interval=60.0)
    office.append(16)
    office.writers.start()
    office.append(16, time=2)
    office.pressed = True
    office.hands[0].answer()
    assert len(office.hands[0].sweeps) == 2
    office.pressed = False
    office.append(16, time=3)
    office.hands[0].answer()
    office.clock.pump([0.5] * 20)
    assert len(office.hands[0].sweeps) == 2


def test_without_an_interval_sweeps_follow_each_other() -> None:
    office = Office(interval=0.0)
    office.writers.start()
    for time in range(5):
        office.append(16, time=time)
        office.clock.advance(0.06)
        office.hands[0].answer()
    assert len(office.hands[0].sweeps) == 5


def full(hand: HandWriter) -> None:
    ids = np.unique(hand.sweeps[-1][0].columns[0])
    hand.answer(Outcome(deferred=ids, stopped="disk full"))


@pytest.mark.parametrize("pressed", [False, True])
def test_after_a_full_disk_the_distance_doubles_up_to_a_minute_and_ends_with_the_trouble(pressed: bool) -> None:
    office = Office(interval=0.5)
    office.pressed = pressed
    office.append(16)
    office.writers.start()
    starts = office.starts(400, full)
    distances = [later - earlier for earlier, later in zip(starts, starts[1:])]
    assert len(distances) >= 9
    for distance, expected in zip(distances, [1, 2, 4, 8, 16, 32, 60, 60, 60]):
        assert expected - 0.001 <= distance <= expected + 0.6
    assert office.cache.cached == 1

    def answer(hand: HandWriter) -> None:
        hand.answer()
        office.append(16, time=int(office.clock.seconds()))

    starts = office.starts(70, answer)
    assert len(starts) >= 10
    assert 0.0 <= starts[-1] - starts[-2] <= 1.1


def test_the_loan_of_a_writer_that_died_comes_back_and_goes_out_again_later() -> None:
    office = Office(interval=0.1)
    office.append(16, 17)
    office.writers.start()
    starts = office.starts(60, lambda hand: hand.die(WriterDied("gone")))
    distances = [later - earlier for earlier, later in zip(starts, starts[1:])]
    for distance, expected in zip(distances, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8]):
        assert expected - 0.001 <= distance <= expected + 0.2
    assert office.writers.deaths.value == len(starts)
    assert office.cache.cached == 2 and office.cache.lent == 0
    assert {loan.points for loan, _ in office.hands[0].sweeps} == {2}
    assert office.starts(61, lambda hand: hand.answer())
    assert office.cache.cached == 0


def test_a_writer_that_raises_at_once_does_not_stop_the_calendar(complaints: list[str]) -> None:
    hand = RefusingWriter()
    office = Office([hand, HandWriter()], interval=0.5)
    office.append(16, 17)
    office.writers.start()
    assert office.cache.lent == 1
    assert len(complaints) == 1
    hand.refuses = False
    office.clock.pump([0.1] * 20)
    assert len(hand.sweeps) == 1
    assert len(office.hands[1].sweeps) == 1


def test_each_share_has_its_own_writer_and_calendar() -> None:
    office = Office([HandWriter(), HandWriter(), HandWriter()], interval=1.0)
    office.append(*range(18, 30))
    office.writers.start()
    for number, hand in enumerate(office.hands):
        ((loan, _),) = hand.sweeps
        assert set((loan.columns[0] % 3).tolist()) == {number}
    office.hands[0].answer()
    office.append(18, 19, 20, time=2)
    office.clock.pump([0.1] * 12)
    assert [len(hand.sweeps) for hand in office.hands] == [2, 1, 1]


def test_creates_are_shared_among_the_writers_and_paid_when_files_were_made() -> None:
    clock = Clock()
    bucket = TokenBucket(6, 0.1, clock.seconds)
    office = Office([HandWriter(), HandWriter()], interval=1.0, creates=bucket)
    office.clock = clock
    office.writers = Writers(
        clock, office.cache, office.hands, interval=1.0, creates=bucket, pressed=lambda: False, on_room=office.on_room
    )
    office.append(*range(16, 36))
    office.writers.start()
    assert [creates for hand in office.hands for _, creates in hand.sweeps] == [3, 3]
    for hand in office.hands:
        loan, creates = hand.sweeps[-1]
        ids = np.unique(loan.columns[0])
        made, missing = ids[: int(creates)], ids[int(creates) :]
        hand.answer(Outcome(written=len(made), made=made, updates=len(made), deferred=missing, missing=missing))
    assert office.writers.waiting_for_creates == 14
    assert bucket.available() == 0
    clock.pump([0.5] * 4)
    # Nothing may be made: the points wait in the cache.
    assert all(len(hand.sweeps) == 1 for hand in office.hands)
    assert office.cache.waiting() == 14
    clock.pump([1.0] * 21)
    loans = [hand.sweeps[1] for hand in office.hands]
    assert [(loan.points, creates) for loan, creates in loans] == [(1, 1), (1, 1)]


def test_flushing_sweeps_once_more_whatever_the_calendar_says() -> None:
    office = Office([HandWriter(), HandWriter()], interval=1000.0)
    office.append(16)
    office.writers.start()
    office.append(16, 17, time=2)
    flushed: list[None] = []
    office.writers.flush().addCallback(flushed.append)
    assert [len(hand.sweeps) for hand in office.hands] == [1, 0]
    office.hands[0].answer()
    assert [len(hand.sweeps) for hand in office.hands] == [2, 1]
    assert flushed == []
    office.hands[0].answer()
    office.hands[1].answer()
    assert flushed == [None]
    assert office.cache.cached == 0
    office.append(16, time=3)
    office.clock.pump([500.0] * 5)
    assert [len(hand.sweeps) for hand in office.hands] == [2, 1]
    assert office.clock.getDelayedCalls() == []


def test_flushing_ends_though_a_writer_dies() -> None:
    office = Office()
    office.append(16)
    office.writers.start()
    office.append(16, time=2)
    flushed: list[None] = []
    office.writers.flush().addCallback(flushed.append)
    office.hands[0].die(WriterDied("gone"))
    office.hands[0].die(WriterDied("gone again"))
    assert flushed == [None]
    assert office.cache.cached == 2


def test_stopping_ends_all_writers_and_keeps_what_they_had() -> None:
    office = Office([HandWriter(), HandWriter()])
    office.append(16, 17)
    office.writers.start()
    stopped: list[Any] = []
    office.writers.stop().addCallback(stopped.append)
    assert len(stopped) == 1
    assert all(("stop", None) in hand.told for hand in office.hands)
    assert office.cache.cached == 2 and office.cache.lent == 0
    assert office.clock.getDelayedCalls() == []


def test_rules_rates_and_forgotten_files_reach_the_writers() -> None:
    office = Office([HandWriter(), HandWriter()])
    texts: RuleTexts = (("storage-schemas.conf", "..."), None)
    office.writers.set_rules(texts, None)  # type: ignore[arg-type]
    office.writers.set_rate(100.0)
    office.writers.forget(17)
    assert office.hands[0].told == [("rules", texts), ("rate", 50.0)]
    assert office.hands[1].told == [("rules", texts), ("rate", 50.0), ("forget", 17)]


# ---- real writers: a daemon in small, in a process of its own, since a reactor runs once in a process


DAEMON = """
import fcntl, os, signal, sys
import numpy as np
from twisted.internet import reactor
from twisted.logger import STDLibLogObserver, globalLogBeginner, textFileLogObserver

from carbonpy.cache.cache import Cache
from carbonpy.cache.journal import Journal
from carbonpy.ingest.names import NameTable
from carbonpy.net.writer import GrowingWriter, ProcessWriter, ThreadWriter, WriterThread
from carbonpy.net.writers import Writers
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.schemas import SchemaBook
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.sweep import WriteSettings

NOW = int(__import__("time").time())
SCHEMAS = ("storage-schemas.conf", "[all]" + chr(10) + "pattern = .*" + chr(10) + "retentions = 1s:1h" + chr(10))
TEXTS = (SCHEMAS, None)
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)


class Daemon:
    def __init__(self, directory, rate=float("inf"), kind="process", interval=0.05, writer=ProcessWriter):
        self.names = NameTable()
        os.makedirs(directory + "/data", exist_ok=True)
        self.lock = os.open(directory + "/lock", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.cache = Cache()
        settings = WriteSettings(directory + "/data", updates_per_second=rate)

        def process():
            return writer(reactor, 0, self.names, settings, TEXTS, self.lock)

        if kind == "process":
            self.writer = process()
        else:
            book = HeaderBook(SchemaBook.parse(SCHEMAS[1], SCHEMAS[0]), AggregationBook.default())
            self.writer = ThreadWriter(WriterThread(reactor), self.names, settings, book.header)
            if kind == "growing":
                self.writer = GrowingWriter(self.writer, process, 1000)
        self.writers = Writers(
            reactor, self.cache, [self.writer], interval=interval, creates=None, pressed=lambda: False,
            on_room=self.on_room,
        )
        self.when_empty = None

    def on_room(self):
        if not self.cache.cached and self.when_empty:
            work, self.when_empty = self.when_empty, None
            work()

    def append(self, metrics, points):
        ids = np.array([self.names.intern(b"m.number%d" % number) for number in range(metrics)], np.uint32)
        for age in range(points):
            self.cache.append(ids, np.full(metrics, NOW - age, np.uint32), ids + age / 1000)

    def end(self):
        self.writers.stop().addCallback(lambda _: reactor.stop())


def run(seconds=30):
    def late():
        print("late", flush=True)
        os._exit(3)

    reactor.callLater(seconds, late)
    reactor.run()


print("now", NOW, flush=True)
"""


def run_daemon(directory: str, script: str) -> str:
    """Run a script with the small daemon to its end; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", DAEMON + script, directory]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def check_files(directory: str, printed: str, metrics: int, points: int) -> None:
    """Every metric's file has its points and no others."""
    now = int(printed.split()[1])
    for number in range(metrics):
        path = f"{directory}/data/m/number{number}.wsp"
        (start, end, step), values = whisper.fetch(path, now - 1000, now, now=now)
        found = {time: value for time, value in zip(range(start, end, step), values) if value is not None}
        assert found == {now - age: FIRST_ID + number + age / 1000 for age in range(points)}


@pytest.fixture
def directory() -> Iterator[str]:
    path = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["process", "thread", "growing"])
def test_a_real_writer_writes_a_loan(directory: str, kind: str) -> None:
    script = f"""
daemon = Daemon(sys.argv[1], kind={kind!r})
daemon.append(3000, 50)
daemon.when_empty = daemon.end
daemon.writers.start()
run()
print(daemon.writers.written.value, daemon.writers.deaths.value, daemon.writer.pid)
"""
    printed = run_daemon(directory, script)
    assert printed.split()[2:] == ["150000", "0", "None"]
    check_files(directory, printed, 3000, 50)


def test_a_writer_killed_in_the_middle_of_a_sweep_is_started_again_and_everything_is_written(directory: str) -> None:
    script = """
daemon = Daemon(sys.argv[1], rate=100.0)
daemon.append(300, 20)

def kill():
    made = len(os.listdir(sys.argv[1] + "/data/m")) if os.path.isdir(sys.argv[1] + "/data/m") else 0
    if made < 120:
        reactor.callLater(0.02, kill)
        return
    assert daemon.cache.lent == 6000 and made < 300
    os.kill(daemon.writer.pid, signal.SIGKILL)
    # The next one may go as fast as it can.
    daemon.writer.set_rate(float("inf"))

daemon.when_empty = daemon.end
daemon.writers.start()
kill()
run()
print(daemon.writers.written.value, daemon.writers.deaths.value >= 1, daemon.writer.restarts.value)
"""
    printed = run_daemon(directory, script)
    assert printed.split()[2:] == ["6000", "True", "1"]
    check_files(directory, printed, 300, 20)
    # A file that the dead writer had not named yet may be left under its temporary name, and nothing else.
    left = [path.name for path in Path(directory, "data").rglob("*") if path.is_file() and path.suffix != ".wsp"]
    left = [name for name in left if name not in (LOCK, TURN)]
    assert all(name.startswith(".new-") and name.endswith(".part") for name in left)


def test_a_writer_that_ends_between_sweeps_is_started_again(directory: str) -> None:
    script = """
daemon = Daemon(sys.argv[1])
daemon.append(10, 1)

def again():
    os.kill(daemon.writer.pid, signal.SIGKILL)
    # The loan meets a process that is ending, and perhaps one that is down.
    daemon.append(10, 2)
    daemon.when_empty = daemon.end

daemon.when_empty = again
daemon.writers.start()
run()
print(daemon.writers.written.value, daemon.writer.restarts.value)
"""
    printed = run_daemon(directory, script)
    assert printed.split()[3:] == ["1"]
    check_files(directory, printed, 10, 2)


def test_a_sweep_that_meets_a_process_whose_pipe_is_gone_fails_and_is_done_again(directory: str) -> None:
    script = """
class Ending(ProcessWriter):
    '''Asked to sweep in the moment between the end of its pipe and the end of its process.'''
    asked = False

    def inConnectionLost(self):
        if self._stopped is None and not self.asked:
            Ending.asked = True
            daemon.append(10, 2)
            daemon.writers.look()
            self.set_rate(1000.0)

daemon = Daemon(sys.argv[1], writer=Ending, interval=0.0)
daemon.append(10, 1)
daemon.when_empty = lambda: (os.kill(daemon.writer.pid, signal.SIGKILL), setattr(daemon, "when_empty", daemon.end))
daemon.writers.start()
run()
print(Ending.asked, daemon.writers.deaths.value >= 1, daemon.writer.restarts.value)
"""
    printed = run_daemon(directory, script)
    assert printed.split()[2:] == ["True", "True", "1"]
    check_files(directory, printed, 10, 2)


def test_a_writer_that_cannot_be_started_is_tried_again(directory: str) -> None:
    script = """
from twisted.internet.interfaces import IReactorProcess
from twisted.python.components import proxyForInterface


class Poor(proxyForInterface(IReactorProcess)):
    '''A reactor on a machine that has no room for another process, twice.'''
    refusals = 2

    def spawnProcess(self, *arguments, **options):
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return self.original.spawnProcess(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self.original, name)

reactor, real = Poor(reactor), reactor
daemon = Daemon(sys.argv[1])
daemon.append(10, 3)
daemon.when_empty = daemon.end
daemon.writers.start()
run()
print(daemon.writers.written.value, reactor.refusals)
"""
    printed = run_daemon(directory, script)
    assert printed.split()[2:] == ["30", "0"]
    check_files(directory, printed, 10, 3)


def test_new_rules_and_rates_reach_a_process_between_its_sweeps(directory: str) -> None:
    script = """
daemon = Daemon(sys.argv[1])
daemon.append(5, 1)

def again():
    text = SCHEMAS[1].replace("1s:1h", "10s:1h")
    daemon.writer.set_rules(((SCHEMAS[0], text), None), None)
    daemon.writer.forget(16)
    daemon.append(10, 1)
    daemon.when_empty = daemon.end

daemon.when_empty = again
daemon.writers.start()
run()
"""
    run_daemon(directory, script)
    steps = {
        number: whisper.info(f"{directory}/data/m/number{number}.wsp")["archives"][0]["secondsPerPoint"]
        for number in range(10)
    }
    assert steps == {number: 1 if number < 5 else 10 for number in range(10)}


@pytest.mark.parametrize("rate", [20.0, 0.05])
def test_a_writer_ends_soon_after_its_parent_was_killed_and_gives_the_lock_back(directory: str, rate: float) -> None:
    """At 0.05 files a second it has to wake up from a rest of twenty seconds."""
    script = f"""
daemon = Daemon(sys.argv[1], rate={rate})
daemon.append(500, 1)
daemon.writers.start()
print(daemon.writer.pid, flush=True)
run(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", DAEMON + script, directory]
    parent = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        child = int(parent.stdout.readline())
        data = Path(directory, "data", "m")
        if rate >= 1:
            until("the sweep is under way", lambda: len(list(data.glob("*.wsp"))) >= 2)
        else:
            until("the writer rests", lambda: "nanosleep" in Path(f"/proc/{child}/wchan").read_text() or rested(child))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    until("the writer has ended", lambda: not is_running(child), timeout=3.0)
    with open(f"{directory}/lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def rested(pid: int) -> bool:
    """Whether a process is asleep in a system call that waits for time."""
    # 35 nanosleep, 230 clock_nanosleep, 23 select on x86-64; 101, 115 and 72 on arm64.
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in {"35", "230", "23", "101", "115", "72"}


def test_a_thread_that_rests_for_its_rate_is_stopped_at_once(directory: str) -> None:
    script = """
import time
daemon = Daemon(sys.argv[1], rate=0.05, kind="thread")
daemon.append(50, 1)
daemon.writers.start()
begun = time.monotonic()
reactor.callLater(0.5, daemon.end)
run()
print(time.monotonic() - begun < 5, daemon.cache.cached)
"""
    printed = run_daemon(directory, script)
    assert printed.split()[2] == "True"
    assert int(printed.split()[3]) >= 48


def test_a_growing_writer_is_a_thread_until_the_first_large_sweep(directory: str) -> None:
    script = """
daemon = Daemon(sys.argv[1], kind="growing")


def large():
    print(daemon.writer.pid, end=" ")
    daemon.append(1200, 2)
    daemon.when_empty = small


def small():
    print(daemon.writer.pid is not None, end=" ")
    daemon.append(10, 3)
    daemon.when_empty = end


def end():
    print(daemon.writer.pid is not None, end=" ")
    daemon.end()


daemon.append(800, 1)
daemon.when_empty = large
daemon.writers.start()
run()
print(daemon.writers.written.value, daemon.writers.deaths.value)
"""
    printed = run_daemon(directory, script)
    assert printed.split()[2:] == ["None", "True", "True", "3230", "0"]
    check_files(directory, printed, 10, 3)


@given(
    runs=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=400).map(sorted), min_size=1, max_size=4),
    large=st.integers(1, 60),
)
def test_a_sweep_is_large_by_its_files_and_a_little_by_its_points(runs: list[list[int]], large: int) -> None:
    parts = [np.array(ids, np.uint32) for ids in runs]
    loan = Loan(0, [Run(ids, ids, ids.astype(float), frozenset()) for ids in parts])
    files = len({number for ids in runs for number in ids})
    assert is_large(loan, large) == (files + sum(map(len, runs)) // 100 >= large)


def test_a_writer_that_grows_keeps_the_rate_that_the_thread_was_given(directory: str) -> None:
    script = """
daemon = Daemon(sys.argv[1], kind="growing")
daemon.writers.set_rate(700.0)
daemon.append(1400, 1)
daemon.when_empty = daemon.end
daemon.writers.start()
begun = time.monotonic()
reactor.callLater(0.4, lambda: print(daemon.writer.pid is not None, daemon.writers.written.value))
daemon.append(3000, 1)
run()
print(time.monotonic() - begun > 0.5)
"""
    printed = run_daemon(directory, "import time\n" + script)
    assert printed.split()[2:] == ["True", "0", "True"]
