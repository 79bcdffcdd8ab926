"""What differs from the rules is found by headers alone, and migrated as `resize` would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from carbonpy.metric import relative_path
from carbonpy.upkeep.migration import Difference, Scan, migrate
from carbonpy.upkeep.tree import files_below, nobody_knows
from carbonpy.whisper import file as whisper_file
from carbonpy.whisper.layout import make_header, pack_header, parse_header
from carbonpy.whisper.resizing import resize

OLD, NEW = [(60, 60)], [(60, 120), (300, 60)]
NOW = 1_700_000_000


def made(root: Path, metric: str, archives: list[tuple[int, int]]) -> Path:
    path = root / relative_path(metric)
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper_file.create(str(path), archives)
    fd = os.open(path, os.O_RDWR)
    try:
        header = whisper_file.read_header(fd)
        whisper_file.write_points(fd, header, [NOW - 180, NOW - 60], [1.0, 2.0], NOW)
    finally:
        os.close(fd)
    return path


def rules(metric: str) -> bytes:
    return pack_header(NEW if "new" in metric else OLD, 0.5, "average")


def scan(root: Path, names: dict[str, str] | None = None) -> Scan:
    known = names or {}
    lookup = nobody_knows if names is None else (lambda paths: {path: known[path] for path in paths if path in known})
    return Scan(str(root), rules, lookup)


def test_only_what_differs_is_found_and_a_second_run_finds_nothing(tmp_path: Path) -> None:
    made(tmp_path, "a.old", OLD)
    wrong = made(tmp_path, "a.new.x", OLD)
    made(tmp_path, "a.new.y", NEW)
    (tmp_path / "a" / ".hidden.wsp").write_bytes(b"")
    expected = resize(wrong.read_bytes(), wrong, make_header(NEW), NOW)
    found = list(scan(tmp_path).differences())
    assert [(one.path, one.metric) for one in found] == [("a/new/x.wsp", "a.new.x")]
    told = list(migrate(str(tmp_path), found, clock=lambda: NOW))
    assert [(one.path, one.done) for one in told] == [("a/new/x.wsp", True)]
    assert wrong.read_bytes() == expected
    assert list(scan(tmp_path).differences()) == []
    assert [one.done for one in migrate(str(tmp_path), found)] == [False]


def test_tagged_metrics_are_matched_by_their_names_or_left_out(tmp_path: Path) -> None:
    path = made(tmp_path, "new;a=b", OLD)
    relative = str(path.relative_to(tmp_path))
    nameless = scan(tmp_path)
    assert list(nameless.differences()) == []
    assert (nameless.files, nameless.nameless) == (1, 1)
    found = list(scan(tmp_path, {relative[:-4].replace("/", "."): "new;a=b"}).differences())
    assert [(one.path, one.metric) for one in found] == [(relative, "new;a=b")]


def test_what_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path) -> None:
    made(tmp_path, "a.new.x", OLD)
    (tmp_path / "a" / "empty.wsp").write_bytes(b"")
    found = list(scan(tmp_path).differences())
    assert [(one.path, one.before is None) for one in found] == [("a/empty.wsp", True), ("a/new/x.wsp", False)]
    assert "Unable to read header" in found[0].why
    assert [(one.path, one.done) for one in migrate(str(tmp_path), found)] == [
        ("a/empty.wsp", False),
        ("a/new/x.wsp", True),
    ]


def test_many_files_and_one_that_vanished(tmp_path: Path) -> None:
    paths = [made(tmp_path, f"a.new.m{number:02}", OLD) for number in range(40)]
    found = list(scan(tmp_path).differences())
    paths[7].unlink()
    asked: list[int] = []
    told = {one.path: one for one in migrate(str(tmp_path), found, rest=asked.append, durable=False)}
    assert sum(asked) == 40
    assert max(asked) <= 16
    assert not told["a/new/m07.wsp"].done
    assert sum(one.done for one in told.values()) == 39
    assert not paths[7].exists()
    for path in paths[:7] + paths[8:]:
        assert parse_header(path.read_bytes(), path) == make_header(NEW)


def test_a_run_that_is_ended_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for number in range(40):
        made(tmp_path, f"a.new.m{number:02}", OLD)

    class Ended(Exception):
        pass

    batches: list[int] = []

    def rest(files: int) -> None:
        if len(batches) == 1:
            raise Ended
        batches.append(files)

    with pytest.raises(Ended):
        list(migrate(str(tmp_path), scan(tmp_path).differences(), rest=rest))
    left = list(scan(tmp_path).differences())
    assert len(left) == 40 - batches[0]
    assert isinstance(left[0], Difference)
    assert all(one.done for one in migrate(str(tmp_path), left))
    assert list(scan(tmp_path).differences()) == []


def test_a_tree_with_links_is_walked_once(tmp_path: Path) -> None:
    made(tmp_path, "a.x", OLD)
    (tmp_path / "0").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert list(files_below(str(tmp_path))) == ["a/x.wsp"]
    with pytest.raises(FileNotFoundError):
        list(files_below(str(tmp_path), "nowhere"))
