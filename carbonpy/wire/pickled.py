"""Pickles read as data: our own reader, in which nothing can be named, imported, called or executed.

The law: a pickle made of None, booleans, numbers, text, bytes, tuples, lists, dicts and sets gives what
`pickle.loads` gives, in all protocols from 0 to 5 and from every writer (Python 2 and 3, Java, Go); everything
else, and every pickle that is cut, mutated or built to eat time or memory, raises WireError and nothing but
WireError.  The standard library's pickle module is used for one thing: to write plain replies (`encode_plain`).

Three readers share the work.  `_Machine` is the stack machine of the format, complete and careful.
`pickled_columns` and `pickled_text` recognise the forms in which datapoints really come and read a whole frame at
once; when anything deviates they decline and the machine decides, so that all always give the same answer.

What bounds an evil frame: containers and memo entries (one for every two bytes), entries of dicts and sets
(`max_entries`; they hash, and hashes can be made to collide), their keys (scalars and flat tuples only, since the
hash of a nested tuple can take for ever), nesting (`max_depth`), the length of integers (`max_int_bytes`), and the
number of datapoints (one for every two bytes of the frame, which no honest writer can exceed).
"""

from __future__ import annotations

import pickle  # for pickle.dumps only: what we send is plain, what we receive is never given to it
import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import WireError
from carbonpy.wire.pickled_columns import read_columns
from carbonpy.wire.pickled_text import read_text

_I4, _U4, _U2, _U8, _F8 = (struct.Struct(code).unpack_from for code in ("<i", "<I", "<H", "<Q", ">d"))
_ESCAPE = re.compile(rb"\\(\n|\\|'|\"|[abfnrtv]|[0-7]{1,3}|x[0-9a-fA-F]{2})")
_ESCAPED = dict(zip(b"\\'\"abfnrtv\n", (b"\\", b"'", b'"', b"\a", b"\b", b"\f", b"\n", b"\r", b"\t", b"\v", b"")))
_MAX_NUMBER_TEXT = 400  # more digits than any float has
_REMEMBERS_TOO_MUCH = "the pickle remembers more than it can use; send plain data"

#: Opcodes that name, build or call something, by their names in the pickle format.
_REFUSED = {
    ord("c"): "GLOBAL",
    ord("i"): "INST",
    ord("o"): "OBJ",
    ord("R"): "REDUCE",
    ord("b"): "BUILD",
    ord("P"): "PERSID",
    ord("Q"): "BINPERSID",
    0x81: "NEWOBJ",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    0x92: "NEWOBJ_EX",
    0x93: "STACK_GLOBAL",
    0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
}


class Limits(NamedTuple):
    """How much one pickle may ask for.  The frame's length is bounded by the framing before this."""

    max_depth: int = 32  # containers in containers
    max_entries: int = 4096  # entries of all dicts and sets together
    max_int_bytes: int = 1024  # of one integer; in text, 2.4 digits for each


DEFAULT_LIMITS = Limits()


class Points(NamedTuple):
    """Datapoints of one frame as parallel columns, in the order they came, and what had to be left out.

    `names` are raw UTF-8; numbers are float64 as they came (NaN, infinite and absurd ones included: the ingest
    room judges them).  `rejected` counts datapoints by reason: ``shape`` (not a name with (timestamp, value)),
    ``name`` (not text, or not UTF-8) and ``number`` (not a number, or one too large for a float).
    """

    names: list[bytes]
    timestamps: NDArray[np.float64]
    values: NDArray[np.float64]
    rejected: dict[str, int]


