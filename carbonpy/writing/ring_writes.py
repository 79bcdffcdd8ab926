"""The columnar heart of a sweep: points of many open files of one layout to positional writes.

The law: for every metric the bytes written are those that ``whisper.update_many`` would write for
the same points (see `carbonpy.whisper.file`), provided that the metric is *plain*: all its points
lie within the finest archive's retention, none lies far in the future, and they do not lap any
ring.  `plain_metrics` says which are; the others go through `carbonpy.whisper.file.write_points`.

Metrics are numbered 0..n-1 within the call; points are sorted by (metric, timestamp).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from carbonpy.columns import firsts
from carbonpy.whisper.layout import POINT, POINT_SIZE
from carbonpy.whisper.running import Running
from carbonpy.writing.table import Layout, OpenSlots

#: Seconds that a clock may run ahead before a metric's points are looked at one by one.
FUTURE_SLACK = 60
_NO_BASE = bytes(4)


def plain_metrics(layout: Layout, metric: np.ndarray, timestamps: np.ndarray, count: int, now: int) -> np.ndarray:
    """bool[count]: which metrics may take the fast way.  `timestamps` int64, sorted within each metric."""
    plain = np.ones(count, bool)
    first = firsts(metric)
    last = np.append(first[1:], len(metric)) - 1
    present = metric[first]
    oldest, newest = timestamps[first], timestamps[last]
    step = layout.steps[0]
    # A timestamp within the first step since 1970 has slot 0, which means "empty" to the format.
    good = (oldest >= now - layout.retention) & (newest <= now + FUTURE_SLACK) & (oldest >= step)
    good &= (newest - newest % step) - (oldest - oldest % step) < layout.retention
    for coarse, points in zip(layout.steps[1:], layout.points[1:]):
        good &= (newest - newest % coarse) - (oldest - oldest % coarse) < coarse * points
        good &= oldest >= coarse
    plain[present] = good
    return plain


class RingWrites:
    """One block of open files of one layout.  One use, one thread."""

    def __init__(
        self,
        layout: Layout,
        fds: list[int],
        bases: list[np.ndarray],
        open_slots: OpenSlots,
        new: np.ndarray,
        heads: dict[int, bytes],
        now: int,
        on_error: Callable[[int, OSError], None],
    ) -> None:
        """`bases[k]`: int64[n], known bases of archive k (0: not known), changed in place, and so is `open_slots`.

        `new`: bool[n], the file has no point yet.  `heads[n]`: how the file begins, if it was read just now; what is
        written changes it, too.  `on_error(metric, error)` hears of a failed write; the metric is left alone then.
        """
        self._layout = layout
        self._fds = fds
        self._bases = bases
        self._open = open_slots
        self._new = new
        self._heads = heads
        self._now = now
        self._on_error = on_error
        self.failed: set[int] = set()

    def write(self, metric: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Write the points (metric int64, timestamps int64, values float64) and propagate them."""
        layout = self._layout
        step = layout.steps[0]
        slots = timestamps - timestamps % step
        last = np.empty(len(slots), bool)
        last[-1] = True
        np.logical_or(metric[1:] != metric[:-1], slots[1:] != slots[:-1], out=last[:-1])
        if not last.all():
            metric, slots, values = metric[last], slots[last], values[last]
        first = firsts(metric)
        self._resolve(0, metric[first], slots[first])
        self._put(0, metric, slots, values)
        for level in range(1, len(layout.steps)):
            coarse = slots - slots % layout.steps[level]
            change = np.empty(len(coarse), bool)
            change[0] = True
            np.logical_or(metric[1:] != metric[:-1], coarse[1:] != coarse[:-1], out=change[1:])
            begin = np.flatnonzero(change)
            fine, metric, coarse = slots, metric[begin], coarse[begin]
            if level == 1:
                running = self._grow(metric, coarse, begin, fine, values)
            else:
                running = self._read(level, metric, coarse)[0]
            keep = self._propagate(level, metric, coarse, running)
            metric, slots = metric[keep], coarse[keep]
            if not len(metric):
                return

    def _resolve(self, level: int, metrics: np.ndarray, slots: np.ndarray) -> None:
        """Give every metric of `metrics` a base in archive `level`: the file's, or its slot if the ring is empty."""
        unknown = self._bases[level][metrics] == 0
        if unknown.any():
            metrics = metrics[unknown]
            found = self._bases_on_disk(level, metrics)
            self._bases[level][metrics] = np.where(found, found, slots[unknown])

    def _bases_on_disk(self, level: int, metrics: np.ndarray) -> np.ndarray:
        """int64: the bases of these metrics in archive `level` as their files have them; 0 for an empty ring."""
        found = np.zeros(len(metrics), np.int64)
        old = ~self._new[metrics]
        fds, failed, pread, offset = self._fds, self.failed, os.pread, self._layout.offsets[level]
        pieces: list[bytes] = []
        heads = self._heads
        for one in metrics[old].tolist():
            data = heads[one][offset : offset + 4] if one in heads else b""
            if len(data) < 4 and one not in failed:
                try:
                    data = pread(fds[one], 4, offset)
                except OSError as error:
                    self._fail(one, error)
            pieces.append(data if len(data) == 4 else _NO_BASE)
        found[old] = np.frombuffer(b"".join(pieces), ">u4")
        return found

    def _fail(self, metric: int, error: OSError) -> None:
        self.failed.add(metric)
        self._on_error(metric, error)

    def _put(self, level: int, metric: np.ndarray, slots: np.ndarray, values: np.ndarray) -> None:
        """Write points to archive `level`: one pwrite per piece of neighbouring slots."""
        layout = self._layout
        index = (slots - self._bases[level][metric]) // layout.steps[level] % layout.points[level]
        starts = np.empty(len(metric), bool)
        starts[0] = True
        np.logical_or(metric[1:] != metric[:-1], index[1:] != index[:-1] + 1, out=starts[1:])
        begin = np.flatnonzero(starts)
        records = np.empty(len(metric), POINT)
        records["t"] = slots
        records["v"] = values
        view = records.tobytes()
        offsets = (index[begin] * POINT_SIZE + layout.offsets[level]).tolist()
        cuts = (begin * POINT_SIZE).tolist()
        ends = cuts[1:] + [len(view)]
        fds, failed, pwrite = self._fds, self.failed, os.pwrite
        for one, cut, end, offset in zip(metric[begin].tolist(), cuts, ends, offsets):
            if one in failed:
                continue
            try:
                written = pwrite(fds[one], view[cut:end], offset)
                while written < end - cut:
                    # A disk that fills up takes a part; the next try says why.
                    written += pwrite(fds[one], view[cut + written : end], offset + written)
            except OSError as error:
                self._fail(one, error)
        if heads := self._heads:
            for one, cut, end, offset in zip(metric[begin].tolist(), cuts, ends, offsets):
                if offset < len(head := heads.get(one, b"")):
                    heads[one] = head[:offset] + view[cut:end] + head[offset + end - cut :]

    def _propagate(self, level: int, metric: np.ndarray, slots: np.ndarray, running: Running) -> np.ndarray:
        """Write to archive `level` those coarse slots that have enough; bool mask of the metrics that go on."""
        layout = self._layout
        width = layout.steps[level] // layout.steps[level - 1]
        enough = (running.count > 0) & (running.count / width >= layout.header.xff)
        if self.failed:
            enough &= ~np.isin(metric, list(self.failed))
        if not enough.any():
            return enough
        target, targets = metric[enough], slots[enough]
        self._resolve_coarse(level, metric, slots, target, targets)
        self._put(level, target, targets, running.results(width)[enough])
        if self.failed:
            enough &= ~np.isin(metric, list(self.failed))
        # whisper goes on to the next archive with all slots of a metric if one of them was propagated.
        return enough if enough.all() else np.isin(metric, metric[enough])

    def _grow(
        self, metric: np.ndarray, coarse: np.ndarray, begin: np.ndarray, fine: np.ndarray, values: np.ndarray
    ) -> Running:
        """The aggregates of the coarse slots of archive 1, each with the fine points from `begin` on.

        Where all points of a metric are newer than anything in its file, what is remembered of its open
        coarse slot and the points themselves suffice; else the fine slots are read.
        """
        state = self._open
        layout = self._layout
        sizes = np.diff(np.append(begin, len(fine)))
        first = firsts(metric)
        last = np.append(first[1:], len(metric)) - 1
        metrics = metric[first]
        newest = state.newest[metrics]
        reached = fine[begin[last] + sizes[last] - 1]
        ahead = (newest != OpenSlots.UNKNOWN) & (fine[begin[first]] > newest)
        # Points that lap the ring overwrite fine slots of the open coarse slot, and those count no more.
        ahead &= reached - coarse[first] < layout.retention
        running = Running.empty(layout.header.method, len(metric))
        goes_on = ahead & (state.slot[metrics] == coarse[first])
        rows, owners = first[goes_on], metrics[goes_on]
        running.count[rows] = state.count[owners]
        running.value[rows] = state.value[owners]
        running.lost[rows] = state.lost[owners]
        if ahead.all():
            running.add_groups(begin, sizes, values)
            changed = np.arange(len(metrics))
        else:
            by_memory = np.repeat(ahead, np.diff(np.append(first, len(metric))))
            running.add_groups(begin, np.where(by_memory, sizes, 0), values)
            rows = np.flatnonzero(~by_memory)
            read, filled = self._read(1, metric[rows], coarse[rows])
            running.count[rows], running.value[rows], running.lost[rows] = read.count, read.value, read.lost
            filled_to = np.zeros(len(metric), np.int64)
            filled_to[rows] = filled
            reached = np.maximum(np.maximum(reached, filled_to[last]), np.where(ahead, 0, newest))
            # Late points of an older coarse slot leave the open one as it is.  Of a file that was met now the
            # open one is known only if it is the present one: behind an older one may lie more than we read.
            present = coarse[last] + layout.steps[1] > self._now
            known = newest != OpenSlots.UNKNOWN
            changed = np.flatnonzero(ahead | np.where(known, coarse[last] >= state.slot[metrics], present))
        owners, rows = metrics[changed], last[changed]
        state.slot[owners] = coarse[rows]
        state.count[owners] = running.count[rows]
        state.value[owners] = running.value[rows]
        state.lost[owners] = running.lost[rows]
        state.newest[owners] = reached[changed]
        return running

    def _read(self, level: int, metric: np.ndarray, slots: np.ndarray) -> tuple[Running, np.ndarray]:
        """Aggregates of coarse slots of archive `level`, read from the one below, and the newest fine slot of each."""
        step = self._layout.steps[level - 1]
        rows, known = self._read_rows(level, metric, slots)
        running = Running.empty(self._layout.header.method, len(metric))
        running.add_known(rows, known)
        width = known.shape[1]
        newest = slots + (width - 1 - known[:, ::-1].argmax(axis=1)) * step
        return running, np.where(running.count > 0, newest, 0)

    def _resolve_coarse(
        self, level: int, metric: np.ndarray, slots: np.ndarray, target: np.ndarray, targets: np.ndarray
    ) -> None:
        first = firsts(target)
        bases = self._bases[level]
        unknown = first[bases[target[first]] == 0]
        if not len(unknown):
            return
        owners = target[unknown]
        found = self._bases_on_disk(level, owners)
        bases[owners] = found
        empty = found == 0
        for one, slot in zip(owners[empty].tolist(), targets[unknown[empty]].tolist()):
            mine = slots[metric == one].tolist()
            if len(mine) > 1:
                # The whisper package propagates in the order of a set of the coarse slots, and the first
                # that is written becomes the base.  The order does not matter to readers, but to the bytes.
                good = set(targets[target == one].tolist())
                slot = next(candidate for candidate in set(mine) if candidate in good)
            bases[one] = slot

    def _read_rows(self, level: int, metric: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(values, known), each [slots, fine slots per coarse slot], read from archive `level` - 1."""
        layout = self._layout
        step, points, offset = layout.steps[level - 1], layout.points[level - 1], layout.offsets[level - 1]
        coarse = layout.steps[level]
        width = coarse // step
        starts = np.empty(len(metric), bool)
        starts[0] = True
        np.logical_or(metric[1:] != metric[:-1], slots[1:] != slots[:-1] + coarse, out=starts[1:])
        begin = np.flatnonzero(starts)
        lengths = np.diff(np.append(begin, len(metric))) * width
        if (lengths > points).any():
            # A stretch longer than the ring: read coarse slot by coarse slot.
            begin = np.arange(len(metric))
            lengths = np.full(len(metric), width)
        index = (slots[begin] - self._bases[level - 1][metric[begin]]) // step % points
        fds, failed, heads, pread = self._fds, self.failed, self._heads, os.pread
        pieces: list[bytes] = []
        for one, at, length in zip(metric[begin].tolist(), index.tolist(), lengths.tolist()):
            size, start = length * POINT_SIZE, offset + at * POINT_SIZE
            data = b""
            if one not in failed:
                try:
                    if at + length <= points:
                        head = heads.get(one, b"")
                        # A young file's points came with its header.
                        data = head[start : start + size] if start + size <= len(head) else pread(fds[one], size, start)
                    else:
                        before_end = (points - at) * POINT_SIZE
                        data = pread(fds[one], before_end, start).ljust(before_end, b"\0")
                        data += pread(fds[one], size - before_end, offset)
                except OSError as error:
                    self._fail(one, error)
                    data = b""
            pieces.append(data if len(data) == size else data.ljust(size, b"\0"))
        stored = np.frombuffer(b"".join(pieces), POINT).reshape(-1, width)
        expected = slots[:, None] + np.arange(0, coarse, step)
        return stored["v"].astype(np.float64), stored["t"] == expected
