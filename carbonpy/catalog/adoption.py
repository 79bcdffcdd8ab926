"""Reading an existing whisper tree into the catalogue, and reconciling the two later.

The law.  `adopt` only adds; `rescan` also removes, and only a metric whose file is certainly gone (the directory can
be read and has no such file) and which the cache does not hold.  Both are iterators of steps of a few hundred files:
the caller decides how fast they go, and may stop between any two of them; a second run finishes the work.

What becomes a metric: a regular file ``a/b.wsp`` or ``a/b.wsp.gz`` below the root is ``a.b``.  Hidden files and
directories, names with a dot, a control character or bytes that are not UTF-8 are skipped and counted.  Below
``_tagged/xxx/yyy/`` a readable leaf (``_DOT_`` for the dot) gives back the tagged name if its hash fits its directory;
a hashed leaf does not tell its name and is kept as its encoded path until the metric arrives (`store`).

Files that a killed writer did not finish (`whisper.creation.is_temporary`) are removed when they are an hour old.

Symbolic links are followed, after the directories proper and each once, and never to a directory above themselves: so
every metric has the name of its own place first, and a loop ends.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from carbonpy.catalog.database import CatalogError
from carbonpy.catalog.store import Catalog
from carbonpy.clock import Clock
from carbonpy.errors import MetricError
from carbonpy.metric import canonical, is_tagged, relative_path
from carbonpy.whisper.creation import is_temporary

#: Files (or, when looking for files that are gone, metrics) in one step.
STEP = 500
#: An unfinished new file of this age was left by a writer that was killed.
_LEFTOVER_SECONDS = 3600

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff.;]")
_TAGGED_DIRECTORY = re.compile(r"_tagged\.[0-9a-f]{3}\.[0-9a-f]{3}\Z")


@dataclass
class Progress:
    """How far an adoption or a rescan has come.  Written by the thread that steps, read by any."""

    #: Whisper files seen.
    files: int = 0
    #: Metrics that were new to the catalogue.
    added: int = 0
    #: Metrics taken out because their file is gone.
    removed: int = 0
    #: Files and directories whose name cannot be part of a metric, hidden ones included.
    skipped: int = 0
    #: Directories that could not be read; the metrics below them stay as they are.
    unreadable: int = 0
    #: Metrics looked at in search of files that are gone.
    checked: int = 0
    #: Since the first step, the caller's pauses included.
    seconds: float = 0.0
    #: Whether the work is complete.
    done: bool = False


def nothing_cached(metric: str) -> bool:
    """The `in_cache` of a rescan for which nothing is in memory only: always False."""
    return False


def adopt(
    root: str,
    catalog: Catalog,
    progress: Progress | None = None,
    *,
    clock: Clock = time.monotonic,
    now: Clock = time.time,
) -> Iterator[Progress]:
    """Add the metrics of the whisper tree at `root`, step by step; set the fact ``adopted_at`` at the end.

    A missing `root` is an empty tree.  Raises CatalogError when the catalogue cannot be written.
    """
    progress = progress or Progress()
    yield from _add_tree(root, catalog, progress, clock, clock())
    catalog.set_fact("adopted_at", str(int(now())))
    progress.done = True
    yield progress


def rescan_steps(
    root: str,
    catalog: Catalog,
    in_cache: Callable[[str], bool] = nothing_cached,
    progress: Progress | None = None,
    *,
    clock: Clock = time.monotonic,
    now: Clock = time.time,
) -> Iterator[Progress]:
    """Make the catalogue what the tree at `root` and the cache hold, step by step.

    `in_cache` tells whether points of a metric wait for their file; such a metric stays.  Raises CatalogError, with
    nothing removed, when there is no whisper file at all below `root` but metrics in the catalogue: more likely a
    disk is not mounted than that everything was deleted.
    """
    progress = progress or Progress()
    start = clock()
    yield from _add_tree(root, catalog, progress, clock, start)
    if not progress.files and catalog.count():
        raise CatalogError(
            f"no whisper file below {root} but {catalog.count()} metrics in the catalogue {catalog.path}; nothing was "
            "removed: mount the disk, or delete the catalogue file if the metrics are really gone"
        )
    candidates: list[str] = []
    for metric in catalog.metrics():
        progress.checked += 1
        if _is_gone(root, metric) and not in_cache(metric):
            candidates.append(metric)
        if progress.checked % STEP == 0:
            _remove_gone(root, catalog, candidates, in_cache, progress)
            candidates = []
            progress.seconds = clock() - start
            yield progress
    _remove_gone(root, catalog, candidates, in_cache, progress)
    catalog.set_fact("adopted_at", str(int(now())))
    progress.seconds = clock() - start
    progress.done = True
    yield progress


def rescan(root: str, catalog: Catalog, in_cache: Callable[[str], bool] = nothing_cached) -> Progress:
    """All of `rescan_steps` at once; the counts."""
    progress = Progress()
    for _ in rescan_steps(root, catalog, in_cache, progress):
        pass
    return progress


def _remove_gone(
    root: str, catalog: Catalog, candidates: list[str], in_cache: Callable[[str], bool], progress: Progress
) -> None:
    if not candidates:
        return
    progress.removed += catalog.remove(candidates)
    # Who took these metrics for known learns that they are not any more.
    catalog.set_fact("removed_at", str(time.time_ns()))
    # A daemon that runs beside may have taken points or made a file since the look; its metrics come back at once.
    back = [metric for metric in candidates if not _is_gone(root, metric) or in_cache(metric)]
    progress.removed -= catalog.add(back)


def _is_gone(root: str, metric: str) -> bool:
    """Whether no file of `metric` is there.  False when that cannot be known (no permission, a failing disk)."""
    paths = [relative_path(metric)]
    if is_tagged(metric):
        paths.append(relative_path(metric, hash_only=False))
    for path in paths:
        for suffix in ("", ".gz"):
            try:
                os.stat(os.path.join(root, path + suffix))
                return False
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return False
    return True


def _add_tree(root: str, catalog: Catalog, progress: Progress, clock: Clock, start: float) -> Iterator[Progress]:
    batch: list[str] = []
    for metric in _metrics_below(root, progress):
        batch.append(metric)
        progress.files += 1
        if len(batch) == STEP:
            progress.added += catalog.add(batch)
            batch = []
            progress.seconds = clock() - start
            yield progress
    progress.added += catalog.add(batch)
    progress.seconds = clock() - start
    yield progress


def _metrics_below(root: str, progress: Progress) -> Iterator[str]:
    """The metric of every whisper file below `root`, directory by directory."""
    waiting: deque[Entry] = deque([Entry("directory", "", root)])
    links: deque[Entry] = deque()
    followed: set[tuple[int, int]] = set()
    while waiting or links:
        if not waiting:
            link = links.popleft()
            place = followable(link.path)
            if place is None or place in followed:
                continue
            followed.add(place)
            waiting.append(link)
            continue
        # The last directory found is read first: the list of waiting ones stays short.
        directory = waiting.pop()
        try:
            for entry in entries(directory.path, directory.name, progress, tidy=True):
                if entry.kind == "metric":
                    yield entry.name
                else:
                    (links if entry.kind == "link" else waiting).append(entry)
        except FileNotFoundError:
            continue
        except OSError:
            progress.unreadable += 1


class Entry(NamedTuple):
    """What a directory holds: a "metric" by its name, or a "directory" or "link" by the dotted path it stands for."""

    kind: str
    name: str
    path: str


def entries(directory: str, prefix: str, progress: Progress, *, tidy: bool = False) -> Iterator[Entry]:
    """What the directory, which stands for the dotted path `prefix`, holds for a catalogue; a metric may come twice.

    tidy: remove what killed writers left.  Counts what it skips in `progress`.  Raises OSError when the directory
    cannot be read.
    """
    tagged = _TAGGED_DIRECTORY.match(prefix)
    with os.scandir(directory) as found:
        for entry in found:
            node, kind = _stem(entry.name), "metric"
            if tidy and is_temporary(entry.name):
                _remove_leftover(entry)
            try:
                if node is None:
                    if not entry.is_dir():
                        continue
                    node, kind = entry.name, "link" if entry.is_symlink() else "directory"
                elif not entry.is_file():
                    continue
            except OSError:
                progress.unreadable += 1
                continue
            if kind == "metric" and tagged and (metric := _readable(node, prefix)):
                yield Entry(kind, metric, entry.path)
            elif not node or _UNFIT.search(node):
                progress.skipped += 1
            else:
                yield Entry(kind, _join(prefix, node), entry.path)


def followable(link: str) -> tuple[int, int] | None:
    """What tells the symbolic link from others; None if it is gone or leads to a directory above itself."""
    try:
        status = os.lstat(link)
    except OSError:
        return None
    return None if _leads_up(link) else (status.st_dev, status.st_ino)


def _remove_leftover(entry: os.DirEntry[str]) -> None:
    """Remove a file that a writer which was killed did not finish; a young one may still be written."""
    try:
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFTOVER_SECONDS:
            os.unlink(entry.path)
    except OSError:
        # It may be gone already, or not ours to remove; it is in nobody's way.
        pass


def _stem(name: str) -> str | None:
    """`name` without the suffix of a whisper file; None if it has none."""
    if name.endswith(".wsp"):
        return name[:-4]
    return name[:-7] if name.endswith(".wsp.gz") else None


def _join(prefix: str, node: str) -> str:
    return f"{prefix}.{node}" if prefix else node


def _readable(leaf: str, directory: str) -> str | None:
    """The tagged metric that a leaf with ``_DOT_`` for the dot means; None if `directory` is not that of its hash."""
    if ";" not in leaf:
        return None
    try:
        metric = canonical(leaf.replace("_DOT_", "."))
    except MetricError:
        return None
    digest = sha256(metric.encode()).hexdigest()
    return metric if is_tagged(metric) and directory == f"_tagged.{digest[:3]}.{digest[3:6]}" else None


def _leads_up(link: str) -> bool:
    """Whether the symbolic link `link` leads to a directory that it lies in."""
    try:
        target = os.stat(link)
        above = os.path.dirname(link)
        while above:
            here = os.stat(above)
            if (here.st_dev, here.st_ino) == (target.st_dev, target.st_ino):
                return True
            if above == os.path.dirname(above):
                return False
            above = os.path.dirname(above)
    except OSError:
        return True
    return False
