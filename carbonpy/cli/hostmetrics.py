"""This machine's own figures: load, processor, memory, disks, network, read from /proc and statvfs.

The law: `HostFigures.read` looks once and returns (name, value) pairs; what the system does not offer is
left out.  Rates (processor, disk and network traffic) are differences of two looks, so the first look has
none.  Names are below ``load``, ``cpu``, ``memory``, ``disk``, ``io``, ``network``; bytes are bytes, rates
are per second, shares are percent.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator

from carbonpy.clock import Clock
from carbonpy.counters import Deltas

Figure = tuple[str, float]

_SECTOR = 512
_UNWANTED = re.compile(r"[^A-Za-z0-9_-]+")
_CPU_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_MEMORY = {
    "MemTotal": "memory.total",
    "MemFree": "memory.free",
    "MemAvailable": "memory.available",
    "Buffers": "memory.buffers",
    "Cached": "memory.cached",
    "SwapTotal": "memory.swap_total",
    "SwapFree": "memory.swap_free",
}
#: Parts and shadows of other block devices: their traffic is counted where it lands.
_NOT_A_DISK = re.compile(r"(loop|ram|zram|sr|fd|dm-)\d|(sd|vd|xvd|hd)[a-z]+\d|(nvme\d+n\d+|mmcblk\d+)p\d")


def node(text: str) -> str:
    """`text` as one node of a metric name: ``/var/log`` is ``var_log``, ``/`` is ``root``."""
    return _UNWANTED.sub("_", text).strip("_") or "root"


class HostFigures:
    """Looks at the machine.  One owner; `proc` is where the kernel's files are."""

    def __init__(self, proc: str = "/proc", clock: Clock = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._deltas = Deltas()
        self._then: float | None = None

    def read(self) -> list[Figure]:
        """One look: every figure that the system offers now, in a fixed order.  Never raises."""
        now = self._clock()
        seconds = None if self._then is None else now - self._then
        self._then = now
        figures: list[Figure] = []
        for family in (self._load, self._memory, self._disks):
            figures += _as_far_as_possible(family)
        for name, counters in (("cpu", self._cpu), ("io", self._io), ("network", self._network)):
            growth = [(key, self._deltas.take(key, value)) for key, value in _as_far_as_possible(counters)]
            if seconds is None or seconds <= 0:
                continue
            if name == "cpu":
                total = sum(amount for _, amount in growth)
                figures += [(key, 100.0 * amount / total) for key, amount in growth if total > 0 and amount >= 0]
            else:
                # A counter that went back (a device came anew) has no rate this once.
                figures += [(key, amount / seconds) for key, amount in growth if amount >= 0]
        return figures

    def _lines(self, name: str) -> list[str]:
        with open(os.path.join(self._proc, name), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def _load(self) -> Iterator[Figure]:
        one, five, fifteen, tasks = self._lines("loadavg")[0].split()[:4]
        yield "load.1min", float(one)
        yield "load.5min", float(five)
        yield "load.15min", float(fifteen)
        running, total = tasks.split("/")
        yield "load.running", float(running)
        yield "load.threads", float(total)

    def _memory(self) -> Iterator[Figure]:
        found: dict[str, float] = {}
        for line in self._lines("meminfo"):
            key, _, value = line.partition(":")
            if key in _MEMORY:
                found[_MEMORY[key]] = float(value.split()[0]) * 1024
        yield from found.items()
        if "memory.total" in found and "memory.available" in found:
            yield "memory.used", found["memory.total"] - found["memory.available"]

    def _disks(self) -> Iterator[Figure]:
        seen: set[int] = set()
        for line in self._lines("self/mounts"):
            device, mount = line.split()[:2]
            mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), mount)
            if not device.startswith("/") and mount != "/":
                continue
            try:
                identity = os.stat(mount).st_dev
                space = os.statvfs(mount)
            except OSError:
                continue
            if identity in seen or not space.f_blocks or not os.path.isdir(mount):
                continue
            seen.add(identity)
            name = f"disk.{node(mount)}"
            used = (space.f_blocks - space.f_bfree) * space.f_frsize
            free = space.f_bavail * space.f_frsize
            yield f"{name}.used", float(used)
            yield f"{name}.free", float(free)
            if used + free:
                yield f"{name}.used_percent", 100.0 * used / (used + free)

    def _cpu(self) -> Iterator[Figure]:
        ticks = self._lines("stat")[0].split()
        if ticks[0] == "cpu":
            for state, value in zip(_CPU_STATES, ticks[1:]):
                yield f"cpu.{state}", float(value)

    def _io(self) -> Iterator[Figure]:
        for line in self._lines("diskstats"):
            fields = line.split()
            if not _NOT_A_DISK.match(fields[2]):
                name = f"io.{node(fields[2])}"
                yield f"{name}.read_bytes", float(fields[5]) * _SECTOR
                yield f"{name}.written_bytes", float(fields[9]) * _SECTOR

    def _network(self) -> Iterator[Figure]:
        for line in self._lines("net/dev")[2:]:
            device, _, rest = line.partition(":")
            fields = rest.split()
            name = f"network.{node(device.strip())}"
            yield f"{name}.received_bytes", float(fields[0])
            yield f"{name}.received_packets", float(fields[1])
            yield f"{name}.sent_bytes", float(fields[8])
            yield f"{name}.sent_packets", float(fields[9])


def _as_far_as_possible(family: Callable[[], Iterator[Figure]]) -> list[Figure]:
    """The figures of one family up to the first thing that the system does not offer or writes otherwise."""
    figures: list[Figure] = []
    try:
        for figure in family():
            figures.append(figure)
    except (OSError, ValueError, IndexError):
        pass
    return figures
