"""What all functions of the family keep to: inputs, grids, nulls, and what a series carries beside its values."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_series import ask, series, values

#: Calls whose result has the grid of x and no value where x has none.
NULL_STAYS = [
    "absolute(x)", "add(x,2)", "exp(x)", "invert(x)", "log(x)", "logarithm(x,2)", "logit(x)", "minMax(x)",
    "offset(x,1)", "offsetToZero(x)", "pow(x,0)", "pow(x,-1)", "round(x)", "round(x,-2)", "scale(x,3)",
    "scaleAfterTimestamp(x,3,120)", "scaleToSeconds(x,1)", "sigmoid(x)", "squareRoot(x)", "derivative(x)",
    "nonNegativeDerivative(x)", "nonNegativeDerivative(x,50,1)", "perSecond(x)", "perSecond(x,50)", "integral(x)",
    "integralWithReset(x,y)", "removeAbovePercentile(x,50)", "removeBelowPercentile(x,50)", "removeAboveValue(x,3)",
    "removeBelowValue(x,3)", "timeSlice(x,'-9min','-3min')", "delay(x,0)",
]  # fmt: skip
#: Calls whose result has the grid of x, and may have values where x has none.
NULL_FILLED = [
    "isNonNull(x)", "isNotNull(x)", "transformNull(x)", "transformNull(x,1,y)", "keepLastValue(x)",
    "keepLastValue(x,2)", "interpolate(x)", "interpolate(x,2)", "integralByInterval(x,'3min')", "delay(x,3)",
    "delay(x,-3)", "timeShift(x,'1h')", "timeStack(x,'1h',0,1)",
]  # fmt: skip
#: Calls whose result has a grid of its own, with this step (None: found in the values).
COARSER = {
    "summarize(x,'5min')": 300, "summarize(x,'7s','avg',true)": 7, "smartSummarize(x,'1h','max','hours')": 3600,
    "smartSummarize(x,'90s')": 90, "hitcount(x,'4min')": 240, "hitcount(x,'1h',true)": 3600,
    "compressPeriodicGaps(x)": None,
}  # fmt: skip
EVERY = [*NULL_STAYS, *NULL_FILLED, *COARSER]

number = st.one_of(
    st.none(), st.integers(-9, 9).map(float), st.floats(-1e3, 1e3), st.sampled_from([1e308, -1e308, 5e-324])
)
rows = st.lists(number, max_size=20)


def asked(call, row):
    """(x, what the call gives), without a warning, and with x as it was."""
    x = series("x", row, consolidation="max", tags={"name": "x", "dc": "eu"}, options={"color": "red"})
    before = x.values.tobytes(), dict(x.tags), dict(x.options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [result] = ask(call, xff=0.25, x=[x], y=[series("y", [1, None, 0, 2, None, 0])])
    assert (x.values.tobytes(), dict(x.tags), dict(x.options)) == before
    return x, result


@pytest.mark.parametrize("call", EVERY)
@given(row=rows)
@settings(max_examples=15, deadline=None)
def test_inputs_stay_and_results_are_as_declared(call, row):
    x, result = asked(call, row)
    assert (result.consolidation, result.xff, result.options) == (x.consolidation, 0.25, x.options)
    assert result.tags.items() >= x.tags.items()
    assert result.path_expression == ("x" if call.startswith(("timeShift", "timeSlice")) else result.name)
    assert not any(value is not None and abs(value) == float("inf") for value in values(result))
    assert not result.values.flags.writeable
    if call not in COARSER:
        assert (result.start, result.end, result.step, len(result)) == (x.start, x.end, x.step, len(x))
    elif COARSER[call] is not None:
        assert (result.step, result.end) == (COARSER[call], result.span.end)
        assert result.start <= x.start and result.end >= x.end
        assert any(value is not None for value in values(result)) <= any(value is not None for value in values(x))
    if call in NULL_STAYS:
        assert all(made is None for value, made in zip(values(x), values(result)) if value is None)


@pytest.mark.parametrize("call", EVERY)
def test_no_series_give_none(call):
    assert ask(call, x=[], y=[series("y", [1])]) == []


@pytest.mark.parametrize("call", EVERY)
def test_every_series_is_answered_on_its_own_and_in_its_place(call):
    first, second = series("b", [1, None, 3, 4, 5, 6]), series("a", [None, 9, 8, 7])
    y = [series("y", [1, None, 0, 2, None, 0])]
    alone = [ask(call, x=[one], y=y)[0] for one in (first, second)]
    together = ask(call, x=[first, second], y=y)
    assert [(one.name, one.start, one.step, values(one)) for one in together] == [
        (one.name, one.start, one.step, values(one)) for one in alone
    ]
