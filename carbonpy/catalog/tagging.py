"""Questions about tags: which series have them, which values there are, and what to offer while somebody types.

The law: an answer depends on the set of tagged metrics alone and is what `carbonpy.series.tagspec` says of each of
them.  Untagged metrics have no tags, not even ``name``.  Regular expressions run over the distinct values of a tag,
never over the series; the series of the rarest expression are found by the index and the other expressions seen in
their names, so that the cost follows the smallest set and not the catalogue.

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
from typing import Any, Protocol

from carbonpy.catalog.database import Database, json_list, lines
from carbonpy.catalog.pattern import after
from carbonpy.errors import MetricError, QueryError
from carbonpy.metric import canonical, is_tagged, parse_tags
from carbonpy.series.tagspec import TagSpec, anchored, literal_prefix, parse_specs

#: Values that autocompletion offers unless told otherwise.
AUTOCOMPLETE_LIMIT = 100
#: Distinct values are looked up one by one as long as there are not more than this; then all rows are read.
_FEW_VALUES = 1_000
#: Rows up to which the series of an expression are counted before one is chosen.
_COUNT_UP_TO = 100_000

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
    SELECT t.value, count(*) AS n FROM json_each(?2) AS j CROSS JOIN tags AS t
    WHERE t.tag = ?1 AND t.value = j.value GROUP BY t.value)
"""
_COUNT = """
SELECT count(*) FROM (
    SELECT 1 FROM json_each(?2) AS j CROSS JOIN tags AS t WHERE t.tag = ?1 AND t.value = j.value LIMIT ?3)
"""
#: The names, with a ``;`` behind each, of the series whose tag has one of the values.
_NAMES = """
SELECT group_concat(n.name, ';' || char(10)) || ';'
FROM json_each(?2) AS j CROSS JOIN tags AS t CROSS JOIN tagged AS n
WHERE t.tag = ?1 AND t.value = j.value AND n.id = t.metric
"""
_TAG_IN_NAME = re.compile(r";([^=;\n]+)=")


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
        named, odd = self._database.read(partial(_find, specs=specs))
        found = sorted([name[:-1] for name in named] + odd)
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
            specs = parse_specs(exprs)
            named, odd = self._database.read(partial(_find, specs=specs))
            found = {"name", *_TAG_IN_NAME.findall("\n".join(named))} if named or odd else set()
            tags = sorted(found - {spec.tag for spec in specs})
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
        # The tag must be there, so expressions that series without it would satisfy are enough.
        named, odd = self._database.read(partial(_find, specs=parse_specs([*exprs, f"{tag}!="])))
        if tag == "name":
            found = {name.partition(";")[0] for name in named} | set(odd)
        else:
            found = set(re.findall(f";{re.escape(tag)}=([^;]+)", "\n".join(named)))
        return sorted(value for value in found if value.startswith(prefix))[: _limit(limit)]

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


def _find(connection: sqlite3.Connection, specs: Sequence[TagSpec]) -> tuple[list[str], list[str]]:
    """The series that satisfy all of `specs`: names with a ``;`` behind each, and names whose tags cannot be read.

    The index gives the series of one expression, the rarest; the others are seen in the names.
    """
    chosen, values = _rarest(connection, [spec for spec in specs if not spec.accepts_empty])
    # A series whose tags cannot be read has its whole name as its name, with the semicolons.
    odd = [value for value in values if ";" in value] if chosen.tag == "name" else []
    if odd:
        values = [value for value in values if ";" not in value]
        odd = [name for name in odd if all(spec.accepts(name if spec.tag == "name" else "") for spec in specs)]
    text = connection.execute(_NAMES, (chosen.tag, json_list(values))).fetchone()[0] if values else None
    names = lines(text)
    for spec in specs:
        if spec is not chosen:
            names = _filtered(names, spec)
    return names, odd


def _rarest(connection: sqlite3.Connection, specs: Sequence[TagSpec]) -> tuple[TagSpec, list[str]]:
    """Of `specs`, none of which accepts the empty string, one with few series; the values that it accepts."""
    chosen, values, fewest = specs[0], None, _COUNT_UP_TO
    # What needs no look at the values comes first.
    for spec in sorted(specs, key=lambda spec: spec.operator != "="):
        some = _accepted(connection, spec, _FEW_VALUES)
        if some is not None:
            size = connection.execute(_COUNT, (spec.tag, json_list(some), fewest)).fetchone()[0] if some else 0
            if size < fewest or values is None:
                chosen, values, fewest = spec, some, size
            if not size:
                break
    return chosen, (_accepted(connection, chosen) or []) if values is None else values


def _accepted(connection: sqlite3.Connection, spec: TagSpec, limit: int = -1) -> list[str] | None:
    """The values that `spec` accepts; None when more than `limit` would have to be looked at."""
    if not _is_text(spec.tag):
        return []
    if spec.operator == "=":
        return [spec.value] if _is_text(spec.value) else []
    prefix = literal_prefix(spec.value) if spec.operator == "=~" else ""
    values = _distinct(connection, spec.tag, prefix, limit)
    return None if len(values) == limit else list(filter(spec.accepts, values))


def _filtered(names: list[str], spec: TagSpec) -> list[str]:
    """Those of `names`, with a ``;`` behind each, that satisfy `spec`."""
    if spec.regex is None and spec.value:
        if spec.tag == "name":
            start = f"{spec.value};"
            return [name for name in names if name.startswith(start) is not spec.negated]
        part = f";{spec.tag}={spec.value};"
        return [name for name in names if (part in name) is not spec.negated]
    if spec.tag == "name":
        values = [name.partition(";")[0] for name in names]
    else:
        # In what follows ";tag=" the value goes up to the next semicolon; without the tag nothing follows.
        values = [name.partition(f";{spec.tag}=")[2].partition(";")[0] for name in names]
    accepted = {value for value in set(values) if spec.accepts(value)}
    return [name for name, value in zip(names, values) if value in accepted]
