"""Positional reads and writes of a whisper file, on a raw descriptor or on any seekable file object.

The law: `read_at` gives exactly the bytes asked for or fewer only at the end of the file, and
`write_at` returns only when every byte has been taken.  `Descriptor` is one system call each and
does not move the file position, so several threads may read through one; `Stream` seeks, and serves
the functions of the whisper package that take a file object (a gzip file, for example).
"""

from __future__ import annotations

import os
from typing import BinaryIO, Protocol


class Access(Protocol):
    """What the engine needs of a file."""

    def read_at(self, size: int, offset: int, /) -> bytes:
        """`size` bytes from `offset` on; fewer at the end of the file."""

    def write_at(self, data: bytes, offset: int, /) -> None:
        """All of `data` to `offset`.  Raises OSError."""

    @property
    def path(self) -> str:
        """A name for error messages."""


class Descriptor:
    """An open descriptor.  `read_at` is safe from any thread; writes need one owner per file."""

    __slots__ = ("_path", "fd")

    def __init__(self, fd: int, path: object = None) -> None:
        self.fd = fd
        self._path = path

    def read_at(self, size: int, offset: int, /) -> bytes:
        return os.pread(self.fd, size, offset)

    def write_at(self, data: bytes, offset: int, /) -> None:
        written = os.pwrite(self.fd, data, offset)
        # A disk that fills up takes a part; the next try then says why.
        while written < len(data):
            written += os.pwrite(self.fd, data[written:], offset + written)

    @property
    def path(self) -> str:
        if self._path is not None:
            return os.fsdecode(self._path) if isinstance(self._path, bytes) else str(self._path)
        try:
            return os.readlink(f"/proc/self/fd/{self.fd}")
        except OSError:
            return f"<descriptor {self.fd}>"


class Stream:
    """A file object with seek, read and write; its position moves.  One thread at a time."""

    __slots__ = ("_file",)

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read_at(self, size: int, offset: int, /) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def write_at(self, data: bytes, offset: int, /) -> None:
        self._file.seek(offset)
        written = self._file.write(data)
        while written < len(data):
            written += self._file.write(data[written:])

    @property
    def path(self) -> str:
        return str(getattr(self._file, "name", "<stream>"))
