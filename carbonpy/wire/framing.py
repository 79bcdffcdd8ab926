"""Frames behind a length: four bytes, big-endian and unsigned, then that many bytes.

The law: however the bytes are cut into pieces, `Int32Frames` gives the same frames, and each byte is copied a
bounded number of times.  A frame that announces more than `max_length` bytes cannot be skipped safely, so it
ends the stream: the frames before it are delivered, `broken` says what happened, and all that follows is ignored.
This is the framing of the pickle, protobuf and CarbonLink ports (Twisted's ``Int32StringReceiver``).
"""

from __future__ import annotations

import struct

from carbonpy.errors import WireError

_LENGTH = struct.Struct(">I")


def encode(frame: bytes) -> bytes:
    """The frame behind its length.  Raises WireError when it is too long for four bytes.  Safe from any thread."""
    try:
        return _LENGTH.pack(len(frame)) + frame
    except struct.error:
        raise WireError(f"a frame of {len(frame)} bytes does not fit a four byte length; send less at once") from None


class Int32Frames:
    """Cuts one connection's bytes into frames.  One owner; not thread safe.

    `broken` is None, or the WireError that ended the stream (the connection cannot be kept).

    >>> frames = Int32Frames(100)
    >>> frames.feed(b"\\0\\0\\0\\2ab\\0\\0"), frames.feed(b"\\0\\1c")
    ([b'ab'], [b'c'])
    """

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self.broken: WireError | None = None
        self._rest = bytearray()
        self._wanted = 4  # no frame can be complete before `_rest` has this many bytes

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes, in order; [] for ever once `broken` is set."""
        if self.broken is not None:
            return []
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._wanted:
                return []
            data = bytes(rest)
            rest.clear()
        frames: list[bytes] = []
        start, size = 0, len(data)
        self._wanted = 4
        while size - start >= 4:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > self.max_length:
                self.broken = WireError(
                    f"a frame announces {length} bytes, more than the {self.max_length} allowed; "
                    "send smaller frames or raise the limit"
                )
                return frames
            end = start + 4 + length
            if end > size:
                self._wanted = 4 + length
                break
            frames.append(data[start + 4 : end])
            start = end
        if start < size:
            rest += data[start:] if start else data
        return frames
