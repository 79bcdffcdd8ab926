"""The protobuf messages that carbonapi and its stores exchange: versions 2 and 3 of their protocol.

The law: each message is a frozen dataclass that says number and kind of its fields, as the protocol's
own file does; `encode` and `decode` walk that description.  As proto3 wants it, fields with their zero
value are not written, unknown fields are skipped, numbers of a repeated field may be packed or not.
`decode` raises WireError for anything that is not a message, gives at most `most` elements in all, and
never reads the same byte twice at one depth (messages nest as deep as their description, no deeper).

Absent values are NaN in version 3; in version 2 a second array says which values are absent.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import WireError

#: Elements of repeated fields that one message may have when no other limit is given.
MOST = 2_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT = struct.Struct("<f")
_BITS = (1 << 64) - 1
#: The largest number of 32 bits; what is larger is written as this.
_LARGEST = 3.4028234663852886e38

_NO_VALUES: NDArray[np.float64] = np.empty(0)
_NO_FLAGS: NDArray[np.bool_] = np.empty(0, dtype=bool)


def _number(number: int) -> Any:
    return field(default=0, metadata={"number": number, "kind": "int"})


def _flag(number: int) -> Any:
    return field(default=False, metadata={"number": number, "kind": "bool"})


def _text(number: int) -> Any:
    return field(default="", metadata={"number": number, "kind": "text"})


def _single(number: int) -> Any:
    return field(default=0.0, metadata={"number": number, "kind": "float"})


def _texts(number: int) -> Any:
    return field(default=(), metadata={"number": number, "kind": "texts"})


def _doubles(number: int) -> Any:
    return field(default_factory=lambda: _NO_VALUES, metadata={"number": number, "kind": "doubles"})


def _flags(number: int) -> Any:
    return field(default_factory=lambda: _NO_FLAGS, metadata={"number": number, "kind": "flags"})


def _messages(number: int, kind: type) -> Any:
    return field(default=(), metadata={"number": number, "kind": kind})


# ---- version 3


@dataclass(frozen=True)
class FilterFunction:
    """A function that the store may apply before it answers."""

    name: str = _text(1)
    arguments: tuple[str, ...] = _texts(2)


@dataclass(frozen=True)
class FetchRequest:
    """One name or pattern over one time; what comes back carries path_expression and both times as they are here."""

    name: str = _text(1)
    start_time: int = _number(2)
    stop_time: int = _number(3)
    high_precision_timestamps: bool = _flag(4)
    path_expression: str = _text(5)
    filter_functions: tuple[FilterFunction, ...] = _messages(6, FilterFunction)
    max_data_points: int = _number(7)


@dataclass(frozen=True)
class MultiFetchRequest:
    """What a render asks for."""

    metrics: tuple[FetchRequest, ...] = _messages(1, FetchRequest)


@dataclass(frozen=True, eq=False)
class FetchResponse:
    """A series.  stop_time is exclusive: start_time + step_time * len(values).  NaN: no value."""

    name: str = _text(1)
    path_expression: str = _text(2)
    consolidation_func: str = _text(3)
    start_time: int = _number(4)
    stop_time: int = _number(5)
    step_time: int = _number(6)
    x_files_factor: float = _single(7)
    high_precision_timestamps: bool = _flag(8)
    values: NDArray[np.float64] = _doubles(9)  # noqa: RUF009
    applied_functions: tuple[str, ...] = _texts(10)
    request_start_time: int = _number(11)
    request_stop_time: int = _number(12)


@dataclass(frozen=True)
class MultiFetchResponse:
    """What a render gives."""

    metrics: tuple[FetchResponse, ...] = _messages(1, FetchResponse)


@dataclass(frozen=True)
class MultiGlobRequest:
    """What a find asks for."""

    metrics: tuple[str, ...] = _texts(1)
    start_time: int = _number(2)
    stop_time: int = _number(3)


@dataclass(frozen=True)
class GlobMatch:
    """A node of the tree."""

    path: str = _text(1)
    is_leaf: bool = _flag(2)


@dataclass(frozen=True)
class GlobResponse:
    """The nodes that match the query `name`.  The whole answer of a find in version 2."""

    name: str = _text(1)
    matches: tuple[GlobMatch, ...] = _messages(2, GlobMatch)


@dataclass(frozen=True)
class MultiGlobResponse:
    """What a find gives in version 3."""

    metrics: tuple[GlobResponse, ...] = _messages(1, GlobResponse)


@dataclass(frozen=True)
class MultiMetricsInfoRequest:
    """What an info asks for."""

    names: tuple[str, ...] = _texts(1)


@dataclass(frozen=True)
class Retention:
    """One archive."""

    seconds_per_point: int = _number(1)
    number_of_points: int = _number(2)


@dataclass(frozen=True)
class MetricsInfoResponse:
    """How a metric is stored: the same in both versions.  max_retention in seconds."""

    name: str = _text(1)
    consolidation_func: str = _text(2)
    max_retention: int = _number(3)
    x_files_factor: float = _single(4)
    retentions: tuple[Retention, ...] = _messages(5, Retention)


@dataclass(frozen=True)
class MultiMetricsInfoResponse:
    """What an info gives in version 3."""

    metrics: tuple[MetricsInfoResponse, ...] = _messages(1, MetricsInfoResponse)


@dataclass(frozen=True)
class CapabilityResponse:
    """What a store can do."""

    supported_protocols: tuple[str, ...] = _texts(1)
    name: str = _text(2)
    high_precision_timestamps: bool = _flag(3)
    support_filtering_functions: bool = _flag(4)
    like_splitted_requests: bool = _flag(5)
    support_streaming: bool = _flag(6)


# ---- version 2


@dataclass(frozen=True, eq=False)
class FetchResponse2:
    """A series of version 2; a value that is absent is 0 and its flag is set."""

    name: str = _text(1)
    start_time: int = _number(2)
    stop_time: int = _number(3)
    step_time: int = _number(4)
    values: NDArray[np.float64] = _doubles(5)  # noqa: RUF009
    is_absent: NDArray[np.bool_] = _flags(6)  # noqa: RUF009


@dataclass(frozen=True)
class MultiFetchResponse2:
    """What a render gives in version 2."""

    metrics: tuple[FetchResponse2, ...] = _messages(1, FetchResponse2)


# ---- writing


def encode(message: Any) -> bytes:
    """A message of this module as bytes.  Raises nothing for fields of their declared types."""
    pieces: list[bytes] = []
    for name, number, kind in _fields_of(message.__class__):
        value = getattr(message, name)
        if isinstance(kind, type):
            for element in value:
                _put_bytes(pieces, number, encode(element))
        elif kind == "texts":
            for element in value:
                _put_bytes(pieces, number, element.encode("utf-8", "replace"))
        elif kind == "doubles":
            if len(value):
                _put_bytes(pieces, number, np.ascontiguousarray(value, dtype="<f8").tobytes())
        elif kind == "flags":
            if len(value):
                _put_bytes(pieces, number, np.ascontiguousarray(value, dtype=np.uint8).tobytes())
        elif not value:
            pass  # zero is what a reader takes for a field that is not there
        elif kind == "text":
            _put_bytes(pieces, number, value.encode("utf-8", "replace"))
        elif kind == "float":
            pieces += (
                _varint(number << 3 | _FIXED32),
                _FLOAT.pack(max(-_LARGEST, min(value, _LARGEST)) if math.isfinite(value) else value),
            )
        else:
            pieces += (_varint(number << 3 | _VARINT), _varint(int(value)))
    return b"".join(pieces)


@cache
def _fields_of(kind: Hashable) -> tuple[tuple[str, int, Any], ...]:
    """(name, number, kind) of the fields of a message, in the order of their numbers."""
    described = ((one.name, one.metadata["number"], one.metadata["kind"]) for one in fields(kind))  # type: ignore[arg-type]
    return tuple(sorted(described, key=lambda one: one[1]))


@cache
def _by_number(kind: Any) -> dict[int, tuple[str, Any]]:
    return {number: (name, what) for name, number, what in _fields_of(kind)}


def _put_bytes(pieces: list[bytes], number: int, data: bytes) -> None:
    pieces += (_varint(number << 3 | _BYTES), _varint(len(data)), data)


def _varint(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    value &= _BITS  # negative numbers are written as 64 bits
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


# ---- reading

M = TypeVar("M")


def decode(kind: type[M], data: bytes, most: int = MOST) -> M:
    """The message of class `kind` that `data` is.

    most: elements that its repeated fields, of all depths together, may have.
    Raises WireError.
    """
    try:
        return _Reading(most).message(kind, data)
    except _Broken as broken:
        raise WireError(f"these {len(data)} bytes are not a protobuf {kind.__name__}: {broken}") from None


class _Broken(Exception):
    """What is wrong with the bytes."""


class _Reading:
    def __init__(self, most: int) -> None:
        self._left = most

    def message(self, kind: type[M], data: bytes) -> M:
        described: Any = kind
        known = _by_number(described)
        lists: dict[str, list[Any]] = {}
        values: dict[str, Any] = {}
        position, end = 0, len(data)
        while position < end:
            key, position = _read_varint(data, position)
            wire, found = key & 7, known.get(key >> 3)
            if not key >> 3:
                raise _Broken("a field has the number 0")
            value, position = _read_value(data, position, wire)
            if found is None:
                continue
            name, what = found
            if what in ("int", "bool"):
                values[name] = _whole(value, wire) if what == "int" else bool(_whole(value, wire))
            elif what == "float":
                if wire != _FIXED32:
                    raise _Broken("a field of 32 bits has another form")
                values[name] = _FLOAT.unpack(value)[0]
            elif what == "text":
                values[name] = _decoded(value, wire)
            else:
                lists.setdefault(name, []).append(self._element(what, value, wire))
        for name, _, what in _fields_of(described):
            if name in lists:
                values[name] = _joined(what, lists[name])
        return kind(**values)

    def _element(self, what: Any, value: Any, wire: int) -> Any:
        if what == "doubles":
            if wire not in (_BYTES, _FIXED64) or len(value) % 8:
                raise _Broken("an array of doubles is not a multiple of 8 bytes")
            self._take(len(value) // 8)
            return np.frombuffer(value, dtype="<f8")
        if what == "flags":
            if wire == _VARINT:
                self._take(1)
                return np.array([value != 0])
            self._take(len(value) if wire == _BYTES else 0)
            flags = np.frombuffer(value, dtype=np.uint8)
            if wire != _BYTES or (flags > 1).any():
                raise _Broken("an array of flags holds something else")
            return flags.astype(bool)
        self._take(1)
        return _decoded(value, wire) if what == "texts" else self.message(what, _bytes(value, wire))

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _Broken("it has too many elements")


def _joined(what: Any, found: list[Any]) -> Any:
    if what in ("doubles", "flags"):
        return found[0] if len(found) == 1 else np.concatenate(found)
    return tuple(found)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[position : position + 10]:
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value & _BITS, position
    raise _Broken("a number does not end")


def _read_value(data: bytes, position: int, wire: int) -> tuple[Any, int]:
    if wire == _VARINT:
        return _read_varint(data, position)
    if wire == _BYTES:
        size, position = _read_varint(data, position)
    elif wire in (_FIXED64, _FIXED32):
        size = 8 if wire == _FIXED64 else 4
    else:
        raise _Broken(f"there is no wire type {wire}")
    if size > len(data) - position:
        raise _Broken("it ends in the middle of a field")
    return data[position : position + size], position + size


def _whole(value: Any, wire: int) -> int:
    if wire != _VARINT:
        raise _Broken("a whole number has another form")
    return value - (1 << 64) if value >> 63 else value


def _bytes(value: Any, wire: int) -> bytes:
    if wire != _BYTES:
        raise _Broken("a text or message has another form")
    return value


def _decoded(value: Any, wire: int) -> str:
    return _bytes(value, wire).decode("utf-8", "replace")
