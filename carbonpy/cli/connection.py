"""The connection of ``carbonpy send``: TCP, TLS or a UNIX socket, compressed or not, with the standard library.

The law: it is made when it is needed and made again when it broke.  What was under way then is lost or arrives twice;
who sends it again does no harm, as a point that arrives twice is stored once.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import ssl
from collections.abc import Callable

from carbonpy.errors import ConfigError


def _as_it_is(data: bytes) -> bytes:
    return data


class Connection:
    """A connection that is made when it is needed and made again when it broke.  One owner.

    unix: the path of a socket in place of host and port.  tls: encrypts.  packing: makes what the bytes of one
    connection go through.
    """

    def __init__(
        self,
        host: str,
        port: int,
        timeout: float,
        *,
        unix: str = "",
        tls: ssl.SSLContext | None = None,
        packing: Callable[[], Callable[[bytes], bytes]] = lambda: _as_it_is,
    ) -> None:
        self.host, self.port, self.unix, self._timeout = host, port, unix, timeout
        self._tls = tls
        self._packing = packing
        self._pack = packing()
        self._socket: socket.socket | None = None

    def __str__(self) -> str:
        if self.unix:
            return self.unix
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def send(self, data: bytes) -> None:
        """Send all of `data`, over a new connection if the old one is gone.  Raises OSError."""
        if self._socket is not None and self._is_closed_by_peer(self._socket):
            self.drop()
        if self._socket is None:
            self._socket = self._connected()
            self._pack = self._packing()
        try:
            self._socket.sendall(self._pack(data))
        except OSError:
            self.drop()
            raise

    def _connected(self) -> socket.socket:
        if self.unix:
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(self._timeout)
            try:
                plain.connect(self.unix)
            except OSError:
                plain.close()
                raise
            return plain
        plain = socket.create_connection((self.host, self.port), timeout=self._timeout)
        return plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self.host)

    @staticmethod
    def _is_closed_by_peer(connection: socket.socket) -> bool:
        # The first send after the peer has closed succeeds and goes nowhere; a look at our own receiving side tells.
        connection.setblocking(False)
        try:
            return connection.recv(1) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            connection.setblocking(True)

    def finish(self) -> None:
        """Close our half and wait until the other side has read everything and closed.  Raises OSError."""
        if self._socket is None:
            return
        try:
            self._socket.settimeout(self._timeout)
            if isinstance(self._socket, ssl.SSLSocket):
                # The answer to our end comes behind everything that the other side has read; some close without one.
                with contextlib.suppress(ssl.SSLEOFError):
                    self._socket.unwrap()
                return
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(4096):
                pass
        finally:
            self.drop()

    def drop(self) -> None:
        """Close without waiting."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def tls_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """What --tls and its companions ask for.  Raises ConfigError for files that cannot be used."""
    if not options.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=options.tls_ca)
        if options.tls_certificate:
            # An empty password, as the terminal would be asked for one otherwise.
            context.load_cert_chain(options.tls_certificate, options.tls_key, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(filter(None, (options.tls_ca, options.tls_certificate, options.tls_key)))
        raise ConfigError(f"{files}: cannot be used for TLS: {error}") from None
    return context


def packing_of(options: argparse.Namespace) -> Callable[[], Callable[[bytes], bytes]]:
    """What the bytes of each connection go through."""
    if not (options.gzip or options.lz4):
        return lambda: _as_it_is
    from carbonpy.wire.compressed import encoder

    return lambda: encoder("gzip" if options.gzip else "lz4")
