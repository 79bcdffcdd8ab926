"""/render over a connection in memory: parameters, formats, headers and errors."""

import pickle
import struct

import pytest
from support.asking import Asked

from carbonpy.web.limits import Limits

NOW = 1_700_000_040  # a multiple of 60


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path)
    asked.fill(
        {
            "a.b": {NOW - 60: 1.5, NOW: 2.0},
            "a.c": {NOW: 1e300},
            'q."x",y': {NOW: -0.1},
            "disk;dc=eu;rack=a1": {NOW: 4.0},
        }
    )
    yield asked
    asked.catalog.close()


def test_json_is_written_as_graphite_web_writes_it(asked):
    answer = asked.get("/render", target="a.b", **{"from": "-3min"}, format="json")
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert answer.text == (
        '[{"target": "a.b", "tags": {"name": "a.b"}, "datapoints": '
        f"[[null, {NOW - 120}], [1.5, {NOW - 60}], [2.0, {NOW}]]}}]"
    )


@pytest.mark.parametrize("path", ["/render", "/render/", "//render"])
@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "DELETE"])
def test_every_method_and_a_trailing_slash_are_fine(asked, path, method):
    answer = asked.request(method, f"{path}?target=a.b&from=-2min")
    assert [s["target"] for s in answer.json] == ["a.b"]


def test_head_gives_the_headers_alone(asked):
    answer = asked.request("HEAD", "/render?target=a.b&from=-2min")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 50


def test_targets_keep_their_order_and_their_duplicates(asked):
    answer = asked.get("/render", target=["a.c", "a.*", " ", "a.{c,b}"], **{"from": "-1min"})
    assert [s["target"] for s in answer.json] == ["a.c", "a.b", "a.c", "a.b", "a.c"]


def test_url_and_form_add_up_and_the_form_wins(asked):
    answer = asked.post("/render?target=a.c&from=-1d&format=raw", target="a.b", **{"from": "-2min", "format": "csv"})
    assert [line.split(",")[0] for line in answer.text.splitlines()] == ["a.c", "a.c", "a.b", "a.b"]


def test_targets_with_brackets_count_only_without_plain_ones(asked):
    assert [s["target"] for s in asked.get("/render", **{"target[]": ["a.b", "a.c"]}).json] == ["a.b", "a.c"]
    assert [s["target"] for s in asked.get("/render", target="a.b", **{"target[]": "a.c"}).json] == ["a.b"]


def test_a_multipart_form_is_understood(asked):
    body = (
        b'--XX\r\nContent-Disposition: form-data; name="target"\r\n\r\na.b\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="from"\r\nContent-Type: text/plain\r\n\r\n-2min\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="target"; filename="f"\r\n\r\na.c\r\n--XX--\r\n'
    )
    answer = asked.request("POST", "/render", {"Content-Type": "multipart/form-data; boundary=XX"}, body)
    assert [s["target"] for s in answer.json] == ["a.b"]
    broken = asked.request("POST", "/render", {"Content-Type": "multipart/form-data; boundary=XX"}, body[:-10])
    assert broken.status == 400


def test_no_data_is_an_empty_list_not_an_error(asked):
    for parameters in ({}, {"target": "no.such"}, {"target": "no.*"}, {"target": "a.b", "from": "-9d", "until": "-8d"}):
        answer = asked.get("/render", format="json", **parameters)
        assert (answer.status, answer.text) == (200, "[]")


