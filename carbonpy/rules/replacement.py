r"""What a matched name becomes: the replacement language of carbon-c-relay, and that of Python.

The law: text stands for itself, ``\1`` for what the first group matched (nothing if it took no part).  Between the
backslash and the number ``_`` makes ASCII letters small, ``^`` makes them large, and ``.``, also behind these, turns
dots into ``_``: ``\_1``, ``\^1``, ``\.1``, ``\_.1``, ``\^.1``.  Where a digit follows, ``\1`` is ``\g{1}``.  Python's
``\g<1>`` and ``\g<name>`` may be written as well, with these marks, too: ``\_g<name>``.  ``\\`` is one backslash.  A
reference that can never give anything is a ConfigError; carbon-c-relay leaves it out in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase

from carbonpy.errors import ConfigError

_REFERENCE = re.compile(
    r"\\(?:(?P<backslash>\\)|(?P<case>[_^]?)(?P<dots>\.?)"
    r"(?:(?P<number>[0-9]+)|g\{(?P<braced>[0-9]+)\}|g<(?P<named>[A-Za-z0-9_]+)>))"
)
_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)
_LARGE = str.maketrans(ascii_lowercase, ascii_uppercase)


@dataclass(frozen=True)
class Replacement:
    """A template, read for one expression.  Immutable.

    `parts` are texts and references (group, case, whether dots go).
    """

    template: str
    parts: tuple[str | tuple[int | str, str, bool], ...] = field(repr=False, compare=False)

    @property
    def refers(self) -> bool:
        """Whether there is any reference in it."""
        return any(not isinstance(part, str) for part in self.parts)

    def expand(self, found: re.Match[str]) -> str:
        """What stands in place of the match."""
        made = []
        for part in self.parts:
            if isinstance(part, str):
                made.append(part)
                continue
            group, case, dots = part
            text = found[group] or ""
            if case:
                text = text.translate(_SMALL if case == "_" else _LARGE)
            made.append(text.replace(".", "_") if dots else text)
        return "".join(made)

    def applied(self, found: re.Match[str]) -> str:
        """The text that was searched, with the match replaced and the rest as it was."""
        return found.string[: found.start()] + self.expand(found) + found.string[found.end() :]


def read_replacement(template: str, regex: re.Pattern[str]) -> Replacement:
    """The `template` for matches of `regex`.  Raises ConfigError, a sentence without a place."""
    parts: list[str | tuple[int | str, str, bool]] = []
    at = 0
    while at < len(template):
        backslash = template.find("\\", at)
        if backslash < 0:
            parts.append(template[at:])
            break
        if backslash > at:
            parts.append(template[at:backslash])
        reference = _REFERENCE.match(template, backslash)
        if reference is None:
            raise ConfigError(
                f"{template[backslash : backslash + 3]!r} is no reference; write \\1, \\_1 (lower case), \\^1 (upper "
                "case), \\.1 (dots become _), \\g<name> or \\\\"
            )
        at = reference.end()
        if reference["backslash"]:
            parts.append("\\")
            continue
        group: int | str = reference["named"] or int(reference["number"] or reference["braced"])
        if isinstance(group, str) and group.isdigit():
            group = int(group)
        if group not in regex.groupindex and not (isinstance(group, int) and group <= regex.groups):
            have = f"has {regex.groups} groups" if regex.groups else "has no groups; put what you need in ( )"
            raise ConfigError(f"{reference[0]!r} is no group of {regex.pattern!r}, which {have}")
        parts.append((group, reference["case"], bool(reference["dots"])))
    return Replacement(template, tuple(parts))
