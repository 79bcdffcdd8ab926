"""Whole daemons whose configuration and rules change while they run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import whisper
from support.ports import free_ports
from support.running import RunningDaemon
from support.waiting import until
from support.whole import ask, balanced, file_of, lines, rendered, settle, stored, until_received

FAST = "[fast]\npattern = ^fast\\.\nretentions = 1s:10m\n\n"
REST = "[rest]\npattern = .*\nretentions = 10s:1h\n"


def kept(path: Path) -> list[tuple[int, int]]:
    """The archives of a file: (step, points)."""
    return [(one["secondsPerPoint"], one["points"]) for one in whisper.info(str(path))["archives"]]


def send(daemon: RunningDaemon, *metrics: str) -> None:
    """One point of each metric, all written when this returns."""
    before = daemon.ledger()["received"]
    daemon.send_lines(lines(metrics, int(time.time()) - 60, 1))
    until_received(daemon, before + len(metrics))
    settle(daemon)


def replace(path: Path, text: str) -> None:
    """As a careful editor saves: another file in the place of the old one."""
    other = path.with_name(path.name + ".new")
    other.write_text(text)
    other.rename(path)


@pytest.mark.parametrize("processes", [0, 2])
def test_new_metrics_get_the_retention_of_a_changed_file_and_a_broken_file_changes_nothing(
    carbonpy_daemon: Callable[..., RunningDaemon], processes: int
) -> None:
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": processes, "SWEEP_INTERVAL": 0.1}, schemas=REST)
    schemas = daemon.config_path.with_name("storage-schemas.conf")
    aggregation = daemon.config_path.with_name("storage-aggregation.conf")
    send(daemon, "fast.before")
    assert kept(file_of(daemon, "fast.before")) == [(10, 360)]

    replace(schemas, FAST + REST)
    replace(aggregation, "[all]\npattern = .*\nxFilesFactor = 0.25\naggregationMethod = max\n")
    daemon.reload()

    def new_rules(turn: list[int]) -> bool:
        turn[0] += 1
        send(daemon, f"fast.try{turn[0]}")
        return kept(file_of(daemon, f"fast.try{turn[0]}")) == [(1, 600)]

    tries = [0]
    until("new files are made by the new rules", lambda: new_rules(tries), timeout=5)
    info = whisper.info(str(file_of(daemon, f"fast.try{tries[0]}")))
    assert (info["aggregationMethod"], info["xFilesFactor"]) == ("max", 0.25)
    assert kept(file_of(daemon, "fast.before")) == [(10, 360)]
    # What is only in the cache is shown on the grid of the new rules, too.
    assert daemon.render("fast.before", now=int(time.time()))[0]["datapoints"]

    replace(schemas, FAST.replace("1s:10m", "1x:10m") + REST)
    daemon.reload()
    until("the broken file is said", lambda: "1x:10m" in daemon.log())
    (sentence,) = [line for line in daemon.log().splitlines() if "1x:10m" in line]
    assert f"{schemas}:3" in sentence and "stay in force" in sentence
    send(daemon, "fast.after", "slow.after")
    assert kept(file_of(daemon, "fast.after")) == [(1, 600)]
    assert kept(file_of(daemon, "slow.after")) == [(10, 360)]
    schemas.unlink()
    daemon.reload()
    until("the vanished file is said", lambda: f"{schemas}: is gone" in daemon.log())
    send(daemon, "fast.last")
    assert kept(file_of(daemon, "fast.last")) == [(1, 600)]
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.log()


def test_changed_rules_are_noticed_without_a_signal(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.1}, schemas=REST)
    replace(daemon.config_path.with_name("storage-schemas.conf"), FAST + REST)
    number = iter(range(1000))

    def noticed() -> bool:
        metric = f"fast.m{next(number)}"
        send(daemon, metric)
        return kept(file_of(daemon, metric)) == [(1, 600)]

    until("the file is read", noticed, timeout=15, interval=0.5)


def test_lists_of_names_change_while_metrics_flow(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.1, "USE_WHITELIST": True, "WRITER_PROCESSES": 1},
                             rules={"whitelist.conf": "^good\\.\n^fine\\.\n", "blacklist.conf": "secret\n"})
    black, white = (daemon.config_path.with_name(name) for name in ("blacklist.conf", "whitelist.conf"))
    names = ["good.a", "fine.a", "good.secret", "bad.a"]
    send(daemon, *names)
    assert [file_of(daemon, name).exists() for name in names] == [True, True, False, False]
    assert daemon.ledger()["dropped"] == {"blacklisted": 1, "not_whitelisted": 1}

    replace(black, "fine\n")
    replace(white, "^good\\.\n^fine\\.\n^bad\\.\n")
    daemon.reload()
    until("the lists are read", lambda: "lists of names have changed" in daemon.log())
    send(daemon, *names)
    assert [file_of(daemon, name).exists() for name in names] == [True, True, True, True]
    assert daemon.ledger()["dropped"] == {"blacklisted": 2, "not_whitelisted": 1}

    # A list with a bad line keeps the good ones; without lists everything passes.
    replace(black, "fine\n(\n")
    daemon.reload()
    until("the bad line is said", lambda: f"{black}:2" in daemon.log())
    send(daemon, *names)
    assert daemon.ledger()["dropped"]["blacklisted"] == 3
    daemon.conf_extra["USE_WHITELIST"] = False
    daemon.reload()
    until("the setting is taken", lambda: "USE_WHITELIST" in daemon.log())
    send(daemon, *names)
    assert daemon.ledger()["dropped"] == {"blacklisted": 3, "not_whitelisted": 1}
    daemon.conf_extra["USE_WHITELIST"] = True
    daemon.reload()
    until("the setting is taken back", lambda: daemon.log().count("USE_WHITELIST") == 2)
    send(daemon, *names)
    assert daemon.ledger()["dropped"] == {"blacklisted": 4, "not_whitelisted": 1}
    balanced(daemon.ledger())


def test_what_can_change_at_once_does_and_what_cannot_is_said(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.1, "MAX_UPDATES_PER_SECOND": 1, "WRITER_PROCESSES": 2})
    metrics = [f"rate.m{number}" for number in range(60)]
    start = int(time.time()) - 100
    daemon.send_lines(lines(metrics, start, 3))
    until_received(daemon, 180)
    pid = daemon.pid
    (other,) = free_ports(1)
    old_port, old_data = daemon.line_port, daemon.data_dir
    daemon.conf_extra.update(MAX_UPDATES_PER_SECOND=1000, LINE_RECEIVER_PORT=other, MAX_CACHE_SIZE=4321,
                             LOCAL_DATA_DIR=daemon.root / "elsewhere")
    daemon.reload()
    settle(daemon, timeout=5)
    restart = [line for line in daemon.log().splitlines() if "after a restart" in line]
    assert len(restart) == 4  # both, and the catalogue and the events that lie beside the data
    assert any("LINE_RECEIVER_PORT" in line and str(old_port) in line and str(other) in line for line in restart)
    # The places are those of the start, until the restart.
    answer = ask(daemon, type="get-metadata", metric=metrics[0], key="aggregationMethod")
    assert answer == {"value": "average"}
    daemon.send_lines(lines(metrics, start + 3, 3))
    until_received(daemon, 360)
    settle(daemon)
    assert stored(daemon, metrics[5], start, 6) == [0, 1, 2, 0, 1, 2]
    assert rendered(daemon, metrics[5], start, 6) == [0, 1, 2, 0, 1, 2]
    assert daemon.health()["cache"]["limit"] == 4321
    assert daemon.data_dir == old_data and not (daemon.root / "elsewhere").exists()

    # A configuration that cannot be read changes nothing.
    text = daemon.config_path.read_text()
    daemon.config_path.write_text(text.replace("MAX_CACHE_SIZE = 4321", "MAX_CACHE_SIZE = many"))
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    until("it is said", lambda: "stay in force" in daemon.log())
    (line,) = [line for line in daemon.log().splitlines() if "stay in force" in line]
    assert "MAX_CACHE_SIZE = many" in line and str(daemon.config_path) in line
    assert daemon.health()["cache"]["limit"] == 4321
    assert daemon.pid == pid
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.log()


def test_a_storm_of_signals_disturbs_nothing(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.05, "WRITER_PROCESSES": 2})
    metrics = [f"storm.m{number}" for number in range(100)]
    start = int(time.time()) - 1000
    for turn in range(20):
        daemon.conf_extra["MAX_UPDATES_PER_SECOND"] = ("inf", 5000)[turn % 2]
        daemon.send_lines(lines(metrics, start + 10 * turn, 10))
        for _ in range(5):
            daemon.reload()
    until_received(daemon, 20 * 10 * 100)
    settle(daemon)
    assert daemon.health()["writers"]["deaths"] == 0
    for metric in metrics:
        assert stored(daemon, metric, start, 200) == [*range(10)] * 20
    assert daemon.terminate() == 0
