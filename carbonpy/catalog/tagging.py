"""Questions about tags: which series have them, which values there are, and what to offer while somebody types.

The law: an answer depends on the set of tagged metrics alone and is what `carbonpy.series.tagspec` says of each of
them.  Untagged metrics have no tags, not even ``name``.  Regular expressions run over the distinct values of a tag,
never over the series; the series are then found by the index of values, from the rarest expression on, so that the
cost follows the smallest set and not the catalogue.

Ids of tags and values are made from their text: the same everywhere and for ever, without being kept.
"""

from __future__ import annotations

import re
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from carbonpy.catalog.database import Database, json_list, lines
from carbonpy.catalog.pattern import after
from carbonpy.errors import MetricError, QueryError
from carbonpy.metric import canonical, is_tagged, parse_tags
from carbonpy.series.tagspec import TagSpec, anchored, literal_prefix, parse_spec, parse_specs

#: Values that autocompletion offers unless told otherwise.
AUTOCOMPLETE_LIMIT = 100
#: Distinct values are looked up one by one as long as there are not more than this; then all rows are read.
_FEW_VALUES = 1_000
#: Rows up to which a set is counted before it is read.
_COUNT_UP_TO = 20_000
#: A probe costs about as much as reading this many rows in order.
_PROBE = 4

_DISTINCT = """
WITH RECURSIVE v(x) AS (
    SELECT min(value) FROM tags WHERE tag = ?1 AND value >= ?2 AND value < ?3
    UNION ALL
    SELECT (SELECT min(value) FROM tags WHERE tag = ?1 AND value > v.x AND value < ?3) FROM v WHERE v.x IS NOT NULL
    LIMIT ?4)
SELECT group_concat(x, char(10)), count(*) FROM v WHERE x IS NOT NULL
"""
_ALL_DISTINCT = """
SELECT group_concat(value, char(10)) FROM (
    SELECT DISTINCT value FROM tags WHERE tag = ?1 AND value >= ?2 AND value < ?3)
"""
_TAGS = """
WITH RECURSIVE t(x) AS (
    SELECT min(tag) FROM tags
    UNION ALL
    SELECT (SELECT min(tag) FROM tags WHERE tag > t.x) FROM t WHERE t.x IS NOT NULL)
SELECT group_concat(x, char(10)) FROM t WHERE x IS NOT NULL
"""
_COUNTS = """
SELECT group_concat(value, char(10)), group_concat(n, char(10)) FROM (
    SELECT value, count(*) AS n FROM tags WHERE tag = ?1 GROUP BY value)
"""
_COUNTS_OF = """
SELECT group_concat(value, char(10)), group_concat(n, char(10)) FROM (
    SELECT value, count(*) AS n FROM json_each(?2) AS j CROSS JOIN tags
    WHERE tag = ?1 AND value = j.value GROUP BY value)
"""
_COUNT = """
SELECT count(*) FROM (
    SELECT 1 FROM json_each(?2) AS j CROSS JOIN tags AS t WHERE t.tag = ?1 AND t.value = j.value LIMIT ?3)
"""
_COUNT_TAG = "SELECT count(*) FROM (SELECT 1 FROM tags WHERE tag = ?1 LIMIT ?2)"
_IDS = """
SELECT group_concat(t.metric) FROM json_each(?2) AS j CROSS JOIN tags AS t WHERE t.tag = ?1 AND t.value = j.value
"""
_PROBED = """
SELECT group_concat(j.value) FROM json_each(?3) AS j WHERE EXISTS (
    SELECT 1 FROM json_each(?2) AS k CROSS JOIN tags AS t
    WHERE t.tag = ?1 AND t.value = k.value AND t.metric = CAST(j.value AS INTEGER))
"""
_NAMES = """
SELECT group_concat(t.name, char(10)) FROM json_each(?1) AS j CROSS JOIN tagged AS t
WHERE t.id = CAST(j.value AS INTEGER)
"""
#: A name whose tags could be read; others have a ``;`` in their name.
_WELL_FORMED = re.compile(r"^[^;\n]+(?:;[^;!^=\n]+=[^;~\n][^;\n]*)+$", re.MULTILINE)
_TAG_IN_NAME = re.compile(r";([^=;\n]+)=")


class _Wanted(NamedTuple):
    """An expression as a set of series: those whose `tag` has one of `values`, or (`out`) all but those."""

    tag: str
    values: list[str]
    out: bool
    size: int


class Metrics(Protocol):
    """The set of metrics, as far as it is changed here."""

    def add(self, metrics: Iterable[str]) -> int:
        """Put canonical names into the set."""

    def remove(self, metrics: Iterable[str]) -> int:
        """Take names out of the set; how many were in it."""

    def set_fact(self, key: str, value: str) -> None:
        """Keep a small fact."""


