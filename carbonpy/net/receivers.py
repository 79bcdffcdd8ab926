"""Receivers: lines over TCP and UDP, pickles and protobuf over TCP; in the clear, in TLS, or on UNIX sockets.

The law.

* A bad line or item costs itself.  A connection ends only when it cannot be kept: a pickle frame
  longer than the limit (nobody knows where the next one starts), a compressed stream that is damaged or a bomb (see
  `net.unpacking`), an idle time-out, a TLS handshake that fails or takes too long, or its peer.
* While the intake is paused no TCP sender is read and no connection accepted; nothing is dropped.
* At the connection limit no listening port accepts until a connection ends; of several that arrive
  at once, those beyond the limit are closed.
* The last line of a connection or of a cut datagram counts only if it ends with a newline: half a line
  is not a datapoint.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from zope.interface import implementer

from carbonpy.errors import WireError
from carbonpy.ingest.intake import Intake
from carbonpy.net import tls
from carbonpy.net.gathering import Gatherer
from carbonpy.net.unpacking import Unpacking
from carbonpy.wire import acknowledged
from carbonpy.wire.framing import Int32Frames
from carbonpy.wire.line import LineSplitter
from carbonpy.wire.payload import decode_points as decode_payload
from carbonpy.wire.pickled import Points, decode_points

log = Logger("listener")
#: Seconds that a TLS handshake may take.
_HANDSHAKE = 30.0


@dataclass
class ReceiverLimits:
    """Plain values; changes take effect for new connections."""

    line_length: int = 16384
    frame_length: int = 1 << 20
    connections: float = float("inf")
    idle_timeout: float | None = None
    keepalive: tuple[int, int, int] | None = (10, 30, 2)
    log_success: bool = True
    log_lost: bool = False


class Receivers:
    """All connections of senders: who is connected, whether they are read.  Reactor thread only."""

    def __init__(self, intake: Intake, gatherer: Gatherer, limits: ReceiverLimits) -> None:
        self.intake = intake
        self.gatherer = gatherer
        self.paused = False
        self._limits = limits
        self._connections: set[_Receiver] = set()
        self._ports: list[Port] = []
        self._accepting = True
        #: For peers that want to know (`wire.acknowledged`): calls the first when all that was taken in so far is safe,
        #: or the second when it cannot be made safe; and how full we are, from 0 to 1.
        self.when_safe: Callable[[Callable[[], None], Callable[[], None]], None] = lambda done, failed: done()
        self.fullness: Callable[[], float] = lambda: 0.0

    def __len__(self) -> int:
        """How many senders are connected."""
        return len(self._connections)

    def __contains__(self, receiver: object) -> bool:
        """Whether the connection is still there."""
        return receiver in self._connections

    @property
    def limits(self) -> ReceiverLimits:
        """The limits in force; new ones may be set at any time."""
        return self._limits

    @limits.setter
    def limits(self, limits: ReceiverLimits) -> None:
        self._limits = limits
        self._accept_or_not()

    @property
    def full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self._connections) >= self._limits.connections

    def add_port(self, port: Any) -> None:
        """A listening TCP port, which stops accepting when it has to."""
        self._ports.append(port)

    def pause(self) -> None:
        """Stop reading from every TCP sender."""
        if not self.paused:
            self.paused = True
            for receiver in self._connections:
                receiver.transport.pauseProducing()
            self._accept_or_not()

    def resume(self) -> None:
        """Read on."""
        if self.paused:
            self.paused = False
            for receiver in self._connections:
                receiver.resetTimeout()  # the time for which nobody read was not the sender's
                receiver.transport.resumeProducing()
            self._accept_or_not()

    def take(self, points: Points, peer: str) -> None:
        """The datapoints of one batch, and what had to be left out of it."""
        if points.names:
            self.gatherer.points(points.names, points.timestamps, points.values)
        for why, count in points.rejected.items():
            self.intake.refuse("malformed", peer, b"", f"{count} items with a wrong {why}", count)

    def opened(self, receiver: _Receiver) -> None:
        """A sender connected."""
        self._connections.add(receiver)
        if self.paused:
            receiver.transport.pauseProducing()
        self._accept_or_not()

    def closed(self, receiver: _Receiver) -> None:
        """A sender is gone."""
        self._connections.discard(receiver)
        self._accept_or_not()

    def _accept_or_not(self) -> None:
        accept = not self.paused and not self.full
        if accept != self._accepting:
            self._accepting = accept
            for port in self._ports:
                if port.connected:
                    port.startReading() if accept else port.stopReading()

    def stop(self) -> None:
        """Take in what has been read and end all connections."""
        for receiver in list(self._connections):
            receiver.take_rest()
            receiver.transport.abortConnection()
        self.gatherer.flush()


@implementer(IHandshakeListener)
class _Receiver(Protocol, TimeoutMixin):
    """One connection of a sender."""

    kind = ""
    #: Whether a TLS handshake is still to come.
    shaking = False

    def __init__(self, receivers: Receivers) -> None:
        self.receivers = receivers
        self.peer = ""

    def connectionMade(self) -> None:
        self.peer = self._peer()
        limits = self.receivers.limits
        if limits.keepalive is not None:
            self._keep_alive(*limits.keepalive)
        if self.shaking:
            self.setTimeout(min(limits.idle_timeout or _HANDSHAKE, _HANDSHAKE))
        else:
            self._established()
        self.receivers.opened(self)

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        self.shaking = False
        self.setTimeout(None)
        self._established()

    def _established(self) -> None:
        limits = self.receivers.limits
        if limits.idle_timeout:
            self.setTimeout(limits.idle_timeout)
        if limits.log_success:
            log.info("{kind} connection with {peer} established", kind=self.kind, peer=self.peer)

    def _peer(self) -> str:
        address = self.transport.getPeer()
        if hasattr(address, "host"):
            return f"{address.host}:{address.port}"
        name = getattr(self.transport.getHost(), "name", address)
        return f"unix:{name.decode(errors='replace') if isinstance(name, bytes) else name}"

    def _keep_alive(self, idle: int, interval: int, count: int) -> None:
        try:
            self.transport.setTcpKeepAlive(True)
            carrier = self.transport
            while hasattr(carrier, "transport"):  # below TLS and decompression
                carrier = carrier.transport
            handle = carrier.getHandle()
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
        except (AttributeError, OSError):
            # Keepalive is a courtesy of the system; a transport without it still receives.
            pass

    def take_rest(self) -> None:
        """Take in what has been read of the connection and waits."""

    def timeoutConnection(self) -> None:
        if self.receivers.paused:
            # It is we who do not read: the sender is not idle.
            self.setTimeout(self.timeOut)
            return
        what = "did not finish its TLS handshake" if self.shaking else "was idle too long"
        log.info("{kind} connection with {peer} {what}, closed", kind=self.kind, peer=self.peer, what=what)
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.setTimeout(None)
        if self.shaking and (why := tls.why(reason, self.transport)):
            log.warn("{kind} connection with {peer} refused: {why}", kind=self.kind, peer=self.peer, why=why)
        elif self.receivers.limits.log_lost:
            log.info("{kind} connection with {peer} closed", kind=self.kind, peer=self.peer)
        self.receivers.closed(self)


class LineReceiver(_Receiver):
    """``name value timestamp`` lines over TCP."""

    kind = "line"

    def __init__(self, receivers: Receivers) -> None:
        super().__init__(receivers)
        self._splitter = LineSplitter(receivers.limits.line_length)

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        text = self._splitter.feed(data)
        if text:
            self.receivers.gatherer.lines(text, self.peer)
        if self._splitter.overlong:
            count, self._splitter.overlong = self._splitter.overlong, 0
            why = f"a line longer than {self._splitter.max_length} bytes; shorten the name or send newlines"
            self.receivers.intake.refuse("malformed", self.peer, b"", why, count)

    def connectionLost(self, reason: Any = None) -> None:
        rest = self._splitter.flush()
        if rest:
            why = "the connection ended inside this line; end the last line with a newline"
            self.receivers.intake.refuse("malformed", self.peer, rest.rstrip(b"\n"), why)
        super().connectionLost(reason)


class PickleReceiver(_Receiver):
    """Length-prefixed pickles of ``[(name, (timestamp, value)), ...]`` over TCP."""

    kind = "pickle"

    def __init__(self, receivers: Receivers) -> None:
        super().__init__(receivers)
        self._frames = Int32Frames(receivers.limits.frame_length)
        #: The number of the last frame of a peer that wants to know what is safe; None for all others.
        self._number: int | None = None
        self._told = 0

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        intake = self.receivers.intake
        before = self._number
        for frame in self._frames.feed(data):
            if self._number is not None:
                parted = acknowledged.parted(frame)
                if parted is not None:
                    self._number, frame = parted
            elif frame.startswith(acknowledged.HELLO):
                self._number = before = 0
                self.transport.write(acknowledged.WELCOME)
                continue
            try:
                points = decode_points(frame)
            except WireError as error:
                intake.refuse("malformed", self.peer, bytes(frame[:80]), str(error))
                continue
            self.receivers.take(points, self.peer)
        if self._number is not None and self._number != before:
            number, receivers = self._number, self.receivers
            receivers.gatherer.after(
                lambda: receivers.when_safe(lambda: self._acknowledge(number), self.transport.abortConnection)
            )
        if self._frames.broken is not None:
            intake.refuse("malformed", self.peer, b"", str(self._frames.broken))
            self.transport.abortConnection()

    def _acknowledge(self, number: int) -> None:
        if number > self._told and self in self.receivers:
            self._told = number
            self.transport.write(acknowledged.ack(number, self.receivers.fullness()))

    def connectionLost(self, reason: Any = None) -> None:
        # A peer that wants to know what is safe has what was cut off here, and sends it again.
        if self._frames.pending and self._frames.broken is None and self._number is None:
            why = "the connection ended inside this pickle; close it when all is sent"
            self.receivers.intake.refuse("malformed", self.peer, b"", why)
        super().connectionLost(reason)


class ProtobufReceiver(_Receiver):
    """Length-prefixed messages ``carbon.Payload`` over TCP."""

    kind = "protobuf"

    def __init__(self, receivers: Receivers) -> None:
        super().__init__(receivers)
        self._frames = Int32Frames(receivers.limits.frame_length)

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        intake = self.receivers.intake
        for frame in self._frames.feed(data):
            try:
                points = decode_payload(frame)
            except WireError as error:
                intake.refuse("malformed", self.peer, bytes(frame[:80]), str(error))
                continue
            self.receivers.take(points, self.peer)
        if self._frames.broken is not None:
            intake.refuse("malformed", self.peer, b"", str(self._frames.broken))
            self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        if self._frames.pending and self._frames.broken is None:
            why = "the connection ended inside this message; close it when all is sent"
            self.receivers.intake.refuse("malformed", self.peer, b"", why)
        super().connectionLost(reason)


class ReceiverFactory(Factory):
    """Makes receivers of one kind.

    compression: gzip or lz4, if the stream is compressed.  secure: whether connections begin with a TLS handshake.
    """

    noisy = False

    def __init__(
        self, receivers: Receivers, kind: type[_Receiver], *, compression: str = "", secure: bool = False
    ) -> None:
        self._receivers = receivers
        self._kind = kind
        self._compression = compression
        self._secure = secure

    def buildProtocol(self, addr: IAddress) -> Protocol | None:
        if self._receivers.full:
            return None
        receiver = self._kind(self._receivers)
        receiver.shaking = self._secure
        if not self._compression:
            return receiver
        receiver.kind = f"{receiver.kind}+{self._compression}"
        return Unpacking(receiver, self._compression)


class UdpReceiver(DatagramProtocol):
    """Datagrams of whole lines; the last one needs no newline.  They cannot be paused, so they can be dropped."""

    noisy = False

    def __init__(self, receivers: Receivers, buffer_bytes: int) -> None:
        self._receivers = receivers
        self._buffer_bytes = buffer_bytes

    def startProtocol(self) -> None:
        if self._buffer_bytes:
            self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        sender = f"{addr[0]}:{addr[1]}"
        text = datagram if datagram.endswith(b"\n") else datagram + b"\n"
        if len(datagram) >= self.transport.maxPacketSize and text is not datagram:
            # The system has cut the datagram here: what is left of a time would still be a number.
            text, _, rest = datagram.rpartition(b"\n")
            text += b"\n"
            why = f"the datagram is longer than {len(datagram)} bytes; send shorter ones"
            self._receivers.intake.refuse("malformed", sender, rest, why)
        self._receivers.gatherer.lines(text, sender, droppable=True)
