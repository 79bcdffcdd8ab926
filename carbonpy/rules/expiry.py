"""Rules of expiry: which metrics are to go after how long without a point.

The file is written as storage-schemas.conf is::

    [tests]
    pattern = ^test\\.
    after = 7d

    [billing]
    pattern = ^billing\\.
    after = never

    [all]
    pattern = .*
    after = 2y
    by = written

The law: the first section whose ``pattern`` is found anywhere in the name decides; a metric that none matches stays.
``after`` is a number with a unit (s, m, h, d, w, y) or ``never``.  ``by`` says what counts: ``points`` (the default),
the time of the newest point, or ``written``, when the file was last written to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from carbonpy.errors import ConfigError, RetentionError
from carbonpy.retention import parse_retention
from carbonpy.rules.ini import Section, read_ini, shown
from carbonpy.rules.pattern import compile_pattern

POINTS, WRITTEN = "points", "written"
NEVER = float("inf")


class ExpiryRule(NamedTuple):
    """One section.  `after`: seconds, NEVER for a metric that stays.  Immutable."""

    name: str
    regex: re.Pattern[str]
    after: float
    by: str


class ExpiryBook:
    """The rules in their order.  Immutable, safe from any thread."""

    def __init__(self, rules: Sequence[ExpiryRule]) -> None:
        self.rules = tuple(rules)

    @classmethod
    def parse(cls, text: str, filename: str) -> ExpiryBook:
        """The book that `text` is.  Raises ConfigError with a line for each problem."""
        problems: list[str] = []
        rules = [rule for section in read_ini(text, filename) if (rule := _rule(section, filename, problems))]
        if not rules and not problems:
            problems.append(f"{filename}: there is no section in it; add one with pattern and after")
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(rules)

    def match(self, metric: str) -> ExpiryRule | None:
        """The rule for a metric; None if it stays."""
        for rule in self.rules:
            if rule.regex.search(metric) is not None:
                return None if rule.after == NEVER else rule
        return None


def one_rule(pattern: str, after: str, by: str) -> ExpiryBook:
    """A book of one rule.  Raises ConfigError."""
    return ExpiryBook([ExpiryRule("", _pattern(pattern), age(after), by)])


def age(text: str) -> float:
    """Seconds of ``90d``, NEVER of ``never``.  Raises ConfigError."""
    if text.strip().lower() == "never":
        return NEVER
    try:
        return float(parse_retention(f"{text.strip()}:1").step)
    except RetentionError:
        raise ConfigError(f"{shown(text)!r} is no time like 12h, 90d, 2y or never") from None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return compile_pattern(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _rule(section: Section, filename: str, problems: list[str]) -> ExpiryRule | None:
    where = f"{filename}:{section.line} [{shown(section.name)}]"
    pattern, after, by = (section.options.get(key) for key in ("pattern", "after", "by"))
    before = len(problems)
    if section.trailing:
        problems.append(f"{where} has {shown(section.trailing)!r} behind the ']'; remove that")
    problems.extend(
        f"{filename}:{section.options[key].line} [{shown(section.name)}] {shown(key)}: there is no such option; use "
        "pattern, after and by"
        for key in section.options
        if key not in ("pattern", "after", "by")
    )
    if pattern is None or after is None:
        problems.append(f"{where} needs a pattern and after, like after = 90d")
    elif by is not None and by.value not in (POINTS, WRITTEN):
        problems.append(f"{filename}:{by.line} [{shown(section.name)}] by = {shown(by.value)}: use points or written")
    else:
        try:
            return (
                ExpiryRule(section.name, _pattern(pattern.value), age(after.value), POINTS if by is None else by.value)
                if len(problems) == before
                else None
            )
        except ConfigError as error:
            problems.append(f"{where} {error}")
    return None
