"""Whole daemons that listen in every way: compressed, encrypted, on sockets of this machine; and who is turned away."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import lz4.frame
import pytest
from support.certificates import Authority
from support.ports import free_ports
from support.running import REPOSITORY, RunningDaemon, dropped
from support.waiting import until
from support.whole import balanced, settle, until_received

from carbonpy.wire.compressed import encoder
from carbonpy.wire.payload import encode_points
from carbonpy.wire.pickled import encode_plain

NOW = int(time.time()) - 600
Start = Callable[..., RunningDaemon]


class Place:
    """Certificates, and a daemon whose listeners are called by what they speak."""

    def __init__(self, start: Start, directory: Path, **settings: object) -> None:
        self.directory = directory
        self.authority = Authority("a test's authority")
        self.ca = self.authority.file(directory, "ca")
        self.server = self.authority.files(directory, "server", ["localhost", "127.0.0.1"])
        self.client = self.authority.files(directory, "client")
        kinds = ("line+gzip", "line+lz4", "line+tls", "pickle+tls", "protobuf+tls", "line+gzip+tls", "protobuf", "udp")
        self.ports = dict(zip(kinds, free_ports(len(kinds))))
        self.unix = directory / "carbonpy.sock"
        listeners = [f"{kind}://127.0.0.1:{port}" for kind, port in self.ports.items()]
        self.daemon = start(
            conf_extra={
                "LISTENERS": ", ".join([*listeners, f"line+unix://{self.unix}?mode=600"]),
                "TLS_CERTIFICATE": self.server[0],
                "TLS_KEY": self.server[1],
                "SWEEP_INTERVAL": 0.5,
                **settings,
            }
        )

    def context(self, ca: str | None = None, shown: Iterable[str] = ()) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=ca or self.ca)
        if shown:
            context.load_cert_chain(*shown)
        return context

    def secure(self, kind: str, context: ssl.SSLContext) -> ssl.SSLSocket:
        """A connection whose handshake is over, as far as the client knows."""
        plain = socket.create_connection(("127.0.0.1", self.ports[kind]), timeout=20)
        try:
            return context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise

    def talk(self, kind: str, data: bytes, context: ssl.SSLContext | None = None) -> None:
        """Send all, close our half, and return when the daemon has closed without a word."""
        if context is not None:
            with self.secure(kind, context) as secure:
                secure.sendall(data)
                secure.unwrap()
            return
        with socket.create_connection(("127.0.0.1", self.ports[kind]), timeout=20) as plain:
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            assert plain.recv(100) == b""


@pytest.fixture
def place(carbonpy_daemon: Start, tmp_path: Path) -> Place:
    return Place(carbonpy_daemon, tmp_path)


def text_of(name: str, count: int = 100) -> bytes:
    return b"".join(f"listen.{name}.m{number} {number} {NOW}\n".encode() for number in range(count))


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def pickled(name: str) -> bytes:
    return framed(encode_plain([(f"listen.{name}.m{number}", (NOW, float(number))) for number in range(100)]))


def protobuf(name: str) -> bytes:
    names = [b"listen.%b.m%d" % (name.encode(), number) for number in range(100)]
    return framed(encode_points(names, [NOW] * 100, [float(number) for number in range(100)]))


def test_every_way_in_leads_to_the_same_files(place: Place) -> None:
    daemon = place.daemon
    place.talk("line+gzip", encoder("gzip")(text_of("gzip")))
    place.talk("line+lz4", encoder("lz4")(text_of("lz4")))
    place.talk("line+tls", text_of("tls"), place.context())
    place.talk("line+gzip+tls", gzip.compress(text_of("both")), place.context())
    place.talk("pickle+tls", pickled("pickle"), place.context())
    place.talk("protobuf", protobuf("protobuf"))
    place.talk("protobuf+tls", protobuf("secret"), place.context())
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(place.unix))
        local.sendall(text_of("unix"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(text_of("udp"), ("127.0.0.1", place.ports["udp"]))
    until_received(daemon, 900)
    ledger = settle(daemon)
    assert ledger["written"] == 900 and dropped(ledger) == 0
    kinds = ("gzip", "lz4", "tls", "both", "pickle", "protobuf", "secret", "unix", "udp")
    for kind in kinds:
        (series,) = daemon.render(f"listen.{kind}.m42", from_=NOW - 1, until=NOW)
        assert [value for value, when in series["datapoints"] if when == NOW] == [42.0], kind
    assert (place.unix.stat().st_mode & 0o777) == 0o600
    assert daemon.terminate() == 0 and not place.unix.exists()


def test_the_line_tool_of_everybody_reaches_a_compressed_port(place: Place) -> None:
    """`gzip | nc` in pieces, as a pipe gives them: many members, cut anywhere, with a pause in between."""
    stream = b"".join(gzip.compress(text_of(f"member{number}", 50)) for number in range(20))
    with socket.create_connection(("127.0.0.1", place.ports["line+gzip"])) as sender:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        half = len(stream) // 2
        for start in range(0, half, 7):
            sender.sendall(stream[start : min(start + 7, half)])
        until_received(place.daemon, 100)
        sender.sendall(stream[half:])
    until_received(place.daemon, 1000)
    frames = b"".join(lz4.frame.compress(text_of(f"frame{number}", 50)) for number in range(20))
    place.talk("line+lz4", frames)
    ledger = until_received(place.daemon, 2000)
    assert dropped(ledger) == 0


def test_a_bomb_costs_its_connection_and_a_bounded_amount_of_memory(place: Place) -> None:
    def memory() -> int:
        status = Path(f"/proc/{place.daemon.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    bomb = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    packed = bomb.compress(text_of("before")) + b"".join(bomb.compress(bytes(1 << 20)) for _ in range(400))
    packed += bomb.flush()
    before = memory()
    with socket.create_connection(("127.0.0.1", place.ports["line+gzip"]), timeout=20) as sender:
        try:
            sender.sendall(packed)
            assert sender.recv(1) == b""
        except ConnectionError:
            pass
    ledger = until("the bomb is counted", lambda: (found := balanced(place.daemon.ledger()))["dropped"] and found)
    assert ledger["dropped"]["malformed"] >= 1 and ledger["received"] - dropped(ledger) == 100
    assert memory() - before < 64 << 20
    assert "256 times" in place.daemon.log()
    place.talk("line+gzip", gzip.compress(text_of("after")))
    until("others are served", lambda: place.daemon.ledger()["cached"] + place.daemon.ledger()["written"] >= 200)


# ---- TLS


def test_who_is_not_trusted_is_turned_away_with_a_sentence_in_the_log(carbonpy_daemon: Start, tmp_path: Path) -> None:
    place = Place(carbonpy_daemon, tmp_path, TLS_CLIENT_CA=tmp_path / "ca.pem")
    stranger = Authority("a stranger").files(tmp_path, "stranger")
    for shown in ((), stranger):
        context = place.context(shown=shown)
        # In TLS 1.3 a client is told of it only when it reads.
        with pytest.raises((ssl.SSLError, ConnectionError)), place.secure("line+tls", context) as one:
            one.sendall(text_of("stranger"))
            one.recv(1)
    with pytest.raises(ssl.SSLError):
        place.talk("line+tls", b"", place.context(ca=Authority("another").file(tmp_path, "another")))
    place.talk("line+tls", text_of("plain"))
    place.talk("line+tls", text_of("client"), place.context(shown=place.client))
    ledger = until_received(place.daemon, 100)
    assert ledger["received"] == 100 and dropped(ledger) == 0
    log = place.daemon.log()
    for sentence in (
        "refused: it shows no certificate, and this port asks for one",
        "refused: its certificate is signed by an authority that is not trusted; TLS_CLIENT_CA names other authorities",
        "refused: it does not know the authority of our certificate",
        "refused: it does not speak TLS",
    ):
        assert sentence in log


def test_a_renewed_certificate_is_taken_with_sighup_and_a_broken_one_is_not(place: Place, tmp_path: Path) -> None:
    daemon = place.daemon

    def serial() -> int:
        with place.secure("line+tls", place.context()) as one:
            return int(str(one.getpeercert()["serialNumber"]), 16)  # type: ignore[index]

    first = serial()
    place.authority.files(tmp_path, "server", ["localhost"])
    daemon.reload()
    until("there is another certificate", lambda: serial() != first)
    second = serial()
    (tmp_path / "server.pem").write_text("nothing")
    daemon.reload()
    until("it is said", lambda: "the certificate read before stays in use" in daemon.log())
    assert serial() == second


def test_senders_that_do_nothing_are_disconnected_before_and_after_the_handshake(
    carbonpy_daemon: Start, tmp_path: Path
) -> None:
    place = Place(carbonpy_daemon, tmp_path, METRIC_CLIENT_IDLE_TIMEOUT=1)
    idle = socket.create_connection(("127.0.0.1", place.ports["line+tls"]), timeout=20)
    slow = socket.create_connection(("127.0.0.1", place.ports["line+gzip"]), timeout=20)
    slow.sendall(encoder("gzip")(b"a.b 1")[:12])
    with place.secure("line+tls", place.context()) as secure:
        for one in (idle, slow, secure):
            with one:
                try:
                    assert one.recv(1) == b""
                except (ConnectionError, ssl.SSLEOFError):
                    pass
    log = place.daemon.log()
    assert "line connection with" in log and "did not finish its TLS handshake, closed" in log
    assert log.count("was idle too long, closed") == 2


def test_a_full_cache_pauses_encrypted_and_compressed_senders_and_loses_nothing(
    carbonpy_daemon: Start, tmp_path: Path
) -> None:
    place = Place(carbonpy_daemon, tmp_path, MAX_CACHE_SIZE=5000, MAX_UPDATES_PER_SECOND=2000)
    text = b"".join(f"full.m{number % 500} {number} {NOW - number // 500}\n".encode() for number in range(40_000))
    place.talk("line+gzip+tls", gzip.compress(text), place.context())
    place.talk("line+lz4", encoder("lz4")(text.replace(b"full.", b"lz4.")))
    until_received(place.daemon, 80_000, 60)
    assert "senders are paused" in place.daemon.log()
    ledger = settle(place.daemon, 60)
    assert ledger["written"] == 80_000 and dropped(ledger) == 0


def test_at_the_limit_of_connections_a_further_sender_waits_whatever_it_speaks(
    carbonpy_daemon: Start, tmp_path: Path
) -> None:
    place = Place(carbonpy_daemon, tmp_path, MAX_RECEIVER_CONNECTIONS=2)
    first = place.secure("line+tls", place.context())
    second = socket.create_connection(("127.0.0.1", place.ports["line+gzip"]), timeout=20)
    second.sendall(encoder("gzip")(text_of("second")))
    until_received(place.daemon, 100)
    with socket.socket(socket.AF_UNIX) as third:
        third.connect(str(place.unix))
        third.sendall(text_of("third"))
        first.sendall(text_of("first"))
        ledger = until_received(place.daemon, 200)
        assert ledger["received"] == 200
        first.close()
        until_received(place.daemon, 300)
        second.close()
    place.talk("line+tls", text_of("fourth"), place.context())
    assert dropped(until_received(place.daemon, 400)) == 0


# ---- sockets of this machine


def test_a_socket_that_a_killed_daemon_left_is_made_anew_and_others_are_left_alone(place: Place) -> None:
    daemon = place.daemon
    daemon.kill()
    assert place.unix.is_socket()
    daemon.start()
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(place.unix))
        local.sendall(text_of("again"))
    until_received(daemon, 100)

    def refusal() -> str:
        second = subprocess.run(
            [sys.executable, "-m", "carbonpy", "cache", "--config", str(other)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert second.returncode != 0
        return second.stderr

    other = daemon.root / "other.yaml"
    ports = "line_receiver_port: 0, pickle_receiver_port: 0, cache_query_port: 0"
    other.write_text(
        f"cache: {{storage_dir: {daemon.root}/other, {ports}, listeners: ['line+unix://{place.unix}']}}\n"
        "web: {http_port: 0}\n"
    )
    assert f"{place.unix}: another process listens there" in refusal()
    file = daemon.root / "a-file"
    file.write_text("precious")
    other.write_text(other.read_text().replace(str(place.unix), str(file)))
    assert "there is a file that is no socket" in refusal() and file.read_text() == "precious"
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(place.unix))
    place.unix.unlink()
    assert daemon.terminate() == 0


# ---- carbonpy send


def sent(options: list[str], text: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "carbonpy", "send", *options],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, input=text, capture_output=True, timeout=60,
    )  # fmt: skip


def test_carbonpy_send_speaks_all_of_it(place: Place) -> None:
    ways: dict[str, list[str]] = {
        "line+gzip": ["--gzip"],
        "line+lz4": ["--lz4"],
        "line+tls": ["--tls", "--tls-ca", place.ca],
        "line+gzip+tls": ["--tls", "--tls-ca", place.ca, "--gzip"],
        "pickle+tls": ["--tls", "--tls-ca", place.ca, "--pickle"],
    }
    for kind, options in ways.items():
        where = ["--host", "localhost", "--port", str(place.ports[kind])]
        done = sent([*where, *options], text_of(kind.replace("+", ".")))
        assert done.returncode == 0, done.stderr
    done = sent(["--unix", str(place.unix)], text_of("unix"))
    assert done.returncode == 0 and f"to {place.unix}".encode() in done.stderr
    ledger = until_received(place.daemon, 600)
    assert ledger["received"] == 600 and dropped(ledger) == 0
    done = sent(["--port", str(place.ports["line+tls"]), "--tls", "--timeout", "1"], text_of("untrusted"))
    assert done.returncode == 3 and b"certificate verify failed" in done.stderr
    done = sent(["--host", "ip6-localhost", "--tls", "--tls-ca", "/none"], b"")
    assert done.returncode == 2 and b"/none: cannot be used for TLS" in done.stderr
    for wrong in (["--tls", "--unix", "/x"], ["--tls-ca", "/x"], ["--gzip", "--lz4"], ["--tls", "--tls-key", "/x"]):
        assert sent(wrong, b"").returncode == 2


