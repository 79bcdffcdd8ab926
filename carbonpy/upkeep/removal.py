"""Taking metrics' files away and giving them other names.

The law: under the lock of the tree a file is there or not, whatever writers and other tools do; so what is decided
about it holds until it is done.  Nothing is ever replaced.  Directories that become empty go, up to the root.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from carbonpy.errors import CarbonError
from carbonpy.metric import is_tagged, relative_path
from carbonpy.whisper.treelock import alone, stamp

#: What may become of a metric that is to be deleted.
DELETED, ABSENT, KEPT, FAILED = "deleted", "absent", "kept", "failed"


class Removed(NamedTuple):
    """What became of a metric's file: one of the four words, and why if it was kept or failed.  Immutable."""

    metric: str
    what: str
    why: str = ""


def places(root: str, metric: str) -> list[str]:
    """Where the file of a metric may be: with tags, its name may be hashed or readable."""
    paths = [relative_path(metric)]
    if is_tagged(metric):
        paths.append(relative_path(metric, False))
    return [os.path.join(root, path) for path in dict.fromkeys(paths)]


def remove(root: str, metrics: Iterable[str], unless_written_since: float | None = None) -> list[Removed]:
    """Delete the files of metrics, under one hold of the lock.  Raises OSError if the lock cannot be had.

    unless_written_since: a file that was written at this time (seconds since the epoch) or later is kept.
    """
    with alone(root):
        return [_remove(root, metric, unless_written_since) for metric in metrics]


def _remove(root: str, metric: str, since: float | None) -> Removed:
    what = ABSENT
    for path in places(root, metric):
        try:
            if since is not None and os.stat(path).st_mtime >= since:
                return Removed(metric, KEPT, "it was written meanwhile")
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return Removed(metric, FAILED, f"{path}: {error.strerror}")
        what = DELETED
        remove_empty(root, os.path.dirname(path))
    return Removed(metric, what)


def remove_empty(root: str, directory: str) -> None:
    """Remove a directory and those above it, below `root`, as far as they are empty."""
    top = os.path.abspath(root)
    directory = os.path.abspath(directory)
    while directory != top and directory.startswith(top + os.sep):
        try:
            os.rmdir(directory)
        except OSError:
            return
        directory = os.path.dirname(directory)


def rename(root: str, old: str, new: str, hash_filenames: bool = True) -> bool:
    """Give the file of `old` the place of `new`; False if `old` has no file.

    Raises CarbonError if `new` has one, and OSError.
    """
    with alone(root):
        source = next((path for path in places(root, old) if os.path.lexists(path)), None)
        for path in places(root, new):
            if os.path.lexists(path):
                raise CarbonError(f"{new} exists already ({path}); delete it first, nothing is replaced")
        if source is None:
            return False
        target = os.path.join(root, relative_path(new, hash_filenames))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(source, target)
        # Whoever remembers the file from another name must not take it for that.
        stamp(target)
        remove_empty(root, os.path.dirname(source))
        return True
