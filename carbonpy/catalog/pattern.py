"""The grammar of find patterns: text -> alternatives of per-node matchers.

The law.  A pattern is split at its dots into parts; each part matches exactly one node of a path:

    *       any run of characters, also none          [abc] [a-z] [!x]   one character (not) of a set
    ?       one character                             {a,b{c,d}}         any of the alternatives, also empty ones
    **      as a whole part (or alternative): any number of nodes, also none; at the end: everything below
    \\c      the character c itself, never special (a backslash before a dot is dropped)

``[^x]`` is not a negation but the set of ``^`` and ``x``, an unbalanced ``[`` is itself, braces that do not balance
make a pattern that matches nothing, and so does an empty part.  A dot inside braces is a dot of the path:
``a.{b.c,d}`` is ``a.b.c`` and ``a.d``.  Matching is case-sensitive.

Wildcards become SQLite ``GLOB`` expressions, so that the matching itself runs inside one SQLite step; what of a part
is literal up front becomes a range of the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from carbonpy.errors import QueryError

#: How many alternatives the braces of one pattern may stand for.
MAX_ALTERNATIVES = 20_000

#: Ranges that one part is looked up in; with more of them one wide range costs less.
MAX_RANGES = 8

_TWO_STARS = ["*", "*"]
_TOKEN = re.compile(r"\\.|[^\\]", re.DOTALL)


@dataclass(frozen=True)
class Literals:
    """A part that matches exactly these names, distinct and not empty."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """Names that start with `prefix` and satisfy one of the GLOB expressions `globs`, if there are any."""

    prefix: str
    globs: tuple[str, ...]


@dataclass(frozen=True)
class Glob:
    """A part that matches the names in one of the `ranges`, which do not overlap."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Globstar:
    """A part that matches any number of nodes."""


Part: TypeAlias = "Literals | Glob | Globstar"
STAR = Glob((Range("", ()),))
GLOBSTAR = Globstar()


def compile_pattern(pattern: str) -> tuple[tuple[Part, ...], ...]:
    """The alternatives that `pattern` stands for, each a sequence of parts; none if it cannot match any path.

    Raises QueryError when its braces stand for more than MAX_ALTERNATIVES.
    """
    tokens = ["." if token == "\\." else token for token in _TOKEN.findall(pattern)]
    choices: list[list[tuple[Part, ...]]] = []
    for segment in _split_outside_braces(tokens):
        variants = _expand(pattern, segment)
        if any("." in variant or variant == _TWO_STARS for variant in variants):
            chains = [[_part([piece]) for piece in _split(variant, ".")] for variant in variants]
        else:
            chains = [[_part(variants)]]
        choices.append([tuple(part for part in chain if part is not None) for chain in chains if None not in chain])
    total = 1
    for choice in choices:
        total *= len(choice)
        _limit(pattern, total)
    alternatives = ((*chain,) for chain in (sum(chosen, ()) for chosen in product(*choices)))
    return tuple(dict.fromkeys(_without_repeated_globstars(parts) for parts in alternatives))


