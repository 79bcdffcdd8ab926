"""The ports at which datapoints come in: what cache, relay and aggregator have in common.

The law: everything that the settings name is open, or an error says which is not and why.  A socket file that nobody
listens at is removed and made anew; one at which somebody does, and a file that is none, stay as they are and are an
error.  A port that ends removes its own socket file and no other.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger

from carbonpy.errors import ConfigError
from carbonpy.net.receivers import (
    LineReceiver,
    PickleReceiver,
    ProtobufReceiver,
    ReceiverFactory,
    ReceiverLimits,
    Receivers,
    UdpReceiver,
)
from carbonpy.net.tls import ServerTls, serving
from carbonpy.settings import Values
from carbonpy.settings.listeners import Listener

log = Logger("listener")
_KINDS = {"line": LineReceiver, "pickle": PickleReceiver, "protobuf": ProtobufReceiver}
_BACKLOG = 1024


class Listening:
    """All ports of one daemon's receivers.  Reactor thread only.

    own: the section of the settings with the daemon's receivers.  Raises ConfigError for certificates that cannot be
    used.  Nothing is open yet.
    """

    def __init__(self, reactor: Any, own: Values, receivers: Receivers) -> None:
        self._reactor = reactor
        self._own = own
        self._receivers = receivers
        self._tls: ServerTls | None = None
        self.ports: list[Any] = []
        secure = [listener for listener in own.listeners if listener.tls]
        if secure:
            if not own.tls_certificate:
                raise ConfigError(f"LISTENERS = {secure[0]}: TLS needs TLS_CERTIFICATE; set it, or leave tls out")
            self._tls = ServerTls(own.tls_certificate, own.tls_key, own.tls_client_ca)

    def open(self) -> None:
        """Listen everywhere.  Raises ConfigError or CannotListenError."""
        for listener in (*self._usual(), *self._own.listeners):
            port = self._open(listener)
            self.ports.append(port)
            log.info("listening on {where}", where=where(port, listener))

    def _usual(self) -> list[Listener]:
        """What the settings of single ports say."""
        own = self._own
        found = [
            Listener("line", own.line_receiver_interface, own.line_receiver_port),
            Listener("pickle", own.pickle_receiver_interface, own.pickle_receiver_port),
            Listener("protobuf", own.protobuf_receiver_interface, own.protobuf_receiver_port),
        ]
        if own.enable_udp_listener:
            found.append(Listener("udp", own.udp_receiver_interface, own.udp_receiver_port))
        return [listener for listener in found if listener.port]

    def _open(self, listener: Listener) -> Any:
        own, reactor = self._own, self._reactor
        if listener.protocol == "udp":
            receiver = UdpReceiver(self._receivers, own.udp_receiver_buffer)
            return reactor.listenUDP(
                listener.port, receiver, interface=listener.host, maxPacketSize=own.udp_receiver_max_length
            )
        factory: Any = ReceiverFactory(
            self._receivers, _KINDS[listener.protocol], compression=listener.compression, secure=listener.tls
        )
        if listener.tls:
            assert self._tls is not None
            factory = serving(reactor, self._tls, factory)
        if listener.path:
            _clear(listener.path)
            port: Any = _UnixPort(listener.path, factory, _BACKLOG, listener.mode, reactor)
            port.startListening()
        else:
            port = reactor.listenTCP(listener.port, factory, backlog=_BACKLOG, interface=listener.host)
        self._receivers.add_port(port)
        return port

    def renew(self) -> None:
        """Read the certificate again, for connections to come."""
        if self._tls is not None:
            self._tls.renew()

    def close(self) -> Deferred[Any]:
        """Listen no more.  Connections live on; `Receivers.stop` ends them."""
        return DeferredList([maybeDeferred(port.stopListening) for port in self.ports], consumeErrors=True)


def receiver_limits(own: Values) -> ReceiverLimits:
    """The limits of receivers that these settings say."""
    return ReceiverLimits(
        line_length=own.line_receiver_max_length,
        frame_length=own.pickle_receiver_max_length,
        connections=own.max_receiver_connections,
        idle_timeout=own.metric_client_idle_timeout,
        keepalive=(own.tcp_keepidle, own.tcp_keepintvl, own.tcp_keepcnt) if own.tcp_keepalive else None,
        log_success=own.log_listener_conn_success,
        log_lost=own.log_listener_conn_lost,
    )


def where(port: Any, what: Listener | None = None) -> str:
    """Where a port listens, for the log."""
    address = port.getHost()
    kind = "" if what is None else f" ({what.kind}{', TLS' if what.tls else ''})"
    if isinstance(port, unix.Port):
        return f"UNIX {os.fsdecode(address.name)}{kind}"
    return f"{address.type} {address.host}:{address.port}{kind}"


class _UnixPort(unix.Port):
    """A port at a socket file, which it removes in the end if it is still its own."""

    _inode: tuple[int, int] | None = None

    def startListening(self) -> None:
        super().startListening()
        found = os.lstat(self._bindPath)
        self._inode = found.st_dev, found.st_ino

    def connectionLost(self, reason: Any) -> None:
        try:
            found = os.lstat(self._bindPath)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self._bindPath)
        except OSError as error:
            log.info("{path}: not removed: {error}", path=os.fsdecode(self._bindPath), error=error)
        tcp.Port.connectionLost(self, reason)


def _clear(path: str) -> None:
    """Remove the socket file that a killed daemon left.  Raises ConfigError if there is anything else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigError(f"{path}: there is a file that is no socket; remove it, or listen at another path")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be listened at: {error}; remove it, or listen at another path") from None
    else:
        raise ConfigError(f"{path}: another process listens there; end it, or listen at another path")
