"""/events and below: what happened, with graphite-web's paths, parameters and shapes.

The law: errors are JSON (``{"error": ...}``); the list for people escapes whatever came from a client
and loads nothing.  Times are read in the time zone and at the moment of the query; both ends count.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone, tzinfo
from html import escape
from typing import Any, NamedTuple

from carbonpy.errors import QueryError
from carbonpy.events.store import EventStore
from carbonpy.series import attime
from carbonpy.web.answer import TEXT, Answer, Query, failure_answer, json_answer, wrong_method
from carbonpy.web.limits import Budget
from carbonpy.web.page import HEADERS
from carbonpy.web.render import zone

#: Events on the page for people, the newest first, and the seconds back from now that it shows.
MOST = 500
_LISTED = 90 * 86400
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_HTML = "text/html; charset=utf-8"


class Events(NamedTuple):
    """Answers for everything below /events.  Safe from any thread if the store is."""

    store: EventStore
    tz: tzinfo = timezone.utc

    def answer(self, query: Query, budget: Budget) -> Answer:
        """Whatever stands behind /events."""
        what = query.path.removeprefix("/events").strip("/")
        method = "GET" if query.method == "HEAD" else query.method
        if what == "get_data":
            return self._found(query)
        if method not in (("GET", "POST") if what == "" else ("GET",)):
            return wrong_method(*(("GET", "POST") if what == "" else ("GET",)))
        if what == "":
            return self._add(query) if method == "POST" else self._list(query)
        return self._one(query, what)

    def _found(self, query: Query) -> Answer:
        parameters = query.parameters
        how = "union" if parameters.last("set") == "union" else "intersection"
        try:
            start, end = self._times(query)
            events = self.store.find(parameters.last("tags").split(), start, end, how)
        except QueryError as error:
            return failure_answer(query, str(error), 400)
        documents = [
            {"when": one.when, "what": one.what, "data": one.data, "tags": list(one.tags), "id": one.id}
            for one in events
        ]
        return json_answer(query, documents)

    def _times(self, query: Query) -> tuple[int, int]:
        parameters, tz, now = query.parameters, zone(query.parameters, self.tz), int(query.now)
        if "now" in parameters:
            now = attime.parse(parameters.last("now"), now, tz)
        start = attime.parse(parameters.last("from"), now, tz) if parameters.last("from") else 0
        end = attime.parse(parameters.last("until"), now, tz) if parameters.last("until") else now
        return start, end

    def _add(self, query: Query) -> Answer:
        try:
            what, tags, when, data = _read(query)
            self.store.add(when, what, tags, data)
        except QueryError as error:
            return failure_answer(query, str(error), 400)
        return Answer([], TEXT)

    def _list(self, query: Query) -> Answer:
        start, end = self._times(query)
        if not query.parameters.last("from"):
            start = end - _LISTED
        events = self.store.find((), start, end)[-MOST:][::-1]
        rows = "".join(
            f"<tr><td>{_moment(one.when)}</td><td><a href='events/{one.id}'>{escape(one.what)}</a></td>"
            f"<td>{escape(' '.join(one.tags))}</td></tr>"
            for one in events
        )
        return _page("Events", f"<table><tr><th>When</th><th>What</th><th>Tags</th></tr>{rows}</table>")

    def _one(self, query: Query, what: str) -> Answer:
        event = self.store.get(int(what)) if _NUMBER.match(what) else None
        if event is None:
            return failure_answer(query, "Event matching query does not exist", 404)
        if query.accept == "application/json":
            document = {
                "id": event.id,
                "when": _moment(event.when),
                "what": event.what,
                "data": event.data,
                "tags": list(event.tags),
            }
            return json_answer(query, document)
        rows = (("When", _moment(event.when)), ("Tags", " ".join(event.tags)), ("Data", event.data))
        body = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows)
        return _page(event.what, f"<table>{body}</table>")


def _read(query: Query) -> tuple[str, list[str], int, str]:
    """(what, tags, when, data) of a posted event.  Raises QueryError."""
    try:
        event: Any = json.loads(query.body or b"")
    except (ValueError, RecursionError):
        raise QueryError("the body is not JSON; post an object with what, tags, when and data") from None
    if not isinstance(event, dict):
        raise QueryError("the body must be an object with what, tags, when and data")
    tags = event.get("tags")
    if tags is None:
        tags = []
    elif isinstance(tags, str):
        tags = tags.split()
    elif not isinstance(tags, list) or not all(isinstance(tag, str | int) for tag in tags):
        raise QueryError('"tags" must be an array or space-separated string')
    when = event.get("when")
    if when is None:
        when = query.now
    if isinstance(when, bool) or not isinstance(when, int | float) or not 0 <= when < 2**40:
        raise QueryError('"when" must be seconds since 1970')
    what, data = event.get("what"), event.get("data")
    if not isinstance(what, str) or not what:
        raise QueryError('"what" must be a text that says what happened')
    if data is not None and not isinstance(data, str):
        data = json.dumps(data)
    return what, [str(tag) for tag in tags], int(when), data or ""


def _moment(when: int) -> str:
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _page(title: str, body: str) -> Answer:
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )
    return Answer([text.encode("utf-8", "replace")], _HTML, headers=HEADERS)
