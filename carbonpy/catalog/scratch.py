"""A temporary directory that goes with its owner, or with the next one if its owner was killed.

The law: a directory is removed while nobody holds its lock, and never while somebody does; one that has no lock yet,
or belongs to another user, is left alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile

_LOCK = "lock"


class Scratch:
    """A directory ``<prefix>...`` in `place` (None: the system's) for as long as it is not closed.  One owner.

    Removes those with the same prefix whose owners were killed.  Raises OSError.
    """

    def __init__(self, prefix: str, place: str | None = None) -> None:
        _tidy(place or tempfile.gettempdir(), prefix)
        self._directory = tempfile.TemporaryDirectory(prefix=prefix, dir=place)
        self.name = self._directory.name
        lock = os.path.join(self.name, _LOCK)
        self._lock = open(lock + "~", "wb")  # noqa: SIM115 (held until `close`)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Under this name it is never seen without being held.
        os.rename(lock + "~", lock)

    def close(self) -> None:
        """Remove it.  Idempotent."""
        self._directory.cleanup()
        self._lock.close()


def _tidy(place: str, prefix: str) -> None:
    try:
        with os.scandir(place) as entries:
            found = [entry.path for entry in entries if entry.name.startswith(prefix) and _is_ours(entry)]
    except OSError:
        return
    for path in found:
        try:
            lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:  # its owner is alive
            pass
        finally:
            os.close(lock)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except OSError:
        return False
