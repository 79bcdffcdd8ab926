"""kill -9 under load, twenty times: what was taken from the socket in time is there afterwards, and nothing else is.

The points are numbered. Number n belongs to one metric and one second, its value is n, and the numbers go over one
connection in order. While the load runs, `/health` says how many points were received: if it said k and that was longer
than the journal's fsync interval before the kill, the first k points of this life must be readable after the next
start. Any point that is readable must have been sent, with its own value.
"""

from __future__ import annotations

import os
import pickle
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest
import whisper
from support.running import RunningDaemon
from support.waiting import until

METRICS = 200
KILLS = 5
FSYNC_INTERVAL = 0.25
PORTION = 100
RATE = 20_000
#: The numbering starts this far in the past and must not reach the present, nor leave the hour of the fine archive.
PAST = 3400


class NumberedLoad(threading.Thread):
    """Sends points `first`, `first + 1`, ... over one connection until it is stopped or the connection breaks."""

    def __init__(self, daemon: RunningDaemon, pickled: bool, epoch: int, first: int) -> None:
        super().__init__(daemon=True)
        self._address = ("127.0.0.1", daemon.pickle_port if pickled else daemon.line_port)
        self._pickled = pickled
        self._epoch = epoch
        self.first = first
        self.sent = first
        self._ended = threading.Event()

    def run(self) -> None:
        begun = time.monotonic()
        try:
            with socket.create_connection(self._address, timeout=20) as connection:
                while not self._ended.wait(max(0.0, begun + (self.sent - self.first) / RATE - time.monotonic())):
                    numbers = range(self.sent, self.sent + PORTION)
                    # Counted before it is sent: a point on its way may arrive.
                    self.sent += PORTION
                    connection.sendall(self._encode(numbers))
        except OSError:
            return

    def _encode(self, numbers: range) -> bytes:
        points = [(f"kill.m{n % METRICS:03d}", (self._epoch + n // METRICS, float(n))) for n in numbers]
        if self._pickled:
            body = pickle.dumps(points, protocol=2)
            return struct.pack("!L", len(body)) + body
        return "".join(f"{name} {value!r} {timestamp}\n" for name, (timestamp, value) in points).encode()

    def stop(self) -> None:
        """Return when nothing more will be sent."""
        self._ended.set()
        self.join(20)
        assert not self.is_alive()


def readable(daemon: RunningDaemon, epoch: int, first: int, sent: int) -> set[int]:
    """The numbers that /render shows in the seconds of [first, sent), each checked for its value."""
    answer = daemon.render("kill.*", from_=epoch + first // METRICS - 1, until=epoch + sent // METRICS + 1)
    found = set()
    for series in answer:
        metric = int(series["target"][-3:])
        for value, timestamp in series["datapoints"]:
            if value is not None:
                number = (timestamp - epoch) * METRICS + metric
                assert value == number, f"invented: {series['target']} {value} {timestamp}"
                found.add(number)
    return found


@pytest.mark.parametrize("writer_processes", [0, 2])
@pytest.mark.parametrize("pickled", [False, True], ids=["line", "pickle"])
def test_what_was_taken_before_the_fsync_interval_outlives_kill_nine(
    carbonpy_daemon: Callable[..., RunningDaemon], pickled: bool, writer_processes: int
) -> None:
    draw = random.Random(f"{pickled}-{writer_processes}")
    daemon = carbonpy_daemon(start=False)
    daemon.conf_extra.update(JOURNAL_FSYNC="interval", JOURNAL_FSYNC_INTERVAL=FSYNC_INTERVAL,
                             WRITER_PROCESSES=writer_processes)
    epoch = int(time.time()) - PAST
    lives: list[tuple[int, int, int]] = []  # (first, how many are owed, end of what was sent)
    first = 0
    for kill in range(KILLS):
        daemon.conf_extra["SWEEP_INTERVAL"] = (0.1, 5, 1)[kill % 3]
        daemon.start()
        load = NumberedLoad(daemon, pickled, epoch, first)
        load.start()
        seen: list[tuple[float, int]] = []
        end = time.monotonic() + draw.uniform(0.45, 0.75)
        while time.monotonic() < end:
            ledger = daemon.ledger()
            seen.append((time.monotonic(), ledger["received"] - ledger["recovered"]))
            time.sleep(0.03)
        killed = time.monotonic()
        daemon.kill()
        load.stop()
        owed = max((count for moment, count in seen if moment < killed - FSYNC_INTERVAL), default=0)
        assert owed > 0, f"nothing was received in time: {seen}"
        assert owed <= load.sent - first
        lives.append((first, owed, load.sent))
        first = (load.sent // METRICS + 2) * METRICS
    assert epoch + first // METRICS < time.time()

    # One more life to judge all of them: at once, and from the files when all is written.
    daemon.start()
    for begun, owed, sent in lives:
        there = readable(daemon, epoch, begun, sent)
        assert not set(range(begun, begun + owed)) - there, "lost"
        assert max(there) < sent, "invented"
    ledger = until("all is written", lambda: (now := daemon.ledger())["cached"] == 0 and now)
    assert ledger["balanced"]
    assert daemon.terminate() == 0
    allowed = [range(begun, sent) for begun, _, sent in lives]
    owed_numbers = {number for begun, owed, _ in lives for number in range(begun, begun + owed)}
    for metric in range(METRICS):
        path = daemon.data_dir / "kill" / f"m{metric:03d}.wsp"
        (start, stop, step), values = whisper.fetch(str(path), epoch - 1, epoch + first // METRICS)
        there = {(at - epoch) * METRICS + metric: value
                 for at, value in zip(range(start, stop, step), values) if value is not None}
        assert all(number == value for number, value in there.items())
        assert all(any(number in each for each in allowed) for number in there)
        assert {number for number in owed_numbers if number % METRICS == metric} <= set(there)
    assert [entry for entry in os.listdir(daemon.data_dir) if not entry.startswith(".carbonpy-")] == ["kill"]
