"""The cache query port: in memory, over loopback with plain sockets, and beside carbon's own handler."""

from __future__ import annotations

import json
import pickle
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

import pytest
from support.ports import free_ports
from support.waiting import until
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from carbonpy.counters import CounterGroup
from carbonpy.errors import CarbonError, MetricError
from carbonpy.net.carbonlink import CarbonLinkFactory, CarbonLinkServer
from carbonpy.wire.framing import Int32Frames, encode

POINTS = {"a.b": [(1700000000, 1.5), (1700000060, 2.0)], "a.c": [(1700000000, 3.0)]}


class Cache:
    """Dicts in the place of the cache and the files."""

    def __init__(self) -> None:
        self.points: dict[str, Any] = dict(POINTS)
        self.methods = {"a.b": "average"}

    def query(self, metric: str) -> Any:
        return self.points.get(metric, [])

    def get_metadata(self, metric: str, key: str) -> str:
        if key != "aggregationMethod" or metric not in self.methods:
            raise MetricError(f"{metric} has no {key}; ask for aggregationMethod of a metric that has a file")
        return self.methods[metric]

    def set_metadata(self, metric: str, key: str, value: Any) -> str:
        old = self.get_metadata(metric, key)
        self.methods[metric] = value
        return old


class Client:
    """A connection in memory: sends frames, reads the unpickled replies."""

    def __init__(self, factory: CarbonLinkFactory) -> None:
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        self.server: CarbonLinkServer = protocol
        self.transport = StringTransport()
        self._replies = Int32Frames(1 << 30)
        protocol.makeConnection(self.transport)

    def send(self, *requests: Any) -> None:
        self.server.dataReceived(b"".join(encode(pickle.dumps(request)) for request in requests))

    def replies(self) -> list[Any]:
        frames = self._replies.feed(self.transport.value())
        self.transport.clear()
        return [pickle.loads(frame) for frame in frames]

    def ask(self, request: Any) -> Any:
        self.send(request)
        (reply,) = self.replies()
        return reply


@pytest.fixture
def cache() -> Cache:
    return Cache()


def factory_of(cache: Cache, clock: Any = None, **options: Any) -> CarbonLinkFactory:
    return CarbonLinkFactory(
        clock or Clock(), cache.query, cache.get_metadata, cache.set_metadata, CounterGroup(), **options
    )


def test_the_five_kinds_of_requests_are_answered_as_carbon_answers(cache):
    client = Client(factory_of(cache))
    assert client.ask({"type": "cache-query", "metric": "a.b"}) == {"datapoints": POINTS["a.b"]}
    assert client.ask({"type": "cache-query", "metric": "no"}) == {"datapoints": []}
    assert client.ask({"type": "cache-query-bulk", "metrics": ["a.b", "no"]}) == {
        "datapointsByMetric": {"a.b": POINTS["a.b"], "no": []}
    }
    meta = {"metric": "a.b", "key": "aggregationMethod"}
    assert client.ask({"type": "get-metadata", **meta}) == {"value": "average"}
    assert client.ask({"type": "set-metadata", **meta, "value": "max"}) == {"old_value": "average", "new_value": "max"}
    assert client.ask({"type": "get-metadata", **meta}) == {"value": "max"}
    assert "has no xff" in client.ask({"type": "get-metadata", "metric": "a.b", "key": "xff"})["error"]
    assert client.ask({"type": "X"}) == {"error": 'Invalid request type "X"'}
    assert client.server.factory.counters.as_dict() == {
        "cacheBulkQueries": 1,
        "cacheBulkQuerySize": 2,
        "cacheQueries": 2,
        "cacheQueryErrors": 1,
    }


def test_bytes_may_come_one_at_a_time_and_requests_several_at_a_time(cache):
    client = Client(factory_of(cache))
    for byte in encode(pickle.dumps({"type": "cache-query", "metric": "a.c"})):
        client.server.dataReceived(bytes([byte]))
    assert client.replies() == [{"datapoints": POINTS["a.c"]}]
    client.send(*[{"type": "cache-query", "metric": metric} for metric in ("a.b", "a.c", "no")])
    assert client.replies() == [{"datapoints": POINTS["a.b"]}, {"datapoints": POINTS["a.c"]}, {"datapoints": []}]


@pytest.mark.parametrize("frame", [b"", b"garbage", b"cos\nsystem\n(S'true'\ntR.", pickle.dumps([1])])
def test_a_request_that_cannot_be_read_is_answered_and_the_connection_stays(cache, frame):
    client = Client(factory_of(cache))
    client.server.dataReceived(encode(frame))
    (reply,) = client.replies()
    assert list(reply) == ["error"]
    assert client.ask({"type": "cache-query", "metric": "a.c"}) == {"datapoints": POINTS["a.c"]}
    assert not client.transport.disconnecting


