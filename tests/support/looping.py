"""A real reactor that a test turns by hand, in the test's own thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor


class Looping:
    """One reactor; close it at the end."""

    def __init__(self) -> None:
        self.reactor = EPollReactor()
        self.reactor.startRunning(installSignalHandlers=False)
        self.ports: list[Any] = []

    def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> None:
        """Turn it until `condition` holds."""
        deadline = self.reactor.seconds() + seconds
        while not condition():
            assert self.reactor.seconds() < deadline, "not in time"
            self.reactor.iterate(0.01)

    def rounds(self, count: int = 5) -> None:
        """Let the reactor look at everything that is ready."""
        for _ in range(count):
            self.reactor.iterate(0.01)

    def close(self) -> None:
        """End all ports and connections."""
        for port in self.ports:
            port.stopListening()
        self.reactor.removeAll()
        self.rounds(2)
        self.reactor.fireSystemEvent("shutdown")
        self.rounds(2)
