"""Answers as values: status, type, headers and body, made by code that knows nothing of Twisted.

The law: an Answer is complete when it is made.  Errors are short sentences in text/plain, so nothing
that a client sent can become markup; what is not finite never reaches a JSON document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from carbonpy.errors import QueryError
from carbonpy.web.parameters import Parameters

Headers = tuple[tuple[str, str], ...]

TEXT = "text/plain; charset=utf-8"
#: What find, expand and the like say about caching.
UNCACHED: Headers = (("Pragma", "no-cache"), ("Cache-Control", "no-cache"))

_CALLBACK = re.compile(r"[A-Za-z_$][\w$.\[\]]{0,199}\Z", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """What goes back to the client.  `chunks` joined are the body."""

    chunks: Sequence[bytes]
    content_type: str = TEXT
    status: int = 200
    headers: Headers = ()

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)


@dataclass(frozen=True)
class Query:
    """A request as the handlers see it.

    path: without trailing slash.  accept: the Accept header, None if there is none.
    check: called with a number of points from time to time; raises to end the work.
    """

    path: str
    parameters: Parameters = field(default_factory=Parameters)
    accept: str | None = None
    check: Callable[[int], None] = lambda points: None


def sentence(text: str, status: int = 200, headers: Headers = ()) -> Answer:
    """A line of plain text."""
    return Answer([text.encode("utf-8", "replace") + b"\n"], TEXT, status, headers)


def json_answer(query: Query, data: Any, headers: Headers = UNCACHED) -> Answer:
    """`data` as graphite-web's find and expand write it: pretty, jsonp, and ASCII unless Accept says otherwise."""
    ascii_only = query.accept is None or query.accept == "application/json"
    text = json.dumps(data, ensure_ascii=ascii_only, indent=2 if query.parameters.last("pretty") else None)
    callback = jsonp(query.parameters)
    content_type = "text/javascript" if callback else "application/json"
    if not ascii_only:
        content_type += ";charset=utf-8"
    if callback:
        text = f"{callback}({text})"
    return Answer([text.encode("utf-8", "replace")], content_type, headers=headers)


def jsonp(parameters: Parameters) -> str:
    """The name of the function to call, "" for none.  Raises QueryError for what is not a name."""
    callback = parameters.last("jsonp")
    if callback and not _CALLBACK.match(callback):
        raise QueryError(f"jsonp is {callback[:60]!r}, which is not the name of a function; use letters, digits, _ $ .")
    return callback


def caching(seconds: int, now: float) -> Headers:
    """Headers that let a client keep an answer for so many seconds; 0 forbids it."""
    if seconds <= 0:
        return (
            ("Expires", formatdate(now, usegmt=True)),
            ("Cache-Control", "max-age=0, no-cache, no-store, must-revalidate, private"),
        )
    return (("Expires", formatdate(now + seconds, usegmt=True)), ("Cache-Control", f"max-age={seconds}"))
