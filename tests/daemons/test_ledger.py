"""The ledger balances whatever comes in, is replaced, is lent and is written; and Prometheus can read it."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from carbonpy.cache.cache import Cache
from carbonpy.daemons.ledger import Ledger, prometheus
from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import NameTable, judge_by_lists
from carbonpy.net.writers import Writers


class Books:
    """Names, intake and cache with a ledger, as the daemon wires them."""

    def __init__(self) -> None:
        self.cache = Cache(on_replaced=lambda points: self.ledger.dropped.add("replaced", points))
        self.names = NameTable(judge_by_lists(lambda name: name.startswith("junk"), None), max_names=5)
        self.full = False
        self.intake = Intake(self.names, self.cache.append, lambda: 1000.0, full=lambda: self.full)
        self.ledger = Ledger(self.intake, self.cache)
        self.writers = Writers(
            Clock(), self.cache, [], interval=1.0, creates=None, pressed=lambda: False, on_room=lambda: None
        )

    def figures(self) -> dict[str, object]:
        figures = self.ledger.as_dict()
        dropped = figures["dropped"]
        assert figures["balanced"] is True, figures
        assert all(points > 0 for points in dropped.values())
        assert figures["received"] == (
            figures["written"] + figures["cached"] + figures["journal_backlog"] + sum(dropped.values())
        )
        return figures


steps = st.one_of(
    st.tuples(
        st.just("lines"),
        st.lists(
            st.sampled_from([b"a 1 1", b"a 2 1", b"b 1 5", b"junk 1 1", b"x", b"a nan 1", b"c 1 -9", b"d..e 1 1"])
        ),
    ),
    st.tuples(st.just("datagram"), st.lists(st.sampled_from([b"a 1 1", b"y"]))),
    st.tuples(st.just("seal"), st.just([])),
    st.tuples(st.just("write"), st.booleans()),
    st.tuples(st.just("give back"), st.just([])),
    st.tuples(st.just("full"), st.booleans()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=30))
def test_it_balances_after_every_step(history: list[tuple[str, list[bytes] | bool]]) -> None:
    books = Books()
    sent = 0
    books.ledger.writers = books.writers
    for step, detail in history:
        if isinstance(detail, list) and step in ("lines", "datagram"):
            sent += len(detail)
            books.intake.lines([(b"".join(line + b"\n" for line in detail), "s")], droppable=step == "datagram")
        elif step == "seal":
            books.cache.seal()
        elif step == "full":
            books.full = bool(detail)
        else:
            books.cache.seal()
            loan = books.cache.lend(0)
            if loan is not None:
                assert books.figures()["received"] == sent
                if step == "give back":
                    books.cache.give_back(loan)
                else:
                    deferred = np.unique(loan.columns[0])[:1] if detail else np.empty(0, np.uint32)
                    left = books.cache.confirm(loan, deferred.astype(np.uint32))
                    books.writers.written.add(left)
        assert books.figures()["received"] == sent


def test_points_of_an_earlier_life_are_received_too() -> None:
    books = Books()
    books.ledger.recovered.add(10)
    books.ledger.backlog = 10
    assert books.figures()["journal_backlog"] == 10
    books.ledger.backlog = 4
    books.ledger.dropped.add("journal_damaged", 6)
    figures = books.figures()
    assert (figures["received"], figures["recovered"], figures["dropped"]) == (10, 10, {"journal_damaged": 6})


def test_a_reason_that_several_give_is_told_once() -> None:
    books = Books()
    books.ledger.writers = books.writers
    books.ledger.recovered.add(5)
    books.ledger.dropped.add("timestamp", 2)
    books.writers.dropped.add("timestamp", 3)
    books.intake.refuse("timestamp", "s", b"", "late", 4)
    assert books.figures()["dropped"] == {"timestamp": 9}


def test_an_imbalance_is_told() -> None:
    books = Books()
    books.ledger.recovered.add(1)
    assert books.ledger.as_dict()["balanced"] is False


def test_every_line_of_the_prometheus_text_has_its_form() -> None:
    text = prometheus(
        [
            ("received_total", "counter", "Datapoints received.", 7),
            ("dropped_total", "counter", "Datapoints dropped, by reason.", {"nan": 1, "malformed": 2}),
            ("cpu_seconds_total", "counter", "CPU.", 0.125),
        ]
    )
    assert text.endswith("\n")
    samples = [line for line in text.splitlines() if not line.startswith("# ")]
    assert all(re.fullmatch(r'carbonpy_[a-z_]+(\{reason="[a-z_]+"\})? [0-9.]+', sample) for sample in samples)
    assert samples == [
        "carbonpy_received_total 7",
        'carbonpy_dropped_total{reason="nan"} 1',
        'carbonpy_dropped_total{reason="malformed"} 2',
        "carbonpy_cpu_seconds_total 0.125",
    ]
    assert text.count("# HELP carbonpy_") == text.count("# TYPE carbonpy_") == 3
