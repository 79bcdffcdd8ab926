"""Baselines by hand and by model; shares of good points with carbonapi's own examples."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain import VALUES, alike, floats, nones
from support.targets import FIRST, Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.expression.plan import Reading
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

LIBRARY = Library.standard()
BEFORE = (T - 240 - FIRST) // 60
ROWS = st.lists(VALUES, min_size=40, max_size=40)
_ = None


def asked(target: str, values: list[float | None] | None = None, step: int = 60, **options: Any) -> list[Series]:
    store = Store({"m.x": (step, floats(values).tolist())}) if values is not None else Store()
    return evaluate(target, library=LIBRARY, store=store, **options)


@given(ROWS, st.integers(1, 3), st.integers(-2, 5), st.integers(0, 4))
@settings(max_examples=80, deadline=None)
def test_a_baseline_is_the_median_of_other_times(values: list[float | None], unit: int, first: int, count: int) -> None:
    last = first + count
    copies = [number for number in range(first, last) if number]
    usual: list[float | None] = []
    for place in range(BEFORE, BEFORE + 10):
        places = [place - unit * number for number in copies]
        # nothing later than the request's now is stored
        known = [values[each] for each in places if 0 <= each < BEFORE + 10]
        there = [value for value in known if value is not None]
        usual.append(statistics.median(there) if there else None)
    answer = asked(f"baseline(m.x,'{unit}min',{first},{last})", values)
    if not copies:
        assert answer == []
        return
    shown = {time: value for value, time in answer[0].points()}
    assert alike([shown.get(T - 240 + 60 * place) for place in range(10)], usual, 1e3)
    assert answer[0].name == "baseline(m.x)"
    (compared,) = asked(f"baselineAberration(m.x,'{unit}min',{first},{last})", values)
    ratios = {time: value for value, time in compared.points()}
    for place, (now, base) in enumerate(zip(values[BEFORE : BEFORE + 10], usual)):
        ratio = ratios.get(T - 240 + 60 * place)
        if now is None or base is None:
            assert ratio is None
        elif base == 0:
            assert ratio == 0
        else:
            assert ratio is not None and math.isclose(ratio, now / base, rel_tol=1e-9)


def test_copies_lie_on_the_grid_of_the_present_whatever_the_unit() -> None:
    for unit in ("61s", "90s", "119s"):
        (series,) = asked(f"baseline(a.h1.x,'{unit}',1,2)")
        assert (series.start, series.step, len(series)) == (T - 240, 60, 10)


def test_all_times_are_read_at_once_and_the_sign_of_the_unit_says_where_they_are() -> None:
    store = Store()
    evaluate("baseline(a.h1.x,'1d',0,3)", "baseline(a.h1.x,'+1h',1,2)", library=LIBRARY, store=store)
    (readings,) = store.asked
    assert [reading.start - (T - 300) for reading in readings] == [0, -86400, -2 * 86400, 3600]
    assert readings[0] == Reading("a.h1.x", T - 300, T + 300)


def test_series_that_are_mostly_missing_or_too_low_have_no_baseline() -> None:
    assert [len(asked(f"baseline(a.h1.x,'5min',1,2,{most})")) for most in (0, 100)] == [1, 1]
    assert [len(asked(f"baseline(gap.g,'1min',1,2,{most})")) for most in (59, 60)] == [0, 1]
    assert [len(asked(f"baseline(a.h1.x,'1min',1,2,100,{least})")) for least in (20, 20.5, 21)] == [1, 1, 0]
    assert asked("baseline(nosuch,'1d',1,2)") == asked("baselineAberration(nosuch,'1d',1,2)") == []


def test_too_many_copies_are_refused() -> None:
    with pytest.raises(QueryError, match="1000 is the limit"):
        asked("baseline(a.h1.x,'1s',0,1001)")
    with pytest.raises(QueryError, match="out of the years"):
        asked("baseline(a.h1.x,'1000y',0,100)")


@pytest.mark.parametrize(
    ("call", "step", "values", "expected"),
    [
        (
            "slo(m.x, '10s', 'above', 2)",
            5,
            [1, 2, 3, 4, 5, _, _, 6, 7, 0, 8],
            [0, 1, 1, 1, 0.5, 1],
        ),
        ("slo(m.x, '4s', 'below', 6)", 5, [1, 2, 3, 4, 5, 6, 7, 8, 9], [_] * 12),
        (
            "sloErrorBudget(m.x, '5s', 'aboveOrEqual', 2, 0.6)",
            1,
            [1, 1.5, 2, 3, 4, _, 0, 1, 1.5, 2.1, 1, 2, 3, 4, 5, 1, 2, 3, 4],
            [0, -1.75, 1, 0.6],
        ),
        ("slo(m.x, '7s', 'belowOrEqual', 2)", 5, [1, 3, 3, 3, 1, 2, 2], [0.5, 0, 0.5, 1, 1]),
        ("slo(m.x, '10s', 'above', 2)", 5, [_, _, 3, 1], [_, 0.5]),
    ],
)
def test_shares_are_those_of_the_known_points(
    call: str, step: int, values: list[float | None], expected: list[float | None]
) -> None:
    start, end = FIRST - step, FIRST + (len(values) - 1) * step
    (series,) = asked(call, values, step, start=start, end=end)
    assert alike(nones(series.values.tolist()), expected)
    assert series.name == call.replace("'", "")
    assert (series.start, series.step) == (FIRST, int(call.split("'")[1][:-1]))
    assert series.end == series.start + len(series) * series.step


def test_an_interval_longer_than_the_time_asked_for_reaches_back() -> None:
    store = Store()
    (series,) = evaluate("slo(a.h1.x,'20min','above',20)", library=LIBRARY, store=store)
    assert series.points() == [(0.3, T - 240)]
    assert store.asked == [[Reading("a.h1.x", T - 300, T + 300), Reading("a.h1.x", T - 900, T + 300)]]
    (budget,) = evaluate("sloErrorBudget(a.h1.x,'20min','above',20,0.25)", library=LIBRARY)
    assert budget.values.tolist() == pytest.approx([0.05 * 1200])


def test_numbers_in_names_are_written_as_short_as_they_can_be() -> None:
    (series,) = asked("sloErrorBudget(a.h1.x,'5min','above',20.50,0.9990)")
    assert series.name == "sloErrorBudget(a.h1.x, 5min, above, 20.5, 0.999)"


def test_a_share_that_makes_no_sense_is_refused() -> None:
    for call in ("slo(a.h1.x,'0s','above',1)", "slo(a.h1.x,'-1h','above',1)", "slo(a.h1.x,'1h','about',1)"):
        with pytest.raises(QueryError, match=r"longer than 0|must be one of"):
            asked(call)
    with pytest.raises(QueryError, match="is the limit"):
        asked("slo(m.x,'1s','above',1)", [1.0] * 9, 14 * 86400, start=T - 10**8)
    assert asked("slo(nosuch,'1h','above',1)") == []


def test_nothing_known_is_no_share() -> None:
    (series,) = asked("slo(m.x,'5min','above',1)", [_])
    assert np.isnan(series.values).all()


def test_what_a_store_has_only_elsewhere_is_no_copy() -> None:
    """A store asked for a time before its history may answer with the beginning of that."""
    for unit in ("30d", "-30d"):
        assert asked(f"baseline(a.h1.x,'{unit}',1,3)") == asked(f"baselineAberration(a.h1.x,'{unit}',1,3)") == []
