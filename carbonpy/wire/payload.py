"""Batches of datapoints in carbon's protobuf form: ``carbon.Payload`` of ``carbon.proto``.

    message Payload { repeated Metric metrics = 1; }
    message Metric  { string metric = 1;  repeated Point points = 2; }
    message Point   { uint32 timestamp = 1;  double value = 2; }

The law: `decode_points` gives what the protobuf library gives, points in the order in which they stand, fields that
are not there as zero, of several the last one, unknown ones skipped; a frame that is no such message raises WireError,
and nothing else does.  There is at most one point for two bytes of a frame.  A name that is not UTF-8 costs its own
points.  `encode_points` writes the bytes of carbon's client: points of one name together, names in the order of their
first points, no field that is zero.

Points as carbon writes them (a timestamp of five bytes, since 1978) are recognised by their shape and turned into
columns at once; any other metric is read field by field.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from carbonpy.errors import WireError
from carbonpy.wire.pickled import MAX_FRAME, Points

_DOUBLE = struct.Struct("<d")
_ZERO = bytes(8)
#: How a point begins that has both fields, inside a metric, and how long it is.
_WHOLE, _WHOLE_SIZE = b"\x12\x0f\x08", 17
#: The same without a value, which is zero.
_BARE, _BARE_SIZE = b"\x12\x06\x08", 8
#: A metric with such a point and no name has so many bytes.
_SHORT = 12
#: Keys of the first and second field where they are texts or messages.
_FIRST, _SECOND = 0x0A, 0x12
_GROUP_BEGINS, _GROUP_ENDS = 3, 4
_SHIFTS = np.array([0, 7, 14, 21, 28], np.uint64)


def decode_points(frame: bytes) -> Points:
    """The datapoints of a Payload.  `rejected` counts points of names that are not UTF-8.  Raises WireError."""
    try:
        return _Reading(frame).points()
    except _Broken as broken:
        raise WireError(f"these {len(frame)} bytes are not carbon's protobuf Payload: {broken}") from None


class _Broken(Exception):
    """What is wrong with the bytes."""


class _Reading:
    """One frame.  Numbers of points of the usual shapes are places in the frame until the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._names: list[bytes] = []
        #: Place in the frame of each point's timestamp, or -1 - (index into the numbers that were read).
        self._places: list[int] = []
        self._numbers: list[tuple[int, float]] = []
        self._rejected = 0

    def points(self) -> Points:
        data, position, end = self._data, 0, len(self._data)
        add_name, add_place = self._names.append, self._places.append
        while position < end:
            # A metric with a short name and one point: what nearly every metric is.
            if data[position] == _FIRST and position + _SHORT <= end and data[position + 2] == _FIRST:
                size, place = data[position + 1], position + 4 + data[position + 3]
                after = position + 2 + size
                if size < 128 and after <= end and data[position + 4 : place].isascii():
                    head = data[place : place + 3]
                    if head == _WHOLE and place + _WHOLE_SIZE == after and _is_whole(data, place):
                        add_place(place + 3)
                        add_name(data[position + 4 : place])
                        position = after
                        continue
                    if head == _BARE and place + _BARE_SIZE == after:
                        self._point(place + 2, after)
                        add_name(data[position + 4 : place])
                        position = after
                        continue
            key, position = _key(data, position, end)
            if key == _FIRST:
                size, position = _size(data, position, end)
                self._metric(position, position + size)
                position += size
            else:
                position = _skipped(data, position, end, key & 7)
        rejected = {"name": self._rejected} if self._rejected else {}
        return Points(self._names, *self._columns(), rejected)

    def _metric(self, start: int, end: int) -> None:
        """One message Metric."""
        data = self._data
        name, points, position = b"", 0, start
        before = len(self._places)
        add = self._places.append
        while position < end:
            if (
                data[position : position + 3] == _WHOLE
                and position + _WHOLE_SIZE <= end
                and _is_whole(data, position)
            ):
                add(position + 3)
                points += 1
                position += _WHOLE_SIZE
                continue
            key, position = _key(data, position, end)
            if key == _FIRST:
                size, position = _size(data, position, end)
                name = data[position : position + size]
                position += size
            elif key == _SECOND:
                size, position = _size(data, position, end)
                self._point(position, position + size)
                points += 1
                position += size
            else:
                position = _skipped(data, position, end, key & 7)
        if not _is_utf8(name):
            del self._places[before:]
            self._rejected += points
        elif points == 1:
            self._names.append(name)
        else:
            self._names.extend([name] * points)

    def _point(self, position: int, end: int) -> None:
        """One message Point of any shape."""
        data, timestamp, value = self._data, 0, 0.0
        while position < end:
            key, position = _key(data, position, end)
            if key == 0x08:
                timestamp, position = _varint(data, position, end)
            elif key == 0x11 and end - position >= 8:
                (value,) = _DOUBLE.unpack_from(data, position)
                position += 8
            else:
                position = _skipped(data, position, end, key & 7)
        self._places.append(-1 - len(self._numbers))
        self._numbers.append((timestamp & 0xFFFFFFFF, value))

    def _columns(self) -> tuple[Any, Any]:
        places = np.array(self._places, np.int64)
        timestamps, values = np.empty(len(places)), np.empty(len(places))
        usual = places >= 0
        if usual.any():
            octets = np.frombuffer(self._data, np.uint8)
            at = places[usual][:, None]
            parts = (octets[at + np.arange(5)] & 127).astype(np.uint64) << _SHIFTS
            timestamps[usual] = parts.sum(axis=1)
            values[usual] = np.ascontiguousarray(octets[at + np.arange(6, 14)]).view("<f8")[:, 0]
        if self._numbers:
            numbers = np.array(self._numbers, np.float64)[-1 - places[~usual]]
            timestamps[~usual], values[~usual] = numbers[:, 0], numbers[:, 1]
        return timestamps, values


