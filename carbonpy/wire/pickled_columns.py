"""The common pickles of datapoints, read a whole frame at a time with numpy.

The law: `read_columns` gives exactly what the stack machine of `pickle_machine` would give, or None.  It never guesses:
every byte of the pickle has to belong to one item after the other of one form, from the opening list to STOP.

A list of (name, (timestamp, value)) is, after its head, a chain of items that look like this::

    X len4 name [memo]  J int4  G float8  TUPLE2 [memo]  TUPLE2 [memo]

with other opcodes for shorter or Python 2 text, for a name seen before (BINGET), for other numbers, and with
MARK...TUPLE or EMPTY_LIST [memo] MARK...APPENDS instead of TUPLE2.  Where an item starts is not known without
walking the chain, so every byte that could start one is a candidate; from each, all are read as if they were items,
side by side; those that do not make sense go, and what is left must be a chain: each item ends where the next starts
(or a batch ends: pickle writes APPENDS MARK after each 1,000).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Columns = tuple[list[bytes], NDArray[np.float64], NDArray[np.float64]]

_MARK, _STOP, _EMPTY_LIST, _APPENDS, _APPEND, _TUPLE, _TUPLE2 = b"(", b".", b"]", b"e", b"a", b"t", b"\x86"
_BINGET, _LONG_BINGET, _BINPUT, _LONG_BINPUT, _MEMOIZE = ord("h"), ord("j"), ord("q"), ord("r"), 0x94
_FLOAT, _INT4, _INT1, _INT2, _LONG1, _TRUE, _FALSE = ord("G"), ord("J"), ord("K"), ord("M"), 0x8A, 0x88, 0x89

#: Below this many bytes the machine is faster than numpy's fixed cost.
_WORTH_IT = 2500
#: Zeros after the pickle, so that reading on from any candidate stays inside the buffer.
_PAD = 128
#: No item of these forms is shorter; more candidates than that are not worth reading.
_MIN_ITEM = 8


def _table(sizes: dict[int, int]) -> Ints:
    table = np.zeros(256, np.int64)
    for opcode, size in sizes.items():
        table[opcode] = size
    return table


#: Bytes of an opcode and its argument, 0 for an opcode of another kind.  LONG1's argument adds its own length.
_MEMO_SIZE = _table({_BINPUT: 2, _LONG_BINPUT: 5, _MEMOIZE: 1})
_NUMBER_SIZE = _table({_FLOAT: 9, _INT4: 5, _INT1: 2, _INT2: 3, _LONG1: 2, _TRUE: 1, _FALSE: 1})
#: Bytes before the text itself: BINUNICODE, BINSTRING, BINBYTES have a length of four bytes, the others of one.
_TEXT_HEAD = {ord("X"): 5, ord("T"): 5, ord("B"): 5, 0x8C: 2, ord("U"): 2, ord("C"): 2}


class _Form(NamedTuple):
    """How the first item is written, and so all: opening opcodes (b"" for TUPLE2) and the opcode of the name."""

    outer: bytes
    inner: bytes
    text: int


class _View:
    """The pickle and a pad, readable as any number type at any byte, many places at once."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._padded = data + bytes(_PAD)
        self.byte = np.frombuffer(self._padded, np.uint8)

    def of(self, dtype: str, places: Ints) -> np.ndarray:
        kind = np.dtype(dtype)
        everywhere = np.ndarray((len(self._padded) - kind.itemsize + 1,), kind, self._padded, 0, (1,))
        return everywhere[places]


class _Reading:
    """Candidates read side by side: `at` is where each has got to, `good` whether it still makes sense."""

    def __init__(self, view: _View, at: Ints) -> None:
        self.view = view
        self.at = at
        self.good: Bools = np.ones(len(at), np.bool_)
        self.memos: list[Ints] = []  # where each memo opcode stands, -1 where there is none; in stream order

    def expect(self, opcode: bytes) -> None:
        self.good &= self.view.byte[self.at] == opcode[0]
        self.at = self.at + 1

    def memo(self) -> None:
        size = _MEMO_SIZE[self.view.byte[self.at]]
        self.memos.append(np.where(size > 0, self.at, -1))
        self.at = self.at + size

    def opening(self, opcode: bytes) -> None:
        if opcode == _EMPTY_LIST:
            self.expect(_EMPTY_LIST)
            self.memo()
        if opcode:
            self.expect(_MARK)

    def closing(self, opcode: bytes) -> None:
        if opcode == _EMPTY_LIST:
            self.expect(_APPENDS)
            return
        self.expect(_TUPLE if opcode else _TUPLE2)
        self.memo()

    def number(self) -> Ints:
        """Where the numbers stand."""
        places = self.at
        opcode = self.view.byte[places]
        size = _NUMBER_SIZE[opcode]
        self.good &= size > 0
        long = opcode == _LONG1
        if long.any():
            length = self.view.byte[places + 1]
            self.good &= ~long | ((length > 0) & (length <= 8))
            size = size + np.where(long & self.good, length, 0)
        self.at = places + size
        return places


