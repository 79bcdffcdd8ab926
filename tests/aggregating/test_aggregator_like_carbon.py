"""The same points to carbon's own aggregator and to ours: the same figures at the same times."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import carbon.aggregator.buffers as carbon_buffers
import numpy as np
import pytest
from carbon import events, instrumentation
from carbon import state as carbon_state
from carbon.aggregator.buffers import BufferManager
from carbon.aggregator.processor import AggregationProcessor
from carbon.aggregator.rules import AGGREGATION_METHODS, RuleManager
from carbon.conf import settings as carbon_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock, LoopingCall

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.pipeline import Pipeline
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.rewriting import RewriteRules

VECTORS = json.loads((Path(__file__).resolve().parent.parent / "vectors" / "aggregator_timelines.json").read_text())
BASE = 1_700_000_000
#: (when, kind, name, timestamp, value)
Sent = tuple[float, str, str, int, float]


class Carbon:
    """carbon's aggregator on a clock that is set by hand."""

    def __init__(self, rules: list[str], forward_all: bool, write_back: float | None, intervals: int) -> None:
        self.clock = Clock()
        self.sent: list[Sent] = []
        BufferManager.clear()
        carbon_state.events, carbon_state.instrumentation = events, instrumentation
        RuleManager.rules = [RuleManager.parse_definition(rule) for rule in rules]
        carbon_settings.update(
            FORWARD_ALL=forward_all,
            WRITE_BACK_FREQUENCY=write_back,
            MAX_AGGREGATION_INTERVALS=intervals,
            LOG_AGGREGATOR_MISSES=False,
        )
        carbon_buffers.time = SimpleNamespace(time=lambda: BASE + self.clock.seconds())
        carbon_buffers.LoopingCall = self._looping_call
        events.metricGenerated.handlers[:] = [self._generated]
        self._process = AggregationProcessor().process

    def _looping_call(self, work: Callable[[], None]) -> LoopingCall:
        call = LoopingCall(work)
        call.clock = self.clock
        return call

    def _generated(self, name: str, point: tuple[int, float]) -> None:
        self.sent.append((self.clock.seconds(), "generated", name, point[0], point[1]))

    def feed(self, name: str, timestamp: int, value: float) -> None:
        for forwarded, point in self._process(name, (timestamp, value)):
            self.sent.append((self.clock.seconds(), "forwarded", forwarded, point[0], point[1]))

    def keeps(self, output: str, interval: int) -> bool:
        return output in BufferManager.buffers and interval in BufferManager.buffers[output].interval_buffers

    def tick(self) -> None:
        self.clock.advance(1)


class Ours:
    """The same with carbonpy's parts."""

    def __init__(self, rules: list[str], forward_all: bool, write_back: float | None, intervals: int) -> None:
        self.now = 0
        self.sent: list[Sent] = []
        self.aggregator = Aggregator(intervals=intervals, write_back=write_back)
        book = AggregationRules.parse("\n".join(rules), "rules")
        self.pipeline = Pipeline(RewriteRules.default(), book, forward_all=forward_all)
        self._batch: list[tuple[int, int, float]] = []

    def feed(self, name: str, timestamp: int, value: float) -> None:
        course = self.pipeline.of(name.encode())
        for output, spec in course.feeds:
            self._batch.append((self.aggregator.buffer(output, spec), timestamp, value))
        if course.sent_as is not None:
            self.sent.append((self.now, "forwarded", course.sent_as.decode(), timestamp, value))

    def tick(self) -> None:
        """All points of a second are one batch, then the clock goes on."""
        if self._batch:
            buffers, times, values = zip(*self._batch)
            self.aggregator.take(
                np.array(buffers), np.array(times, np.uint32), np.array(values, np.float64), BASE + self.now
            )
        self._batch = []
        self.now += 1
        due = self.aggregator.due(BASE + self.now)
        self.sent += [
            (self.now, "generated", name.decode(), timestamp, value)
            for name, timestamp, value in zip(due.names, due.timestamps.tolist(), due.values.tolist())
        ]


