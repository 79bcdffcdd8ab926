"""Files read in bulk give what whisper gives for each of them alone."""

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import CarbonError, QueryError
from carbonpy.reading.files import FileReader, Headers, read_slots, unpack
from carbonpy.retention import parse_retentions
from carbonpy.whisper import file as whisper_file
from carbonpy.whisper.creation import create

NOW = 1_700_000_040
RETENTIONS = ["60s:20m", "60s:20m,5m:2h", "10s:5m,60s:20m,5m:2h"]


def make(path, retentions, points, xff=0.0):
    create(path, parse_retentions(retentions), xff, "average")
    descriptor = os.open(path, os.O_RDWR)
    times = sorted(points)
    header = whisper_file.read_header(descriptor, path)
    # In several turns, so that the ring's first slot lies anywhere.
    for part in np.array_split(np.array(times, dtype=int), 3):
        if len(part):
            whisper_file.write_points(
                descriptor, header, part.tolist(), [float(t % 1000) for t in part.tolist()], int(part[-1]) + 1
            )
    os.close(descriptor)
    return path


def answer(reader, path, window):
    _, found = reader.read(path, *window)
    return found


def values_of(found):
    return found.values if found.block is None else found.block.values()[found.row]


FILES = st.lists(
    st.tuples(st.sampled_from(RETENTIONS), st.lists(st.integers(NOW - 9000, NOW), max_size=40, unique=True)),
    min_size=1,
    max_size=6,
)
WINDOWS = st.tuples(st.integers(-9000, 200), st.integers(0, 9000)).map(lambda w: (NOW + w[0], NOW + w[0] + w[1]))


