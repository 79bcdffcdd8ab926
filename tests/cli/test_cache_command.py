"""`carbonpy cache` as an operator types it: start, status, stop, and what it says when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.ports import free_ports
from support.running import REPOSITORY, RunningDaemon
from support.waiting import until

from carbonpy.cli.pidfile import PidFile, is_alive


def carbonpy(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", "carbonpy", *arguments], capture_output=True, text=True, timeout=60, env=environment
    )


class Installation:
    """A configuration with its own ports and directories; the daemon is started by the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        line, pickle, query, http = free_ports(4)
        self.config = root / "carbonpy.yaml"
        self.pidfile = root / "storage" / "carbon-cache-a.pid"
        self.text = (
            f"cache:\n  storage_dir: {root}/storage\n  writer_processes: 0\n"
            f"  line_receiver_port: {line}\n  line_receiver_interface: 127.0.0.1\n"
            f"  pickle_receiver_port: {pickle}\n  pickle_receiver_interface: 127.0.0.1\n"
            f"  cache_query_port: {query}\nweb:\n  http_port: {http}\n"
        )
        self.config.write_text(self.text)
        self.line_port = line

    def run(self, action: str, *options: str) -> subprocess.CompletedProcess[str]:
        return carbonpy("cache", action, "--config", str(self.config), *options)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installed = Installation(tmp_path)
    yield installed
    pid = PidFile(str(installed.pidfile)).running()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def test_a_daemon_in_the_background_starts_answers_and_stops(installation: Installation) -> None:
    begun = installation.run("start", "--daemon")
    assert begun.returncode == 0, begun.stderr
    pid = int(installation.pidfile.read_text())
    log = installation.root / "storage" / "log" / "carbon-cache" / "carbon-cache-a" / "console.log"
    assert f"instance a runs as process {pid}; it logs to {log}" in begun.stdout
    assert "is ready" in log.read_text()

    sent = subprocess.run(
        [sys.executable, "-m", "carbonpy", "send", "--port", str(installation.line_port)],
        input="a.b 1\nbad\n", capture_output=True, text=True, timeout=30, cwd=REPOSITORY,
    )  # fmt: skip
    assert sent.returncode == 1

    def ledger_shows_the_point() -> str | None:
        status = installation.run("status")
        assert status.returncode == 0
        assert f"runs as process {pid}" in status.stdout
        return status.stdout if "received: 1\n" in status.stdout else None

    assert "balanced: True" in until("the ledger shows the point", ledger_shows_the_point)

    again = installation.run("start")
    assert again.returncode == 1
    assert again.stderr == f"carbonpy cache: instance a already runs as process {pid} ({installation.pidfile})\n"

    stopped = installation.run("stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"instance a, process {pid}, is stopped\n")
    assert not is_alive(pid)
    assert not installation.pidfile.exists()
    assert installation.run("status").returncode == 1
    gone = installation.run("stop")
    assert (gone.returncode, gone.stdout) == (0, "instance a is not running\n")


def test_a_stale_pidfile_does_not_keep_it_from_starting(installation: Installation) -> None:
    installation.pidfile.parent.mkdir()
    installation.pidfile.write_text("soup\n")
    assert installation.run("start", "--daemon").returncode == 0
    assert installation.run("stop").returncode == 0


def test_a_broken_configuration_is_one_line_each_and_exit_code_2(installation: Installation) -> None:
    installation.config.write_text(installation.text.replace("writer_processes: 0", "writer_processes: lots"))
    done = installation.run("start")
    assert done.returncode == 2
    assert done.stderr.startswith(f"carbonpy cache: {installation.config}:3")
    assert done.stderr.count("\n") == 1
    missing = carbonpy("cache", "--config", "/nonexistent/carbon.conf")
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "/nonexistent/carbon.conf: cannot be read" in missing.stderr


def test_a_taken_port_is_said_in_one_line_by_the_foreground_and_in_the_log_by_the_background(
    installation: Installation, tmp_path: Path
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", installation.line_port)):
        front = installation.run("start")
        assert front.returncode == 1
        assert "Traceback" not in front.stderr
        assert f":{installation.line_port}" in front.stderr.splitlines()[-1]
        back = installation.run("start", "--daemon", "--logdir", str(tmp_path / "log"))
        assert back.returncode == 1
        log = tmp_path / "log" / "console.log"
        assert f"the daemon ended while it started; {log} says why" in back.stderr
        assert f":{installation.line_port}" in log.read_text()
    assert not installation.pidfile.exists()


def test_a_place_that_cannot_be_used_is_named(installation: Installation) -> None:
    (installation.root / "storage").write_text("not a directory")
    done = installation.run("start", "--pidfile", "")
    assert done.returncode == 1
    assert f"{installation.root}/storage" in done.stderr
    assert "Traceback" not in done.stderr


def test_warnings_and_syslog_are_said_and_do_not_keep_it_from_starting(installation: Installation) -> None:
    installation.config.write_text(installation.text + "  nonsense: 1\n")
    begun = installation.run("start", "--daemon", "--syslog", "--logfile", str(installation.root / "one.log"))
    try:
        assert begun.returncode == 0, begun.stderr
        assert "warning: --syslog is ignored" in begun.stderr
        assert "NONSENSE" in begun.stderr
        assert ":: [listener] listening on" in (installation.root / "one.log").read_text()
    finally:
        assert installation.run("stop").returncode == 0


def test_the_foreground_logs_to_standard_error_and_ends_with_0(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon()
    assert ":: [console] carbonpy " in daemon.log()
    pidfile = daemon.storage_dir / "carbon-cache-a.pid"
    assert int(pidfile.read_text()) == daemon.pid
    assert daemon.terminate() == 0
    assert not pidfile.exists()
    assert "Traceback" not in daemon.log()
