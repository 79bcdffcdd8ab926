"""Names held in memory against the file they come from, whatever comes and goes there in the meantime."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carbonpy.catalog import Catalog, database, held, nametree
from carbonpy.catalog.database import Database
from carbonpy.catalog.held import HeldNames
from carbonpy.catalog.matching import Matcher, expressions
from carbonpy.catalog.pattern import Glob, compile_pattern
from carbonpy.metric import encoded

NODES = st.one_of(
    st.sampled_from(["a", "b", "ab", "_tagged"]),
    st.text(alphabet="ab1-", min_size=1, max_size=3),
    st.text(alphabet="ab1[]^-!{},*?é\U0010ffff", min_size=1, max_size=4),
)
NAMES = st.lists(NODES, min_size=1, max_size=4).map(".".join) | st.sampled_from(["t;k=v", "t;k=w", encoded("t;k=v")])
PARTS = st.one_of(
    st.sampled_from(
        ["*", "**", "a", "b", "a*", "?", "{a,b}", "{a,b1}*", "[a-b]", "[!a]*", "{a*,ab*,b?}", "*{,1}", "_tagged", "*b"]
    ),
    st.text(alphabet="ab1[]^-!{},*?é", min_size=0, max_size=6),
)
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map(".".join)
STEPS = st.lists(st.tuples(st.booleans(), st.sets(NAMES, max_size=8)), min_size=1, max_size=5)


@given(steps=STEPS, patterns=st.lists(PATTERNS, min_size=3, max_size=10), leaves_only=st.booleans())
@settings(max_examples=200, deadline=None)
@example(steps=[(True, {"a", "a.b"}), (False, {"a.b"})], patterns=["*", "a.*", "**"], leaves_only=False)
@example(steps=[(True, {"_tagged.a", "b.a"})], patterns=["*", "**", "**.a", "*.a", "_tagged.*"], leaves_only=False)
@example(steps=[(True, {"a.b.a.b", "a.a.a"})], patterns=["**.a.**", "**.**", "**.a.**.b"], leaves_only=False)
def test_what_is_held_answers_as_the_file_does(
    steps: list[tuple[bool, set[str]]], patterns: list[str], leaves_only: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/catalog.sqlite"
        writer, reader = Catalog(path), Catalog(path, held=True)
        assert reader.find("the.first.question") == []
        for adding, names in steps:
            (writer.add if adding else writer.remove)(names)
            for pattern in patterns:
                assert reader.find(pattern, leaves_only) == writer.find(pattern, leaves_only), pattern
        writer.close()
        reader.close()


@given(st.lists(st.text(alphabet="ab[]^-!*?", max_size=7), min_size=1, max_size=4), st.sets(NODES, max_size=20))
@settings(max_examples=300, deadline=None)
@example(["[!]-]", "[]-]", "[--b]", "[+-^]", "[^-]", "[!^]"], {"]", "-", "^", "!", "+", ",", "a"})
def test_names_match_in_memory_as_in_sqlite(variants: list[str], names: set[str]) -> None:
    connection = sqlite3.connect(":memory:")
    for variant in variants:
        for (part,) in (parts for parts in compile_pattern(variant) if len(parts) == 1):
            if isinstance(part, Glob):
                ordered = sorted(names)
                globs = [(one.prefix, one.globs) for one in part.ranges]
                expected = [
                    name
                    for name in ordered
                    for prefix, some in globs
                    if name.startswith(prefix)
                    and (not some or any(connection.execute("SELECT ? GLOB ?", (name, g)).fetchone()[0] for g in some))
                ]
                assert [ordered[place] for place in Matcher(part).positions(ordered)] == expected
    connection.close()


def test_many_stars_take_no_longer_than_the_name_is_long() -> None:
    (text,) = expressions(["*a" * 30 + "b"])
    assert text.count("(?P=") == 29
    matcher = Matcher(compile_pattern("*a" * 30 + "b")[0][0])  # type: ignore[arg-type]
    assert list(matcher.positions(["a" * 240])) == []


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(str(tmp_path / "catalog.sqlite"))
    catalog.add(f"dc{n % 2}.host{n // 10}.m{n % 10}" for n in range(1_000))
    yield catalog
    catalog.close()


class Answers:
    """HeldNames over a file, and what they answer: None where SQLite has to."""

    def __init__(self, path: str) -> None:
        self._database = Database(path)
        self._time = itertools.count()
        self.held = HeldNames(self._database, lambda: next(self._time) / 10)

    def __call__(self, pattern: str) -> int | None:
        """How many leaves there are."""
        found = self.held.find(compile_pattern(pattern), True, self._database.version())
        return None if found is None else len(found[1])


def test_the_first_question_costs_nothing_and_like_branches_are_one(names: Catalog) -> None:
    answers = Answers(names.path)
    assert answers("dc*.*.m1") is None
    # Of a host there are the odd or the even metrics.
    assert answers("dc*.*.m1") == 100
    tree = answers.held._tree
    assert tree is not None and tree.entries == 2 + 2 * 100 + 10
    names.add(["dc0.host5.m1"])
    names.remove(["dc1.host6.m1"])
    assert answers("dc*.*.m1") == 100
    assert answers("dc*.host5.m1") == 2
    assert answers("dc*.host6.m1") == 0


def test_when_too_much_has_changed_sqlite_answers_until_names_may_be_read_again(
    names: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers(names.path)
    assert [answers("dc0.host1.*"), answers("dc0.host1.*")] == [None, 5]
    monkeypatch.setattr(database, "KEPT_CHANGES", 10)
    for turn in range(5):
        names.add(f"more.turn{turn}.m{n}" for n in range(20))
    found = [answers("more.*.*") for _ in range(5)]
    names.add(["one.more"])
    # Each look at the clock is a tenth of a second, and to read took about one: thirty times that is waited for.
    for _ in range(500):
        found.append(answers("more.*.*"))
        names.set_fact("changed", str(len(found)))
    assert found[0] is None and found[-1] == 100
    assert set(found) == {None, 100}


def test_names_that_take_too_long_to_be_read_are_left_to_sqlite(
    names: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "_MOST_SECONDS", 0.1)
    answers = Answers(names.path)
    assert [answers("*.*.m1") for _ in range(3)] == [None] * 3


def test_too_many_names_and_too_long_ones_are_left_to_sqlite(names: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = Answers(names.path)
    assert [deep("*.*.m1"), deep("*.*.m1")] == [None, 100]
    names.add([".".join(["deep"] * 300)])
    assert deep("*.*.m1") is None
    names.remove([".".join(["deep"] * 300)])
    monkeypatch.setattr(nametree, "MOST_ENTRIES", 100)
    many = Answers(names.path)
    assert [many("*.*.m1"), many("*.*.m1")] == [None, None]


def test_branches_that_nothing_leads_to_are_forgotten(names: Catalog) -> None:
    answers = Answers(names.path)
    answers("*")
    assert answers("*.*.*") == 1_000
    tree = answers.held._tree
    assert tree is not None
    for turn in range(1_500):
        tree.change([(f"dc0.host0.new{turn}", True), (f"dc0.host0.new{turn - 1}", False)])
    assert len(tree._known) < 2_500
    assert len(tree.find(compile_pattern("dc0.host0.*"), True)[1]) == 6  # type: ignore[index]


def test_a_file_from_before_there_was_a_table_of_changes_is_brought_up_to_date(tmp_path: Path) -> None:
    path = str(tmp_path / "catalog.sqlite")
    catalog = Catalog(path)
    catalog.add(["a.b", "a.c"])
    catalog.close()
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE changes; PRAGMA user_version = 1;")
    connection.close()
    later = Catalog(path, held=True)
    assert len(later.find("a.*")) == len(later.find("*.?")) == 2
    later.add(["a.d"])
    assert len(later.find("*.*")) == later.count() == 3
    later.close()


def test_another_file_in_its_place_is_read_anew(names: Catalog, tmp_path: Path) -> None:
    reader = Catalog(names.path, held=True)
    assert len(reader.find("*")) == len(reader.find("dc?")) == 2
    other = Catalog(str(tmp_path / "other.sqlite"))
    other.add(["dc7.a"])
    other.close()
    for suffix in ("-wal", "-shm"):
        Path(names.path + suffix).unlink()
    (tmp_path / "other.sqlite").replace(names.path)
    assert [node.path for node in reader.find("dc*")] == ["dc7"]
    reader.close()


def test_somebody_who_reads_all_names_holds_up_nobody(names: Catalog) -> None:
    answers = Answers(names.path)
    assert [answers("*.*.m1"), answers("*.*.m1")] == [None, 100]
    with answers.held._lock:
        assert answers("*.*.m2") is None
    assert answers("*.*.m2") == 100
    assert held._SHARE > 1
