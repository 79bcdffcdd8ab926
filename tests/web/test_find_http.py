"""/metrics/find, expand and index.json over a connection in memory."""

import json
import pickle

import pytest
from support.asking import Asked

from carbonpy.web.limits import Limits

NOW = 1_700_000_040


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path)
    asked.fill({name: {NOW: 1.0} for name in ("srv.h1.cpu", "srv.h1.cpu.user", "srv.h2.cpu", "x+y", "z.é")})
    yield asked
    asked.catalog.close()


def branch(text, path):
    return {"text": text, "id": path, "allowChildren": 1, "expandable": 1, "leaf": 0}


def leaf(text, path):
    return {"text": text, "id": path, "allowChildren": 0, "expandable": 0, "leaf": 1}


def test_treejson_shows_branches_then_leaves(asked):
    answer = asked.get("/metrics/find", query="*")
    assert answer.content_type == "application/json"
    assert answer.json == [branch("srv", "srv"), branch("z", "z"), leaf("x y", "x+y")]
    assert (answer.headers["pragma"], answer.headers["cache-control"]) == ("no-cache", "no-cache")


def test_treejson_shows_each_name_once_and_keeps_what_was_typed(asked):
    answer = asked.get("/metrics/find/", query="srv.*.cpu", wildcards="1")
    assert answer.json == [branch("*", "srv.*.*"), branch("cpu", "srv.*.cpu")]
    assert asked.get("/metrics/find", query="srv.*", wildcards=1).json[0] == branch("*", "srv.*")


def test_json_names_both_kinds_of_a_path(asked):
    nodes = asked.get("/metrics/find", query="srv.h1.*", format="json").json
    assert nodes == [
        {"path": "srv.h1.cpu", "is_leaf": False},
        {"path": "srv.h1.cpu", "is_leaf": True, "intervals": [{"start": 0.0, "end": float(NOW)}]},
    ]
    leaves = asked.get("/metrics/find", query="srv.h1.*", format="json", leavesOnly="1").json
    assert [node["is_leaf"] for node in leaves] == [True]


@pytest.mark.parametrize("accept", [None, "application/json", "*/*"])
def test_json_is_written_as_by_the_json_module(asked, accept):
    asked.fill({'srv."quoted"\\.é\U0001f600': {NOW: 1.0}})
    headers = {} if accept is None else {"Accept": accept}
    answer = asked.get("/metrics/find", headers=headers, query="**", format="json")
    nodes = json.loads(answer.body)
    assert len(nodes) == 12 and answer.body.decode() == json.dumps(nodes, ensure_ascii=accept != "*/*")
    assert asked.get("/metrics/find", headers=headers, query="**", format="json", pretty=1).json == nodes


def test_completer_appends_a_star(asked):
    answer = asked.get("/metrics/find", query="srv.h", format="completer", wildcards="1").json
    assert answer == {
        "metrics": [
            {"path": "srv.h1.", "name": "h1", "is_leaf": "0"},
            {"path": "srv.h2.", "name": "h2", "is_leaf": "0"},
            {"name": "*"},
        ]
    }
    variants = asked.get("/metrics/find", query="srv.h1,h2.c", format="completer", automatic_variants="1").json
    assert {node["path"] for node in variants["metrics"]} == {"srv.h1.cpu", "srv.h1.cpu.", "srv.h2.cpu"}


def test_nodelist_gives_one_level(asked):
    assert asked.get("/metrics/find", query="srv.*.*", format="nodelist", position="1").json == {"nodes": ["h1", "h2"]}
    assert asked.get("/metrics/find", query="srv.*.*", format="nodelist").json == {"nodes": ["cpu"]}
    assert asked.get("/metrics/find", query="srv.*", format="nodelist", position="7").json == {"nodes": []}


