"""relay-rules.conf: which destinations get which names, as carbon reads it.

The law is carbon's (relayrules.py of carbon 1.1): sections in the order of the file, each with ``destinations`` and
either a ``pattern`` (found anywhere in the name, whatever the case of its letters) or ``default = true``.  The first
pattern that is found decides, unless its section says ``continue = true``; then those below are tried as well.  The one
default stands behind all others, whatever its place, and is also what a ``continue`` goes on to.  Where carbon would
not start there is a ConfigError with a line for each problem; sections that it passes over are warnings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import Destination, parse_destination
from carbonpy.rules.ini import DEFAULT, Option, Section, read_ini, shown
from carbonpy.rules.pattern import compile_pattern

#: Patterns that are found in every name.
_EVERYTHING = ("", ".*", "^.*", "^.*$", ".*$", "^", "$", ".", ".+")
_BOOLEANS = {
    **dict.fromkeys(("1", "yes", "true", "on"), True),
    **dict.fromkeys(("0", "no", "false", "off"), False),
}


@dataclass(frozen=True)
class RelayRule:
    """One section: names in which `pattern` is found go to `destinations`; None is the default.  Immutable."""

    name: str
    pattern: str | None
    destinations: tuple[Destination, ...]
    proceeds: bool
    line: int
    _regex: re.Pattern[str] | None = field(repr=False, compare=False)

    def matches(self, name: str) -> bool:
        """Whether the rule is for `name`."""
        return self._regex is None or self._regex.search(name) is not None


class RelayRules:
    """The rules of one file, the default last.  Immutable, safe from any thread.

    `warnings` has a sentence ``file:line [section] ...`` for each section that was passed over.
    """

    def __init__(self, rules: Sequence[RelayRule], warnings: Sequence[str] = ()) -> None:
        self.rules = tuple(rules)
        self.warnings = tuple(warnings)

    @classmethod
    def default(cls) -> RelayRules:
        """No rules: what stands for a file that is not there."""
        return cls(())

    @classmethod
    def parse(cls, text: str, filename: str) -> RelayRules:
        """The rules of `text`.  Raises ConfigError with a line for each problem; `filename` is for messages."""
        reader = _Reader(filename)
        for section in read_ini(text, filename):
            if section.name != DEFAULT:
                reader.section(section)
        return cls(reader.finished(), reader.warnings)

    def matching(self, name: str) -> list[RelayRule]:
        """The rules that have a say about `name`, in their order; there always is one, if there are rules at all."""
        found = []
        for rule in self.rules:
            if rule.matches(name):
                found.append(rule)
                if not rule.proceeds:
                    break
        return found


class _Reader:
    """What has been read so far; one section after the other."""

    def __init__(self, filename: str) -> None:
        self.warnings: list[str] = []
        self._filename = filename
        self._problems: list[str] = []
        self._rules: list[RelayRule] = []
        self._default: RelayRule | None = None

    def _at(self, section: Section, option: Option | None = None, name: str = "") -> str:
        line = section.line if option is None else option.line
        value = "" if option is None else f" {name} = {shown(option.value)}"
        return f"{self._filename}:{line} [{shown(section.name)}]{value}"

    def section(self, section: Section) -> None:
        """Take in one section."""
        if section.trailing:
            self.warnings.append(
                f"{self._at(section)} is passed over, as by carbon, because of {shown(section.trailing)!r} behind the "
                "']'; remove that"
            )
            return
        pattern, default = section.options.get("pattern"), section.options.get("default")
        destinations = self._destinations(section)
        if pattern is not None and default is not None:
            self._problems.append(
                f"{self._at(section, default, 'default')}: there is a pattern, too, in line {pattern.line}; "
                "keep one of them"
            )
        elif pattern is not None:
            try:
                regex = re.compile(compile_pattern(pattern.value).pattern, re.IGNORECASE)
            except ValueError as error:
                self._problems.append(f"{self._at(section, pattern, 'pattern')}: {error}")
                return
            proceeds = self._flag(section, "continue")
            self._rules.append(RelayRule(section.name, pattern.value, destinations, proceeds, section.line, regex))
        elif default is not None and self._flag(section, "default"):
            if self._default is not None:
                self._problems.append(
                    f"{self._at(section)} is a second default; there is one already in line {self._default.line}"
                )
            else:
                self._default = RelayRule(section.name, None, destinations, False, section.line, None)
        else:
            self.warnings.append(
                f"{self._at(section)} is passed over: it has no pattern and is not the default; add pattern = ..."
            )

    def _destinations(self, section: Section) -> tuple[Destination, ...]:
        option = section.options.get("destinations")
        if option is None:
            self._problems.append(f"{self._at(section)} has no destinations; add destinations = host:port, ...")
            return ()
        destinations = []
        for text in option.value.split(","):
            try:
                destinations.append(parse_destination(text))
            except ConfigError as error:
                self._problems.append(f"{self._at(section, option, 'destinations')}: {error}")
        return tuple(destinations)

    def _flag(self, section: Section, name: str) -> bool:
        option = section.options.get(name)
        if option is None:
            return False
        value = _BOOLEANS.get(option.value.lower())
        if value is None:
            self._problems.append(f"{self._at(section, option, name)}: neither yes nor no; write true or false")
            return False
        return value

    def finished(self) -> list[RelayRule]:
        """All rules, the default last.  Raises ConfigError for all that is wrong."""
        if self._default is None and not self._problems:
            self._problems.append(f"{self._filename}:1: there is no default; add a section with default = true")
        if self._problems or self._default is None:
            raise ConfigError("\n".join(self._problems))
        rules = [*self._rules, self._default]
        for number, rule in enumerate(rules):
            if rule.pattern in _EVERYTHING and not rule.proceeds:
                # A default has to be there, even where nothing is left for it.
                self.warnings.extend(
                    f"{self._filename}:{unseen.line} [{shown(unseen.name)}] is never reached: [{shown(rule.name)}] in "
                    f"line {rule.line} takes everything; add continue = true there, or remove one of them"
                    for unseen in rules[number + 1 : -1]
                )
                break
        return rules
