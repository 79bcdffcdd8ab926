"""JSON against the standard library's own writer, for any values, and with the fast writer."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.series.series import Series
from carbonpy.web import json_format

values = st.lists(
    st.one_of(st.just(math.nan), st.floats(allow_nan=False), st.integers(-(10**6), 10**6).map(float)), max_size=30
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
series_strategy = st.builds(
    lambda name, start, step, numbers: Series(
        name, start * step, (start + len(numbers)) * step, step, np.array(numbers), tags={"name": name, "ü": '"'}
    ),
    names,
    st.integers(0, 10**7),
    st.sampled_from([1, 10, 60]),
    values,
)
answers = st.lists(series_strategy, max_size=4)


def document(answer, no_nulls=False):
    return [
        {"target": s.name, "tags": dict(s.tags), "datapoints": points}
        for s in answer
        for points in [
            [
                [v if v is not None and math.isfinite(v) else None, t]
                for v, t in s.points()
                if not no_nulls or (v is not None and math.isfinite(v))
            ]
        ]
        if points or not no_nulls
    ]


def refuse(constant):
    pytest.fail(f"{constant} is not JSON")


def strict(chunks):
    """The document, read by a parser that knows neither NaN nor Infinity."""
    return json.loads(b"".join(chunks), parse_constant=refuse)


@given(answers, st.booleans())
def test_json_is_byte_for_byte_that_of_the_json_module(answer, no_nulls):
    written = b"".join(json_format.json_chunks(answer, no_nulls=no_nulls)).decode()
    assert written == json.dumps(document(answer, no_nulls))
    pretty = b"".join(json_format.json_chunks(answer, no_nulls=no_nulls, pretty=True)).decode()
    assert pretty == json.dumps(document(answer, no_nulls), indent=2)


@given(answers, st.booleans(), st.booleans())
def test_the_fast_writer_gives_the_same_document(answer, no_nulls, pretty):
    numbers = json_format.fast_numbers()
    assert numbers is not None, "install the extra carbonpy[fast] for the tests"
    written = strict(json_format.json_chunks(answer, no_nulls=no_nulls, pretty=pretty, numbers=numbers))
    assert written == document(answer, no_nulls)
    assert repr(written) == repr(document(answer, no_nulls))
    size, pieces = json_format.measured_json(answer, no_nulls=no_nulls, numbers=numbers)
    measured = b"".join(pieces)
    assert len(measured) == size
    assert measured == b"".join(json_format.json_chunks(answer, no_nulls=no_nulls, numbers=numbers))


@given(
    st.lists(values.filter(bool), min_size=1, max_size=3),
    st.integers(100, 150),
    st.sampled_from([0, 999_999_000, 1_700_000_000, -500]),
    st.sampled_from([1, 10]),
)
def test_long_series_are_written_like_short_ones(lines, count, start, step):
    """Starts are chosen so that timestamps get a digit more on the way, or are negative."""
    answer = [Series("a", start, start + count * step, step, np.resize(np.array(line), count)) for line in lines]
    fast = json_format.fast_numbers()
    written = strict(json_format.json_chunks(answer, numbers=fast))
    assert repr(written) == repr(document(answer))
    size, pieces = json_format.measured_json(answer, numbers=fast)
    assert sum(map(len, pieces)) == size == len(b"".join(json_format.json_chunks(answer, numbers=fast)))
    drawn = strict(json_format.rickshaw_chunks(answer, numbers=fast))
    assert repr(drawn) == repr(strict(json_format.rickshaw_chunks(answer)))


def test_the_longest_and_the_shortest_numbers_stand_side_by_side():
    numbers = [-2.2250738585072014e-308, 0.0, math.nan, -1.7976931348623157e308, 1.0, math.inf]
    for shift in range(len(numbers)):
        series = Series("a", 10**9, 10**9 + 120, 1, np.array((numbers[shift:] + numbers[:shift]) * 20))
        (written,) = strict(json_format.json_chunks([series], numbers=json_format.fast_numbers()))
        assert repr(written["datapoints"]) == repr(document([series])[0]["datapoints"])


def test_a_number_has_a_value_every_digit_of_which_is_kept():
    awkward = np.array([0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e16, 123456789012345680.0, 2.0**53])
    series = Series("a", 0, 8, 1, awkward)
    for numbers in (None, json_format.fast_numbers()):
        (written,) = strict(json_format.json_chunks([series], numbers=numbers))
        assert [repr(v) for v, _ in written["datapoints"]] == list(map(repr, awkward.tolist()))


writers = st.sampled_from([None, json_format.fast_numbers()])


@given(answers, writers)
def test_rickshaw_gives_every_point_a_name(answer, numbers):
    expected = [
        {"target": d["target"], "datapoints": [{"x": t, "y": v} for v, t in d["datapoints"]]} for d in document(answer)
    ]
    assert strict(json_format.rickshaw_chunks(answer, numbers=numbers)) == expected
    plain = b"".join(json_format.rickshaw_chunks(answer)).decode()
    assert plain == json.dumps(expected)
    pretty = b"".join(json_format.rickshaw_chunks(answer, pretty=True, numbers=numbers)).decode()
    assert pretty == json.dumps(expected, indent=2)


@given(answers, writers)
def test_dygraph_shows_all_series_on_the_grid_of_the_first(answer, numbers):
    written = strict(json_format.dygraph_chunks(answer, numbers=numbers))
    if not answer:
        assert written == {}
        return
    first = answer[0]
    assert written["labels"] == ["Time", *(s.name for s in answer)]
    assert [row[0] for row in written["data"]] == [t * 1000 for t in first.timestamps()]
    for column, s in enumerate(answer, start=1):
        by_slot = {t: v if v is not None and math.isfinite(v) else None for v, t in s.points()}
        expected = [by_slot.get(s.start + (t - s.start) // s.step * s.step) for t in first.timestamps()]
        assert [row[column] for row in written["data"]] == expected


def test_dygraph_writes_what_graphite_web_writes():
    series = Series('a"b', 60, 180, 60, np.array([1.0, np.nan]))
    assert b"".join(json_format.dygraph_chunks([series])) == (
        b'{"labels" : ["Time", "a\\"b"], "data" : [[60000, 1.0], [120000, null]]}'
    )
