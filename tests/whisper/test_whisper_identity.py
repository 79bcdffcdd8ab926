"""The same operations leave the same bytes and give the same answers as the whisper package."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
import whisper
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import histories

import carbonpy.whisper as ours

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
START = 1_700_000_000


def outcome(call: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """What a call gives or raises, as text (NaN equals NaN in text)."""
    try:
        return repr(call(*arguments, **named))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=MEMORY))
    yield path
    shutil.rmtree(path)


class Pair:
    """One file of the whisper package and one of ours, which get the same calls."""

    def __init__(self, directory: Path, name: str, files: histories.Archives, xff: float, method: str) -> None:
        self.paths = {whisper: str(directory / f"{name}.theirs"), ours: str(directory / f"{name}.ours")}
        for module, path in self.paths.items():
            module.create(path, list(files), xff, method, sparse=module is ours)
        self.check_bytes()

    def both(self, call: Callable[[ModuleType, str], Any]) -> None:
        theirs, mine = (outcome(call, module, path) for module, path in self.paths.items())
        # The paths differ in their ends only.
        assert theirs.replace(".theirs", "") == mine.replace(".ours", "")

    def check_bytes(self) -> None:
        theirs, mine = (Path(path).read_bytes() for path in self.paths.values())
        assert theirs == mine


@pytest.mark.parametrize("block", range(12))
def test_random_histories_leave_the_same_bytes_and_give_the_same_answers(directory: Path, block: int) -> None:
    for number in range(block * 250, (block + 1) * 250):
        random = Random(number)
        files = histories.archives(random)
        xff, method = random.choice(histories.XFF), random.choice(histories.METHODS)
        pair = Pair(directory, str(number), files, xff, method)
        now = START + random.randrange(10_000)
        for _ in range(random.randint(1, 8)):
            now = histories.later(random, files, now)
            if random.random() < 0.2:
                stamp = now - random.choice((0, random.randint(-2, histories.retention(files) + 2)))
                pair.both(lambda module, path, stamp=stamp, now=now: module.update(path, 1.5, stamp, now))
            else:
                points = histories.batch(random, files, now)
                pair.both(lambda module, path, points=points, now=now: module.update_many(path, list(points), now))
            pair.check_bytes()
            begin, until = histories.question(random, files, now)
            pair.both(lambda module, path, begin=begin, until=until, now=now: module.fetch(path, begin, until, now))


class TwoModules(RuleBasedStateMachine):
    """A pair of files that is updated, questioned, changed, merged into another pair and compared with it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY))

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @initialize(
        random=st.randoms(use_true_random=False), xff=st.sampled_from(histories.XFF), start=st.integers(0, 9999)
    )
    def create(self, random: Random, xff: float, start: int) -> None:
        self.files = histories.archives(random)
        self.pairs = [
            Pair(self.directory, str(number), self.files, xff, random.choice(histories.METHODS)) for number in (0, 1)
        ]
        self.now = START + start

    @rule(random=st.randoms(use_true_random=False))
    def time_passes(self, random: Random) -> None:
        self.now = histories.later(random, self.files, self.now)

    @rule(random=st.randoms(use_true_random=False), which=st.integers(0, 1))
    def update_many(self, random: Random, which: int) -> None:
        points = histories.batch(random, self.files, self.now)
        self.pairs[which].both(lambda module, path: module.update_many(path, list(points), now=self.now))

    @rule(age=st.integers(-3, 60), fraction=st.floats(0, 1.1), value=st.floats(), which=st.integers(0, 1))
    def update(self, age: int, fraction: float, value: float, which: int) -> None:
        stamp = self.now - age - int(fraction * histories.retention(self.files))
        self.pairs[which].both(lambda module, path: module.update(path, value, stamp, self.now))

    @rule(age=st.integers(-3, 60), fraction=st.floats(0, 1.1), length=st.floats(-0.1, 1))
    def fetch(self, age: int, fraction: float, length: float) -> None:
        begin = self.now - age - int(fraction * histories.retention(self.files))
        until = begin + int(length * histories.retention(self.files))
        self.pairs[0].both(lambda module, path: module.fetch(path, begin, until, self.now))

    @rule(number=st.integers(0, 4), fraction=st.floats(0, 1), as_text=st.booleans())
    def fetch_from_one_archive(self, number: int, fraction: float, as_text: bool) -> None:
        step, points = self.files[number] if number < len(self.files) else (7, 1)
        begin = self.now - int(fraction * step * points)
        chosen = f"{step}s" if as_text else step
        self.pairs[0].both(lambda module, path: module.fetch(path, begin, self.now, self.now, chosen))

    @rule(method=st.sampled_from((*histories.METHODS, "median")), xff=st.sampled_from((None, "x", -1, *histories.XFF)))
    def set_method(self, method: str, xff: float | None) -> None:
        self.pairs[0].both(lambda module, path: module.setAggregationMethod(path, method, xff))

    @rule(xff=st.sampled_from((2, "many", *histories.XFF)))
    def set_xff(self, xff: float) -> None:
        self.pairs[1].both(lambda module, path: module.setXFilesFactor(path, xff))

    @rule(begin=st.floats(0, 1.2), end=st.floats(0, 1.2), bounded=st.booleans())
    def merge(self, begin: float, end: float, bounded: bool) -> None:
        reach = histories.retention(self.files)
        bounds = [self.now - int(begin * reach), self.now - int(end * reach)] if bounded else [None, None]
        self.pairs[0].both(lambda module, path: module.merge(self.pairs[1].paths[module], path, *bounds, now=self.now))

    @rule(ignore_empty=st.booleans(), until=st.none() | st.floats(0, 1.2))
    def diff(self, ignore_empty: bool, until: float | None) -> None:
        bound = None if until is None else self.now - int(until * histories.retention(self.files))
        self.pairs[0].both(
            lambda module, path: module.diff(self.pairs[1].paths[module], path, ignore_empty, bound, now=self.now)
        )

    @invariant()
    def files_and_headers_are_equal(self) -> None:
        for pair in getattr(self, "pairs", ()):
            pair.check_bytes()
            pair.both(lambda module, path: module.info(path))


