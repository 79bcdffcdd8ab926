"""Series read again from earlier on, for what is calculated from values before the time that is asked for.

The law: what is calculated at a slot is shown at that slot, and never before the input begins, so that a
result lies on the grid of its input whatever the length of the preview.  (graphite-web moves a series by
the length of the preview instead, which is the same only where that is a multiple of every step.)
"""

from __future__ import annotations

from collections.abc import Sequence

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context
from carbonpy.functions.declare import Window
from carbonpy.functions.intervals import moved
from carbonpy.series import attime
from carbonpy.series.series import Series, Values


def length(interval: str) -> int:
    """Seconds of a preview given as an interval, whose sign does not matter.  Raises QueryError."""
    return abs(attime.parse_offset(interval))


def window(start: int, end: int, seconds: int) -> Window:
    """The time asked for and `seconds` before it.  Raises QueryError when that leaves the calendar."""
    try:
        return Window(moved(start, start, -seconds).start, end)
    except QueryError:
        raise QueryError(f"a window of {seconds} s reaches back beyond the year 1; write a shorter one") from None


def read(context: Context, seconds: int) -> list[Series]:
    """The first argument of the call over the time asked for and `seconds` before it."""
    return context.again(*window(context.start, context.end, seconds))


def shown(one: Series, inputs: Sequence[Series]) -> int:
    """The number of the slot of `one`, read again, from which on it is shown.

    inputs: what was read for the time asked for (at least one series).
    """
    starts = {(other.name, other.step): other.start for other in inputs}
    start = starts.get((one.name, one.step), min(other.start for other in inputs))
    return min(max(0, -((one.start - start) // one.step)), len(one))


def cut(one: Series, first: int, values: Values) -> Series:
    """`one` from its slot `first` on, with `values` for its own from there."""
    return one.changed(start=one.start + first * one.step, values=values)
