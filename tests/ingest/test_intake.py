"""The intake: every datapoint is accepted or counted under one reason, whatever comes and however it comes."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.carbon_receivers import line_receiver

from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import MAX_REFUSALS, NameTable, judge_by_lists
from carbonpy.metric import canonical

NOW = 1_700_000_000.75


class Kept:
    """What an intake accepted, in order, and what it complained about."""

    def __init__(self, names: NameTable | None = None, **options: Any) -> None:
        self.names = NameTable() if names is None else names
        self.batches: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.complaints: list[tuple[str, bytes, str]] = []
        self.intake = Intake(
            self.names,
            lambda *columns: self.batches.append(columns),
            lambda: NOW,
            complain=lambda *complaint: self.complaints.append(complaint),
            **options,
        )

    @property
    def points(self) -> list[tuple[str, int, float]]:
        return [
            (self.names.metric(number), when, value)
            for ids, timestamps, values in self.batches
            for number, when, value in zip(ids.tolist(), timestamps.tolist(), values.tolist())
        ]

    @property
    def dropped(self) -> dict[str, int]:
        return self.intake.dropped.as_dict()

    def balance(self) -> None:
        intake = self.intake
        assert intake.received.value == intake.accepted.value + intake.dropped.total()
        assert intake.accepted.value == len(self.points)
        for ids, timestamps, values in self.batches:
            assert ids.dtype == timestamps.dtype == np.uint32 and values.dtype == np.float64
            assert 0 < len(ids) == len(timestamps) == len(values)


def lines_of(text: bytes, **options: Any) -> Kept:
    kept = Kept(**options)
    kept.intake.lines([(text, "sender:1")])
    kept.balance()
    return kept


names = st.sampled_from([b"a", b"a.b", b"a..b", b"m;b=1;a=2", b'm{a="2",b="1"}', "é".encode(), "a\u00a0b".encode(),
                         b"\xff", b"junk.x", b"a\x01", b".", b"x" * 300])  # fmt: skip
numbers = st.one_of(
    st.sampled_from([b"1", b"-1", b"-1.9", b"-0.5", b"-2", b"0", b"nan", b"inf", b"1e400", b"x", b"4294967295",
                     b"4294967296", b"1700000000", b"1700000007.9", b"1700003600", b"9" * 30, b""]),
    st.integers(0, 2**33).map(lambda number: b"%d" % number),
)  # fmt: skip
blanks = st.sampled_from([b" ", b" ", b" ", b" ", b"\t", b"  ", "\u2003".encode()])
lines = st.one_of(
    st.builds(lambda *parts: b"".join(parts), names, blanks, numbers, blanks, numbers, st.sampled_from([b"", b"\r"])),
    st.binary(max_size=10).map(lambda garbage: garbage.replace(b"\n", b"")),
)
texts = st.lists(lines, max_size=5).map(lambda some: b"".join(line + b"\n" for line in some))
lists = st.sampled_from([judge_by_lists(None, None), judge_by_lists(lambda name: name.startswith("junk"), None),
                         judge_by_lists(None, lambda name: name.startswith(("a", "é")))])  # fmt: skip
options = st.fixed_dictionaries(
    {"resolution": st.sampled_from([0, 1, 10]), "max_future": st.sampled_from([0, 60, 1e300, math.inf])}
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(texts, max_size=4), max_size=4), lists, options, st.sampled_from([3, 100]))
def test_what_is_received_is_accepted_or_dropped_and_the_gathered_is_as_the_single(
    gathered: list[list[bytes]], judge: Any, chosen: dict[str, Any], max_names: int
) -> None:
    together = Kept(NameTable(judge, max_names), **chosen)
    single = Kept(NameTable(judge, max_names), **chosen)
    careful = Kept(NameTable(judge, max_names), **chosen)
    for some in gathered:
        together.intake.lines([(text, str(number)) for number, text in enumerate(some)])
        for text in some:
            for line in text.split(b"\n")[:-1]:
                single.intake.lines([(line + b"\n", "s")])
            careful.intake._line_by_line(text, "s", False)
        together.balance()
        single.balance()
        careful.balance()
        assert together.points == single.points == careful.points
        assert together.dropped == single.dropped == careful.dropped
        assert len(together.complaints) == len(careful.complaints)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(names, st.floats(), st.floats())),
    lists,
    options,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_points_of_pickles_balance_too(
    points: list[tuple[bytes, float, float]],
    judge: Any,
    chosen: dict[str, Any],
    full: bool,
    flow_control: bool,
    droppable: bool,
) -> None:
    kept = Kept(NameTable(judge), full=lambda: full, flow_control=flow_control, **chosen)
    columns = [name for name, _, _ in points], *np.array([point[1:] for point in points]).reshape(-1, 2).T
    kept.intake.points(*columns, droppable=droppable)
    kept.balance()
    assert kept.intake.received.value == len(points)
    if full and points and (droppable or not flow_control):
        assert kept.dropped == {"cache_full": len(points)}
    else:
        assert kept.dropped.get("cache_full") is None
        for _, when, value in kept.points:
            assert 0 <= when < 2**32 and not math.isnan(value)


def test_a_bad_line_costs_itself_and_is_shown_with_its_sender() -> None:
    kept = Kept()
    kept.intake.lines(
        [(b"a 1 10\nb two 20\nc 3 30\n", "one:1"), (b"d 4 40\n", "two:2"), (b"\xff 5 50\ne 6 60\n", "three:3")]
    )
    assert kept.points == [("a", 10, 1.0), ("c", 30, 3.0), ("d", 40, 4.0), ("e", 60, 6.0)]
    assert kept.dropped == {"malformed": 2}
    assert [(sender, what) for sender, what, _ in kept.complaints] == [
        ("one:1", b"b two 20"),
        ("three:3", b"\xff 5 50"),
    ]
    assert "byte 0xff is not UTF-8" in kept.complaints[1][2]


def test_blank_lines_are_nothing() -> None:
    kept = lines_of(b"\n \r\n\na 1 1\n\t\n")
    assert kept.points == [("a", 1, 1.0)]
    assert kept.intake.received.value == 1


@pytest.mark.parametrize("when", [b"-1", b"-1.0", b"-1.9"])
def test_minus_one_means_now(when: bytes) -> None:
    assert lines_of(b"a 1 " + when + b"\n").points == [("a", int(NOW), 1.0)]


@pytest.mark.parametrize("when", [b"-2", b"-5", b"4294967296", b"1700000000000", b"1e19", b"inf", b"-inf", b"nan"])
def test_times_that_no_file_can_hold_are_dropped(when: bytes) -> None:
    kept = lines_of(b"a 1 " + when + b"\nb 2 4294967295\nc 3 -0.5\n")
    assert kept.points == [("b", 2**32 - 1, 2.0), ("c", 0, 3.0)]
    assert kept.dropped == {"timestamp": 1}


def test_nan_is_dropped_and_infinity_is_a_value() -> None:
    kept = lines_of(b"a nan 1\nb inf 2\nc -inf 3\nd 1e400 4\n")
    assert kept.points == [("b", 2, math.inf), ("c", 3, -math.inf), ("d", 4, math.inf)]
    assert kept.dropped == {"nan": 1}


def test_times_are_rounded_down_to_the_resolution() -> None:
    text = b"a 1 1700000009\nb 2 1700000010.9\nc 3 -1\n"
    assert [when for _, when, _ in lines_of(text, resolution=10).points] == [1700000000, 1700000010, 1700000000]
    assert [when for _, when, _ in lines_of(text, resolution=0).points] == [1700000009, 1700000010, 1700000000]


def test_times_too_far_ahead_are_dropped_if_a_limit_is_set() -> None:
    now = int(NOW)
    text = b"a 1 %d\nb 2 %d\nc 3 -1\nd 4 0\n" % (now + 60, now + 61)
    assert [name for name, _, _ in lines_of(text, max_future=60).points] == ["a", "c", "d"]
    assert len(lines_of(text, max_future=0).points) == len(lines_of(text, max_future=math.inf).points) == 4


def test_the_reasons_are_asked_in_the_order_of_carbon() -> None:
    judge = judge_by_lists(lambda name: name == "denied", lambda name: name != "other")
    kept = lines_of(b"denied nan -9\nother nan -9\nok nan -9\nok 1 -9\nok 1 1\n", names=NameTable(judge))
    assert kept.dropped == {"blacklisted": 1, "not_whitelisted": 1, "nan": 1, "timestamp": 1}


def test_a_full_cache_refuses_only_who_cannot_be_paused() -> None:
    kept = Kept(full=lambda: True)
    kept.intake.lines([(b"a 1 1\n", "tcp")])
    kept.intake.lines([(b"b 1 1\nc 1 1\n", "udp"), (b"bad\n", "udp")], droppable=True)
    kept.balance()
    assert kept.points == [("a", 1, 1.0)]
    assert kept.dropped == {"cache_full": 2, "malformed": 1}
    kept.intake.flow_control = False
    kept.intake.lines([(b"a 1 2\n", "tcp")])
    assert kept.dropped["cache_full"] == 3


def test_white_space_of_unicode_separates_fields_whatever_was_known_before() -> None:
    """A pickle may name a metric that has such a character in it; a line cannot."""
    kept = Kept()
    name = "a\u00a0b".encode()
    text = name + b" 1 1\n" + "\u00a0c 2 2\n".encode()
    kept.intake.lines([(text, "s")])
    kept.intake.points([name], np.array([5.0]), np.array([5.0]))
    kept.intake.lines([(text, "s")])
    assert kept.points == [("c", 2, 2.0), ("a\u00a0b", 5, 5.0), ("c", 2, 2.0)]
    assert kept.dropped == {"malformed": 2}


def test_a_flood_of_names_is_counted_and_not_remembered() -> None:
    kept = Kept(NameTable(judge_by_lists(lambda name: name.startswith("junk"), None), max_names=10))
    for start in range(0, MAX_REFUSALS + 20_000, 10_000):
        kept.intake.lines([(b"".join(b"junk.%d 1 1\n" % number for number in range(start, start + 10_000)), "s")])
    kept.intake.lines([(b"".join(b"flood.%d 1 1\n" % number for number in range(10_000)), "s")])
    kept.balance()
    assert kept.intake.accepted.value == len(kept.names) == 10
    assert kept.dropped["too_many_names"] == 9_990
    assert len(kept.names.ids) <= 10 + MAX_REFUSALS


def test_what_others_refuse_is_received_and_dropped() -> None:
    kept = Kept()
    kept.intake.refuse("malformed", "s", b"", "cut", 3)
    kept.balance()
    assert kept.intake.received.value == 3
    assert kept.complaints == [("s", b"", "cut")]


def test_carbon_accepts_the_same_datapoints(tmp_path: Path) -> None:
    """Only times differ: carbon keeps those that whisper later refuses, and fractions of seconds."""
    choose = Random(5)
    some = []
    for _ in range(3000):
        name = choose.choice(("a", "a.b", "ab..c", "~x", "m;b=1;a=2", 'm{b="1"}', "m;=", "é", "a\u00a0b", "q/r"))
        value, when = (choose.choice(("1", "-2.5", "nan", "inf", "1e400", "x", "-1", "-1.5", "1700000000.9", "0", "５"))
                       for _ in range(2))  # fmt: skip
        some.append(
            choose.choice(("{} {} {}", "{} {} {}", " {}\t{} {}\r", "{} {}", "{} {} {} 4")).format(name, value, when)
        )
    expected: list[tuple[str, int, float]] = []
    for theirs in line_receiver([line.encode() + b"\n" for line in some], tmp_path, int(NOW)):
        for name, when, value in theirs.points:
            if int(when) >= 0:
                expected.append((canonical(name), int(when), value))
    kept = lines_of("".join(line + "\n" for line in some).encode())
    assert kept.points == expected
    assert len(expected) > 500
