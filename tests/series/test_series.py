"""A series is a value: it does not change."""

import dataclasses

import numpy as np
import pytest

from carbonpy.series.series import Series
from carbonpy.timespan import Span


def test_nothing_of_a_series_can_be_changed():
    values = np.array([1.0, np.nan])
    series = Series("a.b", 60, 180, 60, values)
    with pytest.raises(ValueError):
        series.values[0] = 5.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        series.start = 0
    values[0] = 7.0  # the array that was handed in stays its owner's


def test_points_pair_each_value_with_its_moment():
    series = Series("a.b", 60, 180, 60, np.array([1.0, np.nan]))
    assert series.points() == [(1.0, 60), (None, 120)]
    assert series.span == Span(60, 180, 60)
    assert len(series) == 2


def test_a_bare_series_is_known_by_its_name():
    series = Series("a.b", 60, 180, 60, np.array([1.0, 2.0]))
    assert (series.path_expression, dict(series.tags)) == ("a.b", {"name": "a.b"})
    assert series.with_values(np.array([3.0, 4.0])).points() == [(3.0, 60), (4.0, 120)]


def test_a_step_is_at_least_a_second():
    with pytest.raises(ValueError, match="step of 0 seconds"):
        Series("a.b", 0, 0, 0, np.array([]))
