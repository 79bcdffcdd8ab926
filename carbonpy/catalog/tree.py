"""The names in a whisper tree that others write: a catalogue that follows the directories.

The law: a question is answered as `adopt` followed by `Catalog` would, from the tree as it was at most `interval`
seconds ago (or four times as long as a look at all directories takes, if that is more).  The tree is only read.

A file that comes or goes changes the modification time of its directory.  So a look is one `stat` for each directory,
and only those that changed are listed anew; a directory that changed within the last seconds is listed at the next
look too, since the next change could leave the same time.  The names are in a catalogue of their own, in a temporary
directory that goes with the object.

A hashed file of a tagged metric does not tell its name and is known by its encoded path only.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from carbonpy.catalog.adoption import Entry, Progress, entries, followable
from carbonpy.catalog.database import CatalogError
from carbonpy.catalog.scratch import Scratch
from carbonpy.catalog.store import Catalog, Node
from carbonpy.catalog.tagging import TagAnswers, TagIndex
from carbonpy.clock import Clock
from carbonpy.metric import encoded, is_tagged

#: Seconds between two looks at the directories.
INTERVAL = 1.0
#: Of the time, at most one part in this many goes into looking.
_SHARE = 4
#: A directory that changed within so many seconds may change again without its time telling (FAT: 2 seconds).
_SETTLED_SECONDS = 2.5
#: Names that are added to the catalogue together.
_TOGETHER = 5_000

_SPECIAL = re.compile(r"[*?\[\]{},\\]")


@dataclass
class _Directory:
    """A directory as it was when it was listed."""

    name: str
    #: Of the directory itself, links followed.
    place: tuple[int, int]
    #: None: it may have changed again without its time telling.
    modified: int | None
    below: list[Entry] = field(default_factory=list)


class TreeNames(TagAnswers):
    """The names below `root`.  Safe from any thread; starts none.

    The first question lists the whole tree (`refresh` does, in advance) and may take a second for 50,000 files.
    scratch: where the temporary directory goes, None for the system's place.  Raises CatalogError when it cannot be
    made.
    """

    def __init__(
        self,
        root: str,
        *,
        interval: float = INTERVAL,
        scratch: str | None = None,
        clock: Clock = time.monotonic,
        now: Clock = time.time,
    ) -> None:
        self._root = root
        self._interval = interval
        self._clock = clock
        self._now = now
        try:
            self._scratch = Scratch("carbonpy-names-", scratch)
        except OSError as error:
            raise CatalogError(f"cannot make a temporary directory for the names of {root}: {error}") from error
        self._catalog = Catalog(os.path.join(self._scratch.name, "names.sqlite"))
        self._directories: dict[str, _Directory] = {}
        self._lock = threading.Lock()
        self._looked = False
        self._next_look = clock()
        #: What the last look met.  Read from any thread.
        self.progress = Progress()

    @property
    def path(self) -> str:
        """The file of the names, which other processes may read after a `refresh`."""
        return self._catalog.path

    # ---- questions

    def find(self, pattern: str, leaves_only: bool = False) -> list[Node]:
        """See Catalog.find."""
        self.refresh()
        return self._catalog.find(pattern, leaves_only)

    def metrics(self) -> Iterator[str]:
        """See Catalog.metrics."""
        self.refresh()
        return self._catalog.metrics()

    def names_of(self, paths: Sequence[str]) -> dict[str, str]:
        """See Catalog.names_of."""
        self.refresh()
        return self._catalog.names_of(paths)

    def contains(self, metric: str) -> bool:
        """See Catalog.contains."""
        self.refresh()
        return self._catalog.contains(metric)

    def count(self) -> int:
        """The number of metrics."""
        self.refresh()
        return self._catalog.count()

    def tag_index(self) -> TagIndex:
        """See Catalog.tag_index."""
        self.refresh()
        return self._catalog.tag_index()

    def close(self) -> None:
        """Remove the catalogue of names; later calls raise CatalogError.  Idempotent."""
        with self._lock:
            self._catalog.close()
            self._scratch.close()

    # ---- following the tree

    @property
    def is_due(self) -> bool:
        """Whether the next `refresh` looks at the directories."""
        return not self._looked or self._clock() >= self._next_look

    def refresh(self) -> None:
        """Look at the directories if the last look is long enough ago.

        While one thread looks, the others go on with what is known, but they wait for the first look.
        """
        if not self._lock.acquire(blocking=not self._looked):
            return
        try:
            start = self._clock()
            if self._looked and start < self._next_look:
                return
            self._look()
            self._looked = True
            end = self._clock()
            self._next_look = end + max(self._interval, _SHARE * (end - start))
        finally:
            self._lock.release()

    def _look(self) -> None:
        if self._looked and self._catalog.fact("whole") is None:
            # The names are gone (somebody tidied the temporary directory): begin anew.
            self._looked, self._directories = False, {}
        progress = Progress()
        changes = _Changes(self._catalog)
        seen: dict[str, _Directory] = {}
        waiting: deque[Entry] = deque([Entry("directory", "", self._root)])
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
            entry = waiting.pop()
            directory = self._directory(entry, changes, progress)
            if directory is not None:
                seen[entry.path] = directory
                for below in directory.below:
                    (links if below.kind == "link" else waiting).append(below)
        for path, directory in self._directories.items():
            if path not in seen:
                changes.set(directory.name, set(), new=False)
        changes.flush()
        self._catalog.set_fact("whole", "1")
        self._directories = seen
        self.progress = progress

    def _directory(self, entry: Entry, changes: _Changes, progress: Progress) -> _Directory | None:
        """The directory as it is now, its changes noted; None if it is gone."""
        known = self._directories.get(entry.path)
        try:
            status = os.stat(entry.path)
            place = status.st_dev, status.st_ino
            if known is not None and known.modified == status.st_mtime_ns and known.place == place:
                return known
            settled = self._now() - status.st_mtime > _SETTLED_SECONDS
            # The time is from before the list: what changes in between is seen at the next look.
            directory = _Directory(entry.name, place, status.st_mtime_ns if settled else None)
            metrics: set[str] = set()
            for found in entries(entry.path, entry.name, progress):
                if found.kind == "metric":
                    metrics.add(found.name)
                else:
                    directory.below.append(found)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            progress.unreadable += 1
            return known
        progress.files += len(metrics)
        changes.set(entry.name, metrics, new=known is None and not self._looked)
        return directory


class _Changes:
    """Metrics that came and went, brought into the catalogue many at a time."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._added: list[str] = []

    def set(self, name: str, metrics: set[str], new: bool) -> None:
        """Right below the dotted path `name` there are exactly `metrics`; new: nothing is known of it so far."""
        # A readable file of a tagged metric tells more than a hashed one; sorted, the name comes after the path.
        paths = {encoded(metric): metric for metric in sorted(metrics, key=is_tagged)}
        known = set() if new else _leaves(self._catalog, name)
        self._catalog.remove(known - paths.keys())
        self._added += [metric for path, metric in paths.items() if path not in known or path != metric]
        if len(self._added) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Add what came."""
        self._catalog.add(self._added)
        self._added = []


def _leaves(catalog: Catalog, name: str) -> set[str]:
    """The encoded paths of the metrics right below the dotted path `name`."""
    pattern = _SPECIAL.sub(r"\\\g<0>", name) + ".*" if name else "*"
    return {node.path for node in catalog.find(pattern, leaves_only=True)}
