"""Targets as trees: every recorded target gives the tree that graphite-web makes of it, or stands in the table."""

from __future__ import annotations

import ast
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.expression.grammar import first_path, parse
from carbonpy.expression.tree import Call, Expression, Literal, Path, Template

RECORDED = [
    line.rpartition(" => ")[::2]
    for line in (File(__file__).parent.parent / "golden" / "q1_grammar.txt").read_text().splitlines()
]
TARGETS = {ast.literal_eval(target): outcome for target, outcome in RECORDED}

#: What is after a complete expression is dropped there; here it is an error at the character given.
CUT_OFF_THERE = {
    "a|f": 3,
    "target1,target2": 8,
    "sum(a)foo": 7,
    "f(a b)": 5,
    "a.b c": 5,
    "f(a)=1": 5,
    "f(a,b,)": 7,
    "f(a,.5)": 5,
    "f(a,5.)": 7,
    "a.{b": 3,
    "a.b}": 4,
    "a.b..c": 5,
    "a..b": 3,
    "a.": 3,
    "f(a))": 5,
    "f((a))": 3,
    "f(a){b}": 5,
}
#: Refused there with a server error, here with the character.
REFUSED_IN_BOTH = {".a": 1, "(a)": 1}
#: Read as a call there that fails when it is evaluated.
NO_TEMPLATE = {"template(a.$x, x=true)": 16, "template(a.$x,1,x=2)": 17}
ERRORS = {**CUT_OFF_THERE, **REFUSED_IN_BOTH, **NO_TEMPLATE}

#: target -> (what it is here, why it is something else there).
UNDERSTOOD_HERE: dict[str, tuple[Any, str]] = {
    "a.b.{c,{d,e}}": ("a.b.{c,{d,e}}", "braces may stand in braces; there the path is cut to a.b"),
    "a.{b.c,d}": ("a.{b.c,d}", "dots may stand in braces; there the path is cut to a"),
    "f(b=1)": (("f", [], {"b": 1}), "keyword arguments may come first; there the target is cut to f"),
    "f(true.x)": (("f", ["true.x"], {}), "keywords are whole words; there the target is cut to f"),
    "f(none.b)": (("f", ["none.b"], {}), "keywords are whole words; there the target is cut to f"),
    "f(inf.b)": (("f", ["inf.b"], {}), "keywords are whole words; there the target is cut to f"),
    "é.b": ("é.b", "paths may have any printable character; there only ASCII unless it is set up otherwise"),
    'f(a, "x\\"y")': (("f", ["a", ['x"y']], {}), "a quote with a backslash is a quote; there the backslash stays"),
    "f(a,'b\\'c')": (("f", ["a", ["b'c"]], {}), "a quote with a backslash is a quote; there the backslash stays"),
}


def plain(tree: Expression) -> Any:
    """A tree as text for paths, [value] for literals and tuples for the rest."""
    if isinstance(tree, Path):
        return tree.text
    if isinstance(tree, Literal):
        return [tree.value]
    if isinstance(tree, Template):
        return ("template", plain(tree.body), dict(tree.values))
    return (tree.name, [plain(one) for one in tree.arguments], {name: plain_value(one) for name, one in tree.named})


def plain_value(tree: Expression) -> Any:
    return tree.value if isinstance(tree, Literal) else plain(tree)


def recorded(node: Any) -> Any:
    """A recorded expression, [path | call | template, pipes], in the form of `plain`."""
    inner, pipes = node
    if isinstance(inner, str):
        result: Any = inner
    elif inner[0] == "template":
        values = [(one[0], number_or_text(one[1][0][0])) for one in inner[2:] if len(one) == 2]
        texts = [(str(i), number_or_text(one[0])) for i, one in enumerate(inner[2:], 1) if len(one) == 1]
        body = inner[1] if isinstance(inner[1], str) else recorded([inner[1], []])
        result = ("template", body, dict(values + texts))
    else:
        result = recorded_call(inner, [])
    for (pipe,) in pipes:
        result = recorded_call(pipe, [result])
    return result


def recorded_call(call: list[Any], before: list[Any]) -> Any:
    """[start, name, arguments ..., end]"""
    _, name, *arguments, _ = call
    positional, named = list(before), {}
    for argument in arguments:
        if len(argument) == 2 and isinstance(argument[0], str) and is_value(argument[1]):
            named[argument[0]] = number_or_text(argument[1][0][0])
        elif is_value([argument]) or isinstance(argument[0], str):
            positional.append([number_or_text(argument[0])])
        else:
            positional.append(recorded(argument[0]))
    return (name, positional, named)


