"""Plans in columns deal a batch as the plan of each name says, point by point."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.ingest.names import FIRST_ID, NameTable
from carbonpy.metric import as_it_came
from carbonpy.relaying.plan import Check, Choice, Feed, Plan, Sending
from carbonpy.relaying.plans import Plans
from carbonpy.rules.aggregates import AggregateSpec

SPEC = AggregateSpec(10, "sum")
POSITIVE = re.compile(rb"^[0-9.]+ ")
TARGETS = (0, 1, 2, 3, 4, 5, 6, 7, Choice((0, 1)), Choice((2, 3), 2, "least"))

plans_of_names = st.dictionaries(
    st.sampled_from([f"m{number}".encode() for number in range(20)]),
    st.builds(
        lambda sendings, feeds, check, dropped: Plan(
            tuple(Sending(name, tuple(targets)) for name, targets in sendings),
            tuple(Feed(name, SPEC) for name in feeds),
            (Check(POSITIVE, "drop", tuple(range(len(sendings))), tuple(range(len(feeds)))),) if check else (),
            dropped,
        ),
        st.lists(
            st.tuples(st.sampled_from([b"", b"other"]), st.lists(st.sampled_from(TARGETS), max_size=3, unique=True)),
            max_size=2,
        ),
        st.lists(st.sampled_from([b"out", b"put"]), max_size=2),
        st.booleans(),
        st.sampled_from(["", "blackholed"]),
    ),
    max_size=20,
)


class Dealt:
    """A Plans over a name table, with everything it hands out written down."""

    def __init__(self, known: dict[bytes, Plan]) -> None:
        # An empty name of a sending stands for the name itself.
        self.plans_by_name = {
            name: plan._replace(sendings=tuple(s._replace(name=s.name or name) for s in plan.sendings))
            for name, plan in known.items()
        }
        self.outputs: list[bytes] = []
        self.fed: Counter[tuple[bytes, int, float]] = Counter()
        self.sent: Counter[tuple[object, bytes, int, float]] = Counter()
        self.names = NameTable(form=as_it_came)
        self.plans = Plans(self.plan, self.names.metrics, lambda: 5.0, buffer=self.buffer, feed=self.feed)
        self.names.on_new.append(self.plans.met)

    def plan(self, name: bytes) -> Plan:
        return self.plans_by_name.get(name, Plan((Sending(name, (0,)),)))

    def buffer(self, feed: Feed) -> int:
        if feed.name not in self.outputs:
            self.outputs.append(feed.name)
        return self.outputs.index(feed.name)

    def feed(self, outputs: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        for output, when, value in zip(outputs.tolist(), timestamps.tolist(), values.tolist()):
            self.fed[self.outputs[output], when, value] += 1

    def deal(self, points: list[tuple[bytes, int, float]], as_lines: bool) -> None:
        ids = np.array([self.names.intern(name) for name, _, _ in points], np.uint32)
        assert ids.min() >= FIRST_ID
        text = b"".join(b"%s %r %d\n" % (name, value, when) for name, when, value in points) if as_lines else None
        columns = np.array([when for _, when, _ in points], np.uint32), np.array([value for _, _, value in points])
        for way in self.plans.deal(ids, *columns, text):
            assert way.chunk.born == 5.0
            came = way.chunk.columns()
            assert way.chunk.points == len(came.names)
            rows = list(zip(came.names, came.timestamps.tolist(), came.values.tolist()))
            lines = [line.split() for line in way.chunk.text().splitlines()]
            assert [(name, int(when), float(value)) for name, value, when in lines] == rows
            for target in way.targets:
                for row in rows:
                    self.sent[(target, *row)] += 1


@given(
    known=plans_of_names,
    points=st.lists(
        st.tuples(
            st.sampled_from([f"m{number}".encode() for number in range(24)]),
            st.integers(0, 2**32 - 1),
            st.integers(-3, 3).map(float),
        ),
        min_size=1,
        max_size=40,
    ),
    as_lines=st.booleans(),
)
def test_a_batch_is_dealt_as_its_points_would_be_one_by_one(
    known: dict[bytes, Plan], points: list[tuple[bytes, int, float]], as_lines: bool
) -> None:
    dealt = Dealt(known)
    dealt.deal(points, as_lines)
    sent: Counter[tuple[object, bytes, int, float]] = Counter()
    fed: Counter[tuple[bytes, int, float]] = Counter()
    relayed = aggregated = dropped = 0
    for name, when, value in points:
        plan = dealt.plan(name)
        fails = bool(plan.checks) and value < 0
        sendings = [s for s in plan.sendings if s.targets] if not fails else []
        feeds = plan.feeds if not fails else ()
        # Two sendings of one name to the same destinations are two sendings.
        for sending in sendings:
            for target in sending.targets:
                sent[target, sending.name, when, value] += 1
        for feed in feeds:
            fed[feed.name, when, value] += 1
        relayed += bool(sendings)
        aggregated += bool(feeds and not sendings and (plan.checks or not plan.dropped))
        dropped += not sendings and not (feeds and (plan.checks or not plan.dropped))
    assert dealt.sent == sent and dealt.fed == fed
    plans = dealt.plans
    assert (plans.relayed.value, plans.aggregated.value, plans.dropped.total()) == (relayed, aggregated, dropped)


def test_a_new_router_moves_the_names_that_it_says_and_counts_them() -> None:
    dealt = Dealt({})
    dealt.deal([(b"a", 1, 1.0), (b"b", 1, 1.0)], True)
    dealt.sent.clear()
    dealt.plans_by_name = {b"b": Plan((Sending(b"b", (3,)),))}
    names = list(enumerate(dealt.names.metrics([FIRST_ID, FIRST_ID + 1]), FIRST_ID))
    assert dealt.plans.use(dealt.plan, names) == 1
    dealt.deal([(b"a", 2, 1.0), (b"b", 2, 1.0)], True)
    assert dealt.sent == {(0, b"a", 2, 1.0): 1, (3, b"b", 2, 1.0): 1}


def test_lines_go_on_as_they_came_in() -> None:
    dealt = Dealt({b"b": Plan((Sending(b"b", (1,)),))})
    ids = np.array([dealt.names.intern(name) for name in (b"a", b"b", b"a")], np.uint32)
    columns = np.array([1, 1, 2], np.uint32), np.array([1.0, 2.0, 3.0])
    ways = dealt.plans.deal(ids, *columns, b"a 1.00 1\nb 2e0 1\na 03 2\n")
    assert {way.targets: way.chunk.text() for way in ways} == {(0,): b"a 1.00 1\na 03 2\n", (1,): b"b 2e0 1\n"}
