"""The catalogue: the set of metrics, kept as a tree of dotted paths that globs can walk.

The law.  The catalogue is a set of canonical names; `add` and `remove` are idempotent, and `find` depends on the set
alone, never on the order or the grouping of the calls.  A path is a leaf if it is a metric, a branch if a metric lies
below it; it can be both.  Branches without metrics vanish.

A tagged metric is kept under its canonical name and has, besides, a leaf at the path of its file,
``_tagged.<h[0:3]>.<h[3:6]>.<h>``, always in the hashed form.  `metrics` and `find` by name speak of the canonical
name; the encoded path is there for clients that ask for it, and wildcards in the first part of a pattern do not reach
it.  A hashed file whose name nobody knows yet (`adoption`) is a metric called by its encoded path, until a metric
with that hash is added and takes its place.
"""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from carbonpy.catalog.database import BRANCH, LEAF, CatalogError, Database, json_list, lines, note_changes
from carbonpy.catalog.finding import deepest, nodes_of, walk
from carbonpy.catalog.held import HeldNames
from carbonpy.catalog.pattern import compile_pattern
from carbonpy.catalog.remembered import Remembered
from carbonpy.catalog.tagging import TagAnswers, TagIndex
from carbonpy.errors import MetricError
from carbonpy.metric import Node, canonical, encoded, tags_of

__all__ = ["Catalog", "CatalogError", "Node"]

#: Names that one write transaction takes (5,000 need about 10 ms), so that no other writer waits long.
CHUNK = 5_000
#: Names looked at before the new ones among them are sorted and written.
GULP = 50_000
#: Names that one read of the iterator `Catalog.metrics` takes.
PAGE = 5_000

_CONTROL = bytes([*range(32), 127])
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_UNKNOWN = """
SELECT group_concat(j.value, char(10)) FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM nodes WHERE depth = ?2 AND path = j.value AND kind & 1)
"""
_UNKNOWN_TAGGED = """
SELECT group_concat(j.value, char(10)) FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM tagged WHERE name = j.value)
"""
_SET_KIND = """
INSERT INTO nodes (depth, path, kind) SELECT ?2, j.value, ?3 FROM json_each(?1) AS j WHERE true
ON CONFLICT DO UPDATE SET kind = kind | excluded.kind WHERE NOT kind & excluded.kind
"""
_ADD_TAGGED = "INSERT OR IGNORE INTO tagged (name) SELECT j.value FROM json_each(?1) AS j"
_TAGGED_IDS = """
SELECT group_concat(t.id, char(10)), group_concat(t.name, char(10))
FROM json_each(?1) AS j CROSS JOIN tagged AS t WHERE t.name = j.value
"""
#: Values are "id<tab>path".
_SET_TAGGED = """
INSERT INTO nodes (depth, path, kind, tagged)
SELECT 4, substr(j.value, instr(j.value, char(9)) + 1), 1, CAST(j.value AS INTEGER) FROM json_each(?1) AS j WHERE true
ON CONFLICT DO UPDATE SET kind = kind | 1, tagged = excluded.tagged
"""
#: Values are "id<tab>tag=value"; a tag has no "=".
_SPLIT_TAGS = """
SELECT substr(j.value, instr(j.value, char(9)) + 1, instr(j.value, '=') - instr(j.value, char(9)) - 1),
       substr(j.value, instr(j.value, '=') + 1), CAST(j.value AS INTEGER)
FROM json_each(?1) AS j
"""
_ADD_TAGS = "INSERT OR IGNORE INTO tags (tag, value, metric)" + _SPLIT_TAGS
_REMOVE_TAGS = f"DELETE FROM tags WHERE (tag, value, metric) IN ({_SPLIT_TAGS})"
_NODES_AT = "depth = ?2 AND path IN (SELECT j.value FROM json_each(?1) AS j)"
_COUNT_LEAVES = f"SELECT count(*) FROM nodes WHERE kind & 1 AND {_NODES_AT}"
_CLEAR_LEAF = f"UPDATE nodes SET kind = kind & ~1, tagged = NULL WHERE kind & 1 AND {_NODES_AT}"
_CLEAR_BARREN = f"""
UPDATE nodes SET kind = kind & ~2 WHERE kind & 2 AND {_NODES_AT} AND NOT EXISTS (
    SELECT 1 FROM nodes AS child
    WHERE child.depth = ?2 + 1 AND child.path > nodes.path || '.' AND child.path < nodes.path || '/')
"""
_DELETE_EMPTY = f"DELETE FROM nodes WHERE NOT kind AND {_NODES_AT}"
_NAMES_OF_PATHS = """
SELECT group_concat(n.path, char(10)), group_concat(t.name, char(10))
FROM json_each(?1) AS j CROSS JOIN nodes AS n CROSS JOIN tagged AS t
WHERE n.depth = 4 AND n.path = j.value AND t.id = n.tagged
"""
_PAGE_OF_PATHS = """
SELECT group_concat(path, char(10)) FROM (
    SELECT path FROM nodes WHERE depth = ?1 AND path > ?2 AND kind & 1 AND tagged IS NULL ORDER BY path LIMIT ?3)
"""
_PAGE_OF_TAGGED = """
SELECT group_concat(name, char(10)) FROM (SELECT name FROM tagged WHERE name > ?1 ORDER BY name LIMIT ?2)
"""


