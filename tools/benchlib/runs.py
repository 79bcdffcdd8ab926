"""One run: a daemon on fresh ground, one workload, until every point is on disk; and what that cost.

The order of things: ground, files that exist beforehand (if the scenario wants them), daemon, readiness, *books open*
(CPU), sender, everything received, everything on disk, one second of grace for work that trails behind, *books
closed*, judgement by the `whisper` package, daemon ended, ground gone. While the daemon works it is asked nothing that
costs; its files are looked at every quarter of a second.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchlib.disk import Inspection, path_of
from benchlib.environments import REPOSITORY
from benchlib.ground import fresh_ground
from benchlib.payload import STEP, Workload
from benchlib.subjects import Subject
from benchlib.watch import MemoryWatch, cpu_seconds

POLL_SECONDS = 0.25
GRACE_SECONDS = 1.0
LIMIT_SECONDS = 900.0
SAMPLE = 200
EXISTING_POINTS = 10


@dataclass(frozen=True)
class Scenario:
    """A row of the table."""

    key: str
    title: str
    metrics: int
    points: int
    pickled: bool = False
    existing: bool = False


SCENARIOS = {
    scenario.key: scenario
    for scenario in (
        Scenario("a", "2,000 metrics x 500 points", 2_000, 500),
        Scenario("b", "100,000 new metrics x 10 points", 100_000, 10),
        Scenario("c", "one more point on each of 20,000 files", 20_000, 1, existing=True),
        Scenario("d", "receiving 10,000 metrics x 100 points", 10_000, 100),
        Scenario("ap", "2,000 metrics x 500 points, pickle", 2_000, 500, pickled=True),
        Scenario("bp", "100,000 new metrics x 10 points, pickle", 100_000, 10, pickled=True),
        Scenario("cp", "one more point on each of 20,000 files, pickle", 20_000, 1, pickled=True, existing=True),
    )
}


@dataclass
class Outcome:
    """What one run cost. Times in seconds, memory in bytes."""

    scenario: str
    daemon: str
    points: int
    cpu: float
    wall: float
    received: float
    peak_pss: int
    peak_rss: int
    problems: list[str]

    @property
    def cpu_per_million(self) -> float:
        """CPU-seconds per million points."""
        return self.cpu / self.points * 1e6

    @property
    def receive_rate(self) -> float:
        """Points per second from the first byte sent until all were taken in."""
        return self.points / self.received if self.received else math.inf

    def as_json(self) -> dict[str, Any]:
        """The figures, measured and derived."""
        return {**asdict(self), "cpu_per_million": self.cpu_per_million, "receive_rate": self.receive_rate}


class Bench:
    """The environments, the options and the judge that all runs share."""

    def __init__(self, *, work_dir: Path, filesystem: str, peer_python: Path) -> None:
        self.work_dir = work_dir
        self.filesystem = filesystem
        self.peer_python = peer_python

    def run(self, scenario: Scenario, workload: Workload, payloads: list[Path], kind: type[Subject],
            python: Path) -> Outcome:
        """One run from fresh ground to judgement."""
        with fresh_ground(self.filesystem, self.work_dir) as ground:
            subject = kind(ground, python)
            try:
                if scenario.existing:
                    self._lay_files(subject, workload)
                return self._measure(scenario, workload, payloads, subject)
            finally:
                subject.stop()

    def _lay_files(self, subject: Subject, workload: Workload) -> None:
        """Put files with a few older points in place, made by `whisper`, and let the daemon see them once before."""
        before = Workload(1, EXISTING_POINTS, workload.last - STEP)
        template = self.work_dir / "template.wsp"
        template.unlink(missing_ok=True)
        program = (
            "import json, sys, whisper\n"
            "path, archives, points, now = json.load(sys.stdin)\n"
            "whisper.create(path, [tuple(a) for a in archives], 0.5, 'average', sparse=True)\n"
            "whisper.update_many(path, [tuple(p) for p in points], now)\n"
        )
        task = [str(template), ARCHIVES, before.points_of(0), workload.last]
        subprocess.run([str(self.peer_python), "-c", program], input=json.dumps(task).encode(), check=True)
        content = template.read_bytes()
        template.unlink()
        blocks = [(at, content[at : at + 4096]) for at in range(0, len(content), 4096) if any(content[at : at + 4096])]
        for number in range(workload.metrics):
            path = path_of(subject.data_dir, number)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
            for at, block in blocks:
                os.pwrite(file, block, at)
            os.ftruncate(file, len(content))
            os.close(file)
        pid = subject.start()
        _wait_until_idle(pid)
        subject.stop()

    def _measure(self, scenario: Scenario, workload: Workload, payloads: list[Path], subject: Subject) -> Outcome:
        pid = subject.start()
        port = subject.pickle_port if scenario.pickled else subject.line_port
        sender = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tools" / "benchlib" / "sender.py"), str(port), *map(str, payloads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert sender.stdin and sender.stdout
        try:
            sender.stdout.readline()
            deadline = time.monotonic() + LIMIT_SECONDS
            inspection = Inspection(subject.data_dir, workload)
            problems: list[str] = []
            with MemoryWatch(pid) as memory:
                cpu = -cpu_seconds(pid)
                sender.stdin.write("go\n")
                sender.stdin.flush()
                begun, read = map(float, sender.stdout.readline().split())
                while not subject.has_received(workload.total) and time.monotonic() < deadline:
                    read = time.time()
                    time.sleep(0.005)
                while not (inspection.is_complete() and subject.has_settled(workload.total)):
                    if time.monotonic() > deadline:
                        problems.append(f"{inspection.missing} of {workload.metrics} files were not complete after "
                                        f"{LIMIT_SECONDS:g} s")
                        break
                    time.sleep(POLL_SECONDS)
                time.sleep(GRACE_SECONDS)
                cpu += cpu_seconds(pid)
            wall = math.nan if problems else inspection.last_write() - begun
        finally:
            sender.kill()
            sender.wait()
        if not problems:
            before = EXISTING_POINTS if scenario.existing else 0
            problems += self.judge(subject, workload, before)
        if problems:
            problems.append(f"{subject.name} said: {subject.output()[-1500:]}")
        return Outcome(scenario.key, subject.name, workload.total, cpu, wall, read - begun,
                       memory.peak_pss, memory.peak_rss, problems)

    def judge(self, subject: Subject, workload: Workload, before: int = 0) -> list[str]:
        """Compare a sample of files with what the `whisper` package makes of the same points; [] if all agree."""
        numbers = random.Random(workload.total).sample(range(workload.metrics), min(SAMPLE, workload.metrics))
        older = Workload(1, before, workload.last - STEP * workload.points).points_of(0) if before else []
        files = [(path_of(subject.data_dir, number), older + workload.points_of(number)) for number in numbers]
        return self.compare(files, workload.last)

    def compare(self, files: list[tuple[str, list[tuple[int, float]]]], now: int) -> list[str]:
        """Judge (path, points) pairs with the peer's `whisper`; one sentence per difference."""
        task = {"now": now, "archives": ARCHIVES, "xff": 0.5, "files": files}
        judged = subprocess.run(
            [str(self.peer_python), str(REPOSITORY / "tools" / "benchlib" / "verify.py")],
            input=json.dumps(task), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_SECONDS,
        )
        found = judged.stdout.splitlines()
        return found[:20] if judged.returncode == 0 or found else [f"the judge ended with {judged.returncode}"]


ARCHIVES = ((10, 2160), (60, 10080))


def _wait_until_idle(pid: int, quiet: float = 1.5, limit: float = 120.0) -> None:
    """Return when the daemon used less than 3 % of a core for `quiet` seconds: it has nothing left to take in."""
    deadline = time.monotonic() + limit
    used = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(quiet)
        now = cpu_seconds(pid)
        if now - used < 0.03 * quiet:
            return
        used = now
