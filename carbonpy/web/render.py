"""/render: path patterns to series, and series to the format asked for.

The law: `plan` reads the parameters (and only it raises QueryError for what the client wrote),
`fetch` asks the store, `write` makes the answer.  Targets are answered in their order, the series of
one target sorted by name, duplicates kept.  No data is an empty answer, not an error.  Functions are
not available in this version: a target that calls one is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timezone, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from carbonpy.errors import QueryError
from carbonpy.series import attime
from carbonpy.series.consolidation import thin
from carbonpy.series.series import Series
from carbonpy.web import formats
from carbonpy.web.answer import Answer, Check, Query, caching, jsonp
from carbonpy.web.limits import Limits
from carbonpy.web.parameters import Parameters

CONTENT_TYPES = {
    "json": "application/json",
    "raw": "text/plain",
    "csv": "text/csv",
    "pickle": "application/pickle",
    "msgpack": "application/x-msgpack",
}
_CALL = re.compile(r"(?<!\\)\(")


class Reader(Protocol):
    """The store, as far as rendering needs it."""

    def leaves(self, pattern: str) -> list[str]:
        """The metrics that a path pattern means."""

    def is_literal(self, pattern: str) -> bool:
        """Whether `leaves` needs no look-up for this pattern."""

    def fetch(
        self, metrics: Iterable[str], from_time: int, until_time: int, now: int, check: Check = ...
    ) -> list[Series]:
        """The series of metrics."""


@dataclass(frozen=True)
class Plan:
    """A render request, understood.  Times are seconds since the epoch; `max_points` 0 means all."""

    targets: tuple[str, ...]
    from_time: int
    until_time: int
    now: int
    tz: tzinfo
    format: str
    jsonp: str
    pretty: bool
    no_nulls: bool
    max_points: int
    xff: float
    cache_seconds: int
    #: When the request came.
    wall: float


def zone(parameters: Parameters, default: tzinfo) -> tzinfo:
    """The time zone that ``tz`` names; the default if it names none that is known."""
    name = parameters.last("tz")
    if not name:
        return default
    if name.upper() == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return default


class Renderer:
    """Answers /render.  Safe from any thread if the store is."""

    def __init__(self, store: Reader, limits: Limits, *, tz: tzinfo = timezone.utc, cache_seconds: int = 60) -> None:
        self._store = store
        self._limits = limits
        self._tz = tz
        self._cache_seconds = cache_seconds

    def plan(self, query: Query) -> Plan:
        """What the parameters ask for.  Raises QueryError."""
        parameters = query.parameters
        texts = parameters.all("target") or parameters.all("target[]")
        targets = tuple(target.strip() for target in texts if target.strip())
        if len(targets) > self._limits.targets:
            raise QueryError(f"{len(targets)} targets in one request; ask for at most {self._limits.targets}")
        for target in targets:
            _refuse_calls(target)
        tz = zone(parameters, self._tz)
        wall = int(query.now)
        now = attime.parse(parameters.last("now"), wall, tz) if "now" in parameters else wall
        until_time = attime.parse(parameters.last("until"), now, tz) if "until" in parameters else now
        from_time = attime.parse(parameters.last("from", "-1d"), now, tz)
        if from_time == until_time:
            raise QueryError(f"the time range is empty, from and until are both {from_time}; move one of them")
        wanted = parameters.last("maxDataPoints")
        cache_seconds = parameters.integer("cacheTimeout", self._cache_seconds)
        return Plan(
            targets=targets,
            from_time=min(from_time, until_time),
            until_time=max(from_time, until_time),
            now=now,
            tz=tz,
            format=_format(parameters),
            jsonp=jsonp(parameters) if "format" in parameters else "",
            pretty=bool(parameters.last("pretty")),
            no_nulls="noNullPoints" in parameters,
            max_points=int(wanted[:18]) if wanted.isascii() and wanted.isdigit() else 0,
            xff=parameters.number("xFilesFactor", 0.0),
            cache_seconds=0 if "noCache" in parameters else max(0, cache_seconds),
            wall=query.now,
        )

    def is_small(self, plan: Plan) -> bool:
        """Whether fetching is so little work that it is not worth a change of threads."""
        return len(plan.targets) <= self._limits.direct_targets and all(map(self._store.is_literal, plan.targets))

    def fetch(self, plan: Plan, check: Check) -> list[Series]:
        """The series of all targets, thinned if asked.  Raises QueryError for too many, and what `check` raises."""
        expanded = [(target, self._store.leaves(target)) for target in plan.targets]
        count = sum(len(metrics) for _, metrics in expanded)
        if count > self._limits.series:
            raise QueryError(
                f"{count} series match target {plan.targets[0][:200]!r}{' and others' if len(expanded) > 1 else ''}; "
                f"ask for at most {self._limits.series}"
            )
        distinct = dict.fromkeys(metric for _, metrics in expanded for metric in metrics)
        fetched = self._store.fetch(distinct, plan.from_time, plan.until_time, plan.now, check)
        by_name = {series.name: series for series in fetched}
        answer = [
            replace(by_name[metric], path_expression=target, xff=plan.xff)
            for target, metrics in expanded
            for metric in metrics
            if metric in by_name
        ]
        return thin(answer, plan.max_points) if plan.format == "json" else answer

    def write(self, plan: Plan, answer: Sequence[Series]) -> Answer:
        """The series in the format asked for."""
        content_type = CONTENT_TYPES[plan.format]
        if plan.format == "json":
            chunks = list(formats.json_chunks(answer, no_nulls=plan.no_nulls, pretty=plan.pretty))
            if plan.jsonp:
                chunks = [plan.jsonp.encode() + b"(", *chunks, b")"]
                content_type = "text/javascript"
        elif plan.format == "csv":
            chunks = list(formats.csv_chunks(answer, plan.tz))
        elif plan.format == "raw":
            chunks = list(formats.raw_chunks(answer))
        elif plan.format == "pickle":
            chunks = list(formats.pickle_chunks(answer))
        else:
            chunks = list(formats.msgpack_chunks(answer))
        return Answer(chunks, content_type, headers=caching(plan.cache_seconds, plan.wall), kept=plan.cache_seconds)


def _format(parameters: Parameters) -> str:
    if "format" in parameters:
        wanted = parameters.last("format")
    elif "rawData" in parameters:
        wanted = "raw"
    elif "pickle" in parameters:
        wanted = "pickle"
    else:
        wanted = "json"
    if wanted not in CONTENT_TYPES:
        raise QueryError(f"format {wanted[:60]!r} is not available; use one of {', '.join(CONTENT_TYPES)}")
    graph = parameters.last("graphType", "line")
    if graph != "line":
        raise QueryError(f"graphType {graph[:60]!r} is not available; leave it out")
    return wanted


def _refuse_calls(target: str) -> None:
    if _CALL.search(target):
        raise QueryError(
            f"target {target[:200]!r} calls a function, and functions are not available in this version; "
            "ask for a metric by name or by a pattern such as servers.*.cpu"
        )
