"""Numbers that only grow, and groups of them by reason.

The law: a counter has one writer (the thread that owns it); anybody may read it.  What is reported
per interval is the difference of two readings, never a reset.
"""

from __future__ import annotations

from collections.abc import Iterator


class Counter:
    """A count that only grows.  One writer, any reader."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Grow by `amount` (not negative)."""
        self.value += amount


class CounterGroup:
    """Counts by reason, created at first use.  One writer, any reader."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}

    def add(self, reason: str, amount: int = 1) -> None:
        """Grow the count of `reason` by `amount` (not negative)."""
        if amount:
            self._values[reason] = self._values.get(reason, 0) + amount

    def __getitem__(self, reason: str) -> int:
        return self._values.get(reason, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values.copy()))

    def total(self) -> int:
        """The sum over all reasons."""
        return sum(self._values.copy().values())

    def as_dict(self) -> dict[str, int]:
        """A copy: reason -> count."""
        return dict(sorted(self._values.copy().items()))


class Deltas:
    """What each of some growing numbers grew by since the last look.  One owner."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def take(self, name: str, value: float) -> float:
        """`value` less what it was at the last `take` of the same name (0 before the first)."""
        before = self._last.get(name, 0)
        self._last[name] = value
        return value - before
