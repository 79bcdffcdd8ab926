"""Resizing keeps every value that it can, and what it aggregates is what the raw history says."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
import whisper
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import histories

from carbonpy.whisper import file as _file
from carbonpy.whisper.errors import CorruptWhisperFile
from carbonpy.whisper.image import Image, known_of, parse_image
from carbonpy.whisper.layout import Header, make_header
from carbonpy.whisper.resizing import changed_header, resize
from carbonpy.whisper.storing import RingWriter

START = 1_700_000_000


class Lived(NamedTuple):
    """A file with a life behind it: its bytes, all raw values that were ever written, the time."""

    data: bytes
    raw: dict[int, float]
    now: int


def empty(header: Header) -> Image:
    return Image(header.pack() + bytes(header.file_size - len(header.pack())), "file")


def live(random: Random, header: Header, *, finite: bool = True) -> Lived:
    """Batches within the reach of the finest archive, while the clock moves."""
    image, raw, now = empty(header), {}, START + random.randrange(10_000)
    archive = header.archives[0]
    for _ in range(random.randint(1, 12)):
        now += random.choice((0, archive.step, random.randint(0, archive.retention * 2)))
        top = now - now % archive.step
        slots = [top - archive.step * n for n in range(archive.points)]
        dense = random.random()
        chosen = sorted(slot for slot in slots if random.random() < dense)
        values = [histories.value(random) for _ in chosen]
        if finite:
            values = [value if math.isfinite(value) else 1.0 for value in values]
        RingWriter(image, header).write(chosen, values, now)
        raw.update(zip(chosen, values))
    return Lived(bytes(image.data), raw, now)


def archive_values(data: bytes) -> list[dict[int, float]]:
    header = parse_image(data, "file")
    answer = []
    for archive in header.archives:
        known = known_of(data, archive)
        answer.append(dict(zip(known.slots.tolist(), known.values.tolist())))
    return answer


def brute_force(fine: dict[int, float], fine_step: int, step: int, header: Header) -> dict[int, float]:
    """Aggregates of a step by loops, with the whisper package's own function."""
    grouped: dict[int, list[float]] = {}
    for slot in sorted(fine):
        grouped.setdefault(slot - slot % step, []).append(fine[slot])
    answer = {}
    for slot, values in grouped.items():
        places = [time for time in range(slot - slot % fine_step, slot + step, fine_step) if time >= slot]
        if len(values) / len(places) >= header.xff:
            neighbours = values + [0.0] * (len(places) - len(values))
            answer[slot] = whisper.aggregate(header.method_name, values, neighbours)
    return answer


def levels_of(raw: dict[int, float], raw_step: int, header: Header) -> list[dict[int, float]]:
    """What each archive would hold, had the raw history been aggregated level by level and nothing forgotten."""
    answer: list[dict[int, float]] = []
    fine, fine_step = raw, raw_step
    for archive in header.archives:
        if archive.step < raw_step:
            answer.append({})
            continue
        fine = fine if archive.step == fine_step else brute_force(fine, fine_step, archive.step, header)
        fine_step = archive.step
        answer.append(fine)
    return answer


def close(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-290)


