"""What cannot be gone below: the memory of what is imported, and the system calls of an update.

Memory: a process that imports so much and sleeps, beside the two daemons, idle. Each is measured alone, one after the
other. System calls: those that one more point on an existing whisper file takes, made in a bare loop over files of the
bench's layout by the interpreter of carbonpy: open, status, two writes (the point, and the coarser one), close; and for
a file that a daemon has not met since it started a read of the header and one of the coarser archive's first slot.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchlib.ground import fresh_ground
from benchlib.runs import Bench, wait_until_idle
from benchlib.subjects import Carbon, Carbonpy
from benchlib.watch import MemoryWatch

FLOOR_HEADS = ("process, idle", "PSS, MB", "RSS, MB")
CALLS_HEADS = ("system calls alone, 20,000 files", "CPU s per million points")

_STEPS = (
    ("twisted.internet.reactor", "Python with Twisted's reactor"),
    ("numpy", "Python with numpy"),
    ("twisted.internet.reactor, numpy", "Python with the reactor and numpy"),
    ("twisted.internet.reactor, twisted.web.http, numpy, sqlite3, lz4.block",
     "Python with the reactor, numpy, the HTTP server, SQLite and lz4"),
)
_SLEEP = "import {}, time\nprint(flush=True)\ntime.sleep(600)\n"
_CALLS = """
import json, os, resource, sys, time

place, files = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
paths = [os.path.join(place, f"group{n // 100:03d}", f"host{n % 100 // 10}", f"metric{n % 10}.wsp").encode()
         for n in range(files)]
for path in paths:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, bytes(400), 0)
    os.pwrite(fd, bytes(400), 25960)
    os.ftruncate(fd, 146920)
    os.close(fd)
point = bytes(12)


def update(met):
    fds = []
    for path in paths:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        os.fstat(fd)
        if met:
            os.pread(fd, 400, 0)
            os.pread(fd, 4, 25960)
        os.pwrite(fd, point, 160)
        os.pwrite(fd, point, 25972)
        os.close(fd)


def cpu(met):
    begun = time.process_time()
    update(met)
    return (time.process_time() - begun) / files * 1e6


print(json.dumps({"remembered": [cpu(False) for _ in range(5)], "met": [cpu(True) for _ in range(5)]}))
"""


def run_floor(bench: Bench, own_python: Path, peer_python: Path) -> dict[str, list[tuple[str, ...]]]:
    """{"memory": rows under FLOOR_HEADS, "calls": rows under CALLS_HEADS}."""
    memory = [(title, *_megabytes(own_python, modules)) for modules, title in _STEPS]
    for kind, python in ((Carbon, peer_python), (Carbonpy, own_python)):
        with fresh_ground(bench.filesystem, bench.work_dir) as ground:
            subject = kind(ground, python)
            try:
                pid = subject.start()
                wait_until_idle(pid, quiet=0.5)
                memory.append((f"{subject.name}, ready", *_watched(pid)))
            finally:
                subject.stop()
    with fresh_ground(bench.filesystem, bench.work_dir) as ground:
        done = subprocess.run([str(own_python), "-c", _CALLS, str(ground), "20000"], capture_output=True, text=True,
                              check=True, timeout=300)
    figures = json.loads(done.stdout)
    calls = [
        ("a file that is remembered: open, fstat, 2 pwrite, close", f"{statistics.median(figures['remembered']):.2f}"),
        ("a file that is met: open, fstat, 2 pread, 2 pwrite, close", f"{statistics.median(figures['met']):.2f}"),
    ]
    return {"memory": memory, "calls": calls}


def _megabytes(python: Path, modules: str) -> tuple[str, str]:
    process = subprocess.Popen([str(python), "-c", _SLEEP.format(modules)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        if not process.stdout.readline():
            print(f"bench: {modules} cannot be imported", file=sys.stderr)
        return _watched(process.pid)
    finally:
        process.kill()
        process.wait()


def _watched(pid: int) -> tuple[str, str]:
    with MemoryWatch(pid) as memory:
        pass
    return f"{memory.peak_pss / 1e6:.0f}", f"{memory.peak_rss / 1e6:.0f}"
