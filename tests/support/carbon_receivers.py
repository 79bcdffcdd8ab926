"""What the real carbon's receivers make of bytes, asked in a process of its own.

Each stream is given to a fresh MetricLineReceiver (or MetricDatagramReceiver) of carbon; carbon's rounding of times is
off, so what comes back is what it understood.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Understood(NamedTuple):
    """What became of one stream: accepted points (name, timestamp, value), and whether the connection is still open."""

    points: list[tuple[str, float, float]]
    open: bool


def line_receiver(streams: list[bytes], directory: Path, now: float = 1_700_000_000.0) -> list[Understood]:
    """What carbon's line receiver understands of each stream, given in one read."""
    done = subprocess.run(
        [sys.executable, __file__, str(directory), str(now)],
        input=json.dumps([stream.hex() for stream in streams]),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "GRAPHITE_ROOT": str(directory), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.rpartition("\n@@@")[2])
    return [
        Understood([(name, float(when), float(value)) for name, when, value in points], alive) for points, alive in rows
    ]


def _main(now: float) -> Any:
    from carbon import events, protocols
    from carbon.conf import settings
    from twisted.internet.testing import StringTransport

    settings["MIN_TIMESTAMP_RESOLUTION"] = 0
    settings["METRIC_CLIENT_IDLE_TIMEOUT"] = None
    settings["TCP_KEEPALIVE"] = False
    settings["MAX_RECEIVER_CONNECTIONS"] = float("inf")
    protocols.time.time = lambda: now
    points: list[list[str]] = []
    events.metricReceived.handlers[:] = [lambda metric, point: points.append([metric, repr(point[0]), repr(point[1])])]
    answer = []
    for stream in json.load(sys.stdin):
        receiver = protocols.MetricLineReceiver()
        transport = StringTransport()
        receiver.makeConnection(transport)
        try:
            receiver.dataReceived(bytes.fromhex(stream))
        except Exception:  # Twisted closes a connection whose protocol raises
            transport.loseConnection()
        answer.append([points[:], not transport.disconnecting])
        points.clear()
    return answer


if __name__ == "__main__":
    print("\n@@@" + json.dumps(_main(float(sys.argv[2]))))