class TagIndex:
    """Answers questions about the tagged metrics in a catalogue file.  Safe from any thread."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics

    def find_series(self, exprs: Sequence[str], limit: int | None = None) -> list[str]:
        """The metrics that satisfy all expressions, sorted, at most `limit`.  Raises QueryError."""
        specs = parse_specs(exprs)
        found = sorted(lines(self._database.read(partial(_names, specs=specs))))
        return found if limit is None else found[: max(0, limit)]

    def tags(self, filter: str = "", limit: int | None = None) -> list[dict[str, Any]]:
        """``{"id", "tag"}`` of each tag that the regular expression `filter` matches, sorted.  Raises QueryError."""
        return [{"id": identity(tag), "tag": tag} for tag in _some(self._tags(), filter, limit)]

    def tag(self, name: str, filter: str = "", limit: int | None = None) -> dict[str, Any] | None:
        """``{"id", "tag", "values": [{"id", "value", "count"}]}``, values sorted; None for a tag that no series has.

        Raises QueryError.
        """
        pattern = anchored(filter) if filter else None
        if not _is_text(name):
            return None

        def work(connection: sqlite3.Connection) -> dict[str, str]:
            if pattern is None and limit is None:
                values, counts = connection.execute(_COUNTS, (name,)).fetchone()
            else:
                some = _some(_distinct(connection, name, literal_prefix(filter)), filter, limit)
                values, counts = connection.execute(_COUNTS_OF, (name, json_list(some))).fetchone()
            return dict(zip(lines(values), lines(counts)))

        counts = self._database.read(work)
        if not counts and name not in self._tags():
            return None
        values = [{"id": identity(value), "value": value, "count": int(counts[value])} for value in sorted(counts)]
        return {"id": identity(name), "tag": name, "values": values}

    def auto_complete_tags(self, exprs: Sequence[str], prefix: str = "", limit: int | None = None) -> list[str]:
        """Tags that start with `prefix`, sorted: all, or those of the series that satisfy `exprs` but are not in them.

        Raises QueryError.
        """
        if exprs:
            used = {spec.tag for spec in parse_specs(exprs)}
            found = {"name", *_TAG_IN_NAME.findall(text)} if (text := self._well_formed(exprs)) else set()
            tags = sorted(found - used)
        else:
            tags = self._tags()
        return [tag for tag in tags if tag.startswith(prefix)][: _limit(limit)]

    def auto_complete_values(
        self, exprs: Sequence[str], tag: str, prefix: str = "", limit: int | None = None
    ) -> list[str]:
        """Values of `tag` that start with `prefix`, sorted: all, or those among the series that satisfy `exprs`.

        Raises QueryError.
        """
        if not tag:
            raise QueryError("no tag specified")
        if not _is_text(tag + prefix):
            return []
        if not exprs:
            limit = _limit(limit)
            values = self._database.read(lambda connection: _distinct(connection, tag, prefix, limit))
            return sorted(values)[:limit]
        parse_spec(f"{tag}!=")
        # The tag must be there, so expressions that series without it would satisfy are enough.
        text = self._well_formed([*exprs, f"{tag}!="])
        if tag == "name":
            found = re.findall(r"^([^;\n]+)", text, re.MULTILINE)
        else:
            found = re.findall(f";{re.escape(tag)}=([^;\n]+)", text)
        return sorted(value for value in set(found) if value.startswith(prefix))[: _limit(limit)]

    def tag_multi_series(self, paths: Sequence[str]) -> list[str]:
        """Put tagged series, in either notation, into the set; their canonical names.

        A name without tags is answered and not put in: it is a metric when it has a file or points.  Raises
        QueryError, before anything is put in, for a name whose tags cannot be read.
        """
        try:
            for path in paths:
                if ";" in path:
                    parse_tags(path)
            metrics = [canonical(path) for path in paths]
        except MetricError as error:
            raise QueryError(str(error)) from None
        self._metrics.add(filter(is_tagged, metrics))
        return metrics

    def del_series(self, paths: Sequence[str]) -> bool:
        """Take tagged series out of the set, their files stay; True."""
        metrics: list[str] = []
        for path in paths:
            try:
                metrics.append(canonical(path))
            except MetricError:
                continue  # there is no such series
        if self._metrics.remove(filter(is_tagged, metrics)):
            # Who took these metrics for known learns that they are not any more.
            self._metrics.set_fact("removed_at", str(time.time_ns()))
        return True

    def _well_formed(self, exprs: Sequence[str]) -> str:
        """The names of the series that satisfy `exprs`, a line each, without those whose tags cannot be read."""
        text = self._database.read(partial(_names, specs=parse_specs(exprs))) or ""
        if text.count(";") == text.count("="):
            return text
        return "\n".join(_WELL_FORMED.findall(text))

    def _tags(self) -> list[str]:
        return sorted(lines(self._database.read(lambda connection: connection.execute(_TAGS).fetchone()[0])))


class TagAnswers(ABC):
    """The questions about tags as methods of whatever has an index.  Safe from any thread if `tag_index` is."""

    @abstractmethod
    def tag_index(self) -> TagIndex:
        """The index, up to date."""

    def find_series(self, exprs: Sequence[str], limit: int | None = None) -> list[str]:
        """See TagIndex.find_series."""
        return self.tag_index().find_series(exprs, limit)

    def tags(self, filter: str = "", limit: int | None = None) -> list[dict[str, Any]]:
        """See TagIndex.tags."""
        return self.tag_index().tags(filter, limit)

    def tag(self, name: str, filter: str = "", limit: int | None = None) -> dict[str, Any] | None:
        """See TagIndex.tag."""
        return self.tag_index().tag(name, filter, limit)

    def auto_complete_tags(self, exprs: Sequence[str], prefix: str = "", limit: int | None = None) -> list[str]:
        """See TagIndex.auto_complete_tags."""
        return self.tag_index().auto_complete_tags(exprs, prefix, limit)

    def auto_complete_values(
        self, exprs: Sequence[str], tag: str, prefix: str = "", limit: int | None = None
    ) -> list[str]:
        """See TagIndex.auto_complete_values."""
        return self.tag_index().auto_complete_values(exprs, tag, prefix, limit)

    def tag_series(self, path: str) -> str:
        """See TagIndex.tag_multi_series."""
        return self.tag_index().tag_multi_series([path])[0]

    def tag_multi_series(self, paths: Sequence[str]) -> list[str]:
        """See TagIndex.tag_multi_series."""
        return self.tag_index().tag_multi_series(paths)

    def del_series(self, paths: Sequence[str]) -> bool:
        """See TagIndex.del_series."""
        return self.tag_index().del_series(paths)


def identity(text: str) -> int:
    """The id of a tag or value: 48 bits, so that every JSON parser keeps it exactly."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest(), "big")


