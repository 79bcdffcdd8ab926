"""In which order a sweep visits its metrics: carbon's write strategies by their names.

The law: an order is a permutation.  A sweep visits every metric once with all its points, so the
strategy decides who is first when the disk is slow, not who gets written.
"""

from __future__ import annotations

import numpy as np

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
