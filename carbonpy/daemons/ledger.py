"""The ledger of a cache daemon, as JSON and as Prometheus text.

The law, which holds whenever the reactor looks:

    received = written + cached + journal_backlog + sum of dropped by reason

`received` counts every datapoint that came from a sender, from the daemon itself or out of the
journal of an earlier life (those are in `recovered` as well); `journal_backlog` those that are still
only in such a journal.  A malformed line or item counts as one received and one dropped.
"""

from __future__ import annotations

from typing import Any

from carbonpy.cache.cache import Cache
from carbonpy.counters import Counter, CounterGroup
from carbonpy.ingest.intake import Intake
from carbonpy.net.writers import Writers


class Ledger:
    """Where every datapoint went.  Reactor thread only."""

    def __init__(self, intake: Intake, cache: Cache) -> None:
        self._intake = intake
        self._cache = cache
        self.writers: Writers | None = None
        self.recovered = Counter()
        #: Points that only an earlier life's journal holds.
        self.backlog = 0
        #: Drops that are neither the intake's nor a writer's: replaced in the cache, lost with a damaged journal.
        self.dropped = CounterGroup()

    def as_dict(self) -> dict[str, Any]:
        """The figures, with ``balanced``."""
        dropped = self._intake.dropped.as_dict()
        for group in (self.dropped, self.writers.dropped if self.writers is not None else CounterGroup()):
            for reason, points in group.as_dict().items():
                dropped[reason] = dropped.get(reason, 0) + points
        received = self._intake.received.value + self.recovered.value
        written = self.writers.written.value if self.writers is not None else 0
        cached = self._cache.cached
        return {
            "received": received,
            "recovered": self.recovered.value,
            "written": written,
            "cached": cached,
            "journal_backlog": self.backlog,
            "dropped": dropped,
            "balanced": received == written + cached + self.backlog + sum(dropped.values()),
        }


def prometheus(figures: list[tuple[str, str, str, dict[str, float] | float]]) -> str:
    """Prometheus text of (name, type, help, value or values by label ``reason``)."""
    lines = []
    for name, kind, text, value in figures:
        lines += [f"# HELP carbonpy_{name} {text}", f"# TYPE carbonpy_{name} {kind}"]
        if isinstance(value, dict):
            lines += [f'carbonpy_{name}{{reason="{reason}"}} {number}' for reason, number in value.items()]
        else:
            lines.append(f"carbonpy_{name} {value}")
    return "\n".join(lines) + "\n"
