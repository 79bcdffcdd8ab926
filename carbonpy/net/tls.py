"""TLS: what ports and connections need to know to speak it, and what is said when it fails.

The law: pyOpenSSL and service_identity are wanted only where TLS is; a missing one, and files that do not fit, are a
ConfigError when they are first needed.  TLS 1.2 is the oldest version spoken.  A client trusts a certificate that its
authorities signed for the host's name, and nothing else.  A server with authorities for clients talks to those that
show a certificate of theirs, and to nobody else.
"""

from __future__ import annotations

import ipaddress
import weakref
from typing import Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from carbonpy.errors import ConfigError

log = Logger("listener")
#: Part of OpenSSL's reason -> what it means; the first that fits.
_REASONS = (
    ("peer did not return a certificate", "it shows no certificate, and this port asks for one"),
    ("certificate required", "it asks for a certificate of ours and got none"),
    ("alert unknown ca", "it does not know the authority of our certificate"),
    ("alert bad certificate", "it does not trust our certificate"),
    ("alert certificate", "it does not trust our certificate"),
    ("alert handshake failure", "it refuses; it may want a certificate of ours, or other versions of TLS"),
    ("http request", "it does not speak TLS but HTTP"),
    ("wrong version number", "it does not speak TLS"),
    ("packet length too long", "it does not speak TLS"),
    ("unsupported protocol", "it speaks only versions of TLS that are too old"),
    ("alert protocol version", "it speaks other versions of TLS"),
    ("no shared cipher", "we have no cipher in common"),
)
#: Numbers of OpenSSL (X509_V_ERR_...) -> what is wrong with a certificate.
_VERDICTS = {
    2: "is signed by an authority that is not trusted",
    9: "is not valid yet; are both clocks right?",
    10: "has expired",
    18: "is signed by itself and not trusted",
    19: "comes with an authority that is not trusted",
    20: "is signed by an authority that is not trusted",
    21: "is signed by an authority that is not trusted",
    23: "was revoked",
}


def _context(certificate: str, key: str, authorities: str) -> Any:
    """A context with these files, "" for none.  Raises ConfigError."""
    try:
        from OpenSSL import SSL
    except ImportError:
        raise ConfigError(
            "TLS is asked for, but pyOpenSSL is not installed; "
            "install it with pip install carbonpy[tls], or leave TLS to a proxy"
        ) from None
    for path in filter(None, (certificate, key or certificate, authorities)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"{path}: it cannot be read: {error}") from None
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    if certificate:
        try:
            context.use_certificate_chain_file(certificate)
        except SSL.Error:
            raise ConfigError(f"{certificate}: there is no certificate in this file; it must be in PEM form") from None
        try:
            with open(key or certificate, "rb") as file:
                if b"ENCRYPTED" in file.read():  # OpenSSL would ask for the password at the terminal
                    raise ConfigError(f"{key or certificate}: the key has a password; store it without one")
            context.use_privatekey_file(key or certificate)
            context.check_privatekey()
        except SSL.Error:
            raise ConfigError(
                f"{key or certificate}: there is no key (PEM, without a password) that fits {certificate}"
            ) from None
    if authorities:
        try:
            context.load_verify_locations(authorities)
        except SSL.Error:
            raise ConfigError(f"{authorities}: there is no certificate in this file; it must be in PEM form") from None
    return context


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """What a port needs.  Reactor thread only.

    certificate: a PEM file, the chain behind it.  key: a PEM file; "" if it is in the same one.  client_ca: a PEM file
    with the authorities of the clients' certificates; "" to ask for none.  Raises ConfigError.
    """

    def __init__(self, certificate: str, key: str = "", client_ca: str = "") -> None:
        self._files = (certificate, key, client_ca)
        self._context = self._made()

    def _made(self) -> Any:
        context = _context(*self._files)
        client_ca = self._files[2]
        context.set_session_id(b"carbonpy")  # resumed sessions have been verified for us, and for nobody else
        if client_ca:
            from OpenSSL import SSL

            context.load_client_ca(client_ca.encode())
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        return context

    def renew(self) -> None:
        """Read the files again, for connections to come; if they cannot be used, say so and keep what there was."""
        try:
            self._context = self._made()
        except ConfigError as error:
            log.error("{sentence}; the certificate read before stays in use", sentence=str(error))

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """A connection for a client that has just come."""
        from OpenSSL import SSL

        connection = SSL.Connection(self._context, None)
        if self._files[2]:
            mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            connection.set_verify(mode, _Verdict(protocol, None, "TLS_CLIENT_CA names other authorities"))
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class ClientTls:
    """What connections to one host need.  Immutable.

    host: the name or address that the certificate must be for.  ca: a PEM file with the authorities to trust; "" for
    the system's.  certificate, key: PEM files, what we show to a server that asks; "" for nothing.  Raises ConfigError.
    """

    def __init__(self, host: str, *, ca: str = "", certificate: str = "", key: str = "") -> None:
        self._host = host
        self._context = _context(certificate, key, ca)
        if not ca:
            self._context.set_default_verify_paths()
        self._name = _service(host)
        self._is_address = _is_address(host)

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        """A connection that has just been made."""
        from OpenSSL import SSL

        connection = SSL.Connection(self._context, None)
        if not self._is_address:
            connection.set_tlsext_host_name(_ascii(self._host))
        advice = "give its authority's certificate as the CA, if it may be trusted"
        connection.set_verify(SSL.VERIFY_PEER, _Verdict(protocol, (self._host, self._name), advice))
        return connection


