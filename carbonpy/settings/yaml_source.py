"""Configuration files in YAML, read with its safe loader.

The law: that of `carbonpy.settings.sources`.  This is a module of its own, since reading carbon.conf needs no YAML.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import shown
from carbonpy.settings.blocks import OTHER_PROGRAMS, Block, Entry, Source


def from_yaml(text: str, path: str, wanted: tuple[str, ...]) -> Source:
    """The blocks of the `wanted` sections.  Raises ConfigError."""
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
                    elif section not in OTHER_PROGRAMS:
                        _not_read(reader, section, section_line, wanted)
        elif key in wanted:
            yield _yaml_block(reader, key, None, node)
        elif key not in OTHER_PROGRAMS:
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
