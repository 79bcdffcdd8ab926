"""Where a series that was read again begins to be shown: at its input's first slot, on its own grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.functions import previews
from carbonpy.series.series import Series


def series(start: int, step: int, count: int, name: str = "a") -> Series:
    return Series(name, start, start + step * count, step, np.arange(float(count)))


@given(st.integers(0, 500), st.integers(1, 60), st.integers(0, 20), st.integers(0, 500), st.integers(1, 60))
def test_a_series_is_shown_from_the_first_slot_that_is_not_before_its_input(
    start: int, step: int, count: int, input_start: int, input_step: int
) -> None:
    one, other = series(start, step, count), series(input_start, input_step, 3)
    first = previews.shown(one, [other])
    assert first == sum(time < input_start for time in one.timestamps())
    cut = previews.cut(one, first, one.values[first:])
    assert cut.points() == one.points()[first:]
    assert cut.start == one.start + first * step


def test_the_input_of_the_same_name_and_step_decides_and_otherwise_the_earliest() -> None:
    inputs = [series(60, 60, 3, "a"), series(120, 60, 3, "b")]
    assert previews.shown(series(0, 60, 9, "b"), inputs) == 2
    assert previews.shown(series(0, 60, 9, "c"), inputs) == 1
    assert previews.shown(series(0, 30, 9, "b"), inputs) == 2
    assert previews.shown(series(300, 60, 9, "b"), inputs) == 0


def test_a_preview_has_no_sign_and_stays_in_the_calendar() -> None:
    assert previews.length("-5min") == previews.length("5min") == 300
    assert previews.window(1000, 2000, 300) == (700, 2000)
    with pytest.raises(QueryError, match="beyond the year 1"):
        previews.window(1000, 2000, 10**12)
