"""Targets over a small tree of metrics in memory, the one that the recorded answers were made with.

`evaluate("sumSeries(a.*.x)")` gives series from T - 300 (exclusive) to T + 300 (inclusive).  T is an hour
boundary.  Every metric has one archive of 4 hours and 10 slots:

    a.h1.x   60 s   1, 2, ... 40 from T - 1200           a.h2.x   60 s   10, 20, ... 400, every fifth missing
    b.h1.x   10 s   240 times 1                          b.h2.x   300 s  100, 200, ... 800
    cnt.c    60 s   10 20 30 5 15 _ 25 40 1 2, 4 times   gap.g    60 s   1 _ _ 4 _ 6 _ _ _ 10, 4 times
    neg.n    60 s   -3 0 2 -1 0.5 4 -2.25 1 0 3, 4 times
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.expression.evaluate import Evaluation
from carbonpy.expression.plan import Reading, tag_expressions
from carbonpy.functions.library import Library
from carbonpy.series.series import Series
from carbonpy.timespan import Span

#: 2026-11-23 03:00 UTC, the hour the recorded answers were made in.
T = 1_795_402_800
FIRST = T - 1200
_ = float("nan")

TREE: dict[str, tuple[int, list[float]]] = {
    "a.h1.x": (60, [float(v) for v in range(1, 41)]),
    "a.h2.x": (60, [v * 10.0 if v % 5 else _ for v in range(1, 41)]),
    "b.h1.x": (10, [1.0] * 240),
    "b.h2.x": (300, [v * 100.0 for v in range(1, 9)]),
    "cnt.c": (60, [10.0, 20.0, 30.0, 5.0, 15.0, _, 25.0, 40.0, 1.0, 2.0] * 4),
    "gap.g": (60, [1.0, _, _, 4.0, _, 6.0, _, _, _, 10.0] * 4),
    "neg.n": (60, [-3.0, 0.0, 2.0, -1.0, 0.5, 4.0, -2.25, 1.0, 0.0, 3.0] * 4),
}


class Store:
    """Metrics in memory.  asked: the batches of readings that were asked for.

    A metric is (step, values from FIRST on); its tags are those in its name (``cpu;dc=eu``).
    """

    def __init__(self, metrics: Mapping[str, tuple[int, Sequence[float]]] = TREE, now: int = T + 300) -> None:
        self._metrics = metrics
        self._now = now
        self.asked: list[list[Reading]] = []

    def __call__(self, readings: Sequence[Reading]) -> dict[Reading, list[Series]]:
        self.asked.append(list(readings))
        return {
            one: [self._series(name, one) for name in sorted(self._names(one.path)) if one.start <= self._now]
            for one in readings
        }

    def _names(self, path: str) -> list[str]:
        expressions = tag_expressions(path)
        if expressions is not None:
            return [name for name in self._metrics if all(_tagged(name, one) for one in expressions)]
        patterns = _braces(path)
        return [name for name in self._metrics if any(_matches(name, pattern) for pattern in patterns)]

    def _series(self, name: str, wanted: Reading) -> Series:
        step, values = self._metrics[name]
        oldest = self._now - (4 * 3600 + 10 * step)
        grid = Span.graphite(max(wanted.start, oldest), max(min(wanted.end, self._now), oldest), step)
        row = np.full(grid.count, np.nan)
        for index, value in enumerate(values):
            slot = (FIRST + index * step - grid.start) // step
            if 0 <= slot < grid.count:
                row[slot] = value
        return Series(name, grid.start, grid.end, step, row, tags=_tags(name))


def evaluate(*targets: str, library: Library | None = None, store: Store | None = None, **options: Any) -> list[Series]:
    """The series of targets; options are those of `Evaluation`."""
    times = {"start": T - 300, "end": T + 300, "now": T + 300}
    return Evaluation(library or Library.standard(), store or Store(), **{**times, **options}).evaluate(targets)


def _tags(name: str) -> dict[str, str]:
    plain, *tags = name.split(";")
    return {"name": plain, **dict(tag.split("=", 1) for tag in tags)}


def _tagged(name: str, expression: str) -> bool:
    match = re.match(r"([^;!=]+)(!?=~?)(.*)", expression)
    if match is None:
        raise QueryError(f"{expression!r} is no tag expression")
    tag, operator, wanted = match.groups()
    value = _tags(name).get(tag, "")
    found = re.match(wanted, value) is not None if "~" in operator else value == wanted
    return found != operator.startswith("!")


def _matches(name: str, pattern: str) -> bool:
    nodes, parts = name.split("."), pattern.split(".")
    return len(nodes) == len(parts) and all(fnmatchcase(node, part) for node, part in zip(nodes, parts))


def _braces(pattern: str) -> list[str]:
    """The patterns without braces that one with braces stands for."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    return [
        expanded
        for choice in match.group(1).split(",")
        for expanded in _braces(pattern[: match.start()] + choice + pattern[match.end() :])
    ]
