"""Aliases change names and nothing else."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values
from support.targets import evaluate

from carbonpy.errors import QueryError

name = st.one_of(
    st.sampled_from(["", "a", "a.b.c", "scale(a.b,2)", "x (y)", "cpu;dc=eu", "Ünï.cödé"]),
    st.text("aB.(),;=1 ", max_size=9),
)
CALLS = [
    "alias(x,'new')",
    "aliasByMetric(x)",
    "aliasByNode(x,1,-1)",
    "aliasByTags(x,'dc','name')",
    "aliasSub(x,'a','b')",
    "aliasByBase64(x)",
    "aliasByBase64(x,1)",
    "lower(x)",
    "upper(x,0,-1)",
    "substr(x,1)",
    "legendValue(x,'max','si')",
    "cactiStyle(x)",
]


def names(answer):
    return [one.name for one in answer]


def named(call, *given_names, **tags):
    return names(ask(call, x=[series(one, [1], tags={"name": one, **tags}) for one in given_names]))


@settings(deadline=None)
@given(st.lists(name, max_size=5), st.sampled_from(CALLS))
def test_nothing_but_the_name_changes(texts, call):
    x = [series(text, [1, None, place], tags={"name": text}, consolidation="max") for place, text in enumerate(texts)]
    answer = ask(call, x=x, xff=0.5)
    assert len(answer) == len(x)
    for one, before in zip(answer, x):
        assert (one.start, one.end, one.step, one.tags) == (before.start, before.end, before.step, before.tags)
        assert (one.path_expression, one.consolidation, one.xff) == ("x", "max", 0.5)
        assert values(one) == values(before)
    assert names(x) == texts


def test_an_alias_is_any_plain_value():
    assert named("alias(x,'Large Blue')", "a", "b") == ["Large Blue", "Large Blue"]
    assert named("alias(x,5)", "a") == ["5"]
    assert named("alias(x,'')", "a") == [""]
    assert named("alias(alias(x,'inner'),'outer')", "a") == ["outer"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("aliasByNode(a.*.x,1)", ["h1", "h2"]),
        ("aliasByNode(a.*.x,-1,0)", ["x.a", "x.a"]),
        ("aliasByNode(a.*.x,9)", ["", ""]),
        ("aliasByNode(a.h1.x,'name',1)", ["a.h1.x.h1"]),
        ("aliasByNode(sumSeries(a.*.x),1)", ["*"]),
        ("aliasByNode(scale(a.h1.x,2),1)", ["h1"]),
        ("aliasByNode(alias(a.h1.x,'x (y)'),0)", ["y"]),
        ("aliasByTags(a.h1.x,'name')", ["a.h1.x"]),
        ("aliasByMetric(scale(a.h1.x,2))", ["x"]),
        ("substr(a.h1.x,1,2)", ["h1"]),
        ("substr(scale(a.h1.x,2),-2)", ["h1.x"]),
        ("substr(a.h1.x)", ["a.h1.x"]),
        ("substr(a.h1.x,5)", [""]),
        ("substr(a.h1.x,0,-1)", ["a.h1"]),
        ("upper(a.h1.x)", ["A.H1.X"]),
        ("toUpperCase(a.h1.x)", ["A.H1.X"]),
        ("upper(a.h1.x,0,-1)", ["A.h1.X"]),
        ("upper(a.h1.x,99,-99)", ["a.h1.x"]),
        ("lower(alias(a.h1.x,'ABC'),1)", ["AbC"]),
        ("toLowerCase(alias(a.h1.x,'ABC'))", ["abc"]),
        (r"aliasSub(a.*.x,'^a\.(h\d)','<\1>')", ["<h1>.x", "<h2>.x"]),
        (r"aliasSub(a.h1.x,'^a\.(?P<host>h\d)','\g<host>')", ["h1.x"]),
    ],
)
def test_names_are_those_of_graphite_web(call, expected):
    assert names(evaluate(call)) == expected


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "scale(a.b,2)", "Ünï cödé (5)", "f('x', \"y\")", "a;b=c", "\\1"])
def test_the_pattern_of_everything_puts_text_behind_every_name(text):
    assert named(r'aliasSub(x,"(^.*$)","\1 A")', text) == [f"{text} A"]


@settings(deadline=None)
@given(st.text("ab.1", max_size=8), st.sampled_from(["a", "", "b*", "(a)|b", r"\d", "^", "$", "[ab]+"]))
def test_a_replacement_is_that_of_python(text, pattern):
    assert named(rf"aliasSub(x,'{pattern}','<\g<0>>')", text) == [re.sub(pattern, r"<\g<0>>", text)]


@pytest.mark.parametrize(
    ("search", "replacement", "message"),
    [
        ("(", "", "no regular expression"),
        ("a{99999999999}", "", "no regular expression"),
        ("a" * 2001, "", "2001 characters"),
        ("a", "b" * 2001, "2001 characters"),
        ("a", r"\1", "does not fit the pattern"),
        ("a", r"\g<nosuch>", "does not fit the pattern"),
        ("", "b" * 2000, "longer than"),
        ("(?=(.*))", r"\1" * 300, "longer than"),
    ],
)
def test_bad_and_boundless_replacements_are_refused(search, replacement, message):
    with pytest.raises(QueryError, match=rf"aliasSub.*{message}"):
        named(f"aliasSub(x,'{search}','{replacement}')", "a" * 2000)


def test_base64_is_decoded_where_it_is_text():
    encoded = base64.b64encode("metric.näme".encode()).decode()
    assert named("aliasByBase64(x)", encoded, "no base64", "////", "") == ["metric.näme", "no base64", "////", ""]
    assert named("aliasByBase64(x,2)", f"a.{encoded}.c", "a", "a.!.c") == ["a.metric.näme.c", "a", "a.!.c"]
    assert named("aliasByBase64(alias(x,'shown'),2)", f"a.{encoded}.c", "a.!") == ["a.metric.näme.c", "shown"]
    with pytest.raises(QueryError, match="from 1"):
        named("aliasByBase64(x,0)", "a")