@given(contents=FILES, windows=st.lists(WINDOWS, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_many_files_at_once_answer_as_each_alone(contents, windows):
    with tempfile.TemporaryDirectory() as directory:
        paths = [make(f"{directory}/{n}.wsp", retentions, points) for n, (retentions, points) in enumerate(contents)]
        reader = FileReader(NOW)
        found = [(path, window, answer(reader, path, window)) for window in windows for path in paths]
        for path, window, there in found:
            expected = whisper_file.fetch(path, *window, now=NOW)
            if expected is None:
                assert there is None
                continue
            assert (there.span, there.header) == (expected.span, expected.header)
            assert there.header.archives[there.level].step == there.span.step
            np.testing.assert_array_equal(values_of(there), expected.values)


def test_blocks_that_fill_up_make_room_for_the_next(tmp_path):
    # Rings of 240 kB: the first block has room for one, the others for four.
    paths = [make(f"{tmp_path}/{n}.wsp", "1s:20000", range(NOW - 100 * (n + 1), NOW)) for n in range(7)]
    reader = FileReader(NOW)
    found = [answer(reader, path, (NOW - 20000, NOW)) for path in paths]
    assert [there.row for there in found] == [0, 0, 1, 2, 3, 0, 1]
    for path, there in zip(paths, found):
        np.testing.assert_array_equal(values_of(there), whisper_file.fetch(path, NOW - 20000, NOW, now=NOW).values)


def test_a_file_that_cannot_be_read_costs_the_others_nothing(tmp_path):
    good = [make(f"{tmp_path}/{n}.wsp", "60s:1h", range(NOW - 600, NOW, 60)) for n in range(3)]
    whole = Path(good[0]).read_bytes()
    reader = FileReader(NOW)
    first = answer(reader, good[0], (NOW - 3600, NOW))
    for size in (0, 10, 20, 30, 100, 300, len(whole) - 1):
        (tmp_path / "cut.wsp").write_bytes(whole[:size])
        with pytest.raises(CarbonError):
            reader.read(f"{tmp_path}/cut.wsp", NOW - 3600, NOW)
    second = answer(reader, good[1], (NOW - 3600, NOW))
    with pytest.raises(FileNotFoundError):
        reader.read(f"{tmp_path}/none.wsp", NOW - 3600, NOW)
    with pytest.raises(NotADirectoryError):
        reader.read(f"{good[0]}/none.wsp", NOW - 3600, NOW)
    assert np.nansum(values_of(first)) == np.nansum(values_of(second)) > 0


def test_what_is_too_much_is_said_before_it_is_read(tmp_path):
    path = make(f"{tmp_path}/a.wsp", "60s:20m,5m:2h", range(NOW - 3000, NOW, 60))
    asked = []

    def check(points):
        asked.append(points)
        raise QueryError("too much")

    reader = FileReader(NOW, check)
    os.truncate(path, 40)  # with its header and without points
    for _ in range(2):
        with pytest.raises(QueryError, match="too much"):
            reader.read(path, NOW - 600, NOW)
    assert asked == [10, 10]


def test_files_with_the_same_headers_share_them_across_readers_and_others_do_not(tmp_path):
    headers = Headers()
    kinds = [("60s:20m", 0.0), ("60s:20m,5m:2h", 0.0), ("60s:20m", 0.5)]
    for turn in range(2):
        for number, (retentions, xff) in enumerate(kinds):
            path = make(f"{tmp_path}/{turn}{number}.wsp", retentions, range(NOW - 600, NOW, 60), xff)
            header, _ = FileReader(NOW, headers=headers).read(path, NOW - 600, NOW)
            assert header == FileReader(NOW).header(path)
            info = headers.info(header)
            assert (info.xff, len(info.archives)) == (xff, retentions.count(",") + 1)
            assert headers.info(header) is info
    with pytest.raises(CarbonError):  # what is no header is not remembered as one
        headers.parsed(b"\0" * 28, "x")


def test_a_packed_file_answers_as_the_file_that_it_was(tmp_path):
    path = make(f"{tmp_path}/a.wsp", "60s:20m,5m:2h", range(NOW - 3000, NOW, 60))
    windows = [(NOW - 600, NOW), (NOW - 5000, NOW - 100)]
    expected = [whisper_file.fetch(path, *window, now=NOW) for window in windows]
    header = expected[0].header
    fine = read_slots(path, header, 0, NOW - NOW % 60 - 600, NOW - NOW % 60)
    Path(f"{path}.gz").write_bytes(gzip.compress(Path(path).read_bytes()))
    os.unlink(path)
    reader = FileReader(NOW)
    assert reader.header(path) == header
    for window, wanted in zip(windows, expected):
        there = answer(reader, path, window)
        assert there.span == wanted.span
        np.testing.assert_array_equal(values_of(there), wanted.values)
    np.testing.assert_array_equal(read_slots(f"{path}.gz", header, 0, NOW - NOW % 60 - 600, NOW - NOW % 60), fine)


def test_a_packed_file_that_is_damaged_or_too_large_is_an_error_and_never_more_memory(tmp_path):
    path = make(f"{tmp_path}/a.wsp", "60s:20m", range(NOW - 600, NOW, 60))
    whole = Path(path).read_bytes()
    os.unlink(path)
    packed = gzip.compress(whole)
    for data in (b"", b"no gzip", packed[:40], packed[:-9], gzip.compress(b"\0" * 5000), gzip.compress(whole[:50])):
        Path(f"{path}.gz").write_bytes(data)
        with pytest.raises(CarbonError):
            FileReader(NOW).read(path, NOW - 600, NOW)
    Path(f"{path}.gz").write_bytes(gzip.compress(whole + b"\0" * 10_000_000))
    assert len(unpack(f"{path}.gz").read_at(1 << 30, 0)) == len(whole)
    with pytest.raises(OSError, match="cannot be written"):
        unpack(f"{path}.gz").write_at(b"x", 0)
    with pytest.raises(CarbonError, match="at most 200"):
        unpack(f"{path}.gz", 200)


def test_times_that_no_file_can_hold_match_no_slot(tmp_path):
    path = make(f"{tmp_path}/a.wsp", "60s:1h", range(NOW - 600, NOW, 60))
    later = NOW + (1 << 32) * 15  # the same 32 bits, and the same slots
    found = answer(FileReader(later), path, (later - 600, later))
    assert np.isnan(values_of(found)).all()
    assert answer(FileReader(0), path, (-4000, -10)) is None or np.isnan(values_of(found)).all()


def test_slots_of_a_file_that_was_replaced_are_unknown(tmp_path):
    path = make(f"{tmp_path}/a.wsp", "60s:1h", range(NOW - 600, NOW, 60))
    _, found = FileReader(NOW).read(path, NOW - 600, NOW)
    os.unlink(path)
    make(path, "30s:1h", range(NOW - 600, NOW, 60))
    assert np.isnan(read_slots(path, found.header, 0, found.span.start, found.span.end)).all()
