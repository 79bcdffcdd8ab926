"""The sustained scenario: a steady load on carbonpy alone, and what a person who asks meanwhile waits.

First every metric gets one point, so that all files exist. Then 100,000 metrics get 200,000 points a second for
`seconds` seconds, each point in a slot of its own. `/health` is read once a second, a plain metric is asked for every
20 ms. At the end the load stops, the time until everything is on disk is taken, and a sample of files is judged.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchlib import loader
from benchlib.environments import REPOSITORY
from benchlib.ground import fresh_ground
from benchlib.runs import LIMIT_SECONDS, POLL_SECONDS, SAMPLE, Bench
from benchlib.subjects import Carbonpy
from benchlib.watch import MemoryWatch, cpu_seconds

_PLACE = REPOSITORY / "tools" / "benchlib"


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else float("nan")


def run_sustained(bench: Bench, python: Path, *, metrics: int, rate: float, seconds: float) -> dict[str, Any]:
    """The whole scenario on fresh ground; returns its figures as a JSON-ready dict."""
    turns = max(1, round(seconds * rate / metrics))
    first = int(time.time()) // loader.STEP * loader.STEP - loader.STEP * (turns + 1)
    with fresh_ground(bench.filesystem, bench.work_dir) as ground:
        subject = Carbonpy(ground, python)
        try:
            pid = subject.start()
            _load(subject, metrics, 0, 1, first, 0).wait(LIMIT_SECONDS)
            _wait_until_written(subject, metrics)
            figures, samples = _under_load(subject, pid, metrics, rate, turns, first)
            begun = time.monotonic()
            _wait_until_written(subject, metrics * (turns + 1))
            figures["drain_seconds"] = time.monotonic() - begun
            figures["ledger"] = subject.health()["ledger"]
            figures["samples"] = samples
            numbers = random.Random(1).sample(range(metrics), min(SAMPLE, metrics))
            files = [
                (str(subject.data_dir / loader.metric_name(number).replace(".", "/")) + ".wsp",
                 [(first + loader.STEP * turn, loader.value_of(number, turn)) for turn in range(turns + 1)])
                for number in numbers
            ]
            figures["problems"] = bench.compare(files, first + loader.STEP * turns) + figures.pop("wrong")
            if figures["problems"]:
                figures["problems"].append(subject.output()[-1500:])
            return figures
        finally:
            subject.stop()


def _load(subject: Carbonpy, metrics: int, rate: float, turns: int, first: int, offset: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(_PLACE / "loader.py"),
         *map(str, (subject.line_port, metrics, rate, turns, first, offset))],
        stdout=subprocess.PIPE, text=True,
    )


def _under_load(subject: Carbonpy, pid: int, metrics: int, rate: float, turns: int,
                first: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    seconds = turns * metrics / rate
    start = first + loader.STEP
    samples: list[dict[str, Any]] = []
    with MemoryWatch(pid) as memory:
        cpu = cpu_seconds(pid)
        load = _load(subject, metrics, rate, turns, start, 1)
        asker = subprocess.Popen(
            [sys.executable, str(_PLACE / "querier.py"),
             *map(str, (subject.http_port, metrics, first, loader.STEP * rate / metrics, seconds))],
            stdout=subprocess.PIPE, text=True,
        )
        sent: list[dict[str, Any]] = []
        assert load.stdout is not None
        listener = threading.Thread(target=lambda: sent.extend(map(json.loads, load.stdout or ())), daemon=True)
        listener.start()
        begun = time.monotonic()
        try:
            while load.poll() is None and time.monotonic() - begun < seconds + LIMIT_SECONDS:
                ledger = subject.health()["ledger"]
                samples.append({"elapsed": time.monotonic() - begun,
                                **{key: ledger[key] for key in ("received", "written", "cached", "journal_backlog")}})
                time.sleep(max(0.0, 1 - (time.monotonic() - begun) % 1))
            cpu = cpu_seconds(pid) - cpu
            listener.join(10)
            answers = json.loads(asker.communicate(timeout=seconds + 120)[0])
        finally:
            for each in (load, asker):
                each.kill()
                each.wait()
    cached = [sample["cached"] for sample in samples]
    third = max(1, len(cached) // 3)
    elapsed = sent[-1]["elapsed"]
    return {
        "metrics": metrics, "rate": rate, "seconds": seconds,
        "taken_rate": sent[-1]["sent"] / elapsed,
        "behind_max": max(each["behind"] for each in sent),
        "written_rate": (samples[-1]["written"] - samples[0]["written"])
        / max(1e-9, samples[-1]["elapsed"] - samples[0]["elapsed"]),
        "cached_max": max(cached),
        "cached_middle_third": max(cached[third : 2 * third] or cached),
        "cached_last_third": max(cached[2 * third :] or cached),
        "cores": cpu / elapsed,
        "peak_pss": memory.peak_pss, "peak_rss": memory.peak_rss,
        "queries": len(answers["sent"]),
        **{f"query_ms_{name}": quantile(answers["sent"], share) for name, share in _QUANTILES},
        **{f"query_ms_due_{name}": quantile(answers["due"], share) for name, share in _QUANTILES},
        "newest_point_age_p99": quantile(answers["ages"], 0.99),
        "wrong": answers["wrong"][:10],
    }, samples


_QUANTILES = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


def _wait_until_written(subject: Carbonpy, count: int) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not subject.has_settled(count):
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {count} points were not on disk after {LIMIT_SECONDS:g} s: {subject.health()}")
        time.sleep(POLL_SECONDS)
