"""Metrics of another Graphite server: carbonpy, graphite-web or go-carbon, as a Store.

The law: an answer is the server's, whole, or a StoreFailed that names the server; a server that failed is left
alone for a while, and asked then is a StoreFailed too.  What servers send is read as plain data.  A question
without a format in the server's address is asked in msgpack, and in pickle of a server that does not know it.

    carbonpy      carbonapi_v3_pb, msgpack, pickle
    graphite-web  msgpack (1.1 and later), pickle
    go-carbon     carbonapi_v3_pb, pickle

All requests say ``local=1``, so that servers that ask each other do not ask in a circle.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np

from carbonpy.clock import Clock
from carbonpy.errors import MetricError, WireError
from carbonpy.metric import tags_of
from carbonpy.net.remote_http import Refused, RemoteHttp, Reply, Server, StoreFailed
from carbonpy.reading.store import Check, Fetched, Info, Node, Reading, TagRow, no_check
from carbonpy.series.series import Series
from carbonpy.wire import protobuf
from carbonpy.wire.pickle_machine import Limits
from carbonpy.wire.pickled import decode_plain
from carbonpy.wire.unmsgpack import unpack

__all__ = ["NOT_ASKED", "RemoteStore", "Server", "StoreFailed"]

#: How the message ends of a server that is left alone for a while.
NOT_ASKED = "(not asked again yet)"

MSGPACK, PICKLE, PROTOBUF = "msgpack", "pickle", "carbonapi_v3_pb"
#: Formats by what an address may call them.
_FORMATS = {
    "msgpack": MSGPACK,
    "pickle": PICKLE,
    "protobuf": PROTOBUF,
    "protobuf3": PROTOBUF,
    "carbonapi_v3_pb": PROTOBUF,
}
#: In which order formats are tried when the address names none.
_TRIED = (MSGPACK, PICKLE)
_PICKLE_LIMITS = Limits(max_entries=50_000_000)
#: Targets of one request, and their characters.
_TARGETS = 200
_CHARACTERS = 100_000
_V3 = "application/x-carbonapi-v3-pb"

T = TypeVar("T")


class RemoteStore:
    """The metrics of one server.  Safe from any thread; every method may raise StoreFailed.

    find_timeout, fetch_timeout: seconds for names, and for values.  retry_delay: seconds for which a server
    that failed is left alone.
    """

    def __init__(
        self,
        server: Server,
        *,
        find_timeout: float,
        fetch_timeout: float,
        retry_delay: float,
        clock: Clock = time.monotonic,
    ) -> None:
        options = dict(server.options)
        named = options.pop("format", "")
        if named and named not in _FORMATS:
            raise ValueError(f"{server}: format {named!r} is not known; use one of {', '.join(_FORMATS)}")
        options.setdefault("local", "1")
        self._options = list(options.items())
        self._formats: Sequence[str] = (_FORMATS[named],) if named else _TRIED
        self._http = RemoteHttp(server, clock)
        self._find_timeout = find_timeout
        self._fetch_timeout = fetch_timeout
        self._retry_delay = retry_delay
        self._clock = clock
        self._lock = threading.Lock()
        self._dead_until = float("-inf")
        self._why = ""

    @property
    def name(self) -> str:
        """The server's address, for people."""
        return str(self._http.server)

    # ---- names

    def find(self, pattern: str, leaves_only: bool = False, since: int | None = None) -> list[Node]:
        """See `Store.find`."""
        query = [("query", pattern)]
        if since is not None:
            query += [("from", str(since))]
        if leaves_only:
            query += [("leavesOnly", "1")]

        def ask(form: str) -> list[Node]:
            if form == PROTOBUF:
                body = protobuf.encode(protobuf.MultiGlobRequest((pattern,), since or 0))
                reply = self._get("/metrics/find/", [*query, ("format", form)], self._find_timeout, body)
                return [] if reply is None else _protobuf_nodes(reply.body)
            reply = self._get("/metrics/find/", [*query, ("format", form)], self._find_timeout)
            if reply is None:
                return []
            try:
                return _nodes(_plain(reply))
            except WireError:
                if form != PICKLE:
                    raise
                # graphite-web puts objects of its own into this pickle, but has it in JSON too.
                reply = self._get("/metrics/find/", [*query, ("format", "json")], self._find_timeout)
                return [] if reply is None else _nodes(_json(reply))

        nodes = self._asked(ask)
        return sorted({node for node in nodes if node.is_leaf or not leaves_only})

    def metrics(self) -> list[str]:
        """See `Store.metrics`."""
        return sorted(self._json_list("/metrics/index.json", [], self._fetch_timeout))

    def info(self, metrics: Sequence[str]) -> dict[str, Info]:
        """Nothing: other servers tell it in too many ways."""
        return {}

    # ---- values

    def fetch_readings(self, readings: Sequence[Reading], now: int, check: Check = no_check) -> Fetched:
        """See `Store.fetch_readings`."""
        fetched = Fetched({reading: [] for reading in readings})
        windows: dict[tuple[int, int], list[str]] = {}
        for path, start, end in fetched.series:
            windows.setdefault((start, end), []).append(path)
        for (start, end), paths in windows.items():
            for some in _batches(paths):
                for path, series, info in self._asked(self._render(some, start, end, now)):
                    check(len(series))
                    fetched.series[path, start, end].append(series)
                    if info is not None:
                        fetched.infos[series.name] = info
        for found in fetched.series.values():
            found.sort(key=lambda series: series.name)
        return fetched

    def _render(
        self, paths: Sequence[str], start: int, end: int, now: int
    ) -> Callable[[str], list[tuple[str, Series, Info | None]]]:
        def ask(form: str) -> list[tuple[str, Series, Info | None]]:
            query = [("format", form)]
            if form == PROTOBUF:
                wanted = tuple(protobuf.FetchRequest(path, start, end, False, path) for path in paths)
                body = protobuf.encode(protobuf.MultiFetchRequest(wanted))
                reply = self._get("/render/", query, self._fetch_timeout, body)
                rows: Iterable[dict[str, Any]] = () if reply is None else _protobuf_rows(reply.body)
            else:
                query += [("noCache", "1"), ("from", str(start)), ("until", str(end)), ("now", str(now))]
                query += [("target", path) for path in paths]
                reply = self._get("/render/", query, self._fetch_timeout)
                rows = () if reply is None else _rows(_plain(reply))
            return list(_series(rows, paths))

        return ask

    # ---- tags

    def find_series(self, exprs: Sequence[str], limit: int | None = None) -> list[str]:
        """See `TagStore.find_series`."""
        query = [*(("expr", expr) for expr in exprs), *_limit(limit)]
        return sorted(self._json_list("/tags/findSeries", query, self._find_timeout))

    def tags(self, filter: str = "", limit: int | None = None) -> list[TagRow]:
        """See `TagStore.tags`."""
        rows = self._json("/tags", [*_filter(filter), *_limit(limit)])
        return [row for row in rows if isinstance(row, dict) and "tag" in row] if isinstance(rows, list) else []

    def tag(self, name: str, filter: str = "", limit: int | None = None) -> TagRow | None:
        """See `TagStore.tag`."""
        row = self._json(f"/tags/{quote(name, safe='')}", [*_filter(filter), *_limit(limit)])
        return row if isinstance(row, dict) and row.get("values") else None

    def auto_complete_tags(self, exprs: Sequence[str], prefix: str = "", limit: int | None = None) -> list[str]:
        """See `TagStore.auto_complete_tags`."""
        query = [*(("expr", expr) for expr in exprs), ("tagPrefix", prefix), *_limit(limit)]
        return self._json_list("/tags/autoComplete/tags", query, self._find_timeout)

    def auto_complete_values(
        self, exprs: Sequence[str], tag: str, prefix: str = "", limit: int | None = None
    ) -> list[str]:
        """See `TagStore.auto_complete_values`."""
        query = [*(("expr", expr) for expr in exprs), ("tag", tag), ("valuePrefix", prefix), *_limit(limit)]
        return self._json_list("/tags/autoComplete/values", query, self._find_timeout)

    def tag_series(self, path: str) -> str:
        """See `TagStore.tag_series`."""
        return str(self._json("/tags/tagSeries", [("path", path)], post=True))

    def tag_multi_series(self, paths: Sequence[str]) -> list[str]:
        """See `TagStore.tag_multi_series`."""
        found = self._json("/tags/tagMultiSeries", [("path", path) for path in paths], post=True)
        return [str(name) for name in found] if isinstance(found, list) else []

    def del_series(self, paths: Sequence[str]) -> bool:
        """See `TagStore.del_series`."""
        return bool(self._json("/tags/delSeries", [("path", path) for path in paths], post=True))

    # ---- asking

    def _asked(self, ask: Callable[[str], T], formats: Sequence[str] | None = None) -> T:
        """`ask(format)` in a format that the server knows, or in `formats`; a server that fails is left alone."""
        with self._lock:
            if self._clock() < self._dead_until:
                raise StoreFailed(f"{self._why} {NOT_ASKED}")
        learns = formats is None
        formats = self._formats if formats is None else formats
        for number, form in enumerate(formats, start=1):
            try:
                found = ask(form)
            except (Refused, WireError) as error:
                if number == len(formats):
                    # The question may be at fault; others may be answered.
                    text = str(error) if isinstance(error, Refused) else f"{self.name}: its answer is unusable: {error}"
                    raise StoreFailed(text) from None
            except StoreFailed as error:
                with self._lock:
                    self._dead_until, self._why = self._clock() + self._retry_delay, str(error)
                raise
            else:
                if learns:
                    self._formats = (form,)
                return found
        raise AssertionError("there is always a last format")

    def _get(
        self, path: str, query: Sequence[tuple[str, str]], timeout: float, body: bytes | None = None, post: bool = False
    ) -> Reply | None:
        headers = {"Accept": _V3} if body is not None else None
        return self._http.ask(path, [*query, *self._options], timeout, body=body, post=post, headers=headers)

    def _json(
        self, path: str, query: Sequence[tuple[str, str]], timeout: float | None = None, post: bool = False
    ) -> Any:
        def ask(form: str) -> Any:
            reply = self._get(path, query, timeout or self._find_timeout, post=post)
            return None if reply is None else _json(reply)

        return self._asked(ask, ("json",))

    def _json_list(self, path: str, query: Sequence[tuple[str, str]], timeout: float) -> list[str]:
        found = self._json(path, query, timeout)
        return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _limit(limit: int | None) -> list[tuple[str, str]]:
    return [] if limit is None else [("limit", str(limit))]


