"""Where points are sent: one receiver, as configurations write it.

The law: `parse_destination` and `str` are each other's inverse, and ports do not count for who somebody is: carbon
tells two destinations apart by host and instance only.  Hosts and instances are made of letters, digits and ``._:-``,
since rings hash them as Python writes them in quotes, and other characters would be written in other ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from carbonpy.errors import ConfigError

#: The host of a destination that is a file; its instance is the path.
FILE = "file"

_WORD = re.compile(r"[A-Za-z0-9._:-]+\Z", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}\Z", re.ASCII)


class Destination(NamedTuple):
    """A receiver: its host (a name or an address, an IPv6 address without brackets), its port, its instance.

    Immutable and ordered.  Written ``host:port`` or ``host:port:instance``, ``[v6]:port:instance``.  A file to which
    lines are appended is ``Destination("file", 0, path)``, written ``file:path``.
    """

    host: str
    port: int
    instance: str | None = None

    def __str__(self) -> str:
        if self.host == FILE and not self.port:
            return f"{FILE}:{self.instance}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.instance is None else f"{host}:{self.port}:{self.instance}"

    @property
    def node(self) -> tuple[str, str | None]:
        """Who it is on a ring."""
        return self.host, self.instance


def file_destination(path: str) -> Destination:
    """The file at `path`."""
    return Destination(FILE, 0, path)


def parse_destination(text: str) -> Destination:
    """The destination that `text` writes.  Raises ConfigError, a sentence without a place."""
    stripped = text.strip()
    if not stripped:
        raise ConfigError("an empty destination; write host:port or host:port:instance")
    if stripped.startswith("["):
        host, bracket, rest = stripped[1:].partition("]:")
        if not bracket:
            raise ConfigError(f"{stripped!r} has no ']:' behind the address; write [address]:port")
    else:
        host, colon, rest = stripped.partition(":")
        if not colon:
            raise ConfigError(f"{stripped!r} has no port; write host:port or host:port:instance")
    port, colon, instance = rest.partition(":")
    if not _PORT.match(port) or not 0 < int(port) < 65536:
        brackets = "; an IPv6 address stands in brackets" if stripped.count(":") > 2 else ""
        raise ConfigError(f"{port!r} in {stripped!r} is no port; write a number from 1 to 65535{brackets}")
    return Destination(checked_word(host, "host"), int(port), checked_word(instance, "instance") if colon else None)


def parse_destinations(texts: Iterable[str]) -> tuple[Destination, ...]:
    """The destinations of a list, in its order.  Raises ConfigError with a line for each that cannot be read."""
    destinations: list[Destination] = []
    problems: list[str] = []
    for text in texts:
        try:
            destinations.append(parse_destination(text))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(destinations)


def checked_word(word: str, what: str) -> str:
    """`word` as a host or an instance.  Raises ConfigError, a sentence without a place."""
    if not word:
        raise ConfigError(f"an empty {what}; write host:port or host:port:instance")
    if not _WORD.match(word):
        raise ConfigError(f"{what} {word!r} has other characters than letters, digits and . _ : -; rename it")
    return word
