"""One part of a pattern against sorted names in memory.

The law: `Matcher` takes exactly the names that SQLite takes for the same `Part` (see `carbonpy.catalog.pattern`): the
names of a set, or those in one of the ranges of its index that satisfy one of the GLOB expressions of the range.

The time for a name is bounded: where a GLOB has several ``*``, the text behind each is looked for once, from left to
right, and never again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from carbonpy.catalog.pattern import Glob, Literals, Range, after

#: GLOB expressions of one part that are matched here; more would take longer to compile than SQLite takes.
MOST_GLOBS = 500

#: Whether a name is wanted; None for all.
Wanted = Callable[[str], object] | None
_PLAIN = re.compile(r"[^*?\[]*\Z", re.DOTALL)
_SET = re.compile(r"\[(\^?)(\]?[^\]]*)\]", re.DOTALL)


class Matcher:
    """Which of some sorted names a part, which is no globstar, takes.  Immutable."""

    __slots__ = ("_names", "_ranges")

    def __init__(self, part: Literals | Glob) -> None:
        self._names = sorted(part.names) if isinstance(part, Literals) else None
        self._ranges: list[tuple[str, str | None, Wanted]] = []
        if isinstance(part, Glob):
            self._ranges = [(one.prefix, after(one.prefix), _wanted(one)) for one in part.ranges]

    def positions(self, names: Sequence[str]) -> Iterable[int]:
        """The positions of those of the sorted `names` that are taken, ascending."""
        if self._names is not None:
            places = ((bisect_left(names, name), name) for name in self._names)
            return [place for place, name in places if place < len(names) and names[place] == name]
        taken: list[int] = []
        for prefix, upper, wanted in self._ranges:
            low = bisect_left(names, prefix) if prefix else 0
            high = len(names) if upper is None else bisect_left(names, upper, low)
            if wanted is None:
                if high - low == len(names):
                    return range(len(names))
                taken += range(low, high)
            else:
                taken += [place for place in range(low, high) if wanted(names[place])]
        return taken


def is_cheap(part: object) -> bool:
    """Whether a part may be matched here."""
    return not isinstance(part, Glob) or sum(len(one.globs) for one in part.ranges) <= MOST_GLOBS


def _wanted(one: Range) -> Wanted:
    """What tells the names with the prefix of a range that satisfy one of its GLOB expressions."""
    if not one.globs:
        return None
    if len(one.globs) == 1 and one.globs[0][:1] == "*" and _PLAIN.match(one.globs[0], 1):
        # Frequent, and to compile an expression takes longer than to look at a hundred names.
        return partial(_ends_with, one.globs[0][1:])
    return re.compile("|".join(expressions(one.globs)), re.DOTALL).fullmatch


def _ends_with(end: str, name: str) -> bool:
    return name.endswith(end)


def expressions(globs: Iterable[str]) -> list[str]:
    """Regular expressions that match as a whole what the GLOB expressions match."""
    made: list[str] = []
    groups = 0
    for glob in globs:
        pieces = [""]
        place = 0
        while place < len(glob):
            character = glob[place]
            found = _SET.match(glob, place) if character == "[" else None
            place = found.end() if found else place + 1
            if found:
                pieces[-1] += _set(found.group(2), bool(found.group(1)))
            elif character == "*":
                pieces.append("")
            else:
                pieces[-1] += "." if character == "?" else re.escape(character)
        first, *middle = pieces
        if not middle:
            made.append(first)
            continue
        last = middle.pop()
        text = first
        for piece in middle:
            # What the nearest match leaves is more than any other leaves, so there is no need to come back.
            text += f"(?=(?P<g{groups}>.*?{piece}))(?P=g{groups})"
            groups += 1
        made.append(f"{text}.*{last}")
    return made


def _set(members: str, negated: bool) -> str:
    """A set of GLOB, of which a ``]`` at the start and a ``-`` without two neighbours are members."""
    text = ""
    place = 0
    ranged = True
    while place < len(members):
        character = members[place]
        if not ranged and character == "-" and place + 1 < len(members):
            text += "-" + re.escape(members[place + 1])
            place += 2
            ranged = True
        else:
            text += re.escape(character)
            ranged = place == 0 and character == "]"
            place += 1
    return f"[{'^' if negated else ''}{text}]"
