"""One run: a daemon on fresh ground, one workload, until every point is on disk; and what that cost.

The order of things: ground, files that exist beforehand (if the scenario wants them), daemon, readiness, idleness,
*books open* (CPU), sender, everything received, everything on disk, one second of grace for work that trails behind,
*books closed*, judgement by the `whisper` package, daemon ended, ground gone. What starting costs is not in the books.
While the daemon works it is asked nothing that costs; its files are looked at every quarter of a second.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchlib.disk import Inspection, path_of
from benchlib.environments import REPOSITORY
from benchlib.ground import fresh_ground
from benchlib.payload import STEP, Workload, write_payloads
from benchlib.subjects import Subject
from benchlib.watch import MemoryWatch, cpu_seconds

POLL_SECONDS = 0.25
GRACE_SECONDS = 1.0
LIMIT_SECONDS = 900.0
SAMPLE = 200
EXISTING_POINTS = 10
ARCHIVES = ((10, 2160), (60, 10080))


@dataclass(frozen=True)
class Scenario:
    """A row of the table.

    `existing` says who made the files beforehand: "" nobody; "whisper": the package, and the daemon was restarted since
    it saw them, so that it remembers nothing of them; "daemon": the same daemon in the same life, as in daily use.
    """

    key: str
    title: str
    metrics: int
    points: int
    pickled: bool = False
    existing: str = ""


SCENARIOS = {
    scenario.key: scenario
    for scenario in (
        Scenario("a", "2,000 metrics x 500 points", 2_000, 500),
        Scenario("b", "100,000 new metrics x 10 points", 100_000, 10),
        Scenario("c", "one more point on each of 20,000 files, daemon restarted", 20_000, 1, existing="whisper"),
        Scenario("w", "one more point on each of 20,000 files it made itself", 20_000, 1, existing="daemon"),
        Scenario("d", "receiving 10,000 metrics x 100 points", 10_000, 100),
        Scenario("ap", "2,000 metrics x 500 points, pickle", 2_000, 500, pickled=True),
        Scenario("bp", "100,000 new metrics x 10 points, pickle", 100_000, 10, pickled=True),
        Scenario("cp", "one more point on each of 20,000 files, restarted, pickle", 20_000, 1, pickled=True,
                 existing="whisper"),
        Scenario("wp", "one more point on each of 20,000 files it made itself, pickle", 20_000, 1, pickled=True,
                 existing="daemon"),
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
                if scenario.existing == "whisper":
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
        wait_until_idle(pid, quiet=1.5)
        subject.stop()

    def _measure(self, scenario: Scenario, workload: Workload, payloads: list[Path], subject: Subject) -> Outcome:
        pid = subject.start()
        before = 0
        if scenario.existing == "daemon":
            earlier = Workload(workload.metrics, EXISTING_POINTS, workload.last - STEP)
            with tempfile.TemporaryDirectory(prefix="payload-", dir=self.work_dir) as place:
                files = write_payloads(earlier, scenario.pickled, Path(place))
                with Sender(subject, scenario.pickled, files) as sender:
                    sender.send()
                before = earlier.total
                _wait_until_stored(subject, earlier, before, time.monotonic() + LIMIT_SECONDS)
        wait_until_idle(pid, quiet=0.5)
        problems = []
        deadline = time.monotonic() + LIMIT_SECONDS
        sent = before + workload.total
        with Sender(subject, scenario.pickled, payloads) as sender, MemoryWatch(pid) as memory:
            cpu = -cpu_seconds(pid)
            begun, read = sender.send()
            while not subject.has_received(sent) and time.monotonic() < deadline:
                read = time.time()
                time.sleep(0.005)
            inspection = _wait_until_stored(subject, workload, sent, deadline)
            time.sleep(GRACE_SECONDS)
            cpu += cpu_seconds(pid)
        if inspection.missing or not subject.has_settled(sent):
            problems.append(f"{inspection.missing} of {workload.metrics} files were not complete in time")
        else:
            problems += self.judge(subject, workload, scenario)
        if problems:
            problems.append(f"{subject.name} said: {subject.output()[-1500:]}")
        wall = math.nan if inspection.missing else inspection.last_write() - begun
        return Outcome(scenario.key, subject.name, workload.total, cpu, wall, read - begun,
                       memory.peak_pss, memory.peak_rss, problems)

    def judge(self, subject: Subject, workload: Workload, scenario: Scenario) -> list[str]:
        """Compare a sample of files with what the `whisper` package makes of the same points; [] if all agree."""
        numbers = random.Random(workload.total).sample(range(workload.metrics), min(SAMPLE, workload.metrics))
        earlier = Workload(workload.metrics, EXISTING_POINTS if scenario.existing else 0, workload.last - STEP)
        files = []
        for number in numbers:
            older = earlier.points_of(0 if scenario.existing == "whisper" else number)
            files.append((path_of(subject.data_dir, number), older + workload.points_of(number)))
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


def _wait_until_stored(subject: Subject, workload: Workload, sent: int, deadline: float) -> Inspection:
    """Poll until every file is complete and the daemon's own books agree, or the deadline has passed."""
    inspection = Inspection(subject.data_dir, workload)
    while not (inspection.is_complete() and subject.has_settled(sent)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return inspection


class Sender:
    """The sending process, connected and waiting for the word; used as a context manager."""

    def __init__(self, subject: Subject, pickled: bool, payloads: list[Path]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tools" / "benchlib" / "sender.py"),
             str(subject.pickle_port if pickled else subject.line_port), *map(str, payloads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def __enter__(self) -> Sender:
        assert self._process.stdout
        self._process.stdout.readline()
        return self

    def send(self) -> tuple[float, float]:
        """Send everything; returns when the first byte went out and when the daemon had read the last one."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        begun, read = map(float, self._process.stdout.readline().split())
        return begun, read

    def __exit__(self, *problem: object) -> None:
        self._process.kill()
        self._process.wait()


def wait_until_idle(pid: int, quiet: float, limit: float = 120.0) -> None:
    """Return when the daemon used less than 3 % of a core for `quiet` seconds: it has nothing left to do."""
    deadline = time.monotonic() + limit
    used = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(quiet)
        now = cpu_seconds(pid)
        if now - used < 0.03 * quiet:
            return
        used = now
