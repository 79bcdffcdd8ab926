"""The files of a tree and the names of their metrics.

The law: a regular file ``a/b.wsp`` below the root is the metric ``a.b``; files come in the order of their paths, and
hidden files and directories are passed over.  Links to directories are followed after the directories proper, and
each directory is walked once, so that a metric has the name of its own place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

SUFFIX = ".wsp"
#: How many names of tagged metrics are asked for at once.
_AT_ONCE = 500

#: Canonical name by encoded path (``_tagged.abc.def.<hash>``), for those that are known.
NamesOf = Callable[[Sequence[str]], dict[str, str]]


def files_below(root: str, start: str = "") -> Iterator[str]:
    """Paths of the whisper files below the directory `root`/`start`, relative to `root`, in order.

    Raises OSError when `root`/`start` cannot be read; directories below it that cannot are passed over.
    """
    seen: set[tuple[int, int]] = set()
    stack, links = [start], list[str]()
    first = True
    while stack or links:
        relative = stack.pop() if stack else links.pop(0)
        directory = os.path.join(root, relative) if relative else root
        try:
            status = os.stat(directory)
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            if first:
                raise
            continue
        first = False
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        below: list[str] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.name.endswith(SUFFIX) and entry.is_file():
                yield path
            elif entry.is_dir():
                (links if entry.is_symlink() else below).append(path)
        stack += reversed(below)


def dotted(relative: str) -> str:
    """``a.b`` of ``a/b.wsp``: the metric, or the encoded path of one with tags."""
    return relative.removesuffix(SUFFIX).replace("/", ".")


def named(paths: Iterator[str], names_of: NamesOf) -> Iterator[tuple[str, str | None]]:
    """(relative path, metric) of each; None for a tagged metric whose name nobody knows."""
    portion: list[str] = []
    for path in paths:
        portion.append(path)
        if len(portion) >= _AT_ONCE:
            yield from _named(portion, names_of)
            portion = []
    yield from _named(portion, names_of)


def _named(paths: Sequence[str], names_of: NamesOf) -> Iterator[tuple[str, str | None]]:
    tagged = [dotted(path) for path in paths if path.startswith("_tagged/")]
    known = names_of(tagged) if tagged else {}
    for path in paths:
        name = dotted(path)
        yield path, (known.get(name) if path.startswith("_tagged/") else name)


def nobody_knows(paths: Sequence[str]) -> dict[str, str]:
    """`NamesOf` where there is no catalogue."""
    return {}
