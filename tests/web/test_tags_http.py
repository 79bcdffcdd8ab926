"""/tags and below over a connection in memory: graphite-web's shapes, methods and errors."""

import pytest
from support.asking import Asked

NOW = 1_700_000_040


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path)
    asked.fill(
        {
            name: {NOW: 1.0}
            for name in ("disk;dc=eu;rack=a1", "disk;dc=us;rack=a1", "cpu;dc=eu;host=<b>", "plain.metric")
        }
    )
    yield asked
    asked.catalog.close()


def test_all_tags_sorted_filtered_and_limited(asked):
    answer = asked.get("/tags/")
    assert answer.content_type == "application/json"
    assert [row["tag"] for row in answer.json] == ["dc", "host", "name", "rack"]
    assert {frozenset(row) for row in answer.json} == {frozenset(("id", "tag"))}
    assert [row["tag"] for row in asked.get("/tags", filter="r").json] == ["rack"]
    assert [row["tag"] for row in asked.get("/tags", limit="2", pretty="1").json] == ["dc", "host"]
    assert asked.get("/tags", pretty="1").text.startswith("[\n  {")


def test_one_tag_with_its_values(asked):
    tag = asked.get("/tags/dc").json
    assert (tag["tag"], [(v["value"], v["count"]) for v in tag["values"]]) == ("dc", [("eu", 2), ("us", 1)])
    assert [v["value"] for v in asked.get("/tags/dc/", filter="u", limit="1").json["values"]] == ["us"]
    unknown = asked.get("/tags/no%20such")
    assert (unknown.status, unknown.text) == (200, "null")


def test_series_by_expressions(asked):
    assert asked.get("/tags/findSeries", expr=["name=disk", "rack=~a."]).json == [
        "disk;dc=eu;rack=a1",
        "disk;dc=us;rack=a1",
    ]
    assert asked.post("/tags/findSeries", **{"expr[]": "dc!=eu", "expr": "name=disk"}).json == [
        "disk;dc=eu;rack=a1",
        "disk;dc=us;rack=a1",
    ]
    assert asked.post("/tags/findSeries", **{"expr[]": ["dc!=eu", "name=disk"]}).json == ["disk;dc=us;rack=a1"]


def test_completion(asked):
    assert asked.get("/tags/autoComplete/tags", expr="name=disk").json == ["dc", "rack"]
    assert asked.get("/tags/autoComplete/tags", tagPrefix="h", **{"from": "x", "until": "y"}).json == ["host"]
    assert asked.get("/tags/autoComplete/tags", limit="1").json == ["dc"]
    assert asked.post("/tags/autoComplete/values", tag="dc").json == ["eu", "us"]
    assert asked.get("/tags/autoComplete/values", tag="dc", valuePrefix="u", expr="name=disk").json == ["us"]
    assert asked.get("/tags/autoComplete/values", tag="no").json == []
    wrapped = asked.get("/tags/autoComplete/values", tag="dc", jsonp="f")
    assert (wrapped.content_type, wrapped.text) == ("text/javascript", 'f(["eu", "us"])')


def test_series_are_put_in_and_taken_out(asked):
    assert asked.post("/tags/tagSeries", path="mem;z=1;a=2").json == "mem;a=2;z=1"
    assert asked.post("/tags/tagMultiSeries", path=["x;b=1;a=2", "y;c=3"]).json == ["x;a=2;b=1", "y;c=3"]
    assert asked.get("/tags/findSeries", expr="a=2").json == ["mem;a=2;z=1", "x;a=2;b=1"]
    assert asked.post("/tags/delSeries", path=["x;a=2;b=1", "mem;z=1;a=2"]).json is True
    assert asked.get("/tags/findSeries", expr="a=2").json == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/tags", "GET"),
        ("DELETE", "/tags/dc", "GET"),
        ("GET", "/tags/tagSeries?path=a;b=c", "POST"),
        ("GET", "/tags/tagMultiSeries?path=a;b=c", "POST"),
        ("GET", "/tags/delSeries?path=disk;dc=eu;rack=a1", "POST"),
        ("PUT", "/tags/findSeries?expr=a=b", "GET, POST"),
        ("DELETE", "/tags/autoComplete/tags", "GET, POST"),
        ("PUT", "/tags/autoComplete/values?tag=dc", "GET, POST"),
    ],
)
def test_a_wrong_method_is_405_without_a_body(asked, method, path, allowed):
    answer = asked.request(method, path)
    assert (answer.status, answer.body, answer.headers["allow"]) == (405, b"", allowed)


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/tags/tagSeries", "no path specified"),
        ("POST", "/tags/delSeries", "no path specified"),
        ("POST", "/tags/tagSeries?path=a;b", "a;b"),
        ("GET", "/tags/findSeries", "no tag expressions specified"),
        ("GET", "/tags/findSeries?expr=bogus", "Invalid tagspec bogus"),
        ("GET", "/tags/findSeries?expr=dc!=x", "At least one tagspec must not match the empty string"),
        ("GET", "/tags/findSeries?expr=dc=~(", ""),
        ("GET", "/tags/autoComplete/values", "no tag specified"),
        ("GET", "/tags?limit=x", "parameter limit is 'x'"),
        ("GET", "/tags?limit=-1", "parameter limit is -1"),
        ("GET", "/tags?filter=(", ""),
    ],
)
def test_what_the_client_got_wrong_is_json(asked, method, path, words):
    answer = asked.request(method, path)
    assert (answer.status, answer.content_type) == (400, "application/json")
    assert list(answer.json) == ["error"]
    assert words in answer.json["error"]
