"""Pickles read as data: our own reader, in which nothing can be named, imported, called or executed.

The law: a pickle made of None, booleans, numbers, text, bytes, tuples, lists, dicts and sets gives what
`pickle.loads` gives, in all protocols from 0 to 5 and from every writer (Python 2 and 3, Java); everything
else, and every pickle that is cut, mutated or built to eat time or memory, raises WireError and nothing but
WireError.  The standard library's pickle module is used for one thing: to write plain replies (`encode_plain`).
Datapoints are written from columns (`encode_frames`), as protocol 2 without a memo, which every reader knows.

Three readers share the work.  `Machine` is the stack machine of the format, complete and careful.
`pickled_columns` and `pickled_text` recognise the forms in which datapoints really come and read a whole frame at
once; when anything deviates they decline and the machine decides, so that all always give the same answer.

An evil frame is bounded by the machine, by the depth of what a plain pickle holds, and by the number of datapoints:
one for every two bytes of the frame, which no honest writer can exceed.
"""

from __future__ import annotations

import pickle  # for pickle.dumps only: what we send is plain, what we receive is never given to it
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import WireError
from carbonpy.wire.pickle_machine import DEFAULT_LIMITS, MAX_NUMBER_TEXT, Limits, Machine, unframed
from carbonpy.wire.pickled_columns import read_columns
from carbonpy.wire.pickled_text import read_text

#: A frame of datapoints has at most this many bytes, as most receivers refuse more than 2**20 (carbon's MAX_LENGTH).
MAX_FRAME = (1 << 20) - 64
_HEAD, _TAIL = b"\x80\x02](", b"e."
#: What stands between the names: the numbers of one item, and how the text of the next one begins.
_SHORT = np.dtype(
    [("J", "S1"), ("timestamp", "<i4"), ("G", "S1"), ("value", ">f8"), ("ends", "S2"), ("X", "S1"), ("length", "<u4")]
)
#: The same with timestamps that do not fit four bytes: LONG1 of eight bytes.
_LONG = np.dtype(
    [("J", "S2"), ("timestamp", "<i8"), ("G", "S1"), ("value", ">f8"), ("ends", "S2"), ("X", "S1"), ("length", "<u4")]
)
#: Bytes of the length of a text, with its opcode.
_TEXT_HEAD = 5


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
    data = unframed(frame)
    columns = read_text(data) if data.startswith(b"(l") else read_columns(data)
    if columns is None:
        return points_of(Machine(data, limits, raw=True).run(), len(data) // 2 + 1)
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
    result = Machine(unframed(frame), limits, raw=False).run()
    _check_depth(result, limits.max_depth)
    return result


def encode_plain(value: Any) -> bytes:
    """The pickle (protocol 2, which every Graphite reads) of a plain object of ours.  Safe from any thread."""
    return pickle.dumps(value, protocol=2)


def encode_points(names: Sequence[bytes], timestamps: np.ndarray, values: np.ndarray) -> bytes:
    """The pickle of ``[(name, (timestamp, value)), ...]`` for columns.  Safe from any thread.

    `names` have to be UTF-8, `timestamps` whole numbers; values keep every bit.
    """
    if not len(names):
        return _HEAD[:-1] + _TAIL[1:]
    return _encode(names, np.fromiter(map(len, names), np.int64, len(names)), timestamps, values)


def encode_frames(
    names: Sequence[bytes], timestamps: np.ndarray, values: np.ndarray, most: int, most_bytes: int = MAX_FRAME
) -> Iterator[bytes]:
    """`encode_points` in frames of at most `most` datapoints and `most_bytes` bytes, in order.

    Only a datapoint whose name alone is too long for a frame makes a longer one.
    """
    lengths = np.fromiter(map(len, names), np.int64, len(names))
    # As if all timestamps were long, so that what is cut here fits in any case.
    ends = np.cumsum(lengths + _LONG.itemsize)
    room = most_bytes - len(_HEAD) - len(_TAIL)
    start = before = 0
    while start < len(names):
        end = int(np.searchsorted(ends, before + room, "right"))
        end = max(min(end, start + most), start + 1)
        part = slice(start, end)
        yield _encode(names[part], lengths[part], timestamps[part], values[part])
        start, before = end, int(ends[end - 1])


def _encode(names: Sequence[bytes], lengths: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> bytes:
    """`encode_points` of at least one datapoint."""
    count = len(names)
    timestamps = timestamps.astype(np.int64, casting="same_kind")
    long = timestamps.max() >= 1 << 31 or timestamps.min() < -(1 << 31)
    between = np.empty(count + 1, _LONG if long else _SHORT)
    between["J"] = b"\x8a\x08" if long else b"J"
    between["timestamp"][0] = between["value"][0] = 0
    between["timestamp"][1:] = timestamps
    between["G"] = b"G"
    between["value"][1:] = values
    between["ends"] = b"\x86\x86"
    between["X"] = b"X"
    between["length"][:-1] = lengths
    between["length"][-1] = 0
    pieces: list[bytes] = [b""] * (2 * count + 1)
    pieces[::2] = between.view(f"V{between.itemsize}").tolist()
    pieces[1::2] = names
    # Nothing comes before the first text, and after the last numbers there is none.
    pieces[0] = _HEAD + pieces[0][-_TEXT_HEAD:]
    pieces[-1] = pieces[-1][:-_TEXT_HEAD] + _TAIL
    return b"".join(pieces)


def _is_utf8(raw: bytes) -> bool:
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def points_of(items: Any, max_points: int) -> Points:
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
    if isinstance(value, bytes) and len(value) <= MAX_NUMBER_TEXT:
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
