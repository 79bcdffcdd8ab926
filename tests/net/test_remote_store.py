"""Other servers as stores: our own service behind a real port in every format, and servers of other kinds and moods."""

from __future__ import annotations

import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import whisper
from support.ports import free_ports

from carbonpy.catalog import Catalog
from carbonpy.errors import QueryError
from carbonpy.net.remote_store import RemoteStore, Server, StoreFailed
from carbonpy.reading.local import LocalStore
from carbonpy.reading.store import Node
from carbonpy.retention import parse_retentions
from carbonpy.web.answer import Answer, Query
from carbonpy.web.msgpack import pack
from carbonpy.web.parameters import parse
from carbonpy.web.service import Service

NOW = 1_700_000_040
SCHEMA = (parse_retentions("60s:1d"), 0.5, "max")
TAGGED = "disk.used;host=a"


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: dict[str, str]


Reply = tuple[int, str, bytes]


class Port:
    """A port where `answer` answers each request; `asked` are the requests."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        outer = self

        class Http(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                url = urlsplit(self.path)
                query = parse_qs(url.query, keep_blank_values=True)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, url.path, query, body, headers)
                outer.asked.append(asked)
                status, kind, content = answer(asked)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def store(self, options: str = "", **changes: Any) -> RemoteStore:
        given = {"find_timeout": 10.0, "fetch_timeout": 10.0, "retry_delay": 60.0, **changes}
        return RemoteStore(Server.parse(self.url + options), **given)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Asked], Reply]], Port]]:
    running: list[Port] = []

    def begin(answer: Callable[[Asked], Reply]) -> Port:
        running.append(Port(answer))
        return running[-1]

    yield begin
    for server in running:
        server.close()


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    """Two servers' cpu and one tagged metric, in real files."""
    catalog = Catalog(str(tmp_path / "catalog.sqlite"))
    store = LocalStore(
        catalog,
        lambda metric: ([], []),
        str(tmp_path),
        known=lambda metric: False,  # type: ignore
        schema_for=lambda metric: SCHEMA,
        peek_many=lambda metrics: {},
    )
    for number, metric in enumerate(("servers.a.cpu", "servers.b.cpu", TAGGED)):
        path = Path(store.paths(metric)[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(60, 1440)], 0.5, "max")
        whisper.update_many(str(path), [(NOW - 120, number + 0.5), (NOW, 7.0)], now=NOW)
    catalog.add(["servers.a.cpu", "servers.b.cpu", TAGGED])
    return store


@pytest.fixture
def carbonpy(local: LocalStore, serve: Any) -> Port:
    """Our own service behind a port."""
    service = Service(local)

    def answer(asked: Asked) -> Reply:
        parameters = parse(
            urlencode(asked.query, doseq=True).encode(), asked.headers.get("content-type", ""), asked.body, 1000
        )
        query = Query("/" + asked.path.strip("/"), parameters, asked.method, asked.headers, asked.body, NOW)
        found: Answer = service.answer(query)
        return found.status, found.content_type, found.body

    server: Port = serve(answer)
    return server


FORMATS = ["", "?format=msgpack", "?format=pickle", "?format=carbonapi_v3_pb", "/?format=protobuf&local=1"]
READINGS = [
    ("servers.*.cpu", NOW - 300, NOW),
    ("servers.b.cpu", NOW - 300, NOW),
    ("servers.b.cpu", NOW - 100, NOW),
    ("nothing.here", NOW - 300, NOW),
]


@pytest.mark.parametrize("options", FORMATS)
def test_our_own_server_gives_what_the_local_store_gives(carbonpy: Port, local: LocalStore, options: str) -> None:
    remote = carbonpy.store(options)
    ours, theirs = local.fetch_readings(READINGS, NOW), remote.fetch_readings(READINGS, NOW)
    assert set(theirs.series) == set(ours.series)
    for reading in READINGS:
        for one, other in zip(ours.series[reading], theirs.series[reading], strict=True):
            assert (other.name, other.start, other.end, other.step) == (one.name, one.start, one.end, one.step)
            assert other.points() == one.points()
            assert (other.path_expression, other.tags) == (reading[0], one.tags)
    assert [len(theirs.series[reading]) for reading in READINGS] == [2, 1, 1, 0]


@pytest.mark.parametrize("options", FORMATS)
def test_names_are_found_in_every_format(carbonpy: Port, local: LocalStore, options: str) -> None:
    remote = carbonpy.store(options)
    assert remote.find("servers.*") == local.find("servers.*") == [Node("servers.a", False), Node("servers.b", False)]
    assert remote.find("servers.*.cpu", leaves_only=True) == local.find("servers.*.cpu")
    assert remote.find("servers.*", leaves_only=True) == remote.find("no.*") == []
    assert remote.metrics() == list(local.metrics())


