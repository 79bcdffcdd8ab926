"""A real graphite-web with CLUSTER_SERVERS pointing at us: its remote finder finds and renders our metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from support.graphite_web import GraphiteWeb
from support.running import RunningDaemon
from support.whole import until_received

METRICS = [f"front.machine{number}.load" for number in range(5)]


def test_graphite_web_renders_ours_with_its_functions_and_by_tags(
    carbonpy_daemon: Callable[..., RunningDaemon], tmp_path: Path
) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.2})
    now = int(time.time()) - 60
    daemon.send_lines(
        f"{metric} {number + place} {now + place}" for number, metric in enumerate(METRICS) for place in range(4)
    )
    daemon.send_lines(f"front.disk;host={host} {number} {now}" for number, host in enumerate("ab"))
    until_received(daemon, 4 * len(METRICS) + 2)
    server = f"http://127.0.0.1:{daemon.http_port}"
    peer = GraphiteWeb(tmp_path, tmp_path / "empty", CLUSTER_SERVERS=[server], FIND_TIMEOUT=20.0, FETCH_TIMEOUT=20.0)
    window = {"from": now - 1, "until": now + 3, "format": "json", "noCache": "1"}
    plain, summed, tagged, found = peer.ask(
        ("/render/", {"target": "front.machine*.load", **window}),
        ("/render/", {"target": "sumSeries(front.machine*.load)", **window}),
        ("/render/", {"target": "scale(seriesByTag('name=front.disk'),10)", **window}),
        ("/metrics/find/", {"query": "front.*", "format": "treejson"}),
    )
    points = [[now + place for place in range(4)]] * len(METRICS)
    assert {one["target"]: [time for _, time in one["datapoints"]] for one in plain} == dict(zip(METRICS, points))
    assert [value for value, _ in summed[0]["datapoints"]] == [10 + 5 * place for place in range(4)]
    assert sorted(one["datapoints"][0][0] for one in tagged) == [0.0, 10.0]
    assert sorted(node["text"] for node in found) == sorted({metric.split(".")[1] for metric in METRICS})
