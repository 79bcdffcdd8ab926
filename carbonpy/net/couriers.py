"""Couriers: each keeps a connection to one destination, speaks on it, and goes again when it ends.

The law.  A `Courier` takes chunks from its outbox as fast as the peer takes bytes, and tells the outbox of each chunk
whether it arrived:

    acknowledged   (carbonpy's pickle port) when the peer says that it is safe
    plain TCP      when the system has taken all of its bytes; what was in our own buffer when a connection ends is sent
                   again on the next one, what was in the system's is lost, as with every Graphite relay
    TLS            when it was written and the connection takes more
    UDP            when it was sent

A connection that cannot be made is tried again after a growing pause, at most `MOST_PAUSE` seconds, for ever; names are
looked up each time.  One destination knows nothing of any other.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO
from typing import Protocol as Structural

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from carbonpy.net.transports import explained
from carbonpy.relaying.chunk import Chunk
from carbonpy.relaying.outbox import Outbox
from carbonpy.wire import acknowledged, framing
from carbonpy.wire.framing import Int32Frames

log = Logger("relay")
FIRST_PAUSE, MOST_PAUSE = 0.2, 5.0
#: So many bytes are given to a connection at once.
_HANDFUL = 1 << 18
#: So many unacknowledged points may be on their way.
_WINDOW = 50_000
#: Seconds to wait for a welcome from a peer that never gave one.
_POLITENESS = 1.0
#: Seconds after which a peer that used to welcome us, and does not any more, is taken for another program.
_FORGETFUL = 300.0
#: Milliseconds after which the system gives up a connection whose peer does not confirm bytes (TCP_USER_TIMEOUT).
_USER_TIMEOUT = 30_000


@dataclass(frozen=True)
class Speech:
    """What is spoken to a destination.  Immutable.

    messages: chunk -> its messages.  framed: whether each goes behind its length.  encode: makes what a connection's
    bytes go through (compression).  acknowledge: whether to ask for acknowledgement: off, auto or required.
    wait_for_ack: seconds without a confirmation after which a connection is given up.
    """

    messages: Callable[[Chunk], Iterable[bytes]]
    framed: bool = False
    encode: Callable[[], Callable[[bytes], bytes]] | None = None
    acknowledge: str = "off"
    wait_for_ack: float = 10.0
    encrypted: bool = False
    sender: str = ""


class Connection(Structural):
    """What a courier needs of a connection."""

    def pump(self) -> None: ...

    def tick(self, now: float) -> None: ...

    def leave(self) -> None: ...


class Courier:
    """Keeps a connection to one destination and its outbox moving.  Reactor thread only.

    label: how it is called in logs and figures.  connect: starts an attempt to connect a protocol of the factory; its
    Deferred fires with the protocol.  most_failures: failed attempts after which it counts as failed.
    on_failed: told once each time that it becomes failed.
    """

    def __init__(
        self,
        reactor: Any,
        label: str,
        outbox: Outbox,
        speech: Speech,
        connect: Callable[[Factory], Deferred[Any]],
        *,
        most_failures: int = 1,
        on_failed: Callable[[Courier], None] = lambda courier: None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._reactor = reactor
        self.label = label
        self.outbox = outbox
        self.speech = speech
        self._connect = connect
        self.most_failures = most_failures
        self._on_failed = on_failed
        self.on_room = on_room
        #: None: not known yet whether the peer acknowledges.
        self.acknowledges: bool | None = True if speech.acknowledge == "required" else None
        self._unwelcome_since: float | None = None
        #: Told when the peer acknowledges for the first time, so that the next life of the relay may know it.
        self.on_welcome: Callable[[], None] = lambda: None
        self.connection: Connection | None = None
        self._attempt: Deferred[Any] | None = None
        self._later: Any = None
        self._pause = FIRST_PAUSE
        self._stopping = False
        self._drained: Deferred[None] | None = None
        #: Attempts that failed, and connections that ended, since the last success.
        self.failures = 0
        self.connects = 0
        self.batches = 0
        self.why = ""

    # ---- life

    def start(self) -> None:
        """Connect now and whenever it is needed."""
        self._stopping = False
        self._try()

    def seconds(self) -> float:
        """The reactor's clock."""
        return float(self._reactor.seconds())

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self.connection is not None

    @property
    def failed(self) -> bool:
        """Whether others should get its points where they may choose."""
        return self.failures >= self.most_failures

    def _try(self) -> None:
        self._later = None
        if self._stopping or self._attempt is not None or self.connection is not None:
            return
        factory = Factory.forProtocol(lambda: Sender(self))
        factory.noisy = False
        self._attempt = self._connect(factory)
        self._attempt.addCallbacks(self._connected, self._not_connected)

    def _connected(self, connection: Any) -> None:
        self._attempt = None

    def _not_connected(self, failure: Any) -> None:
        self._attempt = None
        if failure.check(CancelledError) and self._stopping:
            return
        self._down(failure.getErrorMessage() or failure.type.__name__)

    def opened(self, connection: Connection) -> None:
        """The connection is there."""
        self.connection = connection
        self.connects += 1
        log.info("{label}: connected", label=self.label)

    def works(self) -> None:
        """The peer takes what we send."""
        if self.why:
            log.info("{label}: takes points again", label=self.label)
        self.failures = 0
        self.why = ""
        self._pause = FIRST_PAUSE

    def welcomed(self) -> None:
        """The peer acknowledges."""
        self._unwelcome_since = None
        if not self.acknowledges:
            self.on_welcome()
        self.acknowledges = True
        # Not more than that: one whose disk is full welcomes us, too, and hangs up when it gets something.
        self.failures = 0

    def unwelcome(self) -> None:
        """The peer did not answer our hello in time, though it did earlier."""
        now = self.seconds()
        if self._unwelcome_since is None:
            self._unwelcome_since = now
        elif now - self._unwelcome_since > _FORGETFUL and self.speech.acknowledge == "auto":
            self.acknowledges = self._unwelcome_since = None

    def closed(self, why: str) -> None:
        """The connection has ended."""
        self.connection = None
        self.outbox.failed()
        self._down(why)

    def _down(self, why: str) -> None:
        was_failed = self.failed
        self.failures += 1
        if why != self.why:
            self.why = why
            log.warn(
                "{label}: {why}; {points} points wait, the next attempt is in {pause:.1f} s or so",
                label=self.label, why=why, points=self.outbox.queued + self.outbox.spooled, pause=self._pause,
            )  # fmt: skip
        if self.failed and not was_failed:
            self._on_failed(self)
        if self._stopping:
            self._end()
            return
        pause = self._pause * random.uniform(0.8, 1.2)
        self._pause = min(MOST_PAUSE, self._pause * 1.7)
        self._later = self._reactor.callLater(pause, self._try)

    # ---- sending

    def pump(self) -> None:
        """There is something in the outbox."""
        if self.connection is not None:
            self.connection.pump()

    def tick(self, now: float) -> None:
        """To be called a few times a second."""
        self.outbox.tick(now)
        if self.connection is not None:
            self.connection.tick(self.seconds())
        self.pump()
        self._end_if_drained()

    def progressed(self) -> None:
        """Something has arrived."""
        self.on_room()
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._drained is not None and not self.outbox.waits and not self.outbox.flights:
            self._end()

    # ---- stopping

    def stop(self, patience: float) -> Deferred[None]:
        """Send what waits for at most `patience` seconds and end; the Deferred fires when it is over.

        With no patience it is over when this returns, and the outbox may be another courier's.
        """
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._drained = done = Deferred()
        self._stopping = True
        if patience <= 0 or self.connection is None or (not self.outbox.waits and not self.outbox.flights):
            self._end()
        else:
            self._later = self._reactor.callLater(patience, self._end)
            self.connection.pump()
        return done

    def _end(self) -> None:
        done, self._drained = self._drained, None
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._later = None
        if self._attempt is not None:
            self._attempt.cancel()
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.leave()
            self.outbox.failed()
        if done is not None:
            done.callback(None)


