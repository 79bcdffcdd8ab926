"""Compressed streams of lines: gzip and lz4 as carbon-c-relay sends and reads them.

The law: however the bytes of a stream are cut into pieces, a decoder gives the same text.  One call gives at most
`most` bytes, and the rest waits in its compressed form; so no stream, however well it is packed, takes more memory
than its own bytes and one call's text.  A damaged stream gives a beginning of its text, and `broken` says what
happened; so does one that unfolds to absurdly more than came (`_CREDIT`, `_TIMES`).  Nothing raises.

Decoders are liberal: a member or frame may follow another one, zeros may pad the members of gzip, and a stream may
stop anywhere, since carbon-c-relay never writes the end of its gzip member.

Encoders are exact.  gzip: one member for the life of a connection (its reader reads no second one), deflate at level
-1 with a window of 2**15 and memLevel 8, a Z_PARTIAL_FLUSH after at most 32 KiB, never an end.  lz4: complete frames
of at most 16 KiB of text, of independent blocks, without checksums and size: the bytes of ``LZ4F_compressFrame``
without preferences.  Its snappy cannot be read by anyone, as its blocks have no length.
"""

from __future__ import annotations

import abc
import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame

from carbonpy.errors import WireError

#: What may be compressed how.
COMPRESSIONS = ("gzip", "lz4")
#: Text that one call of a decoder gives at most.
MOST = 1 << 18
#: A stream may unfold to so many times its bytes, and to as many bytes more as it has saved up.
_TIMES, _CREDIT = 256, 32 << 20
#: Members or frames that one call looks into: each costs something, however little is in it.
_MOST_PARTS = 64
_GZIP_FLUSH, _LZ4_FRAME = 1 << 15, 1 << 14
_GZIP = 16 + zlib.MAX_WBITS


class Decoder(Protocol):
    """One stream.  One owner; not thread safe.

    `broken` is None, or the WireError that ended the stream (the connection cannot be kept).
    """

    broken: WireError | None

    @property
    def pending(self) -> bool:
        """Whether there may be more text without more bytes: call ``decode(b"")``."""

    def decode(self, data: bytes, most: int = MOST) -> bytes:
        """At most `most` bytes of text, behind all that was given before.  b"" for ever once it is broken."""


class _Bounded(abc.ABC):
    """What both decoders share: the bytes that wait, the credit, the end."""

    def __init__(self) -> None:
        self.broken: WireError | None = None
        self._waiting = b""
        self._full = False
        self._credit = _CREDIT

    @property
    def pending(self) -> bool:
        return self.broken is None and (self._full or bool(self._waiting))

    def decode(self, data: bytes, most: int = MOST) -> bytes:
        if self.broken is not None:
            return b""
        self._credit = min(self._credit + _TIMES * len(data), _CREDIT)
        self._waiting = self._waiting + data if self._waiting else data
        pieces: list[bytes] = []
        room = most
        for _ in range(_MOST_PARTS):
            try:
                piece = self._step(room)
            except (zlib.error, RuntimeError, ValueError) as error:
                self._end(f"the compressed stream is damaged: {error}; does the sender compress as this port expects?")
                break
            if piece:
                pieces.append(piece)
                room -= len(piece)
            self._full = not room
            if not room or not self._waiting:
                break
        text = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._credit -= len(text)
        if self._credit < 0:
            self._end(f"the stream unfolds to more than {_TIMES} times its bytes; send it uncompressed")
        return text

    def _end(self, why: str) -> None:
        self.broken = WireError(why)
        self._waiting, self._full = b"", False

    @abc.abstractmethod
    def _step(self, room: int) -> bytes:
        """At most `room` bytes of text from what waits."""


class GzipDecoder(_Bounded):
    """A stream of gzip members.  See `Decoder`."""

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(_GZIP)
        self._between = False

    def _step(self, room: int) -> bytes:
        if self._between:
            self._waiting = self._waiting.lstrip(b"\0")
            if not self._waiting:
                return b""
            self._member, self._between = zlib.decompressobj(_GZIP), False
        text = self._member.decompress(self._waiting, room)
        self._between = self._member.eof
        self._waiting = self._member.unused_data if self._between else self._member.unconsumed_tail
        return text


class Lz4Decoder(_Bounded):
    """A stream of lz4 frames.  See `Decoder`."""

    def __init__(self) -> None:
        super().__init__()
        self._frame = lz4.frame.LZ4FrameDecompressor()

    def _step(self, room: int) -> bytes:
        text = self._frame.decompress(self._waiting, max_length=room)
        self._waiting = b""
        if self._frame.eof:
            self._waiting = self._frame.unused_data or b""
            self._frame.reset()
        return bytes(text)


class GzipEncoder:
    """One gzip member for one connection.  One owner; not thread safe."""

    def __init__(self) -> None:
        self._member = zlib.compressobj(-1, zlib.DEFLATED, _GZIP, 8)

    def encode(self, data: bytes) -> bytes:
        """The bytes to send for `data`, all of it: a reader needs no others to have its text."""
        member = self._member
        return b"".join(
            member.compress(data[start : start + _GZIP_FLUSH]) + member.flush(zlib.Z_PARTIAL_FLUSH)
            for start in range(0, len(data), _GZIP_FLUSH)
        )


class Lz4Encoder:
    """Complete lz4 frames.  Immutable."""

    def encode(self, data: bytes) -> bytes:
        """The bytes to send for `data`, all of it."""
        return b"".join(
            lz4.frame.compress(
                data[start : start + _LZ4_FRAME],
                compression_level=0,
                block_linked=False,
                store_size=False,
                content_checksum=False,
            )
            for start in range(0, len(data), _LZ4_FRAME)
        )


def decoder(compression: str) -> Decoder:
    """The decoder of a new connection: gzip or lz4."""
    return GzipDecoder() if compression == "gzip" else Lz4Decoder()


def encoder(compression: str) -> Callable[[bytes], bytes]:
    """What the bytes of a new connection go through: gzip or lz4, or none."""
    if compression == "none":
        return bytes
    return (GzipEncoder() if compression == "gzip" else Lz4Encoder()).encode