def test_raw_csv_and_pickle(asked):
    span = {"target": ["a.b", r"q.\"x\"\,y"], "from": "-2min"}
    assert asked.get("/render", format="raw", **span).text == (
        f'a.b,{NOW - 60},{NOW + 60},60|1.5,2.0\nq."x",y,{NOW - 60},{NOW + 60},60|None,-0.1\n'
    )
    csv = asked.get("/render", format="csv", tz="Europe/Berlin", **span)
    assert csv.content_type == "text/csv"
    assert csv.text.splitlines() == [
        "a.b,2023-11-14 23:13:00,1.5",
        "a.b,2023-11-14 23:14:00,2.0",
        '"q.""x"",y",2023-11-14 23:13:00,',
        '"q.""x"",y",2023-11-14 23:14:00,-0.1',
    ]
    assert csv.text.count("\r\n") == 4
    answer = asked.get("/render", format="pickle", target="a.?", **{"from": "-2min"})
    assert answer.content_type == "application/pickle"
    assert answer.body[:2] == b"\x80\x02"
    assert pickle.loads(answer.body)[0] == {
        "name": "a.b",
        "start": NOW - 60,
        "end": NOW + 60,
        "step": 60,
        "values": [1.5, 2.0],
        "pathExpression": "a.?",
        "valuesPerPoint": 1,
        "consolidationFunc": "average",
        "xFilesFactor": 0.0,
    }


def test_msgpack_carries_the_same_list(asked):
    answer = asked.get("/render", format="msgpack", target="a.b", **{"from": "-2min"})
    assert answer.content_type == "application/x-msgpack"
    assert answer.body.startswith(b"\x91\x89\xa4name\xa3a.b\xa5start\xce" + struct.pack(">I", NOW - 60))
    assert b"\xa6values\x92\xcb" + struct.pack(">d", 1.5) in answer.body


def test_the_short_names_of_formats(asked):
    assert asked.get("/render", target="a.b", rawData="0").content_type == "text/plain"
    assert asked.get("/render", target="a.b", pickle="").content_type == "application/pickle"
    assert asked.request("GET", "/render?target=a.b&rawData").content_type == "text/plain"
    assert asked.get("/render", target="a.b", rawData="1", format="json").content_type == "application/json"
    assert asked.get("/render", target="a.b").content_type == "application/json"


def test_jsonp_wraps_json_when_a_format_is_given(asked):
    span = {"target": "no.such", "jsonp": "my.callbacks[0]"}
    answer = asked.get("/render", format="json", **span)
    assert (answer.content_type, answer.text) == ("text/javascript", "my.callbacks[0]([])")
    assert asked.get("/render", **span).text == "[]"
    refused = asked.get("/render", format="json", target="a.b", jsonp="alert(1)//")
    assert (refused.status, refused.content_type) == (400, "text/plain; charset=utf-8")


def test_what_draws_gets_its_own_json(asked):
    span = {"target": ["a.b", "a.c"], "from": "-2min"}
    dygraph = asked.get("/render", format="dygraph", **span)
    assert (dygraph.content_type, dygraph.json) == (
        "application/json",
        {"labels": ["Time", "a.b", "a.c"], "data": [[(NOW - 60) * 1000, 1.5, None], [NOW * 1000, 2.0, 1e300]]},
    )
    rickshaw = asked.get("/render", format="rickshaw", jsonp="f", **span)
    assert rickshaw.content_type == "text/javascript"
    assert rickshaw.text.startswith('f([{"target": "a.b", "datapoints": [{"x": ')
    assert asked.get("/render", format="dygraph", target="no.such").text == "{}"
    assert asked.get("/render", format="jsonp", jsonp="f", target="no.such").text == "f([])"


def test_formats_have_other_names_too(asked):
    for name in ("protobuf", "protobuf3", "pb", "pb3", "carbonapi_v2_pb", "v2_pb"):
        assert asked.get("/render", target="a.b", format=name).content_type == "application/x-protobuf"
    for name in ("carbonapi_v3_pb", "v3_pb", "proto_v3_pb"):
        assert asked.get("/render", target="a.b", format=name).content_type == "application/x-carbonapi-v3-pb"


def test_template_variables_come_from_the_request(asked):
    parameters = {"target": "template(a.$x, x='b')", "from": "-1min"}
    assert [s["target"] for s in asked.get("/render", **parameters).json] == ["a.b"]
    assert [s["target"] for s in asked.get("/render", **{"template[x]": "c"}, **parameters).json] == ["a.c"]


