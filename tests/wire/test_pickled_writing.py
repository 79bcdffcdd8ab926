"""Datapoints as pickles: what we write from columns, everybody reads to the last bit."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.wire.pickle_machine import DEFAULT_LIMITS, Machine
from carbonpy.wire.pickled import MAX_FRAME, decode_points, encode_frames, encode_points
from carbonpy.wire.pickled_columns import read_columns

Row = tuple[str, int, float]
Columns = tuple[list[bytes], np.ndarray, np.ndarray]
rows = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
        st.integers(0, 2**32 - 1),
        st.floats(),
    ),
    max_size=40,
)


def columns(points: list[Row], kind: type = np.int64) -> Columns:
    return (
        [name.encode() for name, _, _ in points],
        np.array([when for _, when, _ in points], kind),
        np.array([value for _, _, value in points], np.float64),
    )


def bits(points: list[Row]) -> list[tuple[str, int, str]]:
    """Rows that can be compared even where a value is NaN."""
    return [(name, when, float(value).hex()) for name, when, value in points]


def flat(read: list[tuple[str, tuple[int, float]]]) -> list[Row]:
    return [(name, when, value) for name, (when, value) in read]


@given(rows, st.sampled_from([np.uint32, np.int64]))
def test_what_is_written_is_what_pickle_reads(points: list[Row], kind: type) -> None:
    frame = encode_points(*columns(points, kind))
    read = pickle.loads(frame)
    assert bits(flat(read)) == bits(points)
    assert all(type(item) is tuple and type(item[1]) is tuple and type(item[1][0]) is int for item in read)
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(frame)}
    # What pickle itself writes in protocol 2, less the memo.
    assert opcodes <= {
        *("PROTO", "EMPTY_LIST", "MARK", "BINUNICODE", "BININT", "LONG1", "BINFLOAT", "TUPLE2", "APPENDS", "STOP")
    }


@given(rows)
def test_what_is_written_is_what_our_own_reader_reads(points: list[Row]) -> None:
    names, times, values = columns(points)
    read = decode_points(encode_points(names, times, values))
    assert (read.names, read.timestamps.tolist(), read.rejected) == (names, times.tolist(), {})
    assert read.values.tobytes() == values.tobytes()


@pytest.mark.parametrize("latest", [1_700_000_000, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_frame_of_usual_size_is_read_by_columns(latest: int) -> None:
    names, times, values = columns([(f"servers.web{n}.cpu.user", latest - n, n / 7) for n in range(1500)])
    frame = encode_points(names, times, values)
    read = read_columns(frame)
    assert read is not None, "the stack machine would read it, but slowly"
    assert (read[0], read[1].tolist(), read[2].tolist()) == (names, times.tolist(), values.tolist())
    assert Machine(frame, DEFAULT_LIMITS, raw=False).run() == pickle.loads(frame)


@given(rows, st.integers(1, 10), st.integers(1, 3000))
def test_frames_together_are_the_columns_and_none_is_too_large(points: list[Row], most: int, most_bytes: int) -> None:
    frames = list(encode_frames(*columns(points), most, most_bytes))
    read = [flat(pickle.loads(frame)) for frame in frames]
    assert bits([point for part in read for point in part]) == bits(points)
    for frame, part in zip(frames, read):
        assert 1 <= len(part) <= most
        assert len(frame) <= most_bytes or len(part) == 1


def test_frames_are_as_large_as_they_may_be_and_fit_what_receivers_take() -> None:
    names, times, values = columns([("x" * 200 + f".{n:06}", 1_700_000_000, 1.0) for n in range(10_000)])
    frames = list(encode_frames(names, times, values, 1_000_000))
    assert len(frames) == 3
    assert all(0.9 * MAX_FRAME < len(frame) <= MAX_FRAME < 2**20 for frame in frames[:-1])
    assert [len(pickle.loads(frame)) for frame in encode_frames(names, times, values, 4000)] == [4000, 4000, 2000]


def test_no_datapoints_are_an_empty_list_and_no_frame() -> None:
    nothing = columns([])
    assert pickle.loads(encode_points(*nothing)) == []
    assert list(encode_frames(*nothing, 100)) == []


def test_timestamps_with_fractions_are_not_written() -> None:
    with pytest.raises(TypeError):
        encode_points([b"a"], np.array([1.5]), np.array([1.0]))


def test_carbon_reads_what_is_written(tmp_path) -> None:
    """Carbon's own safe unpickler, in a process of its own since importing carbon sets things up."""
    points = [
        ("servers.web01.cpu.user", 1_700_000_000, 1.5),
        ("servers.web01.cpu.user", 1_700_000_060, 2.0),
        ("disk.used;dc=dc1", 1_700_000_000, -4.9e-11),
        ("m\u00e9trique", 1_700_000_000, 1e15),
        ("big.f", 4_000_000_000, 1.2345678901234567e300),
    ]
    script = (
        "import json, sys; from carbon.util import get_unpickler\n"
        "print(json.dumps(get_unpickler().loads(sys.stdin.buffer.read())))"
    )
    for part in (points, points[:4]):
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=encode_points(*columns(part)),
            capture_output=True,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "GRAPHITE_ROOT": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr.decode()
        read = json.load(io.BytesIO(done.stdout))
        assert [(name, when, value) for name, (when, value) in read] == part
