"""Virtual environments that are made once and made again only when what they hold has changed.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 10)


class SetupError(Exception):
    """Something on this machine is missing; the message says what to do."""


def fingerprint(requirements: Sequence[str]) -> str:
    """Changes when the interpreter, the project's own requirements or `requirements` change."""
    digest = hashlib.sha256(repr((sys.version, str(ROOT), *requirements)).encode())
    for name in ("setup.cfg", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def run_patiently(command: Sequence[str], attempts: int = 3, pause: float = 5.0) -> None:
    """Run a command that needs the network, again after a growing pause if it fails.  Raises SetupError."""
    for attempt in range(1, attempts + 1):
        if subprocess.run(command, cwd=ROOT).returncode == 0:
            return
        if attempt < attempts:
            print(f"failed; trying again in {pause * attempt:g} s", flush=True)
            time.sleep(pause * attempt)
    raise SetupError(f"{' '.join(command)} failed {attempts} times; is the network there?")


def python_of(home: Path) -> Path:
    """The interpreter of the environment `home`."""
    return home / "bin" / "python"


def prepare(home: Path, requirements: Sequence[str]) -> Path:
    """The interpreter of the environment `home`, made or renewed if it lacks `requirements`.  Raises SetupError."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(f"carbonpy needs Python 3.10 or newer; this is {sys.version.split()[0]}")
    stamp, wanted = home / "carbonpy-stamp", fingerprint(requirements)
    if stamp.exists() and stamp.read_text() == wanted and python_of(home).exists():
        return python_of(home)
    print(f"making the environment {os.path.relpath(home, ROOT)} (once; half a minute or so)", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)]).returncode:
        raise SetupError("python3 cannot make virtual environments here; on Debian: apt-get install python3-venv")
    install = [str(python_of(home)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_patiently([*install, *requirements])
    stamp.write_text(wanted)
    return python_of(home)