TestTwoModules = TwoModules.TestCase
TestTwoModules.settings = settings(max_examples=400, stateful_step_count=12, deadline=None)


@pytest.mark.parametrize("method", histories.METHODS)
def test_long_batches_that_numpy_rolls_up_leave_the_same_bytes(directory: Path, method: str) -> None:
    random = Random(method)
    for number in range(12):
        xff = random.choice(histories.XFF)
        pair = Pair(directory, f"{method}{number}", [(10, 360), (60, 240), (600, 400)], xff, method)
        now = START + random.randrange(600)
        for _ in range(3):
            now += random.randrange(4000)
            points = [
                (now - 10 * age + random.randint(-4, 4), histories.value(random))
                for age in range(1, random.randint(300, 800))
                if random.random() < 0.8
            ]
            pair.both(lambda module, path, points=points, now=now: module.update_many(path, points, now))
            pair.check_bytes()


def test_write_points_in_a_new_file_equals_create_and_update_many(directory: Path) -> None:
    from carbonpy.whisper import file
    from carbonpy.whisper.layout import make_header

    for number in range(300):
        random = Random(number)
        files, now = histories.archives(random), START + number
        points = dict(sorted(histories.batch(random, files, now)))
        theirs, mine = str(directory / f"{number}.theirs"), str(directory / f"{number}.ours")
        whisper.create(theirs, list(files), 0.5, "average")
        whisper.update_many(theirs, list(points.items()), now)
        header = make_header(files)
        with file.creating(mine, header) as fd:
            stored = file.write_points(fd, header, list(points), list(points.values()), now, empty=True)
        assert sum(stored) == len(points) and stored.too_far == 0
        assert Path(mine).read_bytes() == Path(theirs).read_bytes()