@implementer(IPullProducer, IPushProducer)
class Sender(Protocol):
    """One connection to a destination.  It is in one of three modes:

    asking         it has said hello and waits for a welcome
    plain          what was written has arrived when the transport has given all of it to the system
    acknowledged   what was written has arrived when the peer says so
    """

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._speech = courier.speech
        self._outbox = courier.outbox
        self._clock = courier.seconds
        self._mode = "plain"
        self._left = False
        self._busy = False
        #: Plain: chunks written since the transport's buffer was empty.
        self._written = 0
        #: Acknowledged: the number of the last frame, and that of the last frame of each chunk in flight.
        self._number = 0
        self._last: deque[int] = deque()
        self._frames = Int32Frames(1 << 16)
        self._since = self._clock()
        make = self._speech.encode
        self._encode = make() if make is not None else None

    # ---- life

    def connectionMade(self) -> None:
        self._keep_alive()
        self._courier.opened(self)
        if self._speech.acknowledge == "off":
            self._be_plain()
            return
        self.transport.write(acknowledged.hello(self._speech.sender))
        if self._courier.acknowledges is False:
            self._be_plain()  # it may still say welcome
        else:
            self._mode = "asking"

    def _be_plain(self) -> None:
        self._mode = "plain"
        self._courier.works()
        # A plain connection asks for more when its buffer is empty: then all that was written is with the system.
        # Encryption has buffers of its own and cannot tell.
        self.transport.registerProducer(self, self._speech.encrypted)
        self.pump()

    def _be_acknowledged(self) -> None:
        if self._mode == "plain":
            self._arrived()
            self.transport.unregisterProducer()
        self._mode = "acknowledged"
        self._busy = False
        self._since = self._clock()
        self._courier.welcomed()
        self.transport.registerProducer(self, True)
        self.pump()

    def _keep_alive(self) -> None:
        try:
            self.transport.setTcpKeepAlive(True)
            self.transport.setTcpNoDelay(True)
            handle = self.transport.getHandle()
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
        except (AttributeError, OSError):
            pass  # a courtesy of the system: UNIX sockets and encrypted connections do without

    def leave(self) -> None:
        """End the connection; what was written is still sent as far as the peer takes it."""
        self._left = True
        self._arrived()
        if self._mode != "asking":
            self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _give_up(self, why: str) -> None:
        self._left = True
        self.transport.abortConnection()
        self._courier.closed(why)

    def connectionLost(self, reason: Any = None) -> None:
        if not self._left:
            self._left = True
            self._courier.closed(explained(reason, self.transport))

    # ---- what the peer says

    def dataReceived(self, data: bytes) -> None:
        if self._speech.acknowledge == "off":
            return  # whatever it says, nobody asked
        for frame in self._frames.feed(data):
            if acknowledged.is_welcome(frame):
                self._be_acknowledged()
            elif (told := acknowledged.read_ack(frame)) is not None:
                self._acknowledged(told)
        if self._frames.broken is not None and self._mode != "plain":
            self._give_up("it answers with what is no acknowledgement")

    def _acknowledged(self, told: acknowledged.Ack) -> None:
        self._outbox.peer_fullness = told.fullness
        self._since = self._clock()
        count = 0
        while self._last and self._last[0] <= told.number:
            self._last.popleft()
            count += 1
        if count:
            self._courier.works()
            self._outbox.arrived(count)
            self._courier.progressed()
            self.pump()

    def tick(self, now: float) -> None:
        """Time passes (seconds of the reactor)."""
        silent = now - self._since
        if self._mode == "asking":
            if self._courier.acknowledges:
                if silent > self._speech.wait_for_ack:
                    self._courier.unwelcome()
                    self._give_up(f"no welcome within {silent:.0f} s")
            elif silent > _POLITENESS:
                self._courier.acknowledges = False
                log.info(
                    "{label}: does not acknowledge; points count as delivered when they are sent",
                    label=self._courier.label,
                )
                self._be_plain()
        elif self._last and silent > self._speech.wait_for_ack:
            self._give_up(f"nothing was acknowledged for {silent:.0f} s")

    # ---- sending

    def pauseProducing(self) -> None:
        self._busy = True

    def stopProducing(self) -> None:
        """The transport wants no more; `connectionLost` follows."""

    def resumeProducing(self) -> None:
        self._busy = False
        if not self._left:
            if self._mode == "plain":
                self._arrived()
            self.pump()

    def _arrived(self) -> None:
        if self._written:
            self._outbox.arrived(self._written)
            self._written = 0
            self._courier.progressed()

    def pump(self) -> None:
        """Send what can be sent."""
        if self._mode == "plain":
            self._pump_plain()
        elif self._mode == "acknowledged":
            self._pump_acknowledged()

    def _pump_plain(self) -> None:
        if self._busy or self._left:
            return
        framed, messages = self._speech.framed, self._speech.messages
        pieces: list[bytes] = []
        size = 0
        while size < _HANDFUL and (flight := self._outbox.take()) is not None:
            self._written += 1
            for message in messages(flight.chunk):
                pieces.append(framing.encode(message) if framed else message)
                size += len(message)
        if not pieces:
            return
        self._courier.batches += len(pieces)
        data = b"".join(pieces)
        self._busy = not self._speech.encrypted
        self.transport.write(self._encode(data) if self._encode is not None else data)
        if not self._busy:
            self._arrived()

    def _pump_acknowledged(self) -> None:
        while not self._busy and not self._left and self._outbox.in_flight < _WINDOW:
            flight = self._outbox.take()
            if flight is None:
                return
            if not self._last:
                self._since = self._clock()
            pieces = []
            for message in self._speech.messages(flight.chunk):
                self._number += 1
                pieces.append(acknowledged.numbered(self._number, message))
            self._courier.batches += len(pieces)
            self._last.append(self._number)
            self.transport.write(b"".join(pieces))


