"""Formats against the standard library's own writers, for any values."""

import csv
import io
import math
import pickle
from datetime import timezone

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.series.series import Series
from carbonpy.web import formats, msgpack
from carbonpy.wire import protobuf

values = st.lists(st.one_of(st.just(math.nan), st.floats(allow_nan=False)), max_size=30)
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


@given(answers)
def test_csv_reads_back(answer):
    text = b"".join(formats.csv_chunks(answer, timezone.utc)).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    expected = [(s.name, "" if v is None else repr(v)) for s in answer for v, _ in s.points()]
    assert [(row[0], row[2]) for row in rows] == expected
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    assert written.getvalue() == text


@given(answers)
def test_raw_writes_what_repr_writes(answer):
    expected = "".join(
        f"{s.name},{s.start},{s.end},{s.step}|{','.join(repr(v) for v, _ in s.points())}\n" for s in answer
    )
    assert b"".join(formats.raw_chunks(answer)).decode() == expected


@given(answers)
def test_pickle_holds_plain_objects_only(answer):
    loaded = pickle.loads(b"".join(formats.pickle_chunks(answer)))
    assert [(d["name"], d["values"]) for d in loaded] == [(s.name, [v for v, _ in s.points()]) for s in answer]
    assert {type(v) for d in loaded for v in d["values"]} <= {float, type(None)}


def test_msgpack_gives_the_bytes_of_the_specification():
    cases = {
        b"\xc0": None, b"\xc2": False, b"\xc3": True, b"\x07": 7, b"\xff": -1, b"\xcc\x80": 128, b"\xd0\xdf": -33,
        b"\xcd\x01\x00": 256, b"\xd1\xff\x7f": -129, b"\xce\x00\x01\x00\x00": 65536, b"\xcf" + b"\xff" * 8: 2**64 - 1,
        b"\xd3\x80" + b"\0" * 7: -(2**63), b"\xd2\xff\xff\x7f\xff": -32769,
        b"\xcb\x3f\xf8" + b"\0" * 6: 1.5, b"\xa1a": "a", b"\xd9\x20" + b"a" * 32: "a" * 32,
        b"\xda\x01\x00" + b"a" * 256: "a" * 256, b"\xdb\x00\x01\x00\x00" + b"a" * 65536: "a" * 65536,
        b"\x92\x01\x02": [1, 2], b"\xdc\x00\x10" + b"\xc0" * 16: [None] * 16, b"\x81\xa1a\x90": {"a": []},
    }  # fmt: skip
    for data, value in cases.items():
        assert msgpack.pack(value) == data
    assert msgpack.array_head(70000) == b"\xdd\x00\x01\x11\x70"
    assert b"".join(formats.msgpack_chunks([])) == b"\x90"


@given(answers)
def test_msgpack_of_an_answer_is_that_of_its_list(answer):
    assert b"".join(formats.msgpack_chunks(answer)) == msgpack.pack([formats.plain(s) for s in answer])


@given(answers)
def test_protobuf_of_both_versions_reads_back(answer):
    written = b"".join(formats.protobuf2_chunks(answer))
    old = protobuf.decode(protobuf.MultiFetchResponse2, written).metrics
    for got, s in zip(old, answer, strict=True):
        assert (got.name, got.start_time, got.step_time) == (s.name, s.start, s.step)
        assert got.stop_time == s.start + s.step * len(s)
        points = [None if gone else value for value, gone in zip(got.values.tolist(), got.is_absent.tolist())]
        assert points == [v for v, _ in s.points()]
    echoed = [formats.Echoed(s, f"typed {i}", i, -i) for i, s in enumerate(answer)]
    new = protobuf.decode(protobuf.MultiFetchResponse, b"".join(formats.protobuf3_chunks(echoed))).metrics
    for i, (got, s) in enumerate(zip(new, answer, strict=True)):
        assert (got.name, got.path_expression, got.request_start_time, got.request_stop_time) == (
            s.name, f"typed {i}", i, -i,
        )  # fmt: skip
        assert (got.start_time, got.stop_time, got.step_time) == (s.start, s.start + s.step * len(s), s.step)
        assert np.array_equal(got.values, s.values, equal_nan=True)
        assert (got.consolidation_func, got.x_files_factor) == ("average", 0.0)
