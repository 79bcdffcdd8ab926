"""storage-aggregation.conf: how a file's coarser archives are made from its finest.

The law is carbon's: the first section whose ``pattern`` is found anywhere in the name wins, whether or
not it says anything; what it leaves open, and names that no section matches, get an xFilesFactor of 0.5
and the method ``average``.  A section without a pattern, or whose xFilesFactor is not a number, is passed
over with a warning; an xFilesFactor outside 0 to 1 and an unknown method end carbon and are a ConfigError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import Section, read_ini, shown
from carbonpy.rules.pattern import compile_pattern

#: The methods of whisper files by their names in the order of their codes.
METHODS = ("average", "sum", "last", "max", "min", "avg_zero", "absmax", "absmin")
DEFAULT_XFF = 0.5
DEFAULT_METHOD = "average"


@dataclass(frozen=True)
class Aggregation:
    """The share of known slots that makes a coarser one (0 to 1), and how it is made.  Immutable."""

    xff: float = DEFAULT_XFF
    method: str = DEFAULT_METHOD


@dataclass(frozen=True)
class AggregationRule:
    """One section: names in which `pattern` is found get `aggregation`.  Immutable."""

    name: str
    pattern: str
    aggregation: Aggregation
    _regex: re.Pattern[str] = field(repr=False, compare=False)


class AggregationBook:
    """The rules of one file in their order.  Immutable, safe from any thread.

    `warnings` has a sentence ``file:line [section] ...`` for each section that was passed over.
    """

    def __init__(self, rules: Sequence[AggregationRule] = (), warnings: Sequence[str] = ()) -> None:
        self.rules = tuple(rules)
        self.warnings = tuple(warnings)
        self._otherwise = Aggregation()

    @classmethod
    def default(cls) -> AggregationBook:
        """The book of an empty file: 0.5 and average for every name."""
        return cls()

    @classmethod
    def parse(cls, text: str, filename: str) -> AggregationBook:
        """The book that `text` is.  Raises ConfigError with a line for each problem; `filename` is for messages."""
        rules: list[AggregationRule] = []
        warnings: list[str] = []
        problems: list[str] = []
        for section in read_ini(text, filename):
            rule = _rule(section, filename, warnings, problems)
            if rule is not None:
                rules.append(rule)
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(rules, warnings)

    def match(self, metric: str) -> Aggregation:
        """What a new file of `metric` gets."""
        for rule in self.rules:
            if rule._regex.search(metric) is not None:
                return rule.aggregation
        return self._otherwise


def _rule(section: Section, filename: str, warnings: list[str], problems: list[str]) -> AggregationRule | None:
    where = f"{filename}:{section.line} [{shown(section.name)}]"
    if section.trailing:
        warnings.append(
            f"{where} is passed over, as by carbon, because of {shown(section.trailing)!r} behind the ']'; remove that"
        )
        return None

    def at(name: str, spelling: str) -> str:
        option = section.options[name]
        return f"{filename}:{option.line} [{shown(section.name)}] {spelling} = {shown(option.value)}:"

    xff, method = DEFAULT_XFF, DEFAULT_METHOD
    said = len(problems)
    if "xfilesfactor" in section.options:
        try:
            xff = float(section.options["xfilesfactor"].value)
        except ValueError:
            warnings.append(
                f"{at('xfilesfactor', 'xFilesFactor')} not a number, so the section is passed over; write 0 to 1"
            )
            return None
        if not 0 <= xff <= 1:
            problems.append(f"{at('xfilesfactor', 'xFilesFactor')} outside of 0 to 1; write a share like 0.5")
    if "aggregationmethod" in section.options:
        method = section.options["aggregationmethod"].value
        if method not in METHODS:
            problems.append(f"{at('aggregationmethod', 'aggregationMethod')} unknown method; use {', '.join(METHODS)}")
    regex = None
    pattern = section.options.get("pattern")
    if pattern is not None and pattern.value:
        try:
            regex = compile_pattern(pattern.value)
        except ValueError as error:
            problems.append(f"{at('pattern', 'pattern')} {error}")
    if len(problems) > said:
        return None
    if pattern is None or regex is None:
        warnings.append(f"{where} is passed over: it has no pattern; add a line like pattern = \\.count$")
        return None
    return AggregationRule(section.name, pattern.value, Aggregation(xff, method), regex)