class _Head(NamedTuple):
    """What comes before the first item: where that starts, and under which memo entry the list was put."""

    start: int
    memo_opcode: int  # 0 if the list is not remembered
    memo_index: int  # -1 if not


class _Names(NamedTuple):
    """The names of the candidates: text from `at` to `end`; where `is_get` there is none, but a GET stands at `at`."""

    at: Ints
    end: Ints
    is_get: Bools

    def of(self, chosen: Ints) -> _Names:
        return _Names(self.at[chosen], self.end[chosen], self.is_get[chosen])


def read_columns(data: bytes) -> Columns | None:
    """(raw names, timestamps, values) of a pickle in one of the common forms; None if it is not quite.

    `data` is without FRAME opcodes.  Names are not checked for UTF-8.  Safe from any thread.
    """
    if len(data) < _WORTH_IT:
        return None
    head = _head(data)
    form = _form(data, head.start) if head else None
    if head is None or form is None:
        return None
    view = _View(data)
    return _read(view, data, head, form, False) or _read(view, data, head, form, True)


def _head(data: bytes) -> _Head | None:
    """PROTO, EMPTY_LIST, memo and MARK, or None if that is not how the pickle starts."""
    at = 2 if data[0] == 0x80 and data[1] <= 5 else 0
    if data[at : at + 1] != _EMPTY_LIST:
        return None
    at += 1
    opcode, size = data[at], int(_MEMO_SIZE[data[at]])
    at += size
    index = int.from_bytes(data[at - size + 1 : at], "little") if size else -1
    return _Head(at + 1, opcode if size else 0, index) if data[at : at + 1] == _MARK else None


def _form(data: bytes, at: int) -> _Form | None:
    """The form of the item that starts at `at`, if it may be one."""
    outer, at = _opening(data, at)
    text = data[at]
    head = _TEXT_HEAD.get(text)
    if head is None:
        return None
    at += head + (data[at + 1] if head == 2 else int.from_bytes(data[at + 1 : at + 5], "little"))
    if at + _PAD > len(data):
        return None
    return _Form(outer, _opening(data, at + int(_MEMO_SIZE[data[at]]))[0], text)


def _opening(data: bytes, at: int) -> tuple[bytes, int]:
    """The opening opcode at a place (b"" if none), and where what is inside starts."""
    opcode = data[at : at + 1]
    if opcode == _EMPTY_LIST:
        return opcode, at + 2 + int(_MEMO_SIZE[data[at + 1]])
    return (opcode, at + 1) if opcode == _MARK else (b"", at)


def _read(view: _View, data: bytes, head: _Head, form: _Form, with_gets: bool) -> Columns | None:
    """All items, if they are all of `form`; names seen before are understood only `with_gets` (which costs)."""
    if form.outer:
        could_start = view.byte == form.outer[0]
    else:
        could_start = view.byte == form.text
        if with_gets:
            could_start |= (view.byte == _BINGET) | (view.byte == _LONG_BINGET)
    starts = np.flatnonzero(could_start)
    starts = starts[np.searchsorted(starts, head.start) :]
    if not 0 < len(starts) <= view.size // _MIN_ITEM:
        return None
    reading = _Reading(view, starts)
    reading.opening(form.outer)
    names = _read_names(reading, form.text, with_gets)
    reading.opening(form.inner)
    timestamp_at = reading.number()
    value_at = reading.number()
    reading.closing(form.inner)
    reading.closing(form.outer)

    real = np.flatnonzero(reading.good)
    chain = _chain(view, data, head.start, starts[real], reading.at[real])
    if chain is None:
        return None
    real = real[chain]
    names = names.of(real)
    if names.is_get.any():
        memos = np.stack([places[real] for places in reading.memos], axis=1)
        texts = _with_repeated(view, data, head, names, memos, 1 if form.outer == _EMPTY_LIST else 0)
        if texts is None:
            return None
    else:
        texts = [data[start:end] for start, end in zip(names.at.tolist(), names.end.tolist())]
    return texts, _numbers(view, timestamp_at[real]), _numbers(view, value_at[real])


def _read_names(reading: _Reading, text: int, with_gets: bool) -> _Names:
    view, at = reading.view, reading.at
    opcode = view.byte[at]
    head = _TEXT_HEAD[text]
    length = view.of("<u4" if head == 5 else "u1", at + 1).astype(np.int64)
    is_text = opcode == text
    start, end = at + head, np.minimum(at + head + length, view.size)
    is_get = np.zeros(len(at), np.bool_)
    if with_gets:
        short = opcode == _BINGET
        is_get = short | (opcode == _LONG_BINGET)
        start, end = np.where(is_get, at, start), np.where(is_get, at + np.where(short, 2, 5), end)
    reading.good &= is_text | is_get
    reading.at = end
    reading.memo()
    return _Names(start, end, is_get)


