"""POSIX extended regular expressions, as carbon-c-relay has them, in Python's syntax.

The law: what an expression matches in a metric's name stays what it is.  Classes like ``[[:alpha:]]`` are written out,
a backslash in brackets is itself, ``\\<`` and ``\\>`` are the ends of words.  Two things Python does otherwise, and for
them there are warnings: a repetition of a repetition, and ``\\d``.  And of several alternatives POSIX takes the
longest, Python the first: what groups hold may differ then, not whether something matches.
"""

from __future__ import annotations

import re

from carbonpy.errors import ConfigError

_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9A-Fa-f",
    "space": r"\s", "blank": r" \t", "punct": r"!-/:-@\[-`{-~", "print": " -~", "graph": "!-~",
    "cntrl": r"\x00-\x1f\x7f",
}  # fmt: skip
_CLASS = re.compile(r"\[:([a-z]+):\]")
_WORD_ENDS = {"<": r"\b(?=\w)", ">": r"\b(?<=\w)", "`": r"\A", "'": r"\Z"}
_TWICE = re.compile(r"(?<!\\)[*+?}][*+?]")


def python_syntax(expression: str) -> tuple[str, list[str]]:
    """The expression for ``re``, and warnings.  Raises ConfigError, a sentence without a place."""
    made: list[str] = []
    warnings: list[str] = []
    outside: list[str] = []
    at = 0
    while at < len(expression):
        character = expression[at]
        if character == "[":
            end, text = _brackets(expression, at)
            made.append(text)
            outside.append("x")
            at = end
        elif character == "\\" and at + 1 < len(expression):
            following = expression[at + 1]
            if following == "d":
                warnings.append(r"'\d' is a digit here, and for the C library the letter d; write [0-9]")
            made.append(_WORD_ENDS.get(following, "\\" + following))
            outside.append("\\" + following)
            at += 2
        else:
            made.append(character)
            outside.append(character)
            at += 1
    if _TWICE.search("".join(outside)):
        warnings.append(f"{expression!r} repeats a repetition, which Python reads in another way; write it with ( )")
    return "".join(made), warnings


def _brackets(expression: str, at: int) -> tuple[int, str]:
    """The end of the bracket expression that begins `at`, and what it is in Python."""
    made = ["["]
    start = at
    at += 1
    if expression[at : at + 1] == "^":
        made.append("^")
        at += 1
    first = at
    while at < len(expression):
        character = expression[at]
        if character == "]" and at > first:
            return at + 1, "".join(made) + "]"
        if character == "[" and expression[at + 1 : at + 2] in (".", "="):
            raise ConfigError(f"{expression[at:]!r}: collating elements are not understood; name the characters")
        named = _CLASS.match(expression, at)
        if named is not None:
            if named[1] not in _CLASSES:
                raise ConfigError(f"[:{named[1]}:] is no class of characters; there are {', '.join(_CLASSES)}")
            made.append(_CLASSES[named[1]])
            at = named.end()
            continue
        made.append("\\" + character if character in "\\[]" or (character == "^" and at == first) else character)
        at += 1
    raise ConfigError(f"{expression[start:]!r} has no closing ']'; add it")
