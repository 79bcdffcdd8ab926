"""Who may touch the files of a tree: the daemon's writers all at once, or one tool alone.

The protocol.  Two empty files lie in the data directory: ``.carbonpy-lock`` and ``.carbonpy-turn``.  Both are locked
with flock(2), which ends with the process that holds it, however that dies.

* A *writer* opens, makes, writes, renames and closes files only while it holds the lock *shared*.  It keeps it for one
  block of files, some milliseconds, and holds no file open from one block to the next.
* A *tool* changes a file, gives its name to another one, takes its name away or gives it a new name only while it
  holds the lock *exclusive*.  What it puts in place of a file was made of what that file holds at this moment: it has
  read it under the lock, or it looks, under the lock, whether the file is still as it was read.
* Everybody passes the turn first: takes ``.carbonpy-turn``, then the lock, then lets the turn go.  So one who waits
  for the lock is overtaken by nobody who comes later, and neither tools nor writers starve.
* The lock of the tree comes before that of a file (flock on the file itself, which WHISPER_LOCK_WRITES takes as well).
* A file that a tool has changed or made bears the time of that (`stamp`), to the nanosecond.  It is later than all that
  the writers remember, so they meet the file anew, also where it got the inode number of one that they knew.

Why no point is lost: a writer's points are in the file that has the name when it lets the lock go.  A tool that gets
the lock after that sees them, since it reads then, or reads again because the file has changed; and no writer has a
descriptor of the file that the tool takes away.  Nothing is torn, since of two who touch a file at one time both are
writers, and every file belongs to one writer.

Why so: a lock for every file costs each update 0.9 us, and 2.8 us with the look that it needs (whether the path leads
to the locked file still), of about 9; the lock of the tree costs 40 us for a block of up to 768 files.

Writers make the two files; a tool looks for them from its file upwards (`tree_of`).  Where none are, no daemon of ours
has written, and a tool relies on the lock of the file and on its last look.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

LOCK = ".carbonpy-lock"
TURN = ".carbonpy-turn"


class TreeLock:
    """The lock of one tree.  Safe from any thread: whoever holds it has files of his own open for that time.

    With `create` the files are made if they are missing.
    """

    def __init__(self, data_dir: str, *, create: bool = False) -> None:
        self._turn = os.path.join(data_dir, TURN)
        self._lock = os.path.join(data_dir, LOCK)
        self._create = create

    def shared(self) -> AbstractContextManager[None]:
        """Hold it beside other writers.  Entering raises OSError where the files cannot be made or opened."""
        return self._held(fcntl.LOCK_SH)

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold it alone.  Entering raises as `shared`."""
        return self._held(fcntl.LOCK_EX)

    @contextmanager
    def _held(self, how: int) -> Iterator[None]:
        turn = self._take(self._turn, how)
        try:
            lock = self._take(self._lock, how)
        finally:
            os.close(turn)
        try:
            yield
        finally:
            os.close(lock)

    def _take(self, path: str, how: int) -> int:
        """A descriptor of the file, locked; of the one that others will lock, should somebody have removed it."""
        while True:
            fd = self._open(path)
            try:
                fcntl.flock(fd, how)
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    return fd
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _open(self, path: str) -> int:
        try:
            # Over NFS only who may write gets an exclusive lock.
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            if not self._create:
                raise
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def tree_of(path: str) -> str | None:
    """The data directory in which the file or directory `path` lies, as given or behind symbolic links.

    None if no directory above has a lock.
    """
    for start in (os.path.abspath(path), os.path.realpath(path)):
        directory = start if os.path.isdir(start) else os.path.dirname(start)
        while True:
            if os.path.exists(os.path.join(directory, LOCK)):
                return directory
            if directory in ("/", ""):
                break
            directory = os.path.dirname(directory)
    return None


@contextmanager
def alone(path: str) -> Iterator[None]:
    """Hold the lock of the tree in which `path` lies alone, if it has one.  Raises OSError."""
    tree = tree_of(path)
    if tree is None:
        yield
        return
    with TreeLock(tree).exclusive():
        yield


def stamp(file: int | str) -> None:
    """Give a file that was changed or made, by descriptor or path, the time of now as its time of modification."""
    now = time.time_ns()
    os.utime(file, ns=(now, now))
