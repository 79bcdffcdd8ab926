"""The stack machine of the pickle format, reduced to what data needs: nothing can be named, called or built.

The law: `Machine.run` gives what `pickle.loads` gives for a pickle of None, booleans, numbers, text, bytes, tuples,
lists, dicts and sets, in all protocols from 0 to 5, and raises WireError, and nothing but WireError, for all else.

What bounds an evil frame: containers and memo entries (one for every two bytes), entries of dicts and sets
(`max_entries`; they hash, and hashes can be made to collide), their keys (scalars and flat tuples only, since the
hash of a nested tuple can take for ever), nesting of MARKs (`max_depth`) and the length of integers
(`max_int_bytes`).  What comes out is never larger than the frame can pay for, but it may share its parts: whoever
walks over it has to count.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from carbonpy.errors import WireError

_I4, _U4, _U2, _U8, _F8 = (struct.Struct(code).unpack_from for code in ("<i", "<I", "<H", "<Q", ">d"))
_ESCAPE = re.compile(rb"\\(\n|\\|'|\"|[abfnrtv]|[0-7]{1,3}|x[0-9a-fA-F]{2})")
_ESCAPED = dict(zip(b"\\'\"abfnrtv\n", (b"\\", b"'", b'"', b"\a", b"\b", b"\f", b"\n", b"\r", b"\t", b"\v", b"")))
#: Characters of a number in text: more digits than any float has.
MAX_NUMBER_TEXT = 400
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


def unframed(data: bytes) -> bytes:
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


class Machine:
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
        if len(line) > MAX_NUMBER_TEXT:
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


_RARE: dict[int, Callable[[Machine], None]] = {
    ord("("): Machine.mark,
    0x80: Machine.proto,
    0x95: Machine.frame,
    ord("N"): Machine.none,
    0x88: Machine.true,
    0x89: Machine.false,
    ord("I"): Machine.int_text,
    ord("L"): Machine.long_text,
    ord("F"): Machine.float_text,
    0x8A: Machine.long1,
    0x8B: Machine.long4,
    ord("S"): Machine.string_text,
    ord("V"): Machine.unicode_text,
    ord("T"): Machine.string4,
    ord("U"): Machine.string1,
    0x8D: Machine.unicode8,
    ord("C"): Machine.bytes1,
    ord("B"): Machine.bytes4,
    0x8E: Machine.bytes8,
    0x96: Machine.bytearray8,
    ord(")"): Machine.empty_tuple,
    0x85: Machine.tuple1,
    0x87: Machine.tuple3,
    ord("t"): Machine.tuple_to_mark,
    ord("]"): Machine.empty_list,
    ord("l"): Machine.list_to_mark,
    ord("a"): Machine.append,
    ord("e"): Machine.appends,
    ord("}"): Machine.empty_dict,
    ord("d"): Machine.dict_to_mark,
    ord("s"): Machine.setitem,
    ord("u"): Machine.setitems,
    0x8F: Machine.empty_set,
    0x90: Machine.additems,
    0x91: Machine.frozenset_to_mark,
    ord("0"): Machine.pop,
    ord("1"): Machine.pop_mark,
    ord("2"): Machine.dup,
    ord("p"): Machine.put,
    ord("g"): Machine.get,
}
