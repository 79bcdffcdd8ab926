"""The table of commands and the page that teaches them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import carbonpy
from carbonpy.cli.main import COMMANDS, command_main, help_text, main

ROOT = Path(__file__).resolve().parents[2]


def test_help_names_every_command_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    for command in COMMANDS:
        assert f"  {command.name}" in page
        assert command.purpose in page
    assert page == help_text()
    assert "First steps:" in page
    assert max(map(len, page.splitlines())) <= 110


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    page = capsys.readouterr().out
    assert f"usage: carbonpy {command}" in page
    assert "example" in page
    assert main(["help", command]) == 0
    assert capsys.readouterr().out == page
    assert callable(command_main(command))


def test_a_misspelt_command_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cahce"]) == 2
    assert "did you mean 'cache'?" in capsys.readouterr().err
    assert main(["brew-tea"]) == 2
    assert f"the commands are {', '.join(command.name for command in COMMANDS)}" in capsys.readouterr().err


def test_no_command_at_all_teaches_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == help_text()


def test_the_version_is_the_packages_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"carbonpy {carbonpy.__version__}\n"
    assert main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"carbonpy {carbonpy.__version__}"
    assert any(line.startswith("twisted ") for line in lines)


def test_help_imports_no_command_and_no_library() -> None:
    script = (
        "import sys; from carbonpy.cli.main import main; main(['--help']);"
        "heavy = {'twisted', 'numpy', 'yaml', 'lz4', 'carbonpy.settings', 'carbonpy.cli.send'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "carbonpy", "version"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.close()
    _, complaint = child.communicate(timeout=30)
    assert (child.returncode, complaint) == (0, b"")
