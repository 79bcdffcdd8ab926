"""The load of the sustained scenario, a process of its own: `python loader.py PORT METRICS RATE ROUNDS FIRST TURN`.

In a round every metric gets one point; the rounds are `STEP` seconds of metric time apart, so that no two points fall
into one slot and every point must be written for itself. Rounds are sent at RATE points per second in portions of ten
milliseconds over the four connections; RATE 0 sends as fast as they are taken. FIRST is the timestamp of the first
round, TURN its number. All lines have the same length, so a round is made by patching the digits of the last one:
that costs the machine next to nothing.

Prints one JSON object per second and one at the end: {"elapsed", "sent", "behind"}; `behind` is how many points the
sending lagged behind the schedule because the daemon did not take them. A daemon that pauses its senders is seen here.
"""

from __future__ import annotations

import json
import socket
import sys
import time

import numpy as np

CONNECTIONS = 4
STEP = 10
PORTION_SECONDS = 0.01


def metric_name(number: int) -> str:
    """Names of equal length: a hundred metrics per host."""
    return f"bench.web{number // 100:04d}.plugin{number // 10 % 10}.value{number % 10}"


def value_of(number: int, turn: int) -> float:
    """The value of metric `number` in round `turn`."""
    return float(f"{turn:04d}.{number:06d}")


class Rounds:
    """The bytes of a round for one connection."""

    def __init__(self, numbers: range) -> None:
        lines = [f"{metric_name(number)} 0000.{number:06d} 0000000000\n".encode() for number in numbers]
        self._lines = np.frombuffer(b"".join(lines), dtype=np.uint8).reshape(len(lines), -1).copy()
        width = self._lines.shape[1]
        self.width = width
        self._time = slice(width - 11, width - 1)
        self._turn = slice(width - 23, width - 19)

    def set(self, turn: int, timestamp: int) -> memoryview:
        """Make it round `turn` at `timestamp`; returns the bytes (valid until the next call)."""
        self._lines[:, self._turn] = np.frombuffer(f"{turn:04d}".encode(), dtype=np.uint8)
        self._lines[:, self._time] = np.frombuffer(f"{timestamp:010d}".encode(), dtype=np.uint8)
        return memoryview(self._lines.reshape(-1))


def main(port: int, metrics: int, rate: float, rounds: int, first: int, offset: int) -> None:
    """Send `rounds` rounds, numbered from `offset`, with timestamps from `first` on."""
    shares = [range(metrics * each // CONNECTIONS, metrics * (each + 1) // CONNECTIONS) for each in range(CONNECTIONS)]
    makers = [Rounds(share) for share in shares]
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in shares]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    count = 0
    begun = told = time.monotonic()
    for turn in range(rounds):
        buffers = [maker.set(offset + turn, first + STEP * turn) for maker in makers]
        at = 0.0
        while at < 1:
            now = time.monotonic()
            due = 1.0 if not rate else min(1.0, (now - begun) * rate / metrics - turn)
            if due - at < min(1 - at, PORTION_SECONDS * rate / metrics):
                time.sleep(PORTION_SECONDS / 2)
                continue
            for connection, buffer, maker, share in zip(connections, buffers, makers, shares):
                low, high = int(at * len(share)), int(due * len(share))
                connection.sendall(buffer[low * maker.width : high * maker.width])
                count += high - low
            at = due
            if now - told >= 1:
                told = now
                print(json.dumps({"elapsed": now - begun, "sent": count,
                                  "behind": max(0, int((now - begun) * rate) - count)}), flush=True)
    for connection in connections:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    print(json.dumps({"elapsed": time.monotonic() - begun, "sent": count, "behind": 0}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]),
         int(sys.argv[6]))
