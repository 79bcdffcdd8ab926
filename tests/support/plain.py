"""Plain Python models of aggregates, as one would explain them: the loops that functions are compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

#: A value or none, mostly of the kind that metrics have.
VALUES = st.one_of(
    st.none(),
    st.integers(-5, 5).map(float),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3)),
)


def floats(values: Sequence[float | None]) -> np.ndarray:
    """The values with NaN for None."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def nones(values: Sequence[float]) -> list[float | None]:
    """The values with None for NaN."""
    return [None if value != value else float(value) for value in values]


def aggregate(name: str, known: Sequence[float]) -> float | None:
    """The aggregate of known values from left to right; None for none."""
    if not known:
        return None
    ordered = sorted(known)
    if name.startswith("p"):
        rank = math.ceil(float(name[1:]) / 100 * (len(known) + 1))
        return ordered[min(max(rank - 1, 0), len(known) - 1)]
    average = sum(known) / len(known)
    return {
        "average": average,
        "avg_zero": average,
        "median": (ordered[(len(known) - 1) // 2] + ordered[len(known) // 2]) / 2,
        "sum": sum(known),
        "min": ordered[0],
        "max": ordered[-1],
        "diff": known[0] - sum(known[1:]),
        "stddev": math.sqrt(sum((value - average) ** 2 for value in known) / len(known)),
        "count": float(len(known)),
        "range": ordered[-1] - ordered[0],
        "multiply": math.prod(known),
        "last": known[-1],
        "first": known[0],
    }[name]


def alike(got: Sequence[float | None], expected: Sequence[float | None], scale: float = 1.0) -> bool:
    """Whether two rows are equal but for rounding: 1e-9 of each value, or of `scale` where that is more."""
    return len(got) == len(expected) and all(
        (one is None) == (other is None)
        and (
            one is None or other is None or one == other or math.isclose(one, other, rel_tol=1e-9, abs_tol=scale * 1e-9)
        )
        for one, other in zip(got, expected)
    )
