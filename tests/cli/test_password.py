"""The line of a user: made from a password that is on no command line, and good for the users' file."""

from __future__ import annotations

import io
from base64 import b64encode
from pathlib import Path

import pytest

from carbonpy.cli.main import main
from carbonpy.web.access import Users


def test_the_line_lets_the_user_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("sésame: 1\n"))
    assert main(["password", "ann"]) == 0
    line = capsys.readouterr().out
    assert "sésame" not in line
    (tmp_path / "users").write_text(line)
    users = Users.load(str(tmp_path / "users"))
    assert users.verify("Basic " + b64encode("ann:sésame: 1".encode()).decode())
    assert not users.verify("Basic " + b64encode(b"ann:other").decode())


@pytest.mark.parametrize(
    ("name", "typed", "sentence"),
    [("a:b", "x\n", "cannot be a user's name"), ("#a", "x\n", "cannot be"), ("ann", "\n", "the password is empty")],
)
def test_what_would_not_work_is_refused(
    name: str, typed: str, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["password", name]) == 1
    assert sentence in capsys.readouterr().err
