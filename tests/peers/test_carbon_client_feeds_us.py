"""A real carbon-relay sends to us, over the line and over the pickle protocol: every point arrives and is stored."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import whisper
from support.peers import running, script_beside_python
from support.ports import free_ports
from support.running import SCHEMAS, RunningDaemon, dropped
from support.waiting import until

RELAY = """
[relay]
STORAGE_DIR = {place}
LOG_DIR = {place}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line_port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle_port}
RELAY_METHOD = consistent-hashing
DESTINATIONS = 127.0.0.1:{target}:a
DESTINATION_PROTOCOL = {protocol}
CARBON_METRIC_INTERVAL = 0
MAX_QUEUE_SIZE = 100000
"""
METRICS = [f"relayed.machine{number:02d}.value" for number in range(50)] + ["relayed.tagged;room=two;door=one"]
POINTS = 40


@pytest.mark.parametrize("protocol", ["line", "pickle"])
def test_carbon_relay_feeds_us(
    carbonpy_daemon: Callable[..., RunningDaemon], tmp_path: Path, protocol: str
) -> None:
    script = script_beside_python("carbon-relay.py", "carbon==1.1.10")
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.5})
    line_port, pickle_port = free_ports(2)
    config = tmp_path / "relay.conf"
    config.write_text(RELAY.format(
        place=tmp_path, line_port=line_port, pickle_port=pickle_port, protocol=protocol,
        target=daemon.line_port if protocol == "line" else daemon.pickle_port))
    (tmp_path / "storage-schemas.conf").write_text(SCHEMAS)  # carbon asks for it, even where it stores nothing
    moment = int(time.time()) - 2 * POINTS
    lines = [f"{metric} {place}.{number} {moment + place}\n"
             for place in range(POINTS) for number, metric in enumerate(METRICS)]

    with running([sys.executable, script, "--config", str(config), "--nodaemon", "start"], tmp_path / "relay.log",
                 cwd=tmp_path):
        def send() -> bool:
            with socket.create_connection(("127.0.0.1", line_port), timeout=10) as relay:
                relay.sendall("".join(lines).encode())
            return True
        until("the relay listens", send)
        ledger = daemon.wait_until_written(len(lines))

    assert ledger["received"] == ledger["written"] == len(lines)
    assert dropped(ledger) == 0
    assert ledger["balanced"]
    for number, metric in enumerate(METRICS):
        wanted = [float(f"{place}.{number}") for place in range(POINTS)]
        name = metric if ";" not in metric else "relayed.tagged;door=one;room=two"
        if ";" not in metric:
            path = daemon.data_dir.joinpath(*metric.split(".")).with_suffix(".wsp")
            assert whisper.fetch(str(path), moment - 1, moment + POINTS - 1)[1] == wanted
        (series,) = daemon.render(name, from_=moment - 1, until=moment + POINTS - 1)
        assert [value for value, _ in series["datapoints"]] == wanted
