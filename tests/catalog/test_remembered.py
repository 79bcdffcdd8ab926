"""What is remembered of earlier answers, and when it is void."""

import os
import sqlite3

import pytest

from carbonpy.catalog import Catalog, Node
from carbonpy.catalog.remembered import Remembered


def test_an_answer_is_given_again_while_the_version_stays():
    remembered = Remembered()
    assert remembered.get("a.*", 1) is None
    remembered.put("a.*", 1, ["a.b"])
    answer = remembered.get("a.*", 1)
    assert answer == ["a.b"]
    answer.append("changed by the caller")
    assert remembered.get("a.*", 1) == ["a.b"]
    assert remembered.get("a.*", 2) is None
    remembered.put("b.*", 2, [])
    assert remembered.get("b.*", 2) == []
    assert remembered.get("a.*", 1) is None


def test_the_room_is_bounded_and_what_was_used_last_stays():
    remembered = Remembered(most=300, most_in_one=200)
    remembered.put("huge", 1, ["x"] * 201)
    assert remembered.get("huge", 1) is None
    for name in "abc":
        remembered.put(name, 1, ["x"] * 100)
    assert remembered.get("a", 1) is not None
    remembered.put("d", 1, ["x"] * 100)
    assert [name for name in "abcd" if remembered.get(name, 1)] == ["a", "c", "d"]
    remembered.put("d", 1, ["y"])
    remembered.put("e", 1, ["x"] * 50)
    assert [name for name in "abcde" if remembered.get(name, 1)] == ["a", "c", "d", "e"]


@pytest.fixture
def catalog(tmp_path):
    catalog = Catalog(f"{tmp_path}/catalog.sqlite")
    yield catalog
    catalog.close()


def test_every_change_is_seen_whoever_makes_it(catalog):
    assert catalog.find("a.*") == catalog.find("a.*") == []
    catalog.add(["a.b"])
    assert catalog.find("a.*") == [Node("a.b", True)]
    other = Catalog(catalog.path)
    other.add(["a.c"])
    assert [node.path for node in catalog.find("a.*")] == [node.path for node in other.find("a.*")] == ["a.b", "a.c"]
    catalog.remove(["a.b"])
    assert [node.path for node in other.find("a.*")] == ["a.c"]
    stranger = sqlite3.connect(catalog.path)
    stranger.execute("DELETE FROM nodes")
    assert catalog.find("a.*") != []
    stranger.commit()
    assert catalog.find("a.*") == other.find("a.*") == []
    stranger.close()
    other.close()


def test_a_file_that_was_replaced_is_met_though_answers_are_remembered(catalog):
    catalog.add(["a.b"])
    assert catalog.find("*.*") == [Node("a.b", True)]
    for suffix in ("", "-wal", "-shm"):
        os.unlink(catalog.path + suffix)
    assert catalog.find("*.*") == []


def test_a_damaged_file_is_set_aside_when_somebody_changes_it(catalog):
    catalog.add(["a.b"])
    assert catalog.find("*.*") == [Node("a.b", True)]
    catalog.close()
    with open(catalog.path, "r+b") as file:
        file.write(b"junk" * 2000)
    again = Catalog(catalog.path)
    assert again.find("*.*") == []
    assert len(again.set_aside) == 1
    again.close()
