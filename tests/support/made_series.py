"""Targets over series that a test makes itself, on grids of its own.

`ask("sumSeries(x, y)", x=[series("a.b", [1, None])], y=[...])` evaluates the target with the lists as what the paths
x and y stand for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from carbonpy.expression.evaluate import Evaluation
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

START, END = 0, 600


def series(name: str, values: Sequence[float | None], start: int = 60, step: int = 60, **fields: Any) -> Series:
    """A series with None for no value."""
    row = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return Series(name, start, start + step * len(row), step, row, **fields)


@cache
def _library() -> Library:
    return Library.standard()


def ask(target: str, /, xff: float = 0.0, **paths: list[Series]) -> list[Series]:
    """What the target gives over the series that its paths stand for; a path of no list has none."""
    fetched = Evaluation(
        _library(),
        lambda readings: {one: paths.get(one.path, []) for one in readings},
        start=START,
        end=END,
        now=END,
        xff=xff,
    )
    return fetched.evaluate([target])


def values(one: Series) -> list[float | None]:
    """The values with None for no value."""
    return [None if math.isnan(value) else value for value in one.values.tolist()]
