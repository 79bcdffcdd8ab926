"""A tree that others write: found as it is, when it changes, and cheaply when it does not."""

import os
import shutil
import tempfile
import threading
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recorded_globs import check_like_recorded, make_tree, recorded

from carbonpy.catalog import Catalog, CatalogError, Node, adopt
from carbonpy.catalog.tree import TreeNames
from carbonpy.metric import relative_path


class Place:
    """A whisper tree and a clock that stands still until it is moved."""

    def __init__(self, directory):
        self.root = Path(directory) / "whisper"
        self.root.mkdir()
        self.time = 0.0
        self.age = 1_000_000_000
        self.names = TreeNames(str(self.root), scratch=str(directory), clock=lambda: self.time)

    def make(self, path):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    def settle(self):
        """Let the directories look as if they had changed long ago, each change at another time."""
        for directory, _, _ in os.walk(self.root):
            if os.stat(directory).st_mtime > 1_600_000_000:
                self.age += 1
                os.utime(directory, (self.age, self.age))

    def metrics(self):
        self.time += 1000
        return list(self.names.metrics())

    def close(self):
        self.names.close()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture(scope="module")
def recorded_names(tmp_path_factory):
    root = make_tree(tmp_path_factory.mktemp("recorded") / "whisper")
    names = TreeNames(str(root))
    yield names
    names.close()


@pytest.mark.parametrize("pattern", recorded())
def test_a_tree_answers_as_graphite_web_did(recorded_names, pattern):
    check_like_recorded(pattern, recorded_names.find(pattern))


NODES = st.sampled_from(["a", "b", "*", "[x]", "{y}", "é", "_tagged"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.lists(NODES, min_size=1, max_size=3), st.sampled_from([".wsp", ".wsp.gz"])),
        st.tuples(st.just("remove"), st.lists(NODES, min_size=1, max_size=3), st.sampled_from([".wsp", ""])),
        st.tuples(st.just("move"), NODES, NODES),
        st.tuples(st.just("link"), NODES, NODES),
        st.tuples(st.just("look"), st.booleans(), st.none()),
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_after_any_changes_the_names_are_those_of_a_fresh_adoption(steps):
    with tempfile.TemporaryDirectory() as directory:
        place = Place(directory)
        for what, first, second in [*steps, ("look", True, None)]:
            try:
                if what == "make":
                    place.make("/".join(first) + second)
                elif what == "remove":
                    path = place.root / ("/".join(first) + second)
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                elif what == "move":
                    os.rename(place.root / first, place.root / second)
                elif what == "link":
                    os.symlink(place.root / first, place.root / second)
            except OSError:
                continue
            if what == "look":
                if first:
                    place.settle()
                found = place.metrics()
                fresh = Catalog(f"{directory}/fresh.sqlite")
                for _ in adopt(str(place.root), fresh):
                    pass
                assert found == list(fresh.metrics())
                assert place.names.find("**") == fresh.find("**")
                fresh.close()
                os.unlink(f"{directory}/fresh.sqlite")
        place.close()


def test_only_directories_that_changed_are_listed_again(place):
    for number in range(20):
        place.make(f"a/h{number}/cpu.wsp")
    place.settle()
    assert len(place.metrics()) == place.names.progress.files == 20
    place.metrics()
    assert place.names.progress.files == 0
    place.make("a/h3/load.wsp")
    place.make("a/h99/cpu.wsp")
    assert len(place.metrics()) == 22
    assert place.names.progress.files == 3
    place.metrics()
    assert place.names.progress.files == 3  # too young to be trusted
    place.settle()
    place.metrics()
    place.metrics()
    assert place.names.progress.files == 0


def test_the_directories_are_left_alone_for_a_moment(place):
    place.make("a.wsp")
    assert list(place.names.metrics()) == ["a"]
    place.make("b.wsp")
    assert list(place.names.metrics()) == ["a"]
    place.time += 1.0
    assert place.names.find("*") == [Node("a", True), Node("b", True)]
    assert place.names.contains("b")
    assert place.names.count() == 2


def test_tagged_files_answer_under_their_names_unless_hashed(place):
    metric, other = "disk.used;dc=dc1", "cpu;dc=dc1"
    place.make(relative_path(metric, hash_only=False))
    place.make(relative_path(other))
    digest = sha256(other.encode()).hexdigest()
    hashed = f"_tagged.{digest[:3]}.{digest[3:6]}.{digest}"
    assert place.metrics() == [hashed, metric]
    assert place.names.find_series(["dc=dc1"]) == [metric]
    path = relative_path(metric)[:-4].replace("/", ".")
    assert place.names.names_of([path, hashed]) == {path: metric}
    place.make(relative_path(metric))
    assert place.metrics() == [hashed, metric]
    os.unlink(place.root / relative_path(metric, hash_only=False))
    os.unlink(place.root / relative_path(other))
    assert place.metrics() == [metric]
    os.unlink(place.root / relative_path(metric))
    assert place.metrics() == []
    assert place.names.tags() == []


def test_hidden_files_and_links_in_circles_are_no_trouble(place):
    place.make(".hidden/a.wsp")
    place.make("a/.b.wsp")
    place.make("a/b.wsp")
    (place.root / "a" / "up").symlink_to(place.root)
    (place.root / "a" / "self").symlink_to(place.root / "a" / "self")
    outside = place.root.parent / "outside"
    outside.mkdir()
    (outside / "c.wsp").touch()
    (place.root / "out").symlink_to(outside)
    assert place.metrics() == ["a.b", "out.c"]
    (outside / "d.wsp").touch()
    assert place.metrics() == ["a.b", "out.c", "out.d"]


def test_a_tree_that_is_not_there_is_empty_until_it_comes(place):
    place.root.rmdir()
    assert place.metrics() == []
    place.make("a/b.wsp")
    assert place.metrics() == ["a.b"]
    shutil.rmtree(place.root)
    assert place.metrics() == []


def test_unfinished_files_of_others_are_not_touched(place):
    place.make("a/b.wsp.tmp")
    place.make("a/.b.wsp.123.tmp")
    os.utime(place.root / "a" / ".b.wsp.123.tmp", (1, 1))
    place.metrics()
    assert len(list((place.root / "a").iterdir())) == 2


def test_names_that_somebody_tidied_away_are_found_again(place):
    place.make("a/b.wsp")
    place.settle()
    assert place.metrics() == ["a.b"]
    (scratch,) = place.root.parent.glob("carbonpy-names-*")
    for file in scratch.iterdir():
        file.unlink()
    assert place.metrics() == ["a.b"]
    shutil.rmtree(scratch)
    assert place.metrics() == ["a.b"]


def test_closing_leaves_nothing_behind(tmp_path):
    place = Place(tmp_path)
    place.make("a.wsp")
    assert place.metrics() == ["a"]
    place.close()
    place.close()
    assert [path.name for path in tmp_path.iterdir()] == ["whisper"]
    with pytest.raises(CatalogError):
        place.metrics()
    with pytest.raises(CatalogError, match="temporary directory"):
        TreeNames(str(tmp_path), scratch=f"{tmp_path}/none")


def test_several_threads_get_the_whole_tree_at_their_first_question(place):
    for number in range(300):
        place.make(f"d{number % 30}/m{number}.wsp")
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(place.names.count())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [300] * 6
