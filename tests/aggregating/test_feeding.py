"""Names to outputs: the columns are what one point after the other would be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.aggregating.feeding import Feeding

NAMES = [b"a", b"b", b"c", b"d", b"e"]
POINT = st.tuples(st.sampled_from(NAMES), st.booleans(), st.integers(0, 99), st.floats(-9, 9))


class Kept:
    def __init__(self, outputs: dict[bytes, tuple[int, ...]]) -> None:
        self.outputs = outputs
        self.asked: list[bytes] = []
        self.points: list[tuple[int, int, float]] = []
        self.feeding = Feeding(self._outputs_of, self._take)

    def _outputs_of(self, name: bytes) -> tuple[int, ...]:
        self.asked.append(name)
        return self.outputs.get(name, ())

    def _take(self, outputs: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        self.points += zip(outputs.tolist(), timestamps.tolist(), values.tolist())

    def feed(self, batch: list[tuple[bytes, bool, int, float]]) -> None:
        names, good, times, values = zip(*batch)
        self.feeding.points(names, np.array(good), np.array(times, np.uint32), np.array(values, np.float64))


@given(
    st.dictionaries(st.sampled_from(NAMES), st.lists(st.integers(0, 5), max_size=3).map(tuple)),
    st.lists(st.lists(POINT, min_size=1, max_size=12), max_size=5),
)
def test_each_good_point_goes_into_each_of_its_outputs_in_order(
    outputs: dict[bytes, tuple[int, ...]], batches: list[list[tuple[bytes, bool, int, float]]]
) -> None:
    kept = Kept(outputs)
    for batch in batches:
        kept.feed(batch)
    assert kept.points == [
        (output, time, value)
        for batch in batches
        for name, good, time, value in batch
        if good
        for output in outputs.get(name, ())
    ]
    assert len(kept.asked) == len(set(kept.asked)), "a name is asked for once"
    assert set(kept.asked) == {name for batch in batches for name, good, _, _ in batch if good}


def test_changed_rules_are_asked_for_again() -> None:
    kept = Kept({b"a": (1,)})
    kept.feed([(b"a", True, 1, 1.0)])
    kept.outputs = {b"a": (2, 3)}
    kept.feed([(b"a", True, 1, 1.0)])
    kept.feeding.rules_changed()
    kept.feed([(b"a", True, 1, 1.0)])
    assert [output for output, _, _ in kept.points] == [1, 1, 2, 3]
