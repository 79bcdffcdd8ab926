"""What is known to be read before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from carbonpy.errors import QueryError
from carbonpy.expression.grammar import parse
from carbonpy.expression.plan import Reading, readings, tag_expressions
from carbonpy.functions.declare import SERIES_LIST, SERIES_LISTS, Kind, Param, Window, function
from carbonpy.functions.library import Library


def nothing(*arguments: Any) -> list[Any]:
    """Not called by a plan."""
    raise AssertionError("a plan calls no function")


def declared(name: str, *params: Param, **options: Any) -> Any:
    return function(name, *params, group="Special", **options)(lambda *arguments: nothing(arguments))


def earlier(start: int, end: int, arguments: Sequence[Any]) -> list[Window]:
    return [Window(start - arguments[1], end)] if arguments[1] is not None else []


SECONDS = Param("seconds", Kind.INTEGER, required=True)
LIBRARY = Library(
    [
        declared("sum", SERIES_LISTS),
        declared("scale", SERIES_LIST, Param("factor", Kind.FLOAT, required=True)),
        declared("percent", SERIES_LIST, Param("total", Kind.ANY), Param("nodes", Kind.NODE_OR_TAG, multiple=True)),
        declared("earlier", SERIES_LIST, SECONDS, reads=earlier),
        declared("label", SERIES_LIST, Param("text", Kind.STRING, default="x")),
        declared("line", Param("value", Kind.FLOAT, required=True)),
    ]
)


def plan(*targets: str, **options: Any) -> list[tuple[str, int, int]]:
    return [tuple(one) for one in readings(map(parse, targets), 1000, 2000, LIBRARY, **options)]


def paths(*targets: str, **options: Any) -> list[str]:
    found = plan(*targets, **options)
    assert all(one[1:] == (1000, 2000) for one in found)
    return [path for path, _, _ in found]


def test_every_path_is_read_once_over_the_time_of_the_request() -> None:
    assert plan("sum(a.*,scale(b,2),a.*)", "b") == [Reading("a.*", 1000, 2000), Reading("b", 1000, 2000)]


def test_paths_are_read_as_they_are_looked_up() -> None:
    assert paths(r"sum(a\(1\).{b,c})") == ["a(1).{b,c}"]


def test_series_given_by_keyword_are_read_too() -> None:
    assert paths("percent(a,total=b)", "scale(factor=2,seriesList=c)") == ["a", "b", "c"]


def test_plain_values_are_not_read() -> None:
    assert paths("percent(a,50)", "line(5)", "label(a,'b.c')") == ["a"]


def test_a_function_that_reads_again_has_its_window_in_the_plan() -> None:
    assert plan("earlier(a,60)") == [("a", 1000, 2000), ("a", 940, 2000)]
    assert plan("earlier(seconds=60,seriesList=scale(a,2))") == [("a", 1000, 2000), ("a", 940, 2000)]


def test_windows_in_windows_add_up() -> None:
    assert plan("earlier(sum(earlier(a,60),b),100)") == [
        ("a", 1000, 2000),
        ("a", 940, 2000),
        ("b", 1000, 2000),
        ("a", 900, 2000),
        ("a", 840, 2000),
        ("b", 900, 2000),
    ]


def test_there_is_no_time_before_1970() -> None:
    assert plan("earlier(a,5000)") == [("a", 1000, 2000), ("a", 0, 2000)]


def test_template_variables_are_put_into_paths_and_the_longest_name_counts() -> None:
    assert paths("template(sum(a.$x.$xy),x='1',xy='2')", "template(sum(a.$1.$11),'q')") == ["a.1.2", "a.q.q1"]
    assert paths("a.$x") == ["a.$x"]


def test_values_of_the_request_override_those_of_the_target() -> None:
    assert paths("template(a.$x.$y,x='1',y=2)", "b.$x", request={"x": "9"}) == ["a.9.2", "b.$x"]


def test_odd_names_and_long_values_of_variables_do_no_harm() -> None:
    assert paths("template(a.$x.$,x=1)", request={"": "9", "(": "8", "[": "7"}) == ["a.1.$"]
    with pytest.raises(QueryError, match="too long"):
        plan("template(a.$x$x)", request={"x": "a" * 60_000})


def test_templates_in_templates_keep_the_outer_values() -> None:
    assert paths("template(sum(template(a.$x.$y,x=2)),x=1,y=3)") == ["a.2.3"]


def test_a_path_that_is_a_variable_is_its_value_where_no_series_are_wanted() -> None:
    assert plan("template(earlier($p,$n),p='a.b',n=60)") == [("a.b", 1000, 2000), ("a.b", 940, 2000)]
    assert plan("template(earlier(a,$n),n=5)", request={"n": "60"}) == [("a", 1000, 2000), ("a", 940, 2000)]
    assert paths("template(percent(a,$t),t=50)", "template(percent(a,$t),t='b')") == ["a", "b"]


def test_series_by_tag_are_one_reading_named_by_their_text() -> None:
    found = paths("sum(seriesByTag('name=cpu', \"dc=~e\"))", "template(seriesByTag('dc=$dc'),dc='eu')")
    assert found == ["seriesByTag('name=cpu', \"dc=~e\")", "seriesByTag('dc=eu')"]
    assert [tag_expressions(path) for path in found] == [("name=cpu", "dc=~e"), ("dc=eu",)]
    assert tag_expressions("a.b") is None and tag_expressions("seriesByTag") is None


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("scal(a,2)", "there is no function scal; did you mean scale?"),
        ("xyzzy(a)", "there is no function xyzzy; see /functions"),
        ("scale(a)", "scale(): parameter factor is missing"),
        ("scale(a,'x')", "scale(): parameter factor must be a number, not 'x'"),
        ("scale(a,b)", "scale(): parameter factor must be a number, not b without quotes"),
        ("label(a,line(2))", "label(): parameter text must be a text in quotes, not line(2)"),
        ("scale(5,2)", "scale(): parameter seriesList must be a path or a call that gives series, not 5"),
        ("scale(a,2,3)", "scale(): too many arguments"),
        ("sum(scale(a,'x'))", "scale(): parameter factor"),
        ("scale(a,faktor=2)", "scale(): there is no parameter faktor; it takes seriesList, factor"),
        ("seriesByTag()", "seriesByTag() takes tag expressions in quotes"),
        ("seriesByTag(a)", "seriesByTag() takes only tag expressions in quotes, not a"),
    ],
)
def test_what_cannot_be_called_is_refused_before_anything_is_read(target: str, sentence: str) -> None:
    with pytest.raises(QueryError) as caught:
        plan(target)
    assert str(caught.value).startswith(sentence)


def test_functions_that_read_again_inside_each_other_are_bounded() -> None:
    target = "a"
    for level in range(40):
        target = f"earlier({target},{2**level})"
    with pytest.raises(QueryError, match="nested too deeply"):
        plan(target)
