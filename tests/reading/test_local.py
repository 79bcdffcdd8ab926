"""The local store on real files, a real catalogue and a cache that is a dictionary."""

import gzip
import itertools
import math
import os
import random
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonpy.catalog import Catalog
from carbonpy.catalog.tree import TreeNames
from carbonpy.errors import QueryError
from carbonpy.metric import relative_path
from carbonpy.reading.local import LocalStore, Node, is_pattern, literal
from carbonpy.reading.store import Info
from carbonpy.retention import parse_retentions
from carbonpy.whisper import file as whisper_file
from carbonpy.whisper.creation import create

NOW = 1_700_000_040  # a multiple of 60
TAGGED_METRIC = "disk.used;dc=dc1;rack=a1"


class House:
    """A data directory, a catalogue and a cache, and the store over them."""

    def __init__(self, directory):
        self.data_dir = os.path.join(directory, "whisper")
        self.catalog = Catalog(os.path.join(directory, "catalog.sqlite"))
        self.cached = {}
        self.after_peek = lambda metric: None
        self.store = LocalStore(
            self.catalog,
            self.peek,
            self.data_dir,
            known=self.cached.__contains__,
            schema_for=lambda metric: (parse_retentions("60s:1h,5m:1d"), 0.0, "sum"),
        )

    def peek(self, metric):
        points = sorted(self.cached.get(metric, {}).items())
        self.after_peek(metric)
        return np.array([t for t, _ in points], dtype=np.uint32), np.array([v for _, v in points], dtype=np.float64)

    def path(self, metric, hash_only=True):
        return os.path.join(self.data_dir, relative_path(metric, hash_only))

    def write(self, metric, points, retentions="60s:1h,5m:1d", method="sum", hash_only=True):
        path = self.path(metric, hash_only)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            create(path, parse_retentions(retentions), 0.0, method)
        descriptor = os.open(path, os.O_RDWR)
        header = whisper_file.read_header(descriptor, path)
        times = sorted(points)
        whisper_file.write_points(descriptor, header, times, [float(points[t]) for t in times], NOW)
        os.close(descriptor)
        self.catalog.add([metric])

    def points(self, metric, from_time=NOW - 300, until_time=NOW, now=NOW):
        found = self.store.fetch([metric], from_time, until_time, now)
        return found[0].points() if found else None


@pytest.fixture
def house(tmp_path):
    house = House(str(tmp_path))
    yield house
    house.catalog.close()


def test_a_file_alone_answers_on_its_grid(house):
    house.write("a.b", {NOW - 120: 1, NOW: 3})
    series = house.store.fetch(["a.b"], NOW - 300, NOW, NOW)[0]
    assert (series.start, series.end, series.step) == (NOW - 240, NOW + 60, 60)
    assert series.points() == [(None, NOW - 240), (None, NOW - 180), (1, NOW - 120), (None, NOW - 60), (3, NOW)]
    assert dict(series.tags) == {"name": "a.b"}


def test_a_cached_point_wins_over_the_file(house):
    house.write("a.b", {NOW - 120: 1, NOW - 60: 2})
    house.cached["a.b"] = {NOW - 60: 20, NOW: 30, NOW - 9000: 5}
    assert house.points("a.b")[2:] == [(1, NOW - 120), (20, NOW - 60), (30, NOW)]


