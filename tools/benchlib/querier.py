"""The asker of the sustained scenario, a process of its own: `python querier.py PORT METRICS FIRST PACE SECONDS`.

Every 20 ms it asks `/render` for one plain metric drawn at random, over one kept connection, for the last ten minutes
of metric time. Each wait is noted twice: from the moment the request was sent, and from the moment it was due (a
client that had to wait for the answer before does not hide that). Prints one JSON object with both lists in
milliseconds, how many answers were wrong, and how old in real seconds the newest point of the answers was.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchlib.loader import STEP, metric_name, value_of

INTERVAL = 0.02
WINDOW = 600


def main(port: int, metrics: int, first: int, pace: float, seconds: float) -> None:
    """Ask for `seconds` seconds. `first` is the timestamp of round 0, `pace` the metric seconds per real second."""
    draw = random.Random(20)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent_waits, due_waits, ages, wrong = [], [], [], []
    begun = time.monotonic()
    asked = 0
    while (due := begun + asked * INTERVAL) < begun + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        asked += 1
        number = draw.randrange(metrics)
        moment = int(first + (time.monotonic() - begun) * pace)
        sent = time.monotonic()
        connection.request("GET", f"/render?target={metric_name(number)}&format=json&from={moment - WINDOW}"
                                  f"&until={moment + STEP}")
        answer = connection.getresponse()
        body = answer.read()
        done = time.monotonic()
        sent_waits.append((done - sent) * 1e3)
        due_waits.append((done - due) * 1e3)
        if answer.status != 200:
            wrong.append(f"{answer.status}: {body[:200]!r}")
            continue
        series = json.loads(body)
        points = [pair for pair in series[0]["datapoints"] if pair[0] is not None] if series else []
        if any(value != value_of(number, (timestamp - first) // STEP) for value, timestamp in points):
            wrong.append(f"{metric_name(number)}: {points[:3]}")
        if points:
            ages.append((moment - points[-1][1]) / pace)
        elif moment - first > WINDOW:
            wrong.append(f"{metric_name(number)}: nothing at {moment}")
    print(json.dumps({"sent": sent_waits, "due": due_waits, "ages": ages, "wrong": wrong}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
