"""Tag expressions: ``dc=dc1``, ``host=~web-.*`` and the call ``seriesByTag(...)`` that is made of them.

The law: an expression is a tag, one of the operators ``=``, ``!=``, ``=~``, ``!=~``, and a value.  A regular expression
is anchored at its start only.  An expression that accepts the empty string accepts series without the tag, since a
missing tag counts as empty; the name of a series is its tag ``name``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from carbonpy.errors import QueryError

#: Longest regular expression that a client may send.
MAX_REGEX = 4096
#: Expressions in one question.
MAX_EXPRESSIONS = 100

_SPEC = re.compile(r"([^;!=]+)(!?=~?)([^;]*)\Z")
_CALL = re.compile(r"\s*seriesByTag\s*\((.*)\)\s*\Z", re.DOTALL)
_ARGUMENT = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^'",()]+))\s*(?:,|\Z)""", re.DOTALL)


class TagSpec(NamedTuple):
    """One tag expression.  Immutable.  `regex` is None for ``=`` and ``!=``."""

    tag: str
    operator: str
    value: str
    regex: re.Pattern[str] | None

    @property
    def negated(self) -> bool:
        """Whether values that `value` describes are left out."""
        return self.operator[0] == "!"

    def describes(self, value: str) -> bool:
        """Whether `value` is what stands behind the operator, be it asked for or left out."""
        return value == self.value if self.regex is None else self.regex.match(value) is not None

    def accepts(self, value: str) -> bool:
        """Whether a series whose tag has this value ("" for no such tag) may be in the answer."""
        return self.describes(value) is not self.negated

    @property
    def accepts_empty(self) -> bool:
        """Whether series without the tag are in the answer."""
        return self.accepts("")


def parse_spec(text: str) -> TagSpec:
    """The expression that `text` is.  Raises QueryError."""
    match = _SPEC.match(text)
    if match is None:
        raise QueryError(f"Invalid tagspec {text[:200]}")
    tag, operator, value = match.groups()
    return TagSpec(tag, operator, value, anchored(value) if operator.endswith("~") else None)


def parse_specs(texts: Iterable[str]) -> list[TagSpec]:
    """The distinct expressions of one question.  Raises QueryError, also when none excludes the empty string."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        raise QueryError("no tag expressions specified")
    if len(distinct) > MAX_EXPRESSIONS:
        raise QueryError(f"{len(distinct)} tag expressions in one question; ask for at most {MAX_EXPRESSIONS}")
    specs = [parse_spec(text) for text in distinct]
    if all(spec.accepts_empty for spec in specs):
        raise QueryError("At least one tagspec must not match the empty string")
    return specs


def anchored(regex: str) -> re.Pattern[str]:
    """The pattern whose `match` anchors `regex` at the start only.  Raises QueryError."""
    if len(regex) > MAX_REGEX:
        raise QueryError(f"regular expression {regex[:60]!r}... is longer than {MAX_REGEX} characters; shorten it")
    try:
        return re.compile(regex)
    except (re.error, RecursionError, OverflowError) as error:
        raise QueryError(f"{regex[:200]!r} is not a regular expression: {error}; mend it") from None


def literal_prefix(regex: str) -> str:
    """Text that everything matching `regex` starts with; "" when that is not plain to see."""
    plain = regex.removeprefix("^")
    if "|" in plain or "(?" in plain:
        return ""
    match = re.match(r"(?:[\w\-/@:%,=~ ]|\\[.\-/])*", plain)
    text = match.group() if match else ""
    if text and plain[len(text) : len(text) + 1] in ("*", "?", "{"):
        text = text[: -2 if text[-2:-1] == "\\" else -1]
    return text.replace("\\", "")


def is_series_by_tag(path: str) -> bool:
    """Whether a path is a call of seriesByTag."""
    return path.lstrip().startswith("seriesByTag") and _CALL.match(path) is not None


def parse_series_by_tag(text: str) -> list[str]:
    """The tag expressions in ``seriesByTag('a=b', "c=~d")``.  Raises QueryError.

    Strings keep their backslashes, as regular expressions need them; a backslash before a quote is dropped.  What is
    not a string is left out, as by graphite-web.
    """
    match = _CALL.match(text)
    if match is None:
        raise QueryError(f"{text[:200]!r} is not a call of seriesByTag; write seriesByTag('tag=value', ...)")
    inside = match.group(1)
    found: list[str] = []
    position = 0
    while position < len(inside):
        argument = _ARGUMENT.match(inside, position)
        if argument is None:
            if not inside[position:].strip():
                break
            raise QueryError(
                f"cannot read the arguments of {text[:200]!r} from {inside[position:][:40]!r} on; "
                "write strings in quotes with commas between them"
            )
        double, single, _ = argument.groups()
        if double is not None:
            found.append(double.replace('\\"', '"'))
        elif single is not None:
            found.append(single.replace("\\'", "'"))
        position = argument.end()
    return found


def described(specs: Sequence[TagSpec]) -> str:
    """The expressions as a sentence part, for messages."""
    return ", ".join(f"{spec.tag}{spec.operator}{spec.value}" for spec in specs)[:200]
