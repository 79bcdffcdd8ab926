"""HTTPS: what a port needs to know to speak TLS.

The law: pyOpenSSL is wanted only where TLS is; a missing one, and files that do not fit, are a ConfigError
when the daemon starts.
"""

from __future__ import annotations

from typing import Any

from carbonpy.errors import ConfigError


def tls_options(certificate: str, key: str = "") -> Any:
    """The context factory for ``reactor.listenSSL(port, site, options)``.

    certificate: a PEM file, the chain behind it.  key: a PEM file; "" if it is in the same one.
    Raises ConfigError.
    """
    try:
        from OpenSSL import SSL
        from twisted.internet import ssl
    except ImportError:
        raise ConfigError(
            "HTTP_TLS_CERTIFICATE is set, but pyOpenSSL is not installed; "
            "install it with pip install carbonpy[tls], or leave TLS to a proxy"
        ) from None
    try:
        with open(certificate, "rb") as file:
            pem = file.read()
        with open(key or certificate, "rb") as file:
            private = file.read()
        chain = [ssl.Certificate.loadPEM(_BEGIN + part) for part in pem.split(_BEGIN)[1:]]
        if not chain:
            raise ConfigError(f"{certificate}: there is no certificate in this file; it must be in PEM form")
        own = ssl.PrivateCertificate.fromCertificateAndKeyPair(chain[0], ssl.KeyPair.load(private, SSL.FILETYPE_PEM))
        options = ssl.CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            extraCertChain=[one.original for one in chain[1:]],
            raiseMinimumTo=ssl.TLSVersion.TLSv1_2,
        )
        options.getContext()
    except OSError as error:
        raise ConfigError(f"{certificate}: the certificate cannot be read: {error}") from None
    except (SSL.Error, ValueError, TypeError) as error:
        raise ConfigError(f"{certificate}: certificate and key do not make a pair or are damaged: {error}") from None
    return options


_BEGIN = b"-----BEGIN CERTIFICATE-----"
