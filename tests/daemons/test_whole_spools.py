"""Spools of whole relays: what the disk does not take is counted to the point, and a spool has one owner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from support.ports import free_ports
from support.running import REPOSITORY
from support.running_relay import RunningRelay, Sink, ended_with_the_test
from support.waiting import until

NOW = int(time.time())


def lines_of(count: int, start: int = 0) -> list[str]:
    return [f"spool.test.m{number} {number}.5 {NOW}" for number in range(start, start + count)]


def test_what_a_relay_can_keep_neither_in_memory_nor_on_disk_is_counted_to_the_point(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    name = f"127.0.0.1:{port}:a"
    with ended_with_the_test() as started:
        # What is gathered together stays together: here each batch is for itself.
        extra = {"DESTINATION_PROTOCOL": "line", "MAX_QUEUE_SIZE": 1000, "SPOOL_AFTER": 0.1, "GATHER_INTERVAL": 0}
        relay = started(RunningRelay(tmp_path / "relay", [name], extra))
        (spool,) = (relay.storage_dir / "spool" / "relay-a").iterdir()
        spool.rmdir()  # nothing can be written now
        for start in range(0, 6000, 300):
            relay.send_lines(lines_of(300, start))
        until("all came in", lambda: relay.destination(name)["received"] == 6000)
        figures = relay.destination(name)
        lost = figures["dropped"]["spool_failed"]
        assert figures["balanced"] and figures["queued"] == 6000 - lost and 1000 < figures["queued"] <= 2000
        assert "the spool cannot be written" in relay.log()

        spool.mkdir()
        until("what is left is on disk", lambda: relay.destination(name)["spooled"] == 6000 - lost)
        sink = Sink(port)
        try:
            relay.wait_until_delivered(6000 - lost)
            assert relay.destination(name)["dropped"] == {"spool_failed": lost}
            # The oldest went.
            assert [line.decode().strip() for line in sink.lines] == lines_of(6000 - lost, lost)
        finally:
            sink.stop()


def test_a_second_relay_with_the_same_spool_does_not_start(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ended_with_the_test() as started:
        first = started(RunningRelay(tmp_path / "relay", [f"127.0.0.1:{port}:a"]))
        second = RunningRelay(tmp_path / "second", [f"127.0.0.1:{port}:a"], {"STORAGE_DIR": first.storage_dir})
        second.write_config()
        done = subprocess.run(
            [sys.executable, "-m", "carbonpy", "relay", "--config", str(second.config_path), "--pidfile", ""],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        assert done.returncode == 1
        assert "another process uses this spool" in done.stderr and "Traceback" not in done.stderr
        assert first.get("/ready")[0] == 200
