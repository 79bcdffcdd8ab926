"""`carbonpy web` over the tree and the query port of a real carbon-cache: its files and its waiting points as one."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest
import whisper
from support.peers import running, script_beside_python
from support.ports import free_ports
from support.running import SCHEMAS
from support.running_web import RunningWeb
from support.waiting import until

CACHE = """
[cache]
STORAGE_DIR = {place}
LOCAL_DATA_DIR = {place}/whisper
LOG_DIR = {place}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {lines}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickles}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {queries}
CARBON_METRIC_INTERVAL = 0
ENABLE_TAGS = False
MAX_UPDATES_PER_SECOND = 1
MAX_CREATES_PER_MINUTE = inf
"""
METRICS = [f"cold.machine{number:02d}.load" for number in range(30)]


@pytest.mark.parametrize("hashing", ["all", "carbon_ch"])
def test_points_that_carbon_has_not_written_are_in_our_answers(tmp_path: Path, hashing: str) -> None:
    script = script_beside_python("carbon-cache.py", "carbon==1.1.10")
    place = tmp_path / "carbon"
    place.mkdir()
    moment = int(time.time()) - 60
    for metric in METRICS:
        path = _file(place, metric)
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(1, 3600), (60, 1440)], 0.5, "average", sparse=True)
        whisper.update_many(str(path), [(moment, 0.25)])
    lines, pickles, queries = free_ports(3)
    config = place / "carbon.conf"
    config.write_text(CACHE.format(place=place, lines=lines, pickles=pickles, queries=queries))
    (place / "storage-schemas.conf").write_text(SCHEMAS)
    command = [sys.executable, str(script), "--debug", "--config", str(config), "start"]
    environment = {**os.environ, "GRAPHITE_ROOT": str(place), "PYTHONPATH": ""}
    with running(command, place / "log", env=environment):
        # on both ports: a cache that refuses a query once is left alone for REMOTE_RETRY_DELAY
        until("carbon listens", lambda: all(map(_listens, (lines, queries))))
        with socket.create_connection(("127.0.0.1", lines)) as sender:
            sender.sendall(
                "".join(
                    f"{metric} {number + place}.5 {moment + 1 + place}\n"
                    for number, metric in enumerate(METRICS)
                    for place in range(3)
                ).encode()
            )
        service = RunningWeb(
            tmp_path / "web",
            place / "whisper",
            {
                "CARBONLINK_HOSTS": f"127.0.0.1:{queries}:a",
                "CARBONLINK_HASHING_TYPE": hashing,
                "CARBONLINK_TIMEOUT": 10,
            },
        )
        service.start()
        try:
            wanted = {metric: [0.25, number + 0.5, number + 1.5, number + 2.5] for number, metric in enumerate(METRICS)}

            def rendered() -> dict[str, list[float | None]]:
                answer = service.render("cold.*.load", from_=moment - 1, until=moment + 3)
                return {one["target"]: [value for value, _ in one["datapoints"]] for one in answer}

            # carbon takes the points of a metric out of its cache before it waits to write them, so at any moment
            # those of one metric may be in neither place.
            whole: set[str] = set()

            def each_was_whole() -> bool:
                whole.update(metric for metric, values in rendered().items() if values == wanted[metric])
                return whole == set(METRICS)

            until("all points are there", each_was_whole)
            assert "does not answer" not in service.log()
            # They cannot have come from the files: most are not there yet.
            hot = [metric for metric in METRICS if _stored(place, metric, moment) == [0.25, None, None, None]]
            assert len(hot) > len(METRICS) // 3
        finally:
            service.kill()


def _listens(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


def _file(place: Path, metric: str) -> Path:
    return place.joinpath("whisper", *metric.split(".")).with_suffix(".wsp")


def _stored(place: Path, metric: str, moment: int) -> list[float | None]:
    values: list[float | None] = whisper.fetch(str(_file(place, metric)), moment - 1, moment + 3)[1]
    return values
