"""What configuration files are made of, whatever language they are written in.

The law: every entry knows its line.
"""

from __future__ import annotations

from typing import NamedTuple

#: Sections of programs, which share one file: what a program does not read is another one's.
OTHER_PROGRAMS = ("cache", "web", "relay", "aggregator", "aggregator-cache")


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