def _filter(text: str) -> list[tuple[str, str]]:
    return [("filter", text)] if text else []


def _batches(paths: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for path in paths:
        if some and (len(some) >= _TARGETS or size + len(path) > _CHARACTERS):
            yield some
            some, size = [], 0
        some.append(path)
        size += len(path)
    if some:
        yield some


# ---- reading what comes


def _plain(reply: Reply) -> Any:
    if reply.content_type == "application/x-msgpack":
        return unpack(reply.body)
    if reply.content_type.startswith("text/"):
        raise WireError(f"it sent {reply.content_type}")
    return decode_plain(reply.body, _PICKLE_LIMITS)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        raise WireError("it sent something that is not JSON") from None


def _text(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise WireError(f"{what} is a {type(value).__name__}, not text")
    return value


def _rows(found: Any) -> list[dict[Any, Any]]:
    if not isinstance(found, (list, tuple)) or not all(isinstance(row, dict) for row in found):
        raise WireError("it is not a list of dicts")
    return [{_text(key, "a key"): value for key, value in row.items()} for row in found]


def _nodes(found: Any) -> list[Node]:
    nodes = []
    for row in _rows(found):
        path = row.get("path", row.get("metric_path"))
        is_leaf = row.get("is_leaf", row.get("isLeaf", row.get("leaf")))
        nodes.append(Node(_text(path, "a path"), bool(is_leaf)))
    return nodes


def _protobuf_nodes(body: bytes) -> list[Node]:
    found = protobuf.decode(protobuf.MultiGlobResponse, body)
    return [Node(match.path, match.is_leaf) for response in found.metrics for match in response.matches]


def _protobuf_rows(body: bytes) -> Iterator[dict[str, Any]]:
    for one in protobuf.decode(protobuf.MultiFetchResponse, body, most=100_000_000).metrics:
        yield {
            "name": one.name,
            "pathExpression": one.path_expression,
            "start": one.start_time,
            "end": one.stop_time,
            "step": one.step_time,
            "values": one.values,
            "consolidationFunc": one.consolidation_func,
            "xFilesFactor": one.x_files_factor,
        }


def _series(rows: Iterable[dict[str, Any]], paths: Sequence[str]) -> Iterator[tuple[str, Series, Info | None]]:
    """(path that it answers, series, what is known of its file) of each row.  Raises WireError."""
    wanted = set(paths)
    for row in rows:
        name = _text(row.get("name"), "a name")
        path = row.get("pathExpression")
        if isinstance(path, bytes):
            path = path.decode("utf-8", "replace")
        if path not in wanted:
            # Some servers do not say which target it is for.
            path = paths[0] if len(paths) == 1 else name
            if path not in wanted:
                continue
        try:
            start, step = int(row["start"]), int(row["step"])
            values = np.array(row["values"], np.float64)
            end = int(row.get("end", start + step * len(values)))
            method, xff = row.get("consolidationFunc"), float(row.get("xFilesFactor") or 0.0)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise WireError(f"the series {name[:100]!r} has no start, step and values as it should") from None
        if step <= 0 or values.ndim != 1 or not 0 <= start < 2**40 or step > 2**40:
            raise WireError(f"the series {name[:100]!r} lies on no grid: start {start}, step {step}")
        method = _text(method, "consolidationFunc") if method else "average"
        info = Info(method, xff, ()) if row.get("consolidationFunc") else None
        yield path, Series(name, start, end, step, values, path, tags=_tags(name)), info


def _tags(name: str) -> dict[str, str]:
    try:
        return dict(tags_of(name))
    except MetricError:
        return {"name": name}
