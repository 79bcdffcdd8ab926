"""Gaps are filled as plain loops over the values would fill them."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values

from carbonpy.functions import gaps

rows = st.lists(st.one_of(st.none(), st.none(), st.integers(-5, 5).map(float)), max_size=25)
limits = st.one_of(st.integers(-2, 6), st.just(math.inf))


def runs(row):
    """(first, behind) of each gap."""
    found, first = [], None
    for place, value in enumerate([*row, 0.0]):
        if value is None and first is None:
            first = place
        elif value is not None and first is not None:
            found.append((first, place))
            first = None
    return found


@given(rows, limits)
@settings(max_examples=200, deadline=None)
def test_the_last_value_is_kept_over_gaps_up_to_the_limit(row, limit):
    expected = list(row)
    for first, behind in runs(row):
        if first > 0 and behind - first <= limit:
            expected[first:behind] = [row[first - 1]] * (behind - first)
    [result] = gaps.keep_last_value([series("x", row)], limit)
    assert (result.name, values(result)) == ("keepLastValue(x)", expected)


@given(rows, limits)
@settings(max_examples=200, deadline=None)
def test_gaps_between_values_are_bridged_by_lines_up_to_the_limit(row, limit):
    expected = list(row)
    for first, behind in runs(row):
        if first > 0 and behind < len(row) and behind - first <= limit:
            left, right = row[first - 1], row[behind]
            for place in range(first, behind):
                distance = place - first + 1
                expected[place] = left + distance * (right - left) / (behind - first + 1)
    [result] = gaps.interpolate([series("x", row)], limit)
    assert (result.name, values(result)) == ("interpolate(x)", expected)


def test_a_series_of_nothing_stays_so():
    for code in (gaps.keep_last_value, gaps.interpolate):
        assert values(code([series("x", [None, None])], math.inf)[0]) == [None, None]
        assert values(code([series("x", [])], math.inf)[0]) == []


def test_a_number_stands_where_there_is_no_value():
    x = [series("x", [None, 2, None])]
    [plain] = ask("transformNull(x)", x=x)
    assert (plain.name, values(plain), plain.tags["transformNull"]) == ("transformNull(x,0)", [0, 2, 0], "0")
    [other] = ask("transformNull(x,-1)", x=x)
    assert (other.name, values(other), other.tags["transformNull"]) == ("transformNull(x,-1)", [-1, 2, -1], "-1.0")


def test_with_reference_series_only_where_one_of_them_has_a_value():
    x, y = [series("x", [None, None, None, 4])], [series("y", [1, None, None, 1]), series("z", [None, None, 1])]
    [result] = ask("transformNull(x,7,y)", x=x, y=y)
    assert result.name == "transformNull(x,7,referenceSeries)"
    assert values(result) == [7, None, 7, 4]
    assert result.tags["referenceSeries"] == "1"


def test_reference_series_of_other_grids_count_by_time():
    x = [series("x", [None] * 6, start=60)]
    coarse = [series("y", [None, 1], start=0, step=180)]  # from 180 until 360
    assert values(ask("transformNull(x,7,y)", x=x, y=coarse)[0]) == [None, None, 7, 7, 7, None]
    fine = [series("y", [1, None, None, None], start=90, step=30)]
    assert values(ask("transformNull(x,7,y)", x=x, y=fine)[0]) == [7, None, None, None, None, None]


def test_reference_series_that_do_not_exist_are_none():
    assert ask("transformNull(x,7,y)", x=[series("x", [None])])[0].name == "transformNull(x,7)"


@given(
    rows, st.integers(0, 400), st.sampled_from([20, 60, 90]), rows, st.integers(0, 400), st.sampled_from([20, 60, 90])
)
@settings(max_examples=150, deadline=None)
def test_slots_touch_marked_ones_exactly_if_they_share_a_second(row, start, step, other, other_start, other_step):
    one, reference = series("x", row, start, step), series("y", other, other_start, other_step)
    marked = {second for value, t in reference.points() if value is not None for second in range(t, t + other_step)}
    expected = [any(second in marked for second in range(t, t + step)) for t in one.timestamps()]
    touching = gaps.slots_touching(one, [(reference, reference.values == reference.values)])
    assert touching.tolist() == expected


def compressed(row):
    """(place of the first value, slots of a step, values) as graphite-web finds them; None for no period."""
    first = second = 0
    for place, value in enumerate(row):
        if value:
            if first > 0:
                second = place
                break
            first = place
    period = second - first
    third = second + period
    if period <= 1 or third > len(row) - 2 or not row[third]:
        return None
    if row[third - 1] is not None or row[third + 1] is not None:
        return None
    buckets = [row[place : place + period] for place in range(first, len(row), period)]
    return first, period, [next((v for v in reversed(bucket) if v is not None), None) for bucket in buckets]


@st.composite
def periodic(draw):
    """Mostly a value in every n-th slot."""
    period, lead = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    row = [None] * lead
    for value in draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, None]), max_size=8)):
        row += [value, *[None] * (period - 1)]
    return row


@given(st.one_of(rows, periodic()))
@example([None, 1, None, None, 2, None, None, 3, None, None, 4])
@settings(max_examples=200, deadline=None)
def test_periodic_gaps_are_found_as_graphite_web_finds_them(row):
    one = series("x", row)
    [result] = gaps.compress_periodic_gaps([one])
    expected = compressed(row)
    assert result.name == result.path_expression == "compressPeriodicGaps(x)"
    if expected is None:
        assert (result.start, result.step, values(result)) == (one.start, one.step, row)
    else:
        first, period, lasts = expected
        assert (result.start, result.step, values(result)) == (one.start + 60 * first, 60 * period, lasts)
        assert result.end == result.start + result.step * (len(lasts) - 1)


@pytest.mark.parametrize("target", ["keepLastValue(x,-1)", "interpolate(x,0)"])
def test_a_limit_below_one_fills_nothing(target):
    assert values(ask(target, x=[series("x", [1, None, 3, None])])[0]) == [1, None, 3, None]