def is_value(argument: Any) -> bool:
    """Whether it is a wrapped number or keyword: [[text]] or [[[text]]]."""
    while isinstance(argument, list) and len(argument) == 1:
        argument = argument[0]
    return isinstance(argument, str)


def number_or_text(text: Any) -> Any:
    while isinstance(text, list):
        (text,) = text
    if text[0] in "'\"":
        return text[1:-1]
    keywords = {"true": True, "false": False, "none": None, "inf": float("inf")}
    return keywords[text] if text in keywords else ast.literal_eval(text)


def test_every_recorded_target_is_in_at_most_one_table_and_the_tables_have_no_other() -> None:
    assert set(ERRORS) | set(UNDERSTOOD_HERE) <= set(TARGETS)
    assert not set(ERRORS) & set(UNDERSTOOD_HERE)


@pytest.mark.parametrize(
    "target", [target for target in TARGETS if target not in ERRORS and target not in UNDERSTOOD_HERE]
)
def test_a_target_is_the_tree_that_graphite_web_makes_of_it(target: str) -> None:
    (expression,) = ast.literal_eval(TARGETS[target])
    assert plain(parse(target)) == recorded(expression)


@pytest.mark.parametrize("target", UNDERSTOOD_HERE)
def test_what_is_understood_only_here_has_its_tree(target: str) -> None:
    assert plain(parse(target)) == UNDERSTOOD_HERE[target][0]


@pytest.mark.parametrize("target", ERRORS)
def test_what_cannot_be_read_to_its_end_is_refused_with_the_place(target: str) -> None:
    with pytest.raises(QueryError, match=f"cannot read the target, character {ERRORS[target]}, "):
        parse(target)


@pytest.mark.parametrize(
    ("target", "character", "what"),
    [
        ("", None, "empty"),
        ("  ", None, "empty"),
        ("'a'", 1, "a path or a call should stand here"),
        ("f(", 3, "a path or a call"),
        ("f(a", 4, "f() has no end"),
        ("f(a,", 5, "a path or a call"),
        ("f(,a)", 3, "a path or a call"),
        ("f(a,,b)", 5, "a comma without an argument"),
        ("f(b=1,a)", 7, "an argument without a name after one with a name"),
        ("f(b=1,b=2)", 7, "the argument b twice"),
        ("f(b=)", 5, "a path or a call"),
        ("f('a)", 3, "a text begins that has no end"),
        ("f(a)|template(b,1)", 6, "a pipe leads to a call"),
        ("f(true|g())|", 13, "a pipe leads to a call"),
        ("template(a.$x,b)", 15, "only numbers and texts in quotes"),
        ("template(a.$x,inf)", 15, "only numbers and texts in quotes"),
        ("a\\", 2, "a backslash has nothing behind it"),
        ("a\x00b", 1, "cannot be printed"),
        ("a.{b,c", 3, "an opening brace has no end"),
        ("a.{b c}", 3, "an opening brace has no end"),
        ("f(" + "9" * 500 + ")", 3, "the number has 500 digits"),
    ],
)
def test_an_error_names_the_character_and_what_is_wrong(target: str, character: int | None, what: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(target)
    assert what in str(caught.value)
    if character is not None:
        assert f"character {character}, " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keywords_and_numbers_are_values_only_as_whole_arguments() -> None:
    assert plain(parse("f(True, INF, none, -1, 1.5, 2e-2)")) == (
        "f",
        [[True], [float("inf")], [None], [-1], [1.5], [0.02]],
        {},
    )
    assert parse("f(true )") == Call("f", (Literal(True, "true", 2, 6),), (), "f(true )", 0, 8)
    assert plain(parse("true")) == "true"
    assert plain(parse("12|f()")) == ("f", ["12"], {})
    assert plain(parse("g(12|f())")) == ("g", [("f", ["12"], {})], {})
    assert plain(parse("true(a)")) == ("true", ["a"], {})


def test_a_string_keeps_its_backslashes_but_for_those_before_its_own_quote() -> None:
    assert plain(parse(r"""f('a\.b\\', "c\'d\"", 'e"f', "g''h", 'i''j')""")) == (
        "f",
        [["a\\.b\\\\"], ["c\\'d\""], ['e"f'], ["g''h"], ["i''j"]],
        {},
    )


def test_a_backslash_in_a_path_is_dropped_before_what_the_grammar_means_and_kept_before_the_rest() -> None:
    path = parse(r"a\(1\)\=\'x\'.\*.b\\c")
    assert path == Path(r"a(1)='x'.\*.b\c", r"a\(1\)\=\'x\'.\*.b\\c", 0, 21)


def test_every_node_knows_the_text_it_came_from() -> None:
    text = " f( a.{b,c} , 'x' ) | g(n=2)"
    outer = parse(text)
    assert isinstance(outer, Call) and outer.typed == "f( a.{b,c} , 'x' ) | g(n=2)"
    inner = outer.arguments[0]
    assert isinstance(inner, Call) and inner.typed == "f( a.{b,c} , 'x' )"
    for node in (outer, inner, *inner.arguments, outer.named[0][1]):
        assert text[node.start : node.end] == node.typed


def test_a_template_may_stand_in_a_call_and_be_piped() -> None:
    assert plain(parse("sum(template(a.$x|f(),x='b',y=2))|g()")) == (
        "g",
        [("sum", [("template", ("f", ["a.$x"], {}), {"x": "b", "y": 2})], {})],
        {},
    )


@pytest.mark.parametrize("opening", ["f(", "template("])
def test_nesting_is_bounded(opening: str) -> None:
    parse(opening * 64 + "a" + ")" * 64)
    with pytest.raises(QueryError, match="at most 64"):
        parse(opening * 65 + "a" + ")" * 65)
    with pytest.raises(QueryError, match="at most 64"):
        parse(opening * 10_000)


def test_pipes_count_as_nesting() -> None:
    parse("a" + "|f()" * 64)
    with pytest.raises(QueryError, match="at most 64"):
        parse("a" + "|f()" * 65)
    with pytest.raises(QueryError, match="at most 2"):
        parse("f(a|g()|h(b|i()))", most_depth=2)


def test_length_is_bounded() -> None:
    parse("a" * 100_000)
    with pytest.raises(QueryError, match="at most 10"):
        parse("a" * 11, most_characters=10)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.b", "a.b"),
        ("sumSeries(scale(a.*.x,2),b)", "a.*.x"),
        ("a.h1.x (avg: 21.5)", "a.h1.x"),
        ("x (y)", "y"),
        ("sumSeries(a b c", "a"),
        ("f(a\\(b\\))", "a(b)"),
        ("scale(5.0,2)", "5.0"),
        ('alias("x y",1)', "x y"),
    ],
)
def test_the_first_path_of_a_name_is_found_even_if_the_name_is_no_target(text: str, path: str) -> None:
    assert first_path(text) == path


