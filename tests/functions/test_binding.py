"""Arguments and parameters: what fits, what is converted, and what the sentence says when it does not fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.functions.binding import LATER, bind, parameter, parameter_named
from carbonpy.functions.declare import SERIES_LIST, SERIES_LISTS, Declaration, Kind, Param
from carbonpy.series.series import Series

ONE = [Series("a", 0, 60, 60, np.array([1.0]))]


def declared(*params: Param) -> Declaration:
    return Declaration("f", params, "Special")


def bound(kind: Kind, value: Any, **options: Any) -> Any:
    (result,) = bind(declared(Param("p", kind, required=True, **options)), [value], {})
    return result


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Kind.FLOAT, 2, 2.0),
        (Kind.FLOAT, "1e3", 1000.0),
        (Kind.INTEGER, 3, 3),
        (Kind.INTEGER, 3.0, 3),
        (Kind.INTEGER, "-3", -3),
        (Kind.NODE, -1, -1),
        (Kind.INT_OR_INF, math.inf, math.inf),
        (Kind.INT_OR_INF, "inf", math.inf),
        (Kind.INT_OR_INF, 7, 7),
        (Kind.INT_OR_INTERVAL, 5, 5),
        (Kind.INT_OR_INTERVAL, "5", 5),
        (Kind.INT_OR_INTERVAL, "5min", "5min"),
        (Kind.INTERVAL, "-1d12h", "-1d12h"),
        (Kind.BOOLEAN, True, True),
        (Kind.BOOLEAN, "False", False),
        (Kind.BOOLEAN, 1, True),
        (Kind.BOOLEAN, 0.0, False),
        (Kind.STRING, "x", "x"),
        (Kind.STRING, 5, "5"),
        (Kind.STRING, 5.5, "5.5"),
        (Kind.DATE, "-1h", "-1h"),
        (Kind.DATE, 1709700000, "1709700000"),
        (Kind.NODE_OR_TAG, 1, 1),
        (Kind.NODE_OR_TAG, 1.0, 1),
        (Kind.NODE_OR_TAG, "dc", "dc"),
        (Kind.TAG, "dc", "dc"),
        (Kind.AGG_FUNC, "sumSeries", "sumSeries"),
        (Kind.AGG_FUNC, "p95", "p95"),
        (Kind.AGG_OR_SERIES_FUNC, "anything", "anything"),
        (Kind.ANY, ONE, ONE),
        (Kind.ANY, 50, 50),
        (Kind.SERIES_LIST, ONE, ONE),
        (Kind.SERIES_LIST, [], []),
        (Kind.SERIES_LISTS, [ONE, ONE], [ONE, ONE]),
        (Kind.SERIES_LISTS, ONE, [ONE]),
    ],
)
def test_a_suitable_value_is_converted_to_its_kind(kind: Kind, value: Any, expected: Any) -> None:
    result = bound(kind, value)
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[(kind, ONE) for kind in Kind if "series" not in kind.value and kind is not Kind.ANY],
        *[(kind, "no such thing") for kind in (Kind.FLOAT, Kind.INTEGER, Kind.BOOLEAN, Kind.INTERVAL, Kind.NODE)],
        (Kind.FLOAT, True),
        (Kind.FLOAT, math.inf),
        (Kind.FLOAT, "nan"),
        (Kind.FLOAT, 10**400),
        (Kind.INTEGER, 2.5),
        (Kind.INTEGER, True),
        (Kind.INTEGER, math.inf),
        (Kind.INTEGER, 10**30),
        (Kind.INTEGER, "9" * 5000),
        (Kind.INT_OR_INF, -math.inf),
        (Kind.INT_OR_INTERVAL, 2.5),
        (Kind.INT_OR_INTERVAL, "5 parsecs"),
        (Kind.INTERVAL, 5),
        (Kind.BOOLEAN, 2),
        (Kind.NODE_OR_TAG, True),
        (Kind.NODE_OR_TAG, math.inf),
        (Kind.DATE, True),
        (Kind.AGG_FUNC, "bogus"),
        (Kind.AGG_FUNC, 5),
        (Kind.AGG_OR_SERIES_FUNC, 5),
        (Kind.SERIES_LIST, 5),
        (Kind.SERIES_LIST, "a"),
        (Kind.SERIES_LIST, [ONE]),
        (Kind.SERIES_LISTS, 5),
        (Kind.SERIES_LISTS, [ONE, *ONE]),
    ],
)
def test_an_unsuitable_value_is_refused_by_the_name_of_its_parameter(kind: Kind, value: Any) -> None:
    with pytest.raises(QueryError, match=r"^parameter p must be .+, not .+"):
        bound(kind, value)


def test_left_out_and_none_mean_the_default() -> None:
    two = declared(Param("n", Kind.INTEGER, default=7), Param("text", Kind.STRING))
    assert bind(two, [], {}) == [7, None]
    assert bind(two, [None], {"text": None}) == [7, None]


def test_a_required_parameter_has_to_be_given() -> None:
    for positional in ([], [None]):
        with pytest.raises(QueryError, match="parameter n is missing; it must be a whole number"):
            bind(declared(Param("n", Kind.INTEGER, required=True)), positional, {})


def test_keywords_reach_their_parameters_by_all_their_spellings() -> None:
    shifted = declared(SERIES_LIST, Param("alignDst", Kind.BOOLEAN, default=False, also=("alignDST",)))
    assert bind(shifted, [ONE], {"alignDST": True}) == [ONE, True]
    assert bind(shifted, [], {"alignDst": "true", "seriesList": ONE}) == [ONE, True]
    with pytest.raises(QueryError, match="there is no parameter aligned; it takes seriesList, alignDst"):
        bind(shifted, [ONE], {"aligned": True})
    with pytest.raises(QueryError, match="parameter alignDst is given twice"):
        bind(shifted, [ONE, True], {"alignDST": True})


def test_more_arguments_than_parameters_are_refused() -> None:
    with pytest.raises(QueryError, match="too many arguments, 3 of at most 1; it takes seriesList"):
        bind(declared(SERIES_LIST), [ONE, 1, 2], {})
    with pytest.raises(QueryError, match="it takes no arguments"):
        bind(declared(), [1], {})


def test_a_multiple_parameter_takes_all_that_is_left() -> None:
    nodes = Param("nodes", Kind.NODE_OR_TAG, required=True, multiple=True)
    assert bind(declared(SERIES_LIST, nodes), [ONE, 1, "dc", 2.0], {}) == [ONE, 1, "dc", 2]
    assert bind(declared(SERIES_LIST, nodes), [ONE], {"nodes": 1}) == [ONE, 1]
    with pytest.raises(QueryError, match=r"parameter nodes must be .*, not none"):
        bind(declared(SERIES_LIST, nodes), [ONE, 1, None], {})
    with pytest.raises(QueryError, match="parameter nodes is missing"):
        bind(declared(SERIES_LIST, nodes), [ONE], {})
    assert bind(declared(SERIES_LISTS), [ONE, []], {}) == [ONE, []]


def test_options_are_the_only_values() -> None:
    assert bound(Kind.STRING, "max", options=("max", "min")) == "max"
    assert bound(Kind.STRING, False, options=(False, True, "days")) is False
    assert bound(Kind.STRING, 5, options=("5",)) == "5"
    with pytest.raises(QueryError, match="parameter p must be one of max, min, not 'avg'"):
        bound(Kind.STRING, "avg", options=("max", "min"))


def test_lists_of_series_are_called_that() -> None:
    with pytest.raises(QueryError, match=r"not lists of series$"):
        bound(Kind.SERIES_LIST, [ONE])


def test_a_function_by_name_has_to_be_an_aggregate_or_known() -> None:
    callback = declared(Param("callback", Kind.AGG_OR_SERIES_FUNC, required=True))
    for name in ("sum", "p99", "scale"):
        assert bind(callback, [name], {}, {"scale"}.__contains__) == [name]
    with pytest.raises(QueryError, match="parameter callback must be an aggregation function"):
        bind(callback, ["bogus"], {}, {"scale"}.__contains__)


@pytest.mark.parametrize("kind", Kind)
def test_what_is_not_known_yet_fits_everywhere_and_is_none(kind: Kind) -> None:
    assert bound(kind, LATER) is None


def test_parameters_are_found_by_position_and_by_name() -> None:
    rest = Param("rest", Kind.INTEGER, multiple=True)
    assert parameter(declared(SERIES_LIST), 1) is None
    assert parameter(declared(), 0) is None
    assert parameter(declared(SERIES_LIST, rest), 5) is rest
    assert parameter_named(declared(SERIES_LIST, rest), "rest") is rest
    assert parameter_named(declared(SERIES_LIST), "rest") is None


@given(
    st.sampled_from(Kind),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just(ONE), st.just([])),
)
def test_any_value_for_any_kind_is_bound_or_a_query_error(kind: Kind, value: Any) -> None:
    try:
        bound(kind, value)
    except QueryError:
        pass
