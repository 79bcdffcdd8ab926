"""A real graphite-web over our whisper tree: it finds our files and takes what is not yet written over CarbonLink."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import whisper
from support.graphite_web import GraphiteWeb
from support.running import RunningDaemon

METRICS = [f"hot.machine{number:02d}.load" for number in range(40)]


def graphite_web(daemon: RunningDaemon, place: Path) -> GraphiteWeb:
    """graphite-web over the tree and the query port of a daemon."""
    hosts = [f"127.0.0.1:{daemon.query_port}:a"]
    return GraphiteWeb(place, daemon.data_dir, CARBONLINK_HOSTS=hosts, CARBONLINK_TIMEOUT=10.0)


def stored(daemon: RunningDaemon, metric: str, moment: int) -> list[float | None]:
    """The six values that the file of a metric holds from `moment` on."""
    path = daemon.data_dir.joinpath(*metric.split(".")).with_suffix(".wsp")
    values: list[float | None] = whisper.fetch(str(path), moment - 1, moment + 5)[1]
    return values


@pytest.fixture
def old_files(carbonpy_daemon: Callable[..., RunningDaemon]) -> tuple[RunningDaemon, int]:
    """A daemon that writes one metric a second, over a tree whose files hold one older point; (daemon, moment)."""
    daemon = carbonpy_daemon(conf_extra={"MAX_UPDATES_PER_SECOND": 1}, start=False)
    moment = int(time.time()) - 30
    for metric in METRICS:
        path = daemon.data_dir.joinpath(*metric.split(".")).with_suffix(".wsp")
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(1, 3600), (60, 1440)], 0.5, "average", sparse=True)
        whisper.update_many(str(path), [(moment, 0.25)])
    return daemon.start(), moment


def test_graphite_web_renders_files_and_hot_points_as_one_series(
    old_files: tuple[RunningDaemon, int], tmp_path: Path
) -> None:
    daemon, moment = old_files
    peer = graphite_web(daemon, tmp_path)
    daemon.send_lines(f"{metric} {index + 0.5} {moment + 1 + index}" for index in range(5) for metric in METRICS)

    window = {"from": moment - 1, "until": moment + 5, "format": "json"}
    rendered, found = peer.ask(
        ("/render/", {"target": "hot.*.load", **window}),
        ("/metrics/find/", {"query": "hot.*", "format": "treejson"}),
    )

    wanted = [[0.25, moment], *([index + 0.5, moment + 1 + index] for index in range(5))]
    assert {series["target"]: series["datapoints"] for series in rendered} == dict.fromkeys(METRICS, wanted)
    assert sorted(node["id"] for node in found) == sorted(metric.rpartition(".")[0] for metric in METRICS)
    # The points cannot have come from the files: for most of the metrics they are still not there.
    hot = [metric for metric in METRICS if stored(daemon, metric, moment) == [0.25, None, None, None, None, None]]
    assert len(hot) > len(METRICS) // 2


def test_graphite_web_and_our_render_give_the_same_json(old_files: tuple[RunningDaemon, int], tmp_path: Path) -> None:
    daemon, moment = old_files
    daemon.send_lines(f"{metric} {number * 0.1} {moment + 7}" for number, metric in enumerate(METRICS))
    window = {"from": moment - 10, "until": moment + 20}

    (theirs,) = graphite_web(daemon, tmp_path).ask(("/render/", {"target": "hot.*.load", "format": "json", **window}))
    ours = daemon.render("hot.*.load", from_=window["from"], until=window["until"])

    assert len(theirs) == len(METRICS)
    assert {series["target"]: series for series in ours} == {series["target"]: series for series in theirs}
