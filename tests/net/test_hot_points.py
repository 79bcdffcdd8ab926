"""Points that caches have not written yet: asked in bulk or singly, of the right cache, and without patience."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from support.ports import free_ports

from carbonpy.hashing.destination import Destination
from carbonpy.hashing.rings import RING_TYPES, make_ring
from carbonpy.net.hot_points import CacheHost, CarbonLinkPoints

METRICS = [f"servers.{name}.cpu" for name in ("web", "db", "mail", "dns", "ldap")]
Answer = Callable[[dict[str, Any]], Any]


def knowing(points: dict[str, list[tuple[float, float]]]) -> Answer:
    """A cache as carbon is."""

    def answer(request: dict[str, Any]) -> Any:
        if request["type"] == "cache-query-bulk":
            return {"datapointsByMetric": {metric: points.get(metric, []) for metric in request["metrics"]}}
        return {"datapoints": points.get(request["metric"], [])}

    return answer


def singly(points: dict[str, list[tuple[float, float]]]) -> Answer:
    """A cache that knows one metric at a time."""

    def answer(request: dict[str, Any]) -> Any:
        if request["type"] != "cache-query":
            return {"error": f'Invalid request type "{request["type"]}"'}
        return {"datapoints": points.get(request["metric"], [])}

    return answer


class Cache:
    """A query port; `asked` are the requests it got.  An answer of bytes is sent as it is, None ends the connection."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = CacheHost("127.0.0.1", self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while len(head := reader.read(4)) == 4:
                request = pickle.loads(reader.read(struct.unpack("!I", head)[0]))
                self.asked.append(request)
                answer = self.answer(request)
                if answer is None:
                    return
                body = answer if isinstance(answer, bytes) else pickle.dumps(answer, 2)
                connection.sendall(struct.pack("!I", len(body)) + body)

    def close(self) -> None:
        self._server.close()


@contextmanager
def caches(*answers: Answer) -> Iterator[list[Cache]]:
    running = [Cache(answer) for answer in answers]
    try:
        yield running
    finally:
        for cache in running:
            cache.close()


def points_of(*running: Cache, **options: Any) -> CarbonLinkPoints:
    return CarbonLinkPoints([cache.host for cache in running], **{"timeout": 5.0, "retry_delay": 60.0, **options})


def plain(found: Any) -> dict[str, list[tuple[int, float]]]:
    assert all(t.dtype == np.uint32 and v.dtype == np.float64 for t, v in found.values())
    return {metric: list(zip(t.tolist(), v.tolist())) for metric, (t, v) in found.items()}


def test_many_metrics_are_one_question() -> None:
    with caches(knowing({"a": [(2.0, 5), (1, 4.5)], "b": [(9, 1)]})) as (cache,):
        found = plain(points_of(cache).peek_many(["a", "b", "c"]))
        assert found == {"a": [(1, 4.5), (2, 5.0)], "b": [(9, 1.0)]}
        assert [request["type"] for request in cache.asked] == ["cache-query-bulk"]


@pytest.mark.parametrize("refusal", [{"error": "what?"}, None, [1, 2]])
def test_a_cache_that_does_not_know_bulk_questions_is_asked_one_by_one(refusal: Any) -> None:
    known = singly({"a": [(1, 4)]})
    with caches(lambda request: known(request) if request["type"] == "cache-query" else refusal) as (cache,):
        points = points_of(cache)
        assert plain(points.peek_many(["a", "b"])) == {"a": [(1, 4.0)]}
        assert plain(points.peek_many(["a"])) == {"a": [(1, 4.0)]}
        assert [request["type"] for request in cache.asked].count("cache-query-bulk") == 1
        assert points.troubles() == []


def test_points_of_several_caches_are_laid_over_each_other() -> None:
    with caches(knowing({"a": [(1, 1), (2, 2)]}), singly({"a": [(3, 3)], "b": [(1, 5)]})) as running:
        found = plain(points_of(*running).peek_many(["a", "b"]))
        assert found == {"a": [(1, 1.0), (2, 2.0), (3, 3.0)], "b": [(1, 5.0)]}


