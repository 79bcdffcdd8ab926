r"""Acknowledged delivery between carbonpy peers, over the frames of the pickle port.

The law: a sender learns which of its frames are safe with the receiver, and a peer that knows nothing of this sees
nothing but pickles.  All frames are those of `carbonpy.wire.framing`::

    sender    HELLO    an empty pickled list, and behind its STOP "CARBONPY HELLO 1 " and who sends.  carbon reads a
                       list of no datapoints and ignores what follows it.
    receiver  WELCOME  "CARBONPY WELCOME 1"
    sender    DATA     8 bytes of a number (unsigned, big-endian), then a pickle of datapoints.  Numbers of one
                       connection grow by one, from 1.
    receiver  ACK      "ACK " and 8 bytes of a number: all frames up to it are safe; then one byte, how full the
                       receiver is: 0 (empty) to 255 (full).

Until it is welcomed, a sender may send plain pickles: they are taken and never acknowledged.  The first numbered
frame follows the WELCOME.  A receiver that has welcomed tells numbered frames from plain ones by their first bytes: the
number's first byte is 0, a pickle never begins with it.

Delivery is at least once.  A sender sends what was not acknowledged again, on a new connection, and points that come
twice do no harm: they have one place in their file.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from carbonpy.wire import framing

#: How a HELLO frame begins.
HELLO = b"\x80\x02].CARBONPY HELLO 1 "
_WELCOME = b"CARBONPY WELCOME 1"
_ACK = b"ACK "
_NUMBER = struct.Struct(">Q")


class Ack(NamedTuple):
    """What a receiver says: all frames up to `number` are safe; `fullness` from 0 to 1."""

    number: int
    fullness: float


def hello(sender: str) -> bytes:
    """The frame with which a sender asks for acknowledgement, behind its length."""
    return framing.encode(HELLO + sender.encode()[:200])


WELCOME = framing.encode(_WELCOME)


def is_welcome(frame: bytes) -> bool:
    """Whether a receiver's frame is the WELCOME."""
    return frame == _WELCOME


def numbered(number: int, pickle: bytes) -> bytes:
    """A DATA frame, behind its length."""
    return framing.encode(_NUMBER.pack(number) + pickle)


def parted(frame: bytes) -> tuple[int, bytes] | None:
    """(number, pickle) of a DATA frame; None for any other."""
    if len(frame) < _NUMBER.size or frame[0] != 0:
        return None
    return _NUMBER.unpack_from(frame)[0], frame[_NUMBER.size :]


def ack(number: int, fullness: float) -> bytes:
    """An ACK frame, behind its length."""
    return framing.encode(_ACK + _NUMBER.pack(number) + bytes((min(255, max(0, int(fullness * 255))),)))


def read_ack(frame: bytes) -> Ack | None:
    """What a receiver's frame acknowledges; None for any other frame."""
    if not frame.startswith(_ACK) or len(frame) != len(_ACK) + _NUMBER.size + 1:
        return None
    return Ack(_NUMBER.unpack_from(frame, len(_ACK))[0], frame[-1] / 255)
