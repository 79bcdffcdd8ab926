"""carbonapi's protobuf messages: identity, the bytes of the specification, garbage, bounds."""

import math
import struct
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import WireError
from carbonpy.wire import protobuf
from carbonpy.wire.protobuf import decode, encode

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
whole = st.integers(-(2**63), 2**63 - 1)
singles = st.floats(width=32, allow_nan=False)
STRATEGIES = {
    "text": texts,
    "int": whole,
    "bool": st.booleans(),
    "float": singles,
    "texts": st.lists(texts, max_size=3).map(tuple),
    "doubles": st.lists(st.floats(), max_size=5).map(lambda v: np.array(v, dtype=float)),
    "flags": st.lists(st.booleans(), max_size=5).map(lambda v: np.array(v, dtype=bool)),
}
MESSAGES = [
    kind for kind in vars(protobuf).values() if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")
]


def messages(kind):
    """Messages of a class, with anything in their fields."""

    def values(what):
        return st.lists(messages(what), max_size=3).map(tuple) if isinstance(what, type) else STRATEGIES[what]

    return st.builds(kind, **{one.name: values(one.metadata["kind"]) for one in fields(kind)})


def plain(value):
    """A message as lists, so that arrays compare and NaN equals NaN."""
    if hasattr(value, "__dataclass_fields__"):
        return [type(value).__name__, *(plain(getattr(value, one.name)) for one in fields(value))]
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return [repr(one) for one in value.tolist()] if isinstance(value, np.ndarray) else value


@given(st.sampled_from(MESSAGES).flatmap(messages))
def test_what_is_written_reads_back(message):
    assert plain(decode(type(message), encode(message))) == plain(message)


@given(st.sampled_from(MESSAGES), st.binary(max_size=60))
def test_garbage_is_a_wire_error_or_a_message(kind, data):
    try:
        decode(kind, data)
    except WireError as error:
        assert kind.__name__ in str(error)


@given(st.sampled_from(MESSAGES).flatmap(messages), st.data())
def test_a_message_with_bytes_changed_or_cut_is_a_wire_error_or_a_message(message, data):
    written = bytearray(encode(message))
    for _ in range(min(3, len(written))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(written)))
    for candidate in (bytes(written), bytes(written[:cut])):
        try:
            decode(type(message), candidate)
        except WireError:
            pass


def test_the_bytes_are_those_of_the_specification():
    request = protobuf.FetchRequest("a.b", 150, -1, path_expression="a.*")
    assert encode(request) == b"\x0a\x03a.b\x10\x96\x01\x18" + b"\xff" * 9 + b"\x01\x2a\x03a.*"
    series = protobuf.FetchResponse("a", values=np.array([1.5, math.nan]), x_files_factor=0.5, step_time=60)
    written = encode(series)
    assert written == (
        b"\x0a\x01a\x30\x3c\x3d" + struct.pack("<f", 0.5) + b"\x4a\x10" + struct.pack("<dd", 1.5, math.nan)
    )
    old = protobuf.FetchResponse2("a", values=np.array([0.0]), is_absent=np.array([True]))
    assert encode(old) == b"\x0a\x01a\x2a\x08" + b"\0" * 8 + b"\x32\x01\x01"
    assert encode(protobuf.CapabilityResponse(("x", "y"))) == b"\x0a\x01x\x0a\x01y"
    assert encode(protobuf.MultiFetchRequest((request,)))[:2] == b"\x0a" + bytes([len(encode(request))])


def test_a_message_without_fields_has_no_bytes():
    assert [encode(kind()) for kind in MESSAGES] == [b""] * len(MESSAGES)


def test_a_number_too_large_for_32_bits_is_the_largest_there_is():
    for value, expected in ((1e300, 3.4028234663852886e38), (-1e300, -3.4028234663852886e38), (math.inf, math.inf)):
        written = encode(protobuf.MetricsInfoResponse(x_files_factor=value))
        assert decode(protobuf.MetricsInfoResponse, written).x_files_factor == expected


def test_unknown_fields_are_skipped_and_the_last_of_a_single_one_counts():
    unknown = b"\x98\x06\x05" + b"\x99\x06" + b"\0" * 8 + b"\x9a\x06\x02ab" + b"\x9d\x06" + b"\0" * 4
    assert decode(protobuf.GlobMatch, unknown + b"\x0a\x01a\x0a\x01b\x10\x01") == protobuf.GlobMatch("b", True)


def test_arrays_need_not_be_packed():
    written = b"".join(b"\x29" + struct.pack("<d", value) for value in (1.0, 2.0)) + b"\x30\x01\x30\x00"
    series = decode(protobuf.FetchResponse2, written)
    assert (series.values.tolist(), series.is_absent.tolist()) == ([1.0, 2.0], [True, False])


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (protobuf.GlobMatch, b"\x10" + b"\xff" * 10 + b"\x01", "a number does not end"),
        (protobuf.GlobMatch, b"\x0a\x05ab", "in the middle of a field"),
        (protobuf.GlobMatch, b"\x0b", "no wire type 3"),
        (protobuf.GlobMatch, b"\x02\x00", "the number 0"),
        (protobuf.GlobMatch, b"\x08\x01", "a text or message has another form"),
        (protobuf.FetchResponse, b"\x4a\x03abc", "multiple of 8"),
        (protobuf.FetchResponse2, b"\x32\x01\x07", "flags"),
    ],
)
def test_what_is_wrong_is_said(kind, data, words):
    with pytest.raises(WireError, match=words):
        decode(kind, data)


def test_the_number_of_elements_is_bounded():
    many = encode(protobuf.MultiFetchRequest((protobuf.FetchRequest(),) * 11))
    assert len(decode(protobuf.MultiFetchRequest, many, most=11).metrics) == 11
    with pytest.raises(WireError, match="too many elements"):
        decode(protobuf.MultiFetchRequest, many, most=10)
    with pytest.raises(WireError, match="too many elements"):
        decode(protobuf.FetchResponse, encode(protobuf.FetchResponse(values=np.ones(11))), most=10)