def test_a_dead_cache_costs_its_points_alone_and_is_left_alone_for_a_while() -> None:
    now = [0.0]
    with caches(knowing({"a": [(1, 1)]})) as (alive,):
        (port,) = free_ports(1)
        dead = CacheHost("127.0.0.1", port)
        points = CarbonLinkPoints([dead, alive.host], timeout=5, retry_delay=60, clock=lambda: now[0])
        assert plain(points.peek_many(["a"])) == {"a": [(1, 1.0)]}
        (trouble,) = points.troubles()
        assert trouble.startswith(f"the cache 127.0.0.1:{port} does not answer: ")
        with socket.create_server(("127.0.0.1", port)):
            assert plain(points.peek_many(["a"])) == {"a": [(1, 1.0)]}
            assert points.troubles() == [trouble]


def test_a_cache_that_comes_back_is_asked_again() -> None:
    now = [0.0]
    with caches(lambda request: None) as (cache,):
        points = CarbonLinkPoints([cache.host], timeout=5, retry_delay=60, clock=lambda: now[0])
        assert points.peek_many(["a"]) == {} and points.troubles()
        cache.answer = knowing({"a": [(1, 1)]})
        assert points.peek_many(["a"]) == {}
        now[0] = 61
        assert plain(points.peek_many(["a"])) == {"a": [(1, 1.0)]} and points.troubles() == []


def test_a_kept_connection_that_has_ended_is_made_again() -> None:
    turns = iter([True, False, True])
    known = knowing({"a": [(1, 1)]})
    with caches(lambda request: known(request) if next(turns) else None) as (cache,):
        points = points_of(cache)
        assert len(points.peek("a")[0]) == len(points.peek("a")[0]) == 1
        assert points.troubles() == [] and len(cache.asked) == 3


def test_a_cache_that_does_not_answer_in_time_is_not_waited_for() -> None:
    release = threading.Event()
    with caches(lambda request: release.wait(20)) as (cache,):
        points = points_of(cache, timeout=0.05)
        assert points.peek_many(["a"]) == {}
        (trouble,) = points.troubles()
        assert "within 0.05 s" in trouble or "timed out" in trouble
        release.set()


@pytest.mark.parametrize(
    "reply",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"junk",
        {"datapointsByMetric": {"a": 7}},
        {"datapointsByMetric": {"a": ["x", (1,)]}},
    ],
)
def test_nonsense_and_evil_pickles_are_no_points(reply: Any) -> None:
    with caches(lambda request: reply) as (cache,):
        assert points_of(cache).peek_many(["a"]) == {}


def test_absurd_points_are_left_out() -> None:
    with caches(knowing({"a": [(-1, 1), (2**40, 1), ("x", 1), (5, None), (6, 1)]})) as (cache,):  # type: ignore[list-item]
        assert plain(points_of(cache).peek_many(["a"])) == {"a": [(6, 1.0)]}


@pytest.mark.parametrize("replication", [1, 2])
@pytest.mark.parametrize("kind", RING_TYPES)
def test_with_a_ring_caches_are_asked_for_their_own_metrics(kind: str, replication: int) -> None:
    """Rings themselves are tested where they are made."""
    with caches(*[knowing({metric: [(1, 1)] for metric in METRICS})] * 3) as running:
        for number, cache in enumerate(running):
            cache.host = cache.host._replace(instance=f"instance-{number}")
        points = points_of(*running, hashing=kind, replication=replication)
        found = points.peek_many([*METRICS, "carbon.agents.x"])
        assert set(found) == set(METRICS)
        ring = make_ring(kind, [Destination(*cache.host) for cache in running])
        for number, cache in enumerate(running):
            owned = [metric for metric in METRICS if number in ring.owners(metric, replication)]
            assert cache.asked[0]["metrics"] == [*owned, "carbon.agents.x"]
        assert points.troubles() == []


def test_caches_that_a_ring_cannot_tell_apart_are_all_asked_and_that_is_said() -> None:
    with caches(*[knowing({metric: [(1, 1)] for metric in METRICS})] * 2) as running:
        points = points_of(*running, hashing="carbon_ch")
        points.peek_many(METRICS)
        assert [cache.asked[0]["metrics"] for cache in running] == [METRICS, METRICS]
        (trouble,) = points.troubles()
        assert trouble.startswith("CARBONLINK_HOSTS: 127.0.0.1:") and trouble.endswith("are asked about all metrics")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("a:7002", CacheHost("a", 7002)),
        ("a:7002:b", CacheHost("a", 7002, "b")),
        ("[::1]:7002:b", CacheHost("::1", 7002, "b")),
    ],
)
def test_hosts_are_written_as_for_graphite_web(text: str, host: CacheHost) -> None:
    assert CacheHost.parse(text) == host


@pytest.mark.parametrize("text", ["a", "a:b", "::1:7002:b:c", ""])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        CacheHost.parse(text)
