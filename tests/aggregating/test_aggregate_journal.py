"""The aggregator's journal: however a life ends, each point counts once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.journal import AggregateJournal, Restored
from carbonpy.errors import JournalError
from carbonpy.rules.aggregates import AggregateSpec

NOW = 1_700_000_000
SUM = AggregateSpec(10, "sum")


def journal(directory: Path, **chosen: float) -> AggregateJournal:
    def trouble(sentence: str) -> None:
        raise AssertionError(sentence)

    return AggregateJournal(str(directory), Aggregator(), on_trouble=trouble, **chosen)  # type: ignore[arg-type]


def take(keeping: AggregateJournal, name: bytes, *values: float, spec: AggregateSpec = SUM, at: int = 0) -> None:
    number = keeping.aggregator.buffer(name, spec)
    count = len(values)
    keeping.take(np.full(count, number, np.int32), np.full(count, NOW, np.uint32), np.array(values), NOW + at)


def figures(keeping: AggregateJournal) -> dict[str, float]:
    due = keeping.aggregator.flush()
    return {name.decode(): value for name, value in zip(due.names, due.values.tolist())}


def test_a_daemon_that_was_killed_goes_on_with_every_point(tmp_path: Path) -> None:
    killed = journal(tmp_path)
    killed.start(NOW)
    take(killed, b"a", 1.0, 2.0)
    take(killed, b"b", 4.0, spec=AggregateSpec(10, "p50"))
    take(killed, b"a", 8.0)
    again = journal(tmp_path)
    assert again.start(NOW) == Restored(0, 4, 0)
    assert figures(again) == {"a": 11.0, "b": 4.0}


def test_each_point_is_in_the_state_or_in_the_log_but_not_in_both(tmp_path: Path) -> None:
    killed = journal(tmp_path)
    killed.start(NOW)
    take(killed, b"a", 1.0)
    killed.checkpoint(NOW)
    take(killed, b"a", 2.0)
    again = journal(tmp_path)
    assert again.start(NOW) == Restored(1, 1, 0)
    take(again, b"a", 4.0)
    third = journal(tmp_path)
    assert third.start(NOW) == Restored(1, 1, 0)
    assert figures(third) == {"a": 7.0}


def test_a_clean_stop_leaves_one_state_and_an_idle_daemon_no_file_at_all(tmp_path: Path) -> None:
    idle = journal(tmp_path / "idle")
    idle.start(NOW)
    idle.look(NOW + 1000)
    idle.close(NOW)
    assert not (tmp_path / "idle").exists()
    stopped = journal(tmp_path)
    stopped.start(NOW)
    take(stopped, b"a", 1.0)
    stopped.close(NOW)
    assert os.listdir(tmp_path) == ["1.state"]
    assert journal(tmp_path).start(NOW) == Restored(1, 0, 0)


def test_a_crash_between_the_new_state_and_the_end_of_the_old_files_counts_nothing_twice(tmp_path: Path) -> None:
    killed = journal(tmp_path)
    killed.start(NOW)
    take(killed, b"a", 1.0)
    old = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    killed.checkpoint(NOW)
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    again = journal(tmp_path)
    assert again.start(NOW) == Restored(1, 0, 0)
    assert figures(again) == {"a": 1.0}


def test_a_part_of_a_state_is_nothing(tmp_path: Path) -> None:
    killed = journal(tmp_path)
    killed.start(NOW)
    take(killed, b"a", 1.0)
    (tmp_path / "1.state.part").write_bytes(b"half")
    assert journal(tmp_path).start(NOW) == Restored(0, 1, 0)


def test_a_damaged_state_is_told_and_kept_and_the_logs_are_read(tmp_path: Path) -> None:
    killed = journal(tmp_path)
    killed.start(NOW)
    take(killed, b"a", 1.0)
    killed.checkpoint(NOW)
    take(killed, b"a", 2.0)
    (tmp_path / "1.state").write_bytes(b"no state")
    told: list[str] = []
    again = AggregateJournal(str(tmp_path), Aggregator(), on_trouble=told.append)
    assert again.start(NOW) == Restored(0, 1, 0)
    assert len(told) == 1 and told[0].startswith(f"{tmp_path}/1.state: ") and (tmp_path / "1.state.damaged").exists()


@settings(deadline=None)
@given(st.data())
def test_a_log_that_is_cut_off_anywhere_gives_what_came_before(tmp_path_factory, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("log")
    killed = journal(directory)
    killed.start(NOW)
    sizes = [0]
    for value in range(8):
        take(killed, b"%d" % (value % 3), float(2**value))
        sizes.append((directory / "0.log").stat().st_size)
    cut = data.draw(st.integers(0, sizes[-1]))
    os.truncate(directory / "0.log", cut)
    whole = sum(size <= cut for size in sizes) - 1
    again = journal(directory)
    assert again.start(NOW).points == whole
    assert sum(figures(again).values()) == 2**whole - 1


def test_a_damaged_record_costs_itself(tmp_path: Path) -> None:
    killed = journal(tmp_path)
    killed.start(NOW)
    take(killed, b"a", 1.0)
    size = (tmp_path / "0.log").stat().st_size
    take(killed, b"a", 2.0)
    take(killed, b"a", 4.0)
    raw = bytearray((tmp_path / "0.log").read_bytes())
    raw[size + 20] ^= 1
    (tmp_path / "0.log").write_bytes(raw)
    again = journal(tmp_path)
    assert again.start(NOW) == Restored(0, 2, 1)
    assert figures(again) == {"a": 5.0}


def test_the_state_is_written_when_the_log_is_long_or_old(tmp_path: Path) -> None:
    keeping = journal(tmp_path, checkpoint_bytes=200, checkpoint_seconds=60)
    keeping.start(NOW)
    take(keeping, b"a", 1.0)
    keeping.look(NOW + 1)
    assert os.listdir(tmp_path) == ["0.log"]
    keeping.look(NOW + 61)
    assert os.listdir(tmp_path) == ["1.state"]
    take(keeping, b"a", *map(float, range(100)), at=61)
    keeping.look(NOW + 62)
    assert os.listdir(tmp_path) == ["2.state"]


def test_rules_that_change_begin_a_new_log_so_that_specs_of_names_are_those_of_their_points(tmp_path: Path) -> None:
    killed = journal(tmp_path)
    killed.start(NOW)
    take(killed, b"a", 1.0)
    killed.rules_changed(NOW)
    take(killed, b"a", 2.0, 3.0, spec=AggregateSpec(10, "max"))
    assert killed.aggregator.due(NOW).values.tolist() == [1.0]
    again = journal(tmp_path)
    again.start(NOW)
    assert figures(again) == {"a": 3.0}


def test_a_full_disk_costs_no_figure_and_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    keeping = AggregateJournal(str(tmp_path / "d"), Aggregator(), on_trouble=told.append)
    keeping.start(NOW)
    (tmp_path / "d").write_text("something else in the way")
    take(keeping, b"a", 1.0)
    take(keeping, b"a", 2.0)
    assert keeping.unjournaled.value == 2 and len(told) == 1 and "in memory only" in told[0]
    (tmp_path / "d").unlink()
    take(keeping, b"a", 4.0)
    keeping.look(NOW + 1)
    assert keeping.trouble == ""
    again = journal(tmp_path / "d")
    again.start(NOW)
    assert figures(again) == {"a": 7.0}


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be used for aggregates"):
        journal(tmp_path / "file").start(NOW)
