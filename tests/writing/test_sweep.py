"""A sweep leaves the bytes that the whisper package leaves, and accounts for every point."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest
import whisper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonpy.metric import relative_path
from carbonpy.whisper.layout import pack_header
from carbonpy.writing.sweep import Sweeper, WriteSettings

ARCHIVES = [
    [(1, 20)],
    [(10, 12), (60, 10)],
    [(10, 30), (60, 20), (300, 20)],
    [(5, 7), (10, 12), (30, 30), (120, 40)],
    [(60, 5), (300, 3)],
]
METHODS = ["average", "sum", "last", "max", "min", "avg_zero", "absmax", "absmin"]
FACTORS = [0.0, 0.2, 0.3, 0.5, 1.0]
START = 1_700_000_000
NAMES = ["a.b", "a.c", "d.e.f;x=y", "g"]


@pytest.fixture
def directory() -> Iterator[str]:
    path = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    yield path
    shutil.rmtree(path)


def columns(points: list[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    last = {(identity, timestamp): value for identity, timestamp, value in points}
    rows = sorted((identity, timestamp, value) for (identity, timestamp), value in last.items())
    return (
        np.array([row[0] for row in rows], np.uint32),
        np.array([row[1] for row in rows], np.uint32),
        np.array([row[2] for row in rows], np.float64),
    )


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


ages = st.one_of(st.integers(-50, 40), st.integers(-50, 400), st.integers(0, 6000))
values = st.one_of(st.integers(-5, 5).map(float), st.floats(allow_nan=False, width=64))
rounds = st.lists(
    st.tuples(
        st.integers(0, 500),
        st.lists(st.tuples(st.integers(0, len(NAMES) - 1), ages, values), min_size=1, max_size=60),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    archives=st.sampled_from(ARCHIVES),
    method=st.sampled_from(METHODS),
    factor=st.sampled_from(FACTORS),
    rounds=rounds,
    strategy=st.sampled_from(["sorted", "naive", "timesorted", "random"]),
    restarts=st.booleans(),
)
def test_sweeps_leave_the_bytes_of_update_many(archives, method, factor, rounds, strategy, restarts) -> None:
    directory = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        now = [START]
        header = pack_header(archives, factor, method)

        def start() -> Sweeper:
            settings = WriteSettings(f"{directory}/ours", strategy=strategy)
            sweeper = Sweeper(settings, lambda metric: header, clock=lambda: now[0])
            sweeper.learn(range(16, 16 + len(NAMES)), [name.encode() for name in NAMES])
            return sweeper

        sweeper = start()
        for later, points in rounds:
            now[0] += later
            sweeper = start() if restarts else sweeper
            batch = [(16 + number, now[0] - age, value) for number, age, value in points]
            columns_of_sweep = columns(batch)
            outcome = sweeper.sweep([columns_of_sweep])
            assert not len(outcome.deferred)
            assert outcome.written + outcome.replaced + sum(outcome.dropped.values()) == len(columns_of_sweep[0])
            for number, name in enumerate(NAMES):
                mine = columns_of_sweep[0] == 16 + number
                if not mine.any():
                    continue
                theirs = f"{directory}/theirs{number}.wsp"
                if not os.path.exists(theirs):
                    whisper.create(theirs, list(archives), factor, method)
                pairs = list(zip(columns_of_sweep[1][mine].tolist(), columns_of_sweep[2][mine].tolist()))
                whisper.update_many(theirs, pairs, now=now[0])
                assert read(f"{directory}/ours/{relative_path(name)}") == read(theirs)
    finally:
        shutil.rmtree(directory)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    archives=st.sampled_from(ARCHIVES),
    method=st.sampled_from(METHODS),
    factor=st.sampled_from(FACTORS),
    seed=st.integers(0, 2**32 - 1),
    restarts=st.booleans(),
)
def test_long_regular_series_with_gaps_leave_the_bytes_of_update_many(archives, method, factor, seed, restarts) -> None:
    random = np.random.default_rng(seed)
    directory = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        now = START + int(random.integers(0, 1000))
        header = pack_header(archives, factor, method)

        def start() -> Sweeper:
            sweeper = Sweeper(WriteSettings(directory), lambda metric: header, clock=lambda: now)
            sweeper.learn([16], [b"m"])
            return sweeper

        sweeper = start()
        step = archives[0][0]
        theirs = f"{directory}/theirs.wsp"
        whisper.create(theirs, list(archives), factor, method)
        for _ in range(6):
            count = int(random.integers(1, archives[0][1] + 3))
            times = now + np.arange(count) * step
            times = times[random.random(count) < random.choice([1.0, 0.9, 0.5])]
            now += count * step + int(random.integers(0, 3)) * step * int(random.integers(0, 40))
            if not len(times):
                continue
            sweeper = start() if restarts else sweeper
            numbers = random.normal(size=len(times))
            sweeper.sweep([(np.full(len(times), 16, np.uint32), times.astype(np.uint32), numbers)])
            whisper.update_many(theirs, list(zip(times.tolist(), numbers.tolist())), now=now)
            assert read(f"{directory}/m.wsp") == read(theirs)
    finally:
        shutil.rmtree(directory)


def test_a_tagged_file_with_a_readable_name_gets_its_hashed_one(directory: str) -> None:
    header = pack_header([(10, 12), (60, 10)], 0.5, "average")
    name = "disk.used;dc=a;host=b"
    readable = Sweeper(WriteSettings(directory, hash_filenames=False), lambda metric: header, clock=lambda: START)
    hashed = Sweeper(WriteSettings(directory), lambda metric: header, clock=lambda: START)
    for sweeper, age, value in ((readable, 20, 1.0), (hashed, 10, 2.0)):
        sweeper.learn([16], [name.encode()])
        outcome = sweeper.sweep([columns([(16, START - age, value)])], creates=1 if sweeper is readable else 0)
        assert (outcome.written, len(outcome.deferred)) == (1, 0)
    assert not os.path.exists(f"{directory}/{relative_path(name, False)}")
    _, values = whisper.fetch(f"{directory}/{relative_path(name)}", START - 30, START, now=START)
    assert values == [1.0, 2.0, None]
