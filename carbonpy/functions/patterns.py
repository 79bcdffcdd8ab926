r"""Regular expressions that clients write: for names of series, in Python's syntax, as graphite-web has it.

The law: whatever the client wrote, the result is a name of bounded length or a QueryError that quotes the
pattern.  Back references in replacements are Python's, ``\1`` and ``\g<1>``.  How long a pattern may search
is not bounded here: one that runs away ends with the process that works for the request.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from carbonpy.errors import QueryError

#: Longest pattern and longest replacement, in characters.
MOST_CHARACTERS = 2000
#: Characters that a replacement may add to a name.
MOST_ADDED = 65_536


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern ready for searching.  Raises QueryError if it is too long or no regular expression."""
    if len(pattern) > MOST_CHARACTERS:
        raise QueryError(
            f"the regular expression has {len(pattern)} characters; write one with at most {MOST_CHARACTERS}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as one about [[, which clients are free to write
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise QueryError(
            f"{pattern[:80]!r} is no regular expression: {error}; escape characters that mean themselves with \\"
        ) from None


def replacer(pattern: str, replacement: str) -> Callable[[str], str]:
    """A function of a name that gives the name with every match of `pattern` replaced.

    Raises QueryError for a bad pattern at once, for a bad replacement when something matches.
    """
    search = compiled(pattern)
    if len(replacement) > MOST_CHARACTERS:
        raise QueryError(f"the replacement has {len(replacement)} characters; write at most {MOST_CHARACTERS}")

    def replaced(name: str) -> str:
        left = MOST_ADDED + len(name)

        def expanded(match: re.Match[str]) -> str:
            nonlocal left
            text = match.expand(replacement)
            left -= len(text)
            if left < 0:
                raise QueryError(f"the replacement makes a name longer than {MOST_ADDED} characters; shorten it")
            return text

        try:
            return search.sub(expanded, name)
        except (re.error, IndexError) as error:
            raise QueryError(
                f"the replacement {replacement[:80]!r} does not fit the pattern: {error}; refer to its groups as \\1"
            ) from None

    return replaced