def test_pickle_and_msgpack_for_other_servers(asked):
    answer = asked.get("/metrics/find", query="srv.h2.cpu", format="pickle", local="1")
    assert answer.content_type == "application/pickle"
    assert pickle.loads(answer.body) == [{"path": "srv.h2.cpu", "is_leaf": True, "intervals": [[0.0, float(NOW)]]}]
    packed = asked.get("/metrics/find", query="srv", format="msgpack")
    assert packed.content_type == "application/x-msgpack"
    assert packed.body == b"\x91\x82\xa4path\xa3srv\xa7is_leaf\xc2"


def test_a_post_form_and_jsonp(asked):
    answer = asked.post("/metrics/find?from=-1h&until=now", query="z", jsonp="cb")
    assert answer.content_type == "text/javascript"
    assert answer.text.startswith('cb([{"text": "z"')


def test_the_accept_header_decides_about_ascii(asked):
    plain = asked.get("/metrics/find", query="z.*")
    assert r"\u00e9" in plain.text
    full = asked.get("/metrics/find", query="z.*", headers={"Accept": "*/*"})
    assert full.content_type == "application/json;charset=utf-8"
    assert '"text": "é"' in full.text


def test_nothing_found_is_an_empty_list(asked):
    assert asked.get("/metrics/find", query="no.*").text == "[]"
    assert asked.get("/metrics/find", query="a..b").text == "[]"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "missing required parameter 'query'"),
        ({"query": ""}, "required parameter 'query' is empty"),
        ({"query": "*", "format": "xml"}, "Invalid value for 'format' parameter"),
        ({"query": "*", "leavesOnly": "x"}, "parameter leavesOnly is 'x'"),
        ({"query": "*", "from": "nope"}, "cannot read the time 'nope'"),
        ({"query": "*", "from": "now", "until": "-1h"}, "lies after until"),
    ],
)
def test_what_the_client_got_wrong_is_one_sentence(asked, parameters, words):
    answer = asked.get("/metrics/find", **parameters)
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert words in answer.text


def test_expand_gives_paths(asked):
    assert asked.get("/metrics/expand", query=["srv.*", "srv.h1.cpu"]).json == {
        "results": ["srv.h1", "srv.h1.cpu", "srv.h2"]
    }
    assert asked.get("/metrics/expand/", query=["srv.*.cpu", "x*"], groupByExpr="1", leavesOnly="1").json == {
        "results": {"srv.*.cpu": ["srv.h1.cpu", "srv.h2.cpu"], "x*": ["x+y"]}
    }
    assert asked.get("/metrics/expand").json == {"results": []}


def test_the_index_is_every_metric_in_order(asked):
    assert asked.get("/metrics/index.json").json == ["srv.h1.cpu", "srv.h1.cpu.user", "srv.h2.cpu", "x+y", "z.é"]
    assert asked.get("/metrics/index.json", jsonp="f").text.startswith("f([")


def test_a_literal_name_is_found_before_the_catalogue_knows_it(asked):
    asked.cached["brand.new"] = {NOW: 1.0}
    assert asked.get("/metrics/find", query="brand.new").json == [leaf("new", "brand.new")]


def test_times_are_seen_from_the_moment_of_the_query(asked):
    answer = asked.get("/metrics/find", query="srv.h2.cpu", format="json", now="1000")
    assert answer.json[0]["intervals"] == [{"start": 0.0, "end": 1000.0}]
    late = {"query": "*", "now": "10:00_20240101", "from": "09:00_20240101", "until": "-30min", "tz": "Asia/Tokyo"}
    for path in ("/metrics/find", "/metrics/expand"):
        assert asked.get(path, **late).status == 200
        assert asked.get(path, **{**late, "until": "-2h"}).status == 400
        assert asked.get(path, query="*", now="nope").status == 400


def test_an_answer_has_a_bounded_number_of_names(tmp_path):
    asked = Asked(tmp_path, limits=Limits(names=3))
    asked.fill({f"a.m{i}": {NOW: 1.0} for i in range(4)})
    for path in ("/metrics/find", "/metrics/expand"):
        answer = asked.get(path, query="a.*")
        assert (answer.status, "4 nodes match 'a.*', of at most 3" in answer.text) == (400, True)
        assert asked.get(path, query="a.m[0-2]").status == 200
    asked.catalog.close()