@pytest.fixture(autouse=True, scope="module")
def carbon_as_it_was() -> Iterator[None]:
    handlers = list(events.metricGenerated.handlers)
    yield
    BufferManager.clear()
    events.metricGenerated.handlers[:] = handlers
    carbon_buffers.time = time
    carbon_buffers.LoopingCall = LoopingCall


def assert_alike(ours: list[Sent], theirs: list[Sent]) -> None:
    """In an order that does not depend on which output ticks first.

    Figures to the precision that they have: Python 3.12 adds up floats in another way than those before it and numpy.
    """
    mine, carbons = sorted(ours), sorted(theirs)
    assert [one[:4] for one in mine] == [one[:4] for one in carbons]
    assert [one[4] for one in mine] == pytest.approx([one[4] for one in carbons], rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("line", VECTORS["timelines"], ids=[line["name"] for line in VECTORS["timelines"]])
def test_a_recorded_timeline_is_the_same(line: dict[str, Any]) -> None:
    wanted = line["settings"]
    ours = Ours(
        line["rules"],
        wanted["FORWARD_ALL"],
        wanted["WRITE_BACK_FREQUENCY"],
        wanted["MAX_AGGREGATION_INTERVALS"],
    )
    feed = line["feed_[at_s,metric,timestamp,value]"]
    for second in range(line["run_until_s"] + 1):
        for at, name, timestamp, value in feed:
            if at == second:
                ours.feed(name, timestamp, value)
        ours.tick()
    recorded = [(o["at"], o["kind"], o["metric"], o["timestamp"], o["value"]) for o in line["output"]]
    assert_alike([sent for sent in ours.sent if sent[0] <= line["run_until_s"]], recorded)


_INPUTS = ["h.<x>.x", "h.<x>.*", "<<x>>"]


def _one_input_each(rules: list[tuple[str, int, str, str]]) -> list[str]:
    """Rules of one output get one input: else it depends, in carbon, on which is the first to match now and then."""
    inputs: dict[str, str] = {}
    return [f"{out} ({step}) = {how} {inputs.setdefault(out, pattern)}" for out, step, how, pattern in rules]


_RULES = st.lists(
    st.tuples(
        st.sampled_from(["all", "sum.<x>", "h.a.x", "twice", "twice"]),
        st.sampled_from([1, 2, 5, 7, 10]),
        st.sampled_from(sorted(AGGREGATION_METHODS)),
        st.sampled_from(_INPUTS),
    ),
    min_size=1,
    max_size=4,
).map(_one_input_each)
#: (second, name, how old the point is, value)
_POINTS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.sampled_from(["h.a.x", "h.b.x", "h.a.y", "other"]),
        st.sampled_from([0, 0, 0, 1, 3, 9, 30, 100, -5]),
        st.floats(-1000, 1000, width=32),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=300)
@given(
    _RULES,
    _POINTS,
    st.booleans(),
    st.sampled_from([None, 1, 3, 60, 0.5]),
    st.sampled_from([1, 2, 5]),
)
def test_any_points_make_the_same_figures_at_the_same_times(
    rules: list[str],
    points: list[tuple[int, str, int, float]],
    forward_all: bool,
    write_back: float | None,
    intervals: int,
) -> None:
    theirs, ours = (make(rules, forward_all, write_back, intervals) for make in (Carbon, Ours))
    seen: set[tuple[str, int]] = set()
    for second in range(140):
        for at, name, age, value in points:
            if at != second:
                continue
            stamp = BASE + at - age
            feeds = ours.pipeline.of(name.encode()).feeds
            steps = [
                (o.decode(), ours.aggregator.outputs.specs[ours.aggregator.buffer(o, spec)].interval)
                for o, spec in feeds
            ]
            touched = {(output, stamp - stamp % step) for output, step in steps}
            if any(one in seen and not theirs.keeps(*one) for one in touched):
                continue  # carbon has forgotten that interval and begins it anew: the one thing that differs
            seen |= touched
            theirs.feed(name, stamp, value)
            ours.feed(name, stamp, value)
        theirs.tick()
        ours.tick()
    assert_alike(ours.sent, theirs.sent)
    assert ours.aggregator.dropped.total() == 0
