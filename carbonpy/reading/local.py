"""The local store: what this machine knows about metrics, in its files and in its cache.

The law: every point that was accepted is in the answer, from the moment it is in the cache.  The
cache is always peeked first and the file read second, so a point that moves to the disk in between
is in both, never in neither.  A literal name needs no catalogue; a metric without a file answers on
the grid that its file will get; a file that is missing, damaged or half replaced costs only itself
(it is counted, and what the cache holds of the metric is still answered).
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import CarbonError, MetricError, QueryError
from carbonpy.metric import canonical, is_tagged, relative_path, tags_of
from carbonpy.reading.files import FileReader, Found, Headers, Values, read_slots
from carbonpy.reading.merge import Recipe, grid, merge, place_finest
from carbonpy.reading.store import Check, Fetched, Info, Node, Reading, TagRow, TagStore, no_check
from carbonpy.retention import Archive
from carbonpy.series.series import Series
from carbonpy.series.tagspec import is_series_by_tag, parse_series_by_tag
from carbonpy.timespan import Span
from carbonpy.whisper.layout import METHOD_CODES, Header, stored_xff

#: Where the files of tagged metrics lie.
TAGGED = "_tagged."
_GLOB = re.compile(r"[*?\[{]")
#: Seconds since the epoch beyond which nothing can be asked; far beyond what a file can hold.
_TIME_LIMIT = 1 << 40

Points = tuple[NDArray[np.uint32], NDArray[np.float64]]
#: (archives finest first, xFilesFactor, aggregation method by name) that a metric's new file will get.
SchemaFor = Callable[[str], tuple[Sequence[Archive], float, str]]


class Names(TagStore, Protocol):
    """The catalogue, as far as reading needs it."""

    def find(self, pattern: str, leaves_only: bool = False) -> list[Node]:
        """Nodes that match a pattern, each once, sorted."""

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

    catalog: find(pattern, leaves_only) and metrics(); asked only for patterns, branches and tags.
    peek: metric -> (timestamps ascending, values) of its cached points, empty arrays for none.
    peek_many: metrics -> the same by metric, for those that have points; one call for each plan.
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
        peek_many: Callable[[Sequence[str]], Mapping[str, Points]] | None = None,
    ) -> None:
        self._catalog = catalog
        self._peek_many = peek_many or (lambda metrics: {metric: peek(metric) for metric in metrics})
        self._data_dir = data_dir
        self._known = known
        self._schema_for = schema_for
        self._hash_only = hash_only
        self._lock = threading.Lock()
        #: For plans.
        self.headers = Headers()
        #: Files that could not be read, since the start.  Read from any thread.
        self.damaged = 0

    # ---- names

    def find(self, pattern: str, leaves_only: bool = False, since: int | None = None) -> list[Node]:
        """The nodes that match `pattern`, a metric known only to the cache among them; sorted by path.

        since: leave out metrics that were last written before it (seconds since the epoch) and have no cached points.
        """
        nodes = self._catalog.find(pattern, leaves_only)
        if not is_pattern(pattern):
            metric = literal(pattern)
            if metric is not None and Node(metric, True) not in nodes and self.exists(metric):
                nodes = sorted([*nodes, Node(metric, True)])
        if since is not None:
            fresh = self._written_since([node.path for node in nodes if node.is_leaf], since)
            nodes = [node for node in nodes if not node.is_leaf or node.path in fresh]
        return nodes

    def leaves(self, pattern: str) -> list[str]:
        """The metrics that a path means, sorted.  A literal one is not looked up.  Raises QueryError."""
        if is_series_by_tag(pattern):
            return self._catalog.find_series(parse_series_by_tag(pattern))
        if is_pattern(pattern):
            return [node.path for node in self._catalog.find(pattern, True)]
        metric = literal(pattern)
        return [] if metric is None else [metric]

    def is_literal(self, pattern: str) -> bool:
        """Whether `leaves` answers for this pattern without looking anything up."""
        return not is_pattern(pattern) and not is_series_by_tag(pattern)

    def metrics(self) -> list[str]:
        """All metrics of the catalogue, sorted."""
        return list(self._catalog.metrics())

    def exists(self, metric: str) -> bool:
        """Whether there is a name or a file for the canonical name `metric`."""
        return self._known(metric) or self._newest_write(metric) is not None

    # ---- values

    def fetch(
        self, metrics: Iterable[str], from_time: int, until_time: int, now: int, check: Check = no_check
    ) -> list[Series]:
        """One series for each of the canonical names that has a file or points; in the order given.

        The path of a tagged metric's file, ``_tagged.abc.def.<hash>``, is answered under that path.
        from_time <= until_time and now are seconds since the epoch.  `check` is called with the number
        of points of each series; it may raise to end the work (a limit, a client that left).
        """
        names = list(metrics)
        plan = _Plan(self, names, now, check)
        lines = plan.read(names, from_time, until_time)
        return [plan.series(name, lines[name], name) for name in names if name in lines]

    def fetch_readings(self, readings: Sequence[Reading], now: int, check: Check = no_check) -> Fetched:
        """All readings at once; each (metric, window) is read once, however many paths mean it.

        Raises QueryError for a call of seriesByTag that makes no sense, and what `check` raises.
        """
        readings = list(dict.fromkeys(readings))
        for _, from_time, until_time in readings:
            moment = max(from_time, until_time, now, key=abs)
            if abs(moment) > _TIME_LIMIT:
                raise QueryError(f"{moment} is no moment in seconds since the epoch; ask for an earlier one")
        leaves: dict[str, list[str]] = {}
        windows: dict[tuple[int, int], dict[str, None]] = {}
        wanted: dict[str, None] = {}
        for path, from_time, until_time in readings:
            if path not in leaves:
                leaves[path] = self.leaves(path)
            names = dict.fromkeys(leaves[path])
            wanted.update(names)
            windows.setdefault((from_time, until_time), {}).update(names)
        plan = _Plan(self, list(wanted), now, check)
        # A window that ends before it starts holds nothing.
        lines = {(a, b): plan.read(list(some), a, b) if a <= b else {} for (a, b), some in windows.items()}
        fetched = Fetched(infos=plan.infos)
        for path, from_time, until_time in readings:
            found = lines[from_time, until_time]
            fetched.series[path, from_time, until_time] = [
                plan.series(name, found[name], path) for name in leaves[path] if name in found
            ]
        return fetched

    def info(self, metrics: Sequence[str]) -> dict[str, Info]:
        """How the files of metrics are made, or will be; those that do not exist are left out."""
        reader = FileReader(0)
        behind = self.behind(metrics)
        infos: dict[str, Info] = {}
        for name in metrics:
            metric = behind.get(name, name)
            for path in self.paths(metric):
                try:
                    infos[name] = self.headers.info(reader.header(path))
                    break
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except (CarbonError, OSError, ValueError) as error:
                    self.count_damaged(error)
            else:
                if self._known(metric):
                    infos[name] = self.schema(metric)
        return infos

    # ---- tags: see carbonpy.reading.store.TagStore

    def find_series(self, exprs: Sequence[str], limit: int | None = None) -> list[str]:
        """The metrics that satisfy all tag expressions, sorted.  Raises QueryError."""
        return self._catalog.find_series(exprs, limit)

    def tags(self, filter: str = "", limit: int | None = None) -> list[TagRow]:
        """The tags that the regular expression `filter` matches.  Raises QueryError."""
        return self._catalog.tags(filter, limit)

    def tag(self, name: str, filter: str = "", limit: int | None = None) -> TagRow | None:
        """A tag with its values; None if there is none.  Raises QueryError."""
        return self._catalog.tag(name, filter, limit)

    def auto_complete_tags(self, exprs: Sequence[str], prefix: str = "", limit: int | None = None) -> list[str]:
        """Tags of the series that satisfy `exprs`.  Raises QueryError."""
        return self._catalog.auto_complete_tags(exprs, prefix, limit)

    def auto_complete_values(
        self, exprs: Sequence[str], tag: str, prefix: str = "", limit: int | None = None
    ) -> list[str]:
        """Values of a tag among the series that satisfy `exprs`.  Raises QueryError."""
        return self._catalog.auto_complete_values(exprs, tag, prefix, limit)

    def tag_series(self, path: str) -> str:
        """Put a series into the index; its canonical name.  Raises QueryError."""
        return self._catalog.tag_series(path)

    def tag_multi_series(self, paths: Sequence[str]) -> list[str]:
        """`tag_series` of many.  Raises QueryError before anything is put in."""
        return self._catalog.tag_multi_series(paths)

    def del_series(self, paths: Sequence[str]) -> bool:
        """Take series out of the index; True."""
        return self._catalog.del_series(paths)

    # ---- for plans

    def behind(self, names: Sequence[str]) -> dict[str, str]:
        """The metric by the path of its file, for those of `names` that are such paths and known."""
        paths = [name for name in names if name.startswith(TAGGED)]
        return self._catalog.names_of(paths) if paths else {}

    def cached(self, metrics: Sequence[str]) -> Mapping[str, Points]:
        """The cached points of those metrics that have any."""
        return {metric: points for metric, points in self._peek_many(metrics).items() if len(points[0])}

    def paths(self, metric: str) -> list[str]:
        """Where the file of a metric may be."""
        paths = [f"{self._data_dir}/{relative_path(metric, self._hash_only)}"]
        if is_tagged(metric):
            paths.append(f"{self._data_dir}/{relative_path(metric, not self._hash_only)}")
        return paths

    def schema(self, metric: str) -> Info:
        """What the file of a metric will be made of."""
        archives, xff, method = self._schema_for(metric)
        return Info(method, stored_xff(xff), tuple(archives))

    def count_damaged(self, error: Exception) -> None:
        """A file could not be read.  Raises MemoryError if it is we who have no room: it must not seem empty."""
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise MemoryError(str(error)) from error
        with self._lock:
            self.damaged += 1

    def _newest_write(self, metric: str) -> float | None:
        for path in self.paths(metric):
            for suffix in ("", ".gz"):
                try:
                    return os.stat(path + suffix).st_mtime
                except (OSError, ValueError):
                    continue
        return None

    def _written_since(self, names: Sequence[str], since: int) -> set[str]:
        behind = self.behind(names)
        metrics = {name: behind.get(name, name) for name in names}
        cached = self.cached(list(metrics.values()))
        return {
            name
            for name, metric in metrics.items()
            if metric in cached or ((newest := self._newest_write(metric)) is not None and newest >= since)
        }


class _Line(NamedTuple):
    """Values of a metric on a grid."""

    span: Span
    values: Values


class _Plan:
    """One pass over cache and files at one moment.  One thread."""

    def __init__(self, store: LocalStore, names: Sequence[str], now: int, check: Check) -> None:
        self._store = store
        self._now = now
        self._check = check
        self._behind = store.behind(names)
        # First the cache, then the files: a point that moves meanwhile is in both, never in neither.
        self._cached = store.cached([self._behind.get(name, name) for name in names])
        self._files = FileReader(now, check, store.headers)
        self.infos: dict[str, Info] = {}

    def read(self, names: Sequence[str], from_time: int, until_time: int) -> dict[str, _Line]:
        """The values of those of `names` that have a file or points in reach of the window."""
        found: dict[str, Found] = {}
        lines: dict[str, _Line] = {}
        for name in names:
            metric = self._behind.get(name, name)
            header, there = self._read_file(metric, from_time, until_time)
            if header is not None:
                self.infos[name] = self._store.headers.info(header)
            if there is not None:
                found[name] = there
            elif header is None and metric in self._cached:
                info = self.infos[name] = self._store.schema(metric)
                line = self._only_cached(info, self._cached[metric], from_time, until_time)
                self._check(0 if line is None else line.span.count)
                if line is not None:
                    lines[name] = line
            else:
                self._check(0)
        self._merge_blocks(found)
        for name, there in found.items():
            if there.block is not None:
                values = there.block.values()[there.row]
            else:
                assert there.values is not None
                values = there.values
            if there.level or there.block is None:
                values = self._merged(there, values, self._behind.get(name, name))
            lines[name] = _Line(there.span, values)
        return lines

    def series(self, name: str, line: _Line, path: str) -> Series:
        """A line under its name, as asked for by `path`."""
        span, values = line
        metric = self._behind.get(name, name)
        tags = tags_of(metric) if ";" in metric else {"name": metric}
        return Series(name, span.start, span.end, span.step, values, path, tags=tags)

    def _read_file(self, metric: str, from_time: int, until_time: int) -> tuple[Header | None, Found | None]:
        for path in self._store.paths(metric):
            try:
                return self._files.read(path, from_time, until_time)
            except QueryError:  # what `check` says is not said of a file
                raise
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (CarbonError, OSError, ValueError) as error:
                self._store.count_damaged(error)
        return None, None

    def _merge_blocks(self, found: Mapping[str, Found]) -> None:
        """Work the cached points into whole blocks of the finest archive."""
        pieces: dict[int, list[tuple[Found, Points]]] = {}
        for name, there in found.items():
            if there.block is not None and not there.level:
                points = self._cached.get(self._behind.get(name, name))
                if points is not None:
                    pieces.setdefault(id(there.block), []).append((there, points))
        for some in pieces.values():
            there = some[0][0]
            assert there.block is not None
            rows = np.repeat([found.row for found, _ in some], [len(points[0]) for _, points in some])
            timestamps = np.concatenate([points[0] for _, points in some])
            values = np.concatenate([points[1] for _, points in some])
            finest = there.header.archives[0]
            archive = Archive(finest.step, finest.points)
            place_finest(archive, there.span, there.block.values(), rows, timestamps, values, self._now)

    def _merged(self, there: Found, values: Values, metric: str) -> Values:
        points = self._cached.get(metric)
        if points is None:
            return values
        header = there.header
        recipe = Recipe([Archive(a.step, a.points) for a in header.archives], header.method, header.xff)

        def read(level: int, start: int, end: int) -> Values:
            try:
                return read_slots(there.path, header, level, start, end)
            except (CarbonError, OSError, ValueError) as error:
                self._store.count_damaged(error)
                return _nothing(Span(start, end, header.archives[level].step))

        return merge(recipe, there.level, there.span, values, *points, self._now, read)

    def _only_cached(self, info: Info, points: Points, from_time: int, until_time: int) -> _Line | None:
        reached = grid(info.archives, from_time, until_time, self._now)
        if reached is None:
            return None
        level, span = reached
        recipe = Recipe(info.archives, METHOD_CODES[info.method], info.xff)
        read = _read_nothing(info.archives)
        return _Line(span, merge(recipe, level, span, _nothing(span), *points, self._now, read))


def _nothing(span: Span) -> NDArray[np.float64]:
    return np.full(span.count, np.nan)


def _read_nothing(archives: Sequence[Archive]) -> Callable[[int, int, int], NDArray[np.float64]]:
    return lambda index, start, end: _nothing(Span(start, end, archives[index].step))
