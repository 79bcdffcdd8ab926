"""Legends write numbers into names as graphite-web writes them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series
from support.targets import evaluate

from carbonpy.errors import QueryError
from carbonpy.functions.legends import in_units


def names(answer):
    return [one.name for one in answer]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("legendValue(a.h1.x,'last','si')", "a.h1.x              last 26.00     "),
        ("legendValue(a.h1.x,'avg','max')", "a.h1.x (avg: 21.5) (max: 26.0)"),
        ("legendValue(a.h1.x,'bogus')", "a.h1.x (bogus: (?))"),
        ("legendValue(a.h1.x,'bogus','si')", "a.h1.x              bogus(?)       "),
        ("legendValue(a.h1.x,'count','p50')", "a.h1.x (count: 10) (p50: 22.0)"),
        ("legendValue(a.h1.x)", "a.h1.x"),
        ("legendValue(a.h1.x,'binary')", "a.h1.x"),
        ("legendValue(scale(a.h1.x,1024),'max','binary')", "scale(a.h1.x,1024)  max  26.00Ki   "),
        ("cactiStyle(a.h1.x,'si','b')", "a.h1.x Current:26.00 b    Max:26.00 b    Min:17.00 b    "),
        ("cactiStyle(a.h1.x,units='{}')", "a.h1.x Current:26.00 {}    Max:26.00 {}    Min:17.00 {}    "),
        ("aliasQuery(a.h1.x,'h1','h2','v=%d')", "v=260"),
        ("aliasQuery(a.h1.x,'h1','h2','%.2f %%')", "260.00 %"),
        ("aliasQuery(a.h1.x,'^(.*)$','scale(\\1,2)','%s')", "52.0"),
    ],
)
def test_names_are_those_of_graphite_web(call, expected):
    assert names(evaluate(call)) == [expected]


def test_columns_are_as_wide_as_the_widest_of_all_series():
    assert names(evaluate("cactiStyle(a.*.x)")) == [
        "a.h1.x Current:26.00     Max:26.00     Min:17.00     ",
        "a.h2.x Current:260.00    Max:260.00    Min:170.00    ",
    ]


def test_what_has_no_value_is_none_in_legends_and_nan_in_columns():
    x = [series("a", [None]), series("b", [])]
    assert names(ask("legendValue(x,'max','count')", x=x)) == ["a (max: None) (count: 0)", "b (max: None) (count: 0)"]
    assert names(ask("legendValue(x,'max','si')", x=x[:1])) == [f"{'a':<20}max  None      "]
    assert names(ask("cactiStyle(x)", x=x[:1])) == ["a Current:nan     Max:nan     Min:nan     "]


@pytest.mark.parametrize(
    ("value", "system", "expected"),
    [
        (0.0, "si", (0.0, "")),
        (999.9, "si", (999.9, "")),
        (1000.0, "si", (1.0, "k")),
        (-2500.0, "si", (-2.5, "k")),
        (1024.0**5, "binary", (1.0, "Pi")),
        (3.0000000000000004e6, "si", (3.0, "M")),
        (0.5, "binary", (0.5, "")),
        (float("inf"), "si", (float("inf"), "P")),
    ],
)
def test_units_are_the_largest_that_the_value_reaches(value, system, expected):
    assert in_units(value, system) == expected


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["si", "binary"]))
def test_units_keep_the_value(value, system):
    sizes = {"": 1.0, **dict(zip("kMGTP", (1e3, 1e6, 1e9, 1e12, 1e15)))}
    sizes |= {f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTP", 1)}
    scaled, prefix = in_units(value, system)
    assert scaled * sizes[prefix] == pytest.approx(value, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, width=32) | st.none(), max_size=4), st.sampled_from(["si", "binary", None]))
def test_any_value_can_be_written(row, system):
    x = [series("a", row), series("longer", [1])]
    end = "" if system is None else f",'{system}'"
    assert len(ask(f"legendValue(x,'max','avg'{end})", x=x)) == 2
    assert len(ask(f"cactiStyle(x{end})", x=x)) == 2


@pytest.mark.parametrize(
    ("new_name", "message"),
    [
        ("no place", "not all arguments converted"),
        ("%d and %d", "not enough arguments"),
        ("%", "incomplete format"),
        ("%(name)s", "cannot show"),
        ("%*d", "cannot show"),
        ("%q", "unsupported format"),
        ("%1000000000d", "too many characters"),
        ("%.1000000000f", "too many characters"),
        ("%-+ 99999s", "too many characters"),
    ],
)
def test_a_new_name_shows_one_value_of_bounded_width(new_name, message):
    with pytest.raises(QueryError, match=f"aliasQuery.*{message}"):
        evaluate(f"aliasQuery(a.h1.x,'h1','h2','{new_name}')")


def test_a_name_needs_a_series_with_a_value():
    with pytest.raises(QueryError, match=r"there is no series 'a\.nosuch\.x'"):
        evaluate("aliasQuery(a.h1.x,'h1','nosuch','%d')")
    with pytest.raises(QueryError, match="has no value"):
        ask("aliasQuery(x,'a','y','%d')", x=[series("a", [1])], y=[series("y", [None])])
    with pytest.raises(QueryError, match="aliasQuery"):
        evaluate("aliasQuery(a.h1.x,'h1',' ','%d')")
    assert evaluate("aliasQuery(nosuch,'h1','h2','%d')") == []


def test_each_series_is_asked_for_once():
    x = [series("a", [1]), series("a", [2]), series("b", [3])]
    answer = ask("aliasQuery(x,'.','y','%.1f')", x=x, y=[series("y", [1, 7, None])])
    assert names(answer) == ["7.0", "7.0", "7.0"]


def test_long_texts_are_refused():
    for call in (f"legendValue(a.h1.x,'{'x' * 501}')", f"cactiStyle(a.h1.x,units='{'x' * 501}')"):
        with pytest.raises(QueryError, match="more than 500 characters"):
            evaluate(call)
