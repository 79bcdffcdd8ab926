"""Spans: slots are multiples of the step, and Graphite's grid is the one of whisper's fetch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import whisper
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.timespan import Span, align

times = st.integers(0, 2**32 - 1)
steps = st.integers(1, 10**6)


@given(times, steps)
def test_a_slot_is_the_last_multiple_of_the_step(timestamp: int, step: int) -> None:
    slot = align(timestamp, step)
    assert slot % step == 0 and slot <= timestamp < slot + step
    assert align(slot, step) == slot


@given(st.lists(times, max_size=20), steps)
def test_columns_are_aligned_as_single_times_are(timestamps: list[int], step: int) -> None:
    for kind in (np.int64, np.uint32):
        assert align(np.array(timestamps, kind), step).tolist() == [align(t, step) for t in timestamps]


@given(times, st.integers(0, 10**7), steps)
def test_a_graphite_span_starts_after_from_and_holds_until(start: int, length: int, step: int) -> None:
    span = Span.graphite(start, start + length, step)
    assert span.start % step == span.end % step == 0
    assert span.count == len(range(span.start, span.end, step)) >= 1
    assert span.start - step <= start < span.start
    last = span.end - step
    assert last <= start + length < last + step or (
        span.count == 1 and align(start, step) == align(start + length, step)
    )


def test_the_grid_is_that_of_a_fetch_of_whisper(tmp_path: Path) -> None:
    path = str(tmp_path / "a.wsp")
    whisper.create(path, [(10, 1000)])
    now = 1_700_000_000
    for start in range(now - 95, now - 60):
        for until in (start, start + 1, start + 9, start + 10, start + 11, start + 37):
            info, values = whisper.fetch(path, start, until, now=now)
            span = Span.graphite(start, until, 10)
            assert (span.start, span.end, span.step) == info
            assert span.count == len(values)
