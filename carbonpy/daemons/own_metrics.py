"""The daemon's own metrics, by the names that carbon gives its own.

The law: a figure per interval is the difference of two readings of a counter that only grows; names
and meanings are carbon's (instrumentation.py of carbon 1.1), what carbon does not have is added.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, Sequence

from carbonpy.counters import Deltas

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Carbon leaves these out when they are zero, since they are averages of nothing then.
_ONLY_IF_ANY = {"cache.bulk_queries_average_size", "avgUpdateTime", "pointsPerUpdate"}


def prefix_of(prefix: str, host: str, instance: str) -> str:
    """``carbon.agents.<host>-<instance>.``, dots of the host as underscores."""
    return f"{prefix}.agents.{host.replace('.', '_')}-{instance}."


def cpu_seconds(children: Sequence[int]) -> float:
    """CPU seconds of this process, of its children that have ended and of the living ones given.

    With those that have ended, so that a writer that is replaced does not take its seconds away.
    """
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    for pid in children:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / _TICK
    return total


def memory_bytes(children: Sequence[int]) -> int:
    """Resident bytes of this process and of the children given (shared pages counted for each)."""
    total = 0
    for pid in ("self", *map(str, children)):
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                total += int(file.read().split()[1]) * _PAGE
        except OSError:
            continue
    return total


class OwnMetrics:
    """Turns growing figures into the values of one interval.  One owner."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._deltas = Deltas()
        self._then: float | None = None

    def points(self, now: float, counters: Mapping[str, float], gauges: Mapping[str, float]) -> list[tuple[str, float]]:
        """(name, value) of every figure: growth since the last call for `counters`, as it is for `gauges`.

        Counters ``_cpu``, ``_update_seconds``, ``_written`` and ``_bulk_size`` only feed carbon's averages.
        """
        grown = {name: self._deltas.take(name, value) for name, value in counters.items()}
        seconds = now - self._then if self._then is not None else 0.0
        self._then = now
        values = {name: value for name, value in grown.items() if not name.startswith("_")} | dict(gauges)
        values["cpuUsage"] = 100.0 * grown["_cpu"] / seconds if seconds > 0 else 0.0
        updates, bulk = grown["updateOperations"], grown["cache.bulk_queries"]
        values["avgUpdateTime"] = grown["_update_seconds"] / updates if updates else 0.0
        values["pointsPerUpdate"] = grown["_written"] / updates if updates else 0.0
        values["cache.bulk_queries_average_size"] = grown["_bulk_size"] / bulk if bulk else 0.0
        return [
            (self._prefix + name, float(value)) for name, value in values.items() if value or name not in _ONLY_IF_ANY
        ]
