"""INI files as carbon reads them, with the line of everything.

The law: for every text, `read_ini` and Python's ``ConfigParser`` (as carbon uses it) agree on which
sections and options there are and what they say: ``#`` and ``;`` comments on lines of their own only,
indented lines continue a value, names of options in lower case, ``[DEFAULT]`` shared by all sections,
``%%`` and ``%(name)s`` in values, duplicates refused.  Two things more: every section and option knows
its line, and *all* that is wrong with a text is reported, not the first thing.

One thing is refused that ``ConfigParser`` takes: an indented ``[section]``, which it reads as part of the
value above.  Carbon fails on that in its rules files, in a less helpful way.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import NamedTuple

from carbonpy.errors import ConfigError

#: The section whose options all others inherit.
DEFAULT = "DEFAULT"
#: How deep ``%(name)s`` may lead to further ``%(name)s``, as in configparser.
MAX_DEPTH = 10

_HEADER = re.compile(r"\[(?P<name>.+)\](?P<rest>.*)")
_OPTION = re.compile(r"(?P<name>.*?)\s*(?:[=:]\s*(?P<value>.*))$")
_REFERENCE = re.compile(r"%\(([^)]+)\)s")


class Option(NamedTuple):
    """The value of one option and the line it stands in.  Immutable."""

    value: str
    line: int


class Section(NamedTuple):
    """One section: its name, the line of its header, its options by lower-case name.

    `options` holds what ``[DEFAULT]`` says where the section itself says nothing.  `trailing` is what
    stands behind the ``]``: ``ConfigParser`` ignores it, but carbon does not see such a section in its
    rules files at all, so that its values are left as written.  Not to be changed by its reader.
    """

    name: str
    line: int
    options: dict[str, Option]
    trailing: str = ""


def shown(text: str, limit: int = 120) -> str:
    """`text` as part of a one-line message: nothing that does not print, no more than `limit` characters."""
    flat = text if text.isprintable() else " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


def read_ini(text: str, filename: str, interpolate: bool = True) -> list[Section]:
    """The sections of `text` in their order, ``[DEFAULT]`` among them when the text has it.

    With `interpolate` false the values are as written, ``%`` and all.  Raises ConfigError whose message
    has one line for each problem, ``filename:line: what; what to do``.
    """
    reader = _Reader(filename)
    for number, line in enumerate(io.StringIO(text.removeprefix("\ufeff"), newline=None), start=1):
        reader.line(number, line)
    sections = reader.finished()
    problems = reader.problems
    if interpolate and not problems:
        sections = [s if s.trailing else _interpolated(s, filename, problems) for s in sections]
    if problems:
        raise ConfigError("\n".join(problems))
    return sections


class _Reader:
    """What has been read so far; one line after the other."""

    def __init__(self, filename: str) -> None:
        self.problems: list[str] = []
        self._filename = filename
        self._sections: dict[str, tuple[int, str, dict[str, tuple[list[str], int]]]] = {}
        self._options: dict[str, tuple[list[str], int]] | None = None
        self._section = ""
        self._value: list[str] | None = None
        self._indent = 0
        self._headless = False

    def _problem(self, number: int, sentence: str) -> None:
        self.problems.append(f"{self._filename}:{number}: {sentence}")

    def line(self, number: int, line: str) -> None:
        """Take in one line."""
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            return
        if not stripped:
            if self._value is not None:
                self._value.append("")
            return
        indent = len(line) - len(line.lstrip())
        if self._value is not None and indent > self._indent:
            if stripped.startswith("[") and stripped.endswith("]") and len(stripped) > 2:
                self._problem(
                    number,
                    f"{shown(stripped)} is indented and so would be part of the value above; "
                    "let sections begin at the start of a line",
                )
            self._value.append(stripped)
            return
        self._indent = indent
        header = _HEADER.match(stripped)
        if header:
            self._header(number, header["name"], header["rest"].strip())
        elif self._options is None:
            if not self._headless:
                self._headless = True
                self._problem(number, f"{shown(stripped)!r} stands before any [section]; put a [section] above it")
        else:
            self._option(number, stripped)

    def _header(self, number: int, name: str, trailing: str) -> None:
        self._section, self._value = name, None
        known = self._sections.get(name)
        if known is None:
            self._sections[name] = known = (number, trailing, {})
        elif name != DEFAULT:
            self._problem(
                number, f"section [{shown(name)}] is there already, in line {known[0]}; rename or join one of them"
            )
            known = (number, trailing, {})  # so that its options are not reported as duplicates, too
        elif not trailing:
            # Written once without anything behind it, carbon sees it.
            self._sections[name] = known = (known[0], "", known[2])
        self._options = known[2]

    def _option(self, number: int, stripped: str) -> None:
        assert self._options is not None
        option = _OPTION.match(stripped)
        if option is None or not option["name"]:
            self._problem(number, f"{shown(stripped)!r} is neither a [section] nor name = value; mend or remove it")
            return
        name = option["name"].rstrip().lower()
        self._value = [option["value"].strip()]
        if name in self._options:
            self._problem(
                number,
                f"[{shown(self._section)}] {shown(name)} is there already, in line {self._options[name][1]}; "
                "remove one of them",
            )
            return
        self._options[name] = (self._value, number)

    def finished(self) -> list[Section]:
        """The sections, each with what it inherits from ``[DEFAULT]``."""
        joined = {
            section: {name: Option("\n".join(lines).rstrip(), line) for name, (lines, line) in options.items()}
            for section, (_, _, options) in self._sections.items()
        }
        shared = joined.get(DEFAULT, {})
        return [
            Section(name, line, {**shared, **joined[name]}, trailing)
            for name, (line, trailing, _) in self._sections.items()
        ]


def _interpolated(section: Section, filename: str, problems: list[str]) -> Section:
    values = {name: option.value for name, option in section.options.items()}
    options = {}
    for name, option in section.options.items():
        try:
            options[name] = Option(substitute(option.value, values), option.line)
        except ConfigError as error:
            problems.append(
                f"{filename}:{option.line} [{shown(section.name)}] {shown(name)} = {shown(option.value)}: {error}"
            )
    return section._replace(options=options)


def substitute(value: str, values: Mapping[str, str], depth: int = 1) -> str:
    """`value` with ``%%`` as ``%`` and ``%(name)s`` as `values` has it, which may refer further.

    Raises ConfigError, a sentence without a place, as ``ConfigParser`` raises InterpolationError.
    """
    if "%" not in value:
        return value
    if depth > MAX_DEPTH:
        raise ConfigError(f"the %(name)s lead to each other more than {MAX_DEPTH} times; break the circle")
    parts = []
    rest = value
    while rest:
        before, percent, rest = rest.partition("%")
        parts.append(before)
        if not percent:
            break
        if rest.startswith("%"):
            parts.append("%")
            rest = rest[1:]
            continue
        reference = _REFERENCE.match("%" + rest)
        if reference is None:
            raise ConfigError("a single '%'; write '%%' for a percent sign, %(name)s for another option's value")
        name = reference[1].lower()
        if name not in values:
            raise ConfigError(
                f"%({shown(reference[1])})s is not an option of this section; define it above or write '%%'"
            )
        parts.append(substitute(values[name], values, depth + 1))
        rest = rest[reference.end() - 1 :]
    return "".join(parts)
