"""carbonpy.whisper stands in for the whisper package: names, signatures, messages, file objects, switches."""

from __future__ import annotations

import fcntl
import gzip
import inspect
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import numpy as np
import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st
from support import histories

import carbonpy.whisper as ours
from carbonpy.errors import CarbonError
from carbonpy.whisper import file

NOW = 1_700_000_000 - 1_700_000_000 % 60
FUNCTIONS = [
    name
    for name, thing in vars(whisper).items()
    if inspect.isfunction(thing) and not name.startswith("_")
    and name not in ("enableDebug", "disableDebug", "debug", "startBlock", "endBlock", "fallocate")
]  # fmt: skip
EXCEPTIONS = [name for name, thing in vars(whisper).items() if inspect.isclass(thing) and issubclass(thing, Exception)]
#: Lists that cannot be one file.
INVALID = [
    [],
    0,
    None,
    [(60, 60), (60, 60)],
    [(60, 20), (60, 10)],
    [(60, 60), (90, 60)],
    [(60, 60), (120, 20)],
    [(60, 5), (3600, 20)],
    [(1, 60), (60, 59), (3600, 10)],
    [(300, 5), (60, 30), (60, 5)],
]


def outcome(call: Callable[..., Any], *arguments: Any) -> tuple[str, str]:
    try:
        return ("returned", repr(call(*arguments)))
    except Exception as error:
        return (type(error).__name__, str(error))


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "m.wsp")
    ours.create(path, [(60, 5), (300, 12)])
    return path


