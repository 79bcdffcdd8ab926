"""A site in memory: requests as bytes in, responses out, and a thread pool that works when it is told to."""

from __future__ import annotations

import gzip
import http.client
import io
import json
from collections import deque
from urllib.parse import urlencode

import numpy as np
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from carbonpy.catalog import Catalog
from carbonpy.events.store import EventStore
from carbonpy.reading.local import LocalStore
from carbonpy.retention import parse_retentions
from carbonpy.web.dispatch import PoolDispatch
from carbonpy.web.limits import DEFAULT_LIMITS
from carbonpy.web.service import Service
from carbonpy.web.site import QuietSite, make_site, report


class InlineReactor(Clock):
    """A clock that calls at once what is called "from a thread"."""

    def callFromThread(self, function, *arguments):
        function(*arguments)


class SteppingPool:
    """A thread pool without threads: `step` does the oldest piece of work."""

    def __init__(self):
        self.waiting = deque()

    def callInThreadWithCallback(self, done, function, *arguments, **keywords):
        self.waiting.append((done, function, arguments, keywords))

    def step(self):
        done, function, arguments, keywords = self.waiting.popleft()
        try:
            result = function(*arguments, **keywords)
        except Exception as error:
            done(False, Failure(error))
        else:
            done(True, result)


class Response:
    """What came back."""

    def __init__(self, data, head_only=False):
        class Pipe:
            def makefile(self, *_):
                return io.BytesIO(data)

        response = http.client.HTTPResponse(Pipe(), method="HEAD" if head_only else "GET")
        response.begin()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def content_type(self):
        return self.headers.get("content-type")

    @property
    def text(self):
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return body.decode()

    @property
    def json(self):
        return json.loads(self.text)


class Connection:
    """One client's connection to a site."""

    def __init__(self, site):
        self.transport = StringTransport()
        self.protocol = site.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, data):
        self.protocol.dataReceived(data)

    @property
    def received(self):
        return self.transport.value()

    def close(self):
        self.protocol.connectionLost(Failure(ConnectionDone()))


class Asked:
    """A site over a real catalogue and a cache that is a dictionary: {metric: {timestamp: value}}."""

    def __init__(self, directory, now=1_700_000_040, retentions="60s:1h,5m:1d", store=None, **options):
        self.now = now
        self.cached = {}
        self.on_peek = lambda metric: None
        self.catalog = Catalog(f"{directory}/catalog.sqlite")
        self.reactor = InlineReactor()
        self.pool = SteppingPool()
        self.health = {"ledger": {"received": 3, "balanced": True}}
        self.ready = True
        schema = (parse_retentions(retentions), 0.0, "sum")
        self.store = LocalStore(
            self.catalog, self.peek, f"{directory}/whisper", known=self.cached.__contains__, schema_for=lambda _: schema
        )
        limits = options.pop("limits", DEFAULT_LIMITS)
        of_site = ("cors_origins", "users", "cache_bytes", "log_requests")
        site_options = {name: options.pop(name) for name in of_site if name in options}
        self.events = EventStore(f"{directory}/events.sqlite")
        self.service = Service(store or self.store, self.events, limits=limits, report=report, **options)
        self.site: QuietSite = make_site(
            PoolDispatch(self.service, self.reactor, self.pool),
            lambda: self.health,
            lambda: "# TYPE carbonpy_received counter\ncarbonpy_received 3\n",
            lambda: float(self.now),
            reactor=self.reactor,
            pool=self.pool,
            ready=lambda: self.ready,
            limits=limits,
            **site_options,
        )

    def peek(self, metric):
        self.on_peek(metric)
        points = sorted(self.cached.get(metric, {}).items())
        return np.array([t for t, _ in points], dtype=np.uint32), np.array([v for _, v in points], dtype=np.float64)

    def fill(self, points):
        """Put {metric: {timestamp: value}} into the cache and the names into the catalogue."""
        self.cached.update(points)
        self.catalog.add(points)

    def connect(self):
        return Connection(self.site)

    def request(self, method, target, headers=None, body=b""):
        """One request on a connection of its own, with as many steps of the pool as it takes."""
        connection = self.connect()
        lines = [f"{method} {target} HTTP/1.1", "Host: carbonpy"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        connection.send("\r\n".join([*lines, "", ""]).encode() + body)
        while self.pool.waiting:
            self.pool.step()
        return Response(connection.received, head_only=method == "HEAD")

    def get(self, path, /, headers=None, **parameters):
        query = urlencode(parameters, doseq=True)
        return self.request("GET", f"{path}?{query}" if query else path, headers)

    def post(self, path, /, headers=None, **parameters):
        form = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.request("POST", path, form, urlencode(parameters, doseq=True).encode())
