"""A file read, changed and replaced, beside a daemon that writes to it.

The law: at every moment, also after kill -9 or a power cut, the path holds the old file or the new one as a whole.
`rewrite` holds flock(2), exclusive, on the file itself from before it reads until after the new file has the name:
that is the lock which WHISPER_LOCK_WRITES takes, so whoever locks never writes in between, and a writer that waited
finds, when it gets the lock, that the path leads to another inode (it has to look).  For programs that take no locks
the file's identity, time of modification and, if that is recent, its bytes are compared once more before the rename;
if it changed, everything is done again.  Owner, group, mode and holes are those of the old file.

A process killed in the middle leaves at most a file that `creation.is_temporary` recognises.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import NO_LINKS, sync_directory, temporary_name

#: So often a file is read again because somebody who takes no lock wrote to it.
ATTEMPTS = 20
#: A file changed so many seconds ago or less may change again without its time of modification showing it.
_RECENT = 0.1
_BLOCK = 4096


class FileBusy(CarbonError):
    """A program that takes no lock kept writing to a file; it was left as it is."""


@contextmanager
def locked(path: str) -> Iterator[int]:
    """A read-write descriptor of the file that `path` leads to, under flock(2), exclusive.  Raises OSError."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(os.fstat(fd), path):
                yield fd
                return
        finally:
            os.close(fd)


def rewrite(
    path: str,
    change: Callable[[bytes], bytes | bytearray | None],
    *,
    backup: str | None = None,
    durable: bool = True,
) -> bool:
    """Put ``change(bytes of the file)`` in place of the file; False if that is None or the same bytes.

    `change` may be called more than once and should be quick, as a daemon that wants to write waits meanwhile.  The
    old file stays as `backup` if that is given, in place of what was there.  With `durable` the new file is on the
    disk when it gets the name.  Raises OSError, FileBusy, CarbonError (the owner cannot be kept), and what `change`
    raises; the file is then as it was.  Safe from any thread and process.
    """
    target = os.path.realpath(path)
    for _ in range(ATTEMPTS):
        with locked(target) as fd:
            before = os.fstat(fd)
            read_at = time.time()
            data = _read(fd)
            after = change(data)
            if after is None or after == data:
                return False
            temporary = _write_beside(target, after, before, durable)
            try:
                if not _unchanged(fd, target, before, read_at, data):
                    continue
                if backup is not None:
                    _keep(target, backup)
                os.rename(temporary, target)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
            if durable:
                sync_directory(os.path.dirname(target))
            return True
    raise FileBusy(
        f"{path} is written to all the time by a program that takes no lock; stop it, or let it lock "
        "(WHISPER_LOCK_WRITES), and try again"
    )


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
