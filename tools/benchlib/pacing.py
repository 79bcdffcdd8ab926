"""What the spacing of sweeps costs: the same steady load of ordinary size under several SWEEP_INTERVALs.

50,000 metrics get a point every ten seconds, spread evenly, for a minute; the CPU of the receiver and of the writer are
counted apart. Below the senders' own interval a longer spacing saves little, since every sweep still brings one point
to each file; beyond it a file is opened once for several points.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from benchlib import loader
from benchlib.ground import fresh_ground
from benchlib.runs import LIMIT_SECONDS, Bench
from benchlib.subjects import Carbonpy
from benchlib.watch import own_cpu_seconds

INTERVALS = (1, 5, 10, 20, 30, 60)
METRICS = 50_000
SECONDS = 60
_PORTIONS = 100


def run_pacing(bench: Bench, python: Path) -> list[dict[str, Any]]:
    """One row of figures for each interval."""
    return [_run(bench, python, interval) for interval in INTERVALS]


def _run(bench: Bench, python: Path, interval: float) -> dict[str, Any]:
    with fresh_ground(bench.filesystem, bench.work_dir) as ground:
        subject = Carbonpy(ground, python)
        text = subject.config.read_text()
        subject.config.write_text(text.replace("[cache]\n", f"[cache]\nSWEEP_INTERVAL = {interval}\n", 1))
        try:
            receiver = subject.start()
            with socket.create_connection(("127.0.0.1", subject.line_port)) as sender:
                now = int(time.time())
                sender.sendall("".join(f"{loader.metric_name(n)} 0 {now - 20}\n" for n in range(METRICS)).encode())
                deadline = time.monotonic() + LIMIT_SECONDS
                while subject.health()["ledger"]["written"] < METRICS and time.monotonic() < deadline:
                    time.sleep(0.25)
                writers = subject.health()["writers"]["pids"]
                _send(sender, interval + 5)
                before = own_cpu_seconds(receiver), sum(map(own_cpu_seconds, writers))
                updates = subject.health()["writers"]["updates"]
                _send(sender, SECONDS)
                after = own_cpu_seconds(receiver), sum(map(own_cpu_seconds, writers))
            return {
                "interval": interval,
                "receiver_percent": 100 * (after[0] - before[0]) / SECONDS,
                "writer_percent": 100 * (after[1] - before[1]) / SECONDS,
                "updates_per_second": (subject.health()["writers"]["updates"] - updates) / SECONDS,
            }
        finally:
            subject.stop()


def _send(sender: socket.socket, seconds: float) -> None:
    """Each metric a point every ten seconds, a hundredth of them every tenth of a second."""
    begun = time.monotonic()
    for turn in range(int(seconds * 10)):
        portion = turn % _PORTIONS
        now = int(time.time())
        numbers = range(METRICS * portion // _PORTIONS, METRICS * (portion + 1) // _PORTIONS)
        sender.sendall("".join(f"{loader.metric_name(n)} {turn % 97} {now}\n" for n in numbers).encode())
        time.sleep(max(0.0, begun + (turn + 1) / 10 - time.monotonic()))


def pacing_rows(figures: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    return [
        (f"{row['interval']}", f"{row['receiver_percent']:.1f}", f"{row['writer_percent']:.1f}",
         f"{row['updates_per_second']:,.0f}")
        for row in figures
    ]


PACING_HEADS = ("SWEEP_INTERVAL, s", "receiver, % of a core", "writer, % of a core", "files updated/s")
