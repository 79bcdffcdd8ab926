"""The intake: what receivers gathered becomes batches of accepted datapoints, and counts.

The law.  Every datapoint that comes in is either part of a batch that `accept` was called with, or
counted in `dropped` under one reason:

    malformed       a line or pickled item that is not a datapoint
    blacklisted, not_whitelisted, invalid_name, too_many_names, not_forwarded   (see `names`)
    nan             a value that is not a number
    timestamp       a time outside [0, 2**32), or further ahead than MAX_FUTURE
    cache_full      only for senders that cannot be paused (UDP) or with flow control off

`received` is their sum.  A bad line costs itself; its neighbours and its connection live on.

With a `feed`, all points but the refused ones are also shown to it, after they were accepted, with the names under
which they came: those in batches, and those that are ``not_forwarded``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from carbonpy.clock import Clock
from carbonpy.counters import Counter, CounterGroup
from carbonpy.errors import WireError
from carbonpy.ingest.names import FIRST_ID, NOT_FORWARDED, VERDICTS, NameTable
from carbonpy.wire import line

#: A batch: ids (uint32), timestamps (uint32), values (float64), equally long.
Accept = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
#: The same, and the lines of exactly these points as they came in, None when they came in otherwise.
AcceptLines = Callable[[np.ndarray, np.ndarray, np.ndarray, "bytes | None"], None]
#: Sees raw names, which of the points are good, timestamps (uint32) and values (float64), equally long.
Feed = Callable[[Sequence[bytes], np.ndarray, np.ndarray, np.ndarray], None]
#: Hears of a refused line or item: (sender, what was sent, why).
Complain = Callable[[str, bytes, str], None]


def _say_nothing(sender: str, what: bytes, why: str) -> None:
    pass


class Intake:
    """From gathered bytes to accepted batches.  Reactor thread only."""

    def __init__(
        self,
        names: NameTable,
        accept: Accept,
        clock: Clock,
        *,
        resolution: int = 1,
        max_future: float = 0,
        complain: Complain = _say_nothing,
        full: Callable[[], bool] = lambda: False,
        flow_control: bool = True,
    ) -> None:
        self._names = names
        self._accept = accept
        self._clock = clock
        self.resolution = resolution
        self.max_future = max_future
        self._complain = complain
        self._full = full
        self.flow_control = flow_control
        #: Called in place of `accept` when it is set: for whoever sends lines on.
        self.accept_lines: AcceptLines | None = None
        #: Set by whoever makes aggregates of what comes in.
        self.feed: Feed | None = None
        self.received = Counter()
        #: Datapoints that were accepted, by all ways in.
        self.accepted = Counter()
        self.dropped = CounterGroup()

    def lines(self, texts: Sequence[tuple[bytes, str]], droppable: bool = False) -> None:
        """Texts of whole lines with their senders, from any number of connections.

        `droppable`: these points may be refused, as ``cache_full``, by the owner of a full cache.
        """
        text = texts[0][0] if len(texts) == 1 else b"".join([text for text, _ in texts])
        points = line.parse(text)
        if points is not None:
            self.points(*points, droppable=droppable, text=text)
            return
        for text, sender in texts:
            points = line.parse(text) if len(texts) > 1 else None
            if points is not None:
                self.points(*points, droppable=droppable, text=text)
            else:
                self._line_by_line(text, sender, droppable)

    def _line_by_line(self, text: bytes, sender: str, droppable: bool) -> None:
        names: list[bytes] = []
        timestamps: list[float] = []
        values: list[float] = []
        for one in text.split(b"\n"):
            try:
                point = line.parse_line(one)
            except WireError as error:
                self.refuse("malformed", sender, one, str(error))
                continue
            if point is not None:
                names.append(point[0])
                timestamps.append(point[1])
                values.append(point[2])
        if names:
            self.points(names, np.array(timestamps, np.float64), np.array(values, np.float64), droppable=droppable)

    def refuse(self, reason: str, sender: str, what: bytes, why: str, count: int = 1) -> None:
        """Count `count` datapoints that will never be accepted, and say why."""
        self.received.add(count)
        self.dropped.add(reason, count)
        self._complain(sender, what, why)

    def points(
        self,
        names: Sequence[bytes],
        timestamps: np.ndarray,
        values: np.ndarray,
        *,
        droppable: bool = False,
        text: bytes | None = None,
    ) -> None:
        """Datapoints in parallel columns; timestamps int64 or float64, -1 (any in (-2, -1]) means now.

        text: the lines that they were read from, if that is what they were.
        """
        count = len(names)
        if not count:
            return
        self.received.add(count)
        if (droppable or not self.flow_control) and self._full():
            self.dropped.add("cache_full", count)
            return
        ids: list[int | None] = list(map(self._names.ids.get, names))
        if None in ids:
            new = iter(self._names.intern_all([name for name, known_id in zip(names, ids) if known_id is None]))
            ids = [next(new) if known_id is None else known_id for known_id in ids]
        numbers = np.array(ids, np.uint32)
        self._take(numbers, timestamps, values, text)
        if self.feed is not None:
            good = ((numbers >= FIRST_ID) | (numbers == NOT_FORWARDED)) & ~np.isnan(values)
            times, wrong = self._settle(timestamps)
            self.feed(names, good if wrong is None else good & ~wrong, times.astype(np.uint32), values)

    def generated(self, names: Sequence[bytes], timestamps: np.ndarray, values: np.ndarray) -> None:
        """Datapoints from within, of metrics by their own names (`NameTable.identify`); nothing is made of them."""
        if len(names):
            self.received.add(len(names))
            self._take(np.array([self._names.identify(name) for name in names], np.uint32), timestamps, values)

    def _take(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray, text: bytes | None = None) -> None:
        columns = self._judge(ids, timestamps, values)
        if len(columns[0]):
            self.accepted.add(len(columns[0]))
            if self.accept_lines is None:
                self._accept(*columns)
            else:
                # A line says what the columns say unless a time was changed or a neighbour refused.
                as_it_came = text is not None and len(columns[0]) == len(ids) and timestamps.dtype == np.int64
                if as_it_came and (columns[1] != timestamps).any():
                    as_it_came = False
                self.accept_lines(*columns, text if as_it_came else None)

    def _judge(
        self, ids: np.ndarray, times: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if ids.min() < FIRST_ID:
            refused = ids < FIRST_ID
            for verdict, many in enumerate(np.bincount(ids[refused]).tolist()):
                self.dropped.add(VERDICTS[verdict], many)
            ids, times, values = ids[~refused], times[~refused], values[~refused]
        nan = np.isnan(values)
        if nan.any():
            self.dropped.add("nan", int(nan.sum()))
            ids, times, values = ids[~nan], times[~nan], values[~nan]
        if not len(ids):
            return ids, times, values
        times, wrong = self._settle(times)
        if wrong is not None and wrong.any():
            self.dropped.add("timestamp", int(wrong.sum()))
            ids, times, values = ids[~wrong], times[~wrong], values[~wrong]
        return ids, times.astype(np.uint32), values

    def _settle(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Timestamps as int64 with the resolution in force, -1 as now; and which are out of bounds, if any may be."""
        now = self._clock()
        if times.dtype != np.int64:
            with np.errstate(invalid="ignore"):
                usable = np.abs(times) < 2**62
                times = np.where(usable, np.trunc(times), -9.0).astype(np.int64)
        latest = 2**32 - 1 if self.max_future <= 0 else int(min(2**32 - 1, now + self.max_future))
        wrong = None
        if times.min() < 0 or times.max() > latest:
            times = np.where(times == -1, int(now), times)
            wrong = (times < 0) | (times > latest)
        if self.resolution > 1:
            times = times - times % self.resolution
        return times, wrong
