"""The whisper tools over a tree: info, resize and fill of many files, by the package's scripts under xargs and by ours.

The scripts take one file each, so xargs starts one interpreter per file, two at a time (`-P 2`); what they need for a
file does not depend on how many there are, so they get a sample of the tree (`--peer-files`) and the table shows rates.
Ours get all files in one command. Both trees are made of the same files, 1m:1d,5m:7d, every slot known; of those to be
filled, the scripts' way has a gap of an hour and a half. A sample of what ours made of them is compared with what the
scripts made.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from benchlib.environments import REPOSITORY
from benchlib.ground import fresh_ground
from benchlib.runs import Bench

ARCHIVES = ((60, 1440), (300, 2016))
LONGER = ("1m:2d", "5m:14d")
FILES = 20_000
HEADS = ("(t) whisper tools", "scripts under xargs, files/s", "carbonpy, files/s", "ratio", "carbonpy, all files")
_MAKE = """
import json, math, sys, whisper
whole, holed, archives, now = json.load(sys.stdin)
points = [(now - age * 60, 50 + 40 * math.sin(age / 90)) for age in range(7 * 1440)]
for path, gap in ((whole, range(0)), (holed, range(200, 290))):
    whisper.create(path, [tuple(archive) for archive in archives], 0.5, 'average')
    ages = {now - age * 60 for age in gap}
    for first in range(len(points), 0, -720):  # half a day at a time, as a life would leave it
        part = [point for point in points[max(0, first - 720):first] if point[0] not in ages]
        whisper.update_many(path, part, part[0][0])
"""


def run_whisper_tools(bench: Bench, python: Path, files: int = FILES, peer_files: int = 400) -> dict[str, Any]:
    """The figures of all three tools, and what the comparison found."""
    scripts = bench.peer_python.parent
    figures: dict[str, Any] = {"files": files, "peer_files": peer_files, "problems": []}
    with fresh_ground(bench.filesystem, bench.work_dir) as ground:
        now = int(time.time()) // 60 * 60
        whole, holed = ground / "whole.wsp", ground / "holed.wsp"
        task = json.dumps([str(whole), str(holed), ARCHIVES, now])
        subprocess.run([str(bench.peer_python), "-c", _MAKE], input=task.encode(), check=True)
        paths = [f"{n % 100:02}/{n // 100:04}.wsp" for n in range(files)]
        _tree(ground / "ours", paths, holed.read_bytes())
        _tree(ground / "theirs", paths[:peer_files], holed.read_bytes())
        _tree(ground / "source", paths, whole.read_bytes())
        own = [str(python), "-m", "carbonpy", "whisper"]
        sample = [str(ground / "theirs" / path) for path in paths[:peer_files]]
        sources = [str(ground / "source" / path) for path in paths[:peer_files]]
        pairs = [path for pair in zip(sources, sample) for path in pair]
        for name, arguments, one_by_one, options in (
            ("info", [str(ground / "ours")], sample, ["-n", "1"]),
            ("fill", [str(ground / "source"), str(ground / "ours")], pairs, ["-n", "2"]),
            ("resize", ["--nobackup", str(ground / "ours"), *LONGER], sample, ["-I", "{}"]),
        ):
            script = [str(bench.peer_python), str(scripts / f"whisper-{name}.py")]
            last = ["{}", *LONGER, "--nobackup"] if name == "resize" else []
            theirs = _timed(["xargs", *options, "-P", "2", *script, *last], one_by_one)
            ours = _timed([*own, name, *arguments], [])
            figures[name] = {
                "theirs": peer_files / theirs, "ours": files / ours,
                "ratio": (theirs / peer_files) / (ours / files), "seconds": ours,
            }
            figures["problems"] += compared(bench, ground, paths[: min(50, peer_files)], now, name)
    return figures


def _tree(root: Path, paths: list[str], content: bytes) -> None:
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _timed(command: list[str], lines: list[str]) -> float:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    begun = time.monotonic()
    done = subprocess.run(command, input="\n".join(lines).encode(), stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, env=environment)
    taken = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command[:6])} failed: {done.stderr.decode()[-500:]}")
    return taken


def compared(bench: Bench, ground: Path, paths: list[str], now: int, name: str) -> list[str]:
    """What the package's own fetch finds in the scripts' files and not, or otherwise, in ours.

    At the old edge of the finest archive whisper-resize.py puts a coarse value among the fine ones; ten minutes there
    are left out.
    """
    program = (
        "import json, sys, whisper\n"
        "pairs, now = json.load(sys.stdin)\n"
        "for one, other in pairs:\n"
        "    for archive in whisper.info(one)['archives']:\n"
        "        begin = now - archive['retention'] + archive['secondsPerPoint'] * 2\n"
        "        (span, a), (_, b) = (whisper.fetch(path, begin, now, now=now) for path in (one, other))\n"
        "        for slot, x, y in zip(range(*span), a, b):\n"
        "            if x is not None and (y is None or abs(x - y) > 1e-9) and abs(slot - now + 86400) > 600:\n"
        "                print(other, archive['secondsPerPoint'], slot, x, y)\n"
    )
    pairs = [[str(ground / "theirs" / path), str(ground / "ours" / path)] for path in paths]
    done = subprocess.run([str(bench.peer_python), "-c", program], input=json.dumps([pairs, now]).encode(),
                          stdout=subprocess.PIPE, check=True)
    return [f"{name}: {line}" for line in done.stdout.decode().splitlines()]


def rows(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table."""
    table = []
    for name, title in (("info", "info"), ("fill", "fill, a gap of an hour and a half in each"),
                        ("resize", f"resize 1m:1d,5m:7d to {','.join(LONGER)}")):
        one = figures[name]
        table.append((title, f"{one['theirs']:,.1f}", f"{one['ours']:,.0f}", f"{one['ratio']:,.0f}",
                      f"{one['seconds']:.1f} s for {figures['files']:,}"))
    return table
