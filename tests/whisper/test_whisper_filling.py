"""Filling never changes a known value and fills what can be filled; erasing leaves nothing of its range."""

from __future__ import annotations

import math
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from support import histories

from carbonpy.whisper.filling import erase, fill
from carbonpy.whisper.image import Image, known_of, parse_image
from carbonpy.whisper.layout import Header, make_header
from carbonpy.whisper.resizing import resize
from carbonpy.whisper.storing import RingWriter

START = 1_700_000_000


def empty(header: Header) -> Image:
    return Image(header.pack() + bytes(header.file_size - len(header.pack())), "file")


def lived(random: Random, header: Header, now: int) -> bytes:
    """A file with batches of points up to `now`, none of the future."""
    image = empty(header)
    files = [(archive.step, archive.points) for archive in header.archives]
    moments = sorted(now - random.randint(0, header.max_retention) for _ in range(random.randint(1, 6)))
    for moment in (*moments, now):
        points = sorted({point for point in histories.batch(random, files, moment) if point[0] <= moment})
        points = [(stamp, value) for stamp, value in points if not math.isnan(value)]
        RingWriter(image, header).write([stamp for stamp, _ in points], [value for _, value in points], moment)
    return bytes(image.data)


def values(data: bytes) -> list[dict[int, float]]:
    known = [known_of(data, archive) for archive in parse_image(data, "file").archives]
    return [dict(zip(one.slots.tolist(), one.values.tolist())) for one in known]


def window(header: Header, level: int, now: int) -> range:
    archive = header.archives[level]
    top = now - now % archive.step
    return range(top - (archive.points - 1) * archive.step, top + 1, archive.step)


@settings(max_examples=150, deadline=None)
@given(random=st.randoms(use_true_random=False), same=st.booleans())
def test_what_is_known_stays_and_what_the_source_has_comes(random: Random, same: bool) -> None:
    now = START + random.randrange(10_000)
    method = random.choice(histories.METHODS)
    header = make_header(histories.archives(random), random.choice(histories.XFF), method)
    other = header if same else make_header(histories.archives(random), random.choice(histories.XFF), method)
    data, source = lived(random, header, now), lived(random, other, now)
    filled, count = fill(data, "b", source, "a", now)
    before, after = values(data), values(filled)
    offered = values(resize(source, "a", header, now))
    assert len(filled) == len(data)
    finest = {slot: value for slot, value in before[0].items() if slot in window(header, 0, now)}
    assert finest.items() <= after[0].items()
    for level, (old, new, offer) in enumerate(zip(before, after, offered)):
        there = set(window(header, level, now))
        assert {slot for slot in old if slot in there} <= set(new)
        if level and not (set(after[level - 1]) - set(before[level - 1])):
            changed = {slot for slot in old if slot in there and repr(new[slot]) != repr(old[slot])}
            # Only a coarse slot over one that changed is another now.
            assert not changed or level > 1
        if same:
            missing = {slot for slot in offer if slot in there} - set(new)
            # A coarser value goes into a finer archive only where nothing of its span is known.
            assert all(any(slot in values(source)[n] for n in range(level + 1, len(before))) for slot in missing)
    again, more = fill(filled, "b", source, "a", now)
    assert more == 0
    assert repr(values(again)[0]) == repr(after[0])
    assert count >= sum(len(set(new) - set(old)) for old, new in zip(before[:1], after[:1]))


def test_coarse_values_over_a_filled_gap_are_made_anew() -> None:
    header = make_header([(60, 30), (300, 24)], 0.5, "sum")
    now = START // 300 * 300 + 299
    top = now - now % 60
    whole, holed = empty(header), empty(header)
    for age in range(29, -1, -1):
        slot = top - age * 60
        RingWriter(whole, header).write([slot], [1.0], slot)
        if age not in (6, 7):
            RingWriter(holed, header).write([slot], [1.0], slot)
    filled, count = fill(bytes(holed.data), "b", bytes(whole.data), "a", now)
    assert count == 2
    assert set(values(bytes(holed.data))[1].values()) == {3.0, 5.0}
    assert set(values(filled)[1].values()) == {5.0}
    assert filled == bytes(whole.data)