@pytest.fixture
def switches() -> Iterator[Any]:
    """The module, whose switches a test may set."""
    names = ("LOCK", "AUTOFLUSH", "FADVISE_RANDOM", "CACHE_HEADERS")
    before = {name: getattr(ours, name) for name in names}
    yield ours
    for name, value in before.items():
        setattr(ours, name, value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_of_the_package_is_here_with_its_parameters_and_defaults(name: str) -> None:
    theirs, mine = inspect.signature(getattr(whisper, name)), inspect.signature(getattr(ours, name))
    assert [(one.name, one.default) for one in mine.parameters.values()] == [
        (one.name, one.default) for one in theirs.parameters.values()
    ]
    assert name in ours.__all__


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_each_exception_of_the_package_is_here_with_its_parents(name: str) -> None:
    mine = getattr(ours, name)
    assert {parent.__name__ for parent in getattr(whisper, name).__mro__} <= {
        parent.__name__ for parent in mine.__mro__
    }
    assert issubclass(mine, CarbonError)


@pytest.mark.parametrize("prefix", ["long", "float", "value", "point", "metadata", "archiveInfo"])
def test_the_formats_and_their_sizes_are_those_of_the_package(prefix: str) -> None:
    for name in (f"{prefix}Format", f"{prefix}Size"):
        assert getattr(ours, name) == getattr(whisper, name)


def test_the_tables_of_the_package_are_here() -> None:
    assert list(ours.aggregationMethods) == list(whisper.aggregationMethods)
    assert ours.aggregationTypeToMethod == whisper.aggregationTypeToMethod
    assert ours.aggregationMethodToType == whisper.aggregationMethodToType
    assert ours.UnitMultipliers == whisper.UnitMultipliers
    for name in ("LOCK", "CACHE_HEADERS", "AUTOFLUSH", "FADVISE_RANDOM", "BUFFERING", "CAN_LOCK", "CAN_FADVISE"):
        assert getattr(ours, name) == getattr(whisper, name)


@given(st.from_regex(r"\A *[0-9a-zA-Z:]{0,4}[smhdwy]?[a-z]{0,6}:?[0-9]{0,3}[a-z]{0,7} *\Z"))
def test_a_retention_definition_means_and_complains_as_in_the_package(text: str) -> None:
    assert outcome(ours.parseRetentionDef, text) == outcome(whisper.parseRetentionDef, text)


@pytest.mark.parametrize("text", ["1m:1w", "60:5", "5min:2weeks", "1h", "", ":", "1m:", "x:1", "10:1x", "s:1", "1y:1y"])
def test_retention_definitions_people_write(text: str) -> None:
    assert outcome(ours.parseRetentionDef, text) == outcome(whisper.parseRetentionDef, text)


@pytest.mark.parametrize("text", ["s", "second", "m", "minutes", "hou", "d", "w", "y", "", "x", "month"])
def test_units_may_be_cut_short_anywhere(text: str) -> None:
    assert outcome(ours.getUnitString, text) == outcome(whisper.getUnitString, text)


@pytest.mark.parametrize("archives", INVALID, ids=str)
def test_a_list_of_archives_is_refused_in_the_words_of_the_package(archives: Any) -> None:
    copies = [list(archives) if archives else archives for _ in range(2)]
    expected = outcome(whisper.validateArchiveList, copies[0])
    assert expected[0] == "InvalidConfiguration"
    assert outcome(ours.validateArchiveList, copies[1]) == expected


def test_a_list_of_archives_is_sorted_in_place() -> None:
    archives = [(300, 12), (60, 5)]
    assert ours.validateArchiveList(archives) is None
    assert archives == [(60, 5), (300, 12)]


@given(st.sampled_from((*histories.METHODS, "median")), st.lists(st.floats(-9, 9), max_size=5), st.integers(0, 3))
def test_aggregate_takes_names_and_complains_as_in_the_package(method: str, known: list[float], unknown: int) -> None:
    neighbours = [*known, *[None] * unknown]
    for arguments in ((method, known), (method, known, neighbours)):
        assert outcome(ours.aggregate, *arguments)[0] == outcome(whisper.aggregate, *arguments)[0]
        if known:
            assert outcome(ours.aggregate, *arguments) == outcome(whisper.aggregate, *arguments)


def test_an_existing_file_is_reported_in_the_words_of_the_package(path: str) -> None:
    with pytest.raises(ours.InvalidConfiguration) as caught:
        ours.create(path, [(60, 5)])
    assert str(caught.value) == outcome(whisper.create, path, [(60, 5)])[1] == f"File {path} already exists!"


def test_a_missing_file_has_no_info_and_raises_elsewhere(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert ours.info(missing) is None
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (ours.fetch, (missing, 0)),
        (ours.update, (missing, 1.0)),
        (ours.update_many, (missing, [(1, 1.0)])),
        (ours.setXFilesFactor, (missing, 0.5)),
        (ours.merge, (missing, missing)),
        (ours.diff, (missing, missing)),
    ]
    for call, arguments in calls:
        with pytest.raises(FileNotFoundError):
            call(*arguments)


@pytest.mark.parametrize(
    ("age", "length"),
    [(0, 0), (60, 60), (61, 60), (300, 300), (301, 301), (0, 500), (-1, 1), (3601, 0), (3601, 1), (3600, 0), (9999, 1)],
)
def test_the_edges_of_a_fetch(path: str, age: int, length: int) -> None:
    ours.update_many(path, [(NOW - 60 * slot, float(slot)) for slot in range(5)], NOW)
    begin, until = NOW - age, NOW - age + length
    assert repr(ours.fetch(path, begin, until, NOW)) == repr(whisper.fetch(path, begin, until, NOW))
    assert repr(ours.fetch(path, begin + 0.9, until + 0.9, NOW + 0.5)) == repr(
        whisper.fetch(path, begin + 0.9, until + 0.9, NOW + 0.5)
    )


def test_a_fetch_that_makes_no_sense_is_refused_in_the_words_of_the_package(path: str) -> None:
    for arguments in (
        (NOW, NOW - 1, NOW),
        (NOW - 10, NOW, NOW, "7s"),
        (NOW - 10, NOW, NOW, "x"),
        (NOW - 10, NOW, NOW, 61),
    ):
        expected = outcome(whisper.fetch, path, *arguments)
        assert expected[0] != "returned"
        assert outcome(ours.fetch, path, *arguments) == expected


def test_without_a_now_the_present_is_meant(path: str) -> None:
    ours.update(path, 5.0)
    fetched = ours.fetch(path, time.time() - 240)
    assert fetched is not None and 5.0 in fetched[1]
    ours.update_many(path, ((0, 1.0), (float(fetched[0][1]), 2.0)))
    assert repr(ours.fetch(path, 0, now=NOW)) == repr(whisper.fetch(path, 0, now=NOW))


def test_a_stored_nan_is_a_value_and_not_a_gap(path: str) -> None:
    ours.update_many(path, [(NOW, float("nan"))], NOW)
    assert repr(ours.fetch(path, NOW - 60, NOW, NOW)) == f"(({NOW}, {NOW + 60}, 60), [nan])"


def test_of_equal_timestamps_the_first_given_wins_and_of_one_slot_the_latest(path: str) -> None:
    ours.update_many(path, [(NOW, 1.0), (NOW, 2.0), (NOW - 60, 3.0), (NOW - 59, 4.0), (NOW - 60, 5.0)], NOW + 30)
    assert ours.fetch(path, NOW - 120, NOW, NOW)[1] == [4.0, 1.0]


def test_no_points_change_nothing_and_need_no_file() -> None:
    assert ours.update_many("/nowhere/at/all", []) is None


def test_update_refuses_what_it_cannot_keep(path: str) -> None:
    for stamp in (NOW - 3600, NOW + 1):
        with pytest.raises(ours.TimestampNotCovered, match="Timestamp not covered by any archives in this database"):
            ours.update(path, 1.0, stamp, NOW)


def test_functions_on_file_objects_do_what_those_on_paths_do(tmp_path: Path) -> None:
    paths = {module: [str(tmp_path / f"{module.__name__}{number}") for number in (0, 1)] for module in (whisper, ours)}
    for module, (one, other) in paths.items():
        for each in (one, other):
            module.create(each, [(60, 5), (300, 12)])
        with open(one, "r+b") as target:
            module.file_update(target, 3.5, NOW, NOW)
            module.file_update_many(target, [(NOW - 60, 2.0), (NOW - 120, 1.0)], NOW)
        with open(one, "rb") as source, open(other, "r+b") as target:
            module.file_merge(source, target, now=NOW)
            target.flush()
            assert module.file_diff(source, target, now=NOW) == [(0, [], 3), (1, [], 0)]
            assert module.file_fetch(source, NOW - 180, NOW, NOW)[1] == [1.0, 2.0, 3.5]
            source.seek(7)
            assert getattr(module, "__readHeader")(source) == whisper.info(one)
            assert source.tell() == 7
    assert [Path(path).read_bytes() for path in paths[ours]] == [Path(path).read_bytes() for path in paths[whisper]]


def test_a_compressed_file_can_be_fetched_from(path: str) -> None:
    ours.update_many(path, [(NOW - 60, 1.0), (NOW, 2.0)], NOW)
    with gzip.open(io.BytesIO(gzip.compress(Path(path).read_bytes()))) as packed:
        assert ours.file_fetch(packed, NOW - 120, NOW, NOW) == ours.fetch(path, NOW - 120, NOW, NOW)
        assert getattr(ours, "__readHeader")(packed) == ours.info(path)


def test_merge_leaves_an_archive_alone_that_begins_after_the_bounds(tmp_path: Path) -> None:
    for module in (whisper, ours):
        source, target = str(tmp_path / f"{module.__name__}.from"), str(tmp_path / f"{module.__name__}.to")
        for path in (source, target):
            module.create(path, [(60, 5), (300, 12)], 0)
        now = NOW + 30
        module.update_many(source, [(now - 60 * age, float(age)) for age in range(12)], now)
        # The bound lies in the oldest slot of the fine archive, but before the moment the archive reaches back to.
        module.merge(source, target, now - 900, now - 301, now)
    assert Path(target).read_bytes() == (tmp_path / "whisper.to").read_bytes()
    assert ours.fetch(target, now - 299, now, now)[1] == [None] * 5


def test_unalike_files_are_neither_merged_nor_compared(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    ours.create(one, [(60, 5)])
    ours.create(other, [(60, 6)])
    for name in ("merge", "diff"):
        expected = outcome(getattr(whisper, name), one, other)
        with pytest.raises(NotImplementedError) as caught:
            getattr(ours, name)(one, other)
        assert expected == ("NotImplementedError", str(caught.value))
    with pytest.raises(ValueError, match="time_to must be >= time_from"):
        ours.merge(one, one, 10, 5)


def test_a_lock_is_taken_when_the_switch_is_on(path: str, switches: Any) -> None:
    with open(path, "rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        ours.update(path, 1.0, NOW, NOW)  # nobody asked for locks yet
        switches.LOCK = True
        writer = Thread(target=ours.update, args=(path, 2.0, NOW, NOW))
        writer.start()
        waiting, deadline = re.compile(rf"->.*:{os.stat(path).st_ino} "), time.monotonic() + 10
        # The kernel lists who waits for a lock with an arrow.
        while not waiting.search(Path("/proc/locks").read_text()):
            assert writer.is_alive() and time.monotonic() < deadline, "the writer did not wait"
        assert ours.fetch(path, NOW - 60, NOW, NOW)[1] == [1.0]
    writer.join(10)
    assert ours.fetch(path, NOW - 60, NOW, NOW)[1] == [2.0]


def test_the_other_switches_change_nothing_in_the_file(tmp_path: Path, switches: Any) -> None:
    contents = set()
    for on in (False, True):
        switches.AUTOFLUSH = switches.FADVISE_RANDOM = switches.CACHE_HEADERS = on
        path = str(tmp_path / str(on))
        ours.create(path, [(60, 5), (300, 12)])
        ours.update(path, 1.0, NOW, NOW)
        ours.update_many(path, [(NOW - 60, 1.0)], NOW)
        with open(path, "r+b") as stream:
            ours.file_update(stream, 2.0, NOW - 120, NOW)
            ours.file_update_many(stream, [(NOW - 180, 2.0)], NOW)
        ours.setAggregationMethod(path, "max", 0.25)
        contents.add(Path(path).read_bytes())
    assert len(contents) == 1


def test_fetch_for_the_web_has_nan_for_gaps_and_the_values_of_the_package(path: str) -> None:
    random = Random(5)
    points = [(NOW - 60 * random.randrange(60), random.random()) for _ in range(40)]
    ours.update_many(path, points, NOW)
    for reach in (60, 299, 300, 301, 2000, 3600):
        fetched = file.fetch(path, NOW - reach, None, NOW)
        assert fetched is not None and fetched.values.dtype == np.float64
        span, values = whisper.fetch(path, NOW - reach, NOW, NOW)
        assert tuple(fetched.span) == span
        assert [None if np.isnan(value) else value for value in fetched.values.tolist()] == values
        assert fetched.header.method_name == "average"
    assert file.fetch(path, NOW + 1, NOW + 2, NOW) is None


def test_setters_return_what_was_before(path: str) -> None:
    assert file.set_method(path, "sum") == "average"
    assert file.set_method(path, "last", 0.25) == "sum"
    assert file.set_xff(path, 0.0) == 0.25
    assert ours.info(path) == whisper.info(path)
    assert (ours.info(path)["aggregationMethod"], ours.info(path)["xFilesFactor"]) == ("last", 0.0)


def test_the_functions_by_descriptor_do_what_those_by_path_do(path: str) -> None:
    fd = os.open(path, os.O_RDWR)
    header = file.read_header(fd, path)
    file.update(fd, header, 1.5, NOW, NOW)
    with pytest.raises(ours.TimestampNotCovered):
        file.update(fd, header, 1.5, NOW + 1, NOW)
    assert file.write_points(fd, header, np.array([NOW - 60, NOW - 59]), np.array([1.0, 2.0]), NOW) == (2, 0, 0)
    os.close(fd)
    assert ours.fetch(path, NOW - 120, NOW, NOW)[1] == [2.0, 1.5]
