"""tools/start as a newcomer runs it, in the environment of the tests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running import REPOSITORY, descendants, is_running
from support.waiting import until


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tools/start`, with 127.0.0.1:2003 taken by somebody else."""
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            somebody.bind(("127.0.0.1", 2003))
            somebody.listen()
        except OSError:
            pass  # it is taken already, which is all that is wanted
        process = subprocess.Popen(
            [sys.executable, "tools/start", "--dir", str(tmp_path / "demo")],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "CARBONPY_VENV": sys.prefix, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        yield process
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def output_until(process: subprocess.Popen[bytes], last: str) -> str:
    """What the process prints, up to the line with `last`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.decode())
        if last in lines[-1]:
            return "".join(lines)
    raise AssertionError(f"it ended without saying {last!r}:\n{''.join(lines)}")


def test_the_printed_address_shows_this_machine_and_sigterm_stops_everything(
    started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    page = output_until(started, "Ctrl-C stops it")
    assert "port 2003 (line_receiver_port) cannot be used" in page
    address = re.search(r"this machine +(http://\S+)", page)
    assert address is not None
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address.group(1), timeout=10) as answer:
        series = json.load(answer)
    filled = [each["target"] for each in series if any(value is not None for value, _ in each["datapoints"])]
    known = {target.split(".", 2)[2] for target in filled}
    assert {"load.1min", "memory.used", "disk.root.used", "network.lo.sent_bytes"} <= known
    children = descendants(started.pid)
    assert len(children) >= 2
    started.send_signal(signal.SIGTERM)
    assert started.wait(60) == 0
    until("all children ended", lambda: not [pid for pid in children if is_running(pid)])
    assert (tmp_path / "demo" / "carbonpy.log").exists()


def test_a_daemon_that_cannot_start_is_said_and_nothing_is_left_running(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "whisper").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "tools/start", "--check", "--dir", str(tmp_path / "demo")],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, env={**os.environ, "CARBONPY_VENV": sys.prefix},
    )  # fmt: skip
    assert done.returncode == 1
    assert "the daemon ended by itself" in done.stderr
    assert "Traceback" not in done.stderr
