"""The outputs of an aggregator: their names, how they are made, when they tick, and what of them is done with.

The law: an output keeps its number for ever, also when its spec changes.  `low` to `high` is the last unbroken row of
intervals that were sent and forgotten, `earlier` has the rows before it; an interval in none of them was never sent.
Of very many separate rows the oldest are joined, and what lies between them counts as sent, too.
"""

from __future__ import annotations

import bisect
import math

import numpy as np

from carbonpy.aggregating.cells import grow
from carbonpy.aggregating.methods import keeping
from carbonpy.rules.aggregates import AggregateSpec

#: So many separate rows of forgotten intervals are told apart for each output.
MAX_ROWS = 32
#: Stands for "no interval" in columns of outputs.
NONE = -1


class Outputs:
    """Columns of outputs.  One owner.  `write_back` is WRITE_BACK_FREQUENCY (None or 0: with the interval)."""

    #: Seconds of an interval, how its values are kept, whether figures are averages.
    step: np.ndarray
    keeping: np.ndarray
    average: np.ndarray
    #: Whether the kind is ``window``; seconds from the start of an interval to its end, and to its timestamp.
    window: np.ndarray
    expire: np.ndarray
    shift: np.ndarray
    #: Seconds between two ticks, and when the next one is.
    period: np.ndarray
    next_tick: np.ndarray
    #: The interval that most points are for, and its cell.
    recent: np.ndarray
    recent_cell: np.ndarray
    low: np.ndarray
    high: np.ndarray

    _COLUMNS = (
        ("step", np.uint32, 1),
        ("keeping", np.int8, 0),
        ("average", np.bool_, False),
        ("window", np.bool_, False),
        ("expire", np.int64, 0),
        ("shift", np.int64, 0),
        ("period", np.float64, 1.0),
        ("next_tick", np.float64, math.inf),
        ("recent", np.int64, NONE),
        ("recent_cell", np.int64, 0),
        ("low", np.int64, 0),
        ("high", np.int64, NONE),
    )

    def __init__(self, write_back: float | None) -> None:
        self._write_back = write_back
        self.names: list[bytes] = []
        self.specs: list[AggregateSpec] = []
        self.numbers: dict[bytes, int] = {}
        self.earlier: dict[int, list[list[int]]] = {}
        grow(self, self._COLUMNS, 256)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: bytes, spec: AggregateSpec) -> int:
        """The number of a new output."""
        number = self.numbers[name] = len(self.names)
        if number == len(self.step):
            grow(self, self._COLUMNS, 2 * number)
        self.names.append(name)
        self.specs.append(spec)
        self.configure(number, spec)
        return number

    def configure(self, number: int, spec: AggregateSpec) -> None:
        """Let an output be made as `spec` says.  It has no intervals."""
        if spec.interval != self.specs[number].interval:
            # What was sent under other steps cannot be told from what was not: all of it counts as sent.
            self.low[number] = 0
            self.earlier.pop(number, None)
        self.specs[number] = spec
        self.step[number] = spec.interval
        self.keeping[number] = keeping(spec.method)
        self.average[number] = spec.method == "avg"
        self.window[number] = spec.kind == "window"
        self.expire[number] = spec.expire
        self.shift[number] = {"start": 0, "middle": spec.interval // 2, "end": spec.interval}[spec.moment]
        self.period[number] = min(self._write_back, spec.interval) if self._write_back else spec.interval
        self.next_tick[number] = math.inf

    def old_before(self, numbers: np.ndarray, now: float, intervals: int) -> np.ndarray:
        """Intervals of these outputs that begin before this are older than `intervals` intervals, as carbon has it."""
        step = self.step[numbers].astype(np.int64)
        return int(now) - int(now) % step - intervals * step

    def were_forgotten(self, numbers: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Which of the intervals (outputs and starts) were sent and are forgotten."""
        gone = (self.low[numbers] <= starts) & (starts <= self.high[numbers])
        if self.earlier:
            for place in np.flatnonzero(~gone).tolist():
                rows = self.earlier.get(int(numbers[place]), ())
                gone[place] = any(low <= starts[place] <= high for low, high in rows)
        return gone

    def forget(self, numbers: np.ndarray, starts: np.ndarray) -> None:
        """Note that these intervals, sorted by output and start, were sent and are forgotten."""
        self.recent[numbers[self.recent[numbers] == starts]] = NONE
        # Nearly always it is one interval, the one after the last that was forgotten.
        single = np.ones(len(numbers), bool)
        single[1:] = numbers[1:] != numbers[:-1]
        single[:-1] &= single[1:]
        next_one = single & (starts == self.high[numbers] + self.step[numbers])
        self.high[numbers[next_one]] = starts[next_one]
        for number, start in zip(numbers[~next_one].tolist(), starts[~next_one].tolist()):
            self._remember(number, start)

    def _remember(self, number: int, start: int) -> None:
        step, low, high = int(self.step[number]), int(self.low[number]), int(self.high[number])
        rows = self.earlier.pop(number, [])
        if high >= 0:
            rows.append([low, high])
        place = bisect.bisect_right(rows, [start, start])
        rows.insert(place, [start, start])
        for index in (place, place - 1):
            # Rows that touch each other are one.
            if 0 <= index < len(rows) - 1 and rows[index + 1][0] <= rows[index][1] + step:
                rows[index][1] = max(rows[index][1], rows.pop(index + 1)[1])
        if len(rows) > MAX_ROWS:
            rows[1][0] = rows.pop(0)[0]
        self.low[number], self.high[number] = rows.pop()
        if rows:
            self.earlier[number] = rows
