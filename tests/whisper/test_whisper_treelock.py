"""The lock of a tree: writers beside each other, a tool alone, nobody starves, and it ends with whoever holds it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.waiting import until

from carbonpy.whisper import treelock
from carbonpy.whisper.treelock import LOCK, TURN, TreeLock, alone, stamp, tree_of


@pytest.fixture
def lock(tmp_path: Path) -> TreeLock:
    made = TreeLock(str(tmp_path), create=True)
    with made.shared():
        pass
    return made


def test_writers_hold_it_together_and_a_tool_alone(lock: TreeLock) -> None:
    holding: set[int] = set()
    most: dict[bool, int] = {False: 0, True: 0}
    guard = threading.Lock()

    def hold(number: int, is_tool: bool) -> None:
        for _ in range(150):
            with lock.exclusive() if is_tool else lock.shared():
                with guard:
                    holding.add(number)
                    most[is_tool] = max(most[is_tool], len(holding))
                    assert not (is_tool and len(holding) > 1)
                time.sleep(0.0002)
                with guard:
                    assert not (is_tool and len(holding) > 1)
                    holding.discard(number)

    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            hold(number, number < 2)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert most[True] == 1
    assert most[False] > 1


def test_writers_that_take_it_again_and_again_do_not_starve_a_tool(lock: TreeLock) -> None:
    """Three writers whose blocks overlap, so that there is no moment without one of them."""
    done = threading.Event()
    blocks = [0, 0, 0]

    def write(number: int) -> None:
        while not done.is_set():
            with lock.shared():
                blocks[number] += 1
                time.sleep(0.003)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        until("all writers are at work", lambda: min(blocks) > 3)
        waits = []
        for _ in range(20):
            before = time.monotonic()
            with lock.exclusive():
                waits.append(time.monotonic() - before)
    finally:
        done.set()
        for thread in threads:
            thread.join(30)
    assert max(waits) < 2.0, waits


def test_a_stream_of_tools_does_not_starve_a_writer(lock: TreeLock) -> None:
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            with lock.exclusive():
                time.sleep(0.001)

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        waits = []
        for _ in range(20):
            before = time.monotonic()
            with lock.shared():
                waits.append(time.monotonic() - before)
    finally:
        done.set()
        for thread in threads:
            thread.join(30)
    assert max(waits) < 2.0, waits


def test_a_killed_holder_holds_nothing(tmp_path: Path, lock: TreeLock) -> None:
    program = (
        "import sys, time\nfrom carbonpy.whisper.treelock import TreeLock\n"
        "with TreeLock(sys.argv[1]).exclusive():\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    got = threading.Event()

    def wait() -> None:
        with lock.shared():
            got.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not got.wait(0.2)
    child.kill()
    child.wait()
    child.stdout.close()
    assert got.wait(10)
    waiter.join(10)


@pytest.mark.parametrize("name", [LOCK, TURN])
def test_who_waits_on_a_removed_lock_file_takes_the_new_one(tmp_path: Path, lock: TreeLock, name: str) -> None:
    waiting = tmp_path / name
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        with lock.exclusive():
            entered.set()
            leave.wait(10)

    with open(waiting, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiter = threading.Thread(target=wait)
        waiter.start()
        inode = os.fstat(held.fileno()).st_ino
        until("it waits", lambda: any(f":{inode} " in line for line in _locks() if "->" in line))
        waiting.rename(tmp_path / "kept")  # so that its inode number is not given away again
    assert entered.wait(10)
    with open(tmp_path / LOCK, "rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    leave.set()
    waiter.join(10)


def _locks() -> list[str]:
    return Path("/proc/locks").read_text().splitlines()


def test_the_tree_of_a_file_is_found_from_below_also_behind_links(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    (root / "a" / "b").mkdir(parents=True)
    elsewhere.mkdir()
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "f.wsp").touch()
    assert tree_of(str(root / "a" / "b" / "f.wsp")) is None
    with alone(str(root / "a" / "b" / "f.wsp")):
        pass
    with TreeLock(str(root), create=True).shared():
        pass
    assert tree_of(str(root / "a" / "b" / "not-yet" / "f.wsp")) == str(root)
    assert tree_of(str(root)) == str(root)
    assert tree_of(str(root / "linked" / "f.wsp")) == str(root)
    assert tree_of(str(elsewhere / "f.wsp")) is None
    (tmp_path / "way-in").symlink_to(root / "a")
    assert tree_of(str(tmp_path / "way-in" / "b" / "f.wsp")) == str(root)


def test_a_tool_needs_no_right_to_write_in_the_data_directory(tmp_path: Path, lock: TreeLock) -> None:
    for name in (LOCK, TURN):
        (tmp_path / name).chmod(0o444)
    with TreeLock(str(tmp_path)).exclusive():
        pass
    with pytest.raises(FileNotFoundError), TreeLock(str(tmp_path / "nowhere")).exclusive():
        pass


def test_a_stamp_is_later_than_everything_before_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(200):
        path.write_bytes(b"x")
        before = time.time_ns()
        stamp(str(path))
        assert before <= os.stat(path).st_mtime_ns <= time.time_ns()
    assert treelock.__doc__
