"""HTTP to one other Graphite server: asked with a deadline, answered whole or not at all.

The law: an answer comes within `timeout` seconds from the question to its last byte and within `MOST_BYTES`,
or there is a StoreFailed that names the server.  Connections are kept for the next question.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from carbonpy import __version__
from carbonpy.clock import Clock
from carbonpy.errors import CarbonError

#: Bytes of one answer.
MOST_BYTES = 1 << 30
#: Characters of an address; longer questions are sent as a form.
_LONGEST_ADDRESS = 4_000
_MOST_IDLE = 8
_PIECE = 1 << 18
_FORM = "application/x-www-form-urlencoded"

Pairs = Sequence[tuple[str, str]]
#: Method, address, body, headers.
_Request = tuple[str, str, bytes | None, dict[str, str]]


class StoreFailed(CarbonError):
    """Another server did not answer, or answered what cannot be used; the message names it."""


class Refused(StoreFailed):
    """It answered that it does not understand the question."""


class Server(NamedTuple):
    """Where another server is.  Immutable.

    options: sent with each question.  authorization: a header, or "".
    """

    scheme: str
    host: str
    port: int
    prefix: str
    options: tuple[tuple[str, str], ...] = ()
    authorization: str = ""

    @classmethod
    def parse(cls, url: str) -> Server:
        """Of ``http://user:password@host:port/prefix?option=value``, all but the host optional.  Raises ValueError."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a server; write http://host:port")
        authorization = ""
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(user.encode()).decode()
        return cls(
            parts.scheme,
            parts.hostname,
            parts.port or (443 if parts.scheme == "https" else 80),
            parts.path.rstrip("/"),
            tuple(parse_qsl(parts.query, keep_blank_values=True)),
            authorization,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


class Reply(NamedTuple):
    """What came back with status 200."""

    content_type: str
    body: bytes


class RemoteHttp:
    """Questions to one server.  Safe from any thread."""

    def __init__(self, server: Server, clock: Clock = time.monotonic) -> None:
        self.server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []

    def ask(
        self, path: str, query: Pairs, timeout: float, *, body: bytes | None = None, post: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:  # fmt: skip
        """The reply to a GET (with a body, if given) of `path` below the server's prefix; None for 404.

        Sent as a form with POST when asked, or when the address would be too long.  Raises StoreFailed.
        """
        text = urlencode(query, errors="surrogatepass")
        address = f"{self.server.prefix}{path}"
        sent = {"User-Agent": f"carbonpy/{__version__}", **(headers or {})}
        if self.server.authorization:
            sent["Authorization"] = self.server.authorization
        if body is None and (post or len(address) + len(text) > _LONGEST_ADDRESS):
            sent["Content-Type"] = _FORM
            request: _Request = ("POST", address, text.encode(), sent)
        else:
            request = ("GET", f"{address}?{text}" if text else address, body, sent)
        deadline = self._clock() + timeout
        try:
            return self._exchange(request, timeout, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StoreFailed(f"{self.server}: {_what(error)}") from None

    def _exchange(self, request: _Request, timeout: float, deadline: float) -> Reply | None:
        method, address, body, headers = request
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        fresh = connection is None
        connection = connection or self._connect(timeout)
        kept = False
        try:
            try:
                self._limit(connection, deadline, timeout)
                connection.request(method, address, body, headers)
                response = connection.getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                if fresh:
                    raise
                # It was kept, and the server had ended it meanwhile.
                connection.close()
                connection = self._connect(timeout)
                self._limit(connection, deadline, timeout)
                connection.request(method, address, body, headers)
                response = connection.getresponse()
            data = self._read(connection, response, deadline, timeout)
            kept = not response.will_close
        finally:
            if kept:
                with self._lock:
                    kept = len(self._idle) < _MOST_IDLE
                    if kept:
                        self._idle.append(connection)
            if not kept:
                connection.close()
        if response.status == 404:
            return None
        if response.status != 200:
            text = " ".join(data[:300].decode("utf-8", "replace").split())
            kind = Refused if response.status in (400, 406, 415) else StoreFailed
            raise kind(f"{self.server}: it answered {response.status}: {text[:200]}")
        return Reply(response.headers.get_content_type(), data)

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        server = self.server
        if server.scheme == "https":
            return http.client.HTTPSConnection(
                server.host, server.port, timeout=timeout, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(server.host, server.port, timeout=timeout)

    def _limit(self, connection: http.client.HTTPConnection, deadline: float, timeout: float) -> None:
        """Let the next wait end at the deadline."""
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError(f"no answer within {timeout:g} s")
        connection.timeout = left
        if connection.sock is not None:
            connection.sock.settimeout(left)

    def _read(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        deadline: float,
        timeout: float,
    ) -> bytes:
        pieces = []
        size = 0
        # With the last byte of an answer that ends its connection the socket is gone; the response keeps its own.
        socket = connection.sock
        while True:
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError(f"no whole answer within {timeout:g} s")
            if socket is not None:
                socket.settimeout(left)
            piece = response.read1(_PIECE)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                raise ValueError(f"its answer is larger than {MOST_BYTES >> 20} MB; ask for less")
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # only then is the connection free for the next one
        return b"".join(pieces)


def _what(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return str(error) if "within" in str(error) else "it does not answer in time"
    if isinstance(error, http.client.HTTPException):
        return f"its answer is no HTTP or was cut ({type(error).__name__})"
    return str(error) or type(error).__name__
