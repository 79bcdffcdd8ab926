"""Programs of other houses: where to find them, and the one way in which a test may do without.

A machine that calls itself a test machine (CI is set, or the tests run as root and could install what is missing)
fails when a peer is missing. Elsewhere the test is skipped with a sentence that says what to install.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.running import REPOSITORY

GRAPHITE_WEB = ("graphite-web==1.1.10", "whisper==1.1.10")
ENVIRONMENTS = REPOSITORY / ".venv-peers"


def peer_missing(sentence: str) -> None:
    """Fail or skip, see above; `sentence` says what is missing and how to get it."""
    if os.environ.get("CI") or os.geteuid() == 0:
        pytest.fail(sentence)
    pytest.skip(sentence)


def debian_program(name: str, package: str) -> str:
    """The path of an installed program."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")
    if found is None:
        peer_missing(f"{name} is not installed: apt-get install -y --no-install-recommends {package}")
    assert found is not None
    return found


def script_beside_python(name: str, requirement: str) -> str:
    """The path of a script that a package installed into the environment of the tests."""
    found = Path(sys.executable).parent / name
    if not found.exists():
        peer_missing(f"{found} is missing: pip install {requirement}")
    return str(found)


def environment_with(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of the environment `.venv-peers/<name>` that has `requirements`; made when missing."""
    key = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    home = ENVIRONMENTS / f"{name}-{key}"
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    home.parent.mkdir(exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if done.returncode:
            peer_missing(f"{' '.join(command)} failed: {done.stdout[-2000:]}")
    (home / "complete").write_text("\n".join(requirements) + "\n")
    return python


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a peer in the foreground for the length of the block; its output goes to `log`. Ended by its own id."""
    with log.open("ab") as output:
        peer = subprocess.Popen(  # type: ignore[call-overload]
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
        )
    try:
        yield peer
    finally:
        if peer.poll() is None:
            peer.send_signal(signal.SIGTERM)
            try:
                peer.wait(15)
            except subprocess.TimeoutExpired:
                peer.kill()
                peer.wait()


if __name__ == "__main__":
    print(environment_with("graphite-web", GRAPHITE_WEB))
