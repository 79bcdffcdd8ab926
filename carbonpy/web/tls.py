"""HTTPS: what a port needs to know to speak TLS.

The law: pyOpenSSL is wanted only where TLS is; a missing one, and files that do not fit, are a ConfigError
when the daemon starts.  TLS 1.2 is the oldest version spoken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from carbonpy.errors import ConfigError


@implementer(IOpenSSLServerConnectionCreator)
class TlsOptions:
    """What ``reactor.listenSSL`` wants.  Immutable.

    connection: makes an OpenSSL connection without a socket; all share one context.
    """

    def __init__(self, connection: Callable[[], Any]) -> None:
        self._connection = connection

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """A connection for a client that has just come."""
        return self._connection()


def tls_options(certificate: str, key: str = "") -> TlsOptions:
    """What ``reactor.listenSSL(port, site, options)`` wants.

    certificate: a PEM file, the chain behind it.  key: a PEM file; "" if it is in the same one.
    Raises ConfigError.
    """
    try:
        from OpenSSL import SSL
    except ImportError:
        raise ConfigError(
            "HTTP_TLS_CERTIFICATE is set, but pyOpenSSL is not installed; "
            "install it with pip install carbonpy[tls], or leave TLS to a proxy"
        ) from None
    for path in (certificate, key or certificate):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"{path}: it cannot be read: {error}") from None
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    try:
        context.use_certificate_chain_file(certificate)
    except SSL.Error:
        raise ConfigError(f"{certificate}: there is no certificate in this file; it must be in PEM form") from None
    try:
        context.use_privatekey_file(key or certificate)
        context.check_privatekey()
    except SSL.Error:
        raise ConfigError(
            f"{key or certificate}: there is no key (PEM, without a password) that fits {certificate}"
        ) from None
    return TlsOptions(lambda: SSL.Connection(context, None))
