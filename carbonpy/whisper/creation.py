"""New files: complete under their name, or not there at all.

The law: a file is written under a temporary name in its own directory and published with link(2),
which fails if the name is taken.  So another program never sees half a file nor a file without its
first points, an existing file is never replaced, and a failure of any kind (a bad method, a full
disk, a crash of the caller's block) leaves nothing under the name.  Only a process killed in the
middle leaves a file, which `is_temporary` recognises.

Measured with 28 + 17,280 bytes, sparse, per file: creating under the final name 10 us on tmpfs and
24 us on ext4; write + link + unlink 18 and 36; write + test for existence + rename 20 and 38 (and it
may replace a file made in between); O_TMPFILE + linkat 17 and 32 (but not on every file system, and
not without /proc); the whisper package 36 and 40.  Hence link + unlink.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from carbonpy.whisper.errors import FileAlreadyExists
from carbonpy.whisper.layout import Header, make_header

_PREFIX = ".new-"
_SUFFIX = ".part"
_ZEROS = bytes(65536)
#: What link(2) answers where the file system has no hard links (FUSE mounts, network shares).
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def is_temporary(name: str) -> bool:
    """Whether a file of this (base) name is a creation that a crash left unfinished."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def temporary_name(path: str) -> str:
    """A name beside `path` that no other program uses and that `is_temporary` recognises."""
    return f"{path[: path.rfind('/') + 1]}{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"


def create(
    path: str | bytes | os.PathLike[str],
    archives: Iterable[tuple[int, int]],
    xff: float = 0.5,
    method: str = "average",
    *,
    sparse: bool = True,
    fallocate: bool = False,
    fsync: bool = False,
) -> Header:
    """Make an empty file of (step, points) archives and return its Header.  Safe from any thread.

    Raises InvalidConfiguration (FileAlreadyExists if `path` is taken), InvalidAggregationMethod,
    InvalidXFilesFactor, or OSError.  `path` is then as it was before.
    """
    header = make_header(archives, xff, method)
    with creating(path, header, sparse=sparse, fallocate=fallocate, fsync=fsync):
        return header


@contextmanager
def creating(
    path: str | bytes | os.PathLike[str],
    header: Header,
    *,
    sparse: bool = True,
    fallocate: bool = False,
    fsync: bool = False,
) -> Iterator[int]:
    """Yield a read-write descriptor of a new, empty file, which appears as `path` when the block ends.

    What the block writes (`write_points(fd, header, .., empty=True)`) is in the file when it
    appears.  If the block raises, there is no file.  sparse=False writes zeros, fallocate=True
    reserves the blocks, fsync=True has file and directory on the disk before the block is left.
    The descriptor is closed at the end.  Raises FileAlreadyExists or OSError.
    """
    token = os.urandom(8).hex()
    new = NewFile(os.fsdecode(path), header.pack(), header.file_size, token, sparse=sparse, fallocate=fallocate)
    try:
        yield new.fd
    except BaseException:
        new.abandon()
        raise
    new.publish(fsync)


class NewFile:
    """A new file that has not got its name yet: `creating` in three calls, for a writer that makes many at once.

    Write to `fd`, then call `publish` or `abandon`, once.  One thread at a time.
    """

    __slots__ = ("_target", "_temporary", "fd")

    def __init__(self, path: str, headed: bytes, size: int, token: str, *, fallocate: bool, sparse: bool) -> None:
        """Make the file: `headed` is ``header.pack()``, `size` its `file_size`; files of one layout share them.

        `token` makes the temporary name unique among all programs that create files in the
        directory.  Raises OSError; nothing is left behind then.
        """
        self._target = path
        self._temporary = f"{path[: path.rfind('/') + 1]}{_PREFIX}{token}{_SUFFIX}"
        self.fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _fill(self.fd, headed, size, sparse, fallocate)
        except BaseException:
            self.abandon()
            raise

    def publish(self, fsync: bool = False) -> None:
        """Close the file and give it its name.  Raises FileAlreadyExists or OSError; nothing is left behind then."""
        try:
            if fsync:
                os.fsync(self.fd)
            # Closed before it gets its name, since some file systems report a full disk only here.
            self._close()
            _publish(self._temporary, self._target)
        except BaseException:
            self.abandon()
            raise
        if fsync:
            sync_directory(os.path.dirname(self._target))

    def abandon(self) -> None:
        """Close and remove the file without a name."""
        try:
            self._close()
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _fill(fd: int, headed: bytes, size: int, sparse: bool, fallocate: bool) -> None:
    if os.write(fd, headed) != len(headed):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if fallocate:
        os.posix_fallocate(fd, 0, size)
    elif sparse:
        os.ftruncate(fd, size)
    else:
        remaining = size - len(headed)
        while remaining:
            remaining -= os.write(fd, _ZEROS[:remaining])


def _publish(temporary: str, target: str) -> None:
    """Give the finished file its name, unless that is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise FileAlreadyExists(f"File {target} already exists!") from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileAlreadyExists(f"File {target} already exists!") from None
        os.rename(temporary, target)
    else:
        os.unlink(temporary)


def sync_directory(directory: str) -> None:
    """Have the names in a directory on the disk."""
    fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
