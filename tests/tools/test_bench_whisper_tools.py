"""The whisper tools' scenario of tools/bench, small: it measures both sides and compares what they leave."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import whisper
from support.running import REPOSITORY
from support.whisper_scripts import script

sys.path.insert(0, str(REPOSITORY / "tools"))

from benchlib import whisper_tools
from benchlib.runs import Bench


def test_a_small_run_has_all_figures_and_finds_no_difference(tmp_path: Path) -> None:
    bench = Bench(work_dir=tmp_path, filesystem="tmpfs", peer_python=script("whisper-info").parent / "python")
    figures = whisper_tools.run_whisper_tools(bench, Path(sys.executable), files=30, peer_files=3)
    assert figures["problems"] == []
    assert [row[0].split()[0] for row in whisper_tools.rows(figures)] == ["info", "fill,", "resize"]
    assert all(figures[name][side] > 0 for name in ("info", "fill", "resize") for side in ("theirs", "ours", "ratio"))


def test_what_the_scripts_keep_and_we_do_not_is_found(tmp_path: Path) -> None:
    now = int(time.time()) // 60 * 60
    for side, values in (("theirs", (1.0, 2.0, 3.0)), ("ours", (1.0, 2.5))):
        (tmp_path / side).mkdir()
        path = str(tmp_path / side / "a.wsp")
        whisper.create(path, [(60, 60)])
        whisper.update_many(path, [(now - 60 * n, value) for n, value in enumerate(values)])
    bench = Bench(work_dir=tmp_path, filesystem="tmpfs", peer_python=script("whisper-info").parent / "python")
    found = whisper_tools.compared(bench, tmp_path, ["a.wsp"], now, "fill")
    assert [line.split()[-2:] for line in found] == [["3.0", "None"], ["2.0", "2.5"]]
