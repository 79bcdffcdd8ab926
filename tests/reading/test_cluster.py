"""A cluster of real local stores, some of which fail."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from carbonpy.catalog import Catalog
from carbonpy.errors import CarbonError, QueryError
from carbonpy.reading.cluster import ClusterStore
from carbonpy.reading.local import LocalStore
from carbonpy.reading.store import Info, Node
from carbonpy.retention import parse_retentions

NOW = 1_700_000_040
WINDOW = (NOW - 180, NOW)


class TimeLimit(Exception):
    """What a check raises."""


class Member(LocalStore):
    """A store whose points are all cached, and which may be out of order."""

    def __init__(self, directory, points, retentions="60s:1h"):
        self.points = points
        self.error = None
        self.catalog = Catalog(f"{directory}/catalog.sqlite")
        self.catalog.add(points)
        super().__init__(
            self.catalog,
            self.peek,
            f"{directory}/whisper",
            known=points.__contains__,
            schema_for=lambda metric: (parse_retentions(retentions), 0.0, "max"),
        )

    def peek(self, metric):
        if self.error is not None:
            raise self.error
        points = sorted(self.points.get(metric, {}).items())
        return np.array([t for t, _ in points], dtype=np.uint32), np.array([v for _, v in points], dtype=np.float64)

    def find(self, pattern, leaves_only=False, since=None):
        if self.error is not None:
            raise self.error
        return super().find(pattern, leaves_only, since)


@pytest.fixture
def members(tmp_path):
    members = [
        Member(tmp_path / "one", {"a.b": {NOW: 1.0}, "a.c": {NOW: 5.0}, "x;dc=1": {NOW: 1.0}, "y;dc=1": {NOW: 1.0}}),
        Member(tmp_path / "two", {"a.b": {NOW - 60: 7.0, NOW: 2.0}, "a.d": {NOW: 3.0}, "x;dc=2": {NOW: 1.0}}),
        Member(tmp_path / "three", {"a.d": {NOW: 3.0}, "x;dc=1": {NOW: 1.0}}, "10s:1h"),
    ]
    yield members
    for member in members:
        member.catalog.close()


@pytest.fixture
def said():
    return []


@pytest.fixture
def cluster(members, said):
    with ThreadPoolExecutor(3) as executor:

        def parallel(calls):
            futures = [executor.submit(call) for call in calls]
            return [future.exception() or future.result() for future in futures]

        yield ClusterStore(members, parallel, said.append)


def values(series):
    return [None if math.isnan(value) else value for value in series.values.tolist()]


def test_what_stores_know_together_is_the_answer(cluster):
    fetched = cluster.fetch_readings([("a.*", *WINDOW), ("a.c", *WINDOW), ("no", *WINDOW)], NOW)
    series = fetched.series[("a.*", *WINDOW)]
    assert [(one.name, one.step) for one in series] == [("a.b", 60), ("a.c", 60), ("a.d", 10)]
    assert values(series[0])[-2:] == [7.0, 1.0]
    assert [one.name for one in fetched.series[("a.c", *WINDOW)]] == ["a.c"]
    assert fetched.series[("no", *WINDOW)] == []
    assert len(fetched.partial) == 1
    assert fetched.partial[0].startswith("a.d: stores answered with steps")
    assert fetched.info("a.b") == Info("max", 0.0, parse_retentions("60s:1h"))


def test_a_dead_store_is_named_and_costs_its_own_metrics(cluster, members, said):
    members[0].error = CarbonError("store one is out of order")
    fetched = cluster.fetch_readings([("a.*", *WINDOW)], NOW)
    assert [one.name for one in fetched.series[("a.*", *WINDOW)]] == ["a.b", "a.d"]
    assert fetched.partial[0] == "store one is out of order"
    assert cluster.find("a.*") == [Node("a.b", True), Node("a.d", True)]
    assert said == ["store one is out of order"] * 2


def test_that_no_store_answers_is_an_error(cluster, members):
    for member in members:
        member.error = OSError("unplugged")
    with pytest.raises(CarbonError, match="no store answered: unplugged; unplugged"):
        cluster.fetch_readings([("a.*", *WINDOW)], NOW)
    with pytest.raises(CarbonError, match="no store answered: unplugged; unplugged"):
        cluster.find("*")
    with pytest.raises(CarbonError, match="no store answered: unplugged"):
        ClusterStore(members[:1]).fetch_readings([("a.b", *WINDOW)], NOW)


def test_what_the_client_got_wrong_and_what_a_check_raises_is_raised(cluster):
    with pytest.raises(QueryError, match="Invalid tagspec"):
        cluster.fetch_readings([("seriesByTag('bogus')", *WINDOW)], NOW)
    with pytest.raises(QueryError, match="Invalid tagspec"):
        cluster.find_series(["bogus"])
    counted = []

    def check(points):
        counted.append(points)
        if len(counted) == 3:
            raise TimeLimit

    with pytest.raises(TimeLimit):
        cluster.fetch_readings([("a.*", *WINDOW)], NOW, check)


def test_names_of_all_stores_are_one_tree(cluster):
    assert cluster.metrics() == ["a.b", "a.c", "a.d", "x;dc=1", "x;dc=2", "y;dc=1"]
    assert cluster.find("a") == [Node("a", False)]
    assert cluster.info(["a.d", "none"]) == {"a.d": Info("max", 0.0, parse_retentions("60s:1h"))}


def test_tags_of_all_stores_are_one_index(cluster, members):
    assert cluster.find_series(["name=x"]) == ["x;dc=1", "x;dc=2"]
    assert cluster.find_series(["name=x"], 1) == ["x;dc=1"]
    assert [row["tag"] for row in cluster.tags()] == ["dc", "name"]
    assert [row["tag"] for row in cluster.tags("n", 1)] == ["name"]
    tag = cluster.tag("dc")
    assert [(row["value"], row["count"]) for row in tag["values"]] == [("1", 2), ("2", 1)]
    assert tag["id"] == members[0].tag("dc")["id"]
    assert cluster.tag("none") is None
    assert cluster.auto_complete_tags([]) == ["dc", "name"]
    assert cluster.auto_complete_values([], "dc") == ["1", "2"]
    assert cluster.auto_complete_values(["name=x"], "dc", "", 1) == ["1"]
    assert cluster.tag_series("z;b=1;a=2") == "z;a=2;b=1"
    assert cluster.tag_multi_series(["w;a=1"]) == ["w;a=1"]
    assert members[0].find_series(["a=~."]) == ["w;a=1", "z;a=2;b=1"]
    assert cluster.del_series(["w;a=1", "z;a=2;b=1"]) is True
    assert cluster.find_series(["a=~."]) == []


def test_a_cluster_has_at_least_one_store():
    with pytest.raises(ValueError, match="at least one"):
        ClusterStore([])
