"""What an intake shows of points that are also aggregated, and points from within."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import NameTable, judge_by_lists

NOW = 1_700_000_000.75


class Fed:
    """An intake with lists and rewriting, what it accepted and what it showed."""

    def __init__(self, resolution: int = 1) -> None:
        denies = judge_by_lists(lambda name: name.startswith("junk"), None)
        self.names = NameTable(denies, rename=lambda raw: None if raw == b"only" else raw.replace(b"raw", b"in"))
        self.accepted: list[tuple[str, int, float]] = []
        self.shown: list[tuple[bytes, int, float]] = []
        self.intake = Intake(self.names, self._accept, lambda: NOW, resolution=resolution)
        self.intake.feed = self._feed

    def _accept(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        self.accepted += zip(map(self.names.metric, ids.tolist()), timestamps.tolist(), values.tolist())

    def _feed(self, names: Sequence[bytes], good: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        assert len(names) == len(good) == len(timestamps) == len(values) and timestamps.dtype == np.uint32
        rows = zip(names, timestamps.tolist(), values.tolist())
        self.shown += [row for row, fine in zip(rows, good.tolist()) if fine]

    def balance(self) -> dict[str, int]:
        intake = self.intake
        assert intake.received.value == intake.accepted.value + intake.dropped.total()
        return intake.dropped.as_dict()


def test_good_points_are_shown_under_the_names_under_which_they_came_and_refused_ones_are_not() -> None:
    fed = Fed()
    text = b"raw.a 1 100\nonly 2 100\njunk 3 100\nraw.b nan 100\nraw.c 4 -1\nraw.d 5 -9\n.. 6 100\nbad\n"
    fed.intake.lines([(text, "here")])
    assert fed.accepted == [("in.a", 100, 1.0), ("in.c", int(NOW), 4.0)]
    assert fed.shown == [(b"raw.a", 100, 1.0), (b"only", 100, 2.0), (b"raw.c", int(NOW), 4.0)]
    assert fed.balance() == {
        "blacklisted": 1, "invalid_name": 1, "malformed": 1, "nan": 1, "not_forwarded": 1, "timestamp": 1
    }  # fmt: skip


def test_timestamps_are_rounded_before_they_are_shown() -> None:
    fed = Fed(resolution=60)
    fed.intake.lines([(b"raw.a 1 119\nonly 2 61\n", "here")])
    assert fed.shown == [(b"raw.a", 60, 1.0), (b"only", 60, 2.0)] and fed.accepted == [("in.a", 60, 1.0)]


def test_points_from_within_are_received_and_neither_rewritten_nor_shown() -> None:
    fed = Fed()
    fed.intake.generated([b"raw.sum", b"only", b"junk", b""], np.full(4, 100), np.arange(4.0))
    assert fed.accepted == [("raw.sum", 100, 0.0), ("only", 100, 1.0), ("junk", 100, 2.0)]
    assert fed.shown == [] and fed.balance() == {"invalid_name": 1}
    fed.intake.generated([], np.zeros(0), np.zeros(0))
    assert fed.intake.received.value == 4
