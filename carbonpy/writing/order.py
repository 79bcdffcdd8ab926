"""In which order a sweep visits its metrics: carbon's write strategies by their names.

The law: an order is a permutation.  A sweep visits every metric once with all its points, so the
strategy decides who is first when the disk is slow, not who gets written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from carbonpy.columns import Columns, firsts

#: Points that are merged and written at a time: sorting all of a large sweep at once would double its memory.
CHUNK_POINTS = 65536
#: sorted, max, bucketmax: most points first.  timesorted: oldest point first.  naive: as they came
#: (by id).  random: any.
STRATEGIES = ("sorted", "max", "bucketmax", "timesorted", "naive", "random")


def visiting_order(strategy: str, counts: np.ndarray, oldest: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """Permutation (int64) of the metrics of a sweep, None for the order they stand in.

    `counts`: points of each metric; `oldest`: its first timestamp.
    """
    if strategy == "naive" or len(counts) < 2:
        return None
    if strategy == "random":
        return np.random.default_rng(seed).permutation(len(counts))
    if strategy == "timesorted":
        return None if (oldest[1:] >= oldest[:-1]).all() else np.argsort(oldest, kind="stable")
    return None if (counts[1:] <= counts[:-1]).all() else np.argsort(-counts, kind="stable")


def in_chunks(
    parts: Sequence[Columns], strategy: str, seed: int = 0, chunk_points: int = CHUNK_POINTS
) -> Iterator[list[Columns]]:
    """The parts (sorted runs) cut into chunks of whole metrics, in visiting order, of about `chunk_points` points.

    A chunk holds the pieces of the parts in the order of the parts.  The plan is made at once (some 15 ms
    for a million points), the pieces one chunk at a time.
    """
    parts = [part for part in parts if len(part[0])]
    total = sum(len(part[0]) for part in parts)
    if total <= chunk_points:
        return iter([parts] if parts else [])
    size = 1 + max(int(part[0][-1]) for part in parts)
    counts = np.zeros(size, np.int64)
    oldest = np.full(size, 2**32, np.int64)
    for ids, timestamps, _ in parts:
        starts = firsts(ids)
        present = ids[starts]
        counts[present] += np.diff(np.append(starts, len(ids)))
        oldest[present] = np.minimum(oldest[present], timestamps[starts])
    metrics = np.flatnonzero(counts)
    order = visiting_order(strategy, counts[metrics], oldest[metrics], seed)
    if order is not None:
        metrics = metrics[order]
    number = (np.cumsum(counts[metrics]) - 1) // chunk_points
    chunk_of = np.zeros(size, np.uint16 if number[-1] < 2**16 else np.uint32)
    chunk_of[metrics] = number
    return _cut(parts, [chunk_of[part[0]] for part in parts], int(number[-1]) + 1)


def _cut(parts: Sequence[Columns], chunks_of_parts: Sequence[np.ndarray], count: int) -> Iterator[list[Columns]]:
    for chunk in range(count):
        pieces = []
        for part, chunks in zip(parts, chunks_of_parts):
            mine = np.flatnonzero(chunks == chunk)
            if len(mine):
                pieces.append((part[0][mine], part[1][mine], part[2][mine]))
        if pieces:
            yield pieces