def test_a_coarse_slot_is_made_of_both(house):
    house.write("a.b", {NOW - 40: 1})
    house.cached["a.b"] = {NOW - 100: 2, NOW: 4}
    slots = {t: v for v, t in house.points("a.b", NOW - 7200) if v is not None}
    first = (NOW - 100) // 300 * 300
    assert set(slots) == {first, NOW // 300 * 300}
    assert sum(slots.values()) == 7


def test_a_metric_only_in_the_cache_answers_on_the_grid_its_file_will_get(house):
    house.cached["new.m"] = {NOW - 60: 1.5, NOW: 2.5}
    assert house.points("new.m")[-3:] == [(None, NOW - 120), (1.5, NOW - 60), (2.5, NOW)]
    series = house.store.fetch(["new.m"], NOW - 7200, NOW, NOW)[0]
    assert series.step == 300
    assert np.nansum(series.values) == 4.0
    assert house.points("new.m", NOW - 90 * 86400, NOW - 80 * 86400) is None


def test_a_metric_without_file_and_points_is_no_series(house):
    assert house.store.fetch(["no.such"], NOW - 300, NOW, NOW) == []
    house.write("a.b", {NOW: 1})
    assert house.points("a.b", NOW + 10, NOW + 100) is None
    assert house.points("a.b.c") is None


def test_the_cache_is_peeked_before_the_file_is_read(house):
    house.write("a.b", {NOW - 120: 1})
    house.cached["a.b"] = {NOW: 7}

    def flush(metric):  # the writer confirms between the two looks
        house.write(metric, house.cached.pop(metric, {}) or {NOW: 7})

    house.after_peek = flush
    assert house.points("a.b")[-1] == (7, NOW)


def test_tagged_metrics_are_found_under_either_file_name(house):
    house.write(TAGGED_METRIC, {NOW: 1})
    assert house.points(TAGGED_METRIC)[-1] == (1, NOW)
    house.write("x;y=z", {NOW: 2}, hash_only=False)
    series = house.store.fetch(["x;y=z"], NOW - 300, NOW, NOW)[0]
    assert series.points()[-1] == (2, NOW)
    assert dict(series.tags) == {"name": "x", "y": "z"}


def test_the_path_of_a_tagged_file_shows_the_points_of_its_metric(house):
    house.write(TAGGED_METRIC, {NOW - 60: 1})
    house.cached[TAGGED_METRIC] = {NOW: 2}
    (path,) = house.store.leaves("_tagged.*.*.*")
    series = house.store.fetch([path], NOW - 300, NOW, NOW)[0]
    assert series.name == path
    assert series.points()[-2:] == [(1, NOW - 60), (2, NOW)]


def test_a_damaged_file_costs_itself_and_not_the_cache(house):
    os.makedirs(house.data_dir)
    with open(house.path("bad"), "wb") as file:
        file.write(b"\0" * 100)
    assert house.store.fetch(["bad"], NOW - 300, NOW, NOW) == []
    house.cached["bad"] = {NOW: 5}
    assert house.points("bad")[-1] == (5, NOW)
    assert house.store.damaged == 2


def test_files_that_come_and_go_while_they_are_read_raise_nothing(house):
    house.write("a.b", {NOW - 100: 1})
    house.cached["a.b"] = {NOW: 4}
    path = house.path("a.b")
    with open(path, "rb") as file:
        whole = file.read()
    ended = threading.Event()

    def disturb():
        for turn in itertools.count():
            if ended.is_set():
                return
            with open(path, "wb") as file:
                file.write(whole[: (len(whole), 10, 200, 0)[turn % 4]])
            if turn % 3 == 0:
                os.unlink(path)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for turn in range(300):
            points = house.points("a.b", NOW - (7200 if turn % 2 else 300))
            assert points[-1] in [(4, NOW), (4, NOW // 300 * 300), (5, NOW // 300 * 300)]
    finally:
        ended.set()
        thread.join()


def test_find_knows_literal_names_that_the_catalogue_does_not_know_yet(house):
    house.write("a.b", {NOW: 1})
    house.cached["a.new"] = {NOW: 1}
    assert house.store.find("a.*") == [Node("a.b", True)]
    assert house.store.find("a.new") == [Node("a.new", True)]
    assert house.store.find("a") == [Node("a", False)]
    assert house.store.find("a.none") == []
    assert house.store.find("") == []
    assert list(house.store.metrics()) == ["a.b"]


def test_leaves_are_what_a_render_needs(house):
    house.write("a.b", {NOW: 1})
    house.write("a.c", {NOW: 1})
    house.write("a.c.d", {NOW: 1})
    assert house.store.leaves("a.*") == ["a.b", "a.c"]
    assert house.store.leaves("a.{c,b}") == ["a.b", "a.c"]
    assert house.store.leaves("anything.literal") == ["anything.literal"]
    assert house.store.leaves("...") == []


def test_patterns_and_literals_are_told_apart():
    assert [is_pattern(text) for text in ("a.b", "a.*", "a.b?", "a.[bc]", "a.{b,c}", "a;b=*")] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    assert literal(r"a\(b\).c") == "a(b).c"
    assert literal("b;z=1;a=2") == "b;a=2;z=1"
    assert literal("a\x00b") is None


def test_the_caller_may_end_the_work(house):
    for name in ("a.b", "a.c", "a.d"):
        house.write(name, {NOW: 1})
    seen = []

    def check(points):
        seen.append(points)
        if len(seen) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        house.store.fetch(["a.b", "a.none", "a.c"], NOW - 300, NOW, NOW, check)
    assert seen == [5, 0]


def test_every_unwritten_slot_is_nan_not_zero(house):
    house.cached["m"] = {NOW: 0.0}
    values = house.store.fetch(["m"], NOW - 300, NOW, NOW)[0].values
    assert [math.isnan(v) for v in values] == [True, True, True, True, False]


def test_one_plan_reads_each_metric_once_however_many_paths_mean_it(house):
    for name in ("a.b", "a.c", TAGGED_METRIC):
        house.write(name, {NOW: 1})
    peeked, checked = [], []
    house.after_peek = peeked.append
    window = (NOW - 300, NOW)
    call = "seriesByTag('dc=dc1')"
    readings = [("a.*", *window), ("a.{b,c}", *window), ("a.c", *window), ("a.b", NOW - 120, NOW), ("no", *window)]
    fetched = house.store.fetch_readings([*readings, (call, *window)], NOW, checked.append)
    assert {reading[0]: [one.name for one in series] for reading, series in fetched.series.items()} == {
        "a.*": ["a.b", "a.c"],
        "a.{b,c}": ["a.b", "a.c"],
        "a.c": ["a.c"],
        "a.b": ["a.b"],
        "no": [],
        call: [TAGGED_METRIC],
    }
    assert {one.path_expression for one in fetched.series[readings[0]]} == {"a.*"}
    assert np.shares_memory(fetched.series[readings[0]][1].values, fetched.series[readings[2]][0].values)
    assert sorted(peeked) == sorted(["a.b", "a.c", TAGGED_METRIC, "no"])
    assert sorted(checked) == [0, 2, 5, 5, 5]
    assert fetched.partial == []
    assert fetched.methods == {"a.b": "sum", "a.c": "sum", TAGGED_METRIC: "sum"}
    assert fetched.info("a.b") == Info("sum", 0.0, parse_retentions("60s:1h,5m:1d"))
    assert fetched.info("no") is None


def test_a_plan_answers_as_fetch_does_for_files_and_cache_of_any_mixture(house):
    rng = random.Random(7)
    names = [f"m{number}" for number in range(30)]
    for name in names:
        points = rng.sample(range(NOW - 9000, NOW, 7), 40)
        half = rng.randrange(41)
        if half:
            house.write(name, {t: t % 100 for t in points[:half]}, rng.choice(["60s:1h,5m:1d", "10s:5m,60s:1d"]))
        house.cached[name] = {t: float(t % 10) for t in points[half:]}
    windows = [(NOW - 300, NOW), (NOW - 8000, NOW - 100), (NOW - 100_000, NOW - 99_000)]
    fetched = house.store.fetch_readings([(name, *window) for name in names for window in windows], NOW)
    for name in names:
        for window in windows:
            alone = house.store.fetch([name], *window, NOW)
            assert [one.points() for one in fetched.series[(name, *window)]] == [one.points() for one in alone]


def test_moments_that_cannot_be_are_refused(house):
    for reading in [("a", 10**30, 10**31), ("a", -(10**30), 0)]:
        with pytest.raises(QueryError, match="no moment"):
            house.store.fetch_readings([reading], NOW)
    with pytest.raises(QueryError, match="no moment"):
        house.store.fetch_readings([("a", 0, 1)], 10**40)


def test_how_a_file_is_made_is_known_for_files_and_for_metrics_that_have_none_yet(house):
    house.write("a.b", {NOW: 1}, "10s:1h", "max")
    house.cached["new"] = {NOW: 1}
    assert house.store.info(["a.b", "new", "none"]) == {
        "a.b": Info("max", 0.0, parse_retentions("10s:1h")),
        "new": Info("sum", 0.0, parse_retentions("60s:1h,5m:1d")),
    }
    assert house.store.info(["a.b"])["a.b"].max_retention == 3600
    fetched = house.store.fetch_readings([("new", NOW - 300, NOW)], NOW)
    assert fetched.methods == {"new": "sum"}


def test_find_leaves_out_what_was_not_written_since_only_when_asked(house):
    for name in ("a.old", "a.new", "a.waiting", TAGGED_METRIC):
        house.write(name, {NOW: 1})
        os.utime(house.path(name), (NOW - 5000, NOW - 5000 if name != "a.new" else NOW - 10))
    house.cached["a.waiting"] = {NOW: 1}
    assert [node.path for node in house.store.find("a.*")] == ["a.new", "a.old", "a.waiting"]
    assert [node.path for node in house.store.find("a.*", since=NOW - 100)] == ["a.new", "a.waiting"]
    assert house.store.find("a", since=NOW - 100) == [Node("a", False)]
    assert house.store.find("a.old", since=NOW - 100) == []
    assert house.store.find("_tagged.*.*.*", since=NOW - 100) == []
    assert len(house.store.find("_tagged.*.*.*", since=NOW - 9000)) == 1


def test_a_packed_file_is_a_metric_like_others(house):
    house.write("a.b", {NOW - 7000: 3, NOW - 60: 1})
    path = house.path("a.b")
    expected = house.points("a.b", NOW - 7200)
    with open(path, "rb") as file, gzip.open(path + ".gz", "wb") as packed:
        packed.write(file.read())
    os.unlink(path)
    assert house.points("a.b", NOW - 7200) == expected
    assert house.store.find("a.b") == [Node("a.b", True)]
    house.cached["a.b"] = {NOW: 5}
    assert house.points("a.b")[-2:] == [(1, NOW - 60), (5, NOW)]
    assert house.points("a.b", NOW - 7200)[-1] == (6, NOW // 300 * 300)
    with open(path + ".gz", "r+b") as packed:
        packed.truncate(40)
    house.cached.clear()
    assert house.points("a.b") is None
    assert house.store.damaged == 1


@given(
    windows=st.lists(st.tuples(st.integers(-(1 << 39), 1 << 39), st.integers(-100, 1 << 39)), min_size=1, max_size=4),
    now=st.one_of(st.integers(NOW - 10**6, NOW + 10**6), st.integers(-(1 << 40), 1 << 40)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_window_makes_a_plan_fail_or_take_much_memory(house, windows, now):
    if not os.path.exists(house.path("a.b")):
        house.write("a.b", {NOW - 60: 1})
        house.cached["a.b"] = {NOW: 2}
        house.cached["new"] = {NOW: 3}
    readings = [("a.*", start, start + length) for start, length in windows]
    readings += [("new", start, start + length) for start, length in windows]
    fetched = house.store.fetch_readings(readings, now)
    assert fetched.series.keys() == set(readings)
    assert all(len(one) <= 300 for found in fetched.series.values() for one in found)
    assert house.store.damaged == 0


def test_a_tree_without_a_daemon_is_answered_as_it_is(house):
    house.write("a.b", {NOW: 1})
    house.write("x;dc=1", {NOW: 2}, hash_only=False)
    moments = [0.0]
    names = TreeNames(house.data_dir, clock=lambda: moments[-1])
    store = LocalStore(
        names,
        lambda metric: (np.empty(0, np.uint32), np.empty(0)),
        house.data_dir,
        known=lambda metric: False,
        schema_for=lambda metric: pytest.fail("nothing is only cached"),
    )
    window = (NOW - 120, NOW)

    def read(*paths):
        fetched = store.fetch_readings([(path, *window) for path in paths], NOW)
        return [(one.name, one.points()[-1][0]) for found in fetched.series.values() for one in found]

    assert read("a.*", "seriesByTag('dc=1')", "a.new") == [("a.b", 1.0), ("x;dc=1", 2.0)]
    house.write("a.new", {NOW: 3})
    moments.append(2.0)
    assert read("a.new", "a.*") == [("a.new", 3.0), ("a.b", 1.0), ("a.new", 3.0)]
    assert store.find("a.*", since=int(os.stat(house.path("a.b")).st_mtime) + 10_000) == []
    names.close()
