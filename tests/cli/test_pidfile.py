"""Pidfiles, with real processes behind the numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import until

from carbonpy.cli.pidfile import PidFile, is_alive, process_start
from carbonpy.errors import CarbonError

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def pidfile(tmp_path: Path) -> PidFile:
    return PidFile(str(tmp_path / "run" / "carbon-cache-a.pid"))


def child(script: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = child(OBEDIENT)
    yield process
    process.kill()
    process.wait()


def name(pidfile: PidFile, pid: object) -> None:
    path = Path(pidfile.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{pid}\n")


def test_it_names_this_process_and_goes_away_again(pidfile: PidFile) -> None:
    pidfile.write()
    assert pidfile.read() == os.getpid()
    assert os.listdir(os.path.dirname(pidfile.path)) == ["carbon-cache-a.pid"]
    pidfile.remove()
    assert pidfile.read() is None
    pidfile.remove()


def test_a_live_process_in_the_file_refuses_a_second_one(pidfile: PidFile, sleeper: subprocess.Popen[bytes]) -> None:
    name(pidfile, sleeper.pid)
    assert pidfile.running() == sleeper.pid
    with pytest.raises(CarbonError, match=f"process {sleeper.pid} runs already"):
        pidfile.write()
    assert pidfile.read() == sleeper.pid


def test_a_dead_process_leaves_a_stale_file_which_is_replaced(pidfile: PidFile) -> None:
    gone = child(OBEDIENT)
    gone.kill()
    gone.wait()
    name(pidfile, gone.pid)
    assert pidfile.running() is None
    pidfile.write()
    assert pidfile.read() == os.getpid()


@pytest.mark.parametrize("text", ["", "soup", "-1", "0", "99999999999999999999"])
def test_a_corrupt_file_is_stale(pidfile: PidFile, text: str) -> None:
    name(pidfile, text)
    assert pidfile.running() is None
    pidfile.write()


def test_a_process_younger_than_the_file_only_inherited_the_number(
    pidfile: PidFile, sleeper: subprocess.Popen[bytes]
) -> None:
    name(pidfile, sleeper.pid)
    before_the_reboot = time.time() - 3600
    os.utime(pidfile.path, (before_the_reboot, before_the_reboot))
    assert pidfile.running() is None
    assert pidfile.stop(1.0) is None
    assert sleeper.poll() is None


def test_our_own_number_in_the_file_is_from_an_earlier_life(pidfile: PidFile) -> None:
    """In a restarted container the daemon has the number that it had before."""
    name(pidfile, os.getpid())
    assert pidfile.running() is None
    pidfile.write()


def test_only_our_own_file_is_removed(pidfile: PidFile, sleeper: subprocess.Popen[bytes]) -> None:
    name(pidfile, sleeper.pid)
    pidfile.remove()
    assert pidfile.read() == sleeper.pid


def test_no_path_means_no_file() -> None:
    nothing = PidFile("")
    nothing.write()
    assert nothing.running() is None
    nothing.remove()


def test_stop_returns_when_the_process_is_gone(pidfile: PidFile) -> None:
    process = child(OBEDIENT)
    name(pidfile, process.pid)
    assert pidfile.stop(20.0) == process.pid
    assert process.wait(5) == -15
    assert pidfile.stop(1.0) is None


def test_stop_says_so_when_the_process_does_not_go(pidfile: PidFile) -> None:
    process = child(STUBBORN)
    try:
        name(pidfile, process.pid)
        with pytest.raises(CarbonError, match=r"still runs 0\.2 s after SIGTERM"):
            pidfile.stop(0.2)
    finally:
        process.kill()
        process.wait()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CarbonError, match="cannot write the pidfile"):
        PidFile(str(tmp_path / "file" / "x.pid")).write()


def test_a_process_that_waits_to_be_buried_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    until("it is a zombie", lambda: not is_alive(process.pid))
    process.wait()
    assert not is_alive(process.pid)


def test_the_start_of_a_process_is_known_to_the_second_or_so(sleeper: subprocess.Popen[bytes]) -> None:
    started = process_start(sleeper.pid)
    assert started is None or abs(started - time.time()) < 30
    assert process_start(2**30) is None
