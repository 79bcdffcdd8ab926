"""Figures of values: as carbon recorded them, as carbon's functions make them, and by definition."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from carbon.aggregator.rules import AGGREGATION_METHODS
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.methods import of_all
from carbonpy.rules.aggregates import AggregateSpec

VECTORS = json.loads((Path(__file__).resolve().parent.parent / "vectors" / "aggregation_methods.json").read_text())
VALUES = st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=30)


def figure(method: str, values: list[float], kind: str = "carbon") -> float:
    """What an aggregator sends for `values` that came in two batches in one interval."""
    aggregator = Aggregator()
    number = aggregator.buffer(b"out", AggregateSpec(60, method, kind, 60 if kind == "window" else 0))
    for part in (values[: len(values) // 2], values[len(values) // 2 :]):
        aggregator.take(np.full(len(part), number), np.full(len(part), 600, np.uint32), np.array(part, float), 600.0)
    due = aggregator.due(661.0)
    assert due.names == [b"out"] and due.timestamps.tolist() == [600]
    return float(due.values[0])


@pytest.mark.parametrize("method", sorted(VECTORS["methods"]))
def test_a_recorded_figure_is_the_same(method: str) -> None:
    for case in VECTORS["methods"][method]:
        assert figure(method, case["values"]) == case["result"]


@given(st.sampled_from(sorted(AGGREGATION_METHODS)), VALUES)
def test_any_figure_is_the_one_that_carbon_makes(method: str, values: list[float]) -> None:
    expected = AGGREGATION_METHODS[method](values)
    # Python 3.12 adds up floats in another way than the Pythons before it and numpy.
    assert figure(method, values) == (pytest.approx(expected, rel=1e-12) if method in ("sum", "avg") else expected)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30), st.sampled_from(["carbon", "window"]))
def test_figures_that_carbon_does_not_have_are_what_their_names_say(values: list[float], kind: str) -> None:
    assert figure("variance", values, kind) == pytest.approx(statistics.pvariance(values), rel=1e-9, abs=1e-6)
    assert figure("stddev", values, kind) == pytest.approx(statistics.pstdev(values), rel=1e-6, abs=1e-3)
    if kind == "carbon":
        assert figure("median", values) == AGGREGATION_METHODS["p50"](values)
        assert figure("percentile95", values) == AGGREGATION_METHODS["p95"](values)
    slack = 1e-9 * max(map(abs, values))  # what interpolation may round
    low, high = figure("percentile1", values, kind), figure("percentile99", values, kind)
    assert min(values) - slack <= low <= high + slack <= max(values) + 2 * slack


@pytest.mark.parametrize(
    ("method", "values", "result"),
    [
        ("median", [1, 2, 3, 4], 2),
        ("median", [0.4, 0.3, 0.2], 0.3),
        ("percentile90", list(range(1, 11)), 9),
        ("percentile95", list(range(1, 11)), 10),
        ("percentile1", [5, 6], 5),
    ],
)
def test_percentiles_of_windows_are_the_nearest_rank(method: str, values: list[float], result: float) -> None:
    assert figure(method, values, "window") == result


def test_last_is_the_value_with_the_newest_timestamp_and_of_equal_ones_the_one_that_came_last() -> None:
    aggregator = Aggregator()
    number = aggregator.buffer(b"out", AggregateSpec(60, "last"))

    def take(*points: tuple[int, float]) -> None:
        times, values = zip(*points)
        aggregator.take(np.full(len(points), number), np.array(times, np.uint32), np.array(values, float), 630.0)

    take((610, 1.0), (640, 2.0), (605, 3.0))
    assert aggregator.flush().values.tolist() == [2.0]
    take((620, 4.0))
    assert aggregator.flush().values.tolist() == [2.0]
    take((640, 5.0), (640, 6.0))
    assert aggregator.flush().values.tolist() == [6.0]


@given(VALUES)
def test_what_holds_values_does_not_mind_their_order(values: list[float]) -> None:
    for kind in ("carbon", "window"):
        spec = AggregateSpec(60, "percentile75", kind)
        assert of_all(spec, np.array(values)) == of_all(spec, np.array(sorted(values)))
