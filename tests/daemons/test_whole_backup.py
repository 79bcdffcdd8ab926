"""A backup taken while the daemon writes has every file whole, and everything that was written before it began."""

from __future__ import annotations

import time
from pathlib import Path

import whisper
from support.running import RunningDaemon
from support.waiting import until
from support.whole import balanced, file_of, settle, until_received
from test_whole_tools import METRICS, SMALL, Load, carbonpy

from carbonpy.whisper.rollup import aggregate


def test_backups_beside_a_daemon_under_load_are_consistent(tmp_path: Path) -> None:
    rules = {"storage-aggregation.conf": "[all]\npattern = .*\nxFilesFactor = 0\naggregationMethod = sum\n"}
    daemon = RunningDaemon(tmp_path, {"WRITER_PROCESSES": 2, "SWEEP_INTERVAL": 0.05}, SMALL, rules=rules).start()
    backup = tmp_path / "backup"
    try:
        start = (int(time.time()) - 3100) // 60 * 60
        with Load(daemon, start) as load:
            until("all files are made", lambda: all(file_of(daemon, metric).exists() for metric in METRICS))
            for number in range(3):
                written = load.seconds
                until_received(daemon, written * len(METRICS))
                flushed = daemon.ledger()["received"]
                until("they are in files", lambda point=flushed: daemon.ledger()["written"] >= point)
                tool = carbonpy(daemon, "backup", "--quiet", str(backup))
                output, errors = tool.communicate(timeout=120)
                assert tool.returncode == 0, errors
                to = tmp_path / f"restored-{number}"
                back = carbonpy(daemon, "schema", "diff")  # any command that reads beside it
                back.communicate(timeout=60)
                _restore(backup, to)
                for metric in METRICS:
                    path = to.joinpath(*metric.split(".")).with_suffix(".wsp")
                    _check(path, start, written)
        until_received(daemon, load.seconds * len(METRICS))
        balanced(settle(daemon))
        assert output.decode().startswith(sorted(path.stem for path in (backup / "snapshots").iterdir())[-1])
    finally:
        daemon.terminate()


def _restore(backup: Path, to: Path) -> None:
    from carbonpy.cli.main import main

    assert main(["restore", "--quiet", "--to", str(to), str(backup)]) == 0


def _check(path: Path, start: int, written: int) -> None:
    """The values are those of the first so many seconds, without a gap, and each minute is the sum of its seconds."""
    now = int(time.time())
    _, values = whisper.fetch(str(path), start - 1, start + 3000, now=now)
    known = [value for value in values if value is not None]
    assert len(known) >= written
    assert known == list(range(len(known)))
    assert all(value is None for value in values[len(known) :])
    _, sums = whisper.fetch(str(path), start - 60, start + 3000, now=now, archiveToSelect=60)
    for minute, value in enumerate(sums):
        fine = known[minute * 60 : minute * 60 + 60]
        assert value == (aggregate(2, fine, 60) if fine else None), (path, minute)
