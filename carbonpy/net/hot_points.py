"""What caches have not written yet, asked over CarbonLink: for a service that reads the files of others' caches.

The law: a cache that does not answer in time costs its points, never the query: it is named in `troubles` and
left alone for a while.  Whoever is asked about many metrics is asked at once (``cache-query-bulk``); a cache
that does not know that question is asked one by one.  Replies are read as plain data, whatever they are.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.clock import Clock
from carbonpy.errors import ConfigError, WireError
from carbonpy.hashing.destination import Destination
from carbonpy.hashing.ring import Ring
from carbonpy.hashing.rings import make_ring
from carbonpy.wire.framing import encode
from carbonpy.wire.pickle_machine import Limits
from carbonpy.wire.pickled import decode_plain, encode_plain

Points = tuple[NDArray[np.uint32], NDArray[np.float64]]
NO_POINTS: Points = (np.empty(0, np.uint32), np.empty(0, np.float64))

_HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]]+):(\d+)(?::(.+))?\Z")
#: Metrics of one question.
_AT_ONCE = 500
_LARGEST_REPLY = 256 << 20
_REPLY_LIMITS = Limits(max_entries=100_000)
_CARBON = "carbon."
#: Every cache is asked about a metric, and not only those that a ring gives it.
ALL = "all"


class CacheHost(NamedTuple):
    """The query port of a cache.  Immutable."""

    host: str
    port: int
    instance: str | None = None

    @classmethod
    def parse(cls, text: str) -> CacheHost:
        """Of ``host:port`` or ``host:port:instance``.  Raises ValueError."""
        found = _HOST.match(text)
        if found is None:
            raise ValueError(f"{text!r} is not host:port or host:port:instance")
        return cls(found[1].strip("[]"), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Cache:
    """One cache and the connection to it.  Safe from any thread: one question at a time."""

    def __init__(self, host: CacheHost, timeout: float, retry_delay: float, clock: Clock) -> None:
        self.host = host
        self._timeout = timeout
        self._retry_delay = retry_delay
        self._clock = clock
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._one_by_one = False
        self._dead_until = float("-inf")
        #: Why it is not asked, or did not answer; "" if all is well.
        self.trouble = ""

    def points(self, metrics: Sequence[str]) -> dict[str, list[Any]]:
        """The raw points of metrics; none from a cache that does not answer."""
        with self._lock:
            if self._clock() < self._dead_until:
                return {}
            try:
                found = self._points(metrics)
            except (OSError, WireError) as error:
                self._close()
                self._dead_until = self._clock() + self._retry_delay
                self.trouble = f"the cache {self.host} does not answer: {error}"
                return {}
            self.trouble = ""
            return found

    def _points(self, metrics: Sequence[str]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for start in range(0, len(metrics), _AT_ONCE):
            some = metrics[start : start + _AT_ONCE]
            bulk = None if self._one_by_one else self._bulk(some)
            found.update(self._singly(some) if bulk is None else bulk)
        return found

    def _bulk(self, metrics: Sequence[str]) -> dict[str, list[Any]] | None:
        """None when the cache does not know the question."""
        fresh = self._socket is None
        try:
            reply = self._ask({"type": "cache-query-bulk", "metrics": list(metrics)})
        except (ConnectionError, WireError):
            if not fresh:  # a kept connection may have ended long ago
                return self._bulk(metrics)
            # Some end the connection at what they do not know; whether it is that, the next question shows.
            self._one_by_one = True
            return None
        by_metric = reply.get("datapointsByMetric")
        if not isinstance(by_metric, dict):
            self._one_by_one = True
            return None
        return {_text(metric): _list(points) for metric, points in by_metric.items()}

    def _singly(self, metrics: Sequence[str]) -> dict[str, list[Any]]:
        try:
            found = {}
            for metric in metrics:
                reply = self._ask({"type": "cache-query", "metric": metric})
                if "datapoints" not in reply:
                    raise WireError(f"it answered {str(reply)[:100]!r}")
                found[metric] = _list(reply["datapoints"])
            return found
        except (OSError, WireError):
            # Not what it knows but the cache itself is the trouble: the better question stays possible.
            self._one_by_one = False
            raise

    def _ask(self, question: dict[str, Any]) -> dict[Any, Any]:
        try:
            if self._socket is None:
                self._socket = socket.create_connection((self.host.host, self.host.port), timeout=self._timeout)
            deadline = self._clock() + self._timeout
            self._socket.sendall(encode(encode_plain(question)))
            (size,) = struct.unpack("!I", self._read(4, deadline))
            if size > _LARGEST_REPLY:
                raise WireError(f"a reply of {size} bytes is not one of CarbonLink")
            reply = decode_plain(self._read(size, deadline), _REPLY_LIMITS)
        except (OSError, WireError):
            self._close()
            raise
        if not isinstance(reply, dict):
            raise WireError("it answered something that is no reply of CarbonLink")
        return reply

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._socket is not None
        received = bytearray()
        while len(received) < size:
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError(f"no answer within {self._timeout:g} s")
            self._socket.settimeout(left)
            piece = self._socket.recv(min(size - len(received), 1 << 20))
            if not piece:
                raise ConnectionResetError("it closed the connection")
            received += piece
        return bytes(received)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class CarbonLinkPoints:
    """The points that caches hold.  Safe from any thread; starts one thread for each cache but the first.

    timeout: seconds for one question.  retry_delay: seconds for which a dead cache is left alone.
    hashing: ALL, or the ring by which a relay gives metrics to the caches.  replication: how many have each, by it.
    """

    def __init__(
        self,
        hosts: Sequence[CacheHost],
        *,
        timeout: float,
        retry_delay: float,
        hashing: str = ALL,
        replication: int = 1,
        clock: Clock = time.monotonic,
    ) -> None:
        self._caches = {host: _Cache(host, timeout, retry_delay, clock) for host in hosts}
        self._hosts = tuple(hosts)
        self._ring: Ring | None = None
        self._misfit = ""
        if hashing != ALL and len(hosts) > 1:
            try:
                self._ring = make_ring(hashing, [Destination(*host) for host in hosts])
            except ConfigError as error:
                self._misfit = f"CARBONLINK_HOSTS: {error}; until then all caches are asked about all metrics"
        self._replication = replication
        self._threads = ThreadPoolExecutor(max(1, len(hosts) - 1), "carbonlink")

    def peek_many(self, metrics: Sequence[str]) -> Mapping[str, Points]:
        """(timestamps ascending, values) of the metrics that have points."""
        wanted = {host: asked for host, asked in self._assigned(metrics).items() if asked}
        if not wanted:
            return {}
        (first, asked), *others = wanted.items()
        begun = [self._threads.submit(self._caches[host].points, rest) for host, rest in others]
        replies = [self._caches[first].points(asked), *(answer.result() for answer in begun)]
        raw: dict[str, dict[int, float]] = {}
        for reply in replies:
            for metric, points in reply.items():
                if points:
                    raw.setdefault(metric, {}).update(_pairs(points))
        return {metric: _columns(points) for metric, points in raw.items() if points}

    def peek(self, metric: str) -> Points:
        """The same of one metric."""
        return self.peek_many([metric]).get(metric, NO_POINTS)

    def known(self, metric: str) -> bool:
        """Whether a cache has points of the metric."""
        return len(self.peek(metric)[0]) > 0

    def flush(self) -> None:
        """Names that have no files yet are not told by caches."""

    def troubles(self) -> list[str]:
        """A sentence for each cache that does not answer, and one when there can be no ring of them."""
        silent = [cache.trouble for cache in self._caches.values() if cache.trouble]
        return [self._misfit, *silent] if self._misfit else silent

    def _assigned(self, metrics: Sequence[str]) -> dict[CacheHost, list[str]]:
        ring = self._ring
        if ring is None:
            return {host: list(metrics) for host in self._caches}
        asked: dict[CacheHost, list[str]] = {host: [] for host in self._caches}
        for metric in metrics:
            # Each cache makes its own metrics and keeps them, wherever a relay would put them.
            if metric.startswith(_CARBON):
                places = set(range(len(self._hosts)))
            else:
                # Whether the relay puts copies on different hosts is not known here.
                places = {n for diverse in (False, True) for n in ring.owners(metric, self._replication, diverse)}
            for place in sorted(places):
                asked[self._hosts[place]].append(metric)
        return asked


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _list(points: Any) -> list[Any]:
    if isinstance(points, dict):
        return list(points.items())
    return list(points) if isinstance(points, (list, tuple)) else []


def _pairs(points: Iterable[Any]) -> Iterable[tuple[int, float]]:
    for pair in points:
        if isinstance(pair, (list, tuple)) and len(pair) == 2:
            timestamp, value = pair
            if isinstance(timestamp, (int, float)) and isinstance(value, (int, float)) and 0 <= timestamp < 2**32:
                yield int(timestamp), float(value)


def _columns(points: Mapping[int, float]) -> Points:
    pairs = sorted(points.items())
    return np.array([t for t, _ in pairs], np.uint32), np.array([v for _, v in pairs], np.float64)
