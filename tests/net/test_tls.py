"""TLS: a certificate of our own, a handshake in memory, and what is said when the files do not fit."""

import ssl

import pytest
from OpenSSL import SSL
from support.certificates import pair

from carbonpy.errors import ConfigError
from carbonpy.net.tls import ServerTls


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = pair("carbonpy.example.org")
    other, _ = pair("ca.example.org")
    (directory / "cert.pem").write_bytes(certificate)
    (directory / "key.pem").write_bytes(key)
    (directory / "both.pem").write_bytes(certificate + other + key)
    (directory / "other.pem").write_bytes(other)
    (directory / "text.pem").write_text("not a certificate")
    return directory


def handshake(options, trusted):
    """The certificates that a client is shown, after it has checked the first."""
    server = options.serverConnectionForTLS(None)
    server.set_accept_state()
    context = ssl.create_default_context(cadata=trusted.decode())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="carbonpy.example.org")
    done = False
    while not done:
        try:
            client.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        if outgoing.pending:
            server.bio_write(outgoing.read())
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        try:
            incoming.write(server.bio_read(65536))
        except SSL.WantReadError:
            pass
    return client.version()


def test_a_client_that_trusts_the_certificate_gets_its_handshake(files):
    trusted = (files / "cert.pem").read_bytes()
    for options in (
        ServerTls(str(files / "cert.pem"), str(files / "key.pem")),
        ServerTls(str(files / "both.pem")),
    ):
        assert handshake(options, trusted) in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("none.pem", "", "cannot be read"),
        ("text.pem", "key.pem", "there is no certificate"),
        ("cert.pem", "", "there is no key"),
        ("cert.pem", "text.pem", "there is no key"),
        ("other.pem", "key.pem", "there is no key"),
    ],
)
def test_files_that_do_not_fit_are_an_error_of_the_configuration(files, certificate, key, words):
    with pytest.raises(ConfigError, match=words):
        ServerTls(str(files / certificate), str(files / key) if key else "")
