"""Reading what a daemon wrote, cheaply and alike for both: the bytes of the fine archive of every file.

`Inspection` is asked again and again until everything is there. It walks the files in a shuffled order and stops at
the first one that is not complete, so that asking early costs next to nothing and asking late reads every file once.
Only the layout of a whisper file is known here; the independent judgement is that of the `whisper` package
(`verify.py`).
"""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

from benchlib.payload import STEP, Workload, metric_name

HEADER = struct.Struct("!2LfL3L")
POINT = struct.Struct("!Ld")


def path_of(data_dir: Path, number: int) -> str:
    """The file of metric `number`."""
    return os.path.join(data_dir, *metric_name(number).split(".")) + ".wsp"


def holds(path: str, points: list[tuple[int, float]]) -> bool:
    """Whether the fine archive of the file holds exactly these consecutive points, bit by bit.

    `points` are (timestamp, value), `STEP` apart, oldest first. A file that is missing or still short does not.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        head = os.pread(file, HEADER.size, 0)
        if len(head) < HEADER.size:
            return False
        *_, offset, step, capacity = HEADER.unpack(head)
        (base,) = struct.unpack("!L", os.pread(file, 4, offset).ljust(4, b"\0"))
        if not base or step != STEP:
            return False
        slot = (points[0][0] - base) // STEP % capacity
        wanted = b"".join(POINT.pack(*point) for point in points)
        found = os.pread(file, len(wanted), offset + POINT.size * slot)[: POINT.size * (capacity - slot)]
        if len(found) < len(wanted):
            found += os.pread(file, len(wanted) - len(found), offset)
        return found == wanted
    finally:
        os.close(file)


class Inspection:
    """Which files of a workload are complete. One thread."""

    def __init__(self, data_dir: Path, workload: Workload) -> None:
        self._data_dir = data_dir
        self._workload = workload
        self._open = list(range(workload.metrics))
        random.Random(workload.metrics).shuffle(self._open)

    @property
    def missing(self) -> int:
        """How many files were not yet seen complete."""
        return len(self._open)

    def is_complete(self) -> bool:
        """Look at the files that are open until one is not complete; True when none is left."""
        while self._open:
            number = self._open[-1]
            if not holds(path_of(self._data_dir, number), self._workload.points_of(number)):
                return False
            self._open.pop()
        return True

    def last_write(self) -> float:
        """The time of the last change of any file, as the filesystem noted it (seconds since the epoch)."""
        return max(os.stat(path_of(self._data_dir, number)).st_mtime for number in range(self._workload.metrics))
