"""Configuration files as blocks of entries, whatever language they are written in.

The law: a file whose name ends in ``.yaml`` or ``.yml`` is YAML, any other is an INI file like carbon.conf.
Both become the same blocks, in which every entry knows its line; all that is wrong with the text is one
ConfigError with a line for each problem.  Nothing here knows which settings exist.

carbon.conf has its blocks as sections: ``[cache]``, ``[cache:b]``, ``[web]``, ``[web:b]``.  YAML has
mappings ``cache:`` and ``web:``, and what is only for instance b below ``instances: {b: {cache: ...}}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import DEFAULT, Section, read_ini, shown, substitute

#: Sections of programs, which share one file: what a program does not read is another one's.
_OTHER_PROGRAMS = ("cache", "web", "relay", "aggregator", "aggregator-cache")


class Entry(NamedTuple):
    """``NAME``, the value as the file has it, and where that is: ``file:line [section] name = value``."""

    name: str
    raw: object
    line: int
    place: str
    statement: str


class Block(NamedTuple):
    """The entries of one section for every instance (`instance` None) or for one."""

    section: str
    instance: str | None
    entries: tuple[Entry, ...]


class Source(NamedTuple):
    """All blocks of one file, and warnings about what is in none."""

    blocks: tuple[Block, ...]
    warnings: tuple[str, ...]

    @property
    def instances(self) -> tuple[str, ...]:
        """The instances that the file names, sorted."""
        return tuple(sorted({block.instance for block in self.blocks if block.instance is not None}))


def is_yaml(path: str) -> bool:
    """Whether the file of this name is read as YAML."""
    return path.lower().endswith((".yaml", ".yml"))


def read_source(text: str, path: str, sections: Iterable[str], places: Mapping[str, str]) -> Source:
    """The blocks of `sections` in the text of the file `path`.  Raises ConfigError.

    `places` (lower-case name to directory) is what ``%(STORAGE_DIR)s`` means in carbon.conf when the file
    itself does not say.
    """
    wanted = tuple(sections)
    return _from_yaml(text, path, wanted) if is_yaml(path) else _from_ini(text, path, wanted, places)


def _from_ini(text: str, path: str, wanted: tuple[str, ...], places: Mapping[str, str]) -> Source:
    sections = read_ini(text, path, interpolate=False)
    options = {section.name: {name: o.value for name, o in section.options.items()} for section in sections}
    blocks: list[Block] = []
    warnings: list[str] = []
    problems: list[str] = []
    for section in sections:
        kind, colon, instance = section.name.partition(":")
        if kind in wanted:
            values = {**places, **options.get(kind, {}), **options[section.name]}
            entries = tuple(_ini_entries(section, path, values, problems))
            blocks.append(Block(kind, instance if colon else None, entries))
        elif kind not in _OTHER_PROGRAMS and section.name != DEFAULT:
            warnings.append(
                f"{path}:{section.line} [{shown(section.name)}] is not read; the sections are "
                + " and ".join(f"[{name}] with [{name}:INSTANCE]" for name in wanted)
            )
    if problems:
        raise ConfigError("\n".join(problems))
    blocks.sort(key=lambda block: block.instance is not None)
    return Source(tuple(blocks), tuple(warnings))


def _ini_entries(section: Section, path: str, values: Mapping[str, str], problems: list[str]) -> Iterator[Entry]:
    for name, option in section.options.items():
        place = f"{path}:{option.line} [{shown(section.name)}]"
        statement = f"{shown(name.upper())} = {shown(option.value)}"
        try:
            value = substitute(option.value, values)
        except ConfigError as error:
            problems.append(f"{place} {statement}: {error}")
        else:
            yield Entry(name.upper(), value, option.line, place, statement)


def _from_yaml(text: str, path: str, wanted: tuple[str, ...]) -> Source:
    try:
        loader = yaml.SafeLoader(text.removeprefix("\ufeff"))
        reader = _Nodes(path, loader)
        blocks = tuple(_yaml_blocks(reader, loader.get_single_node(), wanted))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: not YAML: {shown(error.reason)}; remove the character") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(
            f"{path}:{line}: not YAML: {shown(str(error.problem or error.context))}; mend the line, "
            "and write values with a colon in quotes"
        ) from None
    except RecursionError:
        raise ConfigError(f"{path}:1: nested too deeply or in a circle; write the settings out") from None
    if reader.problems:
        raise ConfigError("\n".join(reader.problems))
    return Source(tuple(sorted(blocks, key=lambda block: block.instance is not None)), tuple(reader.warnings))


class _Nodes:
    """Reads mappings of a node graph, collecting what is wrong."""

    def __init__(self, path: str, loader: yaml.SafeLoader) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.path = path
        self._loader = loader

    def value(self, node: yaml.Node) -> Any:
        """The plain value of a node; text as it stands for what YAML cannot read as it is tagged."""
        try:
            return self._loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(node, yaml.ScalarNode):
                return node.value
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error

    def mapping(self, node: yaml.Node | None, where: str) -> list[tuple[str, int, yaml.Node]]:
        """(key, line, value node) of each pair; nothing for a node that is empty."""
        if node is None or (isinstance(node, yaml.ScalarNode) and self.value(node) is None):
            return []
        if not isinstance(node, yaml.MappingNode):
            self.problems.append(
                f"{self.path}:{node.start_mark.line + 1}: {where} must be a mapping of names to values; "
                "write name: value, one below the other"
            )
            return []
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in seen and key != "<<":
                self.problems.append(
                    f"{self.path}:{line}: {shown(key)} is there already, in line {seen[key]}; remove one of them"
                )
            seen.setdefault(key, line)
        self._loader.flatten_mapping(node)
        pairs = {self._key(key): (key.start_mark.line + 1, value) for key, value in node.value}
        return [(key, line, value) for key, (line, value) in pairs.items()]

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self.problems.append(f"{self.path}:{node.start_mark.line + 1}: a name must be a word; write name: value")
        return ""


def _yaml_blocks(reader: _Nodes, root: yaml.Node | None, wanted: tuple[str, ...]) -> Iterator[Block]:
    for key, line, node in reader.mapping(root, "the file"):
        if key == "instances":
            for instance, _, inner in reader.mapping(node, "instances"):
                for section, section_line, block in reader.mapping(inner, f"instances: {shown(instance)}"):
                    if section in wanted:
                        yield _yaml_block(reader, section, instance, block)
                    elif section not in _OTHER_PROGRAMS:
                        _not_read(reader, section, section_line, wanted)
        elif key in wanted:
            yield _yaml_block(reader, key, None, node)
        elif key not in _OTHER_PROGRAMS:
            _not_read(reader, key, line, (*wanted, "instances"))


def _not_read(reader: _Nodes, key: str, line: int, known: tuple[str, ...]) -> None:
    reader.warnings.append(f"{reader.path}:{line} {shown(key)}: is not read; what is read is {', '.join(known)}")


def _yaml_block(reader: _Nodes, section: str, instance: str | None, node: yaml.Node) -> Block:
    title = section if instance is None else f"{section}:{instance}"
    entries: dict[str, Entry] = {}
    for key, line, value_node in reader.mapping(node, f"{shown(title)}:"):
        name, raw = key.upper(), reader.value(value_node)
        if name in entries:
            reader.problems.append(
                f"{reader.path}:{line}: {shown(key)} is there already, in line {entries[name].line}; remove one"
            )
            continue
        entries[name] = Entry(
            name, raw, line, f"{reader.path}:{line} [{shown(title)}]", f"{shown(key)} = {shown(str(raw))}"
        )
    return Block(section, instance, tuple(entries.values()))