@pytest.mark.parametrize("text", ["", "(x)", "f()", "f(.a)", "{"])
def test_a_name_without_a_path_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        first_path(text)


@given(st.text(alphabet="ab.{},()'\"\\|=$ 1-e*\n", max_size=40))
def test_any_text_is_a_tree_or_a_query_error(text: str) -> None:
    for read in (parse, first_path):
        try:
            read(text)
        except QueryError:
            pass


@given(st.text(max_size=60))
def test_any_unicode_text_is_a_tree_or_a_query_error(text: str) -> None:
    try:
        parse(text)
    except QueryError:
        pass


paths = st.from_regex(r"[a-z*\[\]é%:~]{1,4}(\.([a-z?]{1,4}|\{[a-z.]{0,3}(,[a-z]{0,3}){0,2}\})){0,2}", fullmatch=True)
literals = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.sampled_from(["true", "FALSE", "none", "inf", "1.25", "-3e5"]),
    st.text(alphabet="ab (),|=.", max_size=8).map(lambda text: f"'{text}'"),
)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True).filter(lambda name: name != "template")


@st.composite
def calls(draw: st.DrawFn, inner: st.SearchStrategy[tuple[str, Any]]) -> tuple[str, Any]:
    """(text, what `plain` makes of it) of a call, sometimes written as a pipe."""
    name = draw(names)
    arguments = draw(st.lists(inner, max_size=3))
    blank = draw(st.sampled_from(["", " ", "\n "]))
    expected = (name, [tree for _, tree in arguments], {})
    texts = [text for text, _ in arguments]
    if arguments and not isinstance(arguments[0][1], list) and draw(st.booleans()):
        return f"{texts[0]}{blank}|{blank}{name}({','.join(texts[1:])})", expected
    return f"{name}({blank}{f'{blank},{blank}'.join(texts)}{blank})", expected


@given(
    st.recursive(
        st.one_of(
            paths.filter(lambda path: path not in ("true", "false", "none", "inf")).map(lambda path: (path, path)),
            literals.map(lambda text: (text, plain(parse(f"f({text})"))[1][0])),
        ),
        calls,
        max_leaves=8,
    ).filter(lambda pair: isinstance(pair[1], tuple))
)
def test_a_written_tree_is_read_as_it_was_written(pair: tuple[str, Any]) -> None:
    text, expected = pair
    assert plain(parse(text)) == expected
