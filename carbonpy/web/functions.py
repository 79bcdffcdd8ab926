"""/functions and /functions/<name>: what the functions of targets are, for editors.

The law: everything said here comes from the declarations in the library, in the shape that Grafana's
editor reads, as strict JSON.  GET only; a name that is none is a 404 in JSON.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from carbonpy.functions.library import Library
from carbonpy.web.answer import Answer, Query, failure_answer, json_answer, wrong_method
from carbonpy.web.limits import Budget


class Functions(NamedTuple):
    """Answers /functions and below.  Immutable, so it is safe from any thread."""

    library: Library

    def all(self, query: Query, budget: Budget) -> Answer:
        """All functions, or those of one ``group``; ``grouped``: by group."""
        if query.method not in ("GET", "HEAD"):
            return wrong_method("GET")
        parameters = query.parameters
        group = parameters.last("group") if "group" in parameters else None
        grouped = parameters.last("grouped").lower() in ("1", "true")
        names = [] if parameters.last("type") == "pie" else list(self.library)  # no pies are drawn
        result: dict[str, Any] = {}
        for name in names:
            described = self.library.description(name)
            if group is None or group == described["group"]:
                (result.setdefault(described["group"], {}) if grouped else result)[name] = described
        return json_answer(query, result, headers=())

    def one(self, query: Query, budget: Budget) -> Answer:
        """One function."""
        if query.method not in ("GET", "HEAD"):
            return wrong_method("GET")
        name = query.path.removeprefix("/functions/")
        if name not in self.library:
            return failure_answer(query, f"Function not found: {name[:200]}", 404)
        return json_answer(query, self.library.description(name), headers=())
