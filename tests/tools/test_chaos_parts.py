"""The judge of tools/chaos must be able to find fault: on known files, and on deaths at known times."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import whisper
from support.running import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
from clusterlib.feeding import FRACTIONS, Feeder, Load, Sent
from clusterlib.judging import Finding, judge

BASE = 1_700_000_000
PLACEMENT = [["a", "b"], ["b", "c"], ["a", "c"]]


@pytest.fixture
def load() -> Load:
    return Load("chaos", 3, BASE)


def points_of(text: bytes) -> dict[str, tuple[float, int]]:
    rows = (line.split() for line in text.decode().splitlines())
    return {name: (float(value), int(when)) for name, value, when in rows}


def trees(tmp_path: Path, load: Load, slots: list[int]) -> dict[str, Path]:
    """What the caches have when all went well, as the whisper package writes it."""
    found = {cache: tmp_path / cache for cache in "abc"}
    for number, (name, caches) in enumerate(zip(load.names, PLACEMENT)):
        for cache in caches:
            path = found[cache] / (name.replace(".", "/") + ".wsp")
            path.parent.mkdir(parents=True, exist_ok=True)
            whisper.create(str(path), [(1, 50)])
            points = [(BASE + slot, slot + number / FRACTIONS) for slot in slots]
            whisper.file_update_many(path.open("r+b"), points, now=BASE + 49)
    return found


def file_of(load: Load, tree: Path, number: int) -> str:
    return str(tree / (load.names[number].replace(".", "/") + ".wsp"))


def verdict(load: Load, found: dict[str, Path], owed: list[int], allowed: list[int]) -> Finding:
    flags = [np.isin(np.arange(10), slots) for slots in (owed, allowed)]
    return judge(load, PLACEMENT, found, *flags)


def write(path: str, slot: int, value: float) -> None:
    with open(path, "r+b") as file:
        whisper.file_update_many(file, [(BASE + slot, value)], now=BASE + 49)


def test_the_text_of_a_slot_has_each_metric_once_with_a_value_of_its_own() -> None:
    load = Load("chaos", FRACTIONS, BASE)
    for slot in (0, 7):
        points = points_of(load.text(slot))
        assert points == {name: (slot + number / FRACTIONS, BASE + slot) for number, name in enumerate(load.names)}


def test_files_in_which_everything_is_are_well(tmp_path: Path, load: Load) -> None:
    finding = verdict(load, trees(tmp_path, load, [0, 1, 2, 5]), [0, 1, 2], [0, 1, 2, 5])
    assert finding.well
    assert (finding.owed, finding.found) == (18, 24)


def test_a_missing_point_and_a_missing_file_are_found(tmp_path: Path, load: Load) -> None:
    found = trees(tmp_path, load, [0, 1, 2])
    finding = verdict(load, found, [0, 1, 2, 3], [0, 1, 2, 3])
    assert not finding.well
    assert finding.missing == 6
    assert finding.missing_at == {(cache, 3): 2 for cache in "abc"}
    Path(file_of(load, found["c"], 1)).unlink()
    finding = verdict(load, found, [0, 1, 2], [0, 1, 2])
    assert finding.missing_at == {("c", slot): 1 for slot in range(3)}


def test_a_point_that_nobody_sent_and_a_wrong_value_and_a_file_too_many_are_found(tmp_path: Path, load: Load) -> None:
    found = trees(tmp_path, load, [0, 1])
    assert verdict(load, found, [0], [0]).invented == 6
    write(file_of(load, found["a"], 2), 20, 20.0)
    assert verdict(load, found, [0, 1], [0, 1]).invented == 1
    found = trees(tmp_path / "other", load, [0, 1])
    write(file_of(load, found["a"], 0), 1, 1.5)
    finding = verdict(load, found, [0, 1], [0, 1])
    assert (finding.wrong, finding.missing, finding.well) == (1, 0, False)
    found = trees(tmp_path / "third", load, [0, 1])
    stray = Path(file_of(load, found["a"], 1))
    whisper.create(str(stray), [(1, 50)])
    assert verdict(load, found, [0, 1], [0, 1]).strays == [str(stray)]


def test_what_was_sent_before_the_last_second_of_a_relay_is_owed_and_nothing_later() -> None:
    chaos = runpy.run_path(str(REPOSITORY / "tools" / "chaos"), run_name="parts")
    feeder = Feeder(Load("chaos", 1, BASE), ("127.0.0.1", 1), 0, 1, 1.0)
    deaths = [(10.0, 10.2), (30.0, 30.2)]
    sent = {0: 8.9, 1: 9.1, 2: 10.1, 4: 20.0, 5: 29.5, 7: 31.0, 8: 40.0}
    for slot, when in sent.items():
        feeder.begun.append(slot)
        feeder.sent[slot] = Sent(when, 5.0 if when < 10.2 else 10.15 if slot == 4 else 20.0 if when < 30 else 30.5)
    feeder.begun.append(9)
    owed, allowed = chaos["owed_and_allowed"]([feeder], [deaths], 1.0)
    # Slot 4 went to a connection that a dying relay had taken; nobody died after slots 7 and 8.
    assert np.flatnonzero(owed).tolist() == [0, 7, 8]
    assert np.flatnonzero(allowed).tolist() == [0, 1, 2, 4, 5, 7, 8, 9]
