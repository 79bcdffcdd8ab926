"""Frames behind a length: any cut of the bytes gives the same frames."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.wire.framing import Int32Frames, encode


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_however_the_bytes_are_cut_the_frames_are_the_same(payloads, cuts):
    stream = b"".join(encode(payload) for payload in payloads)
    frames, got, at, turn = Int32Frames(300), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        got += frames.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert got == payloads
    assert frames.pending == 0 and frames.broken is None


def test_a_frame_that_is_too_long_ends_the_stream_after_the_frames_before_it():
    frames = Int32Frames(10)
    assert frames.feed(encode(b"0123456789") + encode(b"0123456789a") + encode(b"b")) == [b"0123456789"]
    assert "11 bytes" in str(frames.broken)
    assert frames.feed(encode(b"b")) == []


def test_a_length_with_the_top_bit_set_is_a_large_number_not_a_negative_one():
    frames = Int32Frames(1 << 20)
    assert frames.feed(b"\xff\xff\xff\xff") == []
    assert "4294967295" in str(frames.broken)


def test_a_large_frame_in_small_pieces_costs_time_in_proportion_to_its_length():
    payload = bytes(1 << 20)
    stream = encode(payload)
    frames = Int32Frames(1 << 20)
    got = [frame for at in range(0, len(stream), 64) for frame in frames.feed(stream[at : at + 64])]
    assert got == [payload]


def test_what_waits_is_less_than_one_frame_and_its_length():
    frames = Int32Frames(100)
    frames.feed(struct.pack(">I", 100) + bytes(99))
    assert frames.pending == 103


def test_a_frame_that_no_length_can_announce_is_refused():
    class Long(bytes):
        def __len__(self):
            return 1 << 32

    with pytest.raises(Exception, match="does not fit"):
        encode(Long())
