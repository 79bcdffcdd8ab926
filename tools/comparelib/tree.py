"""The whisper tree that both sides read: several archives and methods, gaps, counters, negatives, tags.

The law: the tree is the same for the same `now`, and written with the `whisper` package.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

#: The hour that everything is counted from: a fixed moment, so that answers can be kept and compared.
T = 1_700_000_000 // 3600 * 3600
#: What "now" is in every question.
NOW = T + 300

Value = Callable[[int], "float | None"]


class File(NamedTuple):
    """One metric: its archives, method and xFilesFactor, and the points from `start` on, one a step."""

    metric: str
    archives: tuple[tuple[int, int], ...]
    method: str
    xff: float
    start: int
    count: int
    value: Value

    def points(self) -> Iterator[tuple[int, float]]:
        step = self.archives[0][0]
        for index in range(self.count):
            value = self.value(index)
            if value is not None:
                yield self.start + index * step, value


def _cycle(*values: float | None) -> Value:
    return lambda index: values[index % len(values)]


def _simple(metric: str, step: int, count: int, value: Value) -> File:
    return File(metric, ((step, 4 * 3600 // step + 10),), "average", 0.5, T - 1200, count, value)


def files() -> list[File]:
    """Everything in the tree."""
    wave: Value = lambda index: round(50 + 40 * math.sin(index / 17), 6)  # noqa: E731
    found = [
        _simple("a.h1.x", 60, 40, lambda index: index + 1.0),
        _simple("a.h2.x", 60, 40, lambda index: None if (index + 1) % 5 == 0 else 10.0 * (index + 1)),
        _simple("b.h1.x", 10, 240, _cycle(1.0)),
        _simple("b.h2.x", 300, 8, lambda index: 100.0 * (index + 1)),
        _simple("cnt.c", 60, 40, _cycle(10.0, 20.0, 30.0, 5.0, 15.0, None, 25.0, 40.0, 1.0, 2.0)),
        _simple("gap.g", 60, 40, _cycle(1.0, None, None, 4.0, None, 6.0, None, None, None, 10.0)),
        _simple("neg.n", 60, 40, _cycle(-3.0, 0.0, 2.0, -1.0, 0.5, 4.0, -2.25, 1.0, 0.0, 3.0)),
        _simple("void.empty", 60, 0, _cycle(None)),
    ]
    for host in range(1, 5):
        for part, method in (("cpu", "average"), ("bytes", "sum"), ("peak", "max"), ("low", "min"), ("state", "last")):
            shift = host * 13 + len(part)
            found.append(
                File(
                    f"srv.h{host}.{part}",
                    ((60, 240), (300, 600), (3600, 800)),
                    method,
                    0.3,
                    T - 3 * 86400,
                    3 * 1440 + 6,
                    lambda index, shift=shift: None if (index + shift) % 11 == 0 else wave(index + shift),
                )
            )
    for tags in ("dc=east;rack=r1", "dc=east;rack=r2", "dc=west;rack=r1", "dc=west"):
        shift = len(found)
        found.append(_simple(f"disk.used;{tags}", 60, 40, lambda index, shift=shift: float(index * shift % 29)))
    return found


def path_of(metric: str) -> str:
    """Where the file of a metric lies below the data directory."""
    if ";" not in metric:
        return metric.replace(".", "/") + ".wsp"
    digest = hashlib.sha256(metric.encode()).hexdigest()
    return f"_tagged/{digest[:3]}/{digest[3:6]}/{digest}.wsp"


def build(data_dir: Path) -> list[str]:
    """Write the tree; the names of all metrics."""
    import whisper

    metrics = []
    for file in files():
        path = data_dir / path_of(file.metric)
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), list(file.archives), file.xff, file.method)
        points = list(file.points())
        # In the order of time and a day at a time, as a daemon would have written them.
        for day in range(0, len(points), 1440):
            part = points[day : day + 1440]
            whisper.update_many(str(path), part, now=min(NOW, part[-1][0]))
        metrics.append(file.metric)
    return metrics
