"""Whatever a client writes ends in series or in a QueryError: every function, with arguments of every kind and size."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.targets import TREE, Store, evaluate

from carbonpy.errors import QueryError
from carbonpy.expression.plan import Reading
from carbonpy.functions import aggregates
from carbonpy.functions.binding import SERIES_KINDS
from carbonpy.functions.declare import Kind, Param
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

LIBRARY = Library.standard()

#: Beside the usual metrics: extremes, nothing at all, one point, names and tags that need care.
METRICS = {
    **TREE,
    "odd.big": (60, [1e308, -1e308, 1e-308, 0.0, 1e200] * 8),
    "odd.none": (60, [float("nan")] * 40),
    "odd.once": (3600, [7.0]),
    "odd.week": (7 * 86400, [1.0, 2.0]),
    "odd.x(y)": (60, [5.0] * 40),
    "cpu;dc=eu;host=a": (60, [1.0] * 40),
    "cpu;dc=us": (60, [2.0] * 40),
}
SERIES = [
    "a.h1.x",
    "a.*.x",
    "*.h1.x",
    "b.*.x",
    "odd.*",
    "odd.big",
    "odd.none",
    "nosuch",
    "gap.g",
    "neg.n",
    "seriesByTag('name=cpu')",
    "group(a.*.x,odd.none)",
    "alias(a.h1.x,'x (y)')",
    "alias(a.*.x,'f(')",
    "scale(a.*.x,1e300)",
    "constantLine(5)",
    "mapSeries(a.*.x,0)",
]
NUMBERS = ["0", "1", "-1", "2", "3", "50", "100", "101", "1.5", "-0.5", "1e300", "1e-300", "-1e300", "9007199254740992"]
TEXTS = [
    "''", "'x'", "'a.h1'", "'%'", "'%s %d'", "'%.x'", "'('", "'(a+)+$'", "'\\1'", "'\\\\g<9>'", "'h(.)'", "'name'",
    "'dc'", "'h1'", "'sumSeries(%.x)'", "'__DEFAULT__'", "'#ff0000'",
]  # fmt: skip
INTERVALS = [
    "'0s'",
    "'1s'",
    "'-1s'",
    "'7s'",
    "'90s'",
    "'5min'",
    "'-5min'",
    "'1h'",
    "'1d'",
    "'-30d'",
    "'100y'",
    "''",
    "'999999999999y'",
]
DATES = ["'now'", "'-5min'", "'+5min'", "'-10y'", "'0'", "'1795402800'", "'noon yesterday'", "'99999999999'", "''"]
NAMES = [
    f"'{name}'" for name in (*aggregates.AGGREGATES, "p95", "sumSeries", "asPercent", "movingAverage", "alias", "bogus")
]
WRITTEN = {
    Kind.AGG_FUNC: NAMES,
    Kind.AGG_OR_SERIES_FUNC: NAMES,
    Kind.ANY: [*SERIES, *NUMBERS, *TEXTS],
    Kind.BOOLEAN: ["true", "false"],
    Kind.DATE: DATES,
    Kind.FLOAT: NUMBERS,
    Kind.INTEGER: [number for number in NUMBERS if "." not in number],
    Kind.INT_OR_INF: ["inf", "0", "1", "-1", "5"],
    Kind.INT_OR_INTERVAL: [*INTERVALS, "0", "1", "-1", "3", "1000", "1000000000"],
    Kind.INTERVAL: INTERVALS,
    Kind.NODE: ["0", "1", "-1", "9", "-9"],
    Kind.NODE_OR_TAG: ["0", "1", "-1", "9", "-9", "1.5", "'dc'", "'name'", "''"],
    Kind.SERIES: SERIES,
    Kind.SERIES_LIST: SERIES,
    Kind.SERIES_LISTS: ["mapSeries(a.*.x,0)", "mapSeries(odd.*,0)", "a.*.x", "nosuch"],
    Kind.STRING: [*TEXTS, *INTERVALS, *DATES],
    Kind.TAG: ["'dc'", "'name'", "''", "'nosuch'"],
}


def written(param: Param) -> st.SearchStrategy[str]:
    """Texts for one parameter, mostly suitable ones."""
    suitable = [*WRITTEN[param.kind], *(f"'{option}'" for option in param.options if isinstance(option, str))]
    return st.one_of(st.sampled_from(suitable), st.sampled_from(suitable), st.sampled_from(["none", "'x'", "5", "inf"]))


@st.composite
def calls(draw: st.DrawFn, name: str, inner: st.SearchStrategy[str] | None = None) -> str:
    """A call of the function with as many arguments as it may have; inner: what its series come from."""
    found = LIBRARY.find(name)
    assert found is not None
    arguments: list[str] = []
    for param in found.declaration.params:
        texts = inner if inner is not None and param.kind in SERIES_KINDS else written(param)
        if param.multiple:
            arguments += draw(st.lists(texts, min_size=int(param.required), max_size=3))
        elif param.required or draw(st.booleans()):
            arguments.append(draw(texts))
        else:
            break
    return f"{name}({','.join(arguments)})"


def calls_in_calls() -> st.SearchStrategy[str]:
    """Some levels of calls of any functions."""
    names = st.sampled_from([name for name in LIBRARY if name != "seriesByTag"])
    return st.recursive(
        st.sampled_from(SERIES), lambda inner: names.flatmap(lambda name: calls(name, inner)), max_leaves=6
    )


def check(target: str) -> None:
    store = Remembering(METRICS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = evaluate(target, library=LIBRARY, store=store)
    except QueryError as error:
        assert str(error)
    else:
        for series in answer:
            check_series(series)
    for given_, tags, values in store.given:
        assert given_.values.tobytes() == values
        assert dict(given_.tags) == tags


def check_series(series: Series) -> None:
    assert isinstance(series, Series)
    assert isinstance(series.name, str) and isinstance(series.path_expression, str)
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in series.tags.items())
    assert all(type(number) is int for number in (series.start, series.end, series.step))
    assert len(series) <= 1_000_000


@pytest.mark.parametrize("name", list(LIBRARY))
@given(data=st.data())
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_call_is_answered_or_refused_and_changes_nothing_it_got(name: str, data: st.DataObject) -> None:
    check(data.draw(calls(name)))


@given(calls_in_calls())
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_calls_in_calls_are_answered_or_refused_and_change_nothing_they_got(target: str) -> None:
    check(target)


class Remembering(Store):
    """Remembers what it gave, and copies of that."""

    def __init__(self, metrics: Mapping[str, tuple[int, Sequence[float]]]) -> None:
        super().__init__(metrics)
        self.given: list[tuple[Series, dict[str, str], bytes]] = []

    def __call__(self, readings: Sequence[Reading]) -> dict[Reading, list[Series]]:
        fetched = super().__call__(readings)
        for series in chain.from_iterable(fetched.values()):
            self.given.append((series, dict(series.tags), series.values.tobytes()))
        return fetched
