"""Trays: what is put there comes whole and in order, and no tray is written to before it is given back."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbonpy.net.children import ParentGone
from carbonpy.net.trays import TRAY, TRAYS, TrayWriter, make_memory, map_memory


@pytest.fixture
def memory() -> Iterator[memoryview]:
    fd = make_memory()
    try:
        yield map_memory(fd)
    finally:
        os.close(fd)


@pytest.fixture
def returned() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def test_whatever_the_sizes_are_the_same_bytes_come(memory: memoryview, returned: tuple[int, int]) -> None:
    source, sink = returned
    trays = TrayWriter(memory, source)
    dice = random.Random(7)
    sizes = [0, 1, TRAY - 1, TRAY, TRAY + 1, 5 * TRAY + 3, *(dice.randrange(TRAY) for _ in range(40))]
    blobs = [dice.randbytes(size) for size in sizes]
    came = []

    def take(places: Iterator[tuple[int, int]]) -> None:
        for at, size in places:
            came.append(bytes(memory[at : at + size]))
            os.write(sink, b".")

    for number, blob in enumerate(blobs):
        take(trays.put(memoryview(blob) if number % 2 else blob))
    take(trays.flush())
    take(trays.flush())
    assert b"".join(came) == b"".join(blobs)
    assert {len(piece) for piece in came[:-1]} == {TRAY}


def test_no_tray_is_filled_again_before_it_came_back(memory: memoryview, returned: tuple[int, int]) -> None:
    source, sink = returned
    trays = TrayWriter(memory, source)
    told = []
    blobs = [bytes([number + 1]) * TRAY for number in range(2 * TRAYS)]

    def fill() -> None:
        for blob in blobs:
            told.extend(trays.put(blob))

    thread = threading.Thread(target=fill)
    thread.start()
    for number in range(TRAYS):
        thread.join(0.05)
        assert len(told) == TRAYS + number and thread.is_alive()
        assert memory[number * TRAY] == number + 1
        os.write(sink, b".")
    thread.join(10)
    assert not thread.is_alive() and told == [(number % TRAYS * TRAY, TRAY) for number in range(2 * TRAYS)]


def test_what_is_forgotten_is_not_in_the_next_tray_and_costs_none(
    memory: memoryview, returned: tuple[int, int]
) -> None:
    trays = TrayWriter(memory, returned[0])
    for _ in range(2 * TRAYS):
        assert list(trays.put(b"broken off")) == []
        trays.forget()
        trays.forget()
    assert [*trays.put(b"whole"), *trays.flush()] == [(0, 5)]
    assert bytes(memory[:5]) == b"whole"


def test_a_process_that_waits_for_a_tray_hears_when_the_daemon_is_gone(
    memory: memoryview, returned: tuple[int, int]
) -> None:
    source, sink = returned
    trays = TrayWriter(memory, source)
    os.close(sink)
    with pytest.raises(ParentGone):
        for _ in range(TRAYS + 1):
            list(trays.put(bytes(TRAY)))


def test_without_memory_files_it_is_a_file_that_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fd = make_memory()
    try:
        assert os.fstat(fd).st_size == TRAY * TRAYS and not os.listdir(tmp_path)
        one, other = map_memory(fd), map_memory(fd)
        one[5:9] = b"seen"
        assert bytes(other[5:9]) == b"seen"
    finally:
        os.close(fd)
