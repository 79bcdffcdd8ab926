"""A real collectd with its write_graphite plugin: what it says is on disk, for `whisper` and for /render alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import whisper
from support.peers import debian_program, running
from support.running import RunningDaemon
from support.waiting import until

CONFIG = """
BaseDir "{base}"
PIDFile "{base}/collectd.pid"
Hostname "peer"
FQDNLookup false
Interval 1
LoadPlugin logfile
<Plugin logfile>
  LogLevel info
  File stderr
</Plugin>
LoadPlugin cpu
LoadPlugin load
LoadPlugin memory
LoadPlugin interface
LoadPlugin df
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "carbonpy">
    Host "127.0.0.1"
    Port "{port}"
    Protocol "tcp"
    LogSendErrors true
    Prefix "collectd."
    StoreRates true
    AlwaysAppendDS false
    EscapeCharacter "_"
  </Node>
</Plugin>
"""
POINTS = 4


def points_in(path: Path, from_time: int, until_time: int) -> dict[int, float]:
    """What the `whisper` package reads: timestamp to value."""
    (start, end, step), values = whisper.fetch(str(path), from_time, until_time)
    return {at: value for at, value in zip(range(start, end, step), values) if value is not None}


def test_collectd_feeds_us_and_whisper_and_render_read_the_same(
    carbonpy_daemon: Callable[..., RunningDaemon], tmp_path: Path
) -> None:
    collectd = debian_program("collectd", "collectd-core")
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.5})
    config = tmp_path / "collectd.conf"
    config.write_text(CONFIG.format(base=tmp_path, port=daemon.line_port))
    begun = int(time.time())
    tree = daemon.data_dir / "collectd" / "peer"

    def complete() -> bool:
        families = {path.name.partition("-")[0] for path in tree.iterdir()}
        if not {"cpu", "load", "memory", "interface", "df"} <= families:
            raise AssertionError(f"so far only {sorted(families)}")
        return all(len(points_in(path, begun - 1, int(time.time()))) >= POINTS for path in tree.rglob("*.wsp"))

    with running([collectd, "-f", "-C", str(config)], tmp_path / "collectd.log"):
        until(f"five plugins have {POINTS} points in every file",
              complete, timeout=40, interval=0.2)

    # collectd is gone now. What it said last may still be on its way to the files, so the comparison has a deadline.
    ended = int(time.time())
    files = sorted(tree.rglob("*.wsp"))
    assert len(files) > 15

    def agree() -> bool:
        for path in files:
            metric = ".".join(path.relative_to(daemon.data_dir).with_suffix("").parts)
            (start, end, step), values = whisper.fetch(str(path), begun - 1, ended)
            (series,) = daemon.render(metric, from_=begun - 1, until=ended)
            assert series["target"] == metric
            assert [tuple(pair) for pair in series["datapoints"]] == list(zip(values, range(start, end, step)))
        return True

    until("the files and /render agree in every point", agree)
    ledger = daemon.ledger()
    assert ledger["balanced"]
    assert sum(len(points_in(path, begun - 1, ended)) for path in files) <= ledger["written"]
    # The first reading of a rate has no value yet: collectd sends nan for it, which is refused by that name.
    assert set(ledger["dropped"]) <= {"nan"}
