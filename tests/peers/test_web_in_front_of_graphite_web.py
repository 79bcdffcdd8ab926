"""`carbonpy web` in front of a real graphite-web: its metrics, found and rendered by us in both of its formats."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import whisper
from support.graphite_web import GraphiteWeb
from support.peers import running
from support.ports import free_ports
from support.running_web import RunningWeb
from support.waiting import until


@pytest.mark.parametrize("options", ["", "?format=pickle"])
def test_metrics_of_graphite_web_are_ours(tmp_path: Path, options: str) -> None:
    tree, now = tmp_path / "tree", int(time.time()) - 60
    for number in range(3):
        path = tree / "theirs" / f"m{number}.wsp"
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(1, 3600)], 0.5, "average", sparse=True)
        whisper.update_many(str(path), [(now + place, float(number + place)) for place in (0, 1, 3)])
    peer = GraphiteWeb(tmp_path, tree)
    (port,) = free_ports(1)
    command = [str(peer.python), "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with running(command, tmp_path / "log", env=peer.environment):
        until("it listens", lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() or True)
        settings = {"CLUSTER_SERVERS": f"http://127.0.0.1:{port}{options}", "FIND_TIMEOUT": 20, "FETCH_TIMEOUT": 20}
        front = RunningWeb(tmp_path / "front", web_extra=settings)
        front.start()
        try:
            window = {"from_": now - 1, "until": now + 3}
            plain = front.render("theirs.*", **window)
            assert {one["target"]: [value for value, _ in one["datapoints"]] for one in plain} == {
                f"theirs.m{number}": [number, number + 1, None, number + 3] for number in range(3)
            }
            (summed,) = front.render("sumSeries(theirs.m?)", **window)
            assert [value for value, _ in summed["datapoints"]] == [3.0, 6.0, None, 12.0]
            found = json.loads(front.get("/metrics/find?query=*")[1])
            assert [(node["text"], node["leaf"]) for node in found] == [("theirs", 0)]
            assert json.loads(front.get("/metrics/index.json")[1]) == [f"theirs.m{number}" for number in range(3)]
            assert front.render("nothing.*", **window) == [] and "partial" not in front.log()
        finally:
            front.kill()
