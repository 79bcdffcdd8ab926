"""Live beside carbon-relay and carbon-c-relay: the same names to the same sinks, before and behind real daemons."""

from __future__ import annotations

import itertools
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import whisper
from support.peers import debian_program, running, script_beside_python
from support.ports import free_ports
from support.running import SCHEMAS, RunningDaemon
from support.running_relay import RunningRelay, Sink, ended_with_the_test, sinks
from support.waiting import until

NOW = int(time.time())
LINES = [f"dc{n % 7}.web{n // 50:03d}.cpu{n % 13}.value{n} {n}.25 {NOW}" for n in range(5000)]
#: carbon's ROUTER_HASH_TYPE, REPLICATION_FACTOR, DIVERSE_REPLICAS.
CARBON = [("carbon_ch", 1, True), ("carbon_ch", 2, False), ("fnv1a_ch", 2, False)]
#: carbon-c-relay's type with its replication, and our ROUTER_HASH_TYPE.
C_RELAY = [
    ("carbon_ch replication 1", "carbon_ch:c-relay", 1),
    ("carbon_ch replication 2", "carbon_ch:c-relay", 2),
    ("fnv1a_ch replication 2", "fnv1a_ch:c-relay", 2),
    ("jump_fnv1a_ch replication 2", "jump_fnv1a_ch", 2),
]


@pytest.fixture
def relay_of(tmp_path: Path) -> Iterator[Callable[..., RunningRelay]]:
    """A relay of ours for destinations and settings; it ends with the test."""
    with ended_with_the_test() as started:
        numbers = itertools.count()

        def begin(destinations: list[str], **extra: object) -> RunningRelay:
            return started(RunningRelay(tmp_path / f"ours{next(numbers)}", destinations, extra))

        yield begin


def send(port: int, lines: list[str]) -> None:
    """Send the lines as soon as somebody listens."""

    def sent() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
        return True

    until(f"port {port} listens", sent)


def collected(there: list[Sink], copies: int) -> list[set[bytes]]:
    """What each sink got, when all of it is there; the sinks are empty afterwards."""
    until("all points are there", lambda: sum(len(sink.lines) for sink in there) >= copies * len(LINES), 60)
    got = [{line.rstrip() for line in sink.lines} for sink in there]
    assert sum(map(len, got)) == copies * len(LINES)
    for sink in there:
        sink.lines.clear()
    return got


