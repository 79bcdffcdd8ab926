"""A file that grows by whole pieces: what journals and spools are written through.

The law: a piece is in the file whole or not at all.  A write that fails half way is taken back, and the next piece
starts at the same place.  Only a kill can leave the beginning of a piece, at the end of the file, for the reader to
find.
"""

from __future__ import annotations

import os


class AppendFile:
    """A new file that only grows; OSError if there is one.  One owner, but `sync` is safe from any thread."""

    def __init__(self, path: str, magic: bytes) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.length = 0
        self.dirty = True
        try:
            self.append(magic)
        except OSError:
            self.close()
            os.unlink(path)
            raise

    def append(self, data: bytes) -> None:
        """Write `data` whole or not at all.  Raises OSError."""
        view = memoryview(data)
        written = 0
        try:
            while written < len(view):
                written += os.pwrite(self._fd, view[written:], self.length + written)
        except OSError:
            os.ftruncate(self._fd, self.length)
            raise
        self.length += len(data)
        self.dirty = True

    def sync(self) -> None:
        """Force what was appended to the disk.  Raises OSError."""
        if self._fd >= 0 and self.dirty:
            self.dirty = False
            try:
                os.fdatasync(self._fd)
            except OSError:
                self.dirty = True
                raise

    def close(self) -> None:
        """Close; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
