"""Trays: memory that a daemon shares with a process of its, through which large answers come without a pipe.

The law: a tray belongs to the process until that says what it has put there, then to the daemon until that gives it
back.  Trays go round in order, and the process waits where none is free: it is never further ahead than all of them.

A tray is given back by a byte in a pipe that the process reads.  It knows no Twisted.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator

from carbonpy.net.children import ParentGone

#: The descriptors by which a process has the memory, and the pipe through which trays come back.
MEMORY_FD, RETURNED_FD = 3, 4
#: Bytes of a tray, and how many there are.  More bytes in all would not stay in a processor's cache.
TRAY = 1 << 19
TRAYS = 4

#: (position in the memory, bytes) of what is in a tray.
Place = tuple[int, int]


def make_memory() -> int:
    """A descriptor of the memory for one process, which is the caller's to close.  Raises OSError."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("carbonpy-trays")
        os.ftruncate(fd, TRAY * TRAYS)
        return fd
    with tempfile.TemporaryFile() as file:
        # The disk has room for it now, or never says that it has not.
        file.write(bytes(TRAY * TRAYS))
        file.flush()
        return os.dup(file.fileno())


def map_memory(fd: int) -> memoryview:
    """All trays.  Raises OSError."""
    return memoryview(mmap.mmap(fd, TRAY * TRAYS))


class TrayWriter:
    """The process's side: one thread.  The daemon's is `carbonpy.net.web_workers`.

    memory: of `map_memory`.  returned_fd: where a byte comes for each tray that is given back.
    """

    def __init__(self, memory: memoryview, returned_fd: int) -> None:
        self._memory = memory
        self._returned = returned_fd
        self._free = TRAYS
        self._start = 0
        #: Bytes in the tray at `_start`.
        self._used = 0

    def put(self, blob: bytes | memoryview) -> Iterator[Place]:
        """Put all of `blob` into trays, and give those that are full.

        A tray must be told of before the next is asked for.  Raises ParentGone.
        """
        rest = memoryview(blob)
        while rest:
            if not self._used:
                self._wait()
            begin = self._start + self._used
            size = min(len(rest), TRAY - self._used)
            self._memory[begin : begin + size] = rest[:size]
            rest = rest[size:]
            self._used += size
            if self._used == TRAY:
                yield from self.flush()

    def flush(self) -> Iterator[Place]:
        """The tray with what was put last, unless it is empty."""
        if self._used:
            place = self._start, self._used
            self._start, self._used = (self._start + TRAY) % (TRAY * TRAYS), 0
            yield place

    def forget(self) -> None:
        """Leave out what was put since the last full tray."""
        if self._used:
            self._used = 0
            self._free += 1

    def _wait(self) -> None:
        if not self._free:
            self._free = len(os.read(self._returned, TRAYS))
            if not self._free:
                raise ParentGone
        self._free -= 1
