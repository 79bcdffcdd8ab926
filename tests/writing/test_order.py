"""Orders are permutations, and chunks cover every point once with metrics whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.columns import Columns, merge
from carbonpy.writing.order import STRATEGIES, in_chunks, visiting_order

Row = tuple[int, int, float]


def run(points: dict[tuple[int, int], float]) -> Columns:
    rows = sorted((identity, time, value) for (identity, time), value in points.items())
    return (
        np.array([row[0] for row in rows], np.uint32),
        np.array([row[1] for row in rows], np.uint32),
        np.array([row[2] for row in rows], np.float64),
    )


def rows(columns: Columns) -> list[Row]:
    return list(zip(*(column.tolist() for column in columns)))


strategies = st.sampled_from(STRATEGIES)
runs = st.dictionaries(st.tuples(st.integers(0, 40), st.integers(0, 9)), st.floats(allow_nan=False), max_size=40).map(
    run
)


@given(
    strategy=strategies,
    metrics=st.lists(st.tuples(st.integers(1, 100), st.integers(0, 2**32 - 1)), max_size=50),
    seed=st.integers(0, 2**31),
)
def test_an_order_is_a_permutation(strategy: str, metrics: list[tuple[int, int]], seed: int) -> None:
    counts = np.array([count for count, _ in metrics], np.int64)
    oldest = np.array([time for _, time in metrics], np.int64)
    order = visiting_order(strategy, counts, oldest, seed)
    if order is None:
        order = np.arange(len(metrics))
    assert sorted(order.tolist()) == list(range(len(metrics)))
    if strategy in ("sorted", "max", "bucketmax"):
        assert (np.diff(counts[order]) <= 0).all()
    if strategy == "timesorted":
        assert (np.diff(oldest[order]) >= 0).all()
    if strategy == "naive":
        assert order.tolist() == list(range(len(metrics)))


@given(parts=st.lists(runs, max_size=4), strategy=strategies, size=st.integers(1, 60), seed=st.integers(0, 99))
def test_chunks_cover_every_point_once_and_keep_metrics_whole(
    parts: list[Columns], strategy: str, size: int, seed: int
) -> None:
    chunks = list(in_chunks(parts, strategy, seed, size))
    given_rows = [row for part in parts for row in rows(part)]
    assert sorted(row for chunk in chunks for piece in chunk for row in rows(piece)) == sorted(given_rows)
    metrics = [{identity for piece in chunk for identity in piece[0].tolist()} for chunk in chunks]
    assert sum(map(len, metrics)) == len(set().union(*metrics))
    for chunk, inside in zip(chunks, metrics):
        assert all(len(piece[0]) for piece in chunk)
        # The pieces are those of the parts, in the order of the parts: the last value of a point stays the last.
        assert rows(merge(chunk)) == [row for row in rows(merge(parts)) if row[0] in inside]
        assert all((np.diff(piece[0].astype(np.int64)) >= 0).all() for piece in chunk)


@given(parts=st.lists(runs, max_size=4), strategy=strategies, size=st.integers(1, 60))
def test_a_chunk_is_larger_than_asked_for_by_one_metric_at_most(parts: list[Columns], strategy: str, size: int) -> None:
    ids = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.uint32)
    largest = int(np.unique(ids, return_counts=True)[1].max()) if len(ids) else 0
    for chunk in in_chunks(parts, strategy, 0, size):
        assert sum(len(piece[0]) for piece in chunk) <= size + largest


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_metric_with_more_points_than_a_chunk_is_a_chunk(strategy: str) -> None:
    large = run({(7, time): 1.0 for time in range(500)})
    small = run({(identity, 1): 2.0 for identity in range(20)})
    chunks = list(in_chunks([small, large], strategy, 0, 100))
    assert sorted(len(chunk) for chunk in chunks if any(7 in piece[0] for piece in chunk)) == [2]
    assert sum(len(piece[0]) for chunk in chunks for piece in chunk) == 520