@pytest.mark.parametrize("options", FORMATS)
def test_calls_of_series_by_tag_are_readings(carbonpy: Port, options: str) -> None:
    reading = ("seriesByTag('host=a')", NOW - 300, NOW)
    (series,) = carbonpy.store(options).fetch_readings([reading], NOW).series[reading]
    assert (series.name, series.tags) == (TAGGED, {"name": "disk.used", "host": "a"})


def test_tags_are_asked_as_they_are_of_the_local_store(carbonpy: Port, local: LocalStore) -> None:
    remote = carbonpy.store()
    assert remote.find_series(["host=~."]) == local.find_series(["host=~."]) == [TAGGED]
    assert [row["tag"] for row in remote.tags()] == [row["tag"] for row in local.tags()]
    found = remote.tag("host")
    assert found is not None and [row["value"] for row in found["values"]] == ["a"]
    assert remote.tag("nowhere") is None
    assert remote.auto_complete_tags(["name=disk.used"], "ho") == ["host"]
    assert remote.auto_complete_values(["name=disk.used"], "host", "", 5) == ["a"]
    assert remote.tag_series("new;t=1") == "new;t=1" and remote.tag_multi_series(["x;t=1"]) == ["x;t=1"]
    assert remote.find_series(["t=1"]) == ["new;t=1", "x;t=1"]
    assert remote.del_series(["new;t=1", "x;t=1"]) and remote.find_series(["t=1"]) == []


def test_questions_stay_local_and_connections_are_kept(carbonpy: Port) -> None:
    remote = carbonpy.store()
    remote.find("*")
    remote.fetch_readings(READINGS[:1], NOW)
    assert [asked.query["local"] for asked in carbonpy.asked] == [["1"]] * 2
    assert [asked.query["now"] for asked in carbonpy.asked[1:]] == [[str(NOW)]]


def test_many_targets_are_asked_in_several_forms(carbonpy: Port) -> None:
    readings = [(f"servers.{{a,{'x' * 90}{number}}}.cpu", NOW - 300, NOW) for number in range(450)]
    found = carbonpy.store().fetch_readings(readings, NOW).series
    assert [len(found[reading]) for reading in readings] == [1] * 450
    assert [asked.method for asked in carbonpy.asked] == ["POST"] * 3


def test_a_server_behind_a_prefix_with_a_password_gets_both(serve: Any) -> None:
    server = serve(lambda asked: (200, "application/json", b"[]"))
    url = server.url.replace("://", "://ann:s%3Acret@") + "/graphite/"
    remote = RemoteStore(Server.parse(url), find_timeout=5, fetch_timeout=5, retry_delay=0)
    assert remote.metrics() == []
    assert server.asked[0].path == "/graphite/metrics/index.json"
    assert server.asked[0].headers["authorization"] == "Basic YW5uOnM6Y3JldA=="
    assert "ann" not in remote.name and "cret" not in remote.name


# ---- servers of other kinds


class IntervalSet:
    """What graphite-web puts into its pickles."""


def test_graphite_web_is_understood_though_it_pickles_its_own_objects(serve: Any) -> None:
    row = {"path": "a.b", "is_leaf": True}

    def answer(asked: Asked) -> Reply:
        (form,) = asked.query["format"]
        if form == "json":
            return 200, "application/json", json.dumps([{**row, "intervals": [{"start": 0, "end": 1}]}]).encode()
        return 200, "application/pickle", pickle.dumps([{**row, "intervals": IntervalSet()}], 4)

    assert serve(answer).store("?format=pickle").find("a.*") == [Node("a.b", True)]


def test_go_carbon_is_understood_in_pickle(serve: Any) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.query["format"] != ["pickle"]:
            return 400, "text/plain", b"Bad request (unsupported format)"
        if asked.path == "/metrics/find/":
            rows: list[dict[str, Any]] = [{"metric_path": "a.b", "isLeaf": True, "intervals": [[0, 1]]}]
        else:
            rows = [
                {
                    "name": "a.b",
                    "pathExpression": "a.*",
                    "start": 60,
                    "step": 60,
                    "end": 180,
                    "values": [1.5, None],
                    "consolidationFunc": "sum",
                    "xFilesFactor": 0.5,
                }
            ]
        return 200, "application/pickle", pickle.dumps(rows, 2)

    server = serve(answer)
    remote = server.store()
    assert remote.find("a.*") == [Node("a.b", True)]
    reading = ("a.*", 0, 180)
    fetched = remote.fetch_readings([reading], 180)
    (series,) = fetched.series[reading]
    assert series.points() == [(1.5, 60), (None, 120)]
    assert fetched.methods == {"a.b": "sum"}
    assert [asked.query["format"][0] for asked in server.asked] == ["msgpack", "pickle", "pickle"]


