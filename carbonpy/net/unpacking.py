"""Compressed connections: what comes is unpacked before a receiver sees it.

The law.  A receiver gets the text of a stream as if it had come uncompressed, in pieces of bounded size; between two
pieces the reactor looks at everybody else, and the connection is not read.  While its receiver is paused nothing is
unpacked; what the sender had sent when it closed the connection is taken in all the same.  A stream that is damaged,
or a bomb, ends its connection, and is counted as one malformed datapoint; what came before is kept.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from carbonpy.wire.compressed import decoder


@implementer(IHandshakeListener)
class Unpacking(Protocol):
    """Between a compressed connection and its receiver, whose transport it is.  Reactor thread only."""

    def __init__(self, receiver: Any, compression: str) -> None:
        self._receiver = receiver
        self._decoder = decoder(compression)
        self._paused = self._over = self._due = False
        receiver.take_rest = self._take_rest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def connectionMade(self) -> None:
        self._receiver.makeConnection(self)

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        self._receiver.handshakeCompleted()

    def pauseProducing(self) -> None:
        """The receiver wants no more for now."""
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The receiver wants more."""
        self._paused = False
        if not self._due:
            self._go_on()

    def dataReceived(self, data: bytes) -> None:
        self._unpack(data)
        if self._decoder.pending and not self._due:
            self.transport.pauseProducing()
            self._due = True
            self._receiver.callLater(0, self._next)

    def _next(self) -> None:
        self._due = False
        self._go_on()

    def _go_on(self) -> None:
        if self._paused or self._over:
            return
        if self._decoder.pending:
            self.dataReceived(b"")
        if not (self._due or self._paused or self._over):
            self.transport.resumeProducing()

    def _unpack(self, data: bytes) -> None:
        text = self._decoder.decode(data)
        if text:
            self._receiver.dataReceived(text)
        if self._decoder.broken is not None and not self._over:
            self._over = True
            receiver = self._receiver
            receiver.receivers.intake.refuse("malformed", receiver.peer, b"", str(self._decoder.broken))
            self.transport.abortConnection()

    def _take_rest(self) -> None:
        while self._decoder.pending:
            self._unpack(b"")

    def connectionLost(self, reason: Any = None) -> None:
        self._take_rest()
        self._over = True
        self._receiver.connectionLost(reason)
