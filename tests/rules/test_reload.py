"""Watched rules files, on real files with a clock of our own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from carbonpy.errors import ConfigError
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.reload import SETTLING, RulesFile
from carbonpy.rules.schemas import SchemaBook

GOOD = "[a]\npattern = .\nretentions = 10s:1d\n"
OTHER = "[b]\npattern = .\nretentions = 20s:1d\n"
BAD = "[a]\npattern = .\nretentions = 10q:1d\n"


class Scene:
    """A file, a log and a clock that starts long after the file was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log: list[str] = []
        self.now = 0.0
        self.later(100)

    def write(self, text: str) -> None:
        """Replace the file; its inode and times are new."""
        fresh = self.path.with_suffix(".fresh")
        fresh.write_text(text)
        os.replace(fresh, self.path)
        self.later(100)

    def later(self, seconds: float) -> None:
        """Set the clock to so long after the file's last change."""
        changed = self.path.stat() if self.path.exists() else None
        self.now = (max(changed.st_mtime, changed.st_ctime) if changed else self.now) + seconds

    def schemas(self) -> RulesFile[SchemaBook]:
        return RulesFile(
            str(self.path),
            SchemaBook.parse,
            missing=SchemaBook.default(),
            report=self.log.append,
            clock=lambda: self.now,
            keep=True,
        )

    def whitelist(self) -> RulesFile[FilterBook]:
        return RulesFile(
            str(self.path),
            FilterBook.parse,
            missing=FilterBook.default(),
            report=self.log.append,
            clock=lambda: self.now,
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "rules.conf")


def test_a_changed_file_is_read_once(scene: Scene) -> None:
    scene.write(GOOD)
    watched = scene.schemas()
    assert watched.value.match("x").name == "a" and watched.poll() is None
    scene.write(OTHER)
    book = watched.poll()
    assert book is not None and book is watched.value and book.match("x").name == "b"
    assert watched.poll() is None and scene.log == []


def test_a_new_version_that_does_not_parse_leaves_the_old_in_force_and_is_told_once(scene: Scene) -> None:
    scene.write(GOOD)
    watched = scene.schemas()
    scene.write(BAD)
    assert watched.poll() is None and watched.poll() is None
    assert watched.value.match("x").name == "a"
    (sentence,) = scene.log
    assert sentence.startswith(f"{scene.path}:3 [a] retentions = 10q:1d: unknown unit 'q'")
    assert sentence.endswith("the rules read before stay in force")
    scene.write(OTHER)
    assert watched.poll() is not None and watched.value.match("x").name == "b"
    scene.write(BAD)
    assert watched.poll() is None
    assert len(scene.log) == 2


def test_a_file_that_was_half_written_when_read_is_read_again(scene: Scene) -> None:
    """Same inode, size and times: as when it changes twice within one tick of the filesystem's clock."""
    scene.write("nothing\n")
    watched = scene.whitelist()
    before = scene.path.stat()
    scene.path.write_text("another\n")
    os.utime(scene.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    scene.later(SETTLING / 2)
    assert watched.poll() is not None
    assert watched.poll() is None  # the same text
    scene.later(SETTLING * 2)
    assert watched.poll() is None
    assert watched.value.matches("another")


def test_warnings_of_a_new_version_are_told(scene: Scene) -> None:
    scene.write("[a]\npattern = x\n")
    watched = scene.schemas()
    assert len(scene.log) == 1 and "it has no retentions" in scene.log[0]
    scene.write("[a]\nretentions = 1s:1h\n")
    assert watched.poll() is not None
    assert len(scene.log) == 2 and "it has no pattern" in scene.log[1]


def test_a_list_that_vanishes_is_empty_and_full_again_when_it_is_back(scene: Scene) -> None:
    scene.write("^web\n")
    watched = scene.whitelist()
    scene.path.unlink()
    book = watched.poll()
    assert book is not None and not book and not watched.value
    assert watched.poll() is None
    assert scene.log == [f"{scene.path}: is gone; its rules are no longer in force"]
    scene.write("^web\n")
    assert watched.poll() is not None and watched.value.matches("web")


def test_schemas_that_vanish_stay_in_force_and_that_is_told_once(scene: Scene) -> None:
    scene.write(GOOD)
    watched = scene.schemas()
    scene.path.unlink()
    assert watched.poll() is None and watched.poll() is None
    assert watched.value.match("x").name == "a"
    assert scene.log == [f"{scene.path}: is gone; the rules read before stay in force"]
    scene.write(GOOD)
    assert watched.poll() is None and watched.value.match("x").name == "a"


def test_a_file_that_is_not_there_at_the_start_is_read_when_it_comes(scene: Scene) -> None:
    watched = scene.schemas()
    assert watched.value.match("x").name == "default"
    assert scene.log == [f"{scene.path}: there is no such file; the built-in rules are in force"]
    scene.write(GOOD)
    assert watched.poll() is not None and watched.value.match("x").name == "a"


def test_a_file_that_is_not_text_is_told_with_the_byte(scene: Scene) -> None:
    scene.write(GOOD)
    watched = scene.schemas()
    scene.path.write_bytes(b"[a]\npattern = \xff\n")
    assert watched.poll() is None and watched.value.match("x").name == "a"
    assert "not UTF-8 at byte 14" in scene.log[0]


@pytest.mark.parametrize("text", [BAD, "no section"])
def test_at_the_start_a_file_that_cannot_be_used_is_an_error(scene: Scene, text: str) -> None:
    scene.write(text)
    with pytest.raises(ConfigError):
        scene.schemas()


def test_a_directory_in_place_of_a_file_is_told(scene: Scene) -> None:
    scene.write("a\n")
    watched = scene.whitelist()
    scene.path.unlink()
    scene.path.mkdir()
    assert watched.poll() is None and watched.poll() is None
    assert len(scene.log) == 1 and "Is a directory" in scene.log[0]
    assert watched.value.matches("a")
