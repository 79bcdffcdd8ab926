"""The documents: all are reachable, all can be parsed, and every command in them exists as it is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import docutils.core
import docutils.utils
import pytest

from carbonpy.cli.main import COMMANDS, main
from carbonpy.cli.whisper.table import TOOLS
from carbonpy.ingest.names import VERDICTS
from carbonpy.settings import SETTINGS
from carbonpy.settings.unsupported import RELAY_UNSUPPORTED, SATISFIED, UNSUPPORTED

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*(ROOT / "docs").glob("*.rst"), ROOT / "README.rst", ROOT / "CHANGELOG.rst"])
NAMES = [path.name for path in DOCUMENTS]
#: Words in capitals with an underscore that are not settings of ours: those of graphite-web, whisper and the system.
FOREIGN = {
    "CACHE_HEADERS", "CARBONLINK_HOSTS", "GRAPHITE_ROOT", "GRAPHITE_STORAGE_DIR", "GRAPHITE_CONF_DIR",
    "AUTOCOMPRESS_GAPS_IN_DERIVATIVE_FUNCTIONS", "POSIX_FADV_RANDOM", "SO_RCVBUF", "SO_REUSEPORT", "CARBONPY_PASSWORD",
}  # fmt: skip


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_a_document_is_restructured_text_without_a_complaint(path: Path) -> None:
    docutils.core.publish_doctree(path.read_text(), str(path), settings_overrides={"halt_level": 2, "report_level": 5})


def test_the_index_leads_to_every_document() -> None:
    index = ROOT / "docs" / "index.rst"
    linked = {(index.parent / target).resolve() for target in re.findall(r"<([\w./-]+\.rst)>`_", index.read_text())}
    assert linked == set(DOCUMENTS) - {index}


def commands_in(text: str) -> list[list[str]]:
    """Every ``carbonpy COMMAND ...`` of the text that stands on a line of its own or between backquotes."""
    found = re.findall(r"^    (carbonpy [a-z].*)$|``(carbonpy [a-z][^`]*)``", text, re.MULTILINE)
    return [shlex.split(own or quoted) for own, quoted in found]


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_command_in_a_document_exists_with_its_options(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands_in(path.read_text()):
        assert words[1] in [command.name for command in COMMANDS], words
        tool = words[2:3] if words[1] == "whisper" else []
        assert main([words[1], *tool, "--help"]) == 0
        page = capsys.readouterr().out
        for word in words[2:]:
            # What follows -x are options of another command.
            if word.startswith("--") and words[words.index(word) - 1] != "-x":
                assert word in page, words


def test_the_operators_page_has_every_command_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "operations.rst").read_text()
    assert len(commands_in(page)) >= 10
    for command in COMMANDS[:-1]:
        assert f"\ncarbonpy {command.name}\n~~~" in page
        assert main([command.name, "--help"]) == 0
        for option in set(re.findall(r"--[a-z][a-z0-9-]+", capsys.readouterr().out)) - {"--help"}:
            assert re.search(re.escape(option) + r"(?![\w-])", page), f"{command.name} {option}"


def test_every_whisper_tool_has_a_section_with_all_its_options_and_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "docs" / "tools.rst").read_text()
    sections = dict(re.findall(r"^carbonpy whisper (\S+)\n-+\n\n((?:(?!^carbonpy whisper).*\n)+)", text, re.MULTILINE))
    assert list(sections) == [tool.word for tool in TOOLS]
    for tool in TOOLS:
        section = sections[tool.word]
        assert main(["whisper", tool.word, "--help"]) == 0
        page = capsys.readouterr().out.partition("\nexamples:")[0]
        for option in set(re.findall(r"--[a-z][A-Za-z_-]+", page)) - {"--help"}:
            assert re.search(re.escape(option) + r"(?![\w-])", section), f"{tool.word} {option}"
        for line in re.findall(r"^``--.*", section, re.MULTILINE):
            assert [named for named in re.findall(r"``(--[^`]+)``", line) if named not in page] == []
        assert f"    carbonpy whisper {tool.word} " in section
        assert not tool.script or f"``{tool.script}.py``" in section or "The same for" in section


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_setting_that_a_document_names_exists(path: Path) -> None:
    known = {setting.name for setting in SETTINGS} | {*UNSUPPORTED, *RELAY_UNSUPPORTED, *SATISFIED} | FOREIGN
    receivers = {name.removesuffix("_PORT") for name in known if name.endswith("_PORT")}
    named = set(re.findall(r"(?<![\w*])[A-Z]+(?:_[A-Z]+)+(?![\w*])", path.read_text()))
    assert sorted(named - known - receivers) == []


def test_every_reason_to_drop_a_point_is_explained() -> None:
    """Reasons are words that the code counts drops by, wherever it does."""
    explained = set(re.findall(r"^([a-z_]+)  +\S", (ROOT / "docs" / "operations.rst").read_text(), re.MULTILINE))
    code = "\n".join(path.read_text() for path in (ROOT / "carbonpy").rglob("*.py"))
    counted = set(re.findall(r'(?:dropped\.add|outcome\.drop)\("([a-z_]+)"', code)) | set(VERDICTS) - {""}
    assert len(counted) > 9
    assert sorted(counted - explained) == []


def test_the_rooms_in_architecture_are_all_rooms() -> None:
    from test_layers import LAYERS

    text = (ROOT / "docs" / "architecture.rst").read_text()
    described = set(re.findall(r"^([a-z, ]+)\n    \S", text.partition("The rooms\n")[2], re.MULTILINE))
    rooms = {room for line in described for room in line.split(", ")}
    assert {room for layer in (1, 2, 3, 4) for room in LAYERS[layer]} <= rooms
