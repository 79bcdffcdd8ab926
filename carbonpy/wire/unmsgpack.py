"""msgpack read as data: what other Graphite servers send.

The law: nil, booleans, numbers, text, bytes, lists and dicts (keys: text, bytes, numbers) give what any msgpack
reader gives; extension types, what is cut and what nests deeper than `MAX_DEPTH` raise WireError, and nothing
but WireError.  A length that is announced is not believed: nothing is made before its bytes are there.  Lists of
floats, which is what series are, are read many at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from carbonpy.errors import WireError

MAX_DEPTH = 32

_FLOAT_RUN = np.dtype([("mark", "u1"), ("value", ">f8")])
#: Floats that must follow each other for reading them together to pay.
_SHORT_RUN = 8
_FIXED: dict[int, struct.Struct] = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
#: Codes whose payload stands behind a length of 1, 2 or 4 bytes: (bytes of the length, kind).
_SIZED = {
    0xC4: (1, "bytes"),
    0xC5: (2, "bytes"),
    0xC6: (4, "bytes"),
    0xD9: (1, "text"),
    0xDA: (2, "text"),
    0xDB: (4, "text"),
    0xDC: (2, "list"),
    0xDD: (4, "list"),
    0xDE: (2, "dict"),
    0xDF: (4, "dict"),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def unpack(data: bytes) -> Any:
    """The object that `data` holds.  Raises WireError.  Safe from any thread."""
    reader = _Reader(data)
    try:
        found = reader.read(0)
    except (struct.error, IndexError):
        raise WireError("the msgpack ends in the middle; send all of it") from None
    if reader.at != len(data):
        raise WireError(f"{len(data) - reader.at} bytes stand behind the msgpack; send one object")
    return found


class _Reader:
    """One pass over the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._codes = np.frombuffer(data, np.uint8)
        self.at = 0

    def read(self, depth: int) -> Any:
        code = self._data[self.at]
        self.at += 1
        if code < 0x80:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code < 0x90:
            return self._dict(code & 0x0F, depth)
        if code < 0xA0:
            return self._list(code & 0x0F, depth)
        if code < 0xC0:
            return self._text(code & 0x1F)
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        number = _FIXED.get(code)
        if number is not None:
            (value,) = number.unpack_from(self._data, self.at)
            self.at += number.size
            return value
        if code not in _SIZED:
            raise WireError(f"msgpack code 0x{code:02x} is no plain data; send numbers, text, lists and dicts")
        width, kind = _SIZED[code]
        size = int.from_bytes(self._take(width), "big")
        reads: dict[str, Callable[[], Any]] = {
            "bytes": lambda: self._take(size),
            "text": lambda: self._text(size),
            "list": lambda: self._list(size, depth),
            "dict": lambda: self._dict(size, depth),
        }
        return reads[kind]()

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise IndexError
        piece = self._data[self.at : end]
        self.at = end
        return piece

    def _text(self, size: int) -> str | bytes:
        piece = self._take(size)
        try:
            return piece.decode()
        except UnicodeDecodeError:  # old writers know no difference between text and bytes
            return piece

    def _deeper(self, size: int, depth: int) -> int:
        if depth >= MAX_DEPTH:
            raise WireError("the msgpack nests too deeply; send lists of dicts of numbers and text")
        if size > len(self._data) - self.at:
            raise IndexError
        return depth + 1

    def _list(self, size: int, depth: int) -> list[Any]:
        depth = self._deeper(size, depth)
        found: list[Any] = []
        while len(found) < size:
            run = self._floats(size - len(found)) if self._data[self.at] == 0xCB else []
            if run:
                found += run
            else:
                found.append(self.read(depth))
        return found

    def _floats(self, most: int) -> list[float]:
        """Floats that follow each other; none if they are too few to pay."""
        room = min(most, (len(self._data) - self.at) // 9)
        first = self._codes[self.at : self.at + 9 * min(room, _SHORT_RUN) : 9]
        if len(first) < _SHORT_RUN or not (first == 0xCB).all():
            return []
        run = np.frombuffer(self._data, _FLOAT_RUN, room, self.at)
        other = np.flatnonzero(run["mark"][: 1 << 12] != 0xCB)
        count = int(other[0]) if len(other) else min(room, 1 << 12)
        self.at += 9 * count
        floats: list[float] = run["value"][:count].tolist()
        return floats

    def _dict(self, size: int, depth: int) -> dict[Any, Any]:
        depth = self._deeper(size, depth)
        found: dict[Any, Any] = {}
        for _ in range(size):
            key = self.read(depth)
            if not isinstance(key, (str, bytes, int, float)):
                raise WireError(f"a key of a msgpack dict is a {type(key).__name__}; send text")
            found[key] = self.read(depth)
        return found