def _is_whole(data: bytes, position: int) -> bool:
    """Whether the fifth byte of the timestamp is its last, the four before it are not, and a value follows."""
    return data[position + 8] == 0x11 and data[position + 7] < 16 and min(data[position + 3 : position + 7]) > 127


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """(number, where it ends)."""
    if position < end and data[position] < 128:
        return data[position], position + 1
    value = shift = 0
    for byte in data[position : min(position + 10, end)]:
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise _Broken("a number does not end")


def _key(data: bytes, position: int, end: int) -> tuple[int, int]:
    """(number and wire type of a field, where it begins)."""
    key, position = _varint(data, position, end)
    if not key >> 3:
        raise _Broken("a field has the number 0")
    return key, position


def _size(data: bytes, position: int, end: int) -> tuple[int, int]:
    """(size of a text or message, where it begins)."""
    size, position = _varint(data, position, end)
    if size > end - position:
        raise _Broken("it ends in the middle of a field")
    return size, position


def _skipped(data: bytes, position: int, end: int, wire: int) -> int:
    """Where a field that we do not know ends."""
    if wire == 0:
        return _varint(data, position, end)[1]
    if wire == _GROUP_BEGINS:
        return _after_group(data, position, end)
    if wire == 2:
        size, position = _size(data, position, end)
    elif wire in (1, 5):
        size = 8 if wire == 1 else 4
    else:
        raise _Broken(f"wire type {wire} is not for fields")
    if size > end - position:
        raise _Broken("it ends in the middle of a field")
    return position + size


def _after_group(data: bytes, position: int, end: int) -> int:
    """Where a group ends, an old kind of message that has no size.

    As the library does, it minds neither the number at its end nor those of the fields in it.
    """
    depth = 1
    while depth:
        key, position = _varint(data, position, end)
        wire = key & 7
        if wire == _GROUP_BEGINS:
            depth += 1
        elif wire == _GROUP_ENDS:
            depth -= 1
        else:
            position = _skipped(data, position, end, wire)
    return position


def _is_utf8(name: bytes) -> bool:
    if name.isascii():
        return True
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def encode_points(names: Sequence[bytes], timestamps: Any, values: Any) -> bytes:
    """A Payload of these columns, without the length before it.

    names: UTF-8.  timestamps: 0 to 2**32 - 1, fractions are cut off.  values: any floats.
    """
    whens = np.asarray(timestamps).astype(np.uint32).tolist()
    packed = np.ascontiguousarray(values, "<f8").tobytes()
    stamps: dict[int, bytes] = {}  # in a batch most timestamps are the same
    points: list[bytes] = []
    for start, when in zip(range(0, len(packed), 8), whens):
        stamp = stamps.get(when)
        if stamp is None:
            stamp = stamps[when] = b"\x08" + _written(when) if when else b""
        number = packed[start : start + 8]
        point = stamp if number == _ZERO else stamp + b"\x11" + number
        points.append(b"\x12%c%b" % (len(point), point))
    if len(set(names)) == len(names):
        return b"".join(map(_metric, names, points))
    written: dict[bytes, list[bytes]] = {}
    for name, point in zip(names, points):
        written.setdefault(name, []).append(point)
    return b"".join(_metric(name, b"".join(pieces)) for name, pieces in written.items())


def encode_frames(
    names: Sequence[bytes], timestamps: Any, values: Any, most: int, most_bytes: int = MAX_FRAME
) -> Iterator[bytes]:
    """`encode_points` in frames of at most `most` datapoints and `most_bytes` bytes, in order.

    Only a datapoint whose name alone is too long for a frame makes a longer one.
    """
    for start in range(0, len(names), most):
        part = slice(start, start + most)
        yield from _fitting(names[part], timestamps[part], values[part], most_bytes)


def _fitting(names: Sequence[bytes], timestamps: Any, values: Any, most_bytes: int) -> Iterator[bytes]:
    frame = encode_points(names, timestamps, values)
    if len(frame) <= most_bytes or len(names) == 1:
        yield frame
    else:
        middle = len(names) // 2
        yield from _fitting(names[:middle], timestamps[:middle], values[:middle], most_bytes)
        yield from _fitting(names[middle:], timestamps[middle:], values[middle:], most_bytes)


def _metric(name: bytes, points: bytes) -> bytes:
    """A field of the Payload."""
    length = len(name)
    size = length + len(points) + 2
    if size < 128 and length:
        return b"\x0a%c\x0a%c%b%b" % (size, length, name, points)
    body = b"\x0a" + _written(length) + name + points if length else points  # an empty name is a zero
    return b"\x0a" + _written(len(body)) + body


def _written(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