@settings(max_examples=400, deadline=None)
@given(random=st.randoms(use_true_random=False), xff=st.sampled_from(histories.XFF), same_method=st.booleans())
def test_what_could_be_kept_is_kept_and_aggregates_are_those_of_the_raw_history(
    random: Random, xff: float, same_method: bool
) -> None:
    method = random.choice(histories.METHODS)
    old = make_header(histories.archives(random), xff, method)
    lived = live(random, old)
    new_method = method if same_method else random.choice(histories.METHODS)
    new = changed_header(
        old, histories.archives(random), random.choice((None, *histories.XFF)), None if same_method else new_method
    )
    before = archive_values(lived.data)
    after = archive_values(resize(lived.data, "file", new, lived.now))
    raw_step = old.archives[0].step
    newest = max((slot for slot in before[0]), default=0)
    covered_from = newest - old.archives[0].retention + raw_step
    history = {slot: value for slot, value in lived.raw.items() if slot >= covered_from}
    wanted = levels_of(history, raw_step, new)
    for archive, values, exact in zip(new.archives, after, wanted):
        step = archive.step
        top = lived.now - lived.now % step
        bottom = top - (archive.points - 1) * step
        assert all(bottom <= slot <= top for slot in values)
        reach = [slot for slot in exact if bottom <= slot <= top]
        # 1. Aggregates, where the finest archive still covers the slot.
        for slot in reach:
            if slot >= covered_from:
                assert close(values[slot], exact[slot]), (archive, slot)
        # 2. Nothing is lost ...
        for source, held in zip(old.archives, before):
            for slot, value in held.items():
                at = slot - slot % step
                if not bottom <= at <= top:
                    continue
                if source.step == step:
                    assert at in values
                    if step == raw_step:
                        assert values[at] == value
                elif source.step > step:
                    # ... which a finer value may stand for.
                    assert any(other in values for other in range(at, slot + source.step, step)), (source, slot)
        # 3. ... and nothing is invented: a value is an old one, or an aggregate of the slot's old values.
        for slot, value in values.items():
            if slot >= covered_from and slot in exact:
                continue
            inside = [
                other
                for held, source in zip(before, old.archives)
                for other_slot, other in held.items()
                if slot <= other_slot < slot + step
                or (source.step > step and other_slot - other_slot % step == slot)
                # An avg_zero is spread over its span, since of one value among empty slots it would become less.
                or (new.method_name == "avg_zero" and other_slot - step < slot < other_slot + source.step)
            ]
            assert inside, (archive, slot)
            if new.method_name in ("last", "max", "min", "absmax", "absmin"):
                assert value in inside
            elif new.method_name == "average" and math.isfinite(value):
                low, high = min(inside), max(inside)
                assert low <= value <= high or close(low, value) or close(high, value)


@settings(max_examples=80, deadline=None)
@given(random=st.randoms(use_true_random=False), xff=st.sampled_from(histories.XFF))
def test_the_same_archives_change_no_value_that_is_right(random: Random, xff: float) -> None:
    header = make_header(histories.archives(random), xff, random.choice(histories.METHODS))
    data, raw, now = live(random, header)
    again = resize(data, "file", header, now)
    exact = levels_of(raw, header.archives[0].step, header)
    for archive, old, new, made in zip(header.archives, archive_values(data), archive_values(again), exact):
        oldest = now - now % archive.step - (archive.points - 1) * archive.step
        kept = {slot: value for slot, value in old.items() if slot >= oldest}
        assert set(kept) <= set(new)
        for slot, value in kept.items():
            # A short ring may have lost its values before a coarser one was made of them; it is mended then.
            assert close(new[slot], value) or (archive.step > header.archives[0].step and close(new[slot], made[slot]))


def replayed(raw: dict[int, float], header: Header, now: int) -> bytes:
    image = empty(header)
    slots = sorted(raw)
    RingWriter(image, header).write(slots, [raw[slot] for slot in slots], now)
    return bytes(image.data)