def test_a_frame_that_is_too_long_is_answered_after_those_before_it_and_ends_the_connection(cache):
    client = Client(factory_of(cache, max_frame=1000))
    client.server.dataReceived(
        encode(pickle.dumps({"type": "cache-query", "metric": "a.c"})) + struct.pack(">I", 1001) + b"x" * 1001
    )
    first, second = client.replies()
    assert first == {"datapoints": POINTS["a.c"]}
    assert "1001 bytes" in second["error"]
    assert client.transport.disconnecting


def test_answers_that_come_later_keep_the_order_of_the_requests(cache):
    late: Deferred[list[tuple[int, float]]] = Deferred()
    cache.points["late"] = late
    client = Client(factory_of(cache))
    client.send({"type": "cache-query", "metric": "late"}, {"type": "cache-query", "metric": "a.c"})
    assert client.replies() == []
    assert client.transport.producerState == "paused"  # nothing more is read meanwhile
    late.callback([(1, 2.0)])
    assert client.replies() == [{"datapoints": [(1, 2.0)]}, {"datapoints": POINTS["a.c"]}]
    assert client.transport.producerState == "producing"


def test_a_failure_of_ours_is_an_error_reply_and_the_connection_stays(cache):
    class Broken(Cache):
        def query(self, metric):
            raise ZeroDivisionError("oh")

    client = Client(factory_of(Broken()))
    assert "ZeroDivisionError: oh" in client.ask({"type": "cache-query", "metric": "a"})["error"]
    late: Deferred[Any] = Deferred()
    cache.points["late"] = late
    client = Client(factory_of(cache))
    client.send({"type": "cache-query", "metric": "late"})
    late.errback(CarbonError("the file is damaged; remove it"))
    assert client.replies() == [{"error": "the file is damaged; remove it"}]


def test_a_client_that_goes_away_cancels_what_it_waits_for(cache):
    cancelled = []
    cache.points["late"] = Deferred(lambda _: cancelled.append(True))
    factory = factory_of(cache)
    client = Client(factory)
    client.send({"type": "cache-query", "metric": "late"})
    client.server.connectionLost()
    assert cancelled == [True] and not factory.connections


def test_a_client_that_does_not_read_is_not_read_from(cache):
    client = Client(factory_of(cache))
    client.server.pauseProducing()
    client.send(*[{"type": "cache-query", "metric": "a.c"}] * 3)
    assert client.replies() == [] and client.transport.producerState == "paused"
    client.server.resumeProducing()
    assert len(client.replies()) == 3 and client.transport.producerState == "producing"


def test_a_bulk_request_that_is_too_large_is_refused_with_the_limit(cache):
    client = Client(factory_of(cache, max_bulk_metrics=3))
    reply = client.ask({"type": "cache-query-bulk", "metrics": list("abcd")})
    assert reply == {"error": "cache-query-bulk asks for 4 metrics; ask for at most 3 at a time"}


def test_an_answer_with_too_many_points_is_refused_with_the_limit(cache):
    cache.points["large"] = [(n, 0.0) for n in range(60)]
    client = Client(factory_of(cache, max_points=100))
    reply = client.ask({"type": "cache-query-bulk", "metrics": ["large", "large", "a.b"]})
    assert set(reply["datapointsByMetric"]) == {"large", "a.b"}
    cache.points["other"] = cache.points["large"]
    reply = client.ask({"type": "cache-query-bulk", "metrics": ["large", "other"]})
    assert "more than 100 datapoints (at 'other')" in reply["error"]
    cache.points["other"] = cache.points["large"] * 2
    assert "more than 100 datapoints" in client.ask({"type": "cache-query", "metric": "other"})["error"]


def test_a_large_bulk_request_lets_others_have_their_turn(cache):
    clock = Clock()
    factory = factory_of(cache, clock)
    client, other = Client(factory), Client(factory)
    client.send({"type": "cache-query-bulk", "metrics": [f"m{n}" for n in range(1000)]})
    assert other.ask({"type": "cache-query", "metric": "a.c"}) == {"datapoints": POINTS["a.c"]}
    assert client.replies() == []
    clock.advance(0)
    (reply,) = client.replies()
    assert len(reply["datapointsByMetric"]) == 1000


def test_an_idle_connection_is_closed_when_that_is_asked_for(cache):
    clock = Clock()
    factory = factory_of(cache, clock, idle_timeout=30)
    client = Client(factory)
    clock.advance(29)
    client.ask({"type": "cache-query", "metric": "a.b"})
    clock.advance(29)
    assert not client.transport.disconnecting
    clock.advance(2)
    assert client.transport.disconnecting and factory.counters["cacheQueryIdleClosed"] == 1


