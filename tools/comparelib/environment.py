"""The interpreter that the tools run under: one with carbonpy's requirements and those of its tests."""

from __future__ import annotations

import importlib.util
import os
import sys

from venvs import ROOT, prepare


def enter(script: str) -> None:
    """Run `script` again under `.venv-check`, made when missing, unless this interpreter has all that is needed."""
    found = [importlib.util.find_spec(name) for name in ("numpy", "twisted", "whisper")]
    if all(spec is not None and spec.origin for spec in found):
        return
    python = prepare(ROOT / ".venv-check", ["-e", f"{ROOT}[test]"])
    os.execv(python, [str(python), script, *sys.argv[1:]])
