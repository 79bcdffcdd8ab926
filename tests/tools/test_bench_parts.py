"""The bench must be able to see a difference: its inspection, its judge and its clocks, on known files and work."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import whisper
from support.running import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))

from benchlib.aggregating import METHODS, aggregating_rows, run_aggregating
from benchlib.disk import Inspection, holds, path_of
from benchlib.loader import Rounds, metric_name, value_of
from benchlib.payload import Workload, write_payloads
from benchlib.payload import metric_name as sent_name
from benchlib.watch import cpu_seconds, process_tree

LAST = int(time.time()) // 10 * 10
ARCHIVES = [(10, 30), (60, 100)]


def write_files(data_dir: Path, workload: Workload) -> None:
    """What a perfect daemon would leave, in two portions, so that the ring's base is not the first slot asked for."""
    for number in range(workload.metrics):
        path = Path(path_of(data_dir, number))
        path.parent.mkdir(parents=True, exist_ok=True)
        points = workload.points_of(number)
        whisper.create(str(path), ARCHIVES, 0.5, "average")
        whisper.update_many(str(path), [(points[0][0] - 100, -1.0), *points[: len(points) // 2]], LAST)
        whisper.update_many(str(path), points[len(points) // 2 :], LAST)


def test_the_inspection_is_complete_when_every_file_holds_every_point(tmp_path: Path) -> None:
    workload = Workload(5, 20, LAST)
    inspection = Inspection(tmp_path, workload)
    assert not inspection.is_complete()
    write_files(tmp_path, workload)
    assert inspection.is_complete()
    assert inspection.missing == 0
    assert abs(inspection.last_write() - time.time()) < 60


@pytest.mark.parametrize("place", [0, 11, 19])
def test_one_wrong_value_and_one_missing_point_are_seen(tmp_path: Path, place: int) -> None:
    workload = Workload(1, 20, LAST)
    write_files(tmp_path, workload)
    points = workload.points_of(0)
    assert holds(path_of(tmp_path, 0), points)
    points[place] = (points[place][0], points[place][1] + 1e-9)
    assert not holds(path_of(tmp_path, 0), points)
    assert not holds(path_of(tmp_path, 0), [*workload.points_of(0), (LAST + 10, 1.0)])


@pytest.mark.parametrize("change", [None, "value", "missing", "invented"])
def test_the_judge_compares_every_archive_exactly(tmp_path: Path, change: str | None) -> None:
    workload = Workload(1, 20, LAST)
    points = workload.points_of(0)
    path = tmp_path / "one.wsp"
    stored = list(points)
    if change == "value":
        stored[7] = (stored[7][0], stored[7][1] + 0.001)
    elif change == "missing":
        del stored[7]
    elif change == "invented":
        stored.insert(0, (stored[0][0] - 10, 1.0))
    whisper.create(str(path), ARCHIVES, 0.5, "average")
    whisper.update_many(str(path), stored, LAST)
    task = {"now": LAST, "archives": ARCHIVES, "xff": 0.5, "files": [[str(path), points]]}
    judged = subprocess.run([sys.executable, str(REPOSITORY / "tools/benchlib/verify.py")], input=json.dumps(task),
                            capture_output=True, text=True, timeout=60)
    assert judged.returncode == (0 if change is None else 1), judged.stderr
    assert bool(judged.stdout) == (change is not None)


def points_sent(path: Path, pickled: bool) -> Iterator[tuple[str, int, float]]:
    """(name, timestamp, value) of everything in a payload file."""
    content = path.read_bytes()
    if not pickled:
        for line in content.decode().splitlines():
            name, value, timestamp = line.split()
            yield name, int(timestamp), float(value)
        return
    while content:
        (length,) = struct.unpack_from("!L", content)
        yield from ((name, timestamp, value) for name, (timestamp, value) in pickle.loads(content[4 : 4 + length]))
        content = content[4 + length :]


@pytest.mark.parametrize("pickled", [False, True])
def test_the_payload_of_all_connections_is_every_point_once(tmp_path: Path, pickled: bool) -> None:
    workload = Workload(730, 3, LAST)
    sent = [point for path in write_payloads(workload, pickled, tmp_path) for point in points_sent(path, pickled)]
    assert len(sent) == workload.total
    assert set(sent) == {(sent_name(number), timestamp, value) for number in range(workload.metrics)
                         for timestamp, value in workload.points_of(number)}


def test_a_round_of_the_load_is_patched_to_the_next() -> None:
    rounds = Rounds(range(1234, 1240))
    for turn, timestamp in ((3, 1_700_000_000), (1204, 1_700_000_010)):
        lines = bytes(rounds.set(turn, timestamp)).decode().splitlines()
        assert [(name, float(value), int(at)) for name, value, at in map(str.split, lines)] == [
            (metric_name(number), value_of(number, turn), timestamp) for number in range(1234, 1240)]


def test_cpu_seconds_count_living_and_ended_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    burn_and_wait = burn + "print(flush=True)\ninput()"
    program = (f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n"
               f"child = subprocess.Popen([sys.executable, '-c', {burn_and_wait!r}],"
               " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
               "child.stdout.readline()\nprint(child.pid, flush=True)\ninput()\nchild.communicate(b'end')\n")
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as parent:
        assert parent.stdin and parent.stdout
        child = int(parent.stdout.readline())
        assert process_tree(parent.pid) == [parent.pid, child]
        assert 0.55 < cpu_seconds(parent.pid) < 3
        parent.communicate("end\n")


def test_the_bench_of_aggregation_compares_the_figures_of_both(tmp_path: Path) -> None:
    outcome = run_aggregating(tmp_path, Path(sys.executable), Path(sys.executable), 0.05)
    assert outcome["problems"] == []
    assert [row["compared"] for row in outcome["rows"]] == [1000] * len(METHODS)
    assert [len(row) for row in aggregating_rows(outcome)] == [5] * len(METHODS)
