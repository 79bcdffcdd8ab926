"""/render: what the parameters ask for, its series, and those in the format asked for.

The law: `plan` reads the parameters (and only it raises QueryError for them), `fetch` reads and
evaluates, `write` makes the answer.  Targets are answered in their order, duplicates kept.  No data is
an empty answer, not an error, but for carbonapi's protocols, whose word for it is 404.  An answer that
may lack something because a store could not be asked says so in a header and is kept by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timezone, tzinfo
from functools import lru_cache
from itertools import chain
from typing import TypeVar
from zoneinfo import ZoneInfo

from carbonpy.clock import Clock
from carbonpy.errors import QueryError, WireError
from carbonpy.expression.evaluate import Evaluation
from carbonpy.expression.grammar import parse
from carbonpy.expression.plan import Reading
from carbonpy.functions.context import Shared
from carbonpy.functions.library import Library
from carbonpy.reading.store import Fetched, Store
from carbonpy.series import attime
from carbonpy.series.consolidation import thin
from carbonpy.series.series import Series
from carbonpy.web import formats, json_format
from carbonpy.web.answer import NO_COST, Answer, Blob, Cost, Query, caching, jsonp, sentence
from carbonpy.web.limits import Budget, Limits
from carbonpy.web.parameters import Parameters
from carbonpy.wire import protobuf

CONTENT_TYPES = {
    "json": "application/json",
    "jsonp": "application/json",
    "raw": "text/plain",
    "csv": "text/csv",
    "pickle": "application/pickle",
    "msgpack": "application/x-msgpack",
    "dygraph": "application/json",
    "rickshaw": "application/json",
    "protobuf": "application/x-protobuf",
    "carbonapi_v3_pb": "application/x-carbonapi-v3-pb",
}
#: Other names of formats, as carbonapi and go-carbon know them.
ALSO = {
    "protobuf3": "protobuf",
    "pb": "protobuf",
    "pb3": "protobuf",
    "carbonapi_v2_pb": "protobuf",
    "v2_pb": "protobuf",
    "v3_pb": "carbonapi_v3_pb",
    "proto_v3_pb": "carbonapi_v3_pb",
}
#: Accept headers that decide about the format, whatever the parameters say.
BY_ACCEPT = {"application/x-carbonapi-v3-pb": "carbonapi_v3_pb", "application/x-protobuf": "protobuf"}
_SCRIPTS = ("json", "jsonp", "dygraph", "rickshaw")
_IMAGES = ("png", "svg", "pdf")
#: About how many bytes a point takes while it is written.
_BYTES_PER_POINT = {"pickle": 60, "msgpack": 60, "rickshaw": 250, "dygraph": 150, "protobuf": 17, "carbonapi_v3_pb": 16}
#: An answer of so many points may be made while it is sent.
_STREAMED = 500_000
#: Targets of up to so many characters whose trees are remembered, and seconds with what they are in headers.
_REMEMBERED, _SHORT = 256, 1_000
_TEMPLATE = re.compile(r"template\[(.*).\Z", re.DOTALL)
#: A target that is one metric, whose fetching needs neither a look-up nor a function.
_PLAIN = re.compile(r"[A-Za-z_][\w.:/%#@+-]*\Z", re.ASCII)

T = TypeVar("T")
#: (tags, start, end) -> the moments of events with all these tags.
EventMoments = Callable[[Sequence[str], int, int], Sequence[int]]
#: Seconds that a client may be told to keep an answer: a year, as HTTP has it.
_LONGEST_KEPT = 31_536_000


@dataclass(frozen=True)
class Plan:
    """A render request, understood.  Times are seconds since the epoch; `max_points` 0 means all.

    requests: those of a body of carbonapi's protocol 3, which come instead of targets.
    local: whether to ask this server alone.  wall: when the request came.
    """

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
    templates: Mapping[str, str]
    local: bool
    wall: float
    requests: tuple[protobuf.FetchRequest, ...] | None = None


@dataclass(frozen=True)
class Result:
    """The series of a plan.  echoes: (pathExpression, start, stop) of each series, for protocol 3."""

    series: Sequence[Series]
    partial: tuple[str, ...] = ()
    cost: Cost = NO_COST
    echoes: Sequence[tuple[str, int, int]] = ()


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
    """Answers /render.  Safe from any thread if the stores are.

    local: the store to ask for queries with ``local=1``, which a server that asks others must not pass on.
    as_stored: whether series are consolidated as their files are, not by their average.
    numbers: how JSON numbers are written fast; None for the standard library's way.
    """

    def __init__(
        self,
        store: Store,
        library: Library,
        limits: Limits,
        monotonic: Clock,
        *,
        local: Store | None = None,
        events: EventMoments = lambda tags, start, end: (),
        tz: tzinfo = timezone.utc,
        cache_seconds: int = 60,
        as_stored: bool = False,
        numbers: json_format.Numbers | None = None,
    ) -> None:
        self._stores = (store, local or store)
        self._library = library
        self._limits = limits
        self._monotonic = monotonic
        self._events = events
        self._tz = tz
        self._cache_seconds = cache_seconds
        self._as_stored = as_stored
        self._numbers = numbers
        self._grids = json_format.Grids()
        self._remembered = lru_cache(_REMEMBERED)(parse)
        self._caching = lru_cache(_REMEMBERED)(caching)

    # ---- what is asked

    def plan(self, query: Query) -> Plan:
        """What a query asks for.  Raises QueryError."""
        parameters = query.parameters
        form = format_of(query, CONTENT_TYPES, _default_format(parameters))
        requests = None
        if form == "carbonapi_v3_pb" and query.body:
            requests = _requests(query.body, self._limits.targets)
        texts = parameters.all("target") or parameters.all("target[]")
        targets = tuple(target.strip() for target in texts if target.strip())
        if len(targets) > self._limits.targets:
            raise QueryError(f"{len(targets)} targets in one request; ask for at most {self._limits.targets}")
        tz = zone(parameters, self._tz)
        wall = int(query.now)
        now = attime.parse(parameters.last("now"), wall, tz) if "now" in parameters else wall
        until_time = attime.parse(parameters.last("until"), now, tz) if "until" in parameters else now
        from_time = attime.parse(parameters.last("from", "-1d"), now, tz)
        if from_time == until_time:
            raise QueryError(f"the time range is empty, from and until are both {from_time}; move one of them")
        graph = parameters.last("graphType", "line")
        if graph != "line":
            raise QueryError(f"graphType {graph[:60]!r} is not available; leave it out")
        wanted = parameters.last("maxDataPoints")
        cache_seconds = parameters.integer("cacheTimeout", self._cache_seconds)
        found = [_TEMPLATE.match(name) for name in parameters.names() if name.startswith("template[")]
        return Plan(
            targets=targets,
            from_time=min(from_time, until_time),
            until_time=max(from_time, until_time),
            now=now,
            tz=tz,
            format=form,
            jsonp=jsonp(parameters) if "format" in parameters and form in _SCRIPTS else "",
            pretty=bool(parameters.last("pretty")),
            no_nulls="noNullPoints" in parameters,
            max_points=int(wanted[:18]) if wanted.isascii() and wanted.isdigit() else 0,
            xff=parameters.number("xFilesFactor", 0.0),
            cache_seconds=0 if "noCache" in parameters else min(max(0, cache_seconds), _LONGEST_KEPT),
            templates={name.group(1): parameters.last(name.string) for name in found if name},
            local=bool(parameters.integer("local")),
            wall=query.now,
            requests=requests,
        )

    def is_plain(self, plan: Plan) -> bool:
        """Whether it asks for a few metrics and nothing else: unless they have many points, that is little work."""
        return (
            plan.requests is None
            and len(plan.targets) <= self._limits.direct_targets
            and all(map(_PLAIN.match, plan.targets))
        )

    # ---- its series

    def fetch(self, plan: Plan, budget: Budget) -> Result:
        """The series of all targets, thinned if asked.  Raises QueryError, and what the budget raises."""
        began = self._monotonic()
        reads = _Reads(self._stores[plan.local], plan.now, budget, self._monotonic, self._as_stored)
        echoes: list[tuple[str, int, int]] = []
        if plan.requests is not None:
            answer = reads.requested(plan.requests, echoes)
        else:
            evaluation = Evaluation(
                self._library,
                reads,
                start=plan.from_time,
                end=plan.until_time,
                now=plan.now,
                tz=plan.tz,
                xff=plan.xff,
                templates=plan.templates,
                shared=Shared(events=self._events),
                parse=lambda text: self._remembered(text) if len(text) <= _SHORT else parse(text),
                check=lambda: budget(0),
                most_series=int(min(self._limits.series, 2**62)),
            )
            answer = evaluation.evaluate(plan.targets)
            if plan.format == "carbonapi_v3_pb":
                echoes = [(series.path_expression, plan.from_time, plan.until_time) for series in answer]
        if plan.format in ("json", "jsonp"):
            answer = thin(answer, plan.max_points)
        points = sum(map(len, answer))
        budget.answer(points, _BYTES_PER_POINT.get(plan.format, 40))
        seconds = self._monotonic() - began - reads.seconds
        cost = Cost(len(answer), points, budget.series, budget.points, reads.seconds, seconds)
        return Result(answer, tuple(reads.partial), cost, echoes)

    # ---- the answer

    def write(self, plan: Plan, result: Result, budget: Budget, streamed: bool = False) -> Answer:
        """The series in the format asked for.  Raises what the budget raises.

        streamed: whether an answer of very many points may be made while it is sent (`Answer.rest`).
        """
        if not result.series and plan.format in BY_ACCEPT.values():
            if result.partial:
                return replace(sentence(f"nothing found, but {result.partial[0]}", 503), partial=result.partial)
            return sentence("nothing matches", 404)
        began = self._monotonic()
        chunks: Sequence[bytes] = []
        rest: Iterator[Blob] | None = None
        size: int | None = None
        if streamed and result.cost.points >= _STREAMED:
            size, made = self._measured(plan, result, budget)
            rest = _checked(made, budget)
        else:
            chunks = list(_checked(self._chunks(plan, result), budget))
        kept = 0 if result.partial else plan.cache_seconds
        return Answer(
            chunks,
            "text/javascript" if plan.jsonp else CONTENT_TYPES[plan.format],
            headers=self._caching(kept, int(plan.wall)),
            kept=kept,
            cost=result.cost._replace(write_seconds=self._monotonic() - began),
            partial=result.partial,
            rest=rest,
            rest_size=size,
        )

    def _measured(self, plan: Plan, result: Result, budget: Budget) -> tuple[int | None, Iterable[Blob]]:
        """The chunks and their size in all, if that is known before they are made.

        A client reads an answer whose size it knows in half the time, and can say how much is still to come.
        """
        if plan.format == "json" and self._numbers is not None and not (plan.pretty or plan.jsonp):
            series = _checked(result.series, budget)
            return json_format.measured_json(series, no_nulls=plan.no_nulls, numbers=self._numbers)
        return None, self._chunks(plan, result)

    def _chunks(self, plan: Plan, result: Result) -> Iterable[bytes]:
        chunks = self._formatted(plan, result)
        return chain([plan.jsonp.encode() + b"("], chunks, [b")"]) if plan.jsonp else chunks

    def _formatted(self, plan: Plan, result: Result) -> Iterable[bytes]:
        answer, form = result.series, plan.format
        if form == "csv":
            return formats.csv_chunks(answer, plan.tz)
        if form == "raw":
            return formats.raw_chunks(answer)
        if form == "pickle":
            return formats.pickle_chunks(answer)
        if form == "msgpack":
            return formats.msgpack_chunks(answer)
        if form == "dygraph":
            return json_format.dygraph_chunks(answer, numbers=self._numbers)
        if form == "rickshaw":
            return json_format.rickshaw_chunks(answer, pretty=plan.pretty, numbers=self._numbers)
        if form == "protobuf":
            return formats.protobuf2_chunks(answer)
        if form == "carbonapi_v3_pb":
            return formats.protobuf3_chunks(
                formats.Echoed(series, *echo) for series, echo in zip(answer, result.echoes)
            )
        return json_format.json_chunks(
            answer, no_nulls=plan.no_nulls, pretty=plan.pretty, numbers=self._numbers, grids=self._grids
        )


def _checked(items: Iterable[T], budget: Budget) -> Iterator[T]:
    for item in items:
        yield item
        budget(0)


class _Reads:
    """The `Fetch` of one evaluation: reads from a store, and remembers what that took.  For one thread."""

    def __init__(self, store: Store, now: int, budget: Budget, monotonic: Clock, as_stored: bool) -> None:
        self._store = store
        self._now = now
        self._budget = budget
        self._monotonic = monotonic
        self._as_stored = as_stored
        self.partial: list[str] = []
        self.seconds = 0.0

    def __call__(self, readings: Sequence[Reading]) -> Mapping[Reading, Sequence[Series]]:
        fetched = self._read(readings)
        if self._as_stored:
            return {one: [_as_stored(series, fetched) for series in fetched.series.get(one, ())] for one in readings}
        return {one: fetched.series.get(one, ()) for one in readings}

    def requested(self, requests: Sequence[protobuf.FetchRequest], echoes: list[tuple[str, int, int]]) -> list[Series]:
        """The series of requests in protocol 3, which want to know how each is consolidated; adds to `echoes`."""
        readings = [
            Reading(request.name, *sorted((max(0, request.start_time), max(0, request.stop_time))))
            for request in requests
        ]
        fetched = self._read(list(dict.fromkeys(readings)))
        answer = []
        for request, reading in zip(requests, readings):
            for series in fetched.series.get(reading, ()):
                answer.append(_as_stored(series, fetched))
                echoes.append((request.path_expression or request.name, request.start_time, request.stop_time))
        return answer

    def _read(self, readings: Sequence[Reading]) -> Fetched:
        began = self._monotonic()
        try:
            fetched = self._store.fetch_readings(readings, self._now, self._budget)
        finally:
            self.seconds += self._monotonic() - began
        self.partial += (text for text in fetched.partial if text not in self.partial)
        return fetched


def _as_stored(series: Series, fetched: Fetched) -> Series:
    info = fetched.info(series.name)
    return series if info is None else series.changed(consolidation=info.method, xff=info.xff)


def format_of(query: Query, known: Mapping[str, object], default: str) -> str:
    """The format that a query wants, by its canonical name.  Raises QueryError for one that is not `known`."""
    by_accept = BY_ACCEPT.get((query.accept or "").partition(";")[0].strip().lower())
    if by_accept is not None:
        return by_accept
    text = query.parameters.last("format", default)
    wanted = ALSO.get(text, text)
    if wanted not in known:
        what = "draws images, which this server does not" if text in _IMAGES else "is not available"
        raise QueryError(f"format {text[:60]!r} {what}; use one of {', '.join(known)}")
    return wanted


def _default_format(parameters: Parameters) -> str:
    return "raw" if "rawData" in parameters else "pickle" if "pickle" in parameters else "json"


def _requests(body: bytes, most: int) -> tuple[protobuf.FetchRequest, ...]:
    try:
        message = protobuf.decode(protobuf.MultiFetchRequest, body, most=100 * most)
    except WireError as error:
        raise QueryError(f"the body cannot be read: {error}") from None
    if len(message.metrics) > most:
        raise QueryError(f"{len(message.metrics)} series in one request; ask for at most {most}")
    return message.metrics
