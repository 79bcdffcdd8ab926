"""/functions over a connection in memory: what Grafana's editor and graphite-web's clients read."""

import json

import pytest
from support.asking import Asked


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    asked = Asked(tmp_path_factory.mktemp("functions"))
    yield asked
    asked.catalog.close()


def refuse(constant):
    pytest.fail(f"{constant} is not JSON")


def test_all_functions_as_strict_json(asked):
    answer = asked.get("/functions")
    assert (answer.status, answer.content_type) == (200, "application/json")
    functions = json.loads(answer.text, parse_constant=refuse)
    assert "1e9999" not in answer.text
    assert len(functions) > 20
    for name, described in functions.items():
        assert set(described) == {"name", "function", "description", "module", "group", "params"}
        assert described["name"] == name
        for param in described["params"]:
            assert {"name", "type"} <= set(param) <= {
                "name", "type", "required", "default", "multiple", "options", "suggestions",
            }  # fmt: skip
    assert functions["scale"]["params"] == [
        {"name": "seriesList", "type": "seriesList", "required": True},
        {"name": "factor", "type": "float", "required": True},
    ]


def test_by_group_and_one_alone(asked):
    everything = asked.get("/functions/").json
    grouped = asked.get("/functions", grouped="true").json
    assert {name: one for group in grouped.values() for name, one in group.items()} == everything
    assert all(one["group"] == group for group, members in grouped.items() for one in members.values())
    assert set(asked.get("/functions", grouped="1", group="Alias").json) == {"Alias"}
    assert asked.get("/functions", group="Alias").json == grouped["Alias"]
    assert asked.get("/functions", group="none").json == {}
    assert asked.get("/functions/scale", pretty="1").json == everything["scale"]


def test_an_unknown_name_is_a_404_in_json(asked):
    answer = asked.get("/functions/nosuch")
    assert (answer.status, answer.json) == (404, {"error": "Function not found: nosuch"})
    assert asked.get("/functions/%3Cscript%3E").content_type == "application/json"


@pytest.mark.parametrize("path", ["/functions", "/functions/scale"])
def test_other_methods_are_405_without_a_body(asked, path):
    answer = asked.request("POST", path)
    assert (answer.status, answer.body) == (405, b"")
    assert asked.request("HEAD", path).status == 200


def test_a_function_can_be_wrapped(asked):
    answer = asked.get("/functions/scale", jsonp="f")
    assert (answer.content_type, answer.text[:11]) == ("text/javascript", 'f({"name": ')
