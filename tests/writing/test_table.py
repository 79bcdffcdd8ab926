"""What a writer remembers grows with the ids and is forgotten one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.whisper.errors import WhisperException
from carbonpy.whisper.layout import pack_header
from carbonpy.writing.table import NEVER, FileTable, Layout, OpenSlots, window

ONE = pack_header([(60, 100)], 0.5, "average")
FOUR = pack_header([(1, 60), (10, 60), (60, 60), (600, 60)], 0.0, "sum")


@given(st.lists(st.dictionaries(st.integers(0, 3000), st.sampled_from([b"a", b"b.c", b"d"]), max_size=20), max_size=6))
def test_every_id_keeps_its_name_and_its_row_while_the_table_grows(rounds: list[dict[int, bytes]]) -> None:
    table = FileTable()
    model: dict[int, bytes] = {}
    bases: dict[int, int] = {}
    for number, names in enumerate(rounds):
        table.learn(list(names), list(names.values()))
        model.update(names)
        for identity in names:
            bases[identity] = number + 1
            for column in table.bases:
                column[identity] = number + 1
            table.open_slots.newest[identity] = number + 1
    for identity, name in model.items():
        assert table.metrics[identity] == name
        assert table.layout[identity] == -1
        assert table.window[identity] == NEVER
        assert [int(column[identity]) for column in table.bases] == [bases[identity]] * len(table.bases)
        assert table.open_slots.newest[identity] == bases[identity]
    assert all(name == b"" for identity, name in enumerate(table.metrics) if identity not in model)
    unknown = np.setdiff1d(np.arange(len(table.bases[0])), list(model))
    assert (table.open_slots.newest[unknown] == OpenSlots.UNKNOWN).all()


def test_files_of_one_header_share_a_layout_and_more_archives_make_room() -> None:
    table = FileTable()
    table.learn([5], [b"a"])
    assert table.layout_of(ONE, "a.wsp") == table.layout_of(bytes(ONE), "b.wsp") == 0
    assert table.layout_of(FOUR, "c.wsp") == 1
    assert len(table.bases) == 4
    assert {len(column) for column in table.bases} == {len(table.bases[0])}
    layout = table.layouts[1]
    assert layout.steps == [1, 10, 60, 600]
    assert layout.retention == 60
    assert layout.size == len(FOUR) + 4 * 60 * 12


@pytest.mark.parametrize("header", [b"", b"\0" * 16, b"garbage garbage garbage", ONE[:20]])
def test_a_damaged_header_has_no_layout(header: bytes) -> None:
    table = FileTable()
    with pytest.raises(WhisperException):
        table.layout_of(header, "a.wsp")
    assert table.layouts == []


def test_a_forgotten_file_is_met_anew() -> None:
    table = FileTable()
    table.learn([3], [b"a"])
    table.layout[3] = table.layout_of(ONE, "a.wsp")
    table.window[3] = window(10**18, 10**18 + 5)
    table.forget(3)
    assert table.layout[3] == -1
    begun, ended = table.window[3]
    assert begun > ended
    table.forget(4)  # never learned: nothing is known of it anyway
    assert len(table.layout) == 4


def test_rows_of_open_slots_are_copied_out_and_put_back() -> None:
    slots = OpenSlots(4)
    slots.forget([1, 2], 0)
    part = slots.of(np.array([1, 3]))
    part.count[:] = [7, 8]
    part.newest[0] = 60
    assert slots.count.tolist() == [0, 0, 0, 0]
    slots.put(np.array([1, 3]), part)
    assert slots.count.tolist() == [0, 7, 0, 8]
    assert slots.newest.tolist() == [OpenSlots.UNKNOWN, 60, 0, OpenSlots.UNKNOWN]


def test_a_layout_knows_its_arithmetic() -> None:
    table = FileTable()
    layout: Layout = table.layouts[table.layout_of(FOUR, "a.wsp")]
    assert layout.offsets == [len(FOUR), len(FOUR) + 720, len(FOUR) + 1440, len(FOUR) + 2160]
    assert layout.header_bytes == FOUR
