"""Compressed streams: the bytes of carbon-c-relay, any cut gives the same text, garbage and bombs end quietly."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.wire.compressed import COMPRESSIONS, GzipDecoder, GzipEncoder, Lz4Decoder, Lz4Encoder, decoder, encoder

WIRE = json.loads((Path(__file__).parent.parent / "vectors" / "wire_formats.json").read_text())["c_relay_transport"]
LINE = b"servers.web01.cpu.user 1.5 1700000000\n"
MEMBERS = {
    "gzip": gzip.compress,
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True, block_size=lz4.frame.BLOCKSIZE_MAX256KB),
}


def read(compression: str, stream: bytes, cuts: list[int] | None = None, most: int = 1 << 18) -> tuple[bytes, str]:
    """(text, what broke it or "") of a stream that arrives in pieces."""
    one = decoder(compression)
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts or ()), len(stream)]
    text = b""
    for start, end in zip(places, places[1:]):
        text += one.decode(stream[start:end], most)
        while one.pending:
            piece = one.decode(b"", most)
            assert len(piece) <= most
            text += piece
    return text, str(one.broken or "")


# ---- exactness


def test_gzip_is_what_carbon_c_relay_sends() -> None:
    one = GzipEncoder()
    assert one.encode(LINE).hex() == WIRE["gzip"]["flush1_hex"]
    assert one.encode(LINE * 50).hex() == WIRE["gzip"]["flush2_hex"]


def test_lz4_is_what_carbon_c_relay_sends() -> None:
    assert Lz4Encoder().encode(LINE).hex() == WIRE["lz4"]["frame_of_line_hex"]
    assert Lz4Encoder().encode(LINE * 50).hex() == WIRE["lz4"]["frame_of_50_lines_hex"]


def test_frames_and_flushes_are_small_enough_for_its_reader() -> None:
    text = b"".join(b"servers.web%05d.cpu.user %d.25 1700000000\n" % (n, n * 7) for n in range(3000))
    stream, frames = Lz4Encoder().encode(text), []
    while stream:
        frame = lz4.frame.LZ4FrameDecompressor()
        frames.append(frame.decompress(stream))
        assert frame.eof
        stream = frame.unused_data or b""
    assert b"".join(frames) == text and max(map(len, frames)) <= 16384
    one = GzipEncoder()
    stream = b"".join(one.encode(text) for _ in range(3))
    assert stream.count(b"\x1f\x8b\x08") == 1  # one member, whatever is sent
    assert zlib.decompressobj(31).decompress(stream) == text * 3


def test_nothing_to_compress_is_sent_as_it_is() -> None:
    assert encoder("none")(LINE) == LINE
    assert all(encoder(compression)(b"") == b"" for compression in COMPRESSIONS)


# ---- laws


@given(
    st.sampled_from(COMPRESSIONS),
    st.lists(st.tuples(st.booleans(), st.binary(max_size=300), st.integers(1, 40)), max_size=6),
    st.lists(st.integers(0, 10_000), max_size=40),
    st.sampled_from([1, 7, 100, 1 << 18]),
)
@settings(max_examples=300, deadline=None)
def test_any_cut_of_any_stream_gives_the_same_text(compression, parts, cuts, most) -> None:
    """Members of other writers, flushes of ours, one byte at a time or all at once."""
    stream, plain = b"", b""
    for whole, text, times in parts:
        text *= times
        # Our own encoder never ends its gzip member, so of that only one can come, and nothing behind it.
        if whole or compression == "lz4":
            stream += MEMBERS[compression](text) if whole else encoder(compression)(text)
            plain += text
    ours = encoder(compression)
    for text in (b"a 1 1\n", b"b 2 2\n" * 100):
        stream += ours(text)
        plain += text
    assert read(compression, stream, cuts, most) == (plain, "")
    assert read(compression, stream, list(range(len(stream))) if len(stream) < 2000 else [], most) == (plain, "")


@given(st.sampled_from(COMPRESSIONS), st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
@settings(max_examples=300, deadline=None)
def test_garbage_never_raises(compression, garbage, cuts) -> None:
    read(compression, garbage, cuts, 100)
    read(compression, encoder(compression)(LINE) + garbage, cuts, 100)


@given(st.sampled_from(COMPRESSIONS), st.integers(1, 3000))
def test_a_stream_that_stops_anywhere_is_not_damaged(compression, length) -> None:
    plain = b"".join(b"name.%d %d %d\n" % (n, n * n, n) for n in range(400))
    text, broken = read(compression, MEMBERS[compression](plain)[:length], [length // 2])
    assert plain.startswith(text) and not broken


# ---- bounds


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_one_call_gives_a_bounded_piece_and_the_rest_waits_in_its_compressed_form(compression) -> None:
    plain = b"a.b.c 1 1700000000\n" * 1_000_000
    stream = MEMBERS[compression](plain)
    assert len(plain) > 200 * len(stream)
    one = decoder(compression)
    text, calls = one.decode(stream, 100_000), 1
    while one.pending:
        piece = one.decode(b"", 100_000)
        assert len(piece) <= 100_000
        text, calls = text + piece, calls + 1
    assert text == plain and one.broken is None and calls >= 190


def test_a_bomb_ends_its_stream_after_a_bounded_text() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    stream = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(96)) + bomb.flush()
    assert len(stream) < 1 << 20
    one = GzipDecoder()
    size = 0
    for start in range(0, len(stream), 65536):
        size += len(one.decode(stream[start : start + 65536]))
        while one.pending:
            size += len(one.decode(b""))
    assert "256 times" in str(one.broken)
    assert size <= (32 << 20) + (1 << 18)
    assert one.decode(stream) == b"" and not one.pending


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_thousands_of_empty_members_in_one_piece_are_looked_into_bit_by_bit(compression) -> None:
    one = decoder(compression)
    calls = 0
    assert one.decode(MEMBERS[compression](b"") * 2000 + MEMBERS[compression](LINE)) == b""
    text = b""
    while one.pending:
        text, calls = text + one.decode(b""), calls + 1
    assert text == LINE and calls >= 30 and one.broken is None


def test_a_port_that_expects_the_other_compression_says_so() -> None:
    for one, other in ((GzipDecoder(), Lz4Encoder()), (Lz4Decoder(), GzipEncoder())):
        one.decode(other.encode(LINE))
        assert "does the sender compress as this port expects" in str(one.broken)


def test_zeros_behind_a_member_are_padding() -> None:
    stream = gzip.compress(LINE) + bytes(512) + gzip.compress(LINE)
    assert read("gzip", stream, [100, 200]) == (LINE * 2, "")
