"""Leaving the terminal and becoming another user, in processes made for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import until

from carbonpy.cli.pidfile import is_alive
from carbonpy.cli.process import become
from carbonpy.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)


def test_the_daemon_goes_on_without_the_terminal_and_the_command_ends_with_its_answer(tmp_path: Path) -> None:
    note = tmp_path / "note"
    done = run(
        "import os, sys\n"
        "from carbonpy.cli.process import detach\n"
        "starter = detach(lambda pid: print('stands as', pid) or 7)\n"
        "starter.succeeded()\n"
        "starter.succeeded()\n"
        "print('nobody sees this')\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{os.getsid(0)}} {{os.getppid()}} ')\n"
    )
    assert done.returncode == 7
    pid = int(done.stdout.removeprefix("stands as "))
    own, session, _ = until("the daemon wrote its note", lambda: note.exists() and note.read_text().split())
    assert int(own) == pid
    assert int(session) not in (pid, os.getsid(0)), "a session of its own, which it does not lead"
    until("the daemon ended", lambda: not is_alive(pid))


def test_a_daemon_that_cannot_stand_says_why_through_the_command() -> None:
    done = run(
        "from carbonpy.cli.process import detach\n"
        "from carbonpy.errors import CarbonError\n"
        "detach(lambda pid: 0).failed(CarbonError('the roof is missing'))\n"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "carbonpy cache: the roof is missing" in done.stderr


def test_a_daemon_that_dies_without_a_word_is_noticed() -> None:
    done = run("import os\nfrom carbonpy.cli.process import detach\ndetach(lambda pid: 0)\nos._exit(0)\n")
    assert done.returncode == 1
    assert "ended before it stood" in done.stderr


def test_an_unknown_user_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="USER = no-such-user-here: there is no such user"):
        become("no-such-user-here")


def test_becoming_who_we_are_changes_nothing() -> None:
    import pwd

    assert become(pwd.getpwuid(os.geteuid()).pw_name) is None


def test_another_user_is_for_root_who_makes_the_directories_first(tmp_path: Path) -> None:
    """As root: a new process becomes `nobody` and owns the directories that were missing. Else: a warning says why."""
    place = tmp_path / "storage" / "log"
    tmp_path.chmod(0o755)
    done = run(
        "import os\n"
        "from carbonpy.cli.process import become, make_directories\n"
        f"make_directories('nobody', [{str(place)!r}])\n"
        "warning = become('nobody')\n"
        "print(warning or 'became', os.geteuid())\n"
    )
    assert done.returncode == 0, done.stderr
    if os.geteuid() == 0:
        import pwd

        nobody = pwd.getpwnam("nobody").pw_uid
        assert done.stdout == f"became {nobody}\n"
        assert place.stat().st_uid == place.parent.stat().st_uid == nobody
        assert tmp_path.stat().st_uid == 0
    else:
        assert "only root can become another user" in done.stdout