def serving(reactor: Any, options: ServerTls, factory: Any) -> Any:
    """The factory of a port that speaks TLS; the protocols of `factory` hear what is inside."""
    from twisted.protocols.tls import TLSMemoryBIOFactory

    class Serving(TLSMemoryBIOFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            inner = factory.buildProtocol(addr)
            return None if inner is None else self.protocol(self, inner)

    return Serving(options, False, factory, clock=reactor)


class _Verdict:
    """OpenSSL's question about each certificate of a chain; leaves what is wrong in `protocol.untrusted`."""

    def __init__(self, protocol: Any, wanted: tuple[str, Any] | None, advice: str) -> None:
        self._protocol = weakref.ref(protocol)
        self._wanted = wanted
        self._advice = advice

    def __call__(self, connection: Any, certificate: Any, number: int, depth: int, good: int) -> bool:
        try:
            if not good:
                whose = "its certificate" if not depth else "an authority above its certificate"
                self._blame(f"{whose} {_VERDICTS.get(number, f'is not good (OpenSSL says {number})')}; {self._advice}")
                return False
            if depth == 0 and self._wanted is not None:
                return self._is_for_host(certificate, *self._wanted)
            return True
        except Exception as error:  # what is raised in OpenSSL's callback is lost
            self._blame(f"its certificate cannot be read: {error!r}")
            return False

    def _is_for_host(self, certificate: Any, host: str, name: Any) -> bool:
        from service_identity import CertificateError, VerificationError
        from service_identity.hazmat import verify_service_identity
        from service_identity.pyopenssl import extract_patterns

        try:
            patterns = extract_patterns(certificate)
            verify_service_identity(patterns, [name], [])
            return True
        except (CertificateError, VerificationError):
            found = [one.pattern for one in patterns if hasattr(one, "pattern")]
            names = ", ".join(name.decode() if isinstance(name, bytes) else str(name) for name in found)
            self._blame(f"its certificate is for {names or 'no host'}, not for {host}; connect by a name it has")
            return False

    def _blame(self, sentence: str) -> None:
        protocol = self._protocol()
        if protocol is not None:
            protocol.untrusted = sentence


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _ascii(host: str) -> bytes:
    try:
        return host.encode("ascii")
    except UnicodeError:
        return host.encode("idna")


def _service(host: str) -> Any:
    """The identity that a certificate for `host` must have.  Raises ConfigError."""
    try:
        from service_identity.hazmat import DNS_ID, IPAddress_ID
    except ImportError:
        raise ConfigError(
            "a host's name in its certificate is to be checked, but service_identity is not installed; "
            "install it with pip install carbonpy[tls]"
        ) from None
    try:
        return IPAddress_ID(host) if _is_address(host) else DNS_ID(_ascii(host).decode())
    except (ValueError, UnicodeError) as error:
        raise ConfigError(f"{host}: this is not the name of a host: {error}") from None


def why(reason: Any, protocol: Any = None) -> str:
    """What a TLS failure means, as a sentence; "" if `reason` is not one.

    reason: the Failure with which a connection ended.  protocol: its transport, which knows what was wrong with a
    certificate.
    """
    sentence: str = getattr(protocol, "untrusted", "")
    if sentence:
        return sentence
    error = getattr(reason, "value", reason)
    if type(error).__module__.partition(".")[0] != "OpenSSL":
        return ""
    said = "; ".join(str(one[-1]) for one in error.args[0]) if error.args and error.args[0] else ""
    meant = next((meaning for part, meaning in _REASONS if part in said), "TLS failed")
    return f"{meant} ({said})" if said else meant
