"""How far a command has come: one line that changes on a terminal, else a plain line now and then.

The law: it goes to standard error, and says how many are done, at what rate, and how long the rest will take.
"""

from __future__ import annotations

import time
from typing import TextIO

#: Seconds between two lines that go to a file, and between two updates on a terminal.
LINE_SECONDS, TERMINAL_SECONDS = 5.0, 0.1


class Progress:
    """Progress of `what`, in `unit`, up to `total` (0: not known).  One thread."""

    def __init__(self, stream: TextIO, what: str, total: int = 0, unit: str = "files", quiet: bool = False) -> None:
        self._stream = stream
        self._what = what
        self._unit = unit
        self._quiet = quiet
        self.total = total
        self.done = 0
        self._terminal = stream.isatty()
        self._begun = time.monotonic()
        self._next = self._begun + (TERMINAL_SECONDS if self._terminal else LINE_SECONDS)
        self._shown = False

    def step(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + (TERMINAL_SECONDS if self._terminal else LINE_SECONDS)
        self._shown = True
        text = self.text(now - self._begun)
        self._stream.write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")
        self._stream.flush()

    def text(self, seconds: float) -> str:
        """The line after so many seconds."""
        rate = self.done / seconds if seconds > 0 else 0.0
        text = f"{self._what}: {self.done:,}"
        if not self.total:
            return f"{text} {self._unit}, {rate:,.0f} a second"
        left = (self.total - self.done) / rate if rate else 0.0
        return f"{text} of {self.total:,} {self._unit}, {rate:,.0f} a second, {duration(left)} left"

    def close(self) -> None:
        """Leave a clean line."""
        if self._terminal and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
