"""Plans in columns: where the points of a batch go, looked up by the ids of their names.

The law: what `deal` hands out is what the plan of each name says, each datapoint once for every way of its plan; what
no way takes is counted by reason.  A name is planned when it is first met and again when the router changes; a
datapoint costs a look-up in a column.

Most names have a plain plan: they are sent under their own name, all along one route.  Their lines can go out as they
came in.  A plan that renames, checks values, or sends under several names is a special one, done name by name.  What
aggregates take is in a column of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from carbonpy.counters import Counter, CounterGroup
from carbonpy.relaying.chunk import Chunk
from carbonpy.relaying.plan import Check, Choice, Feed, Plan, Target

#: The reason of a name that only feeds aggregates, which is no reason to count its points as dropped.
AGGREGATED = "aggregated"
#: No output, in a row of outputs.
_PAD = -2
#: With so many routes in a batch or fewer, lines are picked route by route; with more they are sorted first.
_FEW_ROUTES = 6


class Way(NamedTuple):
    """Points that go the same way: the chunk, and who gets it."""

    chunk: Chunk
    targets: tuple[Target, ...]


class _Special(NamedTuple):
    """A plan that is not plain: (as what, to whom) pairs, what aggregates take if there are checks, and the checks."""

    sendings: tuple[tuple[bytes, tuple[Target, ...]], ...]
    feeds: tuple[int, ...]
    checks: tuple[Check, ...]


def _way(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """One spelling for the same set of destinations, so that the lines of all of them are picked once."""
    plain = sorted({target for target in targets if isinstance(target, int)})
    return (*plain, *(target for target in dict.fromkeys(targets) if isinstance(target, Choice)))


class Plans:
    """The plans of all names by id.  One owner.

    plan_of: name -> Plan.  metrics: ids -> names.  clock: the time of day, for `Chunk.born`.  buffer: the number of the
    output of an aggregate.  feed: takes (numbers of outputs, timestamps, values) of points for aggregates.
    on_invalid: gets name and ``value timestamp`` of what fails a check that wants to be logged.
    """

    def __init__(
        self,
        plan_of: Callable[[bytes], Plan],
        metrics: Callable[[list[int]], list[bytes]],
        clock: Callable[[], float],
        *,
        buffer: Callable[[Feed], int],
        feed: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
        on_invalid: Callable[[bytes, bytes], None] = lambda name, text: None,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._buffer = buffer
        self._feed = feed
        self._on_invalid = on_invalid
        #: Points that are sent on, that only an aggregate took, and that nobody takes, by reason.
        self.relayed = Counter()
        self.aggregated = Counter()
        self.dropped = CounterGroup()
        self._begin(plan_of)

    def _begin(self, plan_of: Callable[[bytes], Plan]) -> None:
        self._plan_of = plan_of
        self._routes: list[tuple[Target, ...]] = []
        self._reasons: list[str] = []
        self._numbers: dict[tuple[tuple[Target, ...], str], int] = {}
        self._specials: list[_Special] = []
        #: By id: the number of a route, or -1 - the number of a special plan.
        self._column = np.zeros(1024, np.int32)
        #: By id: the row of `_outputs` with the outputs that take the points; row 0 has none.
        self._feeds = np.zeros(1024, np.int32)
        self._outputs = np.full((1, 1), _PAD, np.int64)
        self._rows: dict[tuple[int, ...], int] = {(): 0}

    def use(self, plan_of: Callable[[bytes], Plan], names: Sequence[tuple[int, bytes]]) -> int:
        """Take another router and plan all `names` (id, name) anew; how many go another way than before."""
        before = [self._way_of(identity) for identity, _ in names]
        self._begin(plan_of)
        for identity, name in names:
            self._met(identity, name)
        return sum(self._way_of(identity) != way for (identity, _), way in zip(names, before))

    def _way_of(self, identity: int) -> object:
        number = int(self._column[identity])
        if number < 0:
            return self._specials[-1 - number].sendings
        return self._routes[number] if self._routes else ()

    def met(self, first: int, names: Sequence[bytes]) -> None:
        """Plan new names, which have the ids from `first` on."""
        for identity, name in enumerate(names, first):
            self._met(identity, name)

    def _met(self, identity: int, name: bytes) -> None:
        plan = self._plan_of(name)
        if identity >= len(self._column):
            more = np.zeros(max(identity + 1, len(self._column)), np.int32)
            self._column, self._feeds = np.concatenate([self._column, more]), np.concatenate([self._feeds, more])
        self._column[identity] = self._place(name, plan)
        self._feeds[identity] = 0 if plan.checks else self._row(tuple(self._buffer(feed) for feed in plan.feeds))

    def _row(self, outputs: tuple[int, ...]) -> int:
        row = self._rows.get(outputs)
        if row is None:
            row = self._rows[outputs] = len(self._rows)
            height, width = self._outputs.shape
            if row >= height or len(outputs) > width:
                table = np.full((max(row + 1, 2 * height), max(width, len(outputs))), _PAD, np.int64)
                table[:height, :width] = self._outputs
                self._outputs = table
            self._outputs[row, : len(outputs)] = outputs
        return row

    def _place(self, name: bytes, plan: Plan) -> int:
        sendings = tuple((sending.name, _way(sending.targets)) for sending in plan.sendings)
        if plan.checks:
            self._specials.append(_Special(sendings, tuple(self._buffer(feed) for feed in plan.feeds), plan.checks))
            return -len(self._specials)
        sendings = tuple(sending for sending in sendings if sending[1])
        if not sendings:
            return self._route((), plan.dropped or (AGGREGATED if plan.feeds else "no_route"))
        if len(sendings) == 1 and sendings[0][0] == name:
            return self._route(sendings[0][1], "")
        self._specials.append(_Special(sendings, (), ()))
        return -len(self._specials)

    def _route(self, targets: tuple[Target, ...], reason: str) -> int:
        key = targets, reason
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._routes)
            self._routes.append(targets)
            self._reasons.append(reason)
        return number

    # ---- a batch

    def deal(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray, text: bytes | None = None) -> list[Way]:
        """The ways of a batch.  text: the same points as lines, in the same order, if they may go out as they came."""
        born = self._clock()
        routes = self._column[ids]
        feeds = self._feeds[ids]
        if feeds.any():
            self._deal_feeds(feeds, timestamps, values)
        ways: list[Way] = []
        lowest = int(routes.min())
        if lowest == int(routes.max()) and lowest >= 0:
            self._send(ways, lowest, born, ids, timestamps, values, text)
            return ways
        if lowest < 0:
            special = routes < 0
            self._deal_specials(ways, born, routes[special], ids[special], timestamps[special], values[special])
            if special.all():
                return ways
            plain = ~special
            if text is not None:
                text = b"\n".join(compress(text.split(b"\n"), plain.tolist())) + b"\n"
            ids, timestamps, values, routes = ids[plain], timestamps[plain], values[plain], routes[plain]
        lines = text.split(b"\n") if text is not None else None
        present = np.unique(routes)
        if len(present) <= _FEW_ROUTES:
            for route in present.tolist():
                mine = routes == route
                picked = None
                if lines is not None:
                    picked = b"\n".join(compress(lines, mine.tolist())) + b"\n"
                self._send(ways, route, born, ids[mine], timestamps[mine], values[mine], picked)
            return ways
        order = np.argsort(routes, kind="stable")
        ids, timestamps, values = ids[order], timestamps[order], values[order]
        if lines is not None:
            lines = list(map(lines.__getitem__, order.tolist()))
        edges = np.searchsorted(routes[order], present).tolist() + [len(ids)]
        for route, start, end in zip(present.tolist(), edges, edges[1:]):
            picked = b"\n".join(lines[start:end]) + b"\n" if lines is not None else None
            self._send(ways, route, born, ids[start:end], timestamps[start:end], values[start:end], picked)
        return ways

    def _send(
        self,
        ways: list[Way],
        route: int,
        born: float,
        ids: np.ndarray,
        timestamps: np.ndarray,
        values: np.ndarray,
        text: bytes | None,
    ) -> None:
        targets = self._routes[route]
        if not targets:
            if self._reasons[route] == AGGREGATED:
                self.aggregated.add(len(ids))
            else:
                self.dropped.add(self._reasons[route], len(ids))
            return
        self.relayed.add(len(ids))
        metrics = self._metrics
        chunk = Chunk(len(ids), born, text, lambda: metrics(ids.tolist()), timestamps, values)
        ways.append(Way(chunk, targets))

    def _deal_specials(
        self,
        ways: list[Way],
        born: float,
        routes: np.ndarray,
        ids: np.ndarray,
        timestamps: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Gather what goes the same way under whatever names."""
        gathered: dict[tuple[Target, ...], tuple[list[bytes], list[np.ndarray]]] = {}
        order = np.argsort(routes, kind="stable")
        present, starts = np.unique(routes[order], return_index=True)
        edges = [*starts.tolist(), len(order)]
        for number, start, end in zip(present.tolist(), edges, edges[1:]):
            special = self._specials[-1 - number]
            mine = order[start:end]
            if special.checks:
                parts = self._checked(special, mine, ids, timestamps, values)
            else:
                parts = [(mine, special.sendings)]
                self.relayed.add(len(mine))
            for some, sendings in parts:
                for name, targets in sendings:
                    if targets:
                        names, places = gathered.setdefault(targets, ([], []))
                        names.extend([name] * len(some))
                        places.append(some)
        for targets, (names, places) in gathered.items():
            where = np.concatenate(places)
            ways.append(Way(Chunk(len(where), born, None, _given(names), timestamps[where], values[where]), targets))

    def _checked(
        self, special: _Special, places: np.ndarray, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray
    ) -> list[tuple[np.ndarray, tuple[tuple[bytes, tuple[Target, ...]], ...]]]:
        """(points, sendings) after the checks: those that fail one lose what it guards."""
        by_outcome: dict[tuple[int, ...], list[int]] = {}
        for place in places.tolist():
            text = b"%s %d" % (repr(float(values[place])).removesuffix(".0").encode(), timestamps[place])
            failed = tuple(number for number, check in enumerate(special.checks) if not check.matches.search(text))
            if any(special.checks[number].on_failure == "log" for number in failed):
                self._on_invalid(self._metrics([int(ids[place])])[0], text)
            by_outcome.setdefault(failed, []).append(place)
        parts = []
        for failed, some in by_outcome.items():
            no_sendings = {number for check in failed for number in special.checks[check].sendings}
            no_feeds = {number for check in failed for number in special.checks[check].feeds}
            sendings = tuple(one for number, one in enumerate(special.sendings) if number not in no_sendings and one[1])
            feeds = [output for number, output in enumerate(special.feeds) if number not in no_feeds]
            where = np.array(some, np.int64)
            for output in feeds:
                self._feed(np.full(len(where), output, np.int64), timestamps[where], values[where])
            if sendings:
                self.relayed.add(len(where))
                parts.append((where, sendings))
            elif feeds:
                self.aggregated.add(len(where))
            else:
                self.dropped.add("invalid", len(where))
        return parts

    def _deal_feeds(self, feeds: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Points to the outputs that take them."""
        places = np.flatnonzero(feeds)
        outputs = self._outputs[feeds[places]]
        for column in outputs.T:
            wanted = column != _PAD
            if wanted.any():
                where = places[wanted]
                self._feed(column[wanted], timestamps[where], values[where])


def _given(names: list[bytes]) -> Callable[[], list[bytes]]:
    return lambda: names
