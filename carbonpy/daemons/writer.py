"""A writer process: ``python -m carbonpy.daemons.writer``, started by the cache daemon.

It reads parcels from standard input and answers on standard output:

    setup   settings, texts of the rules files          (first)
    rules   texts of the rules files                    new rules for new files
    rate    updates_per_second
    forget  ids                                         their files were changed by the daemon
    sweep   names of new ids, then runs; creates, held   -> done (an Outcome)

The law: it lives no longer than its parent.  It ends when standard input does, and when the parent
is gone in the middle of a sweep it stops at the next block, so that two generations of writers never
touch the same files.  It knows no Twisted: its start is quick and its memory small.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np

from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.schemas import SchemaBook
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.parcel import Parcel, pack_outcome, receive
from carbonpy.writing.sweep import Sweeper, WriteSettings


def book_of(fields: dict[str, Any]) -> HeaderBook:
    """The rules whose texts stand in a parcel (None: built-in defaults)."""
    schemas, aggregations = fields["schemas"], fields["aggregations"]
    return HeaderBook(
        SchemaBook.default() if schemas is None else SchemaBook.parse(schemas[1], schemas[0]),
        AggregationBook.default() if aggregations is None else AggregationBook.parse(aggregations[1], aggregations[0]),
    )


def runs_of(parcel: Parcel) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The runs of a parcel ``sweep``: blobs 2.. are ids, timestamps, values, ids, timestamps, ..."""
    blobs = parcel.blobs[2:]
    return [
        (np.frombuffer(ids, np.uint32), np.frombuffer(timestamps, np.uint32), np.frombuffer(values, np.float64))
        for ids, timestamps, values in zip(blobs[0::3], blobs[1::3], blobs[2::3])
    ]


def learn_names(sweeper: Sweeper, parcel: Parcel) -> None:
    """Blob 0 of a parcel ``sweep``: names, a newline behind each; its ids are in the field ``new``."""
    names = bytes(parcel.blobs[0]).decode().split("\n")[:-1]
    sweeper.learn(parcel.fields["new"], names)


class _Input:
    """Standard input, read in exact pieces."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int) -> bytearray:
        """`size` bytes, fewer only at the end."""
        data = bytearray(size)
        view = memoryview(data)
        at = 0
        while at < size:
            got = os.readv(self._fd, [view[at:]])
            if not got:
                return data[:at]
            at += got
        return data


def serve(input_fd: int, output_fd: int) -> None:
    """Answer parcels until the input ends."""
    source = _Input(input_fd)
    parent = os.getppid()
    first = receive(source.read)
    if first is None:
        return
    book = book_of(first.fields)
    sweeper = Sweeper(WriteSettings(**first.fields["settings"]), book.header)
    while (parcel := receive(source.read)) is not None:
        if parcel.kind == "sweep":
            learn_names(sweeper, parcel)
            outcome = sweeper.sweep(
                runs_of(parcel),
                creates=parcel.fields["creates"],
                held=np.frombuffer(parcel.blobs[1], np.uint32),
                give_up=lambda: os.getppid() != parent,
            )
            if os.getppid() != parent:
                return
            del parcel
            for piece in pack_outcome(outcome):
                view = memoryview(piece)
                while view:
                    view = view[os.write(output_fd, view) :]
        elif parcel.kind == "rules":
            sweeper.set_rules(book_of(parcel.fields).header)
        elif parcel.kind == "rate":
            sweeper.set_rate(parcel.fields["updates_per_second"])
        elif parcel.kind == "forget":
            for identity in parcel.fields["ids"]:
                sweeper.table.forget(identity)


def main() -> int:
    """The process: standard output belongs to the parcels alone, so that nothing printed can garble them."""
    # What goes to the whole foreground group is for the parent to interpret: it closes our input, or kills us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        serve(0, output)
    except BrokenPipeError:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
