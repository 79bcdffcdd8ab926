"""The token bucket: never more than its capacity at once and its rate on average."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonpy.clock import TokenBucket


class HandClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 10),
    st.integers(0, 8),
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 64.0]), st.integers(1, 4)), max_size=60),
)
def test_what_is_taken_never_exceeds_capacity_and_rate_over_any_stretch(
    capacity: int, rate: int, steps: list[tuple[float, int]]
) -> None:
    clock = HandClock()
    bucket = TokenBucket(capacity, rate, clock)
    taken: list[tuple[float, int]] = []
    for pause, tokens in steps:
        clock.now += pause
        before = bucket.available()
        if bucket.take(tokens):
            taken.append((clock.now, tokens))
            assert bucket.available() == before - tokens
        else:
            assert before < tokens and bucket.available() == before
    for start in range(len(taken)):
        stretch = taken[start][0]
        total = 0
        for moment, tokens in taken[start:]:
            total += tokens
            assert total <= capacity + rate * (moment - stretch)


@given(st.integers(1, 5), st.sampled_from([0.5, 1.0, 4.0]), st.lists(st.integers(1, 9), max_size=30))
def test_who_sleeps_as_told_keeps_the_rate(capacity: int, rate: float, wanted: list[int]) -> None:
    clock = HandClock()
    bucket = TokenBucket(capacity, rate, clock)
    total = 0
    for tokens in wanted:
        clock.now += bucket.wait(tokens)
        total += tokens
        assert total <= capacity + rate * clock.now
    assert clock.now == max(0.0, (total - capacity) / rate)


def test_a_full_bucket_does_not_run_over() -> None:
    clock = HandClock()
    bucket = TokenBucket(3, 1.0, clock)
    clock.now = 1000.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_bucket_without_rate_gives_its_capacity_once() -> None:
    clock = HandClock()
    bucket = TokenBucket(2, 0.0, clock)
    assert bucket.take(2)
    clock.now = 1e9
    assert not bucket.take()


def test_an_endless_rate_never_makes_wait() -> None:
    clock = HandClock()
    bucket = TokenBucket(1, float("inf"), clock)
    assert bucket.wait(10**9) == 0.0
    clock.now = 0.001
    assert bucket.take()


def test_a_clock_that_goes_back_takes_no_tokens_away() -> None:
    clock = HandClock()
    clock.now = 100.0
    bucket = TokenBucket(2, 1.0, clock)
    assert bucket.take()
    clock.now = 0.0
    assert bucket.available() == 1.0
    clock.now = 1.0
    assert bucket.available() == 2.0
