"""Filters keep some of the series and change none; what has no value is lower than everything."""

from __future__ import annotations

import math
import statistics
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values
from support.targets import T, evaluate

from carbonpy.errors import QueryError

LOWEST = -math.inf


def known(row):
    return [value for value in row if value is not None]


def of_known(function):
    return lambda row: function(known(row)) if known(row) else None


#: Aggregate -> what it makes of the values of one series.
FIGURES = {
    "average": of_known(statistics.fmean),
    "last": of_known(lambda row: row[-1]),
    "current": of_known(lambda row: row[-1]),
    "max": of_known(max),
    "min": of_known(min),
    "sum": of_known(sum),
    "median": of_known(statistics.median),
    "range": of_known(lambda row: max(row) - min(row)),
    "count": lambda row: len(known(row)),
    "avg_zero": lambda row: sum(known(row)) / len(row),
}
COMPARISONS = {
    "=": lambda figure, n: figure is not None and figure == n,
    "!=": lambda figure, n: figure is None or figure != n,
    ">": lambda figure, n: figure is not None and figure > n,
    ">=": lambda figure, n: figure is not None and figure >= n,
    "<": lambda figure, n: figure is None or figure < n,
    "<=": lambda figure, n: figure is None or figure <= n,
}
BY_THRESHOLD = {
    "averageAbove": ("average", ">"),
    "averageBelow": ("average", "<="),
    "currentAbove": ("last", ">"),
    "currentBelow": ("last", "<="),
    "maximumAbove": ("max", ">"),
    "maximumBelow": ("max", "<="),
    "minimumAbove": ("min", ">"),
    "minimumBelow": ("min", "<="),
}
BY_RANK = {
    "highestAverage": ("average", True),
    "highestCurrent": ("last", True),
    "highestMax": ("max", True),
    "highestMin": ("min", True),
    "lowestAverage": ("average", False),
    "lowestCurrent": ("last", False),
    "lowestMax": ("max", False),
    "lowestMin": ("min", False),
}

value = st.one_of(st.none(), st.integers(-4, 4).map(float))
rows = st.lists(st.lists(value, min_size=1, max_size=5), max_size=7)


def made(table):
    return [series(f"s{number}", row, tags={"name": f"s{number}", "a": "b"}) for number, row in enumerate(table)]


def names(answer):
    return [one.name for one in answer]


def check_unchanged(answer, given_series):
    """What comes out is what went in."""
    by_name = {one.name: one for one in given_series}
    for one in answer:
        before = by_name[one.name]
        assert values(one) == values(before)
        assert (one.start, one.end, one.step, one.tags) == (before.start, before.end, before.step, before.tags)
        assert one.path_expression == "x"


@settings(deadline=None)
@given(rows, st.sampled_from(sorted(FIGURES)), st.sampled_from(sorted(COMPARISONS)), st.integers(-4, 4))
def test_a_series_is_kept_if_its_figure_compares_with_the_threshold(table, function, operator, n):
    x = made(table)
    answer = ask(f"filterSeries(x,'{function}','{operator}',{n})", x=x)
    keep = COMPARISONS[operator]
    assert names(answer) == [f"s{place}" for place, row in enumerate(table) if keep(FIGURES[function](row), n)]
    check_unchanged(answer, x)


@settings(deadline=None)
@given(rows, st.sampled_from(sorted(BY_THRESHOLD)), st.integers(-4, 4))
def test_the_short_names_are_filters_by_one_aggregate(table, name, n):
    function, operator = BY_THRESHOLD[name]
    x = made(table)
    assert names(ask(f"{name}(x,{n})", x=x)) == names(ask(f"filterSeries(x,'{function}','{operator}',{n})", x=x))


@settings(deadline=None)
@given(rows, st.sampled_from(sorted(FIGURES)), st.booleans(), st.integers(-3, 9))
def test_the_highest_and_the_lowest_are_ranked_and_what_has_no_value_ranks_lowest(table, function, high, n):
    x = made(table)
    keys = [LOWEST if (figure := FIGURES[function](row)) is None else figure for row in table]
    order = sorted(range(len(table)), key=keys.__getitem__, reverse=high)[:n]
    answer = ask(f"{'highest' if high else 'lowest'}(x,{n},'{function}')", x=x)
    assert names(answer) == [f"s{place}" for place in order]
    check_unchanged(answer, x)


@settings(deadline=None)
@given(rows, st.sampled_from(sorted(BY_RANK)), st.integers(0, 5))
def test_the_short_names_rank_by_one_aggregate(table, name, n):
    function, high = BY_RANK[name]
    x = made(table)
    general = f"{'highest' if high else 'lowest'}(x,{n},'{function}')"
    assert names(ask(f"{name}(x,{n})", x=x)) == names(ask(general, x=x))


def test_one_is_the_count_of_highest_and_lowest_if_none_is_given():
    x = made([[1], [3], [2]])
    assert names(ask("highest(x)", x=x)) == ["s1"]
    assert names(ask("lowest(x)", x=x)) == ["s0"]
    assert names(ask("highest(x,func='min')", x=x)) == ["s1"]
    with pytest.raises(QueryError, match="n is missing"):
        ask("highestMax(x)", x=x)


def test_a_negative_limit_leaves_out_the_last():
    x = made([[1], [2], [3]])
    assert [names(ask(f"limit(x,{n})", x=x)) for n in (0, 2, 9, -1)] == [
        [],
        ["s0", "s1"],
        ["s0", "s1", "s2"],
        ["s0", "s1"],
    ]


