"""A target as a tree.  Every node is immutable and knows the text it came from.

The law: the tree says what was written and nothing of what it means; pipes are calls already
(``a|scale(2)`` is ``scale(a,2)``).  `start` and `end` are positions in the target's text.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Path:
    """A path expression.  text: as it is looked up, escapes taken away.  typed: as it was written."""

    text: str
    typed: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Literal:
    """A plain value: a number, a text, True, False, None or infinity.  typed: as it was written."""

    value: int | float | str | bool | None
    typed: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Call:
    """The use of a function.  named: keyword arguments in the order they were written."""

    name: str
    arguments: tuple[Expression, ...]
    named: tuple[tuple[str, Expression], ...] = ()
    typed: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Template:
    """``template(body, ...)``: the body with values for its variables, by position ("1", "2" ...) or by name."""

    body: Expression
    values: tuple[tuple[str, int | float | str], ...] = field(default=())
    typed: str = ""
    start: int = 0
    end: int = 0


Expression = Path | Literal | Call | Template
