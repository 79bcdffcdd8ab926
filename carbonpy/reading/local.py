"""The local store: what this machine knows about metrics, in its files and in its cache.

The law: every point that was accepted is in the answer, from the moment it is in the cache.  The
cache is always peeked first and the file read second, so a point that moves to the disk in between
is in both, never in neither.  A literal name needs no catalogue; a metric without a file answers on
the grid that its file will get; a file that is missing, damaged or half replaced costs only itself
(it is counted, and what the cache holds of the metric is still answered).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import CarbonError, MetricError
from carbonpy.metric import canonical, is_tagged, relative_path, tags_of
from carbonpy.reading.merge import Recipe, grid, merge
from carbonpy.retention import Archive
from carbonpy.series.series import Series
from carbonpy.timespan import Span
from carbonpy.whisper import file as whisper_file
from carbonpy.whisper.layout import METHOD_CODES, Header, stored_xff

#: Where the files of tagged metrics lie.
TAGGED = "_tagged."
_GLOB = re.compile(r"[*?\[{]")

Points = tuple[NDArray[np.uint32], NDArray[np.float64]]
#: (archives finest first, xFilesFactor, aggregation method by name) that a metric's new file will get.
SchemaFor = Callable[[str], tuple[Sequence[Archive], float, str]]


class Node(NamedTuple):
    """One place in the tree of names; one path can be a leaf and a branch, as two nodes."""

    path: str
    is_leaf: bool


class FoundNode(Protocol):
    """What a catalogue finds."""

    @property
    def path(self) -> str: ...
    @property
    def is_leaf(self) -> bool: ...


class Names(Protocol):
    """The catalogue, as far as reading needs it."""

    def find(self, pattern: str, leaves_only: bool = False) -> Iterable[FoundNode]:
        """Nodes that match a pattern."""

    def metrics(self) -> Iterable[str]:
        """All metrics, sorted."""

    def names_of(self, paths: Sequence[str]) -> dict[str, str]:
        """The metrics behind ``_tagged.`` paths, for those that are known."""


def is_pattern(text: str) -> bool:
    """Whether `text` needs the catalogue to say which metrics it means.  A tagged name never does."""
    return ";" not in text and _GLOB.search(text) is not None


def literal(text: str) -> str | None:
    """The metric that a text without wildcards means; None if it cannot be one.

    Backslashes are dropped, but not from a tagged name.
    """
    try:
        return canonical(text if ";" in text else text.replace("\\", ""))
    except MetricError:
        return None


class LocalStore:
    """Finds and fetches.  Safe from any thread if `peek`, `known` and the catalogue are.

    catalog: find(pattern, leaves_only) and metrics(); asked only for patterns and branches.
    peek: metric -> (timestamps ascending, values) of its cached points, empty arrays for none.
    known: metric -> whether the daemon has a name for it (it may have no file yet).
    schema_for: metric -> what its file will be made of.
    """

    def __init__(
        self,
        catalog: Names,
        peek: Callable[[str], Points],
        data_dir: str,
        *,
        known: Callable[[str], bool],
        schema_for: SchemaFor,
        hash_only: bool = True,
    ) -> None:
        self._catalog = catalog
        self._peek = peek
        self._data_dir = data_dir
        self._known = known
        self._schema_for = schema_for
        self._hash_only = hash_only
        self._lock = threading.Lock()
        #: Files that could not be read, since the start.  Read from any thread.
        self.damaged = 0

    def find(self, pattern: str, leaves_only: bool = False) -> list[Node]:
        """The nodes that match `pattern`, a metric known only to the cache among them; sorted by path."""
        nodes = {Node(found.path, bool(found.is_leaf)) for found in self._catalog.find(pattern, leaves_only)}
        if not is_pattern(pattern):
            metric = literal(pattern)
            if metric is not None and self.exists(metric):
                nodes.add(Node(metric, True))
        return sorted(nodes)

    def leaves(self, pattern: str) -> list[str]:
        """The metrics that `pattern` means, sorted.  A literal one is not looked up, fetch will tell."""
        if is_pattern(pattern):
            return [node.path for node in self.find(pattern, leaves_only=True)]
        metric = literal(pattern)
        return [] if metric is None else [metric]

    def is_literal(self, pattern: str) -> bool:
        """Whether `leaves` answers for this pattern without looking anything up."""
        return not is_pattern(pattern)

    def metrics(self) -> Iterator[str]:
        """All metrics of the catalogue, sorted."""
        return iter(self._catalog.metrics())

    def exists(self, metric: str) -> bool:
        """Whether there is a name or a file for the canonical name `metric`."""
        return self._known(metric) or any(os.path.exists(path) for path in self._paths(metric))

    def fetch(
        self,
        metrics: Iterable[str],
        from_time: int,
        until_time: int,
        now: int,
        check: Callable[[int], None] = lambda points: None,
    ) -> list[Series]:
        """One series for each of the canonical names that has a file or points; in the order given.

        The path of a tagged metric's file, ``_tagged.abc.def.<hash>``, is answered under that path.
        from_time <= until_time and now are seconds since the epoch.  `check` is called with the number
        of points of each series; it may raise to end the work (a limit, a client that left).
        """
        metrics = list(metrics)
        behind = self._catalog.names_of([m for m in metrics if m.startswith(TAGGED)]) if _has_tagged(metrics) else {}
        series_list = []
        for name in metrics:
            series = self._fetch_one(name, behind.get(name, name), from_time, until_time, now)
            check(0 if series is None else len(series))
            if series is not None:
                series_list.append(series)
        return series_list

    def _fetch_one(self, name: str, metric: str, from_time: int, until_time: int, now: int) -> Series | None:
        timestamps, values = self._peek(metric)  # first the cache, then the file: see the law above
        path, fetched = self._read(metric, from_time, until_time, now)
        if fetched is not None:
            span, merged = fetched.span, fetched.values
            if len(timestamps):
                recipe = Recipe(
                    [Archive(a.step, a.points) for a in fetched.header.archives],
                    fetched.header.method,
                    fetched.header.xff,
                )
                level = next(i for i, archive in enumerate(recipe.archives) if archive.step == span.step)

                def read(index: int, start: int, end: int) -> NDArray[np.float64]:
                    return self._read_slots(path, fetched.header, index, start, end)

                merged = merge(recipe, level, span, merged, timestamps, values, now, read)
        elif path or not len(timestamps):
            return None
        else:
            archives, xff, method = self._schema_for(metric)
            reached = grid(archives, from_time, until_time, now)
            if reached is None:
                return None
            level, span = reached
            recipe = Recipe(archives, METHOD_CODES[method], stored_xff(xff))
            merged = merge(recipe, level, span, _nothing(span), timestamps, values, now, _read_nothing(archives))
        return Series(name, span.start, span.end, span.step, merged, tags=tags_of(metric))

    def _paths(self, metric: str) -> list[str]:
        paths = [os.path.join(self._data_dir, relative_path(metric, self._hash_only))]
        if is_tagged(metric):
            paths.append(os.path.join(self._data_dir, relative_path(metric, not self._hash_only)))
        return paths

    def _read(self, metric: str, from_time: int, until_time: int, now: int) -> tuple[str, whisper_file.Fetched | None]:
        """(path of a readable file or "", what it answers or None when the question is out of its reach)."""
        for path in self._paths(metric):
            try:
                return path, whisper_file.fetch(path, from_time, until_time, now)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (CarbonError, OSError, ValueError):
                self._count_damaged()
        return "", None

    def _read_slots(self, path: str, header: Header, index: int, start: int, end: int) -> NDArray[np.float64]:
        """Slots of one archive; all NaN if the file went or changed its archives since it was fetched."""
        step = header.archives[index].step
        span = Span(start, end, step)
        try:
            # "now" is set to the end so that fetch neither clamps nor shifts the grid.
            fetched = whisper_file.fetch(path, start - step, end - step, now=end, step=step)
        except (CarbonError, OSError, ValueError):
            self._count_damaged()
            return _nothing(span)
        if fetched is None or fetched.span != span or fetched.header.archives != header.archives:
            return _nothing(span)
        return fetched.values

    def _count_damaged(self) -> None:
        with self._lock:
            self.damaged += 1


def _has_tagged(metrics: list[str]) -> bool:
    return any(metric.startswith(TAGGED) for metric in metrics)


def _nothing(span: Span) -> NDArray[np.float64]:
    return np.full(span.count, np.nan)


def _read_nothing(archives: Sequence[Archive]) -> Callable[[int, int, int], NDArray[np.float64]]:
    return lambda index, start, end: _nothing(Span(start, end, archives[index].step))
