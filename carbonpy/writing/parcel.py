"""What a daemon and its writer processes say to each other: a JSON head and binary columns.

The law: ``unpack(b"".join(pack(...)))`` gives back what was packed.  A parcel on the wire is

    uint32 length of the head, uint64 length of all blobs, head (JSON), blobs

and the head's ``"blobs"`` lists their lengths.  Both ends are ours and of the same version.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from carbonpy.writing.sweep import Outcome

PREFIX = struct.Struct("<IQ")
#: The writer's descriptor for orders: parcels that count at once, also between two blocks of a sweep.
ORDERS_FD = 3
Blob = bytes | memoryview
#: The fields of an Outcome that are columns of ids; they travel as blobs, the others in the head.
_COLUMNS = ("deferred", "missing", "made")


class Parcel(NamedTuple):
    """One message: its kind, JSON fields and blobs."""

    kind: str
    fields: dict[str, Any]
    blobs: list[memoryview]


def pack(kind: str, fields: dict[str, Any], blobs: Sequence[Blob] = ()) -> list[Blob]:
    """The pieces to send, in order."""
    head = json.dumps({"kind": kind, "blobs": [len(blob) for blob in blobs], **fields}).encode()
    return [PREFIX.pack(len(head), sum(map(len, blobs))), head, *blobs]


def unpack(head: bytes | memoryview, body: memoryview) -> Parcel:
    """A Parcel from the head and the bytes of all blobs."""
    fields = json.loads(bytes(head))
    kind = fields.pop("kind")
    blobs = []
    at = 0
    for length in fields.pop("blobs"):
        blobs.append(body[at : at + length])
        at += length
    return Parcel(kind, fields, blobs)


def receive(read: Callable[[int], bytes | bytearray]) -> Parcel | None:
    """The next parcel of a blocking stream; None at its end.  `read(n)` gives n bytes, fewer only at the end."""
    prefix = read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    head_length, body_length = PREFIX.unpack(prefix)
    head = read(head_length)
    body = read(body_length)
    if len(head) < head_length or len(body) < body_length:
        return None
    return unpack(bytes(head), memoryview(body))


class ParcelBuffer:
    """Parcels out of a stream that comes in chunks.  One thread."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Parcel]:
        """The parcels that `data` completes."""
        self._buffer += data
        parcels = []
        while len(self._buffer) >= PREFIX.size:
            head_length, body_length = PREFIX.unpack_from(self._buffer)
            end = PREFIX.size + head_length + body_length
            if len(self._buffer) < end:
                break
            whole = bytes(self._buffer[PREFIX.size : end])
            del self._buffer[:end]
            parcels.append(unpack(whole[:head_length], memoryview(whole)[head_length:]))
        return parcels

    def first(self, data: Blob) -> tuple[Parcel, bytes] | None:
        """The first parcel that `data` completes, and what stands behind it; None if there is none yet."""
        self._buffer += data
        if len(self._buffer) < PREFIX.size:
            return None
        head_length, body_length = PREFIX.unpack_from(self._buffer)
        start, end = PREFIX.size + head_length, PREFIX.size + head_length + body_length
        if len(self._buffer) < end:
            return None
        whole = bytes(self._buffer)
        self._buffer.clear()
        return unpack(whole[PREFIX.size : start], memoryview(whole)[start:end]), whole[end:]


def pack_outcome(outcome: Outcome) -> list[Blob]:
    """An Outcome as the parcel ``done``."""
    fields = asdict(outcome)
    columns = [fields.pop(name).tobytes() for name in _COLUMNS]
    return pack("done", {"outcome": fields}, columns)


def unpack_outcome(parcel: Parcel) -> Outcome:
    """The Outcome in a parcel ``done``."""
    outcome = Outcome(**parcel.fields["outcome"])
    for name, blob in zip(_COLUMNS, parcel.blobs):
        setattr(outcome, name, np.frombuffer(blob, np.uint32))
    return outcome
