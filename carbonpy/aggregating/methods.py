"""What the methods of aggregation make of values, and which of them need all values.

The law: a method is either a running figure (sum, avg, min, max, count, last), kept in one place however many values
come, or a function of all values of an interval, which are then held.  Results are those of carbon's functions
(aggregator/rules.py of carbon 1.1) for kind ``carbon``, and of carbon-c-relay's (aggregator.c) for kind ``window``.
"""

from __future__ import annotations

import math

import numpy as np

from carbonpy.rules.aggregates import AggregateSpec

#: How values of an interval are kept.  ADD has sum and avg; HOLD keeps all values.
ADD, MIN, MAX, COUNT, LAST, HOLD = range(6)
_KEEPING = {"sum": ADD, "avg": ADD, "min": MIN, "max": MAX, "count": COUNT, "last": LAST}
#: What an interval without values has in its place.
NOTHING_YET = {ADD: 0.0, MIN: math.inf, MAX: -math.inf, COUNT: 0.0, LAST: math.nan, HOLD: 0.0}


def keeping(method: str) -> int:
    """How the values of `method` are kept: ADD to HOLD."""
    return _KEEPING.get(method, HOLD)


def share(method: str) -> float:
    """The share (0 to 1) that a percentile's method stands for: p999 is 0.999, percentile7 is 0.07, median 0.5."""
    if method == "median":
        return 0.5
    if method.startswith("percentile"):
        return int(method.removeprefix("percentile")) / 100
    digits = method.removeprefix("p")
    return int(digits) / 10 ** len(digits)


def of_all(spec: AggregateSpec, values: np.ndarray) -> float:
    """What a method that holds values makes of `values` (float64, at least one, in any order)."""
    if spec.method in ("variance", "stddev"):
        # Of the whole population, in two passes.
        with np.errstate(invalid="ignore", over="ignore"):
            variance = float(np.square(values - values.mean()).mean())
        return variance if spec.method == "variance" else math.sqrt(variance)
    ordered = np.sort(values)
    count = len(ordered)
    if spec.kind == "window":
        # The nearest rank.  carbon-c-relay's rank can be 0, before the first value; here it is 1 then.
        return float(ordered[max(int(share(spec.method) * count + 0.9), 1) - 1])
    rank = share(spec.method) * (count - 1)
    left, right = math.floor(rank), math.ceil(rank)
    if left == right:
        return float(ordered[left])
    return float(ordered[left]) * (right - rank) + float(ordered[right]) * (rank - left)