def _chain(view: _View, data: bytes, start: int, starts: Ints, ends: Ints) -> Ints | None:
    """Which of the items follow each other from `start` to STOP, with nothing between but ends of batches."""
    if not len(starts) or starts[0] != start:
        return None
    appends = view.byte[ends] == _APPENDS[0]
    alone = appends & (view.byte[ends + 1] != _MARK[0])
    after = ends + np.where(appends & ~alone, 2, alone)
    chain = np.arange(len(starts))
    if (after[:-1] != starts[1:]).any():
        # Some bytes inside an item look like the start of another one: follow the chain step by step.
        following = np.searchsorted(starts, after)
        following[starts[np.minimum(following, len(starts) - 1)] != after] = len(starts)
        steps, index, links = [], 0, following.tolist()
        while index < len(links):
            steps.append(index)
            index = links[index]
        chain = np.array(steps)
    # A last batch of one item is appended by itself: APPENDS item APPEND STOP.
    singles = np.flatnonzero(alone[chain[:-1]])
    if len(singles) and singles[0] != len(chain) - 2:
        return None
    return chain if data[int(ends[chain[-1]]) :] == (_APPEND if len(singles) else _APPENDS) + _STOP else None


def _with_repeated(
    view: _View, data: bytes, head: _Head, names: _Names, memos: Ints, column: int
) -> list[bytes] | None:
    """The names when some are GETs of earlier ones; None to decline.

    `memos` has a row for each item with the places of its memo opcodes in stream order (-1 for none); the name's are
    in `column`.  Exact where every memo index is given once and the indexes grow, as with all picklers; a GET of
    anything but an earlier name is declined.
    """
    present = memos >= 0
    places = np.maximum(memos, 0)
    opcode = view.byte[places]
    if (opcode[present] == _MEMOIZE).any():
        if (opcode[present] != _MEMOIZE).any() or head.memo_opcode not in (_MEMOIZE, 0):
            return None
        indexes = head.memo_index + np.cumsum(present.ravel()).reshape(present.shape)
    else:
        indexes = np.where(opcode == _BINPUT, view.byte[places + 1], view.of("<u4", places + 1)).astype(np.int64)
        given = indexes[present]
        if head.memo_opcode == _MEMOIZE or (np.diff(given, prepend=head.memo_index) <= 0).any():
            return None
    own = np.flatnonzero(~names.is_get & present[:, column])
    gets = np.flatnonzero(names.is_get)
    put_index = indexes[own, column]
    at = names.at[gets]
    get_index = np.where(view.byte[at] == _BINGET, view.byte[at + 1], view.of("<u4", at + 1)).astype(np.int64)
    found = np.minimum(np.searchsorted(put_index, get_index), len(own) - 1)
    if not len(own) or (put_index[found] != get_index).any() or (own[found] >= gets).any():
        return None
    new = np.flatnonzero(~names.is_get)
    texts = [data[start:end] for start, end in zip(names.at[new].tolist(), names.end[new].tolist())]
    source = np.arange(len(memos))
    source[gets] = own[found]
    return [texts[index] for index in np.searchsorted(new, source).tolist()]


def _numbers(view: _View, places: Ints) -> NDArray[np.float64]:
    """The numbers whose opcodes stand at `places`, as floats."""
    opcode = view.byte[places]
    kinds = np.flatnonzero(np.bincount(opcode, minlength=256)).tolist()
    if len(kinds) == 1:
        return _numbers_of(view, kinds[0], places + 1)
    numbers = np.empty(len(places), np.float64)
    for kind in kinds:
        chosen = opcode == kind
        numbers[chosen] = _numbers_of(view, kind, places[chosen] + 1)
    return numbers


def _numbers_of(view: _View, kind: int, places: Ints) -> NDArray[np.float64]:
    """Numbers of one kind of opcode, whose arguments stand at `places`."""
    if kind in (_TRUE, _FALSE):
        return np.full(len(places), float(kind == _TRUE))
    if kind == _LONG1:  # 1 to 8 bytes: shift away what follows, and the sign back in
        shift = 64 - 8 * view.byte[places].astype(np.int64)
        return ((view.of("<i8", places + 1).astype(np.int64) << shift) >> shift).astype(np.float64)
    dtype = {_FLOAT: ">f8", _INT4: "<i4", _INT1: "u1", _INT2: "<u2"}[kind]
    return view.of(dtype, places).astype(np.float64)
