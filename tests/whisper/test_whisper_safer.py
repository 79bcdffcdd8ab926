"""Where the whisper package loses or damages data: what it does, and what we do instead."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from random import Random

import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st

import carbonpy.whisper as ours
from carbonpy.whisper import file
from carbonpy.whisper.layout import ARCHIVE, METADATA, Header

NOW = 1_700_000_000 - 1_700_000_000 % 300


def ring(path: Path, header: Header, level: int) -> list[tuple[int, float]]:
    """The points of a ring as they lie in the file."""
    archive = header.archives[level]
    data = path.read_bytes()[archive.offset : archive.offset + archive.size]
    return list(struct.iter_unpack(">Ld", data))


def write(path: Path, header: Header, points: list[tuple[int, float]], now: int = NOW) -> file.Stored:
    fd = os.open(path, os.O_RDWR)
    try:
        return file.write_points(fd, header, [stamp for stamp, _ in points], [value for _, value in points], now)
    finally:
        os.close(fd)


def pair(directory: Path, archives: list[tuple[int, int]]) -> tuple[Path, Path, Header]:
    theirs, mine = directory / "theirs.wsp", directory / "ours.wsp"
    whisper.create(str(theirs), list(archives))
    return theirs, mine, file.create(mine, archives)


def test_a_stretch_into_the_future_does_not_run_into_the_next_ring(tmp_path: Path) -> None:
    theirs, mine, header = pair(tmp_path, [(60, 10), (300, 20)])
    points = [(NOW + 60 * minute, float(minute)) for minute in range(-10, 15)]
    whisper.update_many(str(theirs), list(points), NOW)
    assert any(stamp % 300 for stamp, _ in ring(theirs, header, 1)), "the whisper package has learnt better"

    # Eleven points fit: the ten of the ring and the newest, which takes the slot of the one that ages out.
    assert write(mine, header, points) == (11, 0, 14)
    assert all(stamp % 300 == 0 for stamp, _ in ring(mine, header, 1))
    assert file.fetch(mine, NOW - 600, NOW, NOW).values.tolist() == [float(minute) for minute in range(-9, 1)]


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 80))
def test_points_of_the_future_never_harm_other_rings_nor_the_points_of_the_present(
    tmp_path_factory: pytest.TempPathFactory, seed: int, before: int, after: int
) -> None:
    path, random = tmp_path_factory.mktemp("ring") / "m.wsp", Random(seed)
    header = file.create(path, [(60, 10), (300, 20), (1500, 5)], 1.0)
    write(path, header, [(NOW - 60 * random.randrange(10), 1.0)])
    points = [(NOW + 60 * minute, float(minute)) for minute in range(-before, after)]
    stored = write(path, header, points)
    assert sum(stored) == len(points)
    assert stored.too_far <= max(after - 1, 0)
    for level, archive in enumerate(header.archives):
        assert all(stamp % archive.step == 0 for stamp, _ in ring(path, header, level))
    assert path.stat().st_size == header.file_size
    if stored.too_far:
        found = file.fetch(path, NOW - 60 * min(before, 10), NOW, NOW)
        assert found.values.tolist() == [float(minute) for minute in range(-min(before, 10) + 1, 1)]


def test_a_stretch_into_the_future_that_stays_within_its_ring_is_stored_as_the_whisper_package_does(
    tmp_path: Path,
) -> None:
    # The base sits at slot 0; the stretch begins `start` slots later, and wraps once or not at all.
    for start in range(10):
        for length in range(1, 24):
            directory = tmp_path / f"{start}-{length}"
            directory.mkdir()
            theirs, mine, header = pair(directory, [(60, 10), (300, 20)])
            first = NOW + 60 * start
            stretch = [(first + 60 * slot, float(slot)) for slot in range(length)]
            write(mine, header, [(NOW, 0.5)])
            assert write(mine, header, stretch, first)[2] == (0 if start + length <= 20 else length - 10)
            if start + length <= 20:
                for points, now in (([(NOW, 0.5)], NOW), (stretch, first)):
                    whisper.update_many(str(theirs), list(points), now)
                assert mine.read_bytes() == theirs.read_bytes()


def test_a_timestamp_in_milliseconds_costs_itself_and_not_its_batch(tmp_path: Path) -> None:
    theirs, mine, header = pair(tmp_path, [(60, 10)])
    points = [(NOW - 60, 1.0), (NOW, 2.0), (NOW * 1000, 3.0)]
    with pytest.raises(struct.error):
        whisper.update_many(str(theirs), list(points), NOW)
    assert whisper.fetch(str(theirs), NOW - 120, NOW, NOW)[1] == [None, None]

    assert write(mine, header, points) == (2, 0, 1)
    assert whisper.fetch(str(mine), NOW - 120, NOW, NOW)[1] == [1.0, 2.0]
    ours.update_many(str(mine), [(NOW - 120, 5.0), (2**32, 4.0)], NOW)
    assert ours.fetch(str(mine), NOW - 180, NOW, NOW)[1] == [5.0, 1.0, 2.0]


def test_the_largest_timestamp_is_stored_and_the_next_is_not(tmp_path: Path) -> None:
    mine = tmp_path / "m.wsp"
    header = file.create(mine, [(1, 10)])
    assert write(mine, header, [(2**32 - 1, 1.0), (2**32, 2.0)], 2**32) == (1, 0, 1)
    assert ring(mine, header, 0)[0] == (2**32 - 1, 1.0)


def test_a_negative_timestamp_costs_itself_and_not_its_batch(tmp_path: Path) -> None:
    theirs, mine, header = pair(tmp_path, [(60, 10)])
    points = [(-60, 1.0), (0, 2.0), (59, 3.0), (60, 4.0), (120, 5.0)]
    with pytest.raises(struct.error):
        whisper.update_many(str(theirs), list(points), 200)
    # The slot of time 0 would mark the ring as empty, and no fetch returns it.
    assert write(mine, header, points, 200) == (2, 3, 0)
    assert ours.fetch(str(mine), 0, 130, 200)[1] == [4.0, 5.0]


def test_what_is_older_than_the_file_is_counted(tmp_path: Path) -> None:
    mine = tmp_path / "m.wsp"
    header = file.create(mine, [(60, 10)])
    assert write(mine, header, [(NOW - 601, 1.0), (NOW - 600, 2.0), (NOW, 3.0)]) == (2, 1, 0)
    assert write(mine, header, []) == (0, 0, 0)


@pytest.mark.parametrize("arguments", [(0.5, "median"), (7, "sum"), ("x", "sum")])
def test_a_create_that_fails_leaves_no_empty_file(tmp_path: Path, arguments: tuple[float, str]) -> None:
    theirs, mine = tmp_path / "theirs.wsp", tmp_path / "ours.wsp"
    for module, path in ((whisper, theirs), (ours, mine)):
        with pytest.raises(Exception, match=r"aggregation method|xFilesFactor"):
            module.create(str(path), [(60, 10)], *arguments)
    assert os.listdir(tmp_path) == ["theirs.wsp"] and theirs.stat().st_size == 0


def test_a_retention_beyond_the_format_is_refused_with_a_reason_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(struct.error):
        whisper.create(str(tmp_path / "theirs.wsp"), [(60, 2**27)])
    with pytest.raises(ours.InvalidConfiguration, match="does not fit"):
        ours.create(str(tmp_path / "ours.wsp"), [(60, 2**27)])
    assert os.listdir(tmp_path) == ["theirs.wsp"]


def test_an_archive_without_points_is_refused_and_not_made_unreadable(tmp_path: Path) -> None:
    whisper.create(str(tmp_path / "theirs.wsp"), [(60, 0)])
    with pytest.raises(whisper.CorruptWhisperFile):
        whisper.fetch(str(tmp_path / "theirs.wsp"), NOW, NOW, NOW)
    with pytest.raises(ours.InvalidConfiguration, match="above zero"):
        ours.create(str(tmp_path / "ours.wsp"), [(60, 0)])
    with pytest.raises(ours.CorruptWhisperFile):
        ours.info(str(tmp_path / "theirs.wsp"))


def test_an_xff_of_nan_does_not_make_the_file_unreadable(tmp_path: Path) -> None:
    theirs, mine, _ = pair(tmp_path, [(60, 10)])
    whisper.setXFilesFactor(str(theirs), float("nan"))
    with pytest.raises(whisper.CorruptWhisperFile):
        whisper.info(str(theirs))
    with pytest.raises(ours.InvalidXFilesFactor):
        ours.setXFilesFactor(str(mine), float("nan"))
    assert whisper.info(str(mine))["xFilesFactor"] == 0.5


def test_a_span_longer_than_the_chosen_archive_is_answered_in_full(tmp_path: Path) -> None:
    theirs, mine, _ = pair(tmp_path, [(60, 10), (300, 20)])
    points = [(NOW - 60 * age, float(age)) for age in range(10)]
    for module, path in ((whisper, theirs), (ours, mine)):
        module.update_many(str(path), list(points), NOW)
    span, values = whisper.fetch(str(theirs), NOW - 35 * 60, NOW, NOW, archiveToSelect=60)
    assert (span[1] - span[0]) // span[2] == 35 and values == [None] * 5
    mine_span, mine_values = ours.fetch(str(mine), NOW - 35 * 60, NOW, NOW, archiveToSelect=60)
    assert mine_span == span
    assert mine_values == [None] * 25 + [float(age) for age in range(9, -1, -1)]


def test_merge_and_diff_reach_into_the_future(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("from.wsp", "to.wsp", "theirs.wsp")]
    for path in paths:
        ours.create(path, [(60, 10)])
    ours.update_many(paths[0], [(NOW - 120, 1.0), (NOW + 120, 2.0)], NOW)
    whisper.merge(paths[0], paths[2], time_to=NOW + 180, now=NOW)
    assert whisper.fetch(paths[2], NOW - 180, NOW + 120, NOW + 120)[1] == [None] * 5
    with pytest.raises(IndexError):
        whisper.diff(paths[0], paths[2], until_time=NOW + 180, now=NOW)

    assert ours.diff(paths[0], paths[1], until_time=NOW + 180, now=NOW) == [
        (0, [(NOW - 120, 1.0, None), (NOW + 120, 2.0, None)], 2)
    ]
    ours.merge(paths[0], paths[1], time_to=NOW + 180, now=NOW)
    assert ours.fetch(paths[1], NOW - 180, NOW + 120, NOW + 120)[1] == [1.0, None, None, None, 2.0]
    assert ours.diff(paths[0], paths[1], until_time=NOW + 180, now=NOW) == [(0, [], 2)]


def test_a_damaged_header_is_reported_as_such_and_not_as_an_arithmetic_error(tmp_path: Path) -> None:
    path = tmp_path / "m.wsp"
    path.write_bytes(METADATA.pack(1, 600, 0.5, 1) + ARCHIVE.pack(28, 0, 10) + bytes(120))
    with pytest.raises(ZeroDivisionError):
        whisper.update_many(str(path), [(NOW, 1.0)], NOW)
    with pytest.raises(ours.CorruptWhisperFile, match="Unable to use archive0"):
        ours.update_many(str(path), [(NOW, 1.0)], NOW)
