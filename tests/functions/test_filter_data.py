"""Values are taken out by their size; what equals the limit stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_series import ask, series, values

from carbonpy.errors import QueryError

rows = st.lists(st.one_of(st.none(), st.integers(-9, 9).map(float)), max_size=20)


@given(rows, st.integers(-9, 9))
def test_values_beyond_a_number_are_taken_out(row, limit):
    x = [series("x", row)]
    [above], [below] = ask(f"removeAboveValue(x,{limit})", x=x), ask(f"removeBelowValue(x,{limit})", x=x)
    assert values(above) == [None if value is None or value > limit else value for value in row]
    assert values(below) == [None if value is None or value < limit else value for value in row]
    assert (above.name, below.name) == (f"removeAboveValue(x, {limit})", f"removeBelowValue(x, {limit})")


@given(rows, st.integers(1, 100))
def test_values_beyond_a_percentile_are_taken_out(row, percent):
    known = sorted(value for value in row if value is not None)
    rank = -(-percent * (len(known) + 1) // 100)
    limit = known[min(max(rank, 1), len(known)) - 1] if known else 0
    x = [series("x", row)]
    [above], [below] = ask(f"removeAbovePercentile(x,{percent})", x=x), ask(f"removeBelowPercentile(x,{percent})", x=x)
    assert values(above) == [None if value is None or value > limit else value for value in row]
    assert values(below) == [None if value is None or value < limit else value for value in row]
    assert above.tags.get("nPercentile") == (f"{percent}.0" if known else None)


@pytest.mark.parametrize("percent", ["0", "-1", "100.5"])
def test_what_is_no_percentile_is_refused(percent):
    with pytest.raises(QueryError, match="no percentile"):
        ask(f"removeAbovePercentile(x,{percent})", x=[series("x", [1])])
