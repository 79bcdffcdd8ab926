"""Client endpoints against real listeners: who is trusted, what is said of others, how long it takes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority
from support.looping import Looping
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory, Protocol

from carbonpy.errors import ConfigError
from carbonpy.net.tls import ClientTls, ServerTls, serving
from carbonpy.net.transports import ClientEndpoint, Unreachable, explained


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("a test's authority")


@pytest.fixture
def loop() -> Iterator[Looping]:
    loop = Looping()
    yield loop
    loop.close()


class Talker(Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Any = None
        self.why = ""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost, self.why = reason, explained(reason, self.transport)


class Talkers(Factory):
    noisy = False

    def __init__(self) -> None:
        self.made: list[Talker] = []

    def buildProtocol(self, addr: Any) -> Talker:
        self.made.append(Talker())
        return self.made[-1]


def listen(loop: Looping, options: ServerTls | None = None, interface: str = "127.0.0.1") -> tuple[Talkers, int]:
    talkers = Talkers()
    if options is None:
        port = loop.reactor.listenTCP(0, talkers, interface=interface)
    else:
        port = loop.reactor.listenTCP(0, serving(loop.reactor, options, talkers), interface=interface)
    loop.ports.append(port)
    return talkers, port.getHost().port


def connect(loop: Looping, endpoint: ClientEndpoint, seconds: float = 10.0) -> Any:
    """The protocol, or the Failure."""
    got: list[Any] = []
    endpoint.connect(Talkers()).addBoth(got.append)
    loop.until(lambda: got, seconds)
    return got[0]


def refused(loop: Looping, endpoint: ClientEndpoint) -> str:
    """Why it could not be reached."""
    failure = connect(loop, endpoint)
    assert failure.check(Unreachable), failure
    return failure.getErrorMessage()


def talk(loop: Looping, talkers: Talkers, client: Any) -> None:
    """Both hear each other, and the end."""
    loop.until(lambda: talkers.made)
    server = talkers.made[-1]
    client.transport.write(b"to the server" * 10_000)
    server.transport.write(b"to the client")
    loop.until(lambda: server.heard == b"to the server" * 10_000 and client.heard == b"to the client")
    client.transport.loseConnection()
    loop.until(lambda: server.lost is not None and client.lost is not None)
    assert server.why == "the other side closed the connection"


# ---- in the clear


@pytest.mark.parametrize(
    ("interface", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "localhost")]
)
def test_addresses_of_both_kinds_and_names_are_reached(loop: Looping, interface: str, host: str) -> None:
    talkers, port = listen(loop, interface=interface)
    talk(loop, talkers, connect(loop, ClientEndpoint(loop.reactor, host, port)))


def test_a_socket_of_this_machine_is_reached(loop: Looping, tmp_path: Path) -> None:
    talkers = Talkers()
    loop.ports.append(loop.reactor.listenUNIX(str(tmp_path / "there.sock"), talkers))
    talk(loop, talkers, connect(loop, ClientEndpoint(loop.reactor, "", 0, unix=str(tmp_path / "there.sock"))))
    assert refused(loop, ClientEndpoint(loop.reactor, "", 0, unix=str(tmp_path / "not-there.sock")))


def test_a_name_is_looked_up_at_every_attempt(loop: Looping) -> None:
    from twisted.internet.address import IPv4Address
    from twisted.internet.interfaces import IHostnameResolver
    from zope.interface import implementer

    first, second = listen(loop)[1], listen(loop)[1]
    asked: list[str] = []

    @implementer(IHostnameResolver)
    class Moving:
        def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *_: Any, **__: Any) -> Any:
            asked.append(hostName)
            receiver.resolutionBegan(self)
            receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", first if len(asked) == 1 else second))
            receiver.resolutionComplete()
            return self

    loop.reactor.installNameResolver(Moving())
    endpoint = ClientEndpoint(loop.reactor, "cache.example.org", first)
    assert [connect(loop, endpoint).transport.getPeer().port for _ in range(3)] == [first, second, second]
    assert asked == ["cache.example.org"] * 3


def test_what_cannot_be_reached_says_why(loop: Looping) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        sentence = refused(loop, ClientEndpoint(loop.reactor, "127.0.0.1", port))
    assert sentence == "connection refused; nobody listens there"
    assert refused(loop, ClientEndpoint(loop.reactor, "no-such-host.invalid", 1)) == "its name is not known"


def test_an_attempt_can_be_cancelled(loop: Looping, authority: Authority, tmp_path: Path) -> None:
    talkers, port = listen(loop)
    secure = ClientTls("127.0.0.1", ca=authority.file(tmp_path, "ca"))
    got: list[Any] = []
    attempt = ClientEndpoint(loop.reactor, "127.0.0.1", port, secure=secure).connect(Talkers())
    attempt.addBoth(got.append)
    loop.until(lambda: talkers.made and talkers.made[0].heard)
    attempt.cancel()
    assert got[0].check(CancelledError)
    loop.until(lambda: talkers.made[0].lost is not None)


# ---- TLS


def test_a_certificate_of_a_known_authority_for_this_host_is_trusted(loop, authority, tmp_path) -> None:
    options = ServerTls(*authority.files(tmp_path, "server", ["localhost", "127.0.0.1"]))
    talkers, port = listen(loop, options)
    for host in ("localhost", "127.0.0.1"):
        secure = ClientTls(host, ca=authority.file(tmp_path, "ca"))
        talk(loop, talkers, connect(loop, ClientEndpoint(loop.reactor, host, port, secure=secure)))


def test_a_certificate_for_another_host_is_refused_unless_that_host_is_meant(loop, authority, tmp_path) -> None:
    options = ServerTls(*authority.files(tmp_path, "server", ["cache.example.org", "192.0.2.7"]))
    talkers, port = listen(loop, options)
    ca = authority.file(tmp_path, "ca")
    for host in ("localhost", "127.0.0.1"):
        sentence = refused(loop, ClientEndpoint(loop.reactor, host, port, secure=ClientTls(host, ca=ca)))
        assert f"is for cache.example.org, 192.0.2.7, not for {host}" in sentence
    loop.until(lambda: all(talker.lost is not None for talker in talkers.made))
    assert [talker.heard for talker in talkers.made] == [b"", b""]
    by_name = ClientTls("cache.example.org", ca=ca)
    talk(loop, talkers, connect(loop, ClientEndpoint(loop.reactor, "localhost", port, secure=by_name)))


def test_authorities_that_are_not_known_and_old_certificates_are_refused(loop, authority, tmp_path) -> None:
    stranger = Authority("a stranger")
    talkers, port = listen(loop, ServerTls(*stranger.files(tmp_path, "server", ["localhost"])))
    for ca, words in (
        (authority.file(tmp_path, "ca"), "is signed by an authority that is not trusted"),
        ("", "is signed by an authority that is not trusted"),
    ):
        assert words in refused(
            loop, ClientEndpoint(loop.reactor, "localhost", port, secure=ClientTls("localhost", ca=ca))
        )
    loop.until(lambda: all(talker.lost is not None for talker in talkers.made))
    assert "it does not know the authority of our certificate" in talkers.made[-1].why
    _, port = listen(loop, ServerTls(*authority.files(tmp_path, "old", ["localhost"], days=30)))
    secure = ClientTls("localhost", ca=authority.file(tmp_path, "ca"))
    assert "has expired" in refused(loop, ClientEndpoint(loop.reactor, "localhost", port, secure=secure))


def test_a_server_may_ask_for_certificates_and_talks_to_no_others(loop, authority, tmp_path) -> None:
    ca = authority.file(tmp_path, "ca")
    options = ServerTls(*authority.files(tmp_path, "server", ["localhost"]), ca)
    talkers, port = listen(loop, options)
    mine = dict(zip(("certificate", "key"), authority.files(tmp_path, "client")))
    secure = ClientTls("localhost", ca=ca, **mine)
    talk(loop, talkers, connect(loop, ClientEndpoint(loop.reactor, "localhost", port, secure=secure)))

    other = dict(zip(("certificate", "key"), Authority("a stranger").files(tmp_path, "stranger")))
    for shown, here, there in (
        ({}, "it shows no certificate, and this port asks for one", "it asks for a certificate of ours and got none"),
        (other, "TLS_CLIENT_CA names other authorities", "it does not know the authority of our certificate"),
    ):
        secure = ClientTls("localhost", ca=ca, **shown)
        client = connect(loop, ClientEndpoint(loop.reactor, "localhost", port, secure=secure))
        # TLS 1.3: the client is through before the server has looked at its certificate.
        client.transport.write(b"a 1 1\n")
        loop.until(lambda client=client: client.lost is not None and talkers.made[-1].lost is not None)
        assert here in talkers.made[-1].why
        assert there in client.why
        assert talkers.made[-1].heard == b""


def test_a_peer_that_does_not_speak_tls_is_not_waited_for(loop, authority, tmp_path) -> None:
    ca = authority.file(tmp_path, "ca")
    silent, port = listen(loop)
    endpoint = ClientEndpoint(loop.reactor, "localhost", port, timeout=0.3, secure=ClientTls("localhost", ca=ca))
    assert refused(loop, endpoint) == "no answer within 0.3 s"
    loop.until(lambda: silent.made[0].lost is not None)

    endpoint = ClientEndpoint(loop.reactor, "localhost", port, secure=ClientTls("localhost", ca=ca))
    got: list[Any] = []
    endpoint.connect(Talkers()).addBoth(got.append)
    loop.until(lambda: len(silent.made) == 2 and silent.made[-1].heard)
    silent.made[-1].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    loop.until(lambda: got)
    assert "it does not speak TLS" in got[0].getErrorMessage()

    got.clear()
    endpoint.connect(Talkers()).addBoth(got.append)
    loop.until(lambda: len(silent.made) == 3 and silent.made[-1].heard)
    silent.made[-1].transport.loseConnection()
    loop.until(lambda: got)
    assert "in the middle of the TLS handshake" in got[0].getErrorMessage()


def test_a_port_with_tls_says_what_came_instead(loop, authority, tmp_path) -> None:
    talkers, port = listen(loop, ServerTls(*authority.files(tmp_path, "server", ["localhost"])))
    for sent, words in ((b"a.b 1 1\n" * 10, "it does not speak TLS"), (b"GET / HTTP/1.1\r\n\r\n", "HTTP")):
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(sent)
            loop.until(lambda: talkers.made and talkers.made[-1].lost is not None)
        assert words in talkers.made.pop().why


def test_certificates_are_renewed_for_connections_to_come(loop, authority, tmp_path) -> None:
    files = authority.files(tmp_path, "server", ["localhost"], days=30)
    options = ServerTls(*files)
    talkers, port = listen(loop, options)
    secure = ClientTls("localhost", ca=authority.file(tmp_path, "ca"))
    endpoint = ClientEndpoint(loop.reactor, "localhost", port, secure=secure)
    assert "has expired" in refused(loop, endpoint)
    (tmp_path / "server.pem").write_text("not a certificate")
    options.renew()
    assert "has expired" in refused(loop, endpoint)
    authority.files(tmp_path, "server", ["localhost"])
    options.renew()
    talk(loop, talkers, connect(loop, endpoint))


def test_sessions_are_resumed_although_certificates_are_asked_for(loop, authority, tmp_path) -> None:
    """A server that verifies and has no session context refuses every second connection of a client."""
    ca = authority.file(tmp_path, "ca")
    talkers, port = listen(loop, ServerTls(*authority.files(tmp_path, "server", ["localhost"]), ca))
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(*authority.files(tmp_path, "client"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    reused: list[Any] = []

    def client() -> None:
        session = None
        for _ in range(2):
            plain = socket.create_connection(("127.0.0.1", port), timeout=10)
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
                secure.sendall(b"hello")
                session = secure.session
                reused.append(secure.session_reused)

    thread = threading.Thread(target=client)
    thread.start()
    loop.until(lambda: not thread.is_alive())
    loop.until(lambda: [talker.heard for talker in talkers.made] == [b"hello"] * 2)
    assert reused == [False, True]


def test_hosts_that_are_none_are_errors_of_the_configuration(authority, tmp_path) -> None:
    with pytest.raises(ConfigError, match="not the name of a host"):
        ClientTls("a host", ca=authority.file(tmp_path, "ca"))
    with pytest.raises(ConfigError, match="cannot be read"):
        ClientTls("localhost", ca=str(tmp_path / "none.pem"))
    (tmp_path / "text.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="there is no certificate"):
        ClientTls("localhost", ca=str(tmp_path / "text.pem"))
