#!/usr/bin/env python3
"""Runs tools over a tree of 20,000 files while a daemon writes 50,000 points a second to it, and looks for every point.

    python tools/beside.py [--files 20000] [--rate 50000] [--seconds 90]

Migrations to and fro (every third one killed with SIGKILL), backups and looks at all headers follow each other until
the time is over.  Then: is every file whole, is every point in its file, does the ledger balance, does the last backup
verify, is each of its files without a gap?  Exit code 0 if all that holds.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.running import RunningDaemon  # noqa: E402
from support.waiting import until  # noqa: E402

from carbonpy.upkeep.backup import restore  # noqa: E402
from carbonpy.upkeep.packs import list_path, read_list, snapshots  # noqa: E402
from carbonpy.whisper import file as whisper_file  # noqa: E402

SMALL = "[all]\npattern = .*\nretentions = 1s:1h,1m:1d\n"
LARGE = "[all]\npattern = .*\nretentions = 1s:2h,10s:6h,1m:2d\n"


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=50_000)
    parser.add_argument("--seconds", type=float, default=90)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR"), prefix="beside-") as directory:
        run = Run(Path(directory), options.files, options.rate, options.seconds)
        try:
            return run.run()
        finally:
            if run.daemon.process is not None:
                run.daemon.terminate()


class Run:
    """One run in a directory."""

    def __init__(self, top: Path, files: int, rate: float, seconds: float) -> None:
        self.top = top
        self.metrics = [f"beside.d{number % 100}.m{number}" for number in range(files)]
        self.pause = files / rate
        self.length = seconds
        self.daemon = RunningDaemon(top / "daemon", {"SWEEP_INTERVAL": 1, "MAX_CACHE_SIZE": "inf"}, SMALL)
        self.start = 0
        self.sent = 0
        self.late = 0.0
        self.stopping = threading.Event()
        self.failures: list[str] = []
        self.done: dict[str, int] = {}

    def run(self) -> int:
        self.daemon.start()
        self.start = int(time.time()) - 3000
        sender = threading.Thread(target=self.send)
        begun = time.monotonic()
        sender.start()
        until("all files are made", lambda: self.daemon.health()["ledger"]["written"] >= len(self.metrics), 120)
        self.tools(begun + self.length)
        self.stopping.set()
        sender.join()
        seconds = time.monotonic() - begun
        points = self.sent * len(self.metrics)
        ledger = until("everything is written", lambda: self.settled(points), 300)
        print(f"{points:,} points in {seconds:.0f} s, {points / seconds:,.0f} a second, to {len(self.metrics):,} files")
        print(f"the sender was late by up to {self.late:.1f} s")
        print(f"ledger: {ledger}")
        print(f"tools: {self.done}")
        self.expect(ledger["balanced"] and ledger["written"] == points, "the ledger")
        self.expect(not sum(ledger["dropped"].values()), "points were dropped")
        self.look(self.daemon.data_dir, self.sent, exactly=True)
        self.look_at_backup()
        for failure in self.failures[:20]:
            print(f"FAILED: {failure}")
        print("nothing lost, nothing torn" if not self.failures else f"{len(self.failures)} failures")
        return 1 if self.failures else 0

    def settled(self, points: int) -> dict[str, int]:
        ledger = self.daemon.ledger()
        assert ledger["received"] >= points and not ledger["cached"], ledger
        return ledger

    def expect(self, holds: object, what: str) -> None:
        if not holds:
            self.failures.append(what)

    def send(self) -> None:
        """A point of every metric, again and again, at the wanted rate."""
        names = [f"{metric} " for metric in self.metrics]
        with socket.create_connection(("127.0.0.1", self.daemon.line_port)) as connection:
            due = time.monotonic()
            while not self.stopping.is_set() and self.sent < 2900:
                end = f"{self.sent} {self.start + self.sent}\n"
                connection.sendall("".join([name + end for name in names]).encode())
                self.sent += 1
                due += self.pause
                now = time.monotonic()
                self.late = max(self.late, now - due)
                if now < due:
                    time.sleep(due - now)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    def tools(self, end: float) -> None:
        """One tool after the other until the time is over."""
        schemas = self.top / "daemon" / "conf" / "storage-schemas.conf"
        config = ["--config", str(self.daemon.config_path)]
        chance = random.Random(1)
        number = 0
        while time.monotonic() < end:
            schemas.write_text(SMALL if number % 2 else LARGE)
            self.tool("migrate", ["schema", "migrate", "--rate", "inf", "--no-fsync", "--quiet", *config])
            schemas.write_text(LARGE if number % 2 else SMALL)
            killed = ["schema", "migrate", "--rate", "inf", "--no-fsync", "--quiet", *config]
            self.tool("migrate, killed", killed, 2 + 20 * chance.random())
            self.tool("backup", ["backup", "--quiet", *config, str(self.top / "backup")])
            self.tool("info", ["whisper", "info", "--json", str(self.daemon.data_dir)])
            number += 1

    def tool(self, name: str, words: list[str], kill_after: float = 0.0) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen(
            [sys.executable, "-m", "carbonpy", *words],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        before = time.monotonic()
        if kill_after:
            time.sleep(kill_after)
            child.send_signal(signal.SIGKILL)
        _, errors = child.communicate()
        self.done[name] = self.done.get(name, 0) + 1
        if not kill_after:
            self.expect(child.returncode == 0, f"{name} ended with {child.returncode}: {errors[-500:]}")
        print(f"{name}: {time.monotonic() - before:.1f} s {errors.strip()[-200:]}", flush=True)

    def look(self, root: Path, seconds: int, *, exactly: bool) -> None:
        """Whether each file has the first so many seconds (or, without `exactly`, more, but no gap)."""
        now = int(time.time())
        for metric in self.metrics:
            path = root.joinpath(*metric.split(".")).with_suffix(".wsp")
            try:
                fetched = whisper_file.fetch(str(path), self.start - 1, self.start + max(self.sent, 1), now)
            except Exception as error:
                self.failures.append(f"{path}: {error}")
                continue
            values = [] if fetched is None else [value for value in fetched.values.tolist() if value == value]
            whole = values == [float(value) for value in range(len(values))]
            enough = len(values) == seconds if exactly else len(values) >= seconds
            self.expect(whole and enough, f"{path}: {len(values)} values: {values[:9]}")

    def look_at_backup(self) -> None:
        directory = str(self.top / "backup")
        _, entries = read_list(list_path(directory, snapshots(directory)[-1]))
        to = self.top / "restored"
        counts: dict[str, int] = {}
        for one in restore(directory, entries[::10], str(to)):
            counts[one.what] = counts.get(one.what, 0) + 1
        print(f"of the last backup, every tenth file: {counts}")
        self.expect(set(counts) == {"restored"}, f"restoring: {counts}")
        self.metrics = [entry.path.removesuffix(".wsp").replace("/", ".") for entry in entries[::10]]
        self.look(to, 1, exactly=False)


if __name__ == "__main__":
    sys.exit(main())
