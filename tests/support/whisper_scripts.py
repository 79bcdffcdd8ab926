"""The scripts of the whisper package, run inside this process at a moment that the test chooses, and our tools.

The scripts come from an environment of their own: where carbonpy is installed, its commands have their names.
"""

from __future__ import annotations

import contextlib
import io
import runpy
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import whisper

from carbonpy.cli.whisper.main import main
from support.peers import environment_with

REQUIREMENTS = ("whisper==1.1.10", "carbon==1.1.10")


class Ran(NamedTuple):
    """What a command printed and how it ended."""

    out: str
    errors: str
    code: int


def script(name: str) -> Path:
    """The path of a script of the whisper package."""
    found = environment_with("whisper-scripts", REQUIREMENTS).parent / f"{name}.py"
    assert "carbonpy" not in found.read_text()
    return found


def theirs(monkeypatch: pytest.MonkeyPatch, now: float, name: str, *words: str, stdin: str = "") -> Ran:
    """Run ``name.py words...`` of the whisper package at the time `now`."""
    path = script(name)
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    handler = signal.getsignal(signal.SIGPIPE)
    # Scripts set these in the package's module, where they would stay for every test that comes later.
    flags = {flag: getattr(whisper, flag) for flag in ("LOCK", "AUTOFLUSH", "FADVISE_RANDOM", "CACHE_HEADERS")}
    try:
        return _captured(monkeypatch, now, stdin, lambda: runpy.run_path(str(path), run_name="__main__") and None)
    finally:
        signal.signal(signal.SIGPIPE, handler)
        for flag, value in flags.items():
            setattr(whisper, flag, value)


def ours(monkeypatch: pytest.MonkeyPatch, now: float, *words: str, stdin: str = "") -> Ran:
    """Run ``carbonpy whisper words...`` at the time `now`."""
    return _captured(monkeypatch, now, stdin, lambda: main(words))


def _captured(monkeypatch: pytest.MonkeyPatch, now: float, stdin: str, call: object) -> Ran:
    out, errors = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        patch.setattr(time, "time", lambda: now)
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = call()  # type: ignore[operator]
        except SystemExit as stop:
            if isinstance(stop.code, str):
                errors.write(f"{stop.code}\n")
                code = 1
            else:
                code = stop.code
    return Ran(out.getvalue(), errors.getvalue(), code or 0)


def tree(files: dict[str, bytes], root: Path) -> Path:
    """A directory with these files."""
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def shown(ran: Ran, root: Path) -> Ran:
    """The same without the directory, so that two runs in two directories can be compared."""
    return Ran(ran.out.replace(str(root), "ROOT"), ran.errors.replace(str(root), "ROOT"), ran.code)


def both(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: dict[str, bytes],
    now: float,
    name: str,
    words: Sequence[str],
    *,
    word: str = "",
    stdin: str = "",
) -> tuple[Ran, Ran, dict[str, bytes], dict[str, bytes]]:
    """The same command on the same files by both: (theirs, ours, their files afterwards, our files afterwards)."""
    number = len(list(tmp_path.iterdir()))
    sides = []
    for side in ("theirs", "ours"):
        root = tree(files, tmp_path / f"{number}-{side}")
        places = [part.replace("ROOT", str(root)) for part in words]
        if side == "theirs":
            ran = theirs(monkeypatch, now, name, *places, stdin=stdin)
        else:
            ran = ours(monkeypatch, now, word or name.removeprefix("whisper-"), *places, stdin=stdin)
        after = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
        sides.append((shown(ran, root), after))
    (one, one_after), (other, other_after) = sides
    return one, other, one_after, other_after
