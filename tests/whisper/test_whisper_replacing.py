"""A file is replaced as a whole, under the lock that writers take, and never over somebody else's write."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from support.waiting import until

from carbonpy.errors import CarbonError
from carbonpy.whisper import creation
from carbonpy.whisper.replacing import FileBusy, locked, rewrite


def leftovers(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if creation.is_temporary(name)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "file.wsp"
    made.write_bytes(b"old" * 1000)
    return made


def test_mode_links_and_holes_are_kept_and_the_backup_is_the_old_file(tmp_path: Path, path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(1 << 20)
    path.chmod(0o640)
    link = tmp_path / "link.wsp"
    link.symlink_to(path)
    before = path.read_bytes()
    inode = path.stat().st_ino
    backup = tmp_path / "file.wsp.bak"
    backup.write_text("an older one")
    assert rewrite(str(link), lambda data: b"new" + data[3:], backup=str(backup))
    assert link.is_symlink()
    assert path.read_bytes() == b"new" + before[3:]
    assert path.stat().st_mode & 0o7777 == 0o640
    assert path.stat().st_blocks * 512 < 1 << 16
    assert backup.read_bytes() == before
    assert backup.stat().st_ino == inode
    assert leftovers(tmp_path) == []


def test_no_change_is_no_new_file(tmp_path: Path, path: Path) -> None:
    inode = path.stat().st_ino
    assert not rewrite(str(path), lambda data: None)
    assert not rewrite(str(path), lambda data: bytes(data))
    assert path.stat().st_ino == inode
    assert leftovers(tmp_path) == []


def test_an_error_leaves_the_file_and_nothing_else(tmp_path: Path, path: Path) -> None:
    def fail(data: bytes) -> bytes:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        rewrite(str(path), fail)
    with pytest.raises(OSError, match="No such file"):
        rewrite(str(path), lambda data: b"new", backup=str(tmp_path / "nowhere" / "file"))
    assert path.read_bytes() == b"old" * 1000
    assert os.listdir(tmp_path) == ["file.wsp"]


def test_what_somebody_writes_without_a_lock_is_not_lost(path: Path) -> None:
    calls = []

    def change(data: bytes) -> bytes:
        calls.append(data)
        if len(calls) < 3:  # a writer that takes no lock comes in between
            with open(path, "r+b") as file:
                file.seek(100 * len(calls))
                file.write(b"new")
        return data + b"!"

    assert rewrite(str(path), change)
    assert len(calls) == 3
    assert path.read_bytes() == calls[-1] + b"!"
    assert path.read_bytes()[100:103] == path.read_bytes()[200:203] == b"new"


def test_a_file_that_is_replaced_in_between_is_read_again(tmp_path: Path, path: Path) -> None:
    calls = []

    def change(data: bytes) -> bytes:
        calls.append(data)
        if len(calls) == 1:
            other = tmp_path / "other"
            other.write_bytes(b"another file")
            other.rename(path)
        return data + b"!"

    assert rewrite(str(path), change)
    assert path.read_bytes() == b"another file!"


def test_a_program_that_never_stops_writing_gets_its_way_and_a_message(path: Path) -> None:
    def change(data: bytes) -> bytes:
        with open(path, "ab") as file:
            file.write(b"more")
        return b"mine"

    with pytest.raises(FileBusy, match="takes no lock"):
        rewrite(str(path), change)
    assert path.read_bytes().endswith(b"more")


def test_of_two_who_change_a_file_at_one_time_the_later_begins_anew(path: Path) -> None:
    read = threading.Event()
    seen: list[bytes] = []

    def slow(data: bytes) -> bytes:
        seen.append(data)
        read.set()
        until("the other one is done", lambda: len(seen) > 1 or path.read_bytes().endswith(b"quick"), 10)
        return data + b"slow"

    slower = threading.Thread(target=lambda: rewrite(str(path), slow))
    slower.start()
    assert read.wait(10)
    assert rewrite(str(path), lambda data: data + b"quick")
    slower.join(10)
    assert path.read_bytes() == b"old" * 1000 + b"quickslow"
    assert len(seen) == 2


def test_the_lock_is_the_one_of_flock(path: Path) -> None:
    with locked(str(path)), open(path, "rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_foreign_owner_is_kept_by_root_and_refused_to_others() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        _check_owners(Path(directory))


def _check_owners(directory: Path) -> None:
    path = directory / "file.wsp"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    assert rewrite(str(path), lambda data: b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid) == (12345, 23456)
    path.chmod(0o666)
    program = (
        "import os, sys\n"
        "from carbonpy.whisper.replacing import rewrite\n"
        "from carbonpy.errors import CarbonError\n"
        "os.setgid(54321); os.setuid(54321)\n"
        "try: rewrite(sys.argv[1], lambda data: b'mine')\n"
        "except CarbonError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert "belongs to user 12345, group 23456" in done.stdout, done.stderr
    assert path.read_bytes() == b"new"
    assert leftovers(directory) == []


def test_killed_at_any_moment_the_file_is_the_old_or_the_new_one(tmp_path: Path, path: Path) -> None:
    """A process that rewrites one file again and again is killed in its midst; each version is all one letter."""
    path.write_bytes(b"a" * 300_000)
    program = (
        "import sys\nfrom carbonpy.whisper.replacing import rewrite\n"
        "letters = 'abcdefghijklmnopqrstuvwxyz'\nprint('up', flush=True)\n"
        "while True:\n"
        "    rewrite(sys.argv[1], lambda d: bytes([97 + (d[0] - 96) % 26]) * len(d), backup=sys.argv[1] + '.bak')\n"
    )
    for number in range(12):
        child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        first = path.stat().st_ino
        until("the first replacement", lambda before=first: path.stat().st_ino != before, interval=0.001)
        for _ in range(number * 500):  # some other moment each time
            os.getpid()
        child.kill()
        child.wait()
        child.stdout.close()
        data = path.read_bytes()
        assert len(data) == 300_000
        assert len(set(data)) == 1
        assert len(set(Path(f"{path}.bak").read_bytes())) == 1
    assert all(name in ("file.wsp", "file.wsp.bak") or creation.is_temporary(name) for name in os.listdir(tmp_path))
    assert issubclass(FileBusy, CarbonError)