def test_a_slot_out_of_reach_takes_no_place_of_a_newer_one() -> None:
    """A filled slot of an archive may lie in a coarse slot that the next archive does not reach any more."""
    header = make_header([(10, 12), (60, 3)], 0.0, "last")
    now = START // 60 * 60 + 5
    whole, holed = empty(header), empty(header)
    slots = [now - 5 - 10 * age for age in range(12)][::-1]
    RingWriter(whole, header).write(slots, [1.0] * 12, now)
    RingWriter(holed, header).write(slots[6:], [2.0] * 6, now)
    for coarse in (now - 5, now - 65, now - 125):
        RingWriter(holed, header).write_level(1, [coarse], [3.0], now)
    filled, _ = fill(bytes(holed.data), "b", bytes(whole.data), "a", now)
    assert set(values(filled)[1]) == {now - 5, now - 65, now - 125}


def test_an_empty_file_gets_everything() -> None:
    header = make_header([(60, 30), (300, 24)], 0.5, "average")
    now = START // 300 * 300 + 299
    full = empty(header)
    slots = [now - now % 60 - age * 60 for age in range(25)][::-1]
    RingWriter(full, header).write(slots, [float(n) for n in range(25)], now)
    filled, _ = fill(bytes(empty(header).data), "b", bytes(full.data), "a", now)
    assert values(filled) == values(bytes(full.data))


@settings(max_examples=150, deadline=None)
@given(random=st.randoms(use_true_random=False), begin=st.floats(0, 1), length=st.floats(0, 1))
def test_nothing_of_the_range_is_left_and_everything_else_is(random: Random, begin: float, length: float) -> None:
    now = START + random.randrange(10_000)
    header = make_header(histories.archives(random), random.choice(histories.XFF), random.choice(histories.METHODS))
    data = lived(random, header, now)
    first = int(now - header.max_retention * begin)
    last = int(first + (now - first) * length)
    left, count = erase(data, "f", first, last, now)
    finest = header.archives[0].step
    end = last - last % finest + finest
    gone = 0
    for level, (old, new) in enumerate(zip(values(data), values(left))):
        step = header.archives[level].step
        inside = {slot for slot in old if slot >= first and slot + step <= end}
        outside = {slot: value for slot, value in old.items() if slot + step <= first or slot >= end}
        gone += len(inside)
        assert not inside & set(new)
        assert not set(new) - set(old) - {slot for slot in new if slot < end and slot + step > first}
        if level == 0:
            assert new.keys() == {slot for slot in old if slot not in inside}
        kept = {slot: new.get(slot) for slot in outside}
        assert repr(kept) == repr(outside)
    assert count == gone
    if not count:
        assert left == data


def test_a_coarse_slot_that_is_cut_is_made_of_what_is_left() -> None:
    header = make_header([(60, 10), (300, 12)], 0.5, "sum")
    now = START // 300 * 300 + 299
    top = now - now % 60
    image = empty(header)
    for age in range(19, -1, -1):
        RingWriter(image, header).write([top - age * 60], [1.0], top - age * 60)
    latest = top - 240
    left, count = erase(bytes(image.data), "f", latest, latest + 60, now)
    assert count == 2
    assert values(left)[1][latest] == 3.0
    left, count = erase(bytes(image.data), "f", latest, latest + 180, now)
    assert count == 4
    assert latest not in values(left)[1]  # one of five is too few
    old = latest - 900  # whose fine values are overwritten
    left, count = erase(bytes(image.data), "f", old, old + 60, now)
    assert count == 0
    assert left == bytes(image.data)


def test_a_ring_whose_first_place_is_erased_can_still_be_read() -> None:
    header = make_header([(60, 10)])
    image = empty(header)
    top = START // 60 * 60
    slots = [top - 60 * age for age in range(5)][::-1]
    RingWriter(image, header).write(slots, [1.0, 2.0, 3.0, 4.0, 5.0], top)
    left, _ = erase(bytes(image.data), "f", slots[0], slots[1], top)
    assert values(left) == [dict(zip(slots[2:], [3.0, 4.0, 5.0]))]
    left, _ = erase(bytes(image.data), "f", 0, top, top)
    assert values(left) == [{}]
