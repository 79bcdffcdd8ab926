"""Level lines: one number for a whole series, as three points or on its grid; and the line of time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain import VALUES, aggregate, floats, nones
from support.targets import FIRST, Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.functions.library import Library

LIBRARY = Library.standard()
BEFORE = (T - 240 - FIRST) // 60


@given(st.lists(VALUES, min_size=26, max_size=26), st.sampled_from(["average", "max", "median", "sum", "last", "p75"]))
@settings(max_examples=60, deadline=None)
def test_a_line_stands_at_the_aggregate_of_all_values(values: list[float | None], name: str) -> None:
    store = Store({"m.x": (60, floats(values).tolist())})
    expected = aggregate(name, [value for value in values[BEFORE:] if value is not None])
    short, full = evaluate(
        f"aggregateLine(m.x,'{name}')", f"aggregateLine(m.x,'{name}',true)", library=LIBRARY, store=store
    )
    assert (short.start, short.end, short.step, len(short)) == (T - 300, T + 300, 300, 3)
    assert (full.start, full.end, full.step, len(full)) == (T - 240, T + 360, 60, 10)
    for series in (short, full):
        values_ = set(nones(series.values.tolist()))
        assert len(values_) == 1
        (value,) = values_
        if expected is None:
            assert value is None and series.name == "aggregateLine(m.x, None)"
        else:
            assert value is not None and math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-6)
            assert series.name == series.path_expression == f"aggregateLine(m.x, {value:g})"
    assert full.tags == {"name": "m.x"} and short.tags == {"name": str(nones(short.values.tolist())[0])}


def test_a_line_over_a_second_has_a_step_of_one() -> None:
    (line,) = evaluate("aggregateLine(b.h1.x)", library=LIBRARY, start=T, end=T + 1)
    assert (line.start, line.end, line.step) == (T, T + 1, 1)


@given(st.lists(VALUES, min_size=26, max_size=26), st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_a_percentile_is_a_value_of_the_series(values: list[float | None], n: float) -> None:
    store = Store({"m.x": (60, floats(values).tolist())})
    known = [value for value in values[BEFORE:] if value is not None]
    answer = evaluate(f"nPercentile(m.x,{n!r})", library=LIBRARY, store=store)
    if not known:
        assert answer == []
        return
    rank = math.ceil(n / 100 * (len(known) + 1))
    assert answer[0].values.tolist() == [sorted(known)[min(max(rank, 1), len(known)) - 1]] * 10
    assert answer[0].name == f"nPercentile(m.x, {n:g})" and answer[0].tags["nPercentile"] == str(n)
    assert (answer[0].start, answer[0].end, answer[0].step) == (T - 240, T + 360, 60)


@pytest.mark.parametrize("n", ["0", "-1", "100.5"])
def test_there_is_no_percentile_outside_of_a_hundred(n: str) -> None:
    with pytest.raises(QueryError, match="n must be above 0 and at most 100"):
        evaluate(f"nPercentile(a.h1.x,{n})", library=LIBRARY)


def test_identity_is_the_time_once_a_minute() -> None:
    (line,) = evaluate("identity('t')", library=LIBRARY, start=T + 7, end=T + 128)
    assert line.points() == [(float(time), time) for time in (T + 7, T + 67, T + 127)]
    assert (line.name, line.path_expression, line.tags, line.end) == ("t", 'identity("t")', {"name": "t"}, T + 128)
    with pytest.raises(QueryError, match="ask for a longer interval or for less time"):
        evaluate("identity('t')", library=LIBRARY, start=-(10**10), end=T)


def test_a_percentile_keeps_what_was_set_for_its_series() -> None:
    (line,) = evaluate("nPercentile(consolidateBy(a.h1.x,'max'),50)", library=LIBRARY)
    assert line.consolidation == "max" and np.unique(line.values).tolist() == [22.0]
