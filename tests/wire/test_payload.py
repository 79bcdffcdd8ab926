"""carbon's protobuf: the bytes of its client, what its library reads, and nothing but WireError for the rest."""

from __future__ import annotations

import json
import math
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from carbon.carbon_pb2 import Payload
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carbonpy.errors import WireError
from carbonpy.wire.payload import decode_points, encode_frames, encode_points

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire_formats.json").read_text())
POINTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "a.b.c", "métrique", "disk.used;dc=dc1", "x" * 200, ""]),
        st.one_of(st.integers(0, 2**32 - 1), st.just(1_700_000_000), st.just(0)),
        st.one_of(st.floats(), st.just(0.0), st.just(-0.0)),
    ),
    max_size=30,
)


def bits(value: float) -> bytes:
    """The value to compare: every NaN is the same, and so are both zeros, as the library loses their sign."""
    return struct.pack("<d", math.nan if math.isnan(value) else value + 0.0)


def of_library(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """(name, timestamp, bits of the value) of each point, as carbon's library reads them.  Raises DecodeError."""
    message = Payload.FromString(data)
    return [
        (metric.metric.encode(), point.timestamp, bits(point.value))
        for metric in message.metrics
        for point in metric.points
    ]


def ours(data: bytes) -> list[tuple[bytes, int, bytes]]:
    names, timestamps, values, _ = decode_points(data)
    assert len(names) == len(timestamps) == len(values)
    return list(zip(names, (int(when) for when in timestamps), map(bits, values)))


def message_of(points: list[tuple[str, int, float]]) -> Any:
    """As carbon's client makes it."""
    message, metrics = Payload(), {}
    for name, timestamp, value in points:
        if name not in metrics:
            metrics[name] = message.metrics.add()
            metrics[name].metric = name
        point = metrics[name].points.add()
        point.timestamp, point.value = timestamp, value
    return message


def test_the_bytes_of_carbons_client_are_read_and_written() -> None:
    points = VECTORS["datapoints_in_[metric,[timestamp,value]]"]
    theirs = bytes.fromhex(VECTORS["formats"]["protobuf (CarbonProtobufClientProtocol)"]["hex"])
    names = [name.encode() for name, _ in points]
    timestamps, values = [point[0] for _, point in points], [float(point[1]) for _, point in points]
    assert encode_points(names, timestamps, values) == theirs[4:]
    read = decode_points(theirs[4:])
    assert read.names == names and read.rejected == {}
    assert read.timestamps.tolist() == [int(when) for when in timestamps] and read.values.tolist() == values


@given(POINTS)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_what_the_library_writes_and_both_read_the_same(points) -> None:
    columns = [name.encode() for name, _, _ in points], [when for _, when, _ in points], [v for _, _, v in points]
    data = encode_points(*columns)
    assert of_library(data) == ours(data)
    # The library may write another NaN, and leaves out a zero with a sign, which ours keeps.
    if not any(math.isnan(value) or (value == 0 and math.copysign(1, value) < 0) for _, _, value in points):
        assert data == message_of(points).SerializeToString()


def field(number: int, wire: int, body: bytes) -> bytes:
    return bytes([number << 3 | wire]) + (bytes([len(body)]) + body if wire == 2 else body)


NUMBERS = st.sampled_from([b"\0", b"\x80\x01", b"\xff" * 4 + b"\x0f"])
FIELDS = st.deferred(
    lambda: st.lists(
        st.one_of(
            st.builds(field, st.integers(1, 4), st.just(0), NUMBERS),
            st.builds(field, st.integers(1, 4), st.just(1), st.binary(min_size=8, max_size=8)),
            st.builds(field, st.integers(1, 4), st.just(5), st.binary(min_size=4, max_size=4)),
            st.builds(field, st.integers(1, 4), st.just(2), st.binary(max_size=6)),
            st.builds(lambda n, inner: field(n, 2, inner[:127]), st.integers(1, 2), FIELDS),
            st.builds(lambda n, inner: field(n, 3, inner) + field(n, 4, b""), st.integers(1, 4), FIELDS),
        ),
        max_size=4,
    ).map(b"".join)
)


@given(FIELDS)
@settings(max_examples=1500, deadline=None)
@example(field(1, 2, b"\x0a\x01a" + field(2, 2, b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")))
@example(field(1, 2, field(2, 2, b"") * 3 + b"\x0a\x01a\x0a\x01b"))
@example(field(1, 2, b"\x0b\0\0\x9c\0"))
@example(field(1, 2, field(3, 3, field(4, 3, b"") + b"\x0b\x0c\x24") + b"\x1c" + field(2, 2, b"\x08\x05")))
@example(field(1, 2, b"\x0b\x08") + b"\x05\x0c")
def test_any_message_is_read_as_the_library_reads_it(data) -> None:
    try:
        theirs = of_library(data)
    except (DecodeError, UnicodeDecodeError):
        return  # a name that is not UTF-8 costs itself with us, and with the library the frame
    assert ours(data) == theirs


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_garbage_raises_nothing_but_a_wire_error(data) -> None:
    with suppress(WireError):
        decode_points(data)


@given(POINTS, st.data())
@settings(max_examples=300, deadline=None)
def test_a_frame_with_one_wrong_byte_is_read_as_the_library_reads_it(points, data) -> None:
    names, timestamps, values = [n.encode() for n, _, _ in points], [t for _, t, _ in points], [v for *_, v in points]
    raw = bytearray(encode_points(names, timestamps, values))
    if not raw:
        return
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        theirs = of_library(bytes(raw))
    except (DecodeError, UnicodeDecodeError):
        return
    assert ours(bytes(raw)) == theirs


def test_a_name_that_is_not_utf8_costs_its_own_points() -> None:
    good = encode_points([b"a", b"b"], [1, 2], [1.0, 2.0])
    bad = encode_points([b"\xff\xfe"], [1], [1.0]) + encode_points([b"\xff"] * 2, [1_700_000_000] * 2, [1.0, 2.0])
    read = decode_points(good + bad + good)
    assert read.names == [b"a", b"b", b"a", b"b"] and read.values.tolist() == [1.0, 2.0] * 2
    assert read.rejected == {"name": 3}


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_frame_that_was_cut_is_refused_or_ends_between_two_metrics(cut) -> None:
    whole = encode_points([b"a.b", b"c.d"], [1_700_000_000, 1_700_000_000], [1.5, 2.5])
    one = len(encode_points([b"a.b"], [1_700_000_000], [1.5]))
    if cut >= len(whole) or cut == one:
        return
    with pytest.raises(WireError):
        decode_points(whole[:cut])


def test_many_points_are_read_in_columns() -> None:
    count = 5000
    names = [b"servers.web%d.cpu" % (n % 1000) for n in range(count)]
    timestamps, values = np.arange(count) + 1_700_000_000, np.random.default_rng(1).normal(size=count)
    read = decode_points(encode_points(names, timestamps, values))
    order = np.argsort([n % 1000 for n in range(count)], kind="stable")
    assert read.names == [names[n] for n in order]
    assert (read.timestamps == timestamps[order]).all() and (read.values == values[order]).all()


@given(POINTS, st.integers(1, 10), st.integers(20, 300))
@settings(max_examples=200, deadline=None)
def test_frames_hold_no_more_than_they_may_and_every_point_once(points, most, most_bytes) -> None:
    names = [name.encode() for name, _, _ in points]
    timestamps, values = np.array([when for _, when, _ in points]), np.array([value for *_, value in points])
    frames = list(encode_frames(names, timestamps, values, most, most_bytes))
    read = [ours(frame) for frame in frames]
    for frame, inside in zip(frames, read):
        assert len(inside) <= most and (len(frame) <= most_bytes or len(inside) == 1)
    expected = sorted((name.encode(), when, bits(value)) for name, when, value in points)
    assert sorted(point for inside in read for point in inside) == expected
