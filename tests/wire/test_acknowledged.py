"""Frames of acknowledged delivery: what is said is understood, and what does not know of it sees nothing."""

from __future__ import annotations

import io
import pickle

from hypothesis import given
from hypothesis import strategies as st

from carbonpy.wire import acknowledged
from carbonpy.wire.pickled import decode_points

NUMBERS = st.integers(0, 2**56 - 1)


def test_a_hello_is_an_empty_list_for_every_reader_of_pickles() -> None:
    from carbon.util import SafeUnpickler  # type: ignore[import-untyped]

    frame = acknowledged.hello("relay-a")[4:]
    assert frame.startswith(acknowledged.HELLO)
    assert SafeUnpickler(io.BytesIO(frame)).load() == pickle.loads(frame) == []
    assert decode_points(frame).names == []


@given(number=NUMBERS, body=st.binary(max_size=50))
def test_a_numbered_frame_gives_its_number_and_its_pickle(number: int, body: bytes) -> None:
    frame = acknowledged.numbered(number, b"\x80\x02" + body)
    assert acknowledged.parted(frame[4:]) == (number, b"\x80\x02" + body)


@given(number=st.integers(0, 2**64 - 1), fullness=st.floats(-1, 2))
def test_an_acknowledgement_says_its_number_and_how_full_the_receiver_is(number: int, fullness: float) -> None:
    told = acknowledged.read_ack(acknowledged.ack(number, fullness)[4:])
    assert told is not None and told.number == number
    assert abs(told.fullness - min(1.0, max(0.0, fullness))) <= 1 / 255


@given(frame=st.binary(max_size=60))
def test_other_frames_are_none_of_these(frame: bytes) -> None:
    if frame[:4] != b"ACK ":
        assert acknowledged.read_ack(frame) is None
    assert acknowledged.is_welcome(frame) is (frame == acknowledged.WELCOME[4:])
    # No pickle of any protocol begins with the byte that numbers begin with.
    assert acknowledged.parted(b"\x80" + frame) is None and acknowledged.parted(b"(" + frame) is None
