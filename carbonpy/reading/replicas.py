"""One series out of the answers that several stores gave for the same metric.

The law.  Slots are matched by their moments, never by their index: stores whose clocks or grids are apart by a slot do
not shift each other.  In each slot the first store that knows a value wins, so a value never depends on which of the
later stores answered.  Answers of different steps are not mixed: the one that knows more values wins, of equals the
finer, then the first, and a sentence says so.

Pure.  The result covers what any of the answers that were merged covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from carbonpy.series.series import Series

#: Answers for one question overlap; those that would leave a hole this many times their length do not belong together.
_SPREAD = 4


class Merged(NamedTuple):
    """The series, and what to say about answers that were left out ("" for nothing)."""

    series: Series
    sentence: str


def merge_replicas(answers: Sequence[Series]) -> Merged:
    """One series out of at least one answer for the same metric, best store first.

    Name, tags and all else are those of the first answer whose step is kept.
    """
    kept, sentence = _of_one_step(answers)
    first = kept[0]
    if len(kept) == 1:
        return Merged(first, sentence)
    step = first.step
    # Grids of one step may still be apart by less than a step: then a slot is the one that its moment falls in.
    slots = [(one.start - first.start) // step for one in kept]
    low = min(slots)
    count = max(slot + len(one) for slot, one in zip(slots, kept)) - low
    if count > _SPREAD * sum(len(one) for one in kept):
        return Merged(first, f"{first.name}: stores answered for times far apart; the first answer was taken")
    if count == len(first) and low == 0:
        values = first.values
        if not np.isnan(values).any():
            return Merged(first, sentence)
        values = values.copy()
    else:
        values = np.full(count, np.nan)
        values[slots[0] - low : slots[0] - low + len(first)] = first.values
    for slot, one in zip(slots[1:], kept[1:]):
        part = values[slot - low : slot - low + len(one)]
        np.copyto(part, one.values, where=np.isnan(part))
    start = first.start + low * step
    end = max(first.end, start + count * step)
    return Merged(first.changed(start=start, end=end, values=values), sentence)


def merge_lists(lists: Iterable[Sequence[Series]]) -> tuple[list[Series], list[str]]:
    """The series of several stores for one reading, best store first: one for each name, sorted; and the sentences."""
    by_name: dict[str, list[Series]] = {}
    for series_list in lists:
        for series in series_list:
            by_name.setdefault(series.name, []).append(series)
    merged = [merge_replicas(by_name[name]) for name in sorted(by_name)]
    return [one.series for one in merged], [one.sentence for one in merged if one.sentence]


def _of_one_step(answers: Sequence[Series]) -> tuple[list[Series], str]:
    """The answers of the step that is kept, in their order; what to say about the others."""
    steps = {one.step for one in answers}
    if len(steps) == 1:
        return list(answers), ""
    ranks = {step: (max(_known(one) for one in answers if one.step == step), -step) for step in steps}
    step = max(ranks, key=ranks.__getitem__)
    kept = [one for one in answers if one.step == step]
    others = ", ".join(str(other) for other in sorted(steps - {step}))
    return kept, (
        f"{kept[0].name}: stores answered with steps of {step} and {others} seconds; that of {step} seconds was taken"
    )


def _known(series: Series) -> int:
    """How many values are known."""
    return int(len(series) - np.isnan(series.values).sum())
