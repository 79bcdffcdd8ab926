"""An evaluation from targets to series: what is fetched when, what functions may ask, and what errors say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.targets import Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.expression.evaluate import Evaluation
from carbonpy.expression.plan import Reading
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, SERIES_LISTS, Kind, Param, Window, function
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

NUMBER = Param("number", Kind.FLOAT, required=True)
TEXT = Param("text", Kind.STRING, required=True)


@function("plus", SERIES_LIST, NUMBER, group="Transform")
def plus(series: Sequence[Series], number: float) -> list[Series]:
    return [one.derived(f"plus({one.name},{number:g})", one.values + number) for one in series]


@function("join", SERIES_LISTS, group="Combine")
def join(*lists: Sequence[Series]) -> list[Series]:
    return [one for series in lists for one in series]


@function("either", SERIES_LIST, Param("other", Kind.ANY), group="Special")
def either(series: Sequence[Series], other: Any) -> list[Series]:
    return [one.labelled(str(other)) for one in series] if not isinstance(other, list) else [*series, *other]


@function(
    "before",
    SERIES_LIST,
    Param("seconds", Kind.INTEGER, required=True),
    group="Transform",
    reads=lambda start, end, arguments: [Window(start - arguments[1], end - arguments[1])] if arguments[1] else [],
)
def before(context: Context, series: Sequence[Series], seconds: int) -> list[Series]:
    return context.again(context.start - seconds, context.end - seconds)


@function("surprise", SERIES_LIST, group="Transform")
def surprise(context: Context, series: Sequence[Series]) -> list[Series]:
    return context.again(context.start - 60, context.end)


@function("target", TEXT, group="Special")
def target(context: Context, text: str) -> list[Series]:
    return context.evaluator.target(text, context)


@function("through", SERIES_LIST, TEXT, Param("rest", Kind.ANY, multiple=True), group="Special")
def through(context: Context, series: Sequence[Series], text: str, *rest: Any) -> list[Series]:
    return context.evaluator.call(text, [list(series), *rest], context)


@function("strict", SERIES_LIST, NUMBER, group="Special")
def strict(context: Context, series: Sequence[Series], number: float) -> list[Series]:
    context.xff = number
    return [one.changed(xff=number) for one in series]


@function("lists", SERIES_LIST, group="Combine")
def lists(series: Sequence[Series]) -> Any:
    return [[one] for one in series]


@function("flat", Param("seriesLists", Kind.SERIES_LISTS, required=True), group="Combine")
def flat(groups: Sequence[Sequence[Series]]) -> list[Series]:
    return [one for group in groups for one in group]


@function("complain", SERIES_LIST, group="Special")
def complain(series: Sequence[Series]) -> list[Series]:
    raise QueryError("this will not do")


@function("break", SERIES_LIST, group="Special")
def broken(series: Sequence[Series]) -> list[Series]:
    raise ZeroDivisionError


@function("moment", TEXT, group="Special")
def moment(context: Context, text: str) -> list[Series]:
    return [Series(str(context.moment(text) - T), 0, 60, 60, np.zeros(1))]


LIBRARY = Library(
    [plus, join, either, before, surprise, target, through, strict, lists, flat, complain, broken, moment]
)


def ask(*targets: str, **options: Any) -> list[Series]:
    return evaluate(*targets, library=LIBRARY, **options)


def names(*targets: str, **options: Any) -> list[str]:
    return [series.name for series in ask(*targets, **options)]


def complaint(*targets: str, **options: Any) -> str:
    with pytest.raises(QueryError) as caught:
        ask(*targets, **options)
    return str(caught.value)


def values(series: Series) -> list[float | None]:
    return [value for value, _ in series.points()]


def test_targets_are_answered_in_their_order_with_duplicates() -> None:
    assert names("plus(cnt.c,1)", "a.*.x", "a.h1.x") == ["plus(cnt.c,1)", "a.h1.x", "a.h2.x", "a.h1.x"]
    assert names("nosuch.*") == [] == names()


def test_a_fetched_series_knows_the_path_as_it_was_typed_and_the_xff_of_the_request() -> None:
    one, two = ask("a.{h1,h2}.x", xff=0.25)
    assert one.path_expression == two.path_expression == "a.{h1,h2}.x" and one.xff == 0.25
    (tagged,) = ask("plus(seriesByTag( 'name=cnt.c' ),1)|either(2)")
    assert tagged.path_expression == "plus(cnt.c,1)"
    assert ask("seriesByTag( 'name=cnt.c' )")[0].path_expression == "seriesByTag( 'name=cnt.c' )"


def test_everything_known_is_fetched_at_once_and_nothing_twice() -> None:
    store = Store()
    ask("join(a.h1.x,before(a.*.x,60))", "either(cnt.c,other=a.h1.x)", "a.h1.x", store=store)
    assert store.asked == [
        [
            Reading("a.h1.x", T - 300, T + 300),
            Reading("a.*.x", T - 300, T + 300),
            Reading("a.*.x", T - 360, T + 240),
            Reading("cnt.c", T - 300, T + 300),
        ]
    ]


def test_what_turns_up_later_is_fetched_when_it_does() -> None:
    store = Store()
    assert len(ask("surprise(join(a.h1.x,cnt.c))", "surprise(a.h1.x)", "target('gap.g')", store=store)) == 4
    assert store.asked[1:] == [
        [Reading("a.h1.x", T - 360, T + 300), Reading("cnt.c", T - 360, T + 300)],
        [Reading("gap.g", T - 300, T + 300)],
    ]


def test_no_targets_and_plain_values_fetch_nothing() -> None:
    store = Store()
    assert names("moment('-1h')", "moment('now')", store=store) == ["-3300", "300"]
    assert store.asked == []


def test_the_first_argument_is_evaluated_again_over_the_other_time() -> None:
    plain, shifted, nested = ask(
        "a.h1.x", "before(plus(a.h1.x,0),60)", "before(before(seriesList=a.h1.x,seconds=60),60)"
    )
    assert shifted.start == plain.start - 60 and nested.start == plain.start - 120
    assert values(shifted) == [16.0, *values(plain)[:-1]]


def test_template_variables_stay_in_force_when_an_argument_is_evaluated_again() -> None:
    assert names("template(before(plus(a.$h.x,$n),60),h='h1',n=2)") == ["plus(a.h1.x,2)"]
    assert names("template(surprise(a.$h.x),h='h1')", templates={"h": "h2"}) == ["a.h2.x"]
    assert names("template(target('a.$h.x'),h='h1')") == ["a.h1.x"]


def test_a_variable_is_a_number_where_one_is_wanted_and_a_path_where_series_are() -> None:
    assert names("template(plus($1,$2),'a.h1.x',2)", templates={"2": "5"}) == ["plus(a.h1.x,5)"]
    assert names("template(either(a.h1.x,$t),t='7')") == ["7.0"]
    assert names("template(either(a.h1.x,$t),t='cnt.c')") == ["a.h1.x", "cnt.c"]


def test_a_function_may_be_called_by_name_with_values() -> None:
    assert names("through(a.h1.x,'plus',2)") == ["plus(a.h1.x,2)"]
    assert names("through(a.h1.x,'through','plus',2)") == ["plus(a.h1.x,2)"]
    assert "plus(): parameter number is missing" in complaint("through(a.h1.x,'plus')")
    assert "there is no function nosuch" in complaint("through(a.h1.x,'nosuch')")
    assert "surprise(): it reads its series over another time" in complaint("through(a.h1.x,'surprise')")


def test_the_xff_that_a_function_sets_holds_for_what_is_evaluated_after_it() -> None:
    before_it, inside, after = ask("a.h1.x", "strict(a.h1.x,0.5)", "cnt.c")
    assert (before_it.xff, inside.xff, after.xff) == (0.0, 0.5, 0.5)


def test_the_xff_that_is_set_while_reading_again_is_forgotten() -> None:
    assert [one.xff for one in ask("join(before(strict(a.h1.x,0.5),60),cnt.c)", "gap.g")] == [0.5, 0.5, 0.5]
    assert [one.xff for one in ask("surprise(a.h1.x)", "gap.g", xff=0.25)] == [0.25, 0.25]


def test_lists_of_lists_are_only_for_functions_that_take_them() -> None:
    assert names("flat(lists(a.*.x))", "flat(a.*.x)") == ["a.h1.x", "a.h2.x"] * 2
    assert "lists of series" in complaint("lists(a.*.x)")
    assert "join(): parameter seriesLists must be a path" in complaint("join(lists(a.*.x))")


def test_an_error_names_the_function_and_the_target_once() -> None:
    assert complaint("a.h1.x", "plus(complain(a.h1.x),1)") == (
        "complain(): this will not do; in the target plus(complain(a.h1.x),1)"
    )
    assert complaint("through(a.h1.x,'complain')") == (
        "complain(): this will not do; in the target through(a.h1.x,'complain')"
    )
    assert complaint("target('complain(a)')") == "complain(): this will not do; in the target target('complain(a)')"
    assert complaint("target('complain(a')").startswith("target(): cannot read the target, character 11, at its end: ")
    assert complaint("nosuch(a)").endswith("; in the target nosuch(a)")
    assert complaint("a..b").startswith("cannot read the target, character 3, ")


def test_a_long_target_is_quoted_in_part() -> None:
    assert complaint("complain(" + "a" * 300 + ")").endswith("aaa...")


def test_a_defect_of_a_function_is_let_through() -> None:
    with pytest.raises(ZeroDivisionError):
        ask("break(a.h1.x)")


def test_a_wrong_argument_is_found_before_anything_is_fetched() -> None:
    store = Store()
    assert "plus(): parameter number" in complaint("a.h1.x", "plus(cnt.c,'x')", store=store)
    assert store.asked == []


def test_the_number_of_series_is_bounded() -> None:
    assert len(ask("a.*.x", "cnt.c", most_series=3)) == 3
    assert "4 series are too many; ask for at most 3" in complaint("a.*.x", "cnt.c", "gap.g", most_series=3)
    assert "join(): 4 series are too many" in complaint("join(a.*.x,a.*.x)", most_series=3)
    assert len(ask("before(a.*.x,60)", most_series=2)) == 2


def test_work_is_bounded() -> None:
    deep = "a.h1.x"
    for _ in range(9):
        deep = f"before({deep},1)"
    assert "too often" in complaint(deep, most_calls=100)


def test_targets_in_targets_are_bounded() -> None:
    @function("again", SERIES_LIST, group="Special")
    def again(context: Context, series: Sequence[Series]) -> list[Series]:
        return context.evaluator.target("again(a.h1.x)", context)

    with pytest.raises(QueryError, match="too deeply"):
        evaluate("again(a.h1.x)", library=Library([again]))


def test_the_clock_is_asked_before_every_function_and_fetch() -> None:
    class Late(Exception):
        pass

    left = [3]

    def check() -> None:
        left[0] -= 1
        if not left[0]:
            raise Late

    with pytest.raises(Late):
        ask("plus(plus(plus(a.h1.x,1),1),1)", check=check)


def test_functions_see_the_evaluation_as_their_contract_says() -> None:
    evaluation = Evaluation(LIBRARY, Store(), start=T - 300, end=T + 300, now=T + 300)
    assert evaluation.knows("plus") and not evaluation.knows("minus")
    assert evaluation.first_path("plus(a.b,2)") == "a.b"
    evaluation.pieces()