class UdpSender(DatagramProtocol):
    """Sends lines as datagrams: at most `size` bytes of whole lines in each.  Stands in for a connection."""

    noisy = False

    def __init__(self, courier: Courier, address: tuple[str, int], size: int = 1400) -> None:
        self._courier = courier
        self._address = address
        self._size = size

    def startProtocol(self) -> None:
        self.transport.connect(*self._address)
        self._courier.opened(self)
        self._courier.works()
        self.pump()

    def connectionRefused(self) -> None:
        self._courier.why = "connection refused"

    def tick(self, now: float) -> None:
        """Nothing to wait for."""

    def pump(self) -> None:
        outbox = self._courier.outbox
        while (flight := outbox.take()) is not None:
            for message in self._courier.speech.messages(flight.chunk):
                for datagram in self._datagrams(message):
                    try:
                        self.transport.write(datagram)
                    except OSError as error:
                        self._courier.why = str(error)
            outbox.arrived()
            self._courier.batches += 1

    def _datagrams(self, text: bytes) -> Iterable[bytes]:
        start = 0
        while start < len(text):
            end = text.rfind(b"\n", start, start + self._size) + 1
            if end <= start:
                end = text.index(b"\n", start) + 1
            yield text[start:end]
            start = end

    def leave(self) -> None:
        if self.transport is not None:
            self.transport.stopListening()


