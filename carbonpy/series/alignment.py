"""Series of different steps and starts on one grid, so that what is added happened at the same time.

The law: the common step is the least common multiple of all steps; every value lands in the slot of
the common grid that its own moment falls in.  Series of a finer step are consolidated, each with its
own function and xFilesFactor; where a series has nothing, the grid has NaN.  (graphite-web pairs values
by their index instead, so that series which do not start together are added with an offset.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.series.consolidation import consolidate
from carbonpy.series.series import Series, Values
from carbonpy.timespan import Span, align

#: A grid with more slots than this comes from steps that have nothing in common.
_MOST_SLOTS = 50_000_000


def common_grid(series: Sequence[Series]) -> Span:
    """The grid that all of `series` (at least one) fit on."""
    step = math.lcm(*{one.step for one in series})
    phases = {one.start % step for one in series}
    if len(phases) == 1 and all(one.step == step for one in series):
        phase = phases.pop()  # all are off the clock by the same amount: leave them where they are
    else:
        phase = 0
    start = min(align(one.start - phase, step) for one in series) + phase
    end = max(one.span.end for one in series)
    return Span(start, start + -(-(end - start) // step) * step, step)


def matrix(series: Sequence[Series]) -> tuple[Span, NDArray[np.float64]]:
    """(common grid, float64[k, n] with one row per series); an empty grid for series without values."""
    grid = common_grid(series)
    if grid.count * len(series) > _MOST_SLOTS:
        raise QueryError(
            f"{len(series)} series on a common step of {grid.step} s have too many points; "
            "ask for less time or fewer series"
        )
    rows = np.full((len(series), max(grid.count, 0)), np.nan)
    for row, one in zip(rows, series):
        values = placed(one, grid)
        first = (max(one.start, grid.start) - grid.start) // grid.step
        row[first : first + len(values)] = values
    return grid, rows


def placed(one: Series, grid: Span) -> Values:
    """The values of one series in slots of `grid`, from the slot of its first value on."""
    if one.step == grid.step:
        return one.values
    size = grid.step // one.step
    lead = (one.start - grid.start) % grid.step // one.step
    if lead:
        return consolidate(np.concatenate([np.full(lead, np.nan), one.values]), size, one.consolidation, one.xff)
    return consolidate(one.values, size, one.consolidation, one.xff)


def aligned(series: Sequence[Series]) -> list[Series]:
    """The same series, all on one grid.  An empty list stays empty."""
    if not series:
        return []
    grid, rows = matrix(series)
    return [one.changed(start=grid.start, end=grid.end, step=grid.step, values=row) for one, row in zip(series, rows)]
