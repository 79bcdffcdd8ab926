"""An aggregator's state as bytes, so that a restart loses no interval.

The law: `restore` into a new aggregator, of the bytes that `state` made of an old one, gives one that sends the same
figures at the same times; bytes that are cut off or changed anywhere are refused as a whole.

The format, all numbers little-endian: the line ``carbonpy aggregates 1``, the length and the CRC-32 of what follows
(two uint32), and that, compressed by lz4 (block format with its size in front): the length (uint32) of a JSON object,
the object, and the columns that it lists as ``[name, type, length]``, one behind the other.  The object also has the
specs of the outputs, each once; names of outputs are a column of lengths and one of bytes.  Outputs of which nothing is
known but the name are left out.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import lz4.block
import numpy as np

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.cells import keys_of
from carbonpy.errors import JournalError
from carbonpy.rules.aggregates import AggregateSpec

MAGIC = b"carbonpy aggregates 1\n"
_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_OUTPUTS = ("next_tick", "low", "high")
_CELLS = ("start", "count", "figure", "newest", "active", "touched")


def state(aggregator: Aggregator) -> bytes:
    """Everything that `aggregator` keeps."""
    cells, outputs = aggregator.cells, aggregator.outputs
    size = len(outputs)
    mine = cells.used()
    wanted = outputs.high[:size] >= 0
    wanted[cells.owner[mine]] = True
    numbers = np.flatnonzero(wanted)
    #: Number of an output -> its place among those that are written.
    place = np.zeros(size, np.int32)
    place[numbers] = np.arange(len(numbers))
    names = [outputs.names[number] for number in numbers.tolist()]
    specs: dict[AggregateSpec, int] = {}
    spec_of = [specs.setdefault(outputs.specs[number], len(specs)) for number in numbers.tolist()]
    earlier = [(place[number], *row) for number, rows in outputs.earlier.items() for row in rows]
    held_lengths, held = cells.all_held(mine)
    columns = {
        "name_lengths": np.array([len(name) for name in names], np.uint32),
        "names": np.frombuffer(b"".join(names), np.uint8),
        "spec": np.array(spec_of, np.int32),
        **{name: getattr(outputs, name)[numbers] for name in _OUTPUTS},
        "earlier": np.array(earlier, np.int64).reshape(-1),
        "owner": place[cells.owner[mine]],
        **{name: getattr(cells, name)[mine] for name in _CELLS},
        "held_lengths": held_lengths,
        "held": np.frombuffer(held, np.float64),
    }
    head = {
        "specs": [list(spec) for spec in specs],
        "columns": [[name, column.dtype.str, len(column)] for name, column in columns.items()],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    parts = (_LENGTH.pack(len(text)), text, *(column.tobytes() for column in columns.values()))
    body = lz4.block.compress(b"".join(parts))
    return MAGIC + _HEAD.pack(len(body), zlib.crc32(body)) + body


def restore(aggregator: Aggregator, data: bytes) -> int:
    """Let a new `aggregator` go on from `data`; how many intervals there are.

    Its outputs have the specs that they had until `Aggregator.buffer` is asked for them.  What it has no room for is
    counted.  Raises JournalError, with the aggregator as it was, when `data` is not whole.
    """
    specs, columns = _read(data)
    cells, outputs = aggregator.cells, aggregator.outputs
    text, begin = columns["names"].tobytes(), 0
    known = []
    for length, spec in zip(columns["name_lengths"].tolist(), columns["spec"].tolist()):
        known.append(aggregator.buffer(text[begin : begin + length], specs[spec]))
        begin += length
    numbers = np.array(known, np.int64)
    kept = numbers >= 0
    for name in _OUTPUTS:
        getattr(outputs, name)[numbers[kept]] = columns[name][kept]
    for owner, low, high in columns["earlier"].reshape(-1, 3).tolist():
        if known[owner] >= 0:
            outputs.earlier.setdefault(known[owner], []).append([low, high])
    owners = numbers[columns["owner"]]
    kept = owners >= 0
    aggregator.dropped.add("aggregate_full", int(columns["count"][~kept].sum()))
    keys = keys_of(owners[kept], columns["start"][kept])
    made = cells.make(keys, outputs.keeping[owners[kept]], 0.0)
    for name in _CELLS[1:]:
        getattr(cells, name)[made] = columns[name][kept]
    ends = np.cumsum(columns["held_lengths"])
    for cell, end, length in zip(made.tolist(), ends[kept].tolist(), columns["held_lengths"][kept].tolist()):
        if length:
            cells.hold_bytes(cell, columns["held"][end - length : end].tobytes())
    aggregator.wake()
    aggregator.rules_changed()
    return len(cells)


def _read(data: bytes) -> tuple[list[AggregateSpec], dict[str, np.ndarray]]:
    if not data.startswith(MAGIC):
        raise JournalError("not a state of aggregates, or one of another version; remove it")
    body = data[len(MAGIC) + _HEAD.size :]
    if len(data) < len(MAGIC) + _HEAD.size or _HEAD.unpack_from(data, len(MAGIC)) != (len(body), zlib.crc32(body)):
        raise JournalError("the state of aggregates is cut off or damaged; remove it")
    raw = lz4.block.decompress(body)
    (length,) = _LENGTH.unpack_from(raw)
    head: dict[str, Any] = json.loads(raw[_LENGTH.size : _LENGTH.size + length])
    columns = {}
    begin = _LENGTH.size + length
    for name, kind, count in head["columns"]:
        column = np.frombuffer(raw, np.dtype(kind), count, begin) if count else np.empty(0, np.dtype(kind))
        begin += column.nbytes
        columns[name] = column
    return [AggregateSpec(*spec) for spec in head["specs"]], columns
