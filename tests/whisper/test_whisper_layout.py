"""Bytes to headers and back, and the arithmetic of slots."""

from __future__ import annotations

import io
import os
from pathlib import Path
from random import Random

import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st
from support import histories

from carbonpy.whisper import file
from carbonpy.whisper.access import Descriptor, Stream
from carbonpy.whisper.errors import CorruptWhisperFile
from carbonpy.whisper.layout import ARCHIVE, HEADER_READ, METADATA, ArchiveSpan, make_header, parse_header
from carbonpy.whisper.ring import index_of, pieces, runs


@given(st.randoms(use_true_random=False), st.sampled_from(histories.METHODS), st.floats(0, 1), st.binary(max_size=30))
def test_a_header_survives_packing_and_parsing(random: Random, method: str, xff: float, tail: bytes) -> None:
    header = make_header(histories.archives(random), xff, method)
    data = header.pack()
    assert parse_header(data + tail, "f") == header
    assert header.method_name == method
    assert len(data) == header.archives[0].offset
    assert header.file_size == len(data) + sum(archive.size for archive in header.archives)
    assert header.max_retention == max(archive.retention for archive in header.archives)


@given(st.randoms(use_true_random=False), st.data())
def test_any_truncation_of_a_header_is_reported_with_what_could_not_be_read(
    random: Random, data: st.DataObject
) -> None:
    packed = make_header(histories.archives(random)).pack()
    length = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(CorruptWhisperFile) as caught:
        parse_header(packed[:length], "/some/where.wsp")
    expected = "Unable to read header" if length < 16 else f"Unable to read archive{(length - 16) // 12} metadata"
    assert str(caught.value) == f"{expected} (/some/where.wsp)"
    assert repr(caught.value) == f"<CorruptWhisperFile[/some/where.wsp] {expected}>"


@given(st.binary(max_size=500))
def test_garbage_is_a_header_or_corrupt_and_nothing_else(data: bytes) -> None:
    try:
        header = parse_header(data, "garbage")
    except CorruptWhisperFile:
        return
    assert header.archives and data.startswith(header.pack())


@pytest.mark.parametrize(
    "archives",
    [
        [],
        [(28, 0, 10)],
        [(28, 60, 0)],
        [(16, 60, 10)],
        [(40, 60, 10), (160, 60, 20)],
        [(40, 60, 10), (160, 90, 20)],
        [(40, 60, 10), (159, 300, 20)],
    ],
)
def test_a_header_that_cannot_be_worked_with_is_corrupt(archives: list[tuple[int, int, int]]) -> None:
    data = METADATA.pack(1, 600, 0.5, len(archives)) + b"".join(ARCHIVE.pack(*archive) for archive in archives)
    with pytest.raises(CorruptWhisperFile):
        parse_header(data, "f")


def test_a_damaged_count_of_archives_does_not_ask_for_memory(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(METADATA.pack(1, 600, 0.5, 2**32 - 1) + bytes(5000))
    with pytest.raises(CorruptWhisperFile):
        file.fetch(path, 0, 1, 2)


def test_the_longest_header_there_can_be_fits_one_read() -> None:
    archives = [(1 << power, 2) for power in range(31)]
    assert len(make_header(archives).pack()) <= HEADER_READ


def test_the_example_of_the_format_is_packed_to_its_bytes() -> None:
    expected = "0000000100000e103f00000000000002000000280000003c00000005000000640000012c0000000c"
    assert make_header([(300, 12), (60, 5)]).pack().hex() == expected


@given(st.integers(1, 50), st.data())
def test_pieces_cover_each_slot_once_within_the_ring(points: int, data: st.DataObject) -> None:
    archive = ArchiveSpan(100, 60, points)
    index, count = data.draw(st.integers(0, points - 1)), data.draw(st.integers(1, points))
    touched = [byte for offset, size in pieces(archive, index, count) for byte in range(offset, offset + size, 12)]
    assert touched == [100 + 12 * ((index + position) % points) for position in range(count)]


@given(st.integers(0, 2**32), st.integers(-100, 100), st.integers(1, 50), st.sampled_from((1, 7, 60)))
def test_neighbouring_times_have_neighbouring_indexes(base: int, distance: int, points: int, step: int) -> None:
    archive = ArchiveSpan(100, step, points)
    index = index_of(base + distance * step, base, archive)
    assert index == distance % points
    assert index_of(base + (distance + 1) * step, base, archive) == (index + 1) % points


@given(st.lists(st.integers(0, 60), unique=True).map(sorted), st.sampled_from((1, 10)))
def test_runs_are_the_longest_stretches_without_a_gap(numbers: list[int], step: int) -> None:
    slots = [number * step for number in numbers]
    found = [slots[first:end] for first, end in runs(slots, step)]
    assert [slot for run in found for slot in run] == slots
    for run in found:
        assert run == list(range(run[0], run[-1] + 1, step))
    for one, other in zip(found, found[1:]):
        assert one[-1] + step < other[0]


def test_reads_and_writes_are_the_same_through_a_descriptor_and_a_file_object(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(range(20)))
    fd = os.open(path, os.O_RDWR)
    stream = io.BytesIO(bytes(range(20)))
    for access in (Descriptor(fd), Stream(stream)):
        access.write_at(b"abc", 5)
        assert access.read_at(4, 4) == b"\x04abc"
        assert access.read_at(10, 18) == b"\x12\x13"
    assert Descriptor(fd).path == str(path)
    assert Stream(stream).path == "<stream>"
    os.close(fd)
    assert path.read_bytes() == stream.getvalue()


@pytest.mark.parametrize(
    ("cut", "reach", "error"),
    [
        (15, 240, "Unable to read header"),
        (30, 240, "Unable to read archive1 metadata"),
        (51, 240, "Unable to read base datapoint"),
        (76, 240, "Unable to read datapoints"),
        (100, 1200, "Unable to read base datapoint"),
        (148, 1200, "Unable to read datapoints"),
    ],
)
def test_a_file_cut_short_is_corrupt_and_never_gives_a_part(tmp_path: Path, cut: int, reach: int, error: str) -> None:
    path, now = str(tmp_path / "f"), 1_700_000_000
    whisper.create(path, [(60, 5), (300, 5)])
    whisper.update_many(path, [(now - 60 * age, 1.0) for age in range(5)], now)
    os.truncate(path, cut)
    with pytest.raises(CorruptWhisperFile) as caught:
        file.fetch(path, now - reach, now, now)
    assert str(caught.value) == f"{error} ({path})"


def test_a_ring_without_its_base_is_not_written(tmp_path: Path) -> None:
    path, now = tmp_path / "f", 1_700_000_000
    header = file.create(path, [(60, 5), (300, 5)])
    os.truncate(path, 51)
    fd = os.open(path, os.O_RDWR)
    with pytest.raises(CorruptWhisperFile) as caught:
        file.write_points(fd, header, [now], [1.0], now)
    os.close(fd)
    assert str(caught.value) == f"Unable to read base datapoint ({path})"
    assert path.stat().st_size == 51
