"""rewrite-rules.conf: what metrics are renamed to, before and after aggregation, as carbon reads it.

The law is carbon's (rewrite.py of carbon 1.1): sections ``[pre]`` and ``[post]`` in any case; rules ``regular
expression = replacement``, split at the first ``=``, blanks around both gone; lines that begin with ``#`` are comments.
Every rule of a section is applied to the name that the rules before it left, to all places where it is found, and
none ends the others.  Lines that are no rule or no regular expression, and rules in no section or another one, are
passed over with a warning.  So is one whose replacement names a group that is not there: carbon loses all points by it.

Unlike carbon, a changed file replaces all rules: a section that is gone is no longer in force.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from carbonpy.rules.ini import shown
from carbonpy.rules.pattern import compile_pattern

_SECTIONS = ("pre", "post")


@dataclass(frozen=True)
class RewriteRule:
    """One line: every place where `pattern` is found becomes `replacement` (as in ``re.sub``).  Immutable."""

    pattern: str
    replacement: str
    _regex: re.Pattern[str] = field(repr=False, compare=False)

    def apply(self, name: str) -> str:
        """The name that `name` becomes."""
        return self._regex.sub(self.replacement, name)


class RewriteRules:
    """The rules of both sections.  True when there are any.  Immutable, safe from any thread.

    `warnings` has a sentence ``file:line ...`` for each line that was passed over.
    """

    def __init__(
        self, pre: Sequence[RewriteRule] = (), post: Sequence[RewriteRule] = (), warnings: Sequence[str] = ()
    ) -> None:
        self.pre_rules = tuple(pre)
        self.post_rules = tuple(post)
        self.warnings = tuple(warnings)

    @classmethod
    def default(cls) -> RewriteRules:
        """The rules of an empty or missing file: none."""
        return cls()

    @classmethod
    def parse(cls, text: str, filename: str) -> RewriteRules:
        """The rules of `text`; never raises for what stands in it.  `filename` is for messages."""
        rules: dict[str, list[RewriteRule]] = {"pre": [], "post": []}
        begun: dict[str, int] = {}
        warnings: list[str] = []
        section = None
        for number, line in enumerate(io.StringIO(text.removeprefix("\ufeff"), newline=None), start=1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            where = f"{filename}:{number} {shown(line)}:"
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1].lower()
                if section not in _SECTIONS:
                    warnings.append(f"{where} its rules are not used; the sections are [pre] and [post]")
                elif section in begun:
                    warnings.append(f"{where} takes the place of line {begun[section]}; join the two sections")
                    rules[section].clear()
                begun[section] = number
                continue
            rule = _rule(line)
            if isinstance(rule, str):
                warnings.append(f"{where} {rule}; the line is passed over")
            elif section is None:
                warnings.append(f"{where} stands before any section and is not used; put [pre] or [post] above it")
            elif section in _SECTIONS:
                rules[section].append(rule)
        return cls(rules["pre"], rules["post"], warnings)

    def __bool__(self) -> bool:
        return bool(self.pre_rules or self.post_rules)

    def pre(self, name: str) -> str:
        """What a metric is called when it comes in, before it is aggregated."""
        for rule in self.pre_rules:
            name = rule.apply(name)
        return name

    def post(self, name: str) -> str:
        """What a metric is called when it goes on, after it was aggregated."""
        for rule in self.post_rules:
            name = rule.apply(name)
        return name


def _rule(line: str) -> RewriteRule | str:
    """The rule, or why there is none."""
    pattern, equals, replacement = line.partition("=")
    if not equals:
        return "neither a [section] nor expression = replacement"
    pattern, replacement = pattern.strip(), replacement.strip()
    try:
        regex = compile_pattern(pattern)
        regex.sub(replacement, "")
    except ValueError as error:
        return str(error)
    except (re.error, IndexError) as error:
        return f"the replacement cannot be used: {error}"
    return RewriteRule(pattern, replacement, regex)
