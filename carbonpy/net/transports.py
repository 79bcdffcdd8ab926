"""Connections to destinations: over TCP or a UNIX socket, in the clear or with TLS.

The law.  A connection is there when bytes may be sent to the one who was meant: with TLS that is after the handshake,
so nothing is ever written to a peer whose certificate is not good.  A name is looked up at every attempt and all of
its addresses are tried, of IPv6 and IPv4.  An attempt, the look-up and the handshake included, takes at most `timeout`
seconds.  Every failure is an `Unreachable` whose message says in a few words why.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from carbonpy.errors import CarbonError
from carbonpy.net import tls


class Unreachable(CarbonError):
    """A connection could not be made, or TLS ended it; the message says why."""


@implementer(IStreamClientEndpoint)
class ClientEndpoint:
    """What connects to one destination, as often as it is asked to.  Reactor thread only.

    host, port: where; `unix`: a path instead of both.  secure: see `tls.ClientTls`; None for no TLS.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        *,
        unix: str = "",
        timeout: float = 5.0,
        secure: tls.ClientTls | None = None,
    ) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._secure = secure
        if unix:
            self._plain: Any = UNIXClientEndpoint(reactor, unix, timeout)
        else:
            self._plain = HostnameEndpoint(reactor, host, port, timeout)

    def connect(self, factory: Any) -> Deferred[Any]:
        """The factory's protocol once it is connected; fails with `Unreachable`, or CancelledError when cancelled."""
        if self._secure is None:
            ready: Deferred[Any] = self._plain.connect(factory)
        else:
            ready = self._plain.connect(self._secured(self._secure, factory))
            ready.addCallback(lambda transport: transport.wrappedProtocol.ready)
        ready.addTimeout(self._timeout, self._reactor)
        return ready.addErrback(self._explained)

    def _secured(self, secure: tls.ClientTls, factory: Any) -> Any:
        """A factory of connections that speak TLS and, when they do, connect a protocol of `factory`."""
        from twisted.protocols.tls import TLSMemoryBIOFactory

        inner = Factory()
        inner.noisy = False
        inner.buildProtocol = lambda address: _Handshake(factory, address)
        outer = TLSMemoryBIOFactory(secure, True, inner, clock=self._reactor)
        outer.noisy = False
        return outer

    def _explained(self, failure: Failure) -> Failure:
        if failure.check(CancelledError, Unreachable):
            return failure
        return Failure(Unreachable(self._reason(failure)))

    def _reason(self, failure: Failure) -> str:
        if failure.check(DNSLookupError):
            return "its name is not known"
        if failure.check(DeferredTimeout, ConnectTimeout, TCPTimedOutError):
            return f"no answer within {self._timeout:g} s"
        if failure.check(ConnectionRefusedError):
            return "connection refused; nobody listens there"
        return failure.getErrorMessage() or failure.type.__name__


def explained(reason: Any, transport: Any = None) -> str:
    """Why a connection ended, in a few words.  reason: what `connectionLost` got; transport: that of the protocol."""
    value = getattr(reason, "value", reason)
    if isinstance(value, ConnectionDone):
        return "the other side closed the connection"
    return tls.why(reason, transport) or str(value) or type(value).__name__


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Waits for the end of the handshake; from then on it is the protocol of the real factory."""

    def __init__(self, factory: Any, address: Any) -> None:
        self._factory = factory
        self._address = address
        self._inner: Any = None
        self.ready: Deferred[Any] = Deferred(self._give_up)

    def _give_up(self, ready: Deferred[Any]) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def handshakeCompleted(self) -> None:
        """TLS is there and the certificate is good."""
        inner = self._factory.buildProtocol(self._address)
        if inner is None:
            self.transport.abortConnection()
            return
        self._inner = inner
        self.dataReceived = inner.dataReceived
        inner.makeConnection(self.transport)
        self.ready.callback(inner)

    def connectionLost(self, reason: Any = None) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.ready.called:
            self.ready.errback(Failure(Unreachable(self._reason(reason))))

    def _reason(self, reason: Any) -> str:
        sentence = tls.why(reason, self.transport)
        if not sentence and reason.check(ConnectionDone, ConnectionLost):
            return "it ended the connection in the middle of the TLS handshake; does it speak TLS?"
        return sentence or reason.getErrorMessage()


