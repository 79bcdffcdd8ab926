"""Real relays of other houses over TLS and protobuf: they reach our listeners, and we reach theirs."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.c_relay import c_relay
from support.certificates import Authority
from support.peers import running, script_beside_python
from support.ports import free_ports
from support.running import REPOSITORY, SCHEMAS, RunningDaemon, dropped
from support.running_relay import RunningRelay, Sink, sinks
from support.waiting import until
from support.whole import until_received

NOW = int(time.time()) - 100
LINES = [f"others.machine{number:03d}.value {number}.5 {NOW}" for number in range(500)]
Start = Callable[..., RunningDaemon]

CARBON = """
[relay]
STORAGE_DIR = {place}
LOG_DIR = {place}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line_port}
PICKLE_RECEIVER_PORT = 0
RELAY_METHOD = consistent-hashing
DESTINATIONS = localhost:{target}:a
DESTINATION_PROTOCOL = {protocol}
DESTINATION_TRANSPORT = {transport}
DESTINATION_SSL_CA = {ca}
CARBON_METRIC_INTERVAL = 0
"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("a test's authority")


def send(port: int, lines: list[str]) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("".join(f"{line}\n" for line in lines).encode())
    return True


def check(daemon: RunningDaemon) -> None:
    """The daemon has all of LINES, and nothing went wrong."""
    ledger = until_received(daemon, len(LINES), 30)
    assert ledger["received"] == len(LINES) and dropped(ledger) == 0
    for number in (0, 250, 499):
        (series,) = daemon.render(f"others.machine{number:03d}.value", from_=NOW - 1, until=NOW)
        assert [value for value, when in series["datapoints"] if when == NOW] == [number + 0.5]


@pytest.mark.parametrize(
    ("protocol", "transport"), [("protobuf", "none"), ("protobuf", "ssl"), ("pickle", "ssl"), ("line", "ssl")]
)
def test_carbon_relay_sends_to_us(
    carbonpy_daemon: Start, tmp_path: Path, authority: Authority, protocol: str, transport: str
) -> None:
    script = script_beside_python("carbon-relay.py", "carbon==1.1.10")
    certificate, key = authority.files(tmp_path, "server", ["localhost"])
    line_port, target = free_ports(2)
    extra: dict[str, object] = {"TLS_CERTIFICATE": certificate, "TLS_KEY": key}
    if transport == "none":
        extra = {"PROTOBUF_RECEIVER_PORT": target, "PROTOBUF_RECEIVER_INTERFACE": "127.0.0.1"}
    else:
        extra["LISTENERS"] = f"{protocol}+tls://127.0.0.1:{target}"
    daemon = carbonpy_daemon(conf_extra=extra)
    config = tmp_path / "relay.conf"
    ca = authority.file(tmp_path, "ca")
    config.write_text(
        CARBON.format(place=tmp_path, line_port=line_port, target=target, protocol=protocol, transport=transport, ca=ca)
    )
    (tmp_path / "storage-schemas.conf").write_text(SCHEMAS)
    command = [sys.executable, script, "--config", str(config), "--nodaemon", "start"]
    with running(command, tmp_path / "relay.log", cwd=tmp_path):
        until("the relay listens", lambda: send(line_port, LINES))
        check(daemon)


@contextmanager
def c_relay_running(directory: Path, config: str, options: list[str] | None = None) -> Iterator[None]:
    (directory / "relay.conf").write_text(config)
    command = [c_relay(), "-f", str(directory / "relay.conf"), "-s", *(options or [])]
    with running(command, directory / "relay.log", cwd=directory):
        yield


def test_carbon_c_relay_sends_to_our_port_with_tls(
    carbonpy_daemon: Start, tmp_path: Path, authority: Authority
) -> None:
    certificate, key = authority.files(tmp_path, "server", ["localhost", "127.0.0.1"])
    line_port, target = free_ports(2)
    listeners = f"line+tls://127.0.0.1:{target}"
    daemon = carbonpy_daemon(
        conf_extra={"TLS_CERTIFICATE": certificate, "TLS_KEY": key, "LISTENERS": listeners}
    )
    config = (
        f"cluster ours forward 127.0.0.1:{target} proto tcp transport plain ssl;\n"
        "match * send to ours stop;\n"
        f"listen type linemode 127.0.0.1:{line_port} proto tcp;\n"
    )
    with c_relay_running(tmp_path, config, ["-C", authority.file(tmp_path, "ca")]):
        until("the relay listens", lambda: send(line_port, LINES))
        check(daemon)


@contextmanager
def c_relay_with_tls(directory: Path, authority: Authority, sink: Sink) -> Iterator[tuple[int, Path]]:
    """The port of a carbon-c-relay that listens with TLS, and a socket where it listens in the clear."""
    certificate, key = authority.issue("server", ["localhost"])
    (directory / "both.pem").write_bytes(certificate + key)
    (port,) = free_ports(1)
    local = directory / "c-relay.sock"
    config = (
        f"cluster sink forward 127.0.0.1:{sink.port} proto tcp;\n"
        "match * send to sink stop;\n"
        f"listen type linemode transport plain ssl {directory}/both.pem 127.0.0.1:{port} proto tcp;\n"
        f"listen type linemode {local} proto unix;\n"
    )
    with c_relay_running(directory, config):

        def listens() -> bool:
            context = ssl.create_default_context(cadata=authority.pem.decode())
            with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
                context.wrap_socket(plain, server_hostname="localhost").close()
            return True

        until("carbon-c-relay listens", listens)
        yield port, local


def test_our_relay_sends_to_its_port_with_tls_if_it_may_be_trusted(tmp_path: Path, authority: Authority) -> None:
    with sinks(1) as (sink,), c_relay_with_tls(tmp_path, authority, sink) as (port, _):
        name = f"localhost:{port}:a"
        ca = Authority("another").file(tmp_path, "another")
        extra = {"DESTINATION_PROTOCOL": "line", "DESTINATION_TRANSPORT": "ssl", "DESTINATION_SSL_CA": ca}
        relay = RunningRelay(tmp_path / "ours", [name], extra)
        relay.start()
        try:
            relay.send_lines(LINES)
            sentence = "its certificate is signed by an authority that is not trusted"
            until("it is not trusted", lambda: sentence in relay.log())
            assert sink.lines == []
            relay.conf_extra["DESTINATION_SSL_CA"] = authority.file(tmp_path, "ca")
            relay.reload()
            relay.wait_until_delivered(len(LINES))
            until("all are there", lambda: len(sink.lines) == len(LINES))
            assert sorted(line.decode().rstrip("\n") for line in sink.lines) == sorted(LINES)
        finally:
            relay.kill()


def test_carbonpy_send_reaches_its_port_with_tls_and_its_socket(tmp_path: Path, authority: Authority) -> None:
    with sinks(1) as (sink,), c_relay_with_tls(tmp_path, authority, sink) as (port, local):
        ca = authority.file(tmp_path, "ca")
        for options in (["--host", "localhost", "--port", str(port), "--tls", "--tls-ca", ca], ["--unix", str(local)]):
            sink.lines.clear()
            done = subprocess.run(
                [sys.executable, "-m", "carbonpy", "send", *options],
                env={"PYTHONPATH": str(REPOSITORY)}, input="\n".join(LINES).encode(), capture_output=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            until("all are there", lambda: len(sink.lines) == len(LINES))