def test_nothing_found_is_404_for_some(serve: Any) -> None:
    remote = serve(lambda asked: (404, "text/plain", b"Not Found")).store()
    assert remote.find("a.*") == [] and remote.fetch_readings(READINGS, NOW).series == {r: [] for r in READINGS}
    assert remote.tags() == [] and remote.metrics() == []


# ---- servers that fail


def test_a_dead_server_is_named_and_left_alone_for_a_while() -> None:
    (port,) = free_ports(1)
    now = [0.0]
    server = Server.parse(f"127.0.0.1:{port}")
    remote = RemoteStore(server, find_timeout=5, fetch_timeout=5, retry_delay=60, clock=lambda: now[0])
    with pytest.raises(StoreFailed, match=rf"^http://127.0.0.1:{port}: .*refused"):
        remote.find("*")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StoreFailed, match="not asked again yet"):
        remote.fetch_readings(READINGS, NOW)
    now[0] = 61
    with pytest.raises(StoreFailed, match=r"refused$"):
        remote.find("*")


def test_a_server_that_is_too_slow_is_not_waited_for(serve: Any) -> None:
    release = threading.Event()

    def answer(asked: Asked) -> Reply:
        release.wait(20)
        return 200, "application/json", b"[]"

    with pytest.raises(StoreFailed, match=r"in time|within"):
        serve(answer).store(find_timeout=0.05).find("*")
    release.set()


def test_a_server_that_trickles_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not done.wait(0.01):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        threading.Thread(target=trickle, daemon=True).start()
        remote = RemoteStore(
            Server.parse(f"127.0.0.1:{listener.getsockname()[1]}"), find_timeout=0.2, fetch_timeout=0.2, retry_delay=1
        )
        with pytest.raises(StoreFailed, match=r"within 0.2 s|in time"):
            remote.find("*")
        done.set()


def test_a_kept_connection_that_the_server_ended_is_made_again() -> None:
    body = b"[]"
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n" + body
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                accepted.append(connection)
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply)

        threading.Thread(target=once, daemon=True).start()
        remote = RemoteStore(
            Server.parse(f"127.0.0.1:{listener.getsockname()[1]}"), find_timeout=10, fetch_timeout=10, retry_delay=1
        )
        assert remote.metrics() == remote.metrics() == []
    assert len(accepted) == 2


ROW = {"name": "a", "start": 60, "end": 120, "step": 60, "values": [1], "pathExpression": "a"}


@pytest.mark.parametrize(
    ("status", "kind", "body", "sentence"),
    [
        (500, "text/plain", b"it is\nbroken", "it answered 500: it is broken"),
        (400, "text/plain", b"no", "it answered 400: no"),
        (302, "text/html", b"", "it answered 302"),
        (200, "text/html", b"<html>", "unusable: it sent text/html"),
        (200, "application/x-msgpack", b"\xc1", "unusable"),
        (200, "application/pickle", b"cos\nsystem\n(S'true'\ntR.", "unusable: .*GLOBAL"),
        (200, "application/x-msgpack", pack({"a": 1}), "not a list of dicts"),
        (200, "application/x-msgpack", pack([{**ROW, "name": 7}]), "a name is a int, not text"),
        (200, "application/x-msgpack", pack([{**ROW, "step": 0}]), "lies on no grid"),
        (200, "application/x-msgpack", pack([{**ROW, "values": [[1]]}]), "lies on no grid"),
        (200, "application/x-msgpack", pack([{**ROW, "values": ["x"]}]), "no start, step and values"),
        (200, "application/x-msgpack", pack([{"name": "a", "pathExpression": "a"}]), "no start, step and values"),
    ],
)
def test_answers_that_cannot_be_used_name_the_server(
    serve: Any, status: int, kind: str, body: bytes, sentence: str
) -> None:
    server = serve(lambda asked: (status, kind, body))
    with pytest.raises(StoreFailed, match=sentence) as raised:
        server.store().fetch_readings([("a", 0, 120)], 120)
    assert str(raised.value).startswith(server.url)


def test_series_that_nobody_asked_for_are_left_out(serve: Any) -> None:
    rows = [ROW, {**ROW, "pathExpression": "b"}, {**ROW, "name": "c", "pathExpression": "elsewhere"}]
    store = serve(lambda asked: (200, "application/x-msgpack", pack(rows))).store()
    found = store.fetch_readings([("a", 0, 120), ("b", 0, 120)], 120).series
    assert [len(series) for series in found.values()] == [1, 1]


def test_the_check_of_a_query_ends_it(carbonpy: Port) -> None:
    def check(points: int) -> None:
        raise QueryError("enough")

    with pytest.raises(QueryError, match="enough"):
        carbonpy.store().fetch_readings(READINGS, NOW, check)


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Server.parse(url)


def test_a_format_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="format 'png' is not known"):
        RemoteStore(Server.parse("a?format=png"), find_timeout=1, fetch_timeout=1, retry_delay=1)
