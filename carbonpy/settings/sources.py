"""Configuration files as blocks of entries, whatever language they are written in.

The law: a file whose name ends in ``.yaml`` or ``.yml`` is YAML, any other is an INI file like carbon.conf.
Both become the same blocks, in which every entry knows its line; all that is wrong with the text is one
ConfigError with a line for each problem.  Nothing here knows which settings exist.

carbon.conf has its blocks as sections: ``[cache]``, ``[cache:b]``, ``[web]``, ``[web:b]``.  YAML has
mappings ``cache:`` and ``web:``, and what is only for instance b below ``instances: {b: {cache: ...}}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import DEFAULT, Section, read_ini, shown, substitute
from carbonpy.settings.blocks import OTHER_PROGRAMS, Block, Entry, Source


def is_yaml(path: str) -> bool:
    """Whether the file of this name is read as YAML."""
    return path.lower().endswith((".yaml", ".yml"))


def read_source(text: str, path: str, sections: Iterable[str], places: Mapping[str, str]) -> Source:
    """The blocks of `sections` in the text of the file `path`.  Raises ConfigError.

    `places` (lower-case name to directory) is what ``%(STORAGE_DIR)s`` means in carbon.conf when the file
    itself does not say.
    """
    wanted = tuple(sections)
    if not is_yaml(path):
        return _from_ini(text, path, wanted, places)
    # Not before it is needed: a megabyte of memory that a daemon with carbon.conf does without.
    from carbonpy.settings.yaml_source import from_yaml

    return from_yaml(text, path, wanted)


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
        elif kind not in OTHER_PROGRAMS and section.name != DEFAULT:
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
