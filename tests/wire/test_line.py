"""The line protocol: what is a datapoint, the same at once and line by line, however the stream is cut."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.carbon_receivers import line_receiver

from carbonpy.errors import WireError
from carbonpy.wire.line import LineSplitter, format_columns, parse, parse_line

NAMES = (b"a", b"a.b", b"m;t=v", "é.ü".encode(), "a\u00a0b".encode(), "a\u2003".encode(), b"\xff", b"a\x85", b"a\x00b",
         "\u3000a".encode(), "\ufffd".encode(), b"1", b"\xc3", b"a\x1cb", "a\x85b".encode())  # fmt: skip
NUMBERS = (b"1", b"-1", b"0", b"1.5", b"-1.9", b"-0.5", b"1e3", b".5", b"5.", b"+5", b"inf", b"-Infinity", b"nan",
           b"1_000", "１２".encode(), b"1e400", b"0x10", b"1,5", b"True", b"1__0", b"1700000000", b"4294967296",
           b"9223372036854775808", b"9" * 5000, b"1700000000.9", b"--1", b"1 ", b"\xb5", b"1\x00", b"")  # fmt: skip
BLANKS = (b" ", b" ", b" ", b"\t", b"  ", b"\x0b", b"\x1c", "\u00a0".encode(), b"", b"\r", "\u2028".encode())
ENDS = (b"", b"", b"", b"\r", b" ", b"\x00", "\u00a0".encode())


def make_line(choose: Random) -> bytes:
    if choose.random() < 0.5:
        return b"%s %s %s" % (choose.choice(NAMES), choose.choice(NUMBERS), choose.choice(NUMBERS))
    parts = [choose.choice(ENDS)]
    for pool in (NAMES, NUMBERS, NUMBERS, NUMBERS)[: choose.choice((1, 2, 3, 3, 3, 3, 4))]:
        parts += [choose.choice(pool), choose.choice(BLANKS)]
    return b"".join([*parts[:-1], choose.choice(ENDS)])


lines = st.one_of(
    st.randoms(use_true_random=False).map(make_line),
    st.binary(max_size=12),
    st.sampled_from([b"a.b 1 2", b"c -3.5 1700000000", "é 4 5".encode()]),
).map(lambda line: line.replace(b"\n", b""))
texts = st.lists(lines, max_size=6).map(lambda some: b"".join(line + b"\n" for line in some))


def one_by_one(text: bytes) -> list[tuple[bytes, float, float]] | None:
    """The datapoints of the lines of a text; None if a line is none."""
    points = []
    for line in text.split(b"\n"):
        try:
            point = parse_line(line)
        except WireError:
            return None
        if point is not None:
            points.append(point)
    return points


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@settings(max_examples=2000)
@given(texts)
@example("a\u00a0b 1 2\n".encode())
@example("\u00a0a 1 2\n".encode())
@example(b"\xff 1 2\n")
@example(b"a 1 2\nb 1 1e400\n")
@example(b"a 1 2 \n")
@example(b"a 1 -0.5\nb 1 -1\n")
def test_a_text_read_at_once_is_its_lines_read_one_by_one(text: bytes) -> None:
    points = parse(text)
    if points is None:
        return
    expected = one_by_one(text)
    assert expected is not None
    assert points.names == [name for name, _, _ in expected]
    assert len(points.timestamps) == len(points.values) == len(expected)
    assert points.values.dtype == np.float64 and points.timestamps.dtype in (np.int64, np.float64)
    for when, value, (_, exact_when, exact_value) in zip(points.timestamps.tolist(), points.values.tolist(), expected):
        assert same(float(when), exact_when) and same(value, exact_value)


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_garbage_is_refused_with_a_sentence_and_nothing_else(garbage: bytes) -> None:
    parse(garbage)
    for line in garbage.split(b"\n"):
        try:
            parse_line(line)
        except WireError as error:
            assert ";" in str(error)


@pytest.mark.parametrize(
    "text", [b"a 1 2\n", b"a 1 2\r\nb.c;t=v -1e3 1700000000\r\n", b"a inf -1\nb nan 1.5\n", "é 1_0 2\n".encode()]
)
def test_well_formed_texts_are_read_at_once(text: bytes) -> None:
    points = parse(text)
    assert points is not None
    assert len(points.names) == text.count(b"\n")


@pytest.mark.parametrize("text", [b"", b"\n", b"a 1 2", b"a 1 2\n\n", b"a\t1\t2\n", b"a 1 2\rb 3 4\n", b"a x 2\n"])
def test_other_texts_are_left_to_the_careful_reader(text: bytes) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "line, point",
    [
        (b"a.b 1.5 1700000000", (b"a.b", 1700000000.0, 1.5)),
        (b" a\t1   2 \r", (b"a", 2.0, 1.0)),
        ("a\u00a01\u20032".encode(), (b"a", 2.0, 1.0)),
        (b"a\x1c1\x1d2", (b"a", 2.0, 1.0)),
        (b"a 1_000 -1.9", (b"a", -1.9, 1000.0)),
        ("a １２ 5.".encode(), (b"a", 5.0, 12.0)),
        (b"a 1e400 +5", (b"a", 5.0, math.inf)),
        (b"a -Infinity .5", (b"a", 0.5, -math.inf)),
        ("métrique 1 2".encode(), ("métrique".encode(), 2.0, 1.0)),
        (b"", None),
        (b" \t\r", None),
    ],
)
def test_lines_are_read_as_carbon_reads_them(line: bytes, point: tuple[bytes, float, float] | None) -> None:
    assert parse_line(line) == point


@pytest.mark.parametrize(
    "line, sentence",
    [
        (b"a 1", "2 fields instead of three"),
        (b"a 1 2 3", "4 fields instead of three"),
        (b"a\xff 1 2", "byte 0xff is not UTF-8"),
        (b"a 0x10 2", "not a number"),
        (b"a 1,5 2", "not a number"),
        (b"a True 2", "not a number"),
        (b"a 1 now", "not a number"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        parse_line(line)


def test_carbon_understands_the_same_of_every_line(tmp_path: Path) -> None:
    """Where carbon closes the connection (a byte not UTF-8, a time not finite) only the line is lost."""
    choose = Random(11)
    now = 1_700_000_000.0
    some = [make_line(choose).replace(b"\n", b"") for _ in range(4000)]
    accepted = closed = 0
    for line, theirs in zip(some, line_receiver([line + b"\n" for line in some], tmp_path, now), strict=True):
        try:
            ours = parse_line(line)
        except WireError:
            ours = None
            assert theirs.open or b"UTF-8" in reason(line)
        if theirs.points:
            assert ours is not None, line
            name, when, value = ours
            if int(when) == -1:
                when = now
            assert [(name.decode(), when, value)] == theirs.points, line
            accepted += 1
        elif ours is not None:
            assert math.isnan(ours[2]) or not math.isfinite(ours[1]), line
            closed += not theirs.open
    assert accepted > 600 and closed > 20


def reason(line: bytes) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        return b"not UTF-8"
    return b""


columns = st.lists(
    st.tuples(
        st.text("ab.;=é", min_size=1).map(str.encode),
        st.integers(0, 2**32 - 1),
        st.one_of(st.floats(allow_nan=False), st.integers(-(2**62), 2**62).map(float), st.sampled_from([0.0, -0.0])),
    )
)


@given(columns, st.sampled_from([np.uint32, np.int64]))
def test_columns_that_are_formatted_are_read_back_to_the_last_bit(
    rows: list[tuple[bytes, int, float]], kind: type
) -> None:
    times = np.array([when for _, when, _ in rows], kind)
    values = np.array([value for _, _, value in rows], np.float64)
    text = format_columns([name for name, _, _ in rows], times, values)
    assert [repr(row) for row in one_by_one(text)] == [repr((name, float(when), value)) for name, when, value in rows]
    if rows:
        read = parse(text)
        assert read is not None
        assert read.timestamps.tolist() == times.tolist()
        assert read.values.tobytes() == values.tobytes()


def test_values_of_a_column_without_fractions_are_formatted_without_fractions() -> None:
    def lines(*values: float) -> bytes:
        names = [b"a", b"b", b"c"][: len(values)]
        return format_columns(names, np.array([3] * len(values), np.uint32), np.array(values))

    assert lines(1.0, -2.0, 0.0) == b"a 1 3\nb -2 3\nc 0 3\n"
    assert lines(1.0, 0.1) == b"a 1.0 3\nb 0.1 3\n"
    assert lines(-0.0) == b"a -0.0 3\n"
    assert lines(1e15, 1e300, -5e-324) == b"a 1000000000000000.0 3\nb 1e+300 3\nc -5e-324 3\n"
    assert lines(999999999999999.0) == b"a 999999999999999 3\n"
    assert lines() == b""


def test_timestamps_with_fractions_are_not_formatted() -> None:
    with pytest.raises(TypeError):
        format_columns([b"a"], np.array([1.5]), np.array([1.0]))


# ---- streams


def split(pieces: list[bytes], max_length: int) -> tuple[bytes, int]:
    splitter = LineSplitter(max_length)
    lines = b"".join(splitter.feed(piece) for piece in pieces)
    return lines + splitter.flush(), splitter.overlong


@settings(max_examples=1000)
@given(
    st.text("ab \n\r", max_size=200).map(str.encode),
    st.lists(st.integers(0, 200)),
    st.integers(1, 12),
)
@example(b"aaaaaaaaa\nb\n", [], 4)
@example(b"bb\naaaaa\nb\n", [3], 4)
def test_however_a_stream_is_cut_its_lines_are_the_same(stream: bytes, cuts: list[int], max_length: int) -> None:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in zip(places, places[1:])]
    *whole, rest = stream.split(b"\n")
    kept = b"".join(line + b"\n" for line in whole if len(line) <= max_length)
    overlong = sum(len(line) > max_length for line in [*whole, rest])
    if len(rest) <= max_length and rest.strip():
        kept += rest + b"\n"
    assert split(pieces, max_length) == (kept, overlong)


def test_only_whole_lines_come_out() -> None:
    splitter = LineSplitter(100)
    assert splitter.feed(b"a 1 ") == b""
    assert splitter.feed(b"1\nb 2 2\nc") == b"a 1 1\nb 2 2\n"
    assert splitter.feed(b"") == b""
    assert splitter.flush() == b"c\n"
    assert splitter.flush() == b""


def test_an_endless_line_holds_no_memory_and_is_one_bad_line() -> None:
    splitter = LineSplitter(1000)
    for _ in range(100):
        assert splitter.feed(b"x" * 999) == b""
        assert len(splitter._rest) <= 1000
    assert splitter.feed(b"\na 1 1\n") == b"a 1 1\n"
    assert splitter.overlong == 1


def test_a_line_as_long_as_the_limit_passes_and_one_byte_more_does_not() -> None:
    for length, passes in ((10, True), (11, False)):
        text = b"x" * length + b"\n"
        for pieces in ([text], [text[:-1], b"\n"], [text[:5], text[5:]]):
            assert split([*pieces, b"a\n"], 10) == ((text if passes else b"") + b"a\n", 0 if passes else 1)
