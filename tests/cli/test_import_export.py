"""``carbonpy export`` and ``import``: there and back again, into a tree and to a daemon."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
import whisper
from support.running import RunningDaemon
from support.whole import balanced, rendered, settle, until_received

from carbonpy.cli.export import pieces_of
from carbonpy.cli.main import main
from carbonpy.metric import relative_path
from carbonpy.whisper import file as whisper_file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "carbon.conf"
    path.write_text(f"[cache]\nSTORAGE_DIR = {tmp_path / 'storage'}\n")
    (tmp_path / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1m:1h,10m:1d,1h:30d\n")
    (tmp_path / "storage-aggregation.conf").write_text("[all]\npattern = .*\nxFilesFactor = 0\n")
    return path


def filled(root: Path, metric: str, seed: int) -> Path:
    path = root / relative_path(metric)
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper_file.create(str(path), [(60, 60), (600, 144), (3600, 720)], 0.0, "average")
    now = int(time.time())
    chance = random.Random(seed)
    fd = os.open(path, os.O_RDWR)
    try:
        header = whisper_file.read_header(fd)
        for age in sorted((chance.randrange(25 * 86400) for _ in range(300)), reverse=True):
            whisper_file.write_points(fd, header, [now - age], [chance.uniform(-9, 9)], now)
    finally:
        os.close(fd)
    return path


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_there_and_back_again(tmp_path: Path, config: Path, format_: str) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    metrics = ["a.b", "a.c", 'odd."name,1']
    for number, metric in enumerate(metrics):
        filled(one, metric, number)
    out = tmp_path / "out"
    common = ["--config", str(config), "--quiet", "--format", format_]
    assert main(["export", "--tree", str(one), "--output", str(out), *common]) == 0
    assert main(["import", "--tree", str(other), *common, str(out)]) == 0
    now = int(time.time())
    for metric in metrics:
        here, there = (list(pieces_of(str(root / relative_path(metric)), 0, now, now)) for root in (one, other))
        told = {stamp: value for piece in here for stamp, value in piece.points}
        back = {stamp: value for piece in there for stamp, value in piece.points}
        # A slot that has moved into a coarser archive between the two looks is the only one that may be missing.
        assert len(told.keys() - back.keys()) <= 2
        finest = {stamp for stamp in told if stamp > now - 3500 and stamp % 60 == 0}
        assert {stamp: told[stamp] for stamp in finest} == {stamp: back[stamp] for stamp in finest}


def test_each_moment_once_and_all_archives_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled(tmp_path, "m", 1)
    now = int(time.time())
    pieces = list(pieces_of(str(path), 0, now, now))
    stamps = [stamp for piece in pieces for stamp, _ in piece.points]
    assert stamps == sorted(set(stamps))
    everything = {piece.step: piece.points for piece in pieces_of(str(path), 0, now, now, all_archives=True)}
    for step, retention in ((60, 3600), (600, 86400), (3600, 2592000)):
        _, values = whisper.fetch(str(path), now - retention, now, now=now, archiveToSelect=step)
        known = [value for value in values if value is not None]
        assert [value for _, value in everything[step]] == known
    assert main(["export", "--tree", str(tmp_path), "--below", "m", "--from", "-2h", "--quiet"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "metric,timestamp,value"
    assert all(int(row.split(",")[1]) >= now - 7201 for row in rows[1:])
    assert main(["export", "--tree", str(tmp_path), "--below", "no.such", "--quiet"]) == 1


def test_refused_lines_are_told_and_the_others_go_in(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = int(time.time())
    source = tmp_path / "in.csv"
    source.write_text(f"metric,timestamp,value\na.b,{now},1\nbad,x,1\na.b,{now},2\na.b,5,1\n")
    common = ["import", "--format", "csv", "--quiet", "--config", str(config)]
    assert main([*common, "--dry-run", str(source)]) == 1
    assert not (tmp_path / "storage").exists()
    assert main([*common, "--offline", "--prefix", "x", str(source)]) == 1
    told = capsys.readouterr().err
    assert f"{source}:3: timestamp 'x' is not a number" in told
    assert "1 points written to 1 metrics, 1 replaced, 1 too_old, 1 lines refused" in told
    path = tmp_path / "storage" / "whisper" / "x" / "a" / "b.wsp"
    assert [piece.points for piece in pieces_of(str(path), 0, now, now)][-1] == [(now // 60 * 60, 2.0)]


def test_prometheus_text_to_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = RunningDaemon(tmp_path, {}).start()
    now = int(time.time()) - 10
    source = tmp_path / "metrics.txt"
    source.write_text("\n".join(f'up{{job="j-{number}"}} {number} {now}000' for number in range(50)) + "\nbad{ 1\n")
    config = ["--config", str(daemon.config_path), "--quiet"]
    try:
        assert main(["import", "--format", "prometheus", *config, str(source)]) == 1
        assert "50 points sent to 127.0.0.1:" in capsys.readouterr().err
        until_received(daemon, 50)
        assert rendered(daemon, "up;job=j-7", now, 1) == [7]
        assert main(["import", "--format", "prometheus", "--offline", *config, str(source)]) == 1
        assert "a daemon writes to" in capsys.readouterr().err
        balanced(settle(daemon))
        out = tmp_path / "out.jsonl"
        assert main(["export", "--format", "jsonl", "--output", str(out), *config]) == 0
        told = {(one := json.loads(line))["metric"]: one["points"] for line in out.read_text().splitlines()}
        assert told["up;job=j-7"] == [[now, 7.0]], "the catalogue knows the names of tagged metrics"
    finally:
        daemon.terminate()
