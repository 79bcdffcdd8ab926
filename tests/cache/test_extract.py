"""Points taken out of the cache are gone from it and from the journal; all others stay, in memory and after a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonpy.cache.cache import Cache
from carbonpy.cache.journal import Journal
from carbonpy.columns import Columns

POINT = st.tuples(st.integers(16, 23), st.integers(1, 5), st.floats(0, 9))
SOME = st.sets(st.integers(16, 23), min_size=1, max_size=4)
STEP = st.one_of(st.lists(POINT, max_size=6), st.just("defer"), st.just("crash"), SOME)


def columns(points: list[tuple[int, int, float]]) -> Columns:
    ids, timestamps, values = zip(*points)
    return np.array(ids, np.uint32), np.array(timestamps, np.uint32), np.array(values, np.float64)


def names_from(first: int) -> tuple[int, list[bytes]]:
    first = max(first, 16)
    return first, [b"m%d" % number for number in range(first, 24)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=14), st.integers(1, 3))
def test_extract_against_a_dict(tmp_path_factory: object, steps: list[object], shares: int) -> None:
    directory = str(tmp_path_factory.mktemp("journal"))  # type: ignore[attr-defined]
    state = Life(directory, shares)
    for step in steps:
        state.take(step)
    state.take("crash")
    state.cache.seal()
    state.check()


class Life:
    """A cache with a journal that may crash, beside a dict that says what is in it."""

    def __init__(self, directory: str, shares: int) -> None:
        self.directory, self.shares = directory, shares
        self.expected: dict[tuple[int, int], float] = {}
        self.replaced = 0
        self.begin()

    def begin(self) -> None:
        self.journal = Journal(self.directory, syncs=False)
        self.cache = Cache(
            shares=self.shares, journal=self.journal, new_names=names_from, on_replaced=lambda points: None
        )
        for segment in self.journal.leftovers():
            # Another order of ids, as in another life.
            self.cache.replay(self.journal, segment, lambda name: int(name[1:]), 16)
        self.journal.forget_leftover_names()

    def take(self, step: object) -> None:
        if step == "crash":
            self.begin()
        elif step == "defer":
            for share in range(self.shares):
                loan = self.cache.lend(share)
                if loan is not None:
                    self.cache.confirm(loan, np.unique(loan.columns[0]))
        elif isinstance(step, set):
            mine = {key: value for key, value in self.expected.items() if key[0] in step}
            before = self.cache.cached
            (ids, timestamps, values), points = self.cache.extract(sorted(step), {b"m%d" % one for one in step})
            assert dict(zip(zip(ids.tolist(), timestamps.tolist()), values.tolist())) == mine
            assert before - self.cache.cached >= points >= len(mine)
            for key in mine:
                del self.expected[key]
        elif step:
            assert isinstance(step, list)
            self.cache.append(*columns(step))
            self.expected |= {(identity, timestamp): value for identity, timestamp, value in step}
        self.check()

    def check(self) -> None:
        found = {}
        for identity in range(16, 24):
            timestamps, values = self.cache.peek(identity)
            found |= {(identity, stamp): value for stamp, value in zip(timestamps.tolist(), values.tolist())}
        assert found == self.expected


def test_a_cache_without_a_journal_gives_its_points_up_as_well(tmp_path: Path) -> None:
    cache = Cache(shares=2)
    cache.append(*columns([(16, 1, 1.0), (17, 1, 2.0), (16, 1, 3.0)]))
    (ids, _, values), points = cache.extract([16], {b"m16"})
    assert (ids.tolist(), values.tolist(), points, cache.cached) == ([16], [3.0], 1, 1)