def test_functions_and_pipes_are_evaluated(asked):
    answer = asked.get("/render", target=["a.*|sumSeries()|scale(2)", "a.b"], **{"from": "-2min"}).json
    assert [s["target"] for s in answer] == ["scale(sumSeries(a.*),2)", "a.b"]
    assert [v for v, _ in answer[0]["datapoints"]] == [3.0, 2e300]


def test_pretty_and_no_null_points(asked):
    pretty = asked.get("/render", target="a.b", pretty="1", **{"from": "-2min"})
    assert pretty.text.startswith('[\n  {\n    "target": "a.b",\n')
    assert pretty.json == asked.get("/render", target="a.b", **{"from": "-2min"}).json
    sparse = asked.get("/render", target=["a.b", "a.c"], noNullPoints="", until="-1min", **{"from": "-10min"})
    assert sparse.json == [{"target": "a.b", "tags": {"name": "a.b"}, "datapoints": [[1.5, NOW - 60]]}]
    both = asked.get("/render", target=["a.b", "a.c"], noNullPoints="1", pretty="1", until="-1min", **{"from": "-9min"})
    assert both.json == sparse.json


def test_max_data_points_thins_json_alone(asked):
    span = {"target": "a.b", "from": "-10min"}
    assert len(asked.get("/render", maxDataPoints="3", **span).json[0]["datapoints"]) <= 3
    for ignored in ("0", "x", "-5", ""):
        assert len(asked.get("/render", maxDataPoints=ignored, **span).json[0]["datapoints"]) == 10
    assert asked.get("/render", maxDataPoints="1", format="raw", **span).text.count(",") == 12
    with_factor = asked.get("/render", maxDataPoints="1", xFilesFactor="0.9", **span).json
    assert [v for v, _ in with_factor[0]["datapoints"]] == [None]
    assert [v for v, _ in asked.get("/render", maxDataPoints="1", **span).json[0]["datapoints"]] == [1.75]


def test_now_decides_what_can_be_reached(asked):
    late = asked.get("/render", target="a.b", now=str(NOW + 7200), **{"from": str(NOW - 600), "until": str(NOW)})
    assert {t for _, t in late.json[0]["datapoints"]} == {NOW // 300 * 300, NOW // 300 * 300 - 300}


def test_swapped_ends_are_swapped_and_equal_ends_refused(asked):
    assert asked.get("/render", target="a.b", until="-2min", **{"from": "now"}).json[0]["datapoints"][-1][1] == NOW
    refused = asked.get("/render", target="a.b", until="-5min", **{"from": "-5min"})
    assert (refused.status, "the time range is empty" in refused.text) == (400, True)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"target": "nosuch(a.*)"}, "there is no function nosuch"),
        ({"target": "a.b)"}, "cannot read the target, character 4"),
        ({"target": "a.b", "format": "png"}, "format 'png' draws images, which this server does not; use one of json"),
        ({"target": "a.b", "format": "xml"}, "format 'xml' is not available; use one of json"),
        ({"target": "a.b", "format": ""}, "format '' is not available"),
        ({"target": "a.b", "from": "1h"}, "cannot read the time '1h'"),
        ({"target": "a.b", "until": "<b>"}, "cannot read the time '<b>'"),
        ({"target": "a.b", "cacheTimeout": "x"}, "parameter cacheTimeout is 'x', not a whole number"),
        ({"target": "a.b", "xFilesFactor": "x"}, "parameter xFilesFactor is 'x', not a number"),
        ({"target": "a.b", "xFilesFactor": "nan"}, "parameter xFilesFactor is 'nan', not a number"),
        ({"target": "a.b", "local": "x"}, "parameter local is 'x', not a whole number"),
        ({"target": "a.b", "graphType": "pie"}, "graphType 'pie' is not available"),
        ({"target": "a." + "{a,b}" * 30}, "alternatives"),
    ],
)
def test_what_the_client_got_wrong_is_one_sentence(asked, parameters, words):
    answer = asked.get("/render", **parameters)
    assert answer.status == 400
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert words in answer.text
    assert answer.text.count("\n") == 1
    assert len(answer.text) < 500


