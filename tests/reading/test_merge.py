"""Merging against the whisper package: the answer is the one the file gives once the points are written."""

import math
import os
import tempfile

import numpy as np
import whisper
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carbonpy.reading.merge import Recipe, grid, merge
from carbonpy.retention import Archive
from carbonpy.series.series import Series
from carbonpy.whisper.layout import METHOD_CODES

NOW = 1_700_000_123
ARCHIVES = [
    [(10, 60)],
    [(10, 30), (60, 30)],
    [(1, 60), (10, 30), (60, 20)],
    [(5, 12), (60, 3), (180, 2)],
]


def whisper_values(path, from_time, until_time, step=None, now=NOW):
    answer = whisper.fetch(path, from_time, until_time, now=now, archiveToSelect=step)
    return answer[0], np.array([math.nan if v is None else v for v in answer[1]])


def reader(path, archives):
    def read(index, start, end):
        step = archives[index].step
        span, values = whisper_values(path, start - step, end - step, step, now=end)
        assert span == (start, end, step)
        return values

    return read


def columns(points):
    """(timestamps, values) as a cache gives them: ascending by time."""
    return np.array([t for t, _ in points], dtype=np.uint32), np.array([v for _, v in points], dtype=np.float64)


def in_directory(name="m.wsp"):
    return os.path.join(tempfile.mkdtemp(prefix="merge-"), name)


@st.composite
def cases(draw):
    archives = draw(st.sampled_from(ARCHIVES))
    longest = archives[-1][0] * archives[-1][1]
    ages = st.integers(-longest // 3, longest + 20)
    points = st.lists(st.tuples(ages, st.integers(-20, 20).map(float)), max_size=40, unique_by=lambda p: p[0])
    return (
        archives,
        draw(st.sampled_from(sorted(METHOD_CODES))),
        draw(st.sampled_from([0.0, 0.2, 0.5, 1.0])),
        sorted((NOW - age, value) for age, value in draw(points)),
        sorted((NOW - age, value) for age, value in draw(points)),
        draw(st.integers(1, longest + 50)),
        draw(st.integers(0, 100)),
    )


@settings(max_examples=150, deadline=None)
@given(cases())
# Two coarse slots, one of them in the future, have the same place in the ring.
@example((ARCHIVES[2], "absmax", 0.0, [], [(1_700_000_000 + t, 0.0) for t in (99, 119, 123, 130, 390)], 61, 28))
def test_the_answer_is_that_of_the_file_after_the_write(case):
    archives, method, xff, stored, cached, reach, width = case
    path = in_directory()
    whisper.create(path, archives, xff, method)
    if stored:
        whisper.update_many(path, stored, now=NOW)
    from_time, until_time = NOW - reach, min(NOW, NOW - reach + width)
    reached = grid([Archive(*a) for a in archives], from_time, until_time, NOW)
    before = whisper.fetch(path, from_time, until_time, now=NOW)
    assert (before is None) == (reached is None)
    if reached is None:
        return
    level, span = reached
    assert before[0] == tuple(span)
    recipe = Recipe([Archive(*a) for a in archives], METHOD_CODES[method], whisper.info(path)["xFilesFactor"])
    values = whisper_values(path, from_time, until_time)[1]
    merged = merge(recipe, level, span, values, *columns(cached), NOW, reader(path, recipe.archives))
    if cached:
        whisper.update_many(path, cached, now=NOW)
    expected = whisper_values(path, from_time, until_time)[1]
    assert Series("m", *span, merged).points() == Series("m", *span, expected).points()
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


def test_half_a_coarse_slot_in_the_cache_does_not_replace_the_half_on_disk():
    recipe = Recipe([Archive(60, 60), Archive(300, 100)], METHOD_CODES["sum"], 0.0)
    span = grid(recipe.archives, NOW - 7200, NOW, NOW)[1]
    slot = span.end - 300  # the slot that now falls in, two minutes old
    on_disk = {slot: 1.0, slot + 60: 2.0}

    def read(index, start, end):
        return np.array([on_disk.get(t, math.nan) for t in range(start, end, 60)])

    stored = np.full(span.count, math.nan)
    stored[-1] = 3.0
    merged = merge(recipe, 1, span, stored, *columns([(slot + 120, 4.0)]), NOW, read)
    assert merged[-1] == 7.0
    assert stored[-1] == 3.0


def test_a_question_out_of_reach_has_no_grid():
    archives = [Archive(60, 60)]
    assert grid(archives, NOW + 1, NOW + 60, NOW) is None
    assert grid(archives, NOW - 9000, NOW - 8000, NOW) is None
    assert grid(archives, NOW - 9000, NOW + 500, NOW) is not None
