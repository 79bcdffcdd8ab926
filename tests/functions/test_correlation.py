"""Correlation, equal distributions and outliers, each against a loop that says what it is."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain import VALUES, floats, nones
from support.targets import FIRST, Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

LIBRARY = Library.standard()
BEFORE = (T - 240 - FIRST) // 60
Row = list[float | None]
ROWS = st.lists(VALUES, min_size=26, max_size=26)


def asked(target: str, *rows: Row, **options: Any) -> list[Series]:
    metrics = {f"m.x{number}": (60, floats(row).tolist()) for number, row in enumerate(rows)}
    return evaluate(target, library=LIBRARY, store=Store(metrics) if rows else Store(), **options)


def correlation(one: Row, two: Row) -> float | None:
    pairs = [(a, b) for a, b in zip(one, two) if a is not None and b is not None]
    if len({a for a, _ in pairs}) < 2 or len({b for _, b in pairs}) < 2:
        return None
    means = [sum(column) / len(pairs) for column in zip(*pairs)]
    together = math.fsum((a - means[0]) * (b - means[1]) for a, b in pairs)
    lengths = [math.fsum((value - mean) ** 2 for value in column) for column, mean in zip(zip(*pairs), means)]
    return together / math.sqrt(lengths[0]) / math.sqrt(lengths[1])


def same_distribution(one: Row, two: Row) -> float | None:
    first, second = ([value for value in row if value is not None] for row in (one, two))
    if not first or not second:
        return None
    distance = max(
        abs(sum(v <= edge for v in first) / len(first) - sum(v <= edge for v in second) / len(second))
        for edge in first + second
    )
    scaled = distance * math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    if scaled < 0.2:
        return 1.0
    return min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 200)))


@given(ROWS, ROWS, st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_windows_are_compared_where_both_have_values(one: Row, two: Row, size: int) -> None:
    (pearson,) = asked(f"pearson(m.x0,m.x1,{size})", one, two)
    (test,) = asked(f"ksTest2(m.x0,m.x1,{size})", one, two)
    assert pearson.name == f"pearson(m.x0,m.x1,{size})" and test.name == f"kolmogorovSmirnovTest2(m.x0,m.x1,{size})"
    for place, (closeness, chance) in enumerate(zip(nones(pearson.values.tolist()), nones(test.values.tolist()))):
        windows = [row[BEFORE:][max(0, place - size + 1) : place + 1] for row in (one, two)]
        expected = correlation(*windows) if place >= size - 1 else None
        assert (closeness is None) == (expected is None)
        assert closeness is None or expected is None or abs(closeness - expected) < 1e-6
        expected = same_distribution(*windows) if place >= size else None
        assert (chance is None) == (expected is None)
        assert chance is None or expected is None or abs(chance - expected) < 1e-6


def test_series_of_other_steps_are_compared_at_the_same_moments() -> None:
    (series,) = asked("pearson(b.h2.x,a.h1.x,2)")
    assert (series.start, series.step, nones(series.values.tolist())) == (T, 300, [None, 1.0])


def test_exactly_one_series_is_compared_with_one() -> None:
    assert asked("pearson(nosuch,a.h1.x,3)") == asked("ksTest2(a.h1.x,nosuch,3)") == []
    for call, word in (("pearson(a.*.x,a.h1.x,3)", "first"), ("ksTest2(a.h1.x,a.*.x,3)", "second")):
        with pytest.raises(QueryError, match=f"the {word} argument must be exactly one series, not 2"):
            asked(call)
    with pytest.raises(QueryError, match="at least 1 point"):
        asked("pearson(a.h1.x,a.h2.x,0)")
    (series,) = asked("pearson(a.h1.x,a.h2.x,9007199254740992)")
    assert nones(series.values.tolist()) == [None] * 10


@given(st.lists(ROWS, min_size=2, max_size=5), st.integers(0, 5), st.sampled_from(["abs", "pos", "neg"]))
@settings(max_examples=60, deadline=None)
def test_the_closest_series_come_first(rows: list[Row], n: int, direction: str) -> None:
    found = asked(f"pearsonClosest(m.x0,m.*,{n},'{direction}')", *rows)
    closeness = {f"m.x{number}": correlation(rows[0][BEFORE:], row[BEFORE:]) for number, row in enumerate(rows)}
    signed = {"abs": abs, "pos": lambda value: value, "neg": lambda value: -value}[direction]
    strengths = {name: signed(value) for name, value in closeness.items() if value is not None}
    kept = [strengths[series.name] for series in found]
    assert all(one >= other - 1e-6 for one, other in zip(kept, kept[1:]))
    assert all(strength >= -1e-6 for strength in kept)
    surely = sorted((strength for strength in strengths.values() if strength > 1e-6), reverse=True)
    assert len(kept) <= n and len(kept) >= min(n, len(surely))
    assert all(abs(one - other) < 1e-6 for one, other in zip(kept, surely))
    assert all(series.path_expression == "m.*" for series in found)


def test_direction_tells_those_that_move_against_it() -> None:
    store = Store({"m.up": (60, [1.0, 2.0] * 13), "m.down": (60, [2.0, 1.0] * 13), "m.flat": (60, [5.0] * 26)})
    for direction, names in (("abs", ["m.down", "m.up"]), ("pos", ["m.up"]), ("neg", ["m.down"])):
        found = evaluate(f"pearsonClosest(m.up,m.*,9,'{direction}')", library=LIBRARY, store=store)
        assert sorted(series.name for series in found) == names
    assert asked("pearsonClosest(nosuch,a.*.x,1)") == asked("pearsonClosest(a.h1.x,nosuch,1)") == []
    with pytest.raises(QueryError, match="must not be negative"):
        asked("pearsonClosest(a.h1.x,a.*.x,-1)")


@given(
    st.lists(ROWS, min_size=1, max_size=5),
    st.sampled_from([0.01, 0.5, 1.5]),
    st.integers(1, 5),
    st.one_of(st.integers(-12, 12), st.sampled_from(["3min", "-3min", "90s", "-90s", "1h"])),
)
@settings(max_examples=100, deadline=None)
def test_series_with_most_outliers_come_first(rows: list[Row], basis: float, n: int, interval: int | str) -> None:
    points = {"3min": 3, "-3min": -3, "90s": 1, "-90s": -1, "1h": 60}.get(str(interval), interval)
    assert isinstance(points, int)
    parts = [row[BEFORE:] for row in rows]
    if 0 < points < 10:
        parts = [row[-points:] for row in parts]
    elif -10 < points < 0:
        parts = [row[:points] for row in parts]
    known = sorted(value for row in parts for value in row if value is not None)
    for name, sign in (("tukeyAbove", 1), ("tukeyBelow", -1)):
        found = asked(f"{name}(m.*,{basis},{n},{interval!r})", *rows)
        if not known:
            assert found == []
            continue
        low, high = known[int(0.25 * len(known))], known[int(0.75 * len(known))]
        limit = high + basis * (high - low) if sign > 0 else low - basis * (high - low)
        counts = [sum(value is not None and sign * (value - limit) >= 0 for value in row) for row in parts]
        order = sorted((number for number in range(len(rows)) if counts[number]), key=lambda number: -counts[number])
        assert [series.name for series in found] == [f"m.x{number}" for number in order[:n]]


def test_outliers_need_a_basis_and_a_number() -> None:
    for call in ("tukeyAbove(a.*.x,0,1)", "tukeyBelow(a.*.x,1,0)"):
        with pytest.raises(QueryError, match=r"basis must be|n must be"):
            asked(call)
    assert asked("tukeyAbove(nosuch,1,1)") == []
