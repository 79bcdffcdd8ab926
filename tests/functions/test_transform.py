"""Every value on its own: the same as a plain Python function of it, null where that has no result."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values

from carbonpy.errors import QueryError
from carbonpy.functions import transform

numbers = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.floats(-5, 5), st.sampled_from([0.0, 1.0, -1.0])
)
rows = st.lists(numbers, max_size=12)

#: What is written -> (code, further arguments, model of one value).
POINTWISE = {
    "absolute(x)": (transform.absolute, (), abs),
    "add(x,2)": (transform.add, (2.5,), lambda v: v + 2.5),
    "exp(x)": (transform.exponential, (), math.exp),
    "invert(x)": (transform.invert, (), lambda v: math.pow(v, -1)),
    "log(x, 10)": (transform.logarithm, (10,), lambda v: math.log(v, 10)),
    "log(x, 2)": (transform.logarithm, (2,), lambda v: math.log(v, 2)),
    "logit(x)": (transform.logit, (), lambda v: math.log(v / (1 - v))),
    "sigmoid(x)": (transform.sigmoid, (), lambda v: 1 / (1 + math.exp(-v))),
    "offset(x,-1.5)": (transform.offset, (-1.5,), lambda v: v - 1.5),
    "pow(x,0)": (transform.power, (0.0,), lambda v: math.pow(v, 0)),
    "pow(x,3)": (transform.power, (3.0,), lambda v: math.pow(v, 3)),
    "pow(x,-0.5)": (transform.power, (-0.5,), lambda v: math.pow(v, -0.5)),
    "squareRoot(x)": (transform.square_root, (), lambda v: math.pow(v, 0.5)),
    "round(x,2)": (transform.round_values, (2,), lambda v: round(v, 2)),
    "scale(x,1e+300)": (transform.scale, (1e300,), lambda v: v * 1e300),
    "scaleToSeconds(x,1)": (transform.scale_to_seconds, (1.0,), lambda v: round(v * (1 / 60), 6)),
}


def modelled(function, value):
    try:
        result = None if value is None else function(value)
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    return None if result is None or math.isinf(result) or math.isnan(result) else result


def close(got, expected):
    return len(got) == len(expected) and all(
        (a is None) == (b is None) and (a is None or math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-300))
        for a, b in zip(got, expected)
    )


@pytest.mark.parametrize("name", POINTWISE)
@given(row=rows)
@settings(max_examples=60, deadline=None)
def test_a_value_becomes_what_python_makes_of_it(name, row):
    code, arguments, model = POINTWISE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [result] = code([series("x", row)], *arguments)
    assert result.name == result.path_expression == name
    assert close(values(result), [modelled(model, value) for value in row])


@given(row=rows)
@settings(max_examples=60, deadline=None)
def test_series_are_mapped_by_their_extremes(row):
    known = [value for value in row if value is not None]
    [zeroed], [mapped] = transform.offset_to_zero([series("x", row)]), transform.min_max([series("x", row)])
    assert close(values(zeroed), [modelled(lambda v: v - min(known), value) for value in row])
    assert zeroed.tags["offsetToZero"] == (str(min(known)) if known else "None")
    flat = len(set(known)) == 1
    model = (lambda v: 0.0) if flat else lambda v: (v - min(known)) / (max(known) - min(known))
    assert close(values(mapped), [modelled(model, value) for value in row])


def test_parameters_become_tags_as_text():
    x = series("x", [1.0])
    assert transform.scale([x], 1000.0)[0].tags == {"name": "x", "scale": "1000.0"}
    assert transform.add([x], 2.0)[0].tags["add"] == "2.0"
    assert transform.exponential([x])[0].tags["exp"] == "e"
    assert transform.logarithm([x], 2)[0].tags["log"] == "2"


def test_rounding_shows_the_precision_only_if_it_was_written():
    x = [series("x", [1.25])]
    assert [ask(target, x=x)[0].name for target in ("round(x)", "round(x,0)", "round(x,-1)")] == [
        "round(x)",
        "round(x,0)",
        "round(x,-1)",
    ]
    assert ask("round(x)", x=x)[0].tags["round"] == "0"


@pytest.mark.parametrize("base", [1, 0, -3])
def test_a_logarithm_needs_a_base(base):
    with pytest.raises(QueryError, match="no logarithm to base"):
        transform.logarithm([series("x", [1.0])], base)


def test_values_are_scaled_from_a_moment_on():
    x = [series("x", [1, -2, None, 4], start=60)]
    [result] = ask("scaleAfterTimestamp(x,-2.5,180)", x=x)
    assert (result.name, values(result)) == ("scaleAfterTimestamp(x,-2.5,180)", [1, -2, None, -10])
    assert values(ask("scaleAfterTimestamp(x,2,121)", x=x)[0]) == [1, -2, None, 8]
    assert values(ask("scaleAfterTimestamp(x,2)", x=x)[0]) == [2, -4, None, 8]
    assert values(ask("scaleAfterTimestamp(x,2,'now')", x=x)[0]) == [1, -2, None, 4]


def test_the_other_names_mean_the_same():
    x = [series("x", [100, None])]
    assert ask("logarithm(x)", x=x)[0].name == "log(x, 10)"
    assert values(ask("isNotNull(x)", x=x)[0]) == [1, 0]
