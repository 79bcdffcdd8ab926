"""storage-schemas.conf: which retentions a new file gets.

The law is carbon's: the first section whose ``pattern`` is found anywhere in the name (``re.search``)
wins; behind all of them stands a built-in ``default`` of 60 s for 7 days.  Sections that carbon passes
over with a line in its log (no pattern, no retentions, archives that cannot be one file) are passed over
here, too, and are `warnings` of the book, so that a file that carbon starts with is one to start with.
What ends carbon is a ConfigError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from carbonpy.errors import ConfigError, RetentionError
from carbonpy.retention import Archive, parse_retention, validate_archives
from carbonpy.rules.ini import Section, read_ini, shown
from carbonpy.rules.pattern import compile_pattern


@dataclass(frozen=True)
class Schema:
    """One section: names in which `pattern` is found get files of `archives`, finest first.  Immutable."""

    name: str
    pattern: str
    archives: tuple[Archive, ...]
    _regex: re.Pattern[str] = field(repr=False, compare=False)


#: What carbon gives to a name that no section matches: a point a minute for a week.
DEFAULT_SCHEMA = Schema("default", "", (Archive(60, 10080),), re.compile(""))


class SchemaBook:
    """The schemas of one file in their order, the built-in default last.  Immutable, safe from any thread.

    `warnings` has a sentence ``file:line [section] ...`` for each section that was passed over.
    """

    def __init__(self, schemas: Sequence[Schema] = (), warnings: Sequence[str] = ()) -> None:
        self.schemas = (*schemas, DEFAULT_SCHEMA)
        self.warnings = tuple(warnings)

    @classmethod
    def default(cls) -> SchemaBook:
        """The book of an empty file: the built-in default for every name."""
        return cls()

    @classmethod
    def parse(cls, text: str, filename: str) -> SchemaBook:
        """The book that `text` is.  Raises ConfigError with a line for each problem; `filename` is for messages."""
        schemas: list[Schema] = []
        warnings: list[str] = []
        problems: list[str] = []
        for section in read_ini(text, filename):
            schema = _schema(section, filename, warnings, problems)
            if schema is not None:
                schemas.append(schema)
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(schemas, warnings)

    def match(self, metric: str) -> Schema:
        """The schema for a new file of `metric`; there always is one."""
        for schema in self.schemas:
            if schema._regex.search(metric) is not None:
                return schema
        return DEFAULT_SCHEMA


def _schema(section: Section, filename: str, warnings: list[str], problems: list[str]) -> Schema | None:
    where = f"{filename}:{section.line} [{shown(section.name)}]"
    if section.trailing:
        warnings.append(
            f"{where} is passed over, as by carbon, because of {shown(section.trailing)!r} behind the ']'; remove that"
        )
        return None
    retentions, pattern = section.options.get("retentions"), section.options.get("pattern")
    if retentions is None:
        warnings.append(f"{where} is passed over: it has no retentions; add a line like retentions = 60s:7d")
        return None
    said = len(problems)
    archives = []
    at = f"{filename}:{retentions.line} [{shown(section.name)}] retentions = {shown(retentions.value)}:"
    for part in retentions.value.split(","):
        try:
            archives.append(parse_retention(part))
        except RetentionError as error:
            problems.append(f"{at} {shown(str(error))}")
    regex = None
    if pattern is not None and pattern.value:
        try:
            regex = compile_pattern(pattern.value)
        except ValueError as error:
            problems.append(
                f"{filename}:{pattern.line} [{shown(section.name)}] pattern = {shown(pattern.value)}: {error}"
            )
    if len(problems) > said:
        return None
    if pattern is None or regex is None:
        warnings.append(f"{where} is passed over: it has no pattern; add a line like pattern = ^name")
        return None
    try:
        return Schema(section.name, pattern.value, validate_archives(archives), regex)
    except RetentionError as error:
        warnings.append(f"{at} the section is passed over: {error}")
        return None
