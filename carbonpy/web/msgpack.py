"""msgpack, as much as answers need of it: nil, booleans, integers, floats, text, lists and dicts.

The law: every value is written in the shortest form the format has for it, floats always as float64;
an array of float64 is a list in which NaN is nil.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_head(count: int) -> bytes:
    """What stands before the `count` elements of a list."""
    return _head(count, 0x90, 16, b"\xdc", b"\xdd")


def pack(value: Any) -> bytes:
    """`value` as msgpack.  Raises TypeError for anything but plain objects and float64 arrays."""
    pieces: list[bytes] = []
    _pack(value, pieces)
    return b"".join(pieces)


def _floats(values: NDArray[np.float64]) -> bytes:
    """A list of floats, nil for NaN."""
    rows = np.empty((len(values), 9), dtype=np.uint8)
    rows[:, 0] = 0xCB
    rows[:, 1:] = values.astype(">f8").view(np.uint8).reshape(-1, 8)
    missing = np.isnan(values)
    head = array_head(len(values))
    if not missing.any():
        return head + rows.tobytes()
    rows[missing, 0] = 0xC0
    kept = np.ones(rows.shape, dtype=bool)
    kept[missing, 1:] = False
    return head + rows[kept].tobytes()


def _pack(value: Any, pieces: list[bytes]) -> None:
    if value is None:
        pieces.append(b"\xc0")
    elif isinstance(value, np.ndarray):
        pieces.append(_floats(value))
    elif isinstance(value, float):
        pieces.append(b"\xcb" + struct.pack(">d", value))
    elif isinstance(value, bool):
        pieces.append(b"\xc3" if value else b"\xc2")
    elif isinstance(value, int):
        pieces.append(_integer(value))
    elif isinstance(value, str):
        data = value.encode("utf-8", "replace")
        pieces.append(
            b"\xd9" + bytes([len(data)]) if 32 <= len(data) < 256 else _head(len(data), 0xA0, 32, b"\xda", b"\xdb")
        )
        pieces.append(data)
    elif isinstance(value, (list, tuple)):
        pieces.append(array_head(len(value)))
        for element in value:
            _pack(element, pieces)
    elif isinstance(value, dict):
        pieces.append(_head(len(value), 0x80, 16, b"\xde", b"\xdf"))
        for key, element in value.items():
            _pack(key, pieces)
            _pack(element, pieces)
    else:
        raise TypeError(f"msgpack has no form here for {type(value).__name__}")


def _head(count: int, small: int, small_limit: int, word: bytes, double_word: bytes) -> bytes:
    if count < small_limit:
        return bytes([small | count])
    if count < 1 << 16:
        return word + struct.pack(">H", count)
    return double_word + struct.pack(">I", count)


def _integer(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return struct.pack(">b", value)
    for code, letter, bits in ((0xCC, "B", 8), (0xCD, "H", 16), (0xCE, "I", 32), (0xCF, "Q", 64)):
        if 0 <= value < 1 << bits:
            return bytes([code]) + struct.pack(">" + letter, value)
    for code, letter, bits in ((0xD0, "b", 7), (0xD1, "h", 15), (0xD2, "i", 31), (0xD3, "q", 63)):
        if -(1 << bits) <= value < 0:
            return bytes([code]) + struct.pack(">" + letter, value)
    raise TypeError("msgpack has no integers beyond 64 bits")
