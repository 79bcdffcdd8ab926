"""Asking a running daemon, over CarbonLink, whether it holds points of a metric.

The law: where no daemon listens the answer is no; once one has answered, losing it is an error, because from
then on nobody knows.
"""

from __future__ import annotations

import socket
import struct

from carbonpy.errors import CarbonError, WireError
from carbonpy.wire.pickled import decode_plain, encode_plain

#: Seconds to wait for the daemon, which may be busy.
TIMEOUT = 30.0
_MAX_REPLY = 64 << 20


class CacheAsker:
    """One connection to the query port of the daemon at `interface` and `port` (0: it has none).  One thread."""

    def __init__(self, interface: str, port: int) -> None:
        self._host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(interface, interface)
        self._port = port
        self._socket: socket.socket | None = None

    @property
    def address(self) -> str:
        """Where the daemon should be, for messages."""
        return f"{self._host} port {self._port}"

    def connect(self) -> bool:
        """Connect; whether a daemon listens there."""
        if not self._port:
            return False
        try:
            self._socket = socket.create_connection((self._host, self._port), timeout=TIMEOUT)
        except OSError:
            return False
        return True

    def has_points(self, metric: str) -> bool:
        """Whether the daemon holds points of `metric`; False if none listens.

        Raises CarbonError when a daemon that was there does not answer.
        """
        if self._socket is None:
            return False
        frame = encode_plain({"type": "cache-query", "metric": metric})
        try:
            self._socket.sendall(struct.pack("!I", len(frame)) + frame)
            reply = decode_plain(self._read(struct.unpack("!I", self._read(4))[0]))
        except (OSError, WireError) as error:
            raise CarbonError(f"the daemon at {self.address} stopped answering: {error}; try again") from error
        if not isinstance(reply, dict) or "datapoints" not in reply:
            raise CarbonError(f"what listens at {self.address} is no cache: it answered {str(reply)[:80]!r}")
        return bool(reply["datapoints"])

    def close(self) -> None:
        """Close the connection.  Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self, size: int) -> bytes:
        assert self._socket is not None
        if size > _MAX_REPLY:
            raise WireError(f"a reply of {size} bytes is not one of CarbonLink")
        received = b""
        while len(received) < size:
            piece = self._socket.recv(size - len(received))
            if not piece:
                raise WireError("it closed the connection")
            received += piece
        return received
