"""The real carbon-aggregator and carbon-aggregator-cache, and ours: the same points and rules, the same outcome."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest
import whisper
from support.peers import running, script_beside_python
from support.ports import free_ports
from support.running import SCHEMAS, RunningDaemon
from support.running_relay import RunningAggregator, Sink, sinks
from support.waiting import until

NOW = int(time.time())
RULES = """\
# all of an application, in several ways
<app>.all.<metric> (2) = sum <app>.host*.<<metric>>
<app>.mean.<metric> (2) = avg <app>.host*.<<metric>>
<app>.p95 (3) = p95 <app>.*.cpu
<app>.count (3) = count <app>.*.cpu
shop.host1.cpu (2) = max shop.host1.*
"""
REWRITES = "[pre]\n^old\\. = shop.\n[post]\n_total$ =\n\\.host = .h\n"
LINES = [
    f"{app}.host{n}.{metric} {n * n % 101}.25 {NOW - n % 5}"
    for app in ("shop", "old", "api")
    for n in range(40)
    for metric in ("cpu", "disk.io_total")
] + [f"other.metric_total 3 {NOW}"]
FILES = {"aggregation-rules.conf": RULES, "rewrite-rules.conf": REWRITES, "storage-schemas.conf": SCHEMAS}
#: (name, timestamp) -> the last value.
Outcome = dict[tuple[str, int], float]


def carbon_config(place: Path, section: str, **values: object) -> tuple[Path, int]:
    """A carbon.conf for a real carbon daemon in `place`, and its line port."""
    line_port, pickle_port, query_port = free_ports(3)
    values = {
        "STORAGE_DIR": place, "LOCAL_DATA_DIR": place / "whisper", "LOG_DIR": place, "CARBON_METRIC_INTERVAL": 0,
        "LINE_RECEIVER_INTERFACE": "127.0.0.1", "LINE_RECEIVER_PORT": line_port, "ENABLE_TAGS": False,
        "PICKLE_RECEIVER_INTERFACE": "127.0.0.1", "PICKLE_RECEIVER_PORT": pickle_port,
        "CACHE_QUERY_INTERFACE": "127.0.0.1", "CACHE_QUERY_PORT": query_port, **values,
    }  # fmt: skip
    place.mkdir()
    config = place / "carbon.conf"
    config.write_text(f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()))
    for name, text in FILES.items():
        (place / name).write_text(text)
    return config, line_port


def send(port: int, lines: list[str]) -> None:
    """Send the lines as soon as somebody listens."""

    def sent() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
        return True

    until(f"port {port} listens", sent)


def outcome(sink: Sink) -> Outcome:
    """What a sink has by now; later values of a moment replace earlier ones."""
    words = [line.decode().split() for line in list(sink.lines)]
    return {(name, int(float(when))): float(value) for name, value, when in words}


@pytest.mark.parametrize("forward_all", [True, False])
def test_carbon_aggregator_and_we_send_the_same(tmp_path: Path, forward_all: bool) -> None:
    script = script_beside_python("carbon-aggregator.py", "carbon==1.1.10")
    with sinks(2) as (theirs, ours):
        config, port = carbon_config(
            tmp_path / "carbon", "aggregator", FORWARD_ALL=forward_all, DESTINATION_PROTOCOL="line",
            DESTINATIONS=f"127.0.0.1:{theirs.port}:a", LOG_AGGREGATOR_MISSES=False,
        )  # fmt: skip
        daemon = RunningAggregator(
            tmp_path / "ours", [f"127.0.0.1:{ours.port}:a"],
            {"DESTINATION_PROTOCOL": "line", "FORWARD_ALL": forward_all}, rules=FILES,
        )  # fmt: skip
        command = [sys.executable, script, "--config", str(config), "--nodaemon", "start"]
        with running(command, tmp_path / "carbon.log", cwd=tmp_path):
            send(port, LINES)
            daemon.start()
            try:
                daemon.send_lines(LINES)
                # carbon sends each output at the latest 3 s after its first point.
                until("carbon has sent its last", lambda: ("api.p95", NOW - NOW % 3) in outcome(theirs), 20)
                until("both have sent the same", lambda: outcome(ours) == pytest.approx(outcome(theirs)), 20)
                assert len(outcome(ours)) > (180 if forward_all else 25)
                assert daemon.terminate() == 0
            finally:
                if daemon.process is not None and daemon.process.poll() is None:
                    daemon.kill()


class RunningAggregatorCache(RunningDaemon):
    """A `carbonpy aggregator-cache` with its own section."""

    program = "aggregator-cache"

    def write_config(self) -> None:
        super().write_config()
        self.config_path.write_text(self.config_path.read_text().replace("[cache]", "[aggregator-cache]"))


def stored(tree: Path) -> dict[str, list[float | None]]:
    """The seconds around NOW of all files below `tree`.  Raises ValueError while carbon is making one in its place."""
    try:
        return {
            str(path.relative_to(tree)): list(whisper.fetch(str(path), NOW - 20, NOW)[1])
            for path in tree.rglob("*.wsp")
        }
    except whisper.CorruptWhisperFile as error:
        raise ValueError(f"{error.path} is not whole yet") from error


def test_carbon_aggregator_cache_and_we_store_the_same(tmp_path: Path) -> None:
    script = script_beside_python("carbon-aggregator-cache.py", "carbon==1.1.10")
    config, port = carbon_config(
        tmp_path / "carbon", "aggregator-cache", MAX_UPDATES_PER_SECOND="inf", MAX_CREATES_PER_MINUTE="inf",
        LOG_AGGREGATOR_MISSES=False, WHISPER_SPARSE_CREATE=True, WHISPER_FALLOCATE_CREATE=False,
    )  # fmt: skip
    daemon = RunningAggregatorCache(tmp_path / "ours", {"SWEEP_INTERVAL": 0.1}, rules=FILES)
    command = [sys.executable, script, "--config", str(config), "--nodaemon", "start"]
    with running(command, tmp_path / "carbon.log", cwd=tmp_path):
        send(port, LINES)
        daemon.start()
        try:
            daemon.send_lines(LINES)

            def alike() -> bool:
                theirs, ours = stored(tmp_path / "carbon" / "whisper"), stored(daemon.data_dir)
                assert sorted(ours) == sorted(theirs)
                assert ours == theirs
                return "api/p95.wsp" in ours and len(ours) > 160

            until("both have stored the same", alike, 40, 0.5)
            assert daemon.terminate() == 0
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
