"""What many senders sent in a few milliseconds is handed on together, in order, and in time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import NameTable
from carbonpy.net.gathering import Gatherer


class Gathered:
    """A gatherer before an intake that keeps what it accepts."""

    def __init__(self, interval: float = 0.01, size: int = 1000, full: bool = False) -> None:
        self.clock = Clock()
        self.names = NameTable()
        self.batches: list[list[tuple[str, int, float]]] = []
        self.intake = Intake(self.names, self._keep, lambda: 0.0, full=lambda: full)
        self.gatherer = Gatherer(self.clock, self.intake, interval=interval, size=size)

    def _keep(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        columns = zip(map(self.names.metric, ids.tolist()), timestamps.tolist(), values.tolist())
        self.batches.append(list(columns))

    def points(self, *points: tuple[str, int, float]) -> None:
        names, timestamps, values = zip(*points)
        self.gatherer.points([name.encode() for name in names], np.array(timestamps, float), np.array(values, float))


def test_lines_of_several_senders_are_one_batch_after_the_interval() -> None:
    it = Gathered()
    it.gatherer.lines(b"a 1 1\n", "one")
    it.clock.advance(0.005)
    it.gatherer.lines(b"b 2 2\n", "two")
    assert it.batches == []
    it.clock.advance(0.005)
    assert it.batches == [[("a", 1, 1.0), ("b", 2, 2.0)]]
    assert it.clock.getDelayedCalls() == []


def test_much_is_handed_on_at_once() -> None:
    it = Gathered(size=12)
    it.gatherer.lines(b"a 1 1\n", "one")
    assert it.batches == []
    it.gatherer.lines(b"b 2 2\n", "two")
    assert it.batches == [[("a", 1, 1.0), ("b", 2, 2.0)]]


def test_without_an_interval_nothing_waits() -> None:
    it = Gathered(interval=0)
    it.gatherer.lines(b"a 1 1\n", "one")
    it.points(("b", 2, 2.0))
    assert it.batches == [[("a", 1, 1.0)], [("b", 2, 2.0)]]
    assert it.clock.getDelayedCalls() == []


def test_pickles_are_joined() -> None:
    it = Gathered()
    it.points(("a", 1, 1.0), ("b", 2, 2.0))
    it.points(("c", 3, 3.0))
    it.gatherer.flush()
    assert it.batches == [[("a", 1, 1.0), ("b", 2, 2.0), ("c", 3, 3.0)]]


def test_only_lines_that_may_be_dropped_are_dropped_by_a_full_cache() -> None:
    it = Gathered(full=True)
    it.gatherer.lines(b"u 1 1\n", "udp", droppable=True)
    it.gatherer.lines(b"t 1 1\n", "tcp")
    it.gatherer.flush()
    it.points(("p", 1, 1.0))
    it.gatherer.flush()
    assert it.batches == [[("t", 1, 1.0)], [("p", 1, 1.0)]]
    assert it.intake.dropped.as_dict() == {"cache_full": 1}


steps = st.one_of(
    st.tuples(st.just("lines"), st.integers(1, 4)),
    st.tuples(st.just("points"), st.integers(1, 4)),
    st.tuples(st.just("wait"), st.integers(1, 12)),
    st.tuples(st.just("flush"), st.just(0)),
)


@given(st.lists(steps), st.integers(1, 200))
def test_everything_comes_once_in_order_and_in_time(history: list[tuple[str, int]], size: int) -> None:
    it = Gathered(interval=0.010, size=size)
    sent: list[tuple[str, int, float]] = []
    since: float | None = None  # when the oldest that still waits came
    for kind, amount in history:
        if kind == "wait":
            it.clock.advance(amount / 1000)
        elif kind == "flush":
            it.gatherer.flush()
        else:
            some = [("m", len(sent) + number, float(number)) for number in range(amount)]
            sent += some
            if kind == "lines":
                it.gatherer.lines(b"".join(b"m %r %d\n" % (value, when) for _, when, value in some), "s")
            else:
                it.points(*some)
        taken = [point for batch in it.batches for point in batch]
        assert taken == sent[: len(taken)]
        if len(taken) == len(sent):
            since = None
        elif since is None:
            since = it.clock.seconds()
        assert since is None or it.clock.seconds() - since < 0.010 + 1e-9
    it.gatherer.flush()
    assert [point for batch in it.batches for point in batch] == sent
