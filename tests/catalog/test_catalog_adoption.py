"""Adopting a whisper tree and reconciling with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.catalog import Catalog, CatalogError, Node, Progress, adopt, rescan, rescan_steps
from carbonpy.catalog.adoption import STEP
from carbonpy.metric import encoded, relative_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "whisper"
    root.mkdir()
    return root


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(str(tmp_path / "catalog.sqlite"))
    yield catalog
    catalog.close()


def touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def adopted(root: Path, catalog: Catalog) -> Progress:
    """All steps; the last progress."""
    progress = Progress()
    for _ in adopt(str(root), catalog, progress):
        pass
    return progress


# ---- adopting ----


def test_whisper_files_become_metrics_and_nothing_else_does(root: Path, catalog: Catalog) -> None:
    touch(root, "a/b.wsp", "a/c.wsp.gz", "top.wsp", "a/notes.txt", "a/old.rrd", "~t/{x}.wsp", "a/ü b.wsp")
    touch(root, ".hidden/x.wsp", "a/.wsp", "a/.x.wsp", "a/d.e.wsp", "x.y/z.wsp", "a/new\nline.wsp", "a/q;r.wsp")
    (root / "a" / "dir.wsp").mkdir()
    with open(os.fsencode(root) + b"/a/\xff.wsp", "wb"):
        pass
    progress = adopted(root, catalog)
    assert list(catalog.metrics()) == ["a.b", "a.c", "a.ü b", "top", "~t.{x}"]
    assert (progress.files, progress.added, progress.skipped, progress.done) == (5, 5, 8, True)


def test_adoption_is_remembered_with_its_time(root: Path, catalog: Catalog) -> None:
    steps = adopt(str(root), catalog, now=lambda: 1234.9)
    assert [progress.done for progress in steps][-1] is True
    assert catalog.fact("adopted_at") == "1234"


def test_a_missing_tree_is_an_empty_one(tmp_path: Path, catalog: Catalog) -> None:
    assert adopted(tmp_path / "nowhere", catalog).done
    assert catalog.count() == 0


def test_adoption_comes_in_steps_and_can_be_broken_off_and_finished(root: Path, catalog: Catalog) -> None:
    touch(root, *(f"d{number % 7}/m{number}.wsp" for number in range(2 * STEP + 10)))
    clock = iter(range(100))
    steps = adopt(str(root), catalog, clock=lambda: next(clock))
    first = next(steps)
    assert (first.files, first.added, first.done, first.seconds) == (STEP, STEP, False, 1)
    assert catalog.count() == STEP and catalog.fact("adopted_at") is None
    steps.close()  # type: ignore[attr-defined]
    progress = adopted(root, catalog)
    assert (progress.files, progress.added) == (2 * STEP + 10, STEP + 10)


def test_a_file_that_is_there_twice_is_one_metric(root: Path, catalog: Catalog) -> None:
    touch(root, "a/b.wsp", "a/b.wsp.gz", "a/b/c.wsp")
    assert adopted(root, catalog).added == 2
    assert catalog.find("a.*") == [Node("a.b", False), Node("a.b", True)]


def test_an_unreadable_directory_costs_itself(root: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(root, "a/b.wsp", "c/d.wsp")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("/c"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    progress = adopted(root, catalog)
    assert list(catalog.metrics()) == ["a.b"] and progress.unreadable == 1


# ---- tagged files ----


def test_a_readable_tagged_leaf_gives_back_its_name(root: Path, catalog: Catalog) -> None:
    touch(root, relative_path("disk.used;dc=1;host=a.b", hash_only=False))
    adopted(root, catalog)
    assert list(catalog.metrics()) == ["disk.used;dc=1;host=a.b"]


def test_a_hashed_tagged_leaf_is_kept_as_its_path_until_its_metric_comes(root: Path, catalog: Catalog) -> None:
    touch(root, relative_path("disk.used;dc=1"))
    adopted(root, catalog)
    path = encoded("disk.used;dc=1")
    assert list(catalog.metrics()) == [path] and relative_path(path) == relative_path("disk.used;dc=1")
    assert catalog.add(["disk.used;dc=1"]) == 0
    assert adopted(root, catalog).added == 0
    assert list(catalog.metrics()) == ["disk.used;dc=1"]


def test_a_tagged_leaf_in_the_directory_of_another_hash_is_skipped(root: Path, catalog: Catalog) -> None:
    touch(root, "_tagged/000/000/disk_DOT_used;dc=1.wsp", "_tagged/000/000/disk;bad;x=~y.wsp")
    assert adopted(root, catalog).skipped == 2
    assert catalog.count() == 0


# ---- links ----


def test_a_link_to_another_directory_is_followed(root: Path, tmp_path: Path, catalog: Catalog) -> None:
    touch(tmp_path / "elsewhere", "x/y.wsp")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    touch(tmp_path / "elsewhere", "file.wsp")
    (root / "one.wsp").symlink_to(tmp_path / "elsewhere" / "file.wsp")
    (root / "broken.wsp").symlink_to(tmp_path / "nowhere")
    (root / "away").symlink_to(tmp_path / "nowhere")
    adopted(root, catalog)
    assert list(catalog.metrics()) == ["one", "out.file", "out.x.y"]


def test_links_upwards_and_links_to_each_other_end(root: Path, catalog: Catalog) -> None:
    touch(root, "a/m.wsp", "b/n.wsp")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "b").symlink_to(root / "b")
    (root / "b" / "a").symlink_to(root / "a")
    (root / "knot").symlink_to(root / "knot")
    adopted(root, catalog)
    assert list(catalog.metrics()) == ["a.b.n", "a.m", "b.a.m", "b.n"]


def test_the_tree_itself_may_be_a_link(root: Path, tmp_path: Path, catalog: Catalog) -> None:
    touch(root, "a/m.wsp")
    (tmp_path / "link").symlink_to(root)
    adopted(tmp_path / "link", catalog)
    assert list(catalog.metrics()) == ["a.m"]


# ---- rescanning ----

NAMES = st.sets(
    st.sampled_from(["a", "a.b", "a.c", "b.c.d", "b.c.e", "b.x", "disk;dc=1", "disk;dc=2", encoded("gone;dc=3")])
)


@given(files=NAMES, known=NAMES, cached=NAMES)
@settings(max_examples=150, deadline=None)
def test_after_a_rescan_the_catalogue_is_the_files_and_what_is_cached(
    files: set[str], known: set[str], cached: set[str]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "whisper"
        touch(root, "_anchor.wsp", *(relative_path(metric, hash_only=metric != "disk;dc=2") for metric in files))
        catalog = Catalog(f"{directory}/catalog.sqlite")
        catalog.add(known)
        progress = rescan(str(root), catalog, cached.__contains__)
        # A hashed file whose metric is unknown is a metric by its path.
        named = {encoded(m) if m == "disk;dc=1" and m not in known else m for m in files}
        after = named | {"_anchor"} | (known & cached)
        assert set(catalog.metrics()) == after
        assert (progress.added, progress.removed) == (len(after - known), len(known - after))
        assert progress.done and progress.files == len(files) + 1
        catalog.close()


def test_rescan_does_not_empty_the_catalogue_when_the_tree_is_empty(root: Path, catalog: Catalog) -> None:
    catalog.add(["a.b"])
    for place in (root, root / "nowhere"):
        with pytest.raises(CatalogError, match="nothing was removed: mount the disk"):
            rescan(str(place), catalog)
    assert catalog.contains("a.b")


def test_rescan_keeps_what_it_cannot_see(root: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(root, "a/b.wsp")
    catalog.add(["c.d", "c.e"])
    stat = os.stat

    def failing(path: str, **options: object) -> object:
        if str(path).endswith(("/c/d.wsp", "/c/d.wsp.gz")):
            raise OSError(5, "Input/output error")
        return stat(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", failing)
    assert rescan(str(root), catalog).removed == 1
    assert list(catalog.metrics()) == ["a.b", "c.d"]


def interrupting(catalog: Catalog, happen: Callable[[], None]) -> Catalog:
    """The same catalogue, in which `happen` runs just before names are removed."""

    class Interrupted(Catalog):
        def remove(self, metrics: object) -> int:
            happen()
            return catalog.remove(metrics)  # type: ignore[arg-type]

    return Interrupted(catalog.path)


def test_a_file_made_while_rescan_looks_for_it_stays(root: Path, catalog: Catalog) -> None:
    touch(root, "a.wsp")
    catalog.add(["late.file", "gone"])
    beside = interrupting(catalog, lambda: touch(root, "late/file.wsp"))
    progress = rescan(str(root), beside)
    assert list(catalog.metrics()) == ["a", "late.file"] and progress.removed == 1
    beside.close()


def test_a_point_taken_while_rescan_asks_for_it_keeps_its_metric(root: Path, catalog: Catalog) -> None:
    touch(root, "a.wsp")
    catalog.add(["late.point"])
    cached: set[str] = set()
    beside = interrupting(catalog, lambda: cached.add("late.point"))
    progress = rescan(str(root), beside, cached.__contains__)
    assert list(catalog.metrics()) == ["a", "late.point"] and progress.removed == 0
    beside.close()


def test_rescan_comes_in_steps(root: Path, catalog: Catalog) -> None:
    touch(root, *(f"m{number}.wsp" for number in range(STEP)))
    catalog.add(f"gone.m{number}" for number in range(STEP))
    steps = list(rescan_steps(str(root), catalog))
    assert len(steps) >= 4 and steps[-1].done
    assert (steps[-1].removed, steps[-1].checked, catalog.count()) == (STEP, 2 * STEP, STEP)


def test_rescan_after_a_subtree_was_deleted_leaves_no_branch(root: Path, catalog: Catalog) -> None:
    touch(root, "a/b/c.wsp", "x/y/z.wsp", "x/w.wsp")
    adopted(root, catalog)
    shutil.rmtree(root / "x" / "y")
    rescan(str(root), catalog)
    assert catalog.expand("**") == ["a", "a.b", "a.b.c", "x", "x.w"]


def test_files_that_a_killed_writer_left_are_removed_when_they_are_old(tmp_path: Path) -> None:
    root = tmp_path / "whisper"
    root.mkdir()
    (root / "a.wsp").write_bytes(b"")
    old, young, foreign = root / ".new-1-x-1.part", root / ".new-1-x-2.part", root / ".hidden"
    for file in (old, young, foreign):
        file.write_bytes(b"")
    for file in (old, foreign):
        os.utime(file, (1, 1))
    catalog = Catalog(str(tmp_path / "catalog.sqlite"))
    list(adopt(str(root), catalog))
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)
    assert list(catalog.metrics()) == ["a"]
    catalog.close()
