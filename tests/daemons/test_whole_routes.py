"""A whole relay with clusters and routes: what arrives is what ``carbonpy relay test`` says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.running import REPOSITORY
from support.running_relay import RunningRelay, sinks
from support.waiting import until

NAMES = (
    *(f"servers.web{number:02d}.cpu" for number in range(40)),
    *(f"old.Web{number}.X" for number in range(10)),
    "..not..clean-é", "skip.me", "skipper", "agg.a.count", "agg.b.count", "tagged;host=a", "tagged;host=b",
)  # fmt: skip
ROUTES: list[dict[str, Any]] = [
    {"cleanse": True},
    {"match": r"^skip\.", "send_to": "blackhole"},
    {"match": "*", "validate": r"^[0-9.]+ [0-9]+$", "otherwise": "drop"},
    {"rewrite": r"^old\.([^.]+)\.", "into": r"new.\_1."},
    {
        "aggregate": r"^agg\.[^.]+\.(.*)$", "every": 1, "expire": 2, "compute": {"sum": r"all.\1"},
        "send_to": ["log", "second"], "stop": True,
    },
    {"match": "^tagged", "send_to": "log", "stop": True},
    {"match": r"^servers\.([^.]+)", "route_using": r"\1", "send_to": "ring"},
    {"match": "*", "send_to": ["log", "first"]},
]  # fmt: skip


def test_what_arrives_is_what_relay_test_says(tmp_path: Path) -> None:
    with sinks(3) as made:
        servers = [f"127.0.0.1:{sink.port}:{number}" for number, sink in enumerate(made)]
        log = tmp_path / "points.log"
        clusters = {
            "ring": {"type": "jump_fnv1a_ch", "replication": 2, "servers": servers, "protocol": "line"},
            "first": {"type": "failover", "servers": servers[:2], "protocol": "line"},
            "second": {"type": "forward", "servers": servers[1:2], "protocol": "line"},
            "log": {"type": "file", "paths": [str(log)]},
        }
        relay = RunningRelay(tmp_path / "relay", [], {"CLUSTERS": json.dumps(clusters), "ROUTES": json.dumps(ROUTES)})
        relay.start()
        try:
            answer = subprocess.run(
                [sys.executable, "-m", "carbonpy", "relay", "test", "--config", str(relay.config_path)],
                input="".join(f"{name}\n" for name in NAMES), capture_output=True, text=True, timeout=60,
                cwd=REPOSITORY,
            )  # fmt: skip
            assert answer.returncode == 0, answer.stderr
            said = [json.loads(line) for line in answer.stdout.splitlines()]
            expected: dict[str, set[str]] = {server: set() for server in (*servers, f"file:{log}")}
            for one in said:
                for sending in one.get("sendings", [one]):
                    for destination in sending["destinations"]:
                        expected[destination].add(sending["sent_as"])
                for aggregate in one.get("aggregates", ()):
                    for destination in aggregate["destinations"]:
                        expected[destination].add(aggregate["name"])
            assert all(len(names) > 5 for names in expected.values())

            now = int(time.time())
            relay.send_lines([f"{name} 1 {now}" for name in NAMES] + [f"skipper nan {now}", f"agg.a.count x {now}"])

            def arrived() -> dict[str, set[str]]:
                texts = [b"".join(sink.lines).decode() for sink in made] + [log.read_text()]
                return {
                    where: {line.split()[0] for line in text.splitlines()}
                    for where, text in zip(expected, texts, strict=True)
                }

            until("everything has arrived", lambda: arrived() == expected, timeout=30)
            totals = [line for line in log.read_text().splitlines() if line.startswith("all.count ")]
            assert [float(line.split()[1]) for line in totals] == [2.0]
        finally:
            relay.kill()
