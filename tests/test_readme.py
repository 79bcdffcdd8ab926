"""The README keeps its promises: two commands that exist, the table of the layer test, a configuration that is read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from test_layers import LAYERS

from carbonpy import settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.rst").read_text()
ROW = re.compile(r"^([0-9])  +(.+?)  +\S", re.MULTILINE)


def literal_blocks(text: str) -> list[list[str]]:
    """The indented blocks behind ``::``, each as its lines without the indentation."""
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", text)
    return [[line[4:] for line in block.rstrip().splitlines()] for block in blocks]


def test_there_are_exactly_two_commands_and_both_can_be_run() -> None:
    commands = [block[0] for block in literal_blocks(README) if len(block) == 1 and "://" not in block[0]]
    assert commands == ["tools/start", "tools/check"]
    assert set(re.findall(r"tools/[\w-]+", README)) == set(commands)
    for command in commands:
        assert os.access(ROOT / command, os.X_OK)


@pytest.mark.parametrize("document", ["README.rst", "docs/architecture.rst"])
def test_the_table_of_layers_is_that_of_the_layer_test(document: str) -> None:
    rows = {int(layer): tuple(rooms.split(", ")) for layer, rooms in ROW.findall((ROOT / document).read_text())}
    assert rows == LAYERS


def test_the_configuration_in_the_readme_is_one_to_start_with(tmp_path: Path) -> None:
    (block,) = (lines for lines in literal_blocks(README) if lines[0] == "cache:")
    path = tmp_path / "carbonpy.yaml"
    path.write_text("\n".join(block) + "\n")
    read = settings.load(str(path))
    assert read.warnings == []
    assert read.cache.storage_dir == "/srv/graphite/storage"
    assert read.web.http_port == 8080


def test_every_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"``((?:docs|conf)/[\w./-]+)``", README))
    assert len(named) >= 4
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
