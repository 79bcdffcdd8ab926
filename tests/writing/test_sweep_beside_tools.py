"""Writers and tools on the same files at the same time: every point is in the file that has the name in the end."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import whisper
from support.waiting import until

from carbonpy.whisper.creation import is_temporary
from carbonpy.whisper.layout import make_header, pack_header
from carbonpy.whisper.replacing import locked, rewrite
from carbonpy.whisper.resizing import resize
from carbonpy.writing.sweep import Sweeper, WriteSettings

FILES = 30
START = 1_700_000_000
#: Seconds written; more if the tool has not come round three times by then.
ROUNDS, MOST_ROUNDS = 120, 550
NARROW = [(1, 600), (60, 600)]
WIDE = [(1, 1200), (60, 1200)]


def replaced_by_copies(path: str, number: int) -> None:
    """Every look at the file makes a new one of it with the same bytes, but not the same size of the rings."""
    archives = WIDE if number % 2 else NARROW
    rewrite(
        path,
        lambda data: resize(data, path, make_header(archives, 0.0, "sum"), START + MOST_ROUNDS),
        durable=False,
    )


def changed_in_place(path: str, number: int) -> None:
    """The coarse archive is wiped, which the writer must see: it remembers what the newest coarse slot adds up to."""
    with locked(path) as fd:
        header_size, fine = 16 + 12 * 2, 600 * 12
        os.pwrite(fd, bytes(600 * 12), header_size + fine)


@pytest.mark.parametrize("lock", [False, True])
@pytest.mark.parametrize("tool", [replaced_by_copies, changed_in_place])
def test_no_point_is_lost_beside_a_tool(tmp_path: Path, tool: Callable[[str, int], None], lock: bool) -> None:
    now = [START]
    settings = WriteSettings(str(tmp_path), lock=lock)
    sweeper = Sweeper(settings, lambda metric: pack_header(NARROW, 0.0, "sum"), clock=lambda: now[0])
    ids = np.arange(1, FILES + 1, dtype=np.uint32)
    sweeper.learn(ids.tolist(), [b"m%d" % number for number in ids.tolist()])
    paths = [str(tmp_path / f"m{number}.wsp") for number in ids.tolist()]

    def write(second: int) -> None:
        now[0] = START + second
        stamps = np.full(FILES, START + second, np.uint32)
        outcome = sweeper.sweep([(ids, stamps, ids * 1000.0 + second)])
        assert outcome.written == FILES, outcome

    second = 0
    write(second)
    stopping = threading.Event()
    failures: list[BaseException] = []
    replaced = [0]

    def work() -> None:
        try:
            while not stopping.is_set():
                for path in paths:
                    tool(path, replaced[0])
                replaced[0] += 1
        except BaseException as error:
            failures.append(error)

    tools = threading.Thread(target=work)
    tools.start()
    try:
        while second < ROUNDS or (replaced[0] < 3 and second < MOST_ROUNDS):
            second += 1
            write(second)
    finally:
        stopping.set()
        tools.join(60)
    assert not failures
    assert replaced[0] >= 2
    assert not [name for name in os.listdir(tmp_path) if is_temporary(name)]
    last = START + second + 1
    write(second + 1)
    for number, path in zip(ids.tolist(), paths):
        _, values = whisper.fetch(path, START - 1, last, now=last)
        assert values == [number * 1000.0 + place for place in range(last - START + 1)]
        # The newest minute was changed last by the writer: it is the sum of its fine values, whatever a tool did.
        slot = last // 60 * 60
        fine = [number * 1000.0 + place for place in range(last - START + 1) if START + place >= slot]
        _, coarse = whisper.fetch(path, slot - 60, slot, now=last, archiveToSelect=60)
        assert coarse[-1] == sum(fine)


def test_a_file_that_goes_while_its_lock_is_waited_for_is_made_anew(tmp_path: Path) -> None:
    """A program that knows the file's lock but not the tree's: it holds the file, and removes or replaces it."""
    sweeper = Sweeper(
        WriteSettings(str(tmp_path), lock=True), lambda metric: pack_header(NARROW, 0.0, "sum"), clock=lambda: START + 9
    )
    sweeper.learn([1, 2], [b"gone", b"other"])
    ids = np.array([1, 2], np.uint32)

    def write(second: int) -> None:
        outcome = sweeper.sweep([(ids, np.full(2, START + second, np.uint32), np.full(2, float(second)))])
        assert outcome.written == 2, outcome

    write(0)
    before = len(os.listdir("/proc/self/fd"))
    for path, replace in ((tmp_path / "gone.wsp", False), (tmp_path / "other.wsp", True)):
        data = path.read_bytes()
        with open(path, "r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            writer = threading.Thread(target=write, args=(1 + replace,))
            writer.start()
            inode = os.fstat(held.fileno()).st_ino
            until("the writer waits", lambda seen=inode: _waits_for(seen))
            if replace:
                (tmp_path / "new").write_bytes(data)
                os.rename(tmp_path / "new", path)
            else:
                path.unlink()
        writer.join(30)
    _, values = whisper.fetch(str(tmp_path / "gone.wsp"), START - 1, START + 2, now=START + 9)
    assert values == [None, 1.0, 2.0]
    _, values = whisper.fetch(str(tmp_path / "other.wsp"), START - 1, START + 2, now=START + 9)
    assert values == [0.0, 1.0, 2.0]
    assert len(os.listdir("/proc/self/fd")) == before


def _waits_for(inode: int) -> bool:
    return any("->" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())
