"""/tags and below: the index of tagged series, with graphite-web's paths, parameters and shapes.

The law: every answer is JSON, errors too (``{"error": ...}``); a wrong method is 405 with no body.
`from` and `until`, which Grafana sends, mean nothing here.  ``expr[]`` and ``path[]`` count where
there is no ``expr`` and ``path``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from carbonpy.errors import QueryError
from carbonpy.reading.store import TagStore
from carbonpy.web.answer import Answer, Query, failure_answer, json_answer, wrong_method
from carbonpy.web.limits import Budget, Limits

#: How many names auto-completion gives when the client does not say.
AUTOCOMPLETE_LIMIT = 100


class Tags(NamedTuple):
    """Answers for everything below /tags.  Safe from any thread if the stores are.

    local: the store for queries with ``local=1``.
    """

    store: TagStore
    local: TagStore
    limits: Limits

    def answer(self, query: Query, budget: Budget) -> Answer:
        """Whatever stands behind /tags."""
        what = query.path.removeprefix("/tags").strip("/")
        methods, work = {
            "": (("GET",), self._all),
            "tagSeries": (("POST",), self._tag_series),
            "tagMultiSeries": (("POST",), self._tag_multi_series),
            "delSeries": (("POST",), self._del_series),
            "findSeries": (("GET", "POST"), self._find_series),
            "autoComplete/tags": (("GET", "POST"), self._complete_tags),
            "autoComplete/values": (("GET", "POST"), self._complete_values),
        }.get(what, (("GET",), self._one))
        method = "GET" if query.method == "HEAD" else query.method
        if method not in methods:
            return wrong_method(*methods)
        try:
            return json_answer(query, work(query), headers=())
        except QueryError as error:
            return failure_answer(query, str(error), 400)

    def _all(self, query: Query) -> Any:
        return self._asked(query).tags(query.parameters.last("filter"), _limit(query))

    def _one(self, query: Query) -> Any:
        name = query.path.removeprefix("/tags/")
        return self._asked(query).tag(name, query.parameters.last("filter"), _limit(query))

    def _tag_series(self, query: Query) -> Any:
        return self._asked(query).tag_series(self._several(query, "path", "no path specified")[-1])

    def _tag_multi_series(self, query: Query) -> Any:
        return self._asked(query).tag_multi_series(self._several(query, "path", "no paths specified"))

    def _del_series(self, query: Query) -> Any:
        return self._asked(query).del_series(self._several(query, "path", "no path specified"))

    def _find_series(self, query: Query) -> Any:
        exprs = self._several(query, "expr", "no tag expressions specified")
        return self._asked(query).find_series(exprs, _limit(query))

    def _complete_tags(self, query: Query) -> Any:
        exprs, prefix = self._several(query, "expr"), query.parameters.last("tagPrefix")
        return self._asked(query).auto_complete_tags(exprs, prefix, _limit(query, AUTOCOMPLETE_LIMIT))

    def _complete_values(self, query: Query) -> Any:
        tag = query.parameters.last("tag")
        if not tag:
            raise QueryError("no tag specified")
        exprs, prefix = self._several(query, "expr"), query.parameters.last("valuePrefix")
        return self._asked(query).auto_complete_values(exprs, tag, prefix, _limit(query, AUTOCOMPLETE_LIMIT))

    def _asked(self, query: Query) -> TagStore:
        return self.local if query.parameters.integer("local") else self.store

    def _several(self, query: Query, name: str, missing: str = "") -> list[str]:
        """All values of a parameter that can be given often; an error that says `missing` if there is none."""
        values = query.parameters.all(name) or query.parameters.all(name + "[]")
        if missing and not any(values):
            raise QueryError(missing)
        if len(values) > self.limits.targets:
            raise QueryError(f"{len(values)} times {name} in one request, of at most {self.limits.targets}")
        return values


def _limit(query: Query, default: int | None = None) -> int | None:
    if not query.parameters.last("limit"):
        return default
    limit = query.parameters.integer("limit")
    if limit < 0:
        raise QueryError(f"parameter limit is {limit}; write 0 or more")
    return limit
