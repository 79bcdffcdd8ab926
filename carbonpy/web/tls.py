"""HTTPS: what a port needs to know to speak TLS.

The law: pyOpenSSL is wanted only where TLS is; a missing one, and files that do not fit, are a ConfigError
when the daemon starts.  TLS 1.2 is the oldest version spoken.
"""

from __future__ import annotations

from typing import Any

from carbonpy.errors import ConfigError


class TlsOptions:
    """A context factory for ``reactor.listenSSL``.  Immutable."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def getContext(self) -> Any:
        """The context that all connections share."""
        return self._context


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
    return TlsOptions(context)
