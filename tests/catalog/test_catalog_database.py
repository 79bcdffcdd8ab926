"""The file under the catalogue: damage, newer versions, other people's files, and the shape of lists."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.catalog import Catalog, CatalogError
from carbonpy.catalog.database import SCHEMA_VERSION, json_list


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "data" / "catalog.sqlite")


def filled(path: str, names: int = 3000) -> None:
    """A catalogue with `names` metrics, closed, all of it in the main file."""
    catalog = Catalog(path)
    catalog.add(f"some.where.far.away.m{number}" for number in range(names))
    catalog.set_fact("adopted_at", "1")
    catalog.close()


def overwrite(path: str, offset: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def assert_set_aside(catalog: Catalog, damaged: bytes) -> None:
    """The catalogue works, is empty, asks for adoption, and the damaged file lies beside it."""
    assert catalog.fact("adopted_at") is None
    [aside] = catalog.set_aside
    assert aside.startswith(catalog.path + ".damaged-")
    assert Path(aside).read_bytes() == damaged
    assert catalog.add(["a.b"]) == 1 and catalog.count() == 1


def test_a_file_of_rubbish_is_set_aside_when_it_is_opened(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    rubbish = b"this was a database once\n" * 1000
    Path(path).write_bytes(rubbish)
    catalog = Catalog(path)
    assert_set_aside(catalog, rubbish)
    catalog.close()


def test_a_file_that_is_cut_is_set_aside(path: str) -> None:
    filled(path)
    os.truncate(path, 20_000)
    damaged = Path(path).read_bytes()
    catalog = Catalog(path)
    assert catalog.find("some.*.*.*.m7") == []
    assert_set_aside(catalog, damaged)
    catalog.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda catalog: catalog.find("**"),
        lambda catalog: list(catalog.metrics()),
        lambda catalog: catalog.add(f"some.where.m{number}" for number in range(3000)),
        lambda catalog: catalog.add(f"some.where.far.away.m{number}" for number in range(3000)),
        lambda catalog: catalog.remove(f"some.where.far.away.m{number}" for number in range(3000)),
    ],
    ids=["find", "metrics", "add new", "add known", "remove"],
)
def test_damage_found_while_working_sets_the_file_aside_and_the_work_goes_on(path: str, use: object) -> None:
    filled(path)
    for page in range(8, os.path.getsize(path) // 4096):
        overwrite(path, page * 4096, b"\xff" * 4096)
    damaged = Path(path).read_bytes()
    catalog = Catalog(path)
    assert catalog.fact("adopted_at") == "1" and not catalog.set_aside
    use(catalog)  # type: ignore[operator]
    catalog.remove([f"some.where.{m}" for number in range(3000) for m in (f"m{number}", f"far.away.m{number}")])
    assert_set_aside(catalog, damaged)
    catalog.close()


def test_two_users_of_a_damaged_file_set_it_aside_once(path: str) -> None:
    filled(path)
    for page in range(8, os.path.getsize(path) // 4096):
        overwrite(path, page * 4096, b"\xff" * 4096)
    one, other = Catalog(path), Catalog(path)
    assert one.find("**") == []
    one.add(["a.b"])
    other.add(["a.c"])
    assert one.expand("**") == other.expand("**") == ["a", "a.b", "a.c"]
    assert len(one.set_aside) == 1 and other.set_aside == []
    one.close()
    other.close()


def test_damage_twice_in_a_second_keeps_both_files(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    for content in (b"first " * 1000, b"second " * 1000):
        Path(path).write_bytes(content)
        Catalog(path).close()
    kept = sorted(file.read_bytes()[:6] for file in Path(path).parent.glob("*.damaged-*"))
    assert kept == [b"first ", b"second"]


def test_a_catalogue_whose_file_was_deleted_begins_again(path: str) -> None:
    filled(path, 10)
    catalog = Catalog(path)
    catalog.add(["in.the.log"])
    assert catalog.find("some.*.*.*.m1") != []
    os.unlink(path)
    assert catalog.fact("adopted_at") is None
    assert catalog.add(["a.b"]) == 1
    assert list(catalog.metrics()) == ["a.b"]
    catalog.close()


def test_a_file_of_a_newer_carbonpy_is_refused_and_not_touched(path: str) -> None:
    filled(path, 3)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = Path(path).read_bytes()
    with pytest.raises(CatalogError, match=r"newer carbonpy .*; upgrade carbonpy, or move the file away"):
        Catalog(path)
    assert Path(path).read_bytes() == before


def test_the_database_of_another_program_is_refused_and_not_touched(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    for setup in ("CREATE TABLE nodes (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"):
        connection = sqlite3.connect(path)
        connection.execute(setup)
        connection.close()
        before = Path(path).read_bytes()
        with pytest.raises(CatalogError, match="of another program; name another file"):
            Catalog(path)
        assert Path(path).read_bytes() == before
        assert os.listdir(os.path.dirname(path)) == ["catalog.sqlite"]
        os.unlink(path)


def test_an_empty_file_becomes_a_catalogue(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    Path(path).touch()
    catalog = Catalog(path)
    assert catalog.add(["a"]) == 1 and catalog.set_aside == []
    catalog.close()


def test_a_place_that_cannot_hold_a_file_is_named_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="cannot make the directory"):
        Catalog(str(tmp_path / "file" / "catalog.sqlite"))
    (tmp_path / "directory").mkdir()
    with pytest.raises(CatalogError, match="cannot open the catalogue"):
        Catalog(str(tmp_path / "directory"))


def test_the_file_is_in_write_ahead_mode(path: str) -> None:
    filled(path, 1)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_a_list_of_any_texts_is_valid_json(texts: list[str]) -> None:
    assert json.loads(json_list(texts)) == texts