def test_an_escaped_parenthesis_is_part_of_a_name(asked):
    asked.fill({"x.(p)": {NOW: 1.0}})
    assert [s["target"] for s in asked.get("/render", target=r"x.\(p\)").json] == ["x.(p)"]


def test_an_unknown_time_zone_is_ignored(asked):
    for tz in ("Nowhere/Land", "../../etc/passwd", "\x00", "Europe"):
        assert asked.get("/render", target="a.b", format="csv", tz=tz, **{"from": "-1min"}).text.startswith(
            "a.b,2023-11-14 22:14:00,"
        )


def test_a_tagged_metric_is_asked_for_by_its_tags_in_any_order(asked):
    (series,) = asked.get("/render", target="disk;rack=a1;dc=eu", **{"from": "-1min"}).json
    assert series["target"] == "disk;dc=eu;rack=a1"
    assert series["tags"] == {"name": "disk", "dc": "eu", "rack": "a1"}


def test_headers_say_how_long_an_answer_may_be_kept(asked):
    kept = asked.get("/render", target="a.b").headers
    assert (kept["cache-control"], kept["expires"]) == ("max-age=60", "Tue, 14 Nov 2023 22:15:00 GMT")
    assert asked.get("/render", target="a.b", cacheTimeout="5").headers["cache-control"] == "max-age=5"
    assert asked.get("/render", target="a.b", cacheTimeout="9" * 18).headers["cache-control"] == "max-age=31536000"
    for parameters in ({"noCache": ""}, {"cacheTimeout": "0"}):
        headers = asked.get("/render", target="a.b", **parameters).headers
        assert headers["cache-control"] == "max-age=0, no-cache, no-store, must-revalidate, private"


def test_values_that_json_cannot_say_are_null(asked):
    asked.fill({"inf.m": {NOW - 60: float("inf"), NOW: float("-inf")}})
    span = {"target": "inf.m", "from": "-2min"}
    assert [v for v, _ in asked.get("/render", **span).json[0]["datapoints"]] == [None, None]
    assert asked.get("/render", pretty="1", **span).json == asked.get("/render", **span).json
    assert asked.get("/render", noNullPoints="1", **span).json == []
    assert asked.get("/render", format="raw", **span).text.endswith("|inf,-inf\n")


def test_limits_are_sentences_too(tmp_path):
    asked = Asked(tmp_path, limits=Limits(parameters=10, targets=3, series=2, points=30, body_bytes=1000))
    asked.fill({f"a.m{i}": {NOW: 1.0} for i in range(4)})
    assert "more than 10 parameters" in asked.get("/render", target=["a.b"] * 11).text
    assert "more than 10 parameters" in asked.request("GET", "/render?" + "&" * 100).text
    assert "4 targets in one request; ask for at most 3" in asked.get("/render", target=["a.b"] * 4).text
    assert "more than 2 series" in asked.get("/render", target="a.*", **{"from": "-2min"}).text
    assert "more than 30 points to be read" in asked.get("/render", target="a.m1", **{"from": "-1h"}).text
    large = asked.post("/render", target="x" * 2000)
    assert (large.status, "larger than 1000 bytes" in large.text) == (413, True)
    assert asked.get("/render", target="a.m1", **{"from": "-2min"}).status == 200
    asked.catalog.close()


def test_a_query_that_takes_too_long_is_ended(tmp_path):
    asked = Asked(tmp_path, limits=Limits(seconds=-1))
    asked.fill({"a.b": {NOW: 1.0}})
    answer = asked.get("/render", target="a.*")
    assert (answer.status, "no answer within -1 s" in answer.text) == (400, True)
    asked.catalog.close()
