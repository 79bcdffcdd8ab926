"""Tag expressions one by one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.series.tagspec import (
    MAX_EXPRESSIONS,
    MAX_REGEX,
    is_series_by_tag,
    literal_prefix,
    parse_series_by_tag,
    parse_spec,
    parse_specs,
)


@pytest.mark.parametrize(
    ("text", "accepted", "refused"),
    [
        ("dc=dc1", ["dc1"], ["", "dc11", "DC1"]),
        ("dc!=dc1", ["", "dc11"], ["dc1"]),
        ("dc=", [""], ["dc1"]),
        ("dc!=", ["dc1"], [""]),
        ("dc=~dc1", ["dc1", "dc11"], ["", "xdc1"]),
        ("dc=~^dc1$", ["dc1"], ["dc11"]),
        ("dc=~a|b", ["a", "ax", "b", "bx"], ["xa", "xb"]),
        ("dc=~.*", ["", "x"], []),
        ("dc!=~dc.*", ["", "x"], ["dc", "dc1"]),
        ("dc!=~^$", ["x"], [""]),
        ("a=b=c", ["b=c"], ["b"]),
        ("dc=!x", ["!x"], ["x"]),
    ],
)
def test_an_expression_accepts_what_graphite_says(text, accepted, refused):
    spec = parse_spec(text)
    assert [value for value in accepted + refused if spec.accepts(value)] == accepted
    assert spec.accepts_empty is ("" in accepted)


@pytest.mark.parametrize("text", ["", "bogus", "=x", "!=x", "a;b=c", "a=b;c", "a!b=c", "a=x\n;"])
def test_what_is_no_expression_is_refused_in_graphites_words(text):
    with pytest.raises(QueryError, match=re.escape(f"Invalid tagspec {text}")):
        parse_spec(text)


def test_a_question_needs_an_expression_that_excludes_the_empty_string():
    with pytest.raises(QueryError, match="no tag expressions specified"):
        parse_specs([])
    with pytest.raises(QueryError, match="At least one tagspec must not match the empty string"):
        parse_specs(["dc=", "a!=b", "c=~.*"])
    assert [spec.tag for spec in parse_specs(["dc=x", "a!=b", "dc=x"])] == ["dc", "a"]
    with pytest.raises(QueryError, match="at most"):
        parse_specs([f"t{n}=x" for n in range(MAX_EXPRESSIONS + 1)])


def test_regular_expressions_that_are_none_or_too_long_are_refused():
    for regex in ("(", "[", "a{2,1}", "(?P<n>", "*", "x" * (MAX_REGEX + 1), "(" * 2000):
        with pytest.raises(QueryError):
            parse_spec(f"a=~{regex}")


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("seriesByTag('a=b')", ["a=b"]),
        ("seriesByTag(\"a=b\",'c!=~d.*' )", ["a=b", "c!=~d.*"]),
        (" seriesByTag( 'a=b' , 5, \"c=(x)\")", ["a=b", "c=(x)"]),
        (r"seriesByTag('a=~\d+\.x', 'q=it\'s', " + r'"w=\"")', [r"a=~\d+\.x", "q=it's", 'w="']),
        ("seriesByTag()", []),
        ("seriesByTag('a=b,c)')", ["a=b,c)"]),
    ],
)
def test_the_arguments_of_series_by_tag_are_its_strings(text, expressions):
    assert is_series_by_tag(text)
    assert parse_series_by_tag(text) == expressions


@pytest.mark.parametrize("text", ["seriesByTag('a=b", "seriesByTag('a=b' 'c=d')", "seriesByTag('a', f(x))", "a.b"])
def test_calls_that_make_no_sense_are_refused(text):
    with pytest.raises(QueryError):
        parse_series_by_tag(text)
    assert not is_series_by_tag("series.seriesByTag")


@given(
    st.text(alphabet="ab1.-|()[]?*+{}^$\\/", max_size=8),
    st.text(alphabet="ab1.-/", max_size=6),
)
def test_the_literal_prefix_never_loses_a_match(regex, value):
    try:
        pattern = re.compile(regex)
    except re.error:
        return
    if pattern.match(value):
        assert value.startswith(literal_prefix(regex))


def test_the_literal_prefix_is_found_where_it_is_plain():
    assert [literal_prefix(regex) for regex in ("web-1.*", "^web", "web1?", r"a\.b.*", "a|b", "(?i)a", "[ab]c")] == [
        "web-1",
        "web",
        "web",
        "a.b",
        "",
        "",
        "",
    ]
