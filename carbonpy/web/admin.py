"""``POST /admin/delete`` and ``POST /admin/rename``: metrics that are to go, or to be called otherwise.

The law: who may do this is decided before anything is read.  It takes a password (HTTP_AUTH_FILE), or a port that only
this machine can reach (HTTP_INTERFACE = 127.0.0.1 or ::1); it is a POST with a JSON document, and not from a page in a
browser: a request with an ``Origin`` is refused, whatever HTTP_CORS_ORIGINS says.

``/admin/delete``: ``{"metrics": [...], "unless_written_since": seconds}``, the latter if wanted; the answer is
``{"metrics": [{"metric": .., "what": "deleted" | "absent" | "kept" | "failed", "why": ..}, ...]}``.
``/admin/rename``: ``{"old": .., "new": ..}``; the answer is ``{"points": n}``, the cached points that went with it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from carbonpy.errors import CarbonError, QueryError
from carbonpy.upkeep.removal import Removed
from carbonpy.web.answer import Answer, Query, sentence

#: Metrics in one request; more would hold up the writers for long.
MOST_METRICS = 5_000
PATHS = ("/admin/delete", "/admin/rename")


class Removing(Protocol):
    """What does the work.  Reactor thread only."""

    def delete(self, metrics: Sequence[str], unless_written_since: float | None = None) -> Deferred[list[Removed]]:
        """Delete; fires with what became of each."""

    def rename(self, old: str, new: str) -> Deferred[int]:
        """Rename; fires with the number of cached points that went with it.  Fails with CarbonError."""


class Admin:
    """Answers these paths.  Reactor thread only.

    guarded: whether everybody who comes here has given a password.  interface: the address of the port.
    """

    def __init__(self, removing: Removing, *, guarded: bool, interface: str) -> None:
        self._removing = removing
        self._allowed = guarded or _is_loopback(interface)

    def __call__(self, query: Query) -> Answer | Deferred[Answer]:
        refused = self._refusal(query)
        if refused is not None:
            return refused
        try:
            asked = json.loads(query.body)
        except ValueError as error:
            raise QueryError(f"the body is not JSON: {error}") from None
        if not isinstance(asked, dict):
            raise QueryError("the body is not a JSON object")
        if query.path == "/admin/delete":
            return self._delete(asked)
        return self._rename(asked)

    def _refusal(self, query: Query) -> Answer | None:
        if not self._allowed:
            return sentence(
                "refused: this port answers others without a password; set HTTP_AUTH_FILE, or HTTP_INTERFACE to "
                "127.0.0.1",
                403,
            )
        if query.method != "POST":
            return sentence("this changes metrics: POST a JSON document", 405, (("Allow", "POST"),))
        if "origin" in query.headers:
            return sentence("refused: pages in a browser may not do this", 403)
        if query.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return sentence("the body has to be application/json", 415)
        return None

    def _delete(self, asked: dict[str, Any]) -> Deferred[Answer]:
        metrics, since = asked.get("metrics"), asked.get("unless_written_since")
        if not isinstance(metrics, list) or not all(isinstance(metric, str) for metric in metrics):
            raise QueryError('"metrics" has to be a list of names')
        if len(metrics) > MOST_METRICS:
            raise QueryError(f"{len(metrics)} metrics are too many for one request; send at most {MOST_METRICS}")
        if since is not None and (isinstance(since, bool) or not isinstance(since, int | float)):
            raise QueryError('"unless_written_since" has to be a number of seconds')
        return self._removing.delete(metrics, since).addCallback(
            lambda done: _document({"metrics": [one._asdict() for one in done]})
        )

    def _rename(self, asked: dict[str, Any]) -> Deferred[Answer]:
        old, new = asked.get("old"), asked.get("new")
        if not isinstance(old, str) or not isinstance(new, str):
            raise QueryError('"old" and "new" have to be names')

        def refused(failure: Any) -> Answer:
            failure.trap(CarbonError)
            return sentence(str(failure.value), 409)

        return self._removing.rename(old, new).addCallbacks(lambda points: _document({"points": points}), refused)


def _document(data: Any) -> Answer:
    return Answer([json.dumps(data).encode() + b"\n"], "application/json", headers=(("Cache-Control", "no-store"),))


def _is_loopback(interface: str) -> bool:
    try:
        return ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return interface == "localhost"
