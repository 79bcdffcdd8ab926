"""whitelist.conf and blacklist.conf: which names are let in.

The law is carbon's: one regular expression a line, found anywhere in the raw name; a line whose very first
character is ``#`` is a comment, blank lines are nothing, blanks around an expression do not count.  A line
that is no regular expression is a problem of the book and is passed over.  What an empty book means is for
its user to say: as whitelist everything passes, as blacklist nothing is refused.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from carbonpy.rules.ini import shown
from carbonpy.rules.pattern import compile_pattern


class FilterBook:
    """The expressions of one list.  True when it has any.  Immutable, safe from any thread.

    `problems` (also as `warnings`) has a sentence ``file:line ...`` for each line that was passed over.
    """

    def __init__(self, patterns: Sequence[str] = (), problems: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self.problems = tuple(problems)
        self._searches = tuple(compile_pattern(pattern).search for pattern in patterns)

    @classmethod
    def default(cls) -> FilterBook:
        """The book of an empty or missing file."""
        return cls()

    @classmethod
    def parse(cls, text: str, filename: str) -> FilterBook:
        """The book that `text` is; never raises for what stands in it.  `filename` is for messages."""
        patterns: list[str] = []
        problems: list[str] = []
        for number, line in enumerate(io.StringIO(text.removeprefix("\ufeff"), newline=None), start=1):
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            try:
                compile_pattern(pattern)
            except ValueError as error:
                problems.append(f"{filename}:{number} {shown(pattern)}: {error}; the line is passed over")
            else:
                patterns.append(pattern)
        return cls(patterns, problems)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The same as `problems`: the word that all books share."""
        return self.problems

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FilterBook) and other.patterns == self.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def matches(self, name: str) -> bool:
        """Whether any expression is found in `name`."""
        return any(search(name) is not None for search in self._searches)
