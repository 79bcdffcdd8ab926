"""Questions and answers as values, made by code that knows nothing of Twisted.

The law: a Query holds all that an answer depends on and an Answer is complete when it is made; both
are plain values that can be pickled, so the work between them can be done in any thread or process.
The exception are large answers for those who ask for them so: their end is made while their beginning is sent.
Errors are short sentences in text/plain, so nothing that a client sent can become markup; what is
not finite never reaches a JSON document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, NamedTuple, Protocol

from carbonpy.errors import QueryError
from carbonpy.web.parameters import Parameters

Headers = tuple[tuple[str, str], ...]
#: A part of a body.
Blob = bytes | memoryview

TEXT = "text/plain; charset=utf-8"
#: What find, expand and the like say about caching.
UNCACHED: Headers = (("Pragma", "no-cache"), ("Cache-Control", "no-cache"))

_CALLBACK = re.compile(r"[A-Za-z_$][\w$.\[\]]{0,199}\Z", re.ASCII)


class Cost(NamedTuple):
    """What an answer took: for the log.  series, points: in the answer; read_...: that were read for it."""

    series: int = 0
    points: int = 0
    read_series: int = 0
    read_points: int = 0
    fetch_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    write_seconds: float = 0.0


NO_COST = Cost()


class Taking(Protocol):
    """Takes the rest of an answer as it comes."""

    def add(self, piece: Blob) -> None:
        """Another piece; a view is only good until this returns."""

    def end(self, cost: Cost) -> None:
        """That was all, and this is what it took."""

    def fail(self) -> None:
        """There is more, but it cannot be had."""


class Coming(Protocol):
    """The rest of an answer, on its way from where it is made."""

    def listen(self, taking: Taking) -> None:
        """Give all that came and what will come to `taking`."""

    def hold(self, held: bool) -> None:
        """Wait with the next piece, or go on."""

    def leave(self) -> None:
        """Nobody wants it any more."""


@dataclass(frozen=True)
class Answer:
    """What goes back to the client.  `chunks` joined are the body.  Immutable.

    kept: seconds for which the very same bytes may be given to another client who asks the same; 0 not at all.
    partial: sentences about what may be missing because it could not be asked for.
    rest: what follows `chunks`, made as it is taken.  coming: the same, made elsewhere.  Most answers have neither.
    rest_size: how many bytes that will be; None if it is not known before they are made.
    """

    chunks: Sequence[bytes]
    content_type: str = TEXT
    status: int = 200
    headers: Headers = ()
    kept: int = 0
    cost: Cost = NO_COST
    partial: tuple[str, ...] = ()
    rest: Iterator[Blob] | None = None
    rest_size: int | None = None
    coming: Coming | None = None

    @property
    def body(self) -> bytes:
        """The whole body, but for what is still made."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


@dataclass(frozen=True)
class Query:
    """A request as the handlers see it.  Immutable.

    path: without trailing slash.  headers: those of `CARRIED` that came, by their names in small letters.
    body: as it came, but empty if it was a form (its fields are among the parameters then).
    now: when the request came, seconds since the epoch.
    """

    path: str
    parameters: Parameters = field(default_factory=Parameters)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    now: float = 0.0

    @property
    def accept(self) -> str | None:
        """The Accept header, None if there is none."""
        return self.headers.get("accept")


#: The request headers that answers depend on.
CARRIED = ("accept", "accept-encoding", "content-type", "origin", "x-grafana-org-id", "x-dashboard-id", "x-panel-id")


def sentence(text: str, status: int = 200, headers: Headers = ()) -> Answer:
    """A line of plain text."""
    return Answer([text.encode("utf-8", "replace") + b"\n"], TEXT, status, headers)


def json_answer(query: Query, data: Any, headers: Headers = UNCACHED) -> Answer:
    """`data` as graphite-web's find and expand write it: pretty, jsonp, and ASCII unless Accept says otherwise."""
    ascii_only = is_ascii_only(query)
    text = json.dumps(data, ensure_ascii=ascii_only, indent=2 if query.parameters.last("pretty") else None)
    return json_text_answer(query, text, headers)


def is_ascii_only(query: Query) -> bool:
    """Whether `json_answer` writes other characters with their numbers."""
    return query.accept is None or query.accept == "application/json"


def json_text_answer(query: Query, text: str, headers: Headers = UNCACHED) -> Answer:
    """The same for a document that is JSON already, pretty and ASCII if that is asked for."""
    ascii_only = is_ascii_only(query)
    callback = jsonp(query.parameters)
    content_type = "text/javascript" if callback else "application/json"
    if not ascii_only:
        content_type += ";charset=utf-8"
    if callback:
        text = f"{callback}({text})"
    return Answer([text.encode("utf-8", "replace")], content_type, headers=headers)


def failure_answer(query: Query, text: str, status: int) -> Answer:
    """``{"error": text}``, for those places where clients expect JSON even then."""
    return replace(json_answer(query, {"error": text}, ()), status=status)


def wrong_method(*allowed: str) -> Answer:
    """The answer to a method that means nothing at a path: no body."""
    return Answer([], status=405, headers=(("Allow", ", ".join(allowed)),))


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
