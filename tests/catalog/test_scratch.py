"""Temporary directories of owners that live, that ended, and that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.waiting import until

from carbonpy.catalog.scratch import Scratch

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys, time
from carbonpy.catalog.scratch import Scratch
scratch = Scratch("mine-", sys.argv[1])
open(f"{scratch.name}/file", "w").close()
print(scratch.name, flush=True)
time.sleep(1000)
"""


def test_what_a_killed_owner_left_goes_with_the_next_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    place = Path(owner.stdout.readline().strip())
    with owner.stdout:
        first = Scratch("mine-", str(tmp_path))
        assert (place / "file").exists() and place.parent == tmp_path
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert place.exists()
    second = Scratch("mine-", str(tmp_path))
    until("it is gone", lambda: not place.exists())
    assert os.path.isdir(first.name) and os.path.isdir(second.name) and first.name != second.name
    for scratch in (first, second, second):
        scratch.close()
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_lock_or_is_no_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "mine-begun").mkdir()
    (tmp_path / "mine-file").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").write_text("")
    (tmp_path / "mine-link").symlink_to(elsewhere)
    before = sorted(tmp_path.iterdir())
    Scratch("mine-", str(tmp_path)).close()
    assert sorted(tmp_path.iterdir()) == before and (elsewhere / "lock").exists()


def test_what_is_dropped_without_being_closed_goes_too(tmp_path: Path) -> None:
    scratch = Scratch("mine-", str(tmp_path))
    name = scratch.name
    assert os.path.isdir(name)
    del scratch
    until("it is gone", lambda: not os.path.exists(name))