def after(prefix: str) -> str | None:
    """The smallest string above every string that starts with `prefix`; None if there is no bound."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code <= 0x10FFFF:
            # Surrogates are not characters of UTF-8; the next one after U+D7FF is U+E000.
            return prefix[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
        prefix = prefix[:-1]
    return None


def _part(variants: Iterable[list[str]]) -> Part | None:
    """The part that matches what one of `variants`, which have no braces, matches; None if nothing does."""
    literals: list[str] = []
    globs: list[tuple[str, str]] = []
    for variant in variants:
        if variant == _TWO_STARS:
            return GLOBSTAR
        translated = _translate(variant)
        if not isinstance(translated, str):
            globs.append(translated)
        elif translated:
            literals.append(translated)
    if globs:
        return Glob(_ranges([*globs, *((name, quoted(name)) for name in literals)]))
    return Literals(tuple(dict.fromkeys(literals))) if literals else None


def _ranges(globs: Iterable[tuple[str, str]]) -> tuple[Range, ...]:
    """`globs`, pairs of literal prefix and GLOB expression, as ranges that do not overlap."""
    groups: list[tuple[str, dict[str, None]]] = []
    for prefix, glob in sorted(globs):
        if not groups or not prefix.startswith(groups[-1][0]):
            groups.append((prefix, {}))
        groups[-1][1][glob] = None
    if len(groups) > MAX_RANGES:
        merged = {glob: None for _, group in groups for glob in group}
        first, last = groups[0][0], groups[-1][0]
        shared = next((index for index, pair in enumerate(zip(first, last)) if pair[0] != pair[1]), len(first))
        groups = [(first[:shared], merged)]
    return tuple(Range(prefix, () if quoted(prefix) + "*" in group else tuple(group)) for prefix, group in groups)


def _split_outside_braces(tokens: Sequence[str]) -> list[list[str]]:
    """`tokens` split at the dots outside braces; one empty segment if the braces do not balance."""
    segments: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return [[]]
        if token == "." and not depth:
            segments.append([])
        else:
            segments[-1].append(token)
    return [[]] if depth else segments


def _split(tokens: Sequence[str], separator: str) -> list[list[str]]:
    pieces: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces


def _expand(pattern: str, tokens: list[str]) -> list[list[str]]:
    """All ways to choose from the braces of `tokens`, innermost first."""
    done: list[list[str]] = []
    waiting = [tokens]
    while waiting:
        variant = waiting.pop()
        if "}" not in variant:
            done.append(variant)
            continue
        end = variant.index("}")
        start = max(index for index in range(end) if variant[index] == "{")
        before, behind = variant[:start], variant[end + 1 :]
        options = _split(variant[start + 1 : end], ",")
        waiting += [before + option + behind for option in reversed(options)]
        _limit(pattern, len(waiting) + len(done))
    return done


def _limit(pattern: str, alternatives: int) -> None:
    if alternatives > MAX_ALTERNATIVES:
        raise QueryError(
            f"the braces of pattern {pattern[:60]!r} stand for more than {MAX_ALTERNATIVES} alternatives; use fewer"
        )


def _without_repeated_globstars(parts: Sequence[Part]) -> tuple[Part, ...]:
    previous = (None, *parts)
    return tuple(part for part, before in zip(parts, previous) if not part == before == GLOBSTAR)


def _translate(tokens: Sequence[str]) -> str | tuple[str, str]:
    """The name that `tokens`, which have no braces, mean; if they have wildcards, (literal prefix, GLOB expression)."""
    prefix: str | None = None
    literal = ""
    out: list[str] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if token in "*?":
            glob = token
            if token == "*" and out[-1:] == ["*"]:
                glob = ""
        elif token == "[" and (end := _class_end(tokens, index)):
            glob = _character_class(tokens[index:end])
            index = end + 1
        else:
            character = token[-1]
            literal += character
            out.append(quoted(character))
            continue
        if prefix is None:
            prefix = literal
        if glob:
            out.append(glob)
    return literal if prefix is None else (prefix, "".join(out))


def _class_end(tokens: Sequence[str], start: int) -> int:
    """Index of the ``]`` of the set whose ``[`` is before `start`; 0 if there is none."""
    index = start
    if tokens[index : index + 1] == ["!"]:
        index += 1
    if tokens[index : index + 1] == ["]"]:
        index += 1
    while index < len(tokens):
        if tokens[index] == "]":
            return index
        index += 1
    return 0


def _character_class(tokens: Sequence[str]) -> str:
    """GLOB's spelling of the set that `tokens`, the text between the brackets, mean to Python's fnmatch."""
    negated = tokens[0] == "!"
    members = tokens[1:] if negated else tokens
    ranges: list[tuple[int, int]] = []
    index = 0
    while index < len(members):
        low = high = ord(members[index][-1])
        if index + 2 < len(members) and members[index + 1] == "-":
            high = ord(members[index + 2][-1])
            index += 2
        index += 1
        ranges.append((low, high))
    singles: set[int] = set()
    spans: list[str] = []
    for low, high in ranges:
        # GLOB cannot have ], ^ or - at the end of a range: take them out of it one by one.
        while low <= high and low in _AWKWARD:
            singles.add(low)
            low += 1
        while low <= high and high in _AWKWARD:
            singles.add(high)
            high -= 1
        if low == high:
            singles.add(low)
        elif low < high:
            spans.append(f"{chr(low)}-{chr(high)}")
    if not singles and not spans:
        # An empty set ("[b-a]"): nothing is in it, everything outside.  No node has a dot.
        return "?" if negated else "[.]"
    first = "".join(character for character in "]-" if ord(character) in singles)
    plain = "".join(chr(code) for code in sorted(singles - _AWKWARD))
    caret = "^" if ord("^") in singles else ""
    if not negated and not (first or spans or plain):
        return "^"
    return f"[{'^' if negated else ''}{first}{''.join(spans)}{plain}{caret}]"


_AWKWARD = frozenset(map(ord, "]^-"))


def quoted(text: str) -> str:
    """The GLOB expression that matches exactly `text`."""
    return re.sub(r"[*?\[]", r"[\g<0>]", text)
