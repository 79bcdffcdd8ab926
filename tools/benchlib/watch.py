"""CPU time and memory of a daemon and all its children, read from /proc.

CPU is user plus system time of every living process of the tree plus, through the parents' own books, of every child
that has ended. Memory is the sum over the tree at one moment: PSS counts a page that n processes share as 1/n in each
and is the honest figure; RSS counts it in each. The largest sums seen are kept.
"""

from __future__ import annotations

import os
import threading
import time

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def process_tree(pid: int) -> list[int]:
    """`pid` and all its living descendants."""
    found = [pid]
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                children = file.read().split()
        except OSError:
            continue
        for child in children:
            found += process_tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU seconds used so far by `pid`, its living descendants and its ended children."""
    return sum(map(own_cpu_seconds, process_tree(pid)))


def own_cpu_seconds(pid: int) -> float:
    """CPU seconds used so far by `pid` and its ended children; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICKS


class MemoryWatch:
    """Samples the memory of a process tree in a thread of its own until it is closed; used as a context manager."""

    def __init__(self, pid: int, interval: float = 0.05) -> None:
        self.peak_pss = 0
        self.peak_rss = 0
        self._pid = pid
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            self._sample()
            # A large tree makes a sample dear (the kernel walks its page tables): then sample more rarely.
            self._stop.wait(max(self._interval, 9 * (time.monotonic() - begun)))

    def _sample(self) -> None:
        pss = rss = 0
        for pid in process_tree(self._pid):
            try:
                with open(f"/proc/{pid}/smaps_rollup") as file:
                    pss += sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
                with open(f"/proc/{pid}/statm") as file:
                    rss += int(file.read().split()[1]) * _PAGE
            except OSError:
                continue
        self.peak_pss = max(self.peak_pss, pss)
        self.peak_rss = max(self.peak_rss, rss)
