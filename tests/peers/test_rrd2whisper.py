"""An RRD file made by the real rrdtool becomes whisper files with the same values."""

from __future__ import annotations

import json
import math
import subprocess
import time
from pathlib import Path

import pytest
import whisper
from support.peers import debian_program, environment_with
from support.whisper_scripts import REQUIREMENTS, script

from carbonpy.cli.main import main

STEP = 60
Capture = pytest.CaptureFixture[str]


def rrdtool(*words: str) -> str:
    program = debian_program("rrdtool", "rrdtool")
    return subprocess.run([program, *words], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def rrd(tmp_path: Path) -> Path:
    """Two data sources, three hours of them, a gap of twenty minutes."""
    path = tmp_path / "load.rrd"
    now = int(time.time()) // 300 * 300
    begin = now - 3 * 3600
    archives = ["RRA:AVERAGE:0.5:1:120", "RRA:AVERAGE:0.5:5:100", "RRA:MAX:0.5:5:100"]
    sources = ["DS:one:GAUGE:120:U:U", "DS:two:GAUGE:120:U:U"]
    rrdtool("create", str(path), "--start", str(begin), "--step", str(STEP), *sources, *archives)
    updates = [
        f"{stamp}:{10 + 5 * math.sin(stamp / 900):.6f}:{stamp % 7}"
        for stamp in range(begin + STEP, now + 1, STEP)
        if not begin + 3600 <= stamp < begin + 4800
    ]
    rrdtool("update", str(path), *updates)
    return path


def rows(path: Path, function: str, step: int, count: int) -> dict[int, list[float]]:
    """What rrdtool itself says: the time at which each row begins, and its values."""
    end = int(time.time()) // step * step
    text = rrdtool("fetch", str(path), function, "-r", str(step), "-s", str(end - step * count), "-e", str(end))
    lines = [line.partition(":") for line in text.partition("\n\n")[2].splitlines()]
    return {int(stamp) - step: [float(value) for value in values.split()] for stamp, _, values in lines}


@pytest.mark.parametrize(("method", "archives"), [("average", [(60, 120), (300, 100)]), ("max", [(300, 100)])])
def test_every_known_row_is_a_slot_of_its_archive(
    rrd: Path, tmp_path: Path, capsys: Capture, method: str, archives: list[tuple[int, int]]
) -> None:
    out = tmp_path / "out"
    words = ["whisper", "rrd2whisper", "--aggregationMethod", method, "--destinationPath", str(out), str(rrd)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"Created: {out}/load_one.wsp" in told
    assert "Migrating data\n migrating " in told
    for column, name in enumerate(("one", "two")):
        path = str(out / f"load_{name}.wsp")
        info = whisper.info(path)
        assert info["aggregationMethod"] == method
        assert [(one["secondsPerPoint"], one["points"]) for one in info["archives"]] == archives
        for step, count in archives:
            wanted = {
                slot: values[column]
                for slot, values in rows(rrd, method.upper(), step, count).items()
                if not math.isnan(values[column])
            }
            now = int(time.time())
            span, values = whisper.fetch(path, now - step * count, now, archiveToSelect=step)
            found = {slot: value for slot, value in zip(range(*span), values) if value is not None}
            inside = {slot: value for slot, value in wanted.items() if span[0] <= slot < now - now % step - step}
            assert len(inside) > 20
            assert inside.items() <= found.items()
            assert found.keys() <= wanted.keys()


def test_the_script_needs_a_module_that_is_not_part_of_python_and_makes_nothing(rrd: Path, tmp_path: Path) -> None:
    python = environment_with("whisper-scripts", REQUIREMENTS)
    command = [str(python), str(script("rrd2whisper")), "--destinationPath", str(tmp_path / "out"), str(rrd)]
    theirs = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert theirs.returncode != 0 and "rrdtool" in theirs.stderr
    assert not (tmp_path / "out").exists()
    assert main(["whisper", "rrd2whisper", "--destinationPath", str(tmp_path / "out"), str(rrd)]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["load_one.wsp", "load_two.wsp"]


def test_what_there_is_not_is_said(rrd: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["whisper", "rrd2whisper", "--aggregationMethod", "min", str(rrd)]) == 1
    assert "Unable to find any RRAs with consolidation function: MIN" in capsys.readouterr().err
    assert main(["whisper", "rrd2whisper", str(tmp_path / "none.rrd")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert main(["whisper", "rrd2whisper", "--dry-run", "--json", str(rrd)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["path"] == str(tmp_path / "load_one.wsp")
    assert not list(tmp_path.glob("*.wsp"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["whisper", "rrd2whisper", str(rrd)]) == 1
    assert "the program rrdtool is not installed; on Debian: apt-get install rrdtool" in capsys.readouterr().err
