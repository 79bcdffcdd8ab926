"""Merging columns against a dict, and where ids start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.columns import EMPTY, Columns, concatenate, distinct, firsts, merge, without

ids = st.one_of(st.integers(0, 5), st.sampled_from([0, 2**31, 2**32 - 1]))
times = st.one_of(st.integers(0, 5), st.sampled_from([0, 2**31, 2**32 - 1]))
points = st.lists(st.tuples(ids, times), max_size=30)


def batches(parts: list[list[tuple[int, int]]]) -> list[Columns]:
    """The parts as columns; each point has a value of its own."""
    number = 0
    made = []
    for part in parts:
        values = np.arange(number, number + len(part), dtype=np.float64)
        number += len(part)
        made.append(
            (
                np.array([identity for identity, _ in part], np.uint32),
                np.array([time for _, time in part], np.uint32),
                values,
            )
        )
    return made


def rows(columns: Columns) -> list[tuple[int, int, float]]:
    return list(zip(*(column.tolist() for column in columns)))


@given(parts=st.lists(points, max_size=5))
def test_merge_sorts_and_keeps_the_last_of_equal_points(parts: list[list[tuple[int, int]]]) -> None:
    given_columns = batches(parts)
    before = [tuple(column.copy() for column in part) for part in given_columns]
    model = {(identity, time): value for part in given_columns for identity, time, value in rows(part)}
    merged = merge(given_columns)
    assert rows(merged) == [(identity, time, value) for (identity, time), value in sorted(model.items())]
    assert [column.dtype for column in merged] == [np.uint32, np.uint32, np.float64]
    for part, copy in zip(given_columns, before):
        for column, same in zip(part, copy):
            assert (column == same).all()


@given(parts=st.lists(points, max_size=5))
def test_merging_in_two_goes_is_merging_at_once(parts: list[list[tuple[int, int]]]) -> None:
    made = batches(parts)
    for cut in range(len(made) + 1):
        assert rows(merge([merge(made[:cut]), merge(made[cut:])])) == rows(merge(made))


@given(parts=st.lists(points, max_size=5))
def test_concatenate_keeps_the_order_of_the_parts(parts: list[list[tuple[int, int]]]) -> None:
    made = batches(parts)
    assert rows(concatenate(made)) == [row for part in made for row in rows(part)]


@given(groups=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 5)), max_size=20, unique_by=lambda g: g[0]))
def test_firsts_are_where_the_groups_start(groups: list[tuple[int, int]]) -> None:
    column = np.repeat(
        np.array([identity for identity, _ in groups], np.uint32), np.array([count for _, count in groups], np.int64)
    )
    starts = firsts(column)
    assert starts.dtype == np.int64
    assert column[starts].tolist() == [identity for identity, _ in groups]
    assert np.diff(np.append(starts, len(column))).tolist() == [count for _, count in groups]


def test_values_that_are_not_equal_to_themselves_are_merged_like_others() -> None:
    one = (np.array([1, 1], np.uint32), np.array([7, 7], np.uint32), np.array([1.0, np.nan]))
    _, _, values = merge([one])
    assert len(values) == 1 and np.isnan(values[0])


def test_nothing_merges_to_nothing() -> None:
    assert rows(merge([])) == rows(merge([EMPTY, EMPTY])) == []
    assert len(firsts(EMPTY[0])) == 0


@given(st.lists(ids, max_size=30), st.lists(ids, max_size=10))
def test_distinct_ids_and_those_without_others_are_sorted_sets(some: list[int], others: list[int]) -> None:
    column = np.array(some, np.uint32)
    assert distinct(column).tolist() == sorted(set(some))
    assert without(column, np.array(others, np.uint32)).tolist() == sorted(set(some) - set(others))
    assert distinct(column).dtype == without(column, column).dtype == np.uint32


def test_a_cache_and_its_sweeps_do_without_masked_arrays(tmp_path: Path) -> None:
    script = """
import sys
import numpy as np
from carbonpy.cache.cache import Cache
from carbonpy.cache.journal import Journal
from carbonpy.whisper.layout import pack_header
from carbonpy.writing.sweep import Sweeper, WriteSettings

header = pack_header([(1, 60), (60, 60)], 0.5, "average")
names = [b"m.number%d" % number for number in range(16, 1016)]
cache = Cache(shares=2, journal=Journal(sys.argv[1] + "/journal"), new_names=lambda first: (16, names))
sweeper = Sweeper(WriteSettings(sys.argv[1]), lambda metric: header)
sweeper.learn(range(16, 1016), names)
ids = np.arange(16, 1016, dtype=np.uint32)
for turn in range(4):
    for second in range(5):
        cache.append(ids, np.full(1000, int(sweeper.clock()) - second, np.uint32), np.ones(1000))
    loan = cache.lend(0, creates=100)
    outcome = sweeper.sweep([run.columns for run in loan.runs], creates=100, held=loan.held)
    cache.confirm(loan, outcome.deferred, outcome.missing)
    cache.peek_many([16, 18])
assert len(outcome.deferred), "something has to wait"
print("numpy.ma" in sys.modules)
"""
    root = Path(__file__).resolve().parent.parent
    arguments = [sys.executable, "-c", script, str(tmp_path)]
    ended = subprocess.run(
        arguments, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert (ended.returncode, ended.stdout) == (0, "False\n"), ended.stderr
