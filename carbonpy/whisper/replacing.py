"""A file read, changed and replaced, beside a daemon that writes to it.

The law: at every moment, also after kill -9 or a power cut, the path holds the old file or the new one as a whole.
The new file is made beside the old one without any lock.  Then `rewrite` takes the lock of the tree (`treelock`), which
keeps away our daemon, and flock(2), exclusive, on the file itself, which keeps away everybody who sets
WHISPER_LOCK_WRITES or the like; under both, the file's identity, time of modification and, if that is recent, its bytes
are compared with what was read; if it changed, everything is done again, after some attempts wholly under the locks.
A program that takes no lock at all can only lose what it writes in the microseconds between that look and the rename.
Owner, group, mode and holes are those of the old file.

A process killed in the middle leaves at most a file that `creation.is_temporary` recognises.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import NO_LINKS, sync_directory, temporary_name
from carbonpy.whisper.treelock import alone, stamp

#: So often a file is read again because somebody wrote to it; so many times of these without the locks.
ATTEMPTS = 20
_UNLOCKED = 3
#: A file changed so many seconds ago or less may change again without its time of modification showing it.
_RECENT = 0.1
_BLOCK = 4096


class FileBusy(CarbonError):
    """A program that takes no lock kept writing to a file; it was left as it is."""


@contextmanager
def locked(path: str) -> Iterator[int]:
    """A read-write descriptor of the file that `path` leads to, alone in its tree and under flock(2), exclusive.

    A file that was changed gets a time of modification that tells our daemon.  Raises OSError.
    """
    with alone(path), _flocked(path) as fd:
        before = os.fstat(fd)
        yield fd
        after = os.fstat(fd)
        # The clock that stamps files ticks too slowly to tell whether a file was changed a moment ago.
        if after.st_nlink and (after.st_mtime_ns != before.st_mtime_ns or after.st_mtime > time.time() - _RECENT):
            stamp(fd)


@contextmanager
def _flocked(path: str) -> Iterator[int]:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(os.fstat(fd), path):
                yield fd
                return
        finally:
            os.close(fd)


class Prepared:
    """A finished new file beside the old one, which does not have the name yet.  One owner; `close` it in the end."""

    def __init__(
        self, path: str, change: Callable[[bytes], bytes | bytearray | None], *, durable: bool, fd: int | None = None
    ) -> None:
        """Read the file (through `fd`, if given), change it, write the new one.  Raises as `rewrite`."""
        self.path = path
        own = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if fd is None else fd
        try:
            self._before = os.fstat(own)
            self._read_at = time.time()
            self._data = _read(own)
        finally:
            if fd is None:
                os.close(own)
        after = change(self._data)
        #: Whether there is anything to replace.
        self.differs = after is not None and after != self._data
        self._name = _write_beside(path, after, self._before, durable) if after is not None and self.differs else ""

    def commit(self, fd: int, backup: str | None = None) -> bool:
        """Give the new file the name; False, and nothing done, if the old one is not what was read.

        The caller holds the locks; `fd` is an open descriptor of the file.  Raises OSError.
        """
        if not _unchanged(fd, self.path, self._before, self._read_at, self._data):
            return False
        if backup is not None:
            _keep(self.path, backup)
        stamp(self._name)
        os.rename(self._name, self.path)
        return True

    def commit_alone(self, backup: str | None = None) -> bool:
        """`commit` for who holds the lock of the tree alone already.  Raises OSError, FileNotFoundError among them."""
        with _flocked(self.path) as fd:
            return self.commit(fd, backup)

    def close(self) -> None:
        """Remove the new file if it did not get the name."""
        if self._name:
            with suppress(FileNotFoundError):
                os.unlink(self._name)


def rewrite(
    path: str,
    change: Callable[[bytes], bytes | bytearray | None],
    *,
    backup: str | None = None,
    durable: bool = True,
    sync_name: bool = True,
) -> bool:
    """Put ``change(bytes of the file)`` in place of the file; False if that is None or the same bytes.

    `change` may be called more than once, and with bytes that a writer has changed in part; what it makes of those is
    thrown away.  The old file stays as `backup` if that is given, in place of what was there.  With `durable` the new
    file is on the disk when it gets the name, and with `sync_name`, too, that it has the name when this returns; who
    replaces many files calls `creation.sync_directory` once for all instead.  Raises OSError, FileBusy, CarbonError
    (the owner cannot be kept), and what `change` raises; the file is then as it was.  Safe from any thread and process.
    """
    target = os.path.realpath(path)
    for attempt in range(ATTEMPTS):
        done = _attempt(target, change, backup, durable, locks_first=attempt >= _UNLOCKED)
        if done is None:
            continue
        if done and durable and sync_name:
            sync_directory(os.path.dirname(target))
        return done
    raise FileBusy(
        f"{path} is written to all the time by a program that takes no lock; stop it, or let it lock "
        "(WHISPER_LOCK_WRITES), and try again"
    )


def _attempt(
    target: str,
    change: Callable[[bytes], bytes | bytearray | None],
    backup: str | None,
    durable: bool,
    *,
    locks_first: bool,
) -> bool | None:
    """Whether the file was replaced; None if it changed meanwhile."""
    with ExitStack() as stack:
        fd = stack.enter_context(locked(target)) if locks_first else None
        prepared = Prepared(target, change, durable=durable, fd=fd)
        stack.callback(prepared.close)
        if not prepared.differs:
            return False
        if fd is None:
            fd = stack.enter_context(locked(target))
        return prepared.commit(fd, backup) or None


def _is_at(status: os.stat_result, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)


def _read(fd: int) -> bytes:
    parts = []
    offset = 0
    size = os.fstat(fd).st_size
    while part := os.pread(fd, max(size - offset, 1), offset):
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unchanged(fd: int, path: str, before: os.stat_result, read_at: float, data: bytes) -> bool:
    now = os.fstat(fd)
    if (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size) or not _is_at(now, path):
        return False
    return before.st_mtime < read_at - _RECENT or _read(fd) == data


def _write_beside(target: str, data: bytes | bytearray, old: os.stat_result, durable: bool) -> str:
    """A finished file in the directory of `target` with the owner and mode of `old`; its name."""
    name = temporary_name(target)
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _own(fd, target, old)
        _fill(fd, data, holes=old.st_blocks * 512 < old.st_size)
        if durable:
            os.fsync(fd)
    except BaseException:
        os.close(fd)
        os.unlink(name)
        raise
    try:
        os.close(fd)  # where some file systems report a full disk only
    except BaseException:
        os.unlink(name)
        raise
    return name


def _own(fd: int, target: str, old: os.stat_result) -> None:
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(fd, old.st_uid, old.st_gid)
        except PermissionError as error:
            raise CarbonError(
                f"{target} belongs to user {old.st_uid}, group {old.st_gid}, and would not any more; "
                "run this as that user or as root"
            ) from error
    os.fchmod(fd, old.st_mode & 0o7777)


def _fill(fd: int, data: bytes | bytearray, holes: bool) -> None:
    view = memoryview(data)
    size = len(view)
    if not holes:
        _write_all(fd, view, 0)
        return
    os.ftruncate(fd, size)
    zeros = bytes(_BLOCK)
    begin = None
    for offset in range(0, size, _BLOCK):
        block = view[offset : offset + _BLOCK]
        if block != zeros[: len(block)]:
            begin = offset if begin is None else begin
        elif begin is not None:
            _write_all(fd, view[begin:offset], begin)
            begin = None
    if begin is not None:
        _write_all(fd, view[begin:], begin)


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _keep(target: str, backup: str) -> None:
    """Let `backup` be the old file, in one step."""
    name = temporary_name(backup)
    try:
        try:
            os.link(target, name)
        except OSError as error:
            if error.errno not in NO_LINKS and error.errno != errno.EXDEV:
                raise
            shutil.copy2(target, name)
        os.rename(name, backup)
    finally:
        # If `backup` was this very file already, rename(2) did nothing.
        with suppress(FileNotFoundError):
            os.unlink(name)