def test_a_connection_that_waits_for_our_answer_is_not_idle(cache):
    clock = Clock()
    cache.points["late"] = Deferred()
    client = Client(factory_of(cache, clock, idle_timeout=30))
    client.send({"type": "cache-query", "metric": "late"})
    clock.advance(31)
    clock.advance(31)
    assert not client.transport.disconnecting
    cache.points["late"].callback([])
    clock.advance(31)
    assert client.transport.disconnecting


def test_connections_beyond_the_limit_are_refused_and_counted(cache):
    factory = factory_of(cache, max_connections=2)
    first, _ = Client(factory), Client(factory)
    assert factory.buildProtocol(None) is None
    assert factory.counters["cacheQueryRefused"] == 1
    first.server.connectionLost()
    assert factory.buildProtocol(None) is not None


def test_all_connections_can_be_ended(cache):
    factory = factory_of(cache)
    clients = [Client(factory), Client(factory)]
    factory.end_all()
    assert all(client.transport.disconnecting for client in clients)


_SERVER = """
import sys
sys.path[:0] = {path!r}
from test_carbonlink_server import Cache, factory_of
from twisted.internet import reactor
cache = Cache()
cache.points["large"] = [(n, float(n)) for n in range(500000)]
reactor.listenTCP({port}, factory_of(cache, reactor, log_hits=True), interface="127.0.0.1")
reactor.run()
"""


class Peer:
    """What graphite-web's CarbonLink pool does: a socket, struct and pickle."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)

    def send(self, request: Any, protocol: int = -1) -> None:
        packed = pickle.dumps(request, protocol)
        self.socket.sendall(struct.pack("!L", len(packed)) + packed)

    def receive(self) -> Any:
        (length,) = struct.unpack("!L", self._exactly(4))
        return pickle.loads(self._exactly(length))

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            piece = self.socket.recv(count - len(got))
            assert piece, "connection closed"
            got += piece
        return got


def test_plain_sockets_are_answered_over_loopback():
    (port,) = free_ports(1)
    path = [entry for entry in (str(sys.modules[__name__].__file__).rpartition("/")[0], *sys.path) if entry]
    server = subprocess.Popen([sys.executable, "-c", _SERVER.format(path=path, port=port)])
    try:
        peer = until("the server listens", lambda: Peer(port))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            peer.send({"type": "cache-query", "metric": "a.b"}, protocol)
            assert peer.receive() == {"datapoints": POINTS["a.b"]}
        # Many requests for large answers, sent before any is read: all come, in order.
        other = Peer(port)
        asked = ["large", "a.b"] * 10
        sender = threading.Thread(
            target=lambda: [other.send({"type": "cache-query", "metric": metric}) for metric in asked]
        )
        sender.start()
        peer.send({"type": "cache-query-bulk", "metrics": ["a.b", "a.c", "no"]})
        assert peer.receive() == {"datapointsByMetric": {**POINTS, "no": []}}
        for metric in asked:
            assert len(other.receive()["datapoints"]) == (500_000 if metric == "large" else 2)
        sender.join()
        peer.socket.sendall(struct.pack("!L", 2_000_000))
        assert "2000000 bytes" in peer.receive()["error"]
        assert peer.socket.recv(1) == b""
    finally:
        server.kill()
        server.wait()


_CARBON = """
import json, sys
from carbon.conf import settings
settings.LOG_CACHE_HITS = False
from twisted.internet.testing import StringTransport
from carbon.cache import MetricCache
from carbon.protocols import CacheManagementHandler
for metric, points in json.load(sys.stdin).items():
    for point in points:
        MetricCache().store(metric, tuple(point))
replies = []
for request in sys.argv[1:]:
    handler, transport = CacheManagementHandler(), StringTransport()
    handler.makeConnection(transport)
    handler.dataReceived(bytes.fromhex(request))
    replies.append(transport.value().hex())
print("@@@" + json.dumps(replies))
"""


def test_the_bytes_on_the_wire_are_those_of_carbons_own_handler(cache):
    requests = [
        encode(pickle.dumps(request, 2))
        for request in (
            {"type": "cache-query", "metric": "a.b"},
            {"type": "cache-query", "metric": "no"},
            {"type": "cache-query-bulk", "metrics": ["a.c", "no", "a.b"]},
            {"type": "frobnicate"},
        )
    ]
    done = subprocess.run(
        [sys.executable, "-c", _CARBON, *(request.hex() for request in requests)],
        input=json.dumps(POINTS),
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "GRAPHITE_ROOT": "/tmp"},
    )
    assert done.returncode == 0, done.stderr
    for request, theirs in zip(requests, json.loads(done.stdout.rpartition("@@@")[2])):
        client = Client(factory_of(cache))
        client.server.dataReceived(request)
        assert client.transport.value().hex() == theirs