def decode_points(frame: bytes, limits: Limits = DEFAULT_LIMITS) -> Points:
    """The datapoints of a pickle of ``[(name, (timestamp, value)), ...]``.  Safe from any thread.

    Tuples and lists may stand for each other, the multi-point form ``(name, (ts, v), (ts, v), ...)`` is
    understood, names may be text or bytes, numbers may be int, float, bool or text.  An item that is none of this
    costs itself only.  Raises WireError when the frame is not such a pickle at all.
    """
    data = _unframed(frame)
    columns = read_text(data) if data.startswith(b"(l") else read_columns(data)
    if columns is None:
        return _points_of(_Machine(data, limits, raw=True).run(), len(data) // 2 + 1)
    names, timestamps, values = columns
    if not b"".join(names).isascii():
        bad = [index for index, name in enumerate(names) if not _is_utf8(name)]
        if bad:
            names = [name for name in names if _is_utf8(name)]
            return Points(names, np.delete(timestamps, bad), np.delete(values, bad), {"name": len(bad)})
    return Points(names, timestamps, values, {})


def decode_plain(frame: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """The plain object (containers, text, bytes, numbers, None, booleans) that a pickle holds.

    Text of Python 2 (``str``) is taken for UTF-8.  Raises WireError for anything else.  Safe from any thread.
    """
    result = _Machine(_unframed(frame), limits, raw=False).run()
    _check_depth(result, limits.max_depth)
    return result


def encode_plain(value: Any) -> bytes:
    """The pickle (protocol 2, which every Graphite reads) of a plain object of ours.  Safe from any thread."""
    return pickle.dumps(value, protocol=2)


def _unframed(data: bytes) -> bytes:
    """The pickle without the FRAME headers of protocols 4 and 5, when frames are all it is made of."""
    if data[2:3] != b"\x95" or data[:1] != b"\x80":
        return data
    pieces, start, size = [data[:2]], 2, len(data)
    while start + 9 <= size and data[start] == 0x95:
        end = start + 9 + _U8(data, start + 1)[0]
        if end > size:
            raise WireError(f"a pickle frame announces {end - start - 9} bytes but {size - start - 9} are left; resend")
        pieces.append(data[start + 9 : end])
        start = end
    return b"".join(pieces) if start == size else data


def _is_utf8(raw: bytes) -> bool:
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _points_of(items: Any, max_points: int) -> Points:
    """Columns of a list of items as the machine read it (all text raw).  Raises WireError for something else."""
    if type(items) is not list and type(items) is not tuple:
        raise WireError(f"the pickle holds a {type(items).__name__}; send a list of (name, (timestamp, value))")
    names: list[bytes] = []
    timestamps: list[float] = []
    values: list[float] = []
    rejected: dict[str, int] = {}
    add_name, add_timestamp, add_value = names.append, timestamps.append, values.append
    plain = (int, float)
    total = 0
    for item in items:
        kind = type(item)
        if (kind is not tuple and kind is not list) or len(item) < 2:
            total += 1
            rejected["shape"] = rejected.get("shape", 0) + 1
            continue
        total += len(item) - 1
        if total > max_points:
            raise WireError(f"the pickle unfolds to more than {max_points} datapoints; send them one by one")
        name = item[0]
        if type(name) is not bytes or not (name.isascii() or _is_utf8(name)):
            rejected["name"] = rejected.get("name", 0) + len(item) - 1
            continue
        for point in item[1:] if len(item) > 2 else (item[1],):
            kind = type(point)
            if (kind is not tuple and kind is not list) or len(point) != 2:
                rejected["shape"] = rejected.get("shape", 0) + 1
                continue
            timestamp, value = point
            if type(timestamp) not in plain or type(value) not in plain:
                try:
                    timestamp, value = _number(timestamp), _number(value)
                except (ValueError, OverflowError):
                    rejected["number"] = rejected.get("number", 0) + 1
                    continue
            add_name(name)
            add_timestamp(timestamp)
            add_value(value)
    try:
        return Points(names, np.array(timestamps, np.float64), np.array(values, np.float64), rejected)
    except OverflowError:  # an integer beyond the floats: rare, so looked for only now
        return _without_giants(names, timestamps, values, rejected)


def _without_giants(names: list[bytes], timestamps: list[float], values: list[float], rejected: dict) -> Points:
    kept: list[tuple[bytes, float, float]] = []
    for name, timestamp, value in zip(names, timestamps, values):
        try:
            kept.append((name, float(timestamp), float(value)))
        except OverflowError:
            rejected["number"] = rejected.get("number", 0) + 1
    columns = np.array([row[1:] for row in kept], np.float64).reshape(-1, 2)
    return Points([row[0] for row in kept], columns[:, 0].copy(), columns[:, 1].copy(), rejected)


def _number(value: Any) -> float:
    """The float that carbon would see.  Raises ValueError or OverflowError."""
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, bytes) and len(value) <= _MAX_NUMBER_TEXT:
        return float(value.decode())
    raise ValueError("not a number")


def _check_depth(root: Any, max_depth: int) -> None:
    """Raise WireError when containers nest deeper than `max_depth` (or for ever)."""
    level, depth = [root], 0
    while level:
        unique = {id(thing): thing for thing in level if isinstance(thing, (list, tuple, dict, set, frozenset))}
        if unique:
            depth += 1
            if depth > max_depth:
                raise WireError(f"the pickle nests deeper than {max_depth} containers; send flatter data")
        level = []
        for thing in unique.values():
            level.extend(thing.values() if isinstance(thing, dict) else thing)


class _Machine:
    """The stack machine of the pickle format, for one pickle.  One use, one owner.

    With `raw` all text stays UTF-8 bytes, which is how names are looked up and saves decoding them.
    """

    def __init__(self, data: bytes, limits: Limits, raw: bool) -> None:
        self.data = data
        self.limits = limits
        self.raw = raw
        self.at = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each MARK, outermost first
        self.memo: dict[int, Any] = {}
        self.room = len(data) // 2 + 16  # for containers, and again for memo entries
        self.containers = 0
        self.entries = 0

    def run(self) -> Any:
        """The object on top of the stack at STOP.  Raises WireError."""
        try:
            return self._run()
        except WireError:
            raise
        except (IndexError, struct.error):
            what = "it ends early or takes from an empty stack"
        except KeyError:
            what = "it refers to something it has not remembered"
        except (ValueError, TypeError, OverflowError) as error:
            what = str(error) or type(error).__name__
        raise WireError(f"not a valid pickle near byte {self.at} of {len(self.data)}: {what}")

    def _run(self) -> Any:
        # The opcodes that make up datapoints are spelled out here, most frequent first in each half; the others
        # are methods in _RARE.  Every branch that may fail does so before it changes the stack.
        data, memo, room, raw = self.data, self.memo, self.room, self.raw
        size = len(data)
        stack = self.stack
        push = stack.append
        at = 0
        while True:
            op = data[at]
            at += 1
            if op >= 0x80:
                if op == 0x94:  # MEMOIZE
                    count = len(memo)
                    if count > room:
                        raise WireError(_REMEMBERS_TOO_MUCH)
                    memo[count] = stack[-1]
                    continue
                if op == 0x86:  # TUPLE2
                    stack[-2:] = [(stack[-2], stack[-1])]
                    continue
                if op == 0x8C:  # SHORT_BINUNICODE
                    start = at + 1
                    at = start + data[at]
                    if at > size:
                        raise IndexError
                    push(data[start:at] if raw else data[start:at].decode("utf-8", "surrogatepass"))
                    continue
            elif op == 0x71:  # BINPUT
                memo[data[at]] = stack[-1]
                at += 1
                continue
            elif op == 0x47:  # BINFLOAT
                push(_F8(data, at)[0])
                at += 8
                continue
            elif op == 0x4A:  # BININT
                push(_I4(data, at)[0])
                at += 4
                continue
            elif op == 0x72:  # LONG_BINPUT
                memo[_U4(data, at)[0]] = stack[-1]
                at += 4
                continue
            elif op == 0x58:  # BINUNICODE
                start = at + 4
                at = start + _U4(data, at)[0]
                if at > size:
                    raise IndexError
                push(data[start:at] if raw else data[start:at].decode("utf-8", "surrogatepass"))
                continue
            elif op == 0x68:  # BINGET
                push(memo[data[at]])
                at += 1
                continue
            elif op == 0x6A:  # LONG_BINGET
                push(memo[_U4(data, at)[0]])
                at += 4
                continue
            elif op == 0x4B:  # BININT1
                push(data[at])
                at += 1
                continue
            elif op == 0x4D:  # BININT2
                push(_U2(data, at)[0])
                at += 2
                continue
            elif op == 0x2E:  # STOP
                self.at = at
                return stack[-1]
            rare = _RARE.get(op)
            self.at = at
            if rare is None:
                raise WireError(self._why_refused(op))
            rare(self)
            if len(memo) > room:
                raise WireError(_REMEMBERS_TOO_MUCH)
            at = self.at
            stack = self.stack
            push = stack.append

    def _why_refused(self, op: int) -> str:
        where = f"pickle refused at byte {self.at - 1}"
        if op in _REFUSED:
            return f"{where}: {_REFUSED[op]} would run code; send plain lists, tuples, text and numbers"
        return f"{where}: {op:#04x} is not an opcode; send a pickle of protocol 0 to 5"

    def _take(self, count: int) -> bytes:
        start = self.at
        end = start + count
        if count < 0 or end > len(self.data):
            raise IndexError
        self.at = end
        return self.data[start:end]

    def _line(self) -> bytes:
        end = self.data.index(b"\n", self.at)
        line = self.data[self.at : end]
        self.at = end + 1
        return line

    def _text(self, raw: bytes) -> None:
        self.stack.append(raw if self.raw else raw.decode("utf-8", "surrogatepass"))

    def _string(self, raw: bytes) -> None:  # the `str` of Python 2
        self.stack.append(raw if self.raw else raw.decode())

    def _container(self, thing: Any) -> None:
        self.containers += 1
        if self.containers > self.room:
            raise WireError("the pickle has more containers than its length can mean; send plain data")
        self.stack.append(thing)

    def _to_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.below.pop()
        return items

    # -- opcodes ------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        if len(self.below) >= self.limits.max_depth:
            raise WireError(f"the pickle nests deeper than {self.limits.max_depth} containers; send flatter data")
        self.below.append(self.stack)
        self.stack = []

    def proto(self) -> None:
        version = self._take(1)[0]
        if version > 5:
            raise WireError(f"pickle protocol {version} is not known; send protocol 0 to 5")

    def frame(self) -> None:
        if _U8(self._take(8))[0] > len(self.data) - self.at:
            raise IndexError

    def none(self) -> None:
        self.stack.append(None)

    def true(self) -> None:
        self.stack.append(True)

    def false(self) -> None:
        self.stack.append(False)

    def int_text(self) -> None:
        line = self._line()
        if line in (b"00", b"01"):
            self.stack.append(line == b"01")
        else:
            self._integer(line)

    def long_text(self) -> None:
        line = self._line()
        self._integer(line[:-1] if line.endswith(b"L") else line)

    def _integer(self, text: bytes) -> None:
        if len(text) > 2.4 * self.limits.max_int_bytes:
            raise WireError(f"the pickle has an integer of {len(text)} digits; send smaller numbers")
        self.stack.append(int(text))

    def float_text(self) -> None:
        line = self._line()
        if len(line) > _MAX_NUMBER_TEXT:
            raise WireError(f"the pickle has a number of {len(line)} digits; send smaller numbers")
        self.stack.append(float(line))

    def long1(self) -> None:
        self._long(self._take(1)[0])

    def long4(self) -> None:
        self._long(_I4(self._take(4))[0])

    def _long(self, count: int) -> None:
        if count > self.limits.max_int_bytes:
            raise WireError(f"the pickle has an integer of {count} bytes; send smaller numbers")
        self.stack.append(int.from_bytes(self._take(count), "little", signed=True))

    def string_text(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[0] != line[-1] or line[0] not in b"'\"":
            raise ValueError("text without quotes")
        line = line[1:-1]
        self._string(_ESCAPE.sub(_unescape, line) if b"\\" in line else line)

    def unicode_text(self) -> None:
        text = self._line().decode("raw-unicode-escape")
        self.stack.append(text.encode("utf-8", "surrogatepass") if self.raw else text)

    def string4(self) -> None:
        self._string(self._take(_I4(self._take(4))[0]))

    def string1(self) -> None:
        self._string(self._take(self._take(1)[0]))

    def unicode8(self) -> None:
        self._text(self._take(_U8(self._take(8))[0]))

    def bytes1(self) -> None:
        self.stack.append(self._take(self._take(1)[0]))

    def bytes4(self) -> None:
        self.stack.append(self._take(_U4(self._take(4))[0]))

    def bytes8(self) -> None:
        self.stack.append(self._take(_U8(self._take(8))[0]))

    def bytearray8(self) -> None:
        raw = self._take(_U8(self._take(8))[0])
        self._container(raw if self.raw else bytearray(raw))

    def empty_tuple(self) -> None:
        self.stack.append(())

    def tuple1(self) -> None:
        self.stack[-1] = (self.stack[-1],)

    def tuple3(self) -> None:
        stack = self.stack
        stack[-3:] = [(stack[-3], stack[-2], stack[-1])]

    def tuple_to_mark(self) -> None:
        items = self._to_mark()
        self.stack.append(tuple(items))

    def empty_list(self) -> None:
        self._container([])

    def list_to_mark(self) -> None:
        items = self._to_mark()
        self._container(items)

    def append(self) -> None:
        target = self.stack[-2]
        if type(target) is not list:
            raise ValueError(f"it appends to a {type(target).__name__}")
        target.append(self.stack.pop())

    def appends(self) -> None:
        items = self._to_mark()
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError(f"it appends to a {type(target).__name__}")
        target.extend(items)

    def empty_dict(self) -> None:
        self._count_entries(1)
        self._container({})

    def dict_to_mark(self) -> None:
        self._count_entries(1)
        items = self._to_mark()
        self._container({})
        self._set_items(items)

    def setitem(self) -> None:
        items = self.stack[-2:]
        if len(self.stack) < 3:
            raise IndexError
        del self.stack[-2:]
        self._set_items(items)

    def setitems(self) -> None:
        self._set_items(self._to_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError(f"it sets {len(items)} items of a {type(target).__name__}")
        self._count_entries(len(items) // 2)
        target.update(zip(self._hashable(items[::2]), items[1::2]))

    def empty_set(self) -> None:
        self._count_entries(1)
        self._container(set())

    def additems(self) -> None:
        items = self._to_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise ValueError(f"it adds to a {type(target).__name__}")
        self._count_entries(len(items))
        target.update(self._hashable(items))

    def frozenset_to_mark(self) -> None:
        items = self._to_mark()
        self._count_entries(len(items) + 1)
        self._container(frozenset(self._hashable(items)))

    def _count_entries(self, count: int) -> None:
        self.entries += count
        if self.entries > self.limits.max_entries:
            raise WireError(f"the pickle has more than {self.limits.max_entries} entries in dicts and sets; send less")

    def _hashable(self, keys: list[Any]) -> list[Any]:
        for key in keys:
            if type(key) is tuple:
                self._count_entries(len(key))
            for part in key if type(key) is tuple else (key,):
                if part is not None and not isinstance(part, (str, bytes, int, float)):
                    raise ValueError(f"it uses a {type(part).__name__} as (part of) a key")
        return keys

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._to_mark()

    def pop_mark(self) -> None:
        self._to_mark()

    def dup(self) -> None:
        self.stack.append(self.stack[-1])

    def put(self) -> None:
        self.memo[self._index()] = self.stack[-1]

    def get(self) -> None:
        self.stack.append(self.memo[self._index()])

    def _index(self) -> int:
        line = self._line()
        if len(line) > 20 or not line.isdigit():
            raise ValueError(f"it remembers under {line[:20]!r}")
        return int(line)


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match.group(1)
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code[0] in b"01234567":
        return bytes([int(code, 8) & 0xFF])
    return _ESCAPED[code[0]]


_RARE: dict[int, Callable[[_Machine], None]] = {
    ord("("): _Machine.mark,
    0x80: _Machine.proto,
    0x95: _Machine.frame,
    ord("N"): _Machine.none,
    0x88: _Machine.true,
    0x89: _Machine.false,
    ord("I"): _Machine.int_text,
    ord("L"): _Machine.long_text,
    ord("F"): _Machine.float_text,
    0x8A: _Machine.long1,
    0x8B: _Machine.long4,
    ord("S"): _Machine.string_text,
    ord("V"): _Machine.unicode_text,
    ord("T"): _Machine.string4,
    ord("U"): _Machine.string1,
    0x8D: _Machine.unicode8,
    ord("C"): _Machine.bytes1,
    ord("B"): _Machine.bytes4,
    0x8E: _Machine.bytes8,
    0x96: _Machine.bytearray8,
    ord(")"): _Machine.empty_tuple,
    0x85: _Machine.tuple1,
    0x87: _Machine.tuple3,
    ord("t"): _Machine.tuple_to_mark,
    ord("]"): _Machine.empty_list,
    ord("l"): _Machine.list_to_mark,
    ord("a"): _Machine.append,
    ord("e"): _Machine.appends,
    ord("}"): _Machine.empty_dict,
    ord("d"): _Machine.dict_to_mark,
    ord("s"): _Machine.setitem,
    ord("u"): _Machine.setitems,
    0x8F: _Machine.empty_set,
    0x90: _Machine.additems,
    0x91: _Machine.frozenset_to_mark,
    ord("0"): _Machine.pop,
    ord("1"): _Machine.pop_mark,
    ord("2"): _Machine.dup,
    ord("p"): _Machine.put,
    ord("g"): _Machine.get,
}
