"""Spans of slots: the only place in the house that aligns a time to a step.

The law: a slot is a timestamp divisible by its step; a Span holds the slots start, start + step,
... below end (end exclusive), and start and end are slots.
"""

from __future__ import annotations

from typing import NamedTuple


def align(timestamp: int, step: int) -> int:
    """The slot that `timestamp` falls in.  Works on integers and on numpy integer arrays alike."""
    return timestamp - timestamp % step


class Span(NamedTuple):
    """Slots of `step` seconds from `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int
    step: int

    @property
    def count(self) -> int:  # type: ignore[override]  # a span is no sequence to be searched
        """How many slots the span holds."""
        return (self.end - self.start) // self.step

    @classmethod
    def graphite(cls, from_time: int, until_time: int, step: int) -> Span:
        """The grid of a Graphite answer: the slot of `from_time` is out, that of `until_time` is in.

        When both fall in one slot the span still holds one slot (whisper's fetch widens it).
        """
        start = align(from_time, step) + step
        end = align(until_time, step) + step
        return cls(start, end + step if end == start else end, step)
