"""msgpack as other servers write it: what was packed is read, and nothing else hurts."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import WireError
from carbonpy.web.msgpack import pack
from carbonpy.wire.unmsgpack import unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=30,
)


@given(PLAIN)
def test_what_answers_pack_is_read(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(st.lists(st.none() | st.floats(allow_nan=False) | st.integers(0, 3), max_size=60))
def test_values_of_series_keep_their_places(values: list[Any]) -> None:
    assert unpack(pack(values)) == values
    assert unpack(pack([1.5] * 9000 + values)) == [1.5] * 9000 + values


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\xca\x3f\x80\x00\x00", 1.0),
        (b"\xc4\x02ab", b"ab"),
        (b"\xc5\x00\x01a", b"a"),
        (b"\xc6\x00\x00\x00\x01a", b"a"),
        (b"\xda\x00\x02\xc3\xa9", "é"),
        (b"\xa1\xff", b"\xff"),
        (b"\xdc\x00\x01\x07", [7]),
        (b"\xde\x00\x01\xa1a\x01", {"a": 1}),
        (b"\xdf\x00\x00\x00\x01\x01\x02", {1: 2}),
        (b"\xd1\xff\x00", -256),
    ],
)
def test_forms_that_other_writers_choose_are_read(data: bytes, value: Any) -> None:
    assert unpack(data) == value


def test_a_value_that_is_not_a_number_stays_one() -> None:
    assert math.isnan(unpack(b"\xcb" + struct.pack(">d", math.nan)))


@given(PLAIN, st.data())
def test_what_is_cut_is_refused(value: Any, data: st.DataObject) -> None:
    whole = pack(value)
    with pytest.raises(WireError):
        unpack(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        unpack(data)
    except WireError:
        pass


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xc1", "0xc1 is no plain data"),
        (b"\xd4\x01\x00", "0xd4 is no plain data"),
        (b"\x91" * 40 + b"\x01", "nests too deeply"),
        (b"\x81\x90\x01", "a key of a msgpack dict is a list"),
        (b"\x01\x02", "1 bytes stand behind"),
        (b"\xdd\xff\xff\xff\xff", "ends in the middle"),
        (b"", "ends in the middle"),
    ],
)
def test_what_is_refused_is_refused_with_a_reason(data: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        unpack(data)
