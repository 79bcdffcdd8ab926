"""The catalogue against a set; tags; threads; what it refuses."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carbonpy.catalog import Catalog, CatalogError, Node, store
from carbonpy.errors import MetricError
from carbonpy.metric import canonical, encoded, tags_of


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(str(tmp_path / "catalog.sqlite"))
    yield catalog
    catalog.close()


def rows(catalog: Catalog, statement: str) -> list[tuple[object, ...]]:
    """What another program reads in the file."""
    connection = sqlite3.connect(catalog.path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


# ---- laws ----

POOL = [
    *["a", "a.b", "a.b.c", "a.b.d", "a.c", "b.c.d.e", "b.c.x", "ü.é", 'q"uote.\\x', "a b.c", "_tagged.x"],
    *[
        "disk;dc=1",
        "disk;dc=2",
        "disk;dc=1;host=a",
        "a.b;t=ü",
        "odd;segment",
        canonical('x{a="1"}'),
        ";=",
        "a.b..;c=..d.",
    ],
    encoded("disk;dc=1"),
    encoded("disk;dc=1") + ".x",
]
NAMES = st.lists(st.sampled_from(POOL), max_size=6)
CHANGES = st.one_of(
    st.tuples(st.just("add"), NAMES),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("rename"), st.lists(st.sampled_from(POOL), min_size=2, max_size=2)),
)
HASHED, ITS_NAME = encoded("disk;dc=1"), "disk;dc=1"


def model_add(model: set[str], names: list[str]) -> None:
    for name in names:
        if name == HASHED and ITS_NAME in model:
            continue
        model.add(name)
        if name == ITS_NAME:
            model.discard(HASHED)


def model_remove(model: set[str], names: list[str]) -> None:
    for name in names:
        model.discard(ITS_NAME if name == HASHED and ITS_NAME in model else name)


@given(st.lists(CHANGES, max_size=12))
@settings(max_examples=200, deadline=None)
@example([("add", ["a.b.c", "a.b", "b.c.x", "b.c.d.e"]), ("remove", ["b.c.x", "a.b.c", "b.c.d.e"])])
@example([("add", [HASHED]), ("add", [ITS_NAME]), ("remove", [HASHED])])
@example([("add", [ITS_NAME]), ("add", [HASHED]), ("rename", [HASHED, "a"])])
@example([("add", [ITS_NAME, HASHED + ".x"]), ("remove", [ITS_NAME])])
@example([("add", [HASHED, ITS_NAME, ITS_NAME]), ("rename", [ITS_NAME, HASHED])])
def test_the_catalogue_is_a_set_of_names(changes: list[tuple[str, list[str]]]) -> None:
    model: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        catalog = Catalog(f"{directory}/catalog.sqlite")
        for kind, names in changes:
            before = len(model)
            if kind == "add":
                model_add(model, names)
                assert catalog.add(names) == len(model) - before
            elif kind == "remove":
                model_remove(model, names)
                assert catalog.remove(names) == before - len(model)
            else:
                old, new = names
                there = old in model or (old == HASHED and ITS_NAME in model)
                if there:
                    model_remove(model, [old])
                    model_add(model, [new])
                assert catalog.rename(old, new) == there
            assert catalog.count() == len(model)
        check_against(catalog, model)
        catalog.close()


def check_against(catalog: Catalog, model: set[str]) -> None:
    """The catalogue, and every row of its file, are those of the set `model`."""
    assert list(catalog.metrics()) == sorted(model)
    for name in POOL:
        assert catalog.contains(name) == (name in model or (name == HASHED and ITS_NAME in model)), name
    leaves = {encoded(name) for name in model}
    branches = {leaf[:end] for leaf in leaves for end in range(len(leaf)) if leaf[end] == "."}
    expected = {(path, (path in leaves) + 2 * (path in branches)) for path in leaves | branches}
    assert set(rows(catalog, "SELECT path, kind FROM nodes")) == expected
    assert not rows(catalog, "SELECT path FROM nodes WHERE depth != 1 + length(path) - length(replace(path, '.', ''))")
    tagged = {(name, *pair) for name in model if ";" in name for pair in tags_of(name).items()}
    assert set(rows(catalog, "SELECT name, tag, value FROM tags LEFT JOIN tagged ON id = metric")) == tagged
    assert {name for (name,) in rows(catalog, "SELECT name FROM tagged")} == {name for name, _, _ in tagged}
    behind = rows(catalog, "SELECT n.path, t.name FROM nodes AS n JOIN tagged AS t ON t.id = n.tagged")
    assert set(behind) == {(encoded(name), name) for name, _, _ in tagged}
    assert rows(catalog, "SELECT count(tagged) FROM nodes") == [(len(behind),)]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join), max_size=40), st.integers(1, 7))
@settings(max_examples=50, deadline=None)
def test_the_size_of_chunks_changes_nothing(names: list[str], chunk: int) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        for constant in ("CHUNK", "GULP", "PAGE"):
            patch.setattr(store, constant, chunk + 5 * (constant == "CHUNK"))
        catalog = Catalog(f"{directory}/catalog.sqlite")
        assert catalog.add(names) == len(set(names))
        assert list(catalog.metrics()) == sorted(set(names))
        assert catalog.remove(names[::2]) == len(set(names[::2]))
        assert list(catalog.metrics()) == sorted(set(names) - set(names[::2]))
        catalog.close()


# ---- by example ----


def test_what_was_added_is_there_after_the_file_is_opened_again(catalog: Catalog) -> None:
    assert catalog.add(["a.b", "c", "x;y=z"]) == 3
    catalog.close()
    again = Catalog(catalog.path)
    assert list(again.metrics()) == ["a.b", "c", "x;y=z"]
    assert again.add(["a.b", "x;y=z", "d"]) == 1
    assert again.count() == 4
    again.close()


def test_a_hashed_leaf_gives_way_to_the_metric_with_that_hash(catalog: Catalog) -> None:
    path = encoded("disk;dc=1")
    assert catalog.add([path]) == 1
    assert list(catalog.metrics()) == [path]
    assert catalog.add(["disk;dc=1"]) == 0
    assert list(catalog.metrics()) == ["disk;dc=1"] and catalog.count() == 1
    assert catalog.find(path) == [Node(path, True)]
    assert catalog.names_of([path]) == {path: "disk;dc=1"}


def test_tags_are_in_the_file_with_the_name_as_a_tag(catalog: Catalog) -> None:
    catalog.add(["disk.used;dc=dc1;host=a", "odd;segment"])
    assert sorted(rows(catalog, "SELECT tag, value, name FROM tags JOIN tagged ON id = metric")) == [
        ("dc", "dc1", "disk.used;dc=dc1;host=a"),
        ("host", "a", "disk.used;dc=dc1;host=a"),
        ("name", "disk.used", "disk.used;dc=dc1;host=a"),
        ("name", "odd;segment", "odd;segment"),
    ]


@given(st.lists(st.text(max_size=12), max_size=5))
@settings(max_examples=200, deadline=None)
def test_every_canonical_name_can_be_kept_and_found(raws: list[str]) -> None:
    names = set()
    for raw in raws:
        try:
            names.add(canonical(raw))
        except MetricError:
            continue
    with tempfile.TemporaryDirectory() as directory:
        catalog = Catalog(f"{directory}/catalog.sqlite")
        assert catalog.add(names) == len(names)
        assert list(catalog.metrics()) == sorted(names)
        plain = {name for name in names if ";" not in name and not name.startswith("_tagged")}
        assert {node.path for node in catalog.find("**", leaves_only=True)} == plain
        for name in plain:
            quoted = "".join(f"\\{c}" if c in "*?[]{}\\" else c for c in name)
            assert Node(name, True) in catalog.find(quoted)
        catalog.close()


def test_names_that_are_not_canonical_are_refused(catalog: Catalog) -> None:
    for name in ("", ".", "a..b", ".a", "a.", "a\nb", "a\x7f", "a;b=\x00", "a\ud800", "ü.", "é\x85"):
        for batch in ([name], ["fine.name", name], [name, "fine.name"]):
            with pytest.raises(MetricError):
                catalog.add(batch)
        with pytest.raises(MetricError):
            catalog.rename("a", name)
        assert not catalog.contains(name)
    assert catalog.count() == 0


def test_find_and_remove_of_impossible_names_find_nothing(catalog: Catalog) -> None:
    catalog.add(["a.b"])
    for name in ("", "a\nb", "a\ud800", "a;\ud800", "a.*\ud800", "..", "a.b\n"):
        assert catalog.find(name) == []
        assert catalog.remove([name]) == 0
    assert catalog.count() == 1


def test_facts_are_kept_and_the_count_cannot_be_set(catalog: Catalog) -> None:
    assert catalog.fact("adopted_at") is None
    catalog.set_fact("adopted_at", "12")
    catalog.set_fact("adopted_at", "13")
    assert catalog.fact("adopted_at") == "13"
    with pytest.raises(CatalogError, match="use another key"):
        catalog.set_fact("metrics", "5")


def test_a_closed_catalogue_says_so(catalog: Catalog) -> None:
    catalog.close()
    catalog.close()
    for use in (lambda: catalog.add(["a"]), lambda: catalog.find("*"), lambda: catalog.remove(["a"]), catalog.count):
        with pytest.raises(CatalogError, match="is closed"):
            use()


def test_a_change_that_fails_leaves_nothing_behind(catalog: Catalog) -> None:
    catalog.add(["a.b"])
    connection = sqlite3.connect(catalog.path)
    connection.execute(
        "CREATE TRIGGER no BEFORE INSERT ON nodes WHEN new.path = 'c' BEGIN SELECT raise(ABORT, 'no'); END"
    )
    connection.commit()
    connection.close()
    with pytest.raises(CatalogError, match=r"no; look at"):
        catalog.add(["c.d", "x"])
    assert list(catalog.metrics()) == ["a.b"] and catalog.count() == 1
    assert catalog.add(["x"]) == 1


# ---- threads and processes ----


def test_readers_see_a_growing_set_while_writers_add(catalog: Catalog) -> None:
    batches = [[f"t{thread}.n{number % 50}.m{number}" for number in range(3000)] for thread in range(2)]
    failures: list[BaseException] = []
    started = threading.Barrier(len(batches) + 2)
    writing = [len(batches)]
    looks = [0]

    def write(batch: list[str]) -> None:
        try:
            started.wait()
            for start in range(0, len(batch), 100):
                assert catalog.add(batch[start : start + 100]) == 100
        except BaseException as error:
            failures.append(error)
        finally:
            writing[0] -= 1

    def read() -> None:
        try:
            started.wait()
            seen = 0
            while writing[0] > 0:
                found = len(catalog.find("*.*.*"))
                assert found >= seen and found <= catalog.count()
                seen = found
                looks[0] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(batch,)) for batch in batches]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and looks[0] > 0
    assert catalog.count() == 6000 == len(catalog.find("**", leaves_only=True))


def test_two_writers_add_the_same_names_and_each_is_counted_once(catalog: Catalog) -> None:
    other = Catalog(catalog.path)
    names = [f"a.b{number}" for number in range(4000)] + [f"t;n={number}" for number in range(300)]
    added: list[int] = []
    threads = [threading.Thread(target=lambda c=c: added.append(c.add(names))) for c in (catalog, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(added) == len(names) == catalog.count() == other.count()
    other.close()


def test_the_lock_is_free_between_the_chunks_of_a_long_add(catalog: Catalog) -> None:
    """A second writer gets its turn while the first is in the middle of its iterable."""

    def names() -> Iterator[str]:
        for number in range(store.GULP):
            yield f"long.n{number}"
        assert catalog.add(["between"]) == 1
        yield "last"

    assert catalog.add(names()) == store.GULP + 1
    assert catalog.contains("between") and catalog.contains("last")