class Catalog(TagAnswers):
    """The metrics in the catalogue file at `path`; the file is made if missing, set aside if damaged.

    Safe from any thread, and beside other processes that use the same file.  Every method may raise CatalogError
    when SQLite cannot read or write.

    held: whether to hold the names in memory from the second pattern on (`held`), for those who answer queries.
    """

    def __init__(self, path: str, *, held: bool = False) -> None:
        self._database = Database(path)
        self._held = HeldNames(self._database) if held else None
        self._tag_index = TagIndex(self._database, self)
        self._remembered: Remembered[Node] = Remembered()

    @property
    def path(self) -> str:
        """The file."""
        return self._database.path

    @property
    def set_aside(self) -> list[str]:
        """Where damaged files were put since this object was made; adopt the tree again after each."""
        return list(self._database.set_aside)

    def add(self, metrics: Iterable[str]) -> int:
        """Put canonical names into the set; how many were not in it.

        Transactions are short and the lock is free between them, so a long list may be added from a worker thread.
        Raises MetricError for a name with a control character or an empty node; names before it may stay.
        """
        added = 0
        names = iter(metrics)
        while gulp := list(islice(names, GULP)):
            plain: list[str] = []
            tagged: list[str] = []
            for start in range(0, len(gulp), CHUNK):
                chunk = gulp[start : start + CHUNK]
                text = "\n".join(chunk)
                _check(chunk, text)
                if ";" in text:
                    some = [name for name in chunk if ";" in name]
                    chunk = [name for name in chunk if ";" not in name]
                    tagged += sorted(self._database.look(partial(_unknown, names=some)))
                plain += sorted(self._database.look(partial(_unknown, names=chunk)))
            # Sorted, new rows fall on few pages; in order of arrival every chunk would touch every page.  To sort runs
            # that are sorted is quick: the interpreter lock is held for some milliseconds only.
            plain.sort()
            for start in range(0, len(plain), CHUNK):
                part = plain[start : start + CHUNK]
                added += self._database.change(partial(_add_plain, names=part))
            tagged.sort()
            for start in range(0, len(tagged), CHUNK // 5):
                part = tagged[start : start + CHUNK // 5]
                added += self._database.change(partial(_add_tagged, names=part))
        return added

    def remove(self, metrics: Iterable[str]) -> int:
        """Take names (a tagged metric also by its encoded path) out of the set; how many were in it."""
        removed = 0
        names = filter(_is_text, metrics)
        while gulp := sorted(islice(names, GULP)):
            for start in range(0, len(gulp), CHUNK // 2):
                part = gulp[start : start + CHUNK // 2]
                removed += self._database.change(partial(_remove, names=part))
        return removed

    def rename(self, old: str, new: str) -> bool:
        """Put `new` in the place of `old`; False, and nothing changed, if `old` is not in the set."""
        _check([new], new)

        def work(connection: sqlite3.Connection) -> bool:
            if not _remove(connection, [old]):
                return False
            (_add_tagged if ";" in new else _add_plain)(connection, [new])
            return True

        return self._database.change(work)

    def contains(self, metric: str) -> bool:
        """Whether `metric` (canonical name, or encoded path of a tagged metric) is in the set."""
        if not metric or not _is_text(metric):
            return False
        return not self._database.read(partial(_unknown, names=[metric]))

    def find(self, pattern: str, leaves_only: bool = False) -> list[Node]:
        """The nodes that `pattern` matches, sorted by path, a branch before the leaf of the same path.

        A pattern with ``;`` is the literal name of a tagged metric.  Raises QueryError for a pattern whose braces
        stand for too many alternatives.
        """
        if not _is_text(pattern):
            return []
        if ";" in pattern:
            return [Node(name, True) for name in self._canonical(pattern)]
        question = pattern, leaves_only
        version = self._database.version()
        nodes = self._remembered.get(question, version)
        if nodes is None:
            compiled = compile_pattern(pattern)
            below = None if self._held is None else self._held.find(compiled, leaves_only, version)
            if below is not None:
                nodes = nodes_of(compiled, *below)
            else:
                nodes = self._database.read(lambda connection: walk(connection, compiled, leaves_only))
            self._remembered.put(question, version, nodes)
        return nodes

    def expand(self, pattern: str, leaves_only: bool = False) -> list[str]:
        """The distinct paths that `pattern` matches, sorted."""
        return list(dict.fromkeys(node.path for node in self.find(pattern, leaves_only)))

    def names_of(self, paths: Sequence[str]) -> dict[str, str]:
        """Canonical name by encoded path, for those of the ``_tagged.`` `paths` whose name is known."""

        def work(connection: sqlite3.Connection) -> dict[str, str]:
            known, names = connection.execute(_NAMES_OF_PATHS, (json_list(paths),)).fetchone()
            return dict(zip(lines(known), lines(names)))

        paths = [path for path in paths if _is_text(path)]
        return self._database.read(work) if paths else {}

    def metrics(self) -> Iterator[str]:
        """All canonical names, sorted.  Reads page by page: what changes meanwhile may or may not be seen."""
        depths = range(1, self._database.read(deepest) + 1)
        sources = [self._pages(_PAGE_OF_PATHS, depth) for depth in depths]
        return heapq.merge(*sources, self._pages(_PAGE_OF_TAGGED))

    def count(self) -> int:
        """The number of metrics."""
        return int(self.fact("metrics") or 0)

    def fact(self, key: str) -> str | None:
        """The small fact called `key`, None if it was never set (or the catalogue was made anew)."""
        row = self._database.read(
            lambda connection: connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        )
        return None if row is None else str(row[0])

    def set_fact(self, key: str, value: str) -> None:
        """Keep `value` under `key`; ``metrics`` is taken (it is the count)."""
        if key == "metrics":
            raise CatalogError("the fact 'metrics' is the number of metrics and kept by the catalogue; use another key")
        self._database.change(
            lambda connection: connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))
        )

    def tag_index(self) -> TagIndex:
        """What answers the questions about tags."""
        return self._tag_index

    def close(self) -> None:
        """Close the file; later calls raise CatalogError.  Idempotent."""
        self._database.close()

    def _canonical(self, name: str) -> list[str]:
        """The metric that `name`, which has a ``;``, stands for: as typed, else with its tags put in order."""
        spellings = [name]
        try:
            spellings.append(canonical(name))
        except MetricError:
            pass
        for spelling in spellings:
            if self.contains(spelling):
                return [spelling]
        return []

    def _pages(self, statement: str, *where: int) -> Iterator[str]:
        last = ""
        while page := self._database.read(partial(_page, statement=statement, values=(*where, last, PAGE))):
            page.sort()
            yield from page
            last = page[-1]


def _check(names: list[str], text: str) -> None:
    """Raise MetricError unless every one of `names` (`text` is all of them, a line each) can be kept."""
    if text.isascii() and len(text) - len(text.encode().translate(None, _CONTROL)) == len(names) - 1:
        ends = f"\n{text}\n"
        if not any(empty in ends for empty in ("..", "\n.", ".\n", "\n\n")):
            return
    for name in names:
        if not name or not _is_text(name) or (";" not in name and "" in name.split(".")):
            raise MetricError(
                f"{name[:60]!r} is not a canonical metric name; make it one with carbonpy.metric.canonical"
            )


def _is_text(name: str) -> bool:
    """Whether `name` has neither control characters nor halves of surrogate pairs, which SQLite cannot keep."""
    return _UNFIT.search(name) is None


def _by_depth(paths: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    groups: dict[int, list[str]] = {}
    for path in paths:
        dots = path.count(".")
        if dots in groups:
            groups[dots].append(path)
        else:
            groups[dots] = [path]
    return ((dots + 1, group) for dots, group in groups.items())


def _parents(paths: Iterable[str]) -> set[str]:
    parents = {path.rpartition(".")[0] for path in paths}
    parents.discard("")
    return parents


def _unknown(connection: sqlite3.Connection, names: Sequence[str]) -> list[str]:
    """Those of `names`, all of them tagged or none, that are not in the set."""
    if names and ";" in names[0]:
        return lines(connection.execute(_UNKNOWN_TAGGED, (json_list(names),)).fetchone()[0])
    unknown: list[str] = []
    for depth, group in _by_depth(names):
        unknown += lines(connection.execute(_UNKNOWN, (json_list(group), depth)).fetchone()[0])
    return unknown


def _page(connection: sqlite3.Connection, statement: str, values: tuple[int | str, ...]) -> list[str]:
    return lines(connection.execute(statement, values).fetchone()[0])


def _add_plain(connection: sqlite3.Connection, names: Sequence[str]) -> int:
    added = _set_kind(connection, names, LEAF)
    note_changes(connection, names, gone=False)
    _count(connection, added)
    _add_branches(connection, names)
    return added


def _add_tagged(connection: sqlite3.Connection, names: Sequence[str]) -> int:
    named = connection.execute(_ADD_TAGGED, (json_list(names),)).rowcount
    if not named:
        return 0
    ids, known = connection.execute(_TAGGED_IDS, (json_list(names),)).fetchone()
    pairs = list(zip(lines(ids), lines(known)))
    paths = [encoded(name) for _, name in pairs]
    # Leaves that are there without a name came from adoption; now that they have one they are not counted twice.
    renamed = connection.execute(_COUNT_LEAVES, (json_list(paths), 4)).fetchone()[0]
    connection.execute(_SET_TAGGED, (json_list([f"{id_}\t{path}" for (id_, _), path in zip(pairs, paths)]),))
    connection.execute(_ADD_TAGS, (json_list(_tag_rows(pairs)),))
    _count(connection, named - renamed)
    _add_branches(connection, paths)
    return int(named - renamed)


def _tag_rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{id_}\t{tag}={value}" for id_, name in pairs for tag, value in tags_of(name).items()]


def _add_branches(connection: sqlite3.Connection, paths: Iterable[str]) -> None:
    while parents := _parents(paths):
        _set_kind(connection, sorted(parents), BRANCH)
        paths = parents


def _set_kind(connection: sqlite3.Connection, paths: Iterable[str], kind: int) -> int:
    """Set the bit `kind` of `paths`; how many did not have it."""
    return sum(
        connection.execute(_SET_KIND, (json_list(group), depth, kind)).rowcount for depth, group in _by_depth(paths)
    )


def _remove(connection: sqlite3.Connection, names: Sequence[str]) -> int:
    paths = [name for name in names if ";" not in name]
    tagged = [name for name in names if ";" in name]
    inside = [path for path in paths if path.startswith("_tagged.")]
    if inside:
        tagged += lines(connection.execute(_NAMES_OF_PATHS, (json_list(inside),)).fetchone()[1])
    if tagged:
        ids, known = connection.execute(_TAGGED_IDS, (json_list(tagged),)).fetchone()
        pairs = list(zip(lines(ids), lines(known)))
        connection.execute(_REMOVE_TAGS, (json_list(_tag_rows(pairs)),))
        connection.execute(
            "DELETE FROM tagged WHERE id IN (SELECT CAST(j.value AS INTEGER) FROM json_each(?1) AS j)",
            (json_list([id_ for id_, _ in pairs]),),
        )
        paths += [encoded(name) for _, name in pairs]
    note_changes(connection, [path for path in paths if not path.startswith("_tagged.")], gone=True)
    removed = 0
    for depth, group in _by_depth(paths):
        removed += connection.execute(_CLEAR_LEAF, (json_list(group), depth)).rowcount
        connection.execute(_DELETE_EMPTY, (json_list(group), depth))
    while parents := _parents(paths):
        # Deepest first: a branch can only be seen to be barren when the branches below it are gone.
        for depth, group in sorted(_by_depth(parents), reverse=True):
            connection.execute(_CLEAR_BARREN, (json_list(group), depth))
            connection.execute(_DELETE_EMPTY, (json_list(group), depth))
        paths = list(parents)
    _count(connection, -removed)
    return removed


def _count(connection: sqlite3.Connection, change: int) -> None:
    if change:
        connection.execute("UPDATE facts SET value = CAST(value AS INTEGER) + ? WHERE key = 'metrics'", (change,))
