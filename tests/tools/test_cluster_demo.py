"""The cluster of conf/cluster: its files are good, and tools/cluster-demo shows what it promises."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.running import REPOSITORY, descendants, is_running
from support.waiting import until

from carbonpy.settings import load
from carbonpy.settings.check import check

CONF = REPOSITORY / "conf" / "cluster"


@pytest.mark.parametrize("name", ["carbonpy.yaml", "front.yaml"])
def test_the_files_of_the_cluster_are_good(name: str, tmp_path: Path) -> None:
    report = check(str(CONF / name), environ={"GRAPHITE_STORAGE_DIR": str(tmp_path)})
    assert report.errors == report.warnings == ()


def test_the_front_end_asks_the_caches_that_the_relays_fill() -> None:
    relay = load(str(CONF / "carbonpy.yaml"), instance="b", program="relay", environ={}).relay
    front = load(str(CONF / "front.yaml"), program="web", environ={}).web
    filled = re.findall(r"([\d.]+):2004:\w", str(relay.destinations))
    asked = re.findall(r"http://([\d.]+):8080", str(front.cluster_servers))
    assert sorted(asked) == sorted(filled) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def test_the_demo_kills_a_cache_and_nothing_is_missing_and_an_interrupt_ends_all(tmp_path: Path) -> None:
    """All of it takes about half a minute, most of it so that one can watch."""
    log = tmp_path / "printed"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "tools/cluster-demo", "--dir", str(tmp_path / "demo")],
            cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until("the demo has shown all", lambda: process.poll() is not None or "Ctrl-C ends" in log.read_text(), 200)
        printed = log.read_text()
        assert "nothing is missing" in printed and "NOT WELL" not in printed, printed
        assert re.search(r"relay a keeps [\d,]+ points for cache b, [1-9][\d,]* of them on disk", printed), printed
        assert "finds 100 of 100 metrics" in printed
        children = descendants(process.pid)
        assert len(children) >= 6
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
        until("all children ended", lambda: not [pid for pid in children if is_running(pid)])
        assert "ending" in log.read_text()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(90)
    assert sorted(path.name for path in (tmp_path / "demo").glob("*.log")) == [
        *(f"cache-{name}.log" for name in "abc"), "front.log", "relay-a.log", "relay-b.log",
    ]  # fmt: skip


def test_the_demo_leaves_nothing_running_when_a_part_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "machine-c").mkdir()
    (tmp_path / "machine-c" / "whisper").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "tools/cluster-demo", "--check", "--dir", str(tmp_path)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 1
    assert "cache c ended with exit code" in done.stdout
    assert "Traceback" not in done.stderr
