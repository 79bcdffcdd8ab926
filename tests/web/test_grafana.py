"""What Grafana's Graphite data source sends, in the forms of its three generations, and what it relies on.

A: Grafana 5, asked by the browser.  B: Grafana 9 to 12, asked by the browser through Grafana.  C: asked by
Grafana's server (alerting).  Its server decodes with a strict parser, so nothing but JSON will do.
"""

import json
import re

import pytest
from support.asking import Asked

NOW = 1_700_000_040
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path)
    asked.fill(
        {
            "servers.web1.cpu": {NOW - 60: 1.0, NOW: 3.0},
            "servers.web2.cpu": {NOW - 60: 2.0, NOW: float("inf")},
            "disk.used;dc=eu;rack=a1": {NOW: 5.0},
        }
    )
    yield asked
    asked.catalog.close()
    asked.events.close()


def refuse(constant):
    pytest.fail(f"{constant} is not JSON")


def strict(answer):
    assert answer.status == 200, answer.text
    return json.loads(answer.text, parse_constant=refuse)


def send(asked, path, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asked.request("POST", path, {**FORM, **named}, body.encode())


def is_frame(series):
    """What every generation makes a graph of."""
    assert set(series) == {"target", "tags", "datapoints"}
    assert all(isinstance(value, str) for value in series["tags"].values())
    for value, moment in series["datapoints"]:
        assert value is None or isinstance(value, float)
        assert isinstance(moment, int)
    return True


# ---- panels


def test_a_panel_of_generation_a_asks_for_all_its_queries_at_once(asked):
    body = (
        "target=aliasByNode(servers.*.cpu%2C%201)&target=sumSeries(servers.*.cpu)&from=-6h&until=now&format=json"
        "&maxDataPoints=1264&cacheTimeout=0"
    )
    answer = send(
        asked, "/render", body, X_Dashboard_Id="12", X_Panel_Id="2", Accept="application/json, text/plain, */*"
    )
    series = strict(answer)
    assert [one["target"] for one in series] == ["web1", "web2", "sumSeries(servers.*.cpu)"]
    assert all(map(is_frame, series))
    assert series[1]["datapoints"][-1][0] is None, "infinity is null"


def test_a_panel_of_generation_b_wraps_each_target_and_finds_it_again(asked):
    body = (
        "target=aliasSub(aliasByNode(servers.*.cpu%2C%201)%2C%20%22(%5E.*%24)%22%2C%20%22%5C1%20A%22)"
        "&target=aliasSub(servers.nosuch.cpu%2C%20%22(%5E.*%24)%22%2C%20%22%5C1%20B%22)"
        "&target=aliasSub(alias(servers.web1.cpu%2C%20'')%2C%20%22(%5E.*%24)%22%2C%20%22%5C1%20C%22)"
        f"&from={NOW - 3541}&until={NOW}&format=json&meta=true&maxDataPoints=758"
    )
    series = strict(send(asked, "/render", body, X_Dashboard_Id="12", X_Panel_Id="2", X_Panel_Plugin_Id="timeseries"))
    assert [one["target"] for one in series] == ["web1 A", "web2 A", " C"]
    assert all(map(is_frame, series))


def test_a_panel_of_generation_c_asks_with_epochs_only(asked):
    body = f"format=json&from={NOW - 600}&maxDataPoints=100&target=servers.%7Bweb1%2C%7Bweb2%7D%7D.cpu&until={NOW}"
    answer = send(asked, "/render", body, Accept_Encoding="gzip", User_Agent="Go-http-client/1.1")
    series = strict(answer)
    assert [one["target"] for one in series] == ["servers.web1.cpu", "servers.web2.cpu"]
    assert answer.headers["content-encoding"] == "gzip"


def test_no_data_is_an_empty_list_for_alerting(asked):
    answer = send(asked, "/render", f"format=json&from={NOW - 600}&target=no.such&until={NOW}")
    assert (answer.status, answer.text) == (200, "[]")


def test_series_by_tag_bring_labels(asked):
    target = "aliasSub(seriesByTag('name%3Ddisk.used'%2C%20'dc%3Deu')%2C%20%22(%5E.*%24)%22%2C%20%22%5C1%20A%22)"
    body = f"target={target}&from=-1h&until=now&format=json&maxDataPoints=100"
    (series,) = strict(send(asked, "/render", body))
    assert series["target"] == "disk.used;dc=eu;rack=a1 A"
    assert series["tags"] == {"name": "disk.used", "dc": "eu", "rack": "a1"}


def test_an_error_is_a_text_that_can_be_shown(asked):
    answer = send(asked, "/render", "target=scale(servers.*.cpu)&from=-1h&until=now&format=json")
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert "scale()" in answer.text
    assert "<" not in answer.text


def test_metric_annotations_are_a_small_render(asked):
    body = "target=removeBelowValue(servers.web1.cpu%2C2)&from=-1h&until=now&format=json&maxDataPoints=100"
    (series,) = strict(send(asked, "/render", body))
    assert [value for value, _ in series["datapoints"] if value] == [3.0]


# ---- save and test


def test_the_health_checks_of_all_generations(asked):
    assert [node["text"] for node in strict(asked.request("GET", "/metrics/find?query=*"))] == ["servers"]
    (line,) = strict(
        send(asked, "/render", "target=constantLine(100)&from=-1h&until=now&format=json&maxDataPoints=300")
    )
    assert [value for value, _ in line["datapoints"]] == [100.0] * len(line["datapoints"])
    assert len(line["datapoints"]) > 1


def test_the_version_reads_as_a_version(asked):
    for path in ("/version", "/version/"):
        assert re.fullmatch(r"1\.1\.\d+", asked.get(path).text.strip())


# ---- editors and variables


def test_the_tree_is_asked_for_in_three_ways(asked):
    old = strict(asked.request("GET", "/metrics/find?query=servers.*&from=-6h&until=now"))
    new = strict(send(asked, f"/metrics/find?from={NOW - 3600}&until={NOW}", "query=servers.*"))
    backend = strict(send(asked, "/metrics/find", f"from={NOW - 3600}&query=servers.%2A&until={NOW}"))
    assert old == new == backend
    assert [(node["text"], bool(node["expandable"])) for node in old] == [("web1", True), ("web2", True)]
    leaves = strict(send(asked, "/metrics/find", "query=servers.web1.*"))
    assert [(node["text"], node["expandable"]) for node in leaves] == [("cpu", 0)]


def test_a_variable_expands_a_query(asked):
    answer = asked.request("GET", "/metrics/expand?query=servers.*.cpu&from=-1h&until=now")
    assert strict(answer) == {"results": ["servers.web1.cpu", "servers.web2.cpu"]}


def test_the_editor_reads_the_functions(asked):
    functions = strict(asked.request("GET", "/functions"))
    known = {
        "aggFunc", "aggOrSeriesFunc", "any", "boolean", "date", "float", "integer", "intOrInf", "intOrInterval",
        "interval", "node", "nodeOrTag", "series", "seriesList", "seriesLists", "string", "tag",
    }  # fmt: skip
    for name, one in functions.items():
        assert (one["name"], isinstance(one["group"], str), isinstance(one["description"], str)) == (name, True, True)
        assert {param["type"] for param in one["params"]} <= known
    assert functions["aliasByNode"]["params"][1]["multiple"] is True


def test_tags_are_completed(asked):
    tags = "/tags/autoComplete/tags?expr=name%3Ddisk.used&tagPrefix=d&limit=10000&from=-1h&until=now"
    assert strict(asked.request("GET", tags)) == ["dc"]
    values = "/tags/autoComplete/values?expr=name%3Ddisk.used&tag=rack&valuePrefix=a&from=-1h&until=now"
    assert strict(asked.request("GET", values)) == ["a1"]
    (dc, *_) = strict(asked.request("GET", "/tags?from=-1h"))
    assert (dc["tag"], isinstance(dc["id"], int)) == ("dc", True)
    assert strict(asked.request("GET", "/tags/dc"))["values"][0]["value"] == "eu"


def test_annotations_are_events(asked):
    event = {"what": "deploy", "tags": "web eu", "when": NOW - 60, "data": "1.2"}
    asked.request("POST", "/events/", {"Content-Type": "application/json"}, json.dumps(event).encode())
    (found,) = strict(asked.request("GET", "/events/get_data?from=-6h&until=now&tags=web%20eu"))
    assert found == {"when": NOW - 60, "what": "deploy", "tags": ["web", "eu"], "data": "1.2", "id": 1}
    assert strict(asked.request("GET", f"/events/get_data?from={NOW - 30}&until={NOW}")) == []