@settings(max_examples=80, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_longer_file_is_as_if_it_had_always_been_long(random: Random) -> None:
    """While the finest archive has everything, new archives have what the daemon would have written to them."""
    short = make_header([(10, 60)], 0.5, random.choice(histories.METHODS))
    lived = live(random, short)
    raw = {slot: lived.raw[slot] for slot in archive_values(lived.data)[0]}
    assume(not raw or min(raw) > lived.now - 1190)
    long = changed_header(short, [(10, 120), (30, 100), (60, 200)])
    assert archive_values(resize(lived.data, "f", long, lived.now)) == archive_values(replayed(raw, long, lived.now))


def theirs(path: Path, now: int, header: Header) -> bytes:
    """What whisper-resize.py does without --aggregate, by the whisper package at one moment."""
    info = whisper.info(str(path))
    new = str(path) + ".theirs"
    archives = [(archive.step, archive.points) for archive in header.archives]
    whisper.create(new, archives, xFilesFactor=header.xff, aggregationMethod=header.method_name)
    for archive in sorted(info["archives"], key=lambda a: a["secondsPerPoint"], reverse=True):
        begin = now - archive["retention"] + archive["secondsPerPoint"]
        span, values = whisper.fetch(str(path), begin, now, now=now)
        points = [(slot, value) for slot, value in zip(range(*span), values) if value is not None]
        whisper.update_many(new, points, now=now)
    return Path(new).read_bytes()


def test_where_the_whisper_script_loses_nothing_the_bytes_are_the_same(tmp_path: Path) -> None:
    same = different = 0
    for number in range(1000):
        random = Random(number)
        old = make_header(histories.archives(random), random.choice(histories.XFF), random.choice(histories.METHODS))
        lived = live(random, old)
        new = changed_header(old, histories.archives(random) if number % 2 else None)
        if number % 4 == 0:
            new = changed_header(old, [(a.step, a.points * 2) for a in old.archives])
        path = tmp_path / f"{number}.wsp"
        path.write_bytes(lived.data)
        script, ours = theirs(path, lived.now, new), resize(lived.data, path, new, lived.now)
        if repr(archive_values(script)) == repr(archive_values(ours)):
            same += 1
            assert script == ours, number
        else:
            different += 1
    assert same > 150
    assert different > 300


def test_a_coarse_value_stays_where_the_whisper_script_lets_it_go(tmp_path: Path) -> None:
    """A longer fine archive: the script puts one coarse value among five fine slots and drops the coarse one."""
    old = make_header([(60, 10), (300, 12)], 0.5, "average")
    now = START // 300 * 300 + 130
    image = empty(old)
    for slot in range(now - 3600 - now % 60, now, 60):
        RingWriter(image, old).write([slot], [slot / 60], slot + 1)
    path = tmp_path / "file.wsp"
    path.write_bytes(image.data)
    new = changed_header(old, [(60, 30), (300, 12)])
    script, ours = archive_values(theirs(path, now, new)), archive_values(resize(bytes(image.data), path, new, now))
    before = archive_values(bytes(image.data))
    assert {slot: ours[1].get(slot) for slot in before[1]} == before[1]
    assert sum(slot not in script[1] for slot in before[1]) >= 3


def test_a_narrower_archive_is_aggregated_and_not_overwritten(tmp_path: Path) -> None:
    """The script writes fine values that no longer fit as they are into the coarse archive."""
    old = make_header([(60, 10), (300, 12)], 0.5, "sum")
    now = START // 300 * 300 + 299
    image = empty(old)
    for slot in range(now - 3600 - now % 60, now, 60):
        RingWriter(image, old).write([slot], [1.0], slot + 1)
    path = tmp_path / "file.wsp"
    path.write_bytes(image.data)
    new = changed_header(old, [(60, 5), (300, 12)])
    script, ours = archive_values(theirs(path, now, new)), archive_values(resize(bytes(image.data), path, new, now))
    assert set(ours[1].values()) == {5.0}
    assert 1.0 in script[1].values()


def test_another_method_is_made_from_the_fine_values(tmp_path: Path) -> None:
    old = make_header([(60, 10), (300, 12)], 0.5, "average")
    now = START // 300 * 300 + 299
    image = empty(old)
    for slot in range(now - 3600 - now % 60, now, 60):
        RingWriter(image, old).write([slot], [float(slot // 60 % 5)], slot + 1)
    new = changed_header(old, method="max")
    ours = archive_values(resize(bytes(image.data), "f", new, now))[1]
    assert [ours[slot] for slot in sorted(ours)][-2:] == [4.0, 4.0]
    assert [ours[slot] for slot in sorted(ours)][:-2] == [2.0] * (len(ours) - 2)


def test_a_coarse_value_can_be_spread_over_its_span() -> None:
    for method, share in (("average", 10.0), ("sum", 2.0)):
        old = make_header([(300, 12)], 0.5, method)
        now = START // 300 * 300 + 299
        slot = now - 599
        image = empty(old)
        RingWriter(image, old).write([slot], [10.0], now)
        new = changed_header(old, [(60, 60), (300, 24)])
        one = archive_values(resize(bytes(image.data), "f", new, now))
        many = archive_values(resize(bytes(image.data), "f", new, now, spread=True))
        assert one == [{slot: 10.0}, {slot: 10.0}]
        assert many == [{slot + 60 * n: share for n in range(5)}, {slot: 10.0}]


def test_points_of_the_future_stay_while_their_places_are_free() -> None:
    header = make_header([(60, 10)])
    now = START // 60 * 60
    image = empty(header)
    RingWriter(image, header).write([now - 540, now, now + 120], [1.0, 2.0, 3.0], now)
    longer = archive_values(resize(bytes(image.data), "f", changed_header(header, [(60, 20)]), now))
    assert longer == [{now - 540: 1.0, now: 2.0, now + 120: 3.0}]


def test_points_that_nothing_has_overwritten_come_back_when_the_archive_gets_longer() -> None:
    """A file that got no points for two hours: a fetch does not reach them, a longer archive does."""
    header = make_header([(60, 10)])
    image = empty(header)
    now = START // 60 * 60
    RingWriter(image, header).write([now - 60, now], [1.0, 2.0], now)
    later = now + 7200
    longer = archive_values(resize(bytes(image.data), "f", changed_header(header, [(60, 180)]), later))
    assert longer == [{now - 60: 1.0, now: 2.0}]


def test_a_file_cut_short_is_refused() -> None:
    header = make_header([(60, 10)])
    data = bytes(empty(header).data)
    with pytest.raises(CorruptWhisperFile, match="cut short: 100 bytes of the 148"):
        resize(data[:100], "f.wsp", header, START)


def test_a_resized_file_is_one_that_everybody_reads(tmp_path: Path) -> None:
    random = Random(5)
    old = make_header([(10, 60), (60, 60)], 0.3, "last")
    lived = live(random, old)
    new = changed_header(old, [(30, 40), (90, 60)])
    path = tmp_path / "file.wsp"
    path.write_bytes(resize(lived.data, "f", new, lived.now))
    assert whisper.info(str(path))["archives"][1]["points"] == 60
    theirs_answer = whisper.fetch(str(path), lived.now - 1100, lived.now, now=lived.now)
    ours = _file.fetch(str(path), lived.now - 1100, lived.now, lived.now)
    assert ours is not None
    assert theirs_answer[1] == [None if math.isnan(value) else value for value in ours.values.tolist()]


@settings(max_examples=200, deadline=None)
@given(random=st.randoms(use_true_random=False), xff=st.sampled_from(histories.XFF))
def test_late_points_future_points_and_values_that_are_no_numbers_are_kept_too(random: Random, xff: float) -> None:
    """Histories of every kind: what a file holds may be raw in a coarse archive, ahead of time, infinite or NaN."""
    files = histories.archives(random)
    old = make_header(files, xff, random.choice(histories.METHODS))
    image, now = empty(old), START + random.randrange(10_000)
    for _ in range(random.randint(1, 8)):
        now = histories.later(random, files, now)
        points = sorted(dict(histories.batch(random, files, now)).items())
        RingWriter(image, old).write([stamp for stamp, _ in points], [value for _, value in points], now)
    new = changed_header(old, histories.archives(random), random.choice((None, *histories.XFF)))
    before, after = archive_values(bytes(image.data)), archive_values(resize(bytes(image.data), "file", new, now))
    for archive, values in zip(new.archives, after):
        step = archive.step
        top = now - now % step
        bottom = top - (archive.points - 1) * step
        assert all(bottom <= slot <= top + archive.retention for slot in values)
        for level, (source, held) in enumerate(zip(old.archives, before)):
            for slot, value in held.items():
                at = slot - slot % step
                if source.step == step and slot > top:
                    # Ahead of time: there, unless something of now has the place.
                    assert slot in values or slot - archive.retention in values or slot > top + archive.retention
                elif source.step == step and at >= bottom:
                    assert at in values
                    if level == 0:
                        assert repr(values[at]) == repr(value)
                elif source.step > step and bottom <= at and slot + source.step <= now:
                    assert any(other in values for other in range(at, slot + source.step, step))
