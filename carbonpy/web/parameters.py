"""The parameters of a request: query string and form body as one ordered list of names and values.

The law: the query string comes first, the body second; a name may occur often, and where one value is
wanted the last counts, so the body wins (as in graphite-web).  A name without ``=`` is present with
an empty value.  Text is UTF-8, what is not is replaced.  Bodies are understood as
``application/x-www-form-urlencoded`` and ``multipart/form-data``; any other body is ignored.  Too many
parameters, or a form that cannot be read, is a QueryError.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

from carbonpy.errors import QueryError

_BOUNDARY = re.compile(r'boundary="?([^";,]{1,200})"?', re.IGNORECASE)
_PART_NAME = re.compile(rb'content-disposition\s*:[^\r\n]*?[;\s]name="([^"\r\n]*)"', re.IGNORECASE)
_FILE_PART = re.compile(rb"content-disposition\s*:[^\r\n]*?[;\s]filename\*?=", re.IGNORECASE)


class Parameters:
    """Names and values in the order they came.  Immutable."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> list[str]:
        """The names that occur, each once."""
        return list(self._values)

    def pairs(self) -> list[tuple[str, str]]:
        """Names and values, the values of one name in the order they came; `Parameters` makes the same of them."""
        return [(name, value) for name, values in self._values.items() for value in values]

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order; none if it is absent."""
        return list(self._values.get(name, ()))

    def last(self, name: str, default: str = "") -> str:
        """The value that counts when one is wanted."""
        values = self._values.get(name)
        return values[-1] if values else default

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number.  Raises QueryError naming the parameter."""
        text = self.last(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise QueryError(f"parameter {name} is {text[:60]!r}, not a whole number; write digits") from None

    def number(self, name: str, default: float) -> float:
        """A number.  Raises QueryError naming the parameter."""
        text = self.last(name, str(default))
        try:
            number = float(text)
            if not math.isfinite(number):
                raise ValueError
            return number
        except ValueError:
            raise QueryError(f"parameter {name} is {text[:60]!r}, not a number; write one as in 0.5") from None


def is_form(content_type: str) -> bool:
    """Whether a body of this Content-Type is a form, so that `parse` reads it."""
    return _kind(content_type) in ("application/x-www-form-urlencoded", "multipart/form-data")


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def parse(query: bytes, content_type: str, body: bytes, most: int) -> Parameters:
    """The parameters of a request with the query string `query` and a body of `content_type`.

    Raises QueryError when there are more than `most` or the form cannot be read.
    """
    pairs = _urlencoded(query, most)
    kind = _kind(content_type)
    if body and kind == "application/x-www-form-urlencoded":
        pairs += _urlencoded(body, most)
    elif body and kind == "multipart/form-data":
        pairs += _multipart(content_type, body, most)
    if len(pairs) > most:
        raise _too_many(most)
    return Parameters(pairs)


def _too_many(most: int) -> QueryError:
    return QueryError(f"more than {most} parameters; ask in several requests")


def _urlencoded(text: bytes, most: int) -> list[tuple[str, str]]:
    if text.count(b"&") >= 4 * most + 4:  # before any work is done on it
        raise _too_many(most)
    return parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")


def _multipart(content_type: str, body: bytes, most: int) -> list[tuple[str, str]]:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise QueryError("the multipart form has no boundary; name it in the Content-Type")
    delimiter = b"--" + found.group(1).strip().encode("utf-8", "replace")
    if body.count(delimiter) > most + 1:
        raise _too_many(most)
    parts = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise QueryError("the multipart form does not end with its boundary; send all of it")
    pairs = []
    for part in parts[1:-1]:
        head, blank, value = part.partition(b"\r\n\r\n")
        name = _PART_NAME.search(head)
        if blank and name is not None and _FILE_PART.search(head) is None:
            pairs.append((unquote(name.group(1).decode("utf-8", "replace")), value.decode("utf-8", "replace")))
    return pairs