class FileSender:
    """Appends lines to a file.  Stands in for a connection."""

    def __init__(self, courier: Courier, file: BinaryIO) -> None:
        self._courier = courier
        self._file = file

    def tick(self, now: float) -> None:
        """Nothing to wait for."""

    def pump(self) -> None:
        """Write what there is; what the disk does not take waits until it does."""
        outbox = self._courier.outbox
        while (flight := outbox.take()) is not None:
            try:
                self._file.write(b"".join(self._courier.speech.messages(flight.chunk)))
                self._file.flush()
            except OSError as error:
                self.leave()
                self._courier.closed(f"cannot be written: {error}")
                return
            outbox.arrived()
            self._courier.batches += 1

    def leave(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()


def connect_file(courier: Callable[[], Courier], path: str) -> Callable[[Factory], Deferred[Any]]:
    """What `Courier` wants as `connect`, for a file to which lines are appended."""

    def connect(factory: Factory) -> Deferred[Any]:
        try:
            file = open(path, "ab", buffering=0)  # noqa: SIM115  (it is open as long as the destination)
        except OSError:
            return fail()
        sender = FileSender(courier(), file)
        courier().opened(sender)
        courier().works()
        sender.pump()
        return succeed(sender)

    return connect


def connect_udp(
    reactor: Any, courier: Callable[[], Courier], host: str, port: int
) -> Callable[[Factory], Deferred[Any]]:
    """What `Courier` wants as `connect`, for datagrams to host and port, looked up at each start."""

    def connect(factory: Factory) -> Deferred[Any]:
        def bind(address: str) -> Any:
            sender = UdpSender(courier(), (address, port))
            reactor.listenUDP(0, sender, interface="::" if ":" in address else "0.0.0.0", maxPacketSize=65535)
            return sender

        return reactor.resolve(host).addCallback(bind) if not _is_address(host) else succeed(host).addCallback(bind)

    return connect


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
            return True
        except OSError:
            continue
    return False
