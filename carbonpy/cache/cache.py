"""The cache: a tail of batches, sorted runs, and what is lent to the writers.

The law.

* A point is readable from `append` until the loan that carries it is confirmed: `peek` sees the
  tail, the runs that wait and the runs on loan.
* A loan ends in exactly one way: `confirm` (what was written goes, what has to wait comes back as a
  waiting run) or `give_back` (everything comes back, in its old place).
* `cached` counts the points that are in the cache; whatever leaves it is returned by `append`,
  `seal` and `confirm` as numbers, so that the owner's ledger balances.
* The journal segments of a run are forgotten when no run refers to them any more, in an order in
  which a crash at any moment leaves no older value without the newer one that was written over it.
* Waiting points are older than all others of their metric, and a loan has all of a metric's waiting
  points or none.

Metrics are divided into `shares`, one per writer: share = id mod shares.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from carbonpy.cache.journal import Journal, Segment
from carbonpy.cache.run import Run, among, partition
from carbonpy.columns import EMPTY, Columns, concatenate, distinct, merge, without

#: A tail of this many points is sealed: sorting it takes a few milliseconds, so the reactor never pauses long.
SEAL_POINTS = 65536
#: So many runs of waiting points are merged into one.
_MOST_WAITING_RUNS = 8
#: Fewer metrics than this are peeked at one by one.
_FEW = 4


class Loan:
    """Points of one share on loan to a writer.  `columns` are sorted runs one behind the other, in order of arrival."""

    def __init__(self, share: int, runs: list[Run], held: np.ndarray = EMPTY[0]) -> None:
        self.share = share
        self.runs = runs
        #: Ids of which older points wait outside this loan: their files may not be made now, or the
        #: older points would be written after, and over, the newer ones.
        self.held = held
        self.points = sum(len(run.ids) for run in runs)

    @property
    def columns(self) -> Columns:
        """All points of the loan, not merged."""
        return concatenate([run.columns for run in self.runs])


class Cache:
    """The write-back cache.  `peek` is safe from any thread; everything else belongs to one thread (the reactor's)."""

    def __init__(
        self,
        *,
        shares: int = 1,
        journal: Journal | None = None,
        new_names: Callable[[int], tuple[int, list[bytes]]] = lambda first: (first, []),
        on_replaced: Callable[[int], None] = lambda points: None,
    ) -> None:
        self._lock = threading.Lock()
        self._journal = journal
        self._new_names = new_names
        self._on_replaced = on_replaced
        self._shares = shares
        self._tail: list[Columns] = []
        self._tail_points = 0
        self._tail_segments: set[int] = set()
        self._runs: list[list[Run]] = [[] for _ in range(shares)]
        self._loans: list[Loan | None] = [None] * shares
        #: Of the metrics with waiting points, by share: those whose files have to be made, sorted; and the
        #: id after the last one that had its turn.
        self._missing: list[np.ndarray] = [EMPTY[0]] * shares
        self._turn = [0] * shares
        self._references: dict[int, int] = {}
        #: Segments without a holder that stay until the older ones may go.
        self._free: set[int] = set()
        #: Points in the cache.  Safe to read from any thread.
        self.cached = 0

    # ---- coming in

    def append(self, ids: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Take a batch: to the journal, then to the tail."""
        if not len(ids):
            return
        columns = (ids, timestamps, values)
        if self._journal is not None:
            self._journal.append(columns, self._new_names)
        self._take(columns)

    def _take(self, columns: Columns) -> None:
        count = len(columns[0])
        with self._lock:
            self._tail.append(columns)
            self._tail_points += count
            self.cached += count
        if self._tail_points >= SEAL_POINTS:
            self.seal()

    def replay(
        self, journal: Journal, segment: Segment, intern: Callable[[bytes], int], first_id: int
    ) -> dict[int, int]:
        """Take the points of a segment that an earlier life left; {verdict or first_id: points}.

        Points whose name has a verdict below `first_id` are not taken.  The points stay in their old
        segment; nothing is journalled again.
        """
        self.seal()
        counts: dict[int, int] = {}
        for number, (ids, timestamps, values) in journal.replay(segment, intern):
            known = ids >= first_id
            for verdict in distinct(ids[~known]).tolist():
                counts[verdict] = counts.get(verdict, 0) + int((ids == verdict).sum())
            taken = int(known.sum())
            counts[first_id] = counts.get(first_id, 0) + taken
            self._tail_segments.add(number)
            if not taken:
                continue
            with self._lock:
                self._tail.append((ids[known], timestamps[known], values[known]))
                self._tail_points += taken
                self.cached += taken
            if self._tail_points >= 4 * SEAL_POINTS:
                self.seal()
                self._tail_segments.add(number)
        self.seal()
        return counts

    def seal(self) -> None:
        """Sort the tail into one run per share.  Points that a later one replaced leave the cache."""
        segments = self._tail_segments
        self._tail_segments = set()
        if self._journal is not None and (number := self._journal.rotate()):
            segments.add(number)
        if not self._tail_points:
            self._release(segments, ())
            return
        columns = merge(self._tail)
        runs = self._divide(columns, frozenset(segments))
        replaced = self._tail_points - len(columns[0])
        self._release(segments, [run for _, run in runs])
        with self._lock:
            for share, run in runs:
                self._runs[share].append(run)
            self._tail = []
            self._tail_points = 0
            self.cached -= replaced
        if replaced:
            self._on_replaced(replaced)

    def _divide(self, columns: Columns, segments: frozenset[int]) -> list[tuple[int, Run]]:
        if self._shares == 1:
            return [(0, Run(*columns, segments))]
        ids, timestamps, values = columns
        share_of = ids % self._shares
        runs = []
        for share in range(self._shares):
            mine = share_of == share
            if mine.any():
                runs.append((share, Run(ids[mine], timestamps[mine], values[mine], segments)))
        return runs

    def _release(self, numbers: Iterable[int], runs: Iterable[Run]) -> None:
        """Count new `runs` as holders of their segments; forget those of `numbers` that nobody holds."""
        for run in runs:
            for number in run.segments:
                self._references[number] = self._references.get(number, 0) + 1
        self._free |= {number for number in numbers if not self._references.get(number)}
        if not self._free or self._journal is None:
            return
        # If a segment went before an older one, a crash would bring older values back and not the newer.
        held = [run for run in self._all_runs() if run.segments and not run.waiting]
        oldest = min((min(run.segments) for run in held), default=float("inf"))
        free = {number for number in self._free if number < oldest}
        self._free -= free
        for number in free:
            self._references.pop(number, None)
        self._journal.forget(free)

    def _all_runs(self) -> list[Run]:
        lent = [run for loan in self._loans if loan is not None for run in loan.runs]
        return [run for runs in self._runs for run in runs] + lent

    def _drop(self, runs: Iterable[Run], kept: Iterable[Run]) -> None:
        """`runs` are gone, `kept` took their place: count the segments' holders anew."""
        kept = list(kept)
        self._release((), kept)
        numbers: set[int] = set()
        for run in runs:
            for number in run.segments:
                self._references[number] -= 1
                numbers.add(number)
        self._release(numbers, ())

    # ---- going out

    def lend(self, share: int, *, creates: float = float("inf")) -> Loan | None:
        """Lend the sealed runs of a share to its writer; None if there is nothing to write or a loan is out.

        Of the metrics that wait for their file go at most `creates`, in turn.  All runs that do not wait go: were one
        of two with the same metric to stay, its points could be older in the journal than those that come back.
        """
        self.seal()
        if self._loans[share] is not None:
            return None
        self._merge_waiting(share)
        waiting, fresh = partition(self._runs[share])
        chosen, left = self._split_waiting(waiting, share, creates)
        held = distinct(np.concatenate([run.ids for run in left])) if left else EMPTY[0]
        chosen += fresh
        if not chosen:
            return None
        loan = Loan(share, chosen, held)
        with self._lock:
            self._loans[share] = loan
            self._runs[share] = left
        return loan

    def _split_waiting(self, waiting: list[Run], share: int, creates: float) -> tuple[list[Run], list[Run]]:
        """(runs to lend, runs to keep): metrics without a file beyond the first `creates` stay."""
        missing = self._missing[share]
        if len(missing) <= creates or not waiting:
            return waiting, []
        start = int(missing.searchsorted(self._turn[share]))
        turn = np.roll(missing, -start)[: int(creates)]
        if len(turn):
            self._turn[share] = int(turn[-1]) + 1
        stays = without(missing, turn)
        chosen, left = [], []
        for run in waiting:
            mask = np.isin(run.ids, stays)
            if mask.all():
                left.append(run)
            elif not mask.any():
                chosen.append(run)
            else:
                chosen.append(run.where(~mask))
                left.append(run.where(mask))
                self._release((), left[-1:])
        return chosen, left

    def _merge_waiting(self, share: int) -> None:
        """Merge many runs of waiting points into one, in a segment of its own, so that old segments can go."""
        waiting = [run for run in self._runs[share] if run.waiting]
        if len(waiting) <= _MOST_WAITING_RUNS:
            return
        columns = merge([run.columns for run in waiting])
        merged = self._rewritten(columns, frozenset().union(*(run.segments for run in waiting)))
        replaced = sum(len(run.ids) for run in waiting) - len(columns[0])
        with self._lock:
            self._runs[share] = [merged, *(run for run in self._runs[share] if not run.waiting)]
            self.cached -= replaced
        self._drop(waiting, [merged])
        if replaced:
            self._on_replaced(replaced)

    def _rewritten(self, columns: Columns, segments: frozenset[int]) -> Run:
        """A waiting run in a segment of its own; in its old ones if the journal cannot be written just now."""
        if self._journal is not None and segments:
            number = self._journal.rewrite(columns, self._new_names, max(segments))
            segments = frozenset({number}) if number else segments
        return Run(*columns, segments, True)

    def confirm(self, loan: Loan, deferred: np.ndarray, missing: np.ndarray | None = None) -> int:
        """The loan is written, except the metrics in `deferred` (uint32 ids): their points wait.

        `missing`: those of them whose files have to be made (None: all).  How many points left the
        cache.
        """
        share = loan.share
        waiting, fresh = partition(loan.runs)
        kept = [part for run in waiting if len((part := run.only(deferred)).ids)] if len(deferred) else []
        parts = [part for run in fresh if len((part := run.only(deferred)).ids)] if len(deferred) else []
        replaced = 0
        newly: list[Run] = []
        if parts:
            columns = merge([part.columns for part in parts])
            replaced = sum(len(part.ids) for part in parts) - len(columns[0])
            newly.append(self._rewritten(columns, frozenset().union(*(part.segments for part in parts))))
        left = loan.points - replaced - sum(len(run.ids) for run in kept + newly)
        self._strike(waiting, kept, deferred)
        done = distinct(np.concatenate([run.ids for run in waiting])) if waiting else EMPTY[0]
        with self._lock:
            older, rest = partition(self._runs[share])
            self._loans[share] = None
            self._runs[share] = kept + older + newly + rest
            self._missing[share] = distinct(
                np.concatenate((without(self._missing[share], done), deferred if missing is None else missing))
            )
            self.cached -= left + replaced
        self._drop(loan.runs, kept + newly)
        if replaced:
            self._on_replaced(replaced)
        return left

    def _strike(self, lent: list[Run], kept: list[Run], deferred: np.ndarray) -> None:
        """Tell the journal which waiting points were written, where their segments stay for other points.

        Otherwise a crash much later would write them again over what came after them.
        """
        if self._journal is None:
            return
        staying = {number for run in kept for number in run.segments}
        for run in lent:
            for number in run.segments:
                if number in staying or self._references[number] > 1:
                    self._journal.strike(number, without(run.ids, deferred))

    def give_back(self, loan: Loan) -> None:
        """The writer died: everything of the loan is as if it had never been lent."""
        with self._lock:
            self._loans[loan.share] = None
            self._runs[loan.share] = loan.runs + self._runs[loan.share]

    def extract(self, identities: Sequence[int], metrics: Collection[bytes]) -> tuple[Columns, int]:
        """Take all points of some metrics out, with none of their shares on loan; `metrics` are their names.

        (the points, sorted, the last value of each; how many points left the cache).  The journal forgets them, too.
        """
        self.seal()
        wanted = np.unique(np.array(identities, np.uint32))
        taken: list[Columns] = []
        gone: list[Run] = []
        left: list[Run] = []
        for share in np.unique(wanted % self._shares).tolist():
            assert self._loans[share] is None, "its writer has points of the share on loan"
            runs: list[Run] = []
            for run in [run for part in partition(self._runs[share]) for run in part]:
                mask = np.isin(run.ids, wanted)
                if not mask.any():
                    runs.append(run)
                    continue
                taken.append(run.where(mask).columns)
                gone.append(run)
                if not mask.all():
                    runs.append(run.where(~mask))
                    left.append(runs[-1])
            with self._lock:
                self._runs[share] = runs
                self._missing[share] = np.setdiff1d(self._missing[share], wanted)
        points = sum(len(columns[0]) for columns in taken)
        with self._lock:
            self.cached -= points
        if self._journal is not None:
            self._journal.erase(frozenset().union(*(run.segments for run in gone)), wanted, metrics)
        self._drop(gone, left)
        return merge(taken) if taken else EMPTY, points

    # ---- looking

    def peek(self, identity: int) -> tuple[np.ndarray, np.ndarray]:
        """(timestamps, values) of a metric's points, sorted by time, the last value of each.  Safe from any thread."""
        share = identity % self._shares
        with self._lock:
            tail = list(self._tail)
            loan = self._loans[share]
            waiting, fresh = partition((loan.runs if loan is not None else []) + self._runs[share])
        parts = [part for run in waiting + fresh if len((part := run.of(identity))[0])]
        for ids, timestamps, values in tail:
            at = np.flatnonzero(ids == identity)
            if len(at):
                parts.append((timestamps[at], values[at]))
        if not parts:
            return EMPTY[1], EMPTY[2]
        timestamps = np.concatenate([part[0] for part in parts])
        values = np.concatenate([part[1] for part in parts])
        if len(timestamps) > 1 and not (timestamps[1:] > timestamps[:-1]).all():
            order = np.argsort(timestamps, kind="stable")
            timestamps, values = timestamps[order], values[order]
            keep = np.append(timestamps[1:] != timestamps[:-1], True)
            timestamps, values = timestamps[keep], values[keep]
        return timestamps, values

    def peek_many(self, identities: Iterable[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """`peek` for many metrics at once, in a few passes over the points.  Safe from any thread."""
        wanted = distinct(np.fromiter(identities, np.int64)).astype(np.uint32)
        if len(wanted) < _FEW:
            return {identity: self.peek(identity) for identity in wanted.tolist()}
        with self._lock:
            tail = list(self._tail)
            runs = [
                partition((loan.runs if loan is not None else []) + runs) for loan, runs in zip(self._loans, self._runs)
            ]
        parts = [run.of_many(wanted) for waiting, fresh in runs for run in waiting + fresh]
        ids, timestamps, values = merge([*parts, *(among(columns, wanted) for columns in tail)])
        starts, ends = ids.searchsorted(wanted, "left").tolist(), ids.searchsorted(wanted, "right").tolist()
        return {
            identity: (timestamps[start:end], values[start:end])
            for identity, start, end in zip(wanted.tolist(), starts, ends)
        }

    def waiting(self) -> int:
        """How many points wait for their file to be made or mended."""
        with self._lock:
            return sum(len(run.ids) for runs in self._runs for run in runs if run.waiting)

    @property
    def missing(self) -> int:
        """How many metrics have points that wait for their file to be made."""
        return sum(len(ids) for ids in self._missing)

    def metrics(self) -> int:
        """How many metrics have points in the cache (a figure for people, counted when asked)."""
        with self._lock:
            columns = [run.ids for runs in self._runs for run in runs]
            columns += [run.ids for loan in self._loans if loan is not None for run in loan.runs]
            columns += [ids for ids, _, _ in self._tail]
        if not columns:
            return 0
        seen = np.zeros(1 + max(int(ids.max()) for ids in columns if len(ids)), bool)
        for ids in columns:
            seen[ids] = True
        return int(np.count_nonzero(seen))

    @property
    def lent(self) -> int:
        """How many points are on loan."""
        return sum(loan.points for loan in self._loans if loan is not None)
