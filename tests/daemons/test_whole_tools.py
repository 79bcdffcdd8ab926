"""Tools on the tree of a daemon that is written to all the time: nothing lost, nothing torn, the ledger balances."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import whisper
from support.running import REPOSITORY, RunningDaemon
from support.waiting import until
from support.whole import balanced, file_of, lines, settle, stored, until_received

from carbonpy.whisper.creation import is_temporary

METRICS = [f"tools.d{number % 7}.m{number}" for number in range(250)]
SMALL = "[all]\npattern = .*\nretentions = 1s:1h,1m:1d\n"
LARGE = "[all]\npattern = .*\nretentions = 1s:2h,10s:6h,1m:2d\n"


def carbonpy(daemon: RunningDaemon, *words: str) -> subprocess.Popen[bytes]:
    """A command of ours on the daemon's tree, under way."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "carbonpy", *words, "--config", str(daemon.config_path)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Load:
    """Sends a point of every metric for one second after the other, as fast as they are taken."""

    def __init__(self, daemon: RunningDaemon, start: int) -> None:
        self._daemon = daemon
        self._start = start
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.seconds = 0
        self.failed: list[BaseException] = []

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stopping.set()
        self._thread.join(60)
        assert not self.failed, self.failed

    def _send(self) -> None:
        try:
            while not self._stopping.is_set() and self.seconds < 3000:
                self._daemon.send_lines(f"{metric} {self.seconds} {self._start + self.seconds}" for metric in METRICS)
                self.seconds += 1
        except BaseException as error:
            self.failed.append(error)


@pytest.mark.parametrize(
    "conf", [{"WRITER_PROCESSES": 2}, {"WRITER_PROCESSES": 0}, {"WRITER_PROCESSES": 1, "WHISPER_LOCK_WRITES": "True"}]
)
def test_migration_beside_a_daemon_under_load_also_killed_loses_nothing(
    tmp_path: Path, conf: dict[str, object]
) -> None:
    chance = random.Random(5)
    daemon = RunningDaemon(tmp_path, {**conf, "SWEEP_INTERVAL": 0.1}, SMALL).start()
    schemas = tmp_path / "conf" / "storage-schemas.conf"
    try:
        start = int(time.time()) - 3100
        with Load(daemon, start) as load:
            until("all files are made", lambda: all(file_of(daemon, metric).exists() for metric in METRICS))
            for number in range(10):
                schemas.write_text(LARGE if number % 2 else SMALL)
                tool = carbonpy(daemon, "schema", "migrate", "--rate", "inf", "--no-fsync")
                if number % 3 == 1:
                    time.sleep(0.3 + chance.random() * 0.3)
                    tool.kill()
                _, errors = tool.communicate(timeout=120)
                assert number % 3 == 1 or tool.returncode == 0, errors
                for metric in METRICS:
                    path = file_of(daemon, metric)
                    info = whisper.info(str(path))
                    assert info is not None, path
                    last = info["archives"][-1]
                    assert path.stat().st_size >= last["offset"] + last["size"], path
        until_received(daemon, load.seconds * len(METRICS))
        ledger = settle(daemon)
        assert ledger["received"] == load.seconds * len(METRICS)
        assert ledger["written"] == ledger["received"], ledger
        for metric in METRICS:
            assert stored(daemon, metric, start, load.seconds) == list(range(load.seconds)), metric
        assert load.seconds > 10
    finally:
        daemon.terminate()
    left = [name for _, _, names in os.walk(daemon.data_dir) for name in names if is_temporary(name)]
    assert len(left) <= 4 * 16, "a killed run leaves no more than the files of a batch"


def test_a_daemon_migrates_its_files_itself(tmp_path: Path) -> None:
    conf = {"MIGRATE_SCHEMAS": "True", "MIGRATE_RATE": 500, "SWEEP_INTERVAL": 0.2}
    daemon = RunningDaemon(tmp_path, {**conf, "MIGRATE_SCHEMAS": "False"}, SMALL).start()
    schemas = tmp_path / "conf" / "storage-schemas.conf"
    try:
        start = int(time.time()) - 300
        daemon.send_lines(lines([*METRICS[:30], "tools.tagged;a=b"], start, 5))
        daemon.wait_until_written(155)
        daemon.terminate()
        schemas.write_text(LARGE)
        daemon.conf_extra = dict(conf)
        daemon.start()
        daemon.send_lines(lines(METRICS[:30], start + 5, 5))

        def retentions() -> set[int]:
            return {whisper.info(str(path))["maxRetention"] for path in daemon.data_dir.rglob("*.wsp")}

        until("all are migrated", lambda: retentions() == {2 * 86400})
        until("it says so", lambda: "migrated 31 of 31 files to the rules" in daemon.log())
        schemas.write_text(SMALL)
        daemon.reload()
        until("all are migrated back", lambda: retentions() == {86400})
        daemon.wait_until_written(150)
        for metric in METRICS[:30]:
            assert stored(daemon, metric, start, 10) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4], metric
        balanced(settle(daemon))
    finally:
        daemon.terminate()


def test_what_is_migrated_is_what_differs(tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path, {}, SMALL).start()
    try:
        start = int(time.time()) - 300
        daemon.send_lines(lines(METRICS[:40], start, 5))
        daemon.wait_until_written(200)
        (tmp_path / "conf" / "storage-schemas.conf").write_text(
            "[some]\npattern = ^tools.d3\nretentions = 1s:2h\n" + SMALL
        )
        expected = [metric for metric in METRICS[:40] if ".d3." in metric]
        diff = carbonpy(daemon, "schema", "diff")
        output, _ = diff.communicate(timeout=60)
        assert diff.returncode == 1
        assert sorted(line.split()[0] for line in output.decode().splitlines()) == sorted(expected)
        dry = carbonpy(daemon, "schema", "migrate", "--dry-run")
        dry_output, _ = dry.communicate(timeout=60)
        assert (dry.returncode, dry_output) == (0, output)
        assert whisper.info(str(file_of(daemon, expected[0])))["maxRetention"] == 86400
        assert carbonpy(daemon, "schema", "migrate", "--quiet").wait(60) == 0
        assert whisper.info(str(file_of(daemon, expected[0])))["maxRetention"] == 7200
        again = carbonpy(daemon, "schema", "diff")
        assert (again.communicate(timeout=60)[0], again.returncode) == (b"", 0)
        daemon.send_lines(lines(METRICS[:40], start + 5, 5))
        daemon.wait_until_written(400)
        balanced(settle(daemon))
        for metric in METRICS[:40]:
            assert stored(daemon, metric, start, 10) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4], metric
    finally:
        daemon.terminate()
