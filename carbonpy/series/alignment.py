"""Series of different steps and starts on one grid, so that what is added happened at the same time.

The law: the common step is the least common multiple of all steps; every value lands in the slot of
the common grid that its own moment falls in.  Series of a finer step are consolidated, each with its
own function and xFilesFactor; where a series has nothing, the grid has NaN.  (graphite-web pairs values
by their index instead, so that series which do not start together are added with an offset.)

One exception, at the left edge: a request begins in the middle of a slot of the common grid as often as
not, and then the finer series have a part of that slot while those of the common step have nothing.  Such
a first slot is left out; otherwise every sum of mixed steps would begin with a dip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.series.consolidation import consolidate_rows
from carbonpy.series.series import Series
from carbonpy.timespan import Span, align

#: A grid with more slots than this comes from series that have no time in common.
_MOST_SLOTS = 50_000_000
#: A common step longer than this (over a thousand years) comes from steps that have nothing in common.
_LONGEST_STEP = 2**35


def common_grid(series: Sequence[Series]) -> Span:
    """The grid that all of `series` (at least one) fit on.  Series without values have no say in it.

    Raises QueryError if their steps have no useful multiple in common.
    """
    grids = {(one.start, one.step, len(one)) for one in series if len(one)}
    if not grids:
        return Span(series[0].start, series[0].start, series[0].step)
    step = math.lcm(*{one_step for _, one_step, _ in grids})
    if step > _LONGEST_STEP:
        raise QueryError("the steps of these series have nothing in common; summarize() them to one interval first")
    end = max(start + one_step * count for start, one_step, count in grids)
    phases = {start % step for start, _, _ in grids}
    if len(phases) == 1 and all(one_step == step for _, one_step, _ in grids):
        phase = phases.pop()  # all are off the clock by the same amount: leave them where they are
        start = min(start for start, _, _ in grids)
    else:
        phase = 0
        start = _first_slot(grids, step)
    return Span(start, phase - align(phase - end, step), step)


def _first_slot(grids: set[tuple[int, int, int]], step: int) -> int:
    first = min(align(start, step) for start, _, _ in grids)
    in_part = all(
        one_step != step and start > first and start + one_step * count > first + step
        for start, one_step, count in grids
        if start < first + step
    )
    return first + step if in_part and any(one_step == step for _, one_step, _ in grids) else first


def matrix(series: Sequence[Series]) -> tuple[Span, NDArray[np.float64]]:
    """(common grid, float64[k, n] with one row per series); an empty grid for series without values.

    `series` has at least one.  The matrix is new: it may be written to.  Raises QueryError when it would be too
    large, when steps have nothing in common, and for a consolidation function that there is not.
    """
    grid = common_grid(series)
    if grid.count * len(series) > _MOST_SLOTS:
        raise QueryError(
            f"{len(series)} series on a common step of {grid.step} s have too many points; "
            "ask for less time or fewer series"
        )
    alike: dict[tuple[int, int, int, str, float], list[int]] = {}
    for number, one in enumerate(series):
        alike.setdefault((one.start, one.step, len(one), one.consolidation, one.xff), []).append(number)
    rows = None
    for (start, step, count, how, xff), numbers in alike.items():
        block = np.concatenate([series[number].values for number in numbers]).reshape(len(numbers), count)
        if (start, step, count) == (grid.start, grid.step, grid.count) and len(numbers) == len(series):
            return grid, block
        if rows is None:
            rows = np.full((len(series), grid.count), np.nan)
        if count:
            first, placed = _placed(block, start, step, grid, how, xff)
            rows[numbers, first : first + placed.shape[1]] = placed
    return grid, rows if rows is not None else np.full((len(series), grid.count), np.nan)


def _placed(
    block: NDArray[np.float64], start: int, step: int, grid: Span, how: str, xff: float
) -> tuple[int, NDArray[np.float64]]:
    """(number of a slot of `grid`, the rows of `block` consolidated to its slots from there on).

    The values before the grid are left out; there are none behind it.
    """
    if step == grid.step:
        return (start - grid.start) // step, block
    before = max(0, -(-(grid.start - start) // step))
    block = block[:, before:]
    first, offset = divmod(start + before * step - grid.start, grid.step)
    size = grid.step // step
    head = (size - offset // step) % size  # values of a slot whose beginning the series has not
    whole = max(0, (block.shape[1] - head) // size) * size
    parts = (block[:, :head], block[:, head : head + whole].reshape(-1, size), block[:, head + whole :])
    consolidated = [consolidate_rows(part, size, how, xff).reshape(len(block), -1) for part in parts if part.size]
    return first, np.concatenate(consolidated, axis=1) if consolidated else block[:, :0]


def aligned(series: Sequence[Series]) -> list[Series]:
    """The same series, all on one grid.  An empty list stays empty.  Raises QueryError as `matrix`."""
    if not series:
        return []
    grid, rows = matrix(series)
    return [one.changed(start=grid.start, end=grid.end, step=grid.step, values=row) for one, row in zip(series, rows)]
