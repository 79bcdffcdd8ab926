"""The aggregator: points of many metrics go in, and now and then figures of their intervals come out.

The law, for the two kinds of `AggregateSpec`:

* ``carbon`` does as carbon's aggregator/buffers.py.  The first point of an output starts its ticks, one each period
  (the interval, or WRITE_BACK_FREQUENCY if that is shorter), not aligned to the clock.  At a tick every interval that
  got points since it was last sent is sent, made of all its points, under the time of its beginning: the running one,
  too, and an old one again when a late point came.  An output all of whose intervals are older than
  MAX_AGGREGATION_INTERVALS stops ticking until its next point.
* ``window`` does as carbon-c-relay's aggregator.c: an interval is sent once, when more than `expire` seconds
  have passed since its beginning; points that come later are late, points that are further ahead are early.

Every point that is taken is in a figure or counted in `dropped`: ``aggregate_late``, ``aggregate_early``, and
``aggregate_full`` when there is no room for another output, interval or value.

What carbon does otherwise: it forgets an interval as soon as it is old, so that a later point begins it anew and its
figure, made of the late part alone, replaces the good one.  Here an old interval is kept for as long again after its
last point, while there is room; and when it is forgotten that is remembered, and points for it are late.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from carbonpy.aggregating.cells import Cells, keys_of
from carbonpy.aggregating.methods import COUNT, HOLD, of_all
from carbonpy.aggregating.outputs import NONE, Outputs
from carbonpy.counters import Counter, CounterGroup
from carbonpy.rules.aggregates import AggregateSpec

#: Seconds between two looks for intervals that can be forgotten.
_SWEEP = 2.0
_LATE, _EARLY, _FULL = -1, -2, -3
_REASONS = {_LATE: "aggregate_late", _EARLY: "aggregate_early", _FULL: "aggregate_full"}


class Due(NamedTuple):
    """What has to be sent: names of outputs, timestamps (int64), values (float64), equally long."""

    names: list[bytes]
    timestamps: np.ndarray
    values: np.ndarray


NOTHING = Due([], np.empty(0, np.int64), np.empty(0, np.float64))


class Aggregator:
    """Buffers of outputs.  One owner.

    `intervals` is MAX_AGGREGATION_INTERVALS, `write_back` WRITE_BACK_FREQUENCY (None or 0: with the interval).
    `max_outputs`, `max_cells` (intervals of outputs) and `max_held` (values of methods that need all) are bounds.
    """

    def __init__(
        self,
        *,
        intervals: int = 5,
        write_back: float | None = None,
        max_outputs: int = 1_000_000,
        max_cells: int = 4_000_000,
        max_held: int = 20_000_000,
    ) -> None:
        self.intervals = intervals
        self.max_outputs, self.max_cells, self.max_held = max_outputs, max_cells, max_held
        #: Points that were handed in; figures that were handed out.
        self.received, self.sent = Counter(), Counter()
        self.dropped = CounterGroup()
        #: Figures that were no numbers (infinite values of both signs) and so were not handed out.
        self.undefined = Counter()
        self.cells = Cells()
        self.outputs = Outputs(write_back)
        #: Which reading of the rules each output was last asked for in.
        self._epoch = 0
        self._epochs: list[int] = []
        self._pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        #: How many cells had been made when they were sorted by output, the cells, their outputs.
        self._sorted: tuple[int, np.ndarray, np.ndarray] | None = None
        #: The latest time that was handed in.
        self._now = 0.0
        self._soonest = math.inf
        self._next_sweep = -math.inf

    def __len__(self) -> int:
        """How many outputs have intervals."""
        return len(np.unique(self.cells.owner[self.cells.used()]))

    @property
    def buffered(self) -> int:
        """How many points the intervals that are kept are made of."""
        return int(self.cells.count[self.cells.used()].sum())

    # ---- outputs

    def buffer(self, name: bytes, spec: AggregateSpec) -> int:
        """The number of the output `name`, made when it is new; -1 when there is no room for it.

        The first spec decides.  After `rules_changed` the next one that is asked for does: when it is the same, all
        goes on as it was; otherwise what has come so far is sent, and the output begins anew.
        """
        outputs = self.outputs
        number = outputs.numbers.get(name)
        if number is None:
            if len(outputs) >= self.max_outputs:
                return NONE
            number = outputs.add(name, spec)
            self._epochs.append(self._epoch)
        elif self._epochs[number] != self._epoch:
            self._epochs[number] = self._epoch
            if outputs.specs[number] != spec:
                self._begin_anew(number, spec)
        return number

    def rules_changed(self) -> None:
        """The rules were read again: from now on outputs are asked for anew."""
        self._epoch += 1

    def _begin_anew(self, number: int, spec: AggregateSpec) -> None:
        """Send what is not sent, forget all intervals, and go on with another spec."""
        mine = self._cells_of(number)
        self._pending.append(self._figures(mine[self.cells.active[mine]]))
        self._soonest = -math.inf
        # Intervals that are not over yet take what is still to come: their last value is that of the new rule.
        old = self.cells.start[mine] < self.outputs.old_before(self.cells.owner[mine], self._now, self.intervals)
        self._forget(mine[old])
        self.cells.drop(mine[~old])
        self.outputs.recent[number] = NONE
        self.outputs.configure(number, spec)

    def _cells_of(self, number: int) -> np.ndarray:
        """The cells of one output.  When rules change that may be asked for all of them, so what was sorted is kept."""
        cells = self.cells
        if self._sorted is None or self._sorted[0] != cells.made:
            order = np.argsort(cells.owner, kind="stable")
            self._sorted = cells.made, order, cells.owner[order]
        _, order, owners = self._sorted
        begin, end = np.searchsorted(owners, np.array((number, number + 1), owners.dtype))
        mine = order[begin:end]
        return mine[cells.owner[mine] == number]

    def wake(self) -> None:
        """Look at all outputs the next time: their columns were set from outside (`carbonpy.aggregating.state`)."""
        self._soonest = -math.inf
        self._now = max(self._now, float(self.cells.touched.max(initial=0.0)))

    # ---- points

    def take(self, buffers: np.ndarray, timestamps: np.ndarray, values: np.ndarray, now: float) -> None:
        """Points in the order in which they came: numbers of outputs (int), timestamps (uint32), values (float64)."""
        self.received.add(len(buffers))
        if now < self._now:
            self._set_back(self._now - now)
        self._now = now
        if len(buffers) and buffers.min() < 0:
            wanted = buffers >= 0
            self.dropped.add("aggregate_full", int(len(buffers) - wanted.sum()))
            buffers, timestamps, values = buffers[wanted], timestamps[wanted], values[wanted]
        if not len(buffers):
            return
        times = timestamps.astype(np.uint32, copy=False)
        starts = (times - times % self.outputs.step[buffers]).astype(np.int64)
        cells = self.outputs.recent_cell[buffers]
        other = np.flatnonzero(self.outputs.recent[buffers] != starts)
        if len(other):
            cells[other] = self._look_up(buffers[other], starts[other], now)
            if cells.min() < 0:
                for verdict, reason in _REASONS.items():
                    self.dropped.add(reason, int((cells == verdict).sum()))
                good = cells >= 0
                buffers, times, values, cells = buffers[good], times[good], values[good], cells[good]
                if not len(cells):
                    return
        kept = self.outputs.keeping[buffers]
        held = np.flatnonzero(kept == HOLD)
        if len(held) > self.max_held - self.cells.held_values:
            good = np.ones(len(kept), bool)
            good[held[max(self.max_held - self.cells.held_values, 0) :]] = False
            self.dropped.add("aggregate_full", int(len(good) - good.sum()))
            buffers, times, values, cells, kept = (c[good] for c in (buffers, times, values, cells, kept))
            if not len(cells):
                return
        self.cells.touched[cells] = now
        self.cells.take(cells, kept, times, values)
        ticks = self.outputs.next_tick[buffers]
        if math.isinf(ticks.max()):
            asleep = buffers[np.isinf(ticks) & ~self.outputs.window[buffers]]
            self.outputs.next_tick[asleep] = now + self.outputs.period[asleep]
            self._soonest = min(self._soonest, float(self.outputs.next_tick[asleep].min(initial=math.inf)))

    def _look_up(self, buffers: np.ndarray, starts: np.ndarray, now: float) -> np.ndarray:
        """The cells of intervals that are not the recent ones; verdicts below 0 where there is and will be none."""
        keys = keys_of(buffers, starts)
        cells = list(map(self.cells.index.get, keys.tolist()))
        if None in cells:
            missing = np.array([cell is None for cell in cells])
            found = np.array([-1 if cell is None else cell for cell in cells], np.int64)
            new, which = np.unique(keys[missing], return_inverse=True)
            found[missing] = self._open(new, now)[which]
        else:
            found = np.array(cells, np.int64)
        newer = np.flatnonzero((starts > self.outputs.recent[buffers]) & (found >= 0))
        if len(newer):
            # Of several intervals of one output the newest is to stay, so it is assigned last.
            newer = newer[np.argsort(starts[newer], kind="stable")]
            self.outputs.recent[buffers[newer]] = starts[newer]
            self.outputs.recent_cell[buffers[newer]] = found[newer]
        return found

    def _open(self, keys: np.ndarray, now: float) -> np.ndarray:
        """New intervals of outputs, by their keys: the cells, or verdicts why there are none."""
        outputs = self.outputs
        buffers, starts = keys >> 32, keys & 0xFFFFFFFF
        window = outputs.window[buffers]
        expire = outputs.expire[buffers]
        verdicts = np.zeros(len(keys), np.int64)
        verdicts[~window & outputs.were_forgotten(buffers, starts)] = _LATE
        verdicts[window & (starts + expire + 1 <= now)] = _LATE
        verdicts[window & (starts > now + expire + 2 * outputs.step[buffers].astype(np.int64))] = _EARLY
        good = np.flatnonzero(verdicts == 0)
        room = max(self.max_cells - len(self.cells), 0)
        verdicts[good[room:]] = _FULL
        good = good[:room]
        verdicts[good] = self.cells.make(keys[good], outputs.keeping[buffers[good]], now)
        good = good[window[good]]
        if len(good):
            ends = (starts[good] + expire[good] + 1).astype(np.float64)
            np.minimum.at(outputs.next_tick, buffers[good], ends)
            self._soonest = min(self._soonest, float(ends.min()))
        return verdicts

    # ---- figures

    def due(self, now: float) -> Due:
        """What has to be sent now.  To be asked a few times a second."""
        parts = self._pending
        self._pending = []
        self._sorted = None
        if now < self._now:
            self._set_back(self._now - now)
        self._now = now
        if now >= self._soonest:
            parts.append(self._tick(now))
        if now >= self._next_sweep:
            self._sweep(now)
            self._next_sweep = now + _SWEEP
        return self._handed_out(parts)

    def _set_back(self, seconds: float) -> None:
        """The clock was set back: what was to happen so long from now happens so long from now."""
        outputs, size = self.outputs, len(self.outputs)
        outputs.next_tick[:size][~outputs.window[:size]] -= seconds
        self.cells.touched -= seconds
        self._next_sweep -= seconds
        self._soonest = -math.inf

    def flush(self) -> Due:
        """Everything that was not sent since its last point, whether or not it is due: for a stop without a state."""
        parts = self._pending
        self._pending = []
        cells = self.cells.used()
        cells = cells[self.cells.active[cells]]
        parts.append(self._figures(cells))
        self.cells.active[cells] = False
        self._forget(cells[self.outputs.window[self.cells.owner[cells]]])
        return self._handed_out(parts)

    def _handed_out(self, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Due:
        parts = [part for part in parts if len(part[0])]
        if not parts:
            return NOTHING
        owners, timestamps, values = (np.concatenate(columns) for columns in zip(*parts))
        self.sent.add(len(owners))
        names = self.outputs.names
        return Due([names[owner] for owner in owners.tolist()], timestamps, values)

    def _tick(self, now: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cells, size = self.cells, len(self.outputs.names)
        # One place more, so that the owner -1 of a free cell leads to a False.
        ticking = np.zeros(size + 1, bool)
        ticking[:size] = self.outputs.next_tick[:size] <= now
        mine = np.flatnonzero(ticking[cells.owner])
        owners = cells.owner[mine]
        window = self.outputs.window[owners]
        carbons, windows = mine[~window], mine[window]
        over = cells.start[windows] + self.outputs.expire[cells.owner[windows]] + 1 <= now
        sent = np.concatenate((carbons[cells.active[carbons]], windows[over & cells.active[windows]]))
        figures = self._figures(sent)
        cells.active[sent] = False

        outputs = np.flatnonzero(ticking)
        regular, single = outputs[~self.outputs.window[outputs]], outputs[self.outputs.window[outputs]]
        if len(regular):
            period = self.outputs.period[regular]
            self.outputs.next_tick[regular] += period * np.floor((now - self.outputs.next_tick[regular]) / period + 1)
            young = np.zeros(size, bool)
            young[
                cells.owner[
                    carbons[cells.start[carbons] >= self.outputs.old_before(cells.owner[carbons], now, self.intervals)]
                ]
            ] = True
            self.outputs.next_tick[regular[~young[regular]]] = math.inf
        if len(single):
            rest = windows[~over]
            owners = cells.owner[rest]
            self.outputs.next_tick[single] = math.inf
            np.minimum.at(
                self.outputs.next_tick, owners, (cells.start[rest] + self.outputs.expire[owners] + 1).astype(np.float64)
            )
            self._forget(windows[over])
        self._soonest = float(self.outputs.next_tick[:size].min(initial=math.inf))
        return figures

    def _sweep(self, now: float) -> None:
        """Forget what is old and was sent and did not change for a while, or at once when room is short."""
        cells, outputs = self.cells, self.outputs
        mine = np.flatnonzero((cells.owner >= 0) & ~cells.active)
        mine = mine[~outputs.window[cells.owner[mine]]]
        owners = cells.owner[mine]
        old = cells.start[mine] < outputs.old_before(owners, now, self.intervals)
        if len(cells) <= self.max_cells * 0.75 and cells.held_values <= self.max_held * 0.75:
            # Not before carbon does, which is at the first tick at which it is old.
            step = outputs.step[owners].astype(np.float64)
            old &= cells.start[mine] + (self.intervals + 2) * step < now
            old &= cells.touched[mine] + (self.intervals + 1) * step < now
        self._forget(mine[old])

    def _forget(self, gone: np.ndarray) -> None:
        """Drop cells, and remember that their intervals were sent."""
        if len(gone):
            cells = self.cells
            gone = gone[np.lexsort((cells.start[gone], cells.owner[gone]))]
            self.outputs.forget(cells.owner[gone], cells.start[gone])
            cells.drop(gone)

    def _figures(self, mine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(outputs, timestamps, values) of cells with values, by output and time; what is no number is left out."""
        cells = self.cells
        mine = mine[np.lexsort((cells.start[mine], cells.owner[mine]))]
        owners = cells.owner[mine]
        values = cells.figure[mine]
        kept = self.outputs.keeping[owners]
        average = self.outputs.average[owners]
        if average.any():
            values[average] /= cells.count[mine[average]]
        counted = kept == COUNT
        values[counted] = cells.count[mine[counted]]
        for place in np.flatnonzero(kept == HOLD).tolist():
            values[place] = of_all(self.outputs.specs[owners[place]], cells.held(int(mine[place])))
        timestamps = cells.start[mine] + self.outputs.shift[owners]
        good = ~np.isnan(values)
        if good.all():
            return owners, timestamps, values
        self.undefined.add(int(len(good) - good.sum()))
        return owners[good], timestamps[good], values[good]
