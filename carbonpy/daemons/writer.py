"""A writer process: ``python -m carbonpy.daemons.writer``, started by the cache daemon.

It reads parcels from standard input and answers on standard output:

    setup   settings, texts of the rules files          (first)
    names   ids and their names                         before the first sweep that has them
    sweep   creates, held                               a sweep begins
    chunk   whole metrics: pieces of runs               any number of them
    end                                                 -> done (an Outcome)

and orders, which count from the next block of files on, on a descriptor of their own:

    rules   texts of the rules files                    new rules for new files
    rate    updates_per_second
    forget  ids                                         their files were changed by the daemon
    give-way                                            end the sweep under way and defer the rest

The law: it lives no longer than its parent.  It ends when standard input does, and when the parent
is gone in the middle of a sweep it stops at the next block, so that two generations of writers never
touch the same files.  It knows no Twisted: its start is quick and its memory small.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import numpy as np

from carbonpy.columns import Columns
from carbonpy.daemons.memory import give_back
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.schemas import SchemaBook
from carbonpy.writing.headers import HeaderBook
from carbonpy.writing.parcel import ORDERS_FD, Parcel, ParcelBuffer, pack_outcome, receive
from carbonpy.writing.sweep import Sweeper, WriteSettings

#: How much the writer gives way to the receiver.
_NICENESS = 5


def book_of(fields: dict[str, Any]) -> HeaderBook:
    """The rules whose texts stand in a parcel (None: built-in defaults)."""
    schemas, aggregations = fields["schemas"], fields["aggregations"]
    return HeaderBook(
        SchemaBook.default() if schemas is None else SchemaBook.parse(schemas[1], schemas[0]),
        AggregationBook.default() if aggregations is None else AggregationBook.parse(aggregations[1], aggregations[0]),
    )


def columns_of(parcel: Parcel) -> list[Columns]:
    """The columns of a parcel ``chunk``: its blobs are ids, timestamps, values, ids, timestamps, ..."""
    blobs = parcel.blobs
    return [
        (np.frombuffer(ids, np.uint32), np.frombuffer(timestamps, np.uint32), np.frombuffer(values, np.float64))
        for ids, timestamps, values in zip(blobs[0::3], blobs[1::3], blobs[2::3])
    ]


def learn_names(sweeper: Sweeper, parcel: Parcel) -> None:
    """A parcel ``names``: ids (uint32), and names with a newline behind each."""
    names = bytes(parcel.blobs[1]).split(b"\n")[:-1]
    sweeper.learn(np.frombuffer(parcel.blobs[0], np.uint32).tolist(), names)


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


class _Orders:
    """Orders of the daemon, taken when there are some and not waited for."""

    def __init__(self, fd: int, sweeper: Sweeper) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._sweeper = sweeper
        self._buffer = ParcelBuffer()
        #: The daemon stops: end after the files that are open.
        self.stopping = False
        #: The sweep under way is to end early.
        self.giving_way = False

    def take(self) -> bool:
        """Do what was ordered; whether there was anything."""
        try:
            data = os.read(self._fd, 1 << 20)
        except BlockingIOError:
            return False
        orders = self._buffer.feed(data)
        for order in orders:
            if order.kind == "rules":
                self._sweeper.set_rules(book_of(order.fields).header)
            elif order.kind == "rate":
                self._sweeper.set_rate(order.fields["updates_per_second"])
            elif order.kind == "stop":
                self.stopping = True
            elif order.kind == "give-way":
                self.giving_way = True
            elif order.kind == "forget":
                for identity in order.fields["ids"]:
                    self._sweeper.table.forget(identity)
        return bool(orders)


def serve(input_fd: int, output_fd: int, orders_fd: int) -> None:
    """Answer parcels until the input ends."""
    source = _Input(input_fd)
    parent = os.getppid()
    first = receive(source.read)
    if first is None:
        return
    book = book_of(first.fields)

    def orphaned() -> bool:
        return os.getppid() != parent

    def rest(seconds: float) -> None:
        """Wait for the update rate, but not for long when the parent is gone or orders another one."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not orphaned() and not orders.take():
            time.sleep(min(left, 0.2))

    sweeper = Sweeper(WriteSettings(**first.fields["settings"]), book.header, sleep=rest)
    orders = _Orders(orders_fd, sweeper)

    def give_up() -> bool:
        orders.take()
        return orders.stopping or orders.giving_way or orphaned()

    while (parcel := receive(source.read)) is not None:
        if parcel.kind == "chunk":
            sweeper.take(columns_of(parcel), give_up)
            if orders.stopping:
                return
        elif parcel.kind == "sweep":
            orders.giving_way = False
            sweeper.begin(parcel.fields["creates"], np.frombuffer(parcel.blobs[0], np.uint32))
        elif parcel.kind == "names":
            learn_names(sweeper, parcel)
        elif parcel.kind == "end":
            if orphaned():
                return
            for piece in pack_outcome(sweeper.finish()):
                view = memoryview(piece)
                while view:
                    view = view[os.write(output_fd, view) :]


def main() -> int:
    """The process: standard output belongs to the parcels alone, so that nothing printed can garble them."""
    # What goes to the whole foreground group is for the parent to interpret: it closes our input, or kills us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    give_back()
    # Where cores are scarce, receiving and answering go before writing: what waits is safe in the cache.
    os.nice(_NICENESS)
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        serve(0, output, ORDERS_FD)
    except BrokenPipeError:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
