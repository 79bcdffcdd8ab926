"""What is sent, and what must then be on disk: both follow from one small description, so neither is remembered.

A `Workload` is `metrics` x `points` on slots `STEP` seconds apart that end at `last`. The value of a point follows
from its metric and its place alone. The bytes for each of the connections are made once per bench and sent unchanged to
every daemon. Within a connection the points come as senders send them: all metrics of one moment, then the next.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 4
STEP = 10
RETENTIONS = "10s:6h,1m:7d"
PLUGINS = ("cpu", "load", "memory", "disk", "interface", "df", "nginx", "postgres", "redis", "app")
POINTS_PER_FRAME = 500


def metric_name(number: int) -> str:
    """The name of metric `number`: a hundred metrics per host, ten per plugin."""
    host, rest = divmod(number, 100)
    plugin, leaf = divmod(rest, 10)
    return f"bench.web{host:04d}.{PLUGINS[plugin]}.value{leaf}"


def value_text(number: int, place: int) -> str:
    """The value of point `place` of metric `number`, as sent on the line port."""
    return f"{(number * 7919 + place * 104729) % 1000003 / 100:.2f}"


@dataclass(frozen=True)
class Workload:
    """`metrics` x `points`; the newest point of each metric lies at `last` (a multiple of `STEP`)."""

    metrics: int
    points: int
    last: int
    first_place: int = 0

    @property
    def total(self) -> int:
        """How many points that makes."""
        return self.metrics * self.points

    def moments(self) -> list[tuple[int, int]]:
        """(place, timestamp) of the points of a metric, oldest first."""
        oldest = self.last - STEP * (self.points - 1)
        return [(self.first_place + index, oldest + STEP * index) for index in range(self.points)]

    def points_of(self, number: int) -> list[tuple[int, float]]:
        """(timestamp, value) of all points of metric `number`, oldest first."""
        return [(timestamp, float(value_text(number, place))) for place, timestamp in self.moments()]

    def share(self, connection: int) -> list[int]:
        """The metrics that travel over `connection`: whole hosts, dealt out in turn."""
        return [number for number in range(self.metrics) if number // 100 % CONNECTIONS == connection]


def write_payloads(workload: Workload, pickled: bool, directory: Path) -> list[Path]:
    """Write one file per connection with the bytes to send; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for connection in range(CONNECTIONS):
        path = directory / f"{'pickle' if pickled else 'line'}-{connection}"
        pieces = _frames(workload, connection) if pickled else _lines(workload, connection)
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        paths.append(path)
    return paths


def _lines(workload: Workload, connection: int) -> Iterator[bytes]:
    numbers = workload.share(connection)
    names = {number: metric_name(number) for number in numbers}
    for place, timestamp in workload.moments():
        yield "".join(f"{names[number]} {value_text(number, place)} {timestamp}\n" for number in numbers).encode()


def _frames(workload: Workload, connection: int) -> Iterator[bytes]:
    numbers = workload.share(connection)
    names = {number: metric_name(number) for number in numbers}
    for place, timestamp in workload.moments():
        for start in range(0, len(numbers), POINTS_PER_FRAME):
            body = pickle.dumps(
                [(names[number], (timestamp, float(value_text(number, place))))
                 for number in numbers[start : start + POINTS_PER_FRAME]],
                protocol=2,
            )
            yield struct.pack("!L", len(body)) + body