def _limit(limit: int | None) -> int:
    return AUTOCOMPLETE_LIMIT if limit is None else max(0, limit)


def _is_text(text: str) -> bool:
    """Whether SQLite can be asked for `text`; no tag has a half of a surrogate pair or a zero."""
    return not re.search("[\x00\ud800-\udfff]", text)


def _some(values: Iterable[str], filter: str, limit: int | None) -> list[str]:
    """The first `limit` of `values`, sorted, that `filter` matches.  Raises QueryError."""
    found = sorted(values)
    if filter:
        found = list(map(str, (value for value in found if anchored(filter).match(value))))
    return found if limit is None else found[: max(0, limit)]


def _distinct(connection: sqlite3.Connection, tag: str, prefix: str = "", limit: int = -1) -> list[str]:
    """The distinct values of a tag that start with `prefix`; the first `limit` of them unless it is negative."""
    # Values are text; every text is below the first blob, of one byte.
    upper = after(prefix) or b"\0"
    most = _FEW_VALUES if limit < 0 else min(limit, _FEW_VALUES)
    text, count = connection.execute(_DISTINCT, (tag, prefix, upper, most)).fetchone()
    if count < most or most == limit:
        return lines(text)
    return lines(connection.execute(_ALL_DISTINCT, (tag, prefix, upper)).fetchone()[0])


def _wanted(connection: sqlite3.Connection, spec: TagSpec) -> _Wanted:
    """`spec` with the values that it means."""
    out = spec.accepts_empty
    # Whether the set is that of what the expression describes: what it asks for, or what it leaves out.
    plain = out is spec.negated
    if not _is_text(spec.tag):
        values = []
    elif plain and spec.regex is None:
        values = [spec.value] if _is_text(spec.value) else []
    else:
        prefix = literal_prefix(spec.value) if plain else ""
        values = [value for value in _distinct(connection, spec.tag, prefix) if spec.accepts(value) is not out]
    size = connection.execute(_COUNT, (spec.tag, json_list(values), _COUNT_UP_TO)).fetchone()[0] if values else 0
    return _Wanted(spec.tag, values, out, size)


def _names(connection: sqlite3.Connection, specs: Sequence[TagSpec]) -> str:
    """The names of the series that satisfy all of `specs`, a line each."""
    sets: list[_Wanted] = []
    for spec in specs:
        wanted = _wanted(connection, spec)
        if wanted.values:
            sets.append(wanted)
        elif not wanted.out:
            return ""
    # Smallest first, then what is to be left out of it.
    sets.sort(key=lambda wanted: (wanted.out, wanted.size))
    first, *others = sets
    ids = _ids(connection, first)
    for wanted in others:
        if not ids:
            return ""
        if len(ids) * len(wanted.values) * _PROBE < wanted.size:
            values = (wanted.tag, json_list(wanted.values), json_list(list(ids)))
            there = set((connection.execute(_PROBED, values).fetchone()[0] or "").split(","))
        else:
            there = _ids(connection, wanted)
        ids = ids - there if wanted.out else ids & there
    return connection.execute(_NAMES, (json_list(sorted(ids, key=int)),)).fetchone()[0] or ""


def _ids(connection: sqlite3.Connection, wanted: _Wanted) -> set[str]:
    """The ids, as text, of the series that have one of the values."""
    text = connection.execute(_IDS, (wanted.tag, json_list(wanted.values))).fetchone()[0]
    return set(text.split(",")) if text else set()
