"""The two Python environments of the bench: carbon's own, and one with carbonpy's requirements.

Both are made by the interpreter that runs the bench, so that both daemons run on the same Python; pip gives both the
same version of Twisted. An environment is made once per work directory and is found complete by a stamp file.
"""

from __future__ import annotations

import configparser
import hashlib
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PEER_REQUIREMENTS = ("carbon==1.1.10", "whisper==1.1.10")


def own_requirements() -> tuple[str, ...]:
    """What carbonpy is installed with by tools/start, read from its setup.cfg."""
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    wanted = settings["options"]["install_requires"] + settings["options.extras_require"]["fast"]
    return tuple(line.strip() for line in wanted.splitlines() if line.strip())


def python_with(requirements: tuple[str, ...], name: str, work_dir: Path) -> Path:
    """The interpreter of the environment `name` under `work_dir` with `requirements` installed; made when missing.

    Raises SystemExit with pip's last words when it cannot be made.
    """
    key = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    home = work_dir / f"{name}-{key}"
    python = home / "bin" / "python"
    stamp = home / "complete"
    if stamp.exists():
        return python
    print(f"bench: making the environment {home}", file=sys.stderr)
    work_dir.mkdir(parents=True, exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(command)} failed:\n{done.stdout[-3000:]}")
    stamp.write_text("\n".join(requirements) + "\n")
    return python
