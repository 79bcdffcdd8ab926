"""HTTP connections of ``twisted.web`` whose answers go to the system at once.

The law: what is written arrives whole and in order, whether the system took it at once or the transport keeps it until
it can be sent.  Twisted's transports copy what they are given, send it in pieces of 128 kB, and a turn of the reactor
later; where nothing waits in them and there is no TLS, the socket is asked first.  What it does not take goes to the
transport, which says then that there is enough for now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.tcp import Server
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from carbonpy.web.answer import Blob


def line(name: str, value: str) -> bytes:
    """A line of a head.  What would end it before its end becomes a space."""
    return f"{name}: {' '.join(value.splitlines())}\r\n".encode("utf-8", "replace")


class Channel(HTTPChannel):
    """One connection.  Reactor thread only.

    The head of an answer waits for the beginning of its body, to go out together with it.  What is written may be a
    view of memory that will have other contents when the call has returned.
    """

    #: Lines for the next head besides those that Twisted makes; see `line`.
    lines: Sequence[bytes] = ()
    _head: bytes = b""

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """The head of an answer; `headers` has what has no line ends in it."""
        lines = [b"%b %b %b\r\n" % (version, code, reason), *self.lines]
        self.lines = ()
        for name, values in headers.getAllRawHeaders():
            lines += [b"%b: %b\r\n" % (name, value) for value in values]
        self._head = b"".join([*lines, b"\r\n"])

    def write(self, data: Blob) -> None:
        """A part of a body."""
        self.writeSequence((data,))

    def writeSequence(self, iovec: Iterable[Blob]) -> None:
        """Parts of a body, or what stands between them."""
        head, self._head = self._head, b""
        blobs = [head, *iovec] if head else list(iovec)
        left = self._sent(blobs)
        if left is not None:
            self.transport.writeSequence([bytes(blob) for blob in left])

    def requestDone(self, request: Any) -> None:
        """An answer is complete."""
        if self._head:
            self.writeSequence(())
        super().requestDone(request)

    def _sent(self, blobs: list[Blob]) -> list[Blob] | None:
        """What the system did not take; None if it took it all."""
        transport: Any = self.transport
        # What Twisted has for this is not public: without these attributes everything goes through the transport.
        waits = getattr(transport, "dataBuffer", True) or getattr(transport, "_tempDataBuffer", True)
        if type(transport) is not Server or waits or transport.TLS or transport.disconnecting:
            return blobs
        try:
            size = transport.getHandle().sendmsg(blobs)
        except OSError:  # it is full, or gone, which the transport will come across itself
            return blobs
        for number, blob in enumerate(blobs):
            if size < len(blob):
                return [blob[size:], *blobs[number + 1 :]]
            size -= len(blob)
        return None