def carbon_config(place: Path, destinations: list[str], **extra: object) -> tuple[Path, int]:
    """A carbon.conf for carbon-relay in `place`, and its line port."""
    line_port, pickle_port = free_ports(2)
    values = {
        "STORAGE_DIR": place, "LOG_DIR": place, "LINE_RECEIVER_INTERFACE": "127.0.0.1", "LINE_RECEIVER_PORT": line_port,
        "PICKLE_RECEIVER_INTERFACE": "127.0.0.1", "PICKLE_RECEIVER_PORT": pickle_port,
        "RELAY_METHOD": "consistent-hashing", "DESTINATIONS": ", ".join(destinations), "CARBON_METRIC_INTERVAL": 0,
        "MAX_QUEUE_SIZE": 100000, **extra,
    }  # fmt: skip
    config = place / "carbon.conf"
    config.write_text("[relay]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()))
    (place / "storage-schemas.conf").write_text(SCHEMAS)  # carbon asks for it, even where it stores nothing
    return config, line_port


@pytest.mark.parametrize(("ring", "copies", "diverse"), CARBON)
def test_carbon_relay_and_we_send_every_name_to_the_same_sinks(
    tmp_path: Path, relay_of: Callable[..., RunningRelay], ring: str, copies: int, diverse: bool
) -> None:
    script = script_beside_python("carbon-relay.py", "carbon==1.1.10")
    with sinks(3) as there:
        destinations = [f"127.0.0.1:{sink.port}:inst{n}" for n, sink in enumerate(there)]
        extra = {
            "ROUTER_HASH_TYPE": ring, "REPLICATION_FACTOR": copies, "DIVERSE_REPLICAS": diverse,
            "DESTINATION_PROTOCOL": "line",
        }  # fmt: skip
        config, port = carbon_config(tmp_path, destinations, **extra)
        command = [sys.executable, script, "--config", str(config), "--nodaemon", "start"]
        with running(command, tmp_path / "carbon-relay.log", cwd=tmp_path):
            send(port, LINES)
            theirs = collected(there, copies)
        ours = relay_of(destinations, **extra)
        ours.send_lines(LINES)
        assert collected(there, copies) == theirs
        assert all(theirs)


@pytest.mark.parametrize(("kind", "ring", "copies"), C_RELAY)
def test_carbon_c_relay_and_we_send_every_name_to_the_same_sinks(
    tmp_path: Path, relay_of: Callable[..., RunningRelay], kind: str, ring: str, copies: int
) -> None:
    program = debian_program("carbon-c-relay", "carbon-c-relay")
    with sinks(3) as there:
        (port,) = free_ports(1)
        config = tmp_path / "relay.conf"
        servers = " ".join(f"127.0.0.1:{sink.port}=longinstance{n}of3" for n, sink in enumerate(there))
        config.write_text(
            f"cluster all {kind} {servers};\nmatch * send to all stop;\nlisten type linemode {port} proto tcp;\n"
        )
        with running([program, "-f", str(config), "-s", "-q", "100000"], tmp_path / "c-relay.log"):
            send(port, LINES)
            theirs = collected(there, copies)
        ours = relay_of(
            [f"127.0.0.1:{sink.port}:longinstance{n}of3" for n, sink in enumerate(there)],
            ROUTER_HASH_TYPE=ring, REPLICATION_FACTOR=copies, DIVERSE_REPLICAS=False, DESTINATION_PROTOCOL="line",
        )  # fmt: skip
        ours.send_lines(LINES)
        assert collected(there, copies) == theirs
        assert all(theirs)


@pytest.mark.parametrize("protocol", ["pickle", "line"])
def test_we_feed_a_real_carbon_cache(tmp_path: Path, relay_of: Callable[..., RunningRelay], protocol: str) -> None:
    script = script_beside_python("carbon-cache.py", "carbon==1.1.10")
    line_port, pickle_port, query_port = free_ports(3)
    config = tmp_path / "carbon.conf"
    config.write_text(
        f"[cache]\nSTORAGE_DIR = {tmp_path}\nLOCAL_DATA_DIR = {tmp_path}/whisper\nLOG_DIR = {tmp_path}\n"
        f"LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {line_port}\n"
        f"PICKLE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_PORT = {pickle_port}\n"
        f"CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {query_port}\n"
        "MAX_UPDATES_PER_SECOND = inf\nMAX_CREATES_PER_MINUTE = inf\nENABLE_TAGS = False\nCARBON_METRIC_INTERVAL = 0\n"
        "WHISPER_SPARSE_CREATE = True\nWHISPER_FALLOCATE_CREATE = False\n"
    )
    (tmp_path / "storage-schemas.conf").write_text(SCHEMAS)
    port = pickle_port if protocol == "pickle" else line_port
    relay = relay_of([f"127.0.0.1:{port}:a"], DESTINATION_PROTOCOL=protocol)
    few = LINES[:500]
    relay.send_lines(few[:250])
    command = [sys.executable, script, "--config", str(config), "--nodaemon", "start"]
    with running(command, tmp_path / "carbon-cache.log", cwd=tmp_path):
        relay.wait_until_delivered(250)
        relay.send_lines(few[250:])
        relay.wait_until_delivered(500)
        assert relay.destination(f"127.0.0.1:{port}:a")["acknowledges"] is (False if protocol == "pickle" else None)

        def all_written() -> bool:
            for line in few:
                name, value, _ = line.split()
                path = (tmp_path / "whisper").joinpath(*name.split(".")).with_suffix(".wsp")
                assert whisper.fetch(str(path), NOW - 1, NOW)[1] == [float(value)]
            return True

        until("carbon has written all", all_written, 60, 0.2)
    assert "Error" not in (tmp_path / "carbon-cache.log").read_text()


def test_both_feed_us_and_we_feed_our_cache(
    tmp_path: Path, relay_of: Callable[..., RunningRelay], carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    cache = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.5})
    ours = relay_of([f"127.0.0.1:{cache.pickle_port}:a"])
    half = len(LINES) // 2
    script = script_beside_python("carbon-relay.py", "carbon==1.1.10")
    config, port = carbon_config(tmp_path, [f"127.0.0.1:{ours.pickle_port}:a"])
    command = [sys.executable, script, "--config", str(config), "--nodaemon", "start"]
    with running(command, tmp_path / "carbon-relay.log", cwd=tmp_path):
        send(port, LINES[:half])
        ours.wait_until_delivered(half)
    (c_port,) = free_ports(1)
    (tmp_path / "relay.conf").write_text(
        f"cluster all forward 127.0.0.1:{ours.line_port};\nmatch * send to all stop;\n"
        f"listen type linemode {c_port} proto tcp;\n"
    )
    program = debian_program("carbon-c-relay", "carbon-c-relay")
    with running([program, "-f", str(tmp_path / "relay.conf"), "-s", "-q", "100000"], tmp_path / "c-relay.log"):
        send(c_port, LINES[half:])
        ours.wait_until_delivered(len(LINES))
    ledger = cache.wait_until_written(len(LINES))
    assert ledger["received"] == len(LINES) and ledger["balanced"]
