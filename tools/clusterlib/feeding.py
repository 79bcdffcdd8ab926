"""Feeding a relay with points that can be told apart: what was sent, and when.

The law: a point is a metric and a slot, each of which is sent at most once; its value says which metric and which slot.
A slot is all metrics at one second of the past.  For each slot it is known whether it was not sent, was sent at a
certain time, or may have been sent (the connection broke while it was).
"""

from __future__ import annotations

import socket
import threading
import time
from typing import NamedTuple

#: Metric i has the values slot + i / 8192, exactly.
FRACTIONS = 8192
METRICS_PER_BRANCH = 100


class Load:
    """So many metrics, whose slot k is the second `base` + k.  Immutable."""

    def __init__(self, prefix: str, metrics: int, base: int) -> None:
        if not 0 < metrics <= FRACTIONS:
            raise ValueError(f"between 1 and {FRACTIONS} metrics")
        self.prefix = prefix
        self.metrics = metrics
        self.base = base
        self.names = [
            f"{prefix}.branch{number // METRICS_PER_BRANCH:03d}.metric{number:04d}" for number in range(metrics)
        ]
        lines = (
            f"{name} @{number / FRACTIONS:.13f}".replace("@0.", "@.") + " #\n" for number, name in enumerate(self.names)
        )
        self._template = "".join(lines).encode()

    def text(self, slot: int) -> bytes:
        """The lines of a slot."""
        return self._template.replace(b"@", b"%d" % slot).replace(b"#", b"%d" % (self.base + slot))


class Sent(NamedTuple):
    """When a slot was sent, and since when there was the connection (monotonic)."""

    at: float
    connected: float


class Feeder(threading.Thread):
    """Sends every `count`-th slot, from the `first` on, to one relay until it is stopped.

    A slot is due every `interval` seconds (of all feeders together); one that is due while the relay is away is not
    sent.  `begun` and `sent` belong to this thread until it has ended.
    """

    def __init__(self, load: Load, address: tuple[str, int], first: int, count: int, interval: float) -> None:
        super().__init__(daemon=True)
        self._load = load
        self._address = address
        self._first, self._count, self._interval = first, count, interval
        self._ended = threading.Event()
        #: The slots of which some bytes may be on their way.
        self.begun: list[int] = []
        #: Slot -> when all of it was handed to the system, and when the connection was made on which it went.
        self.sent: dict[int, Sent] = {}
        #: Points handed to the system so far, and the most seconds that a slot was sent behind its time.
        self.points = 0
        self.behind = 0.0
        self._started_at = 0.0

    def start_at(self, moment: float) -> None:
        """Start; `moment` (monotonic) is when slot 0 is due."""
        self._started_at = moment
        self.start()

    def run(self) -> None:
        slot = self._first
        connection: socket.socket | None = None
        connected = 0.0
        while True:
            due = self._started_at + slot * self._interval
            if self._ended.wait(max(0.0, due - time.monotonic())):
                break
            try:
                if connection is None:
                    connection = socket.create_connection(self._address, timeout=2.0)
                    connected = time.monotonic()
                    # What a relay has not read should wait here, not in the system.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
                    connection.settimeout(30.0)
                self.begun.append(slot)
                connection.sendall(self._load.text(slot))
                now = time.monotonic()
                self.sent[slot] = Sent(now, connected)
                self.points += self._load.metrics
                self.behind = max(self.behind, now - due)
            except OSError:
                if connection is not None:
                    connection.close()
                    connection = None
            slot += self._count
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        """Return when nothing more will be sent."""
        self._ended.set()
        self.join(60)