@settings(deadline=None)
@given(rows, st.integers(0, 8))
def test_the_most_deviant_have_the_highest_deviation_and_a_value_at_all(table, n):
    deviations = {place: statistics.pstdev(known(row)) for place, row in enumerate(table) if known(row)}
    order = sorted(deviations, key=deviations.__getitem__, reverse=True)
    answer = ask(f"mostDeviant(x,{n})", x=made(table))
    got = [deviations[int(name[1:])] for name in names(answer)]
    assert got == pytest.approx([deviations[place] for place in order[:n]])
    assert len(set(names(answer))) == len(answer)


def ranked(column, percent):
    """The value of the percentile by Graphite's rule, without interpolation."""
    column = sorted(column)
    rank = math.ceil(percent / 100 * (len(column) + 1))
    return column[min(max(rank, 1), len(column)) - 1]


@settings(deadline=None)
@given(rows, st.integers(0, 100))
def test_averages_inside_the_percentiles_are_left_out(table, n):
    averages = [FIGURES["average"](row) for row in table]
    if known(averages):
        low, high = (ranked(known(averages), percent) for percent in sorted((n, 100 - n)))
    expected = [
        f"s{place}" for place, one in enumerate(averages) if one is not None and not low + 1e-12 < one < high - 1e-12
    ]
    answer = ask(f"averageOutsidePercentile(x,{n})", x=made(table))
    assert names(answer) == expected


@settings(deadline=None)
@given(st.lists(st.lists(value, min_size=4, max_size=4), max_size=6), st.integers(0, 100))
def test_a_series_stays_for_one_value_outside_the_percentiles_of_its_moment(table, n):
    expected = []
    for place, row in enumerate(table):
        for moment, one in enumerate(row):
            column = known([other[moment] for other in table])
            if one is not None and not ranked(column, min(n, 100 - n)) < one < ranked(column, max(n, 100 - n)):
                expected.append(f"s{place}")
                break
    x = made(table)
    answer = ask(f"removeBetweenPercentile(x,{n})", x=x)
    assert names(answer) == expected
    check_unchanged(answer, x)


def test_values_of_one_moment_are_compared_whatever_their_index():
    high, low, late = series("high", [1, 9, 9], start=0), series("low", [0, 0, 0], start=0), series("late", [5, 5])
    assert names(ask("removeBetweenPercentile(x,75)", x=[high, low, late])) == ["high", "low"]


@pytest.mark.parametrize("n", ["-1", "100.5"])
def test_percentiles_end_at_a_hundred(n):
    for name in ("averageOutsidePercentile", "removeBetweenPercentile"):
        with pytest.raises(QueryError, match="n must be between 0 and 100"):
            ask(f"{name}(x,{n})", x=made([[1]]))


@settings(deadline=None)
@given(rows, st.sampled_from([None, 0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans())
def test_series_with_too_few_values_are_dropped(table, xff, zero):
    expected = []
    for place, row in enumerate(table):
        count = sum(one != 0 for one in known(row)) if zero else len(known(row))
        if count and count / len(row) >= (xff or 0):
            expected.append(f"s{place}")
    arguments = "x" if xff is None else f"x,{xff}"
    answer = ask(f"{'removeZeroSeries' if zero else 'removeEmptySeries'}({arguments})", x=made(table), xff=0.9)
    assert names(answer) == expected


def test_patterns_search_in_names():
    x = [series(name, [1]) for name in ("web1.load", "web22.load", "db1.load", "alias (odd)")]
    assert names(ask("grep(x,'^web[0-9]+')", x=x)) == ["web1.load", "web22.load"]
    assert names(ask("exclude(x,'1|odd')", x=x)) == ["web22.load"]
    assert names(ask("grep(x,'(?i)WEB1')", x=x)) == ["web1.load"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names(ask("grep(x,'[[1]\\.load')", x=x)) == ["web1.load", "db1.load"]
    for call in ("grep(x,'(')", "exclude(x,'[')", "grep(x,'a{2,1}')", f"grep(x,'{'a' * 3000}')"):
        with pytest.raises(QueryError, match="regular expression"):
            ask(call, x=x)


def test_the_first_series_of_a_name_is_kept():
    x, y = [series("a", [1]), series("b", [2])], [series("b", [3]), series("c", [4])]
    assert [(one.name, values(one)) for one in ask("unique(x,y,x)", x=x, y=y)] == [("a", [1]), ("b", [2]), ("c", [4])]


def test_related_series_are_shown_for_those_above_and_gaps_do_not_hide_them():
    answer = evaluate("useSeriesAbove(a.*.x,100,'h2','h1')")
    assert [(one.name, one.start) for one in answer] == [("a.h1.x", T - 240)]
    assert evaluate("useSeriesAbove(a.*.x,1000,'h2','h1')") == []
    assert evaluate("useSeriesAbove(a.*.x,5,'^a.h.*','nosuch')") == []
    with pytest.raises(QueryError, match="useSeriesAbove"):
        evaluate("useSeriesAbove(a.*.x,5,'^','(')")


def test_very_many_related_series_are_asked_for_in_targets_of_bounded_length():
    x = [series(f"{'n' * 500}.m{number}", [1]) for number in range(500)]
    assert ask("useSeriesAbove(x,0,'.*(m[0-9]+)$',\"\\1\")", x=x, m7=[series("m7", [1])])[0].name == "m7"
    assert ask("useSeriesAbove(x,0,'zzz','')", x=x) == []


@settings(deadline=None)
@given(rows)
def test_filters_of_nothing_and_of_what_they_got_change_no_input(table):
    x = made(table)
    before = [(one.name, one.values.tobytes(), dict(one.tags)) for one in x]
    for call in ("highest(x,2)", "sortBy(x,'sum')", "averageOutsidePercentile(x,60)", "removeBetweenPercentile(x,60)"):
        ask(call, x=x)
        assert ask(call) == []
    assert [(one.name, one.values.tobytes(), dict(one.tags)) for one in x] == before
