"""/events over a connection in memory: posting, finding, the pages for people."""

import json

import pytest
from support.asking import Asked

NOW = 1_700_000_040


def post(asked, event, path="/events/"):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return asked.request("POST", path, {"Content-Type": "application/json"}, body)


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path)
    post(asked, {"what": "deploy", "tags": ["a", "b"], "when": NOW - 600, "data": "v1"})
    post(asked, {"what": "reboot", "tags": "b c", "when": NOW - 60}, "/events")
    yield asked
    asked.catalog.close()
    asked.events.close()


DEPLOY = {"when": NOW - 600, "what": "deploy", "data": "v1", "tags": ["a", "b"], "id": 1}
REBOOT = {"when": NOW - 60, "what": "reboot", "data": "", "tags": ["b", "c"], "id": 2}


def test_an_event_is_posted_without_an_answer_and_found(asked):
    answer = post(asked, {"what": "now"})
    assert (answer.status, answer.body) == (200, b"")
    found = asked.get("/events/get_data")
    assert found.content_type == "application/json"
    assert found.json == [DEPLOY, REBOOT, {"when": NOW, "what": "now", "data": "", "tags": [], "id": 3}]


def test_events_are_found_by_all_or_one_of_their_tags(asked):
    assert asked.get("/events/get_data", tags="b").json == [DEPLOY, REBOOT]
    assert asked.get("/events/get_data/", tags="a b").json == [DEPLOY]
    assert asked.get("/events/get_data", tags="a c", set="union").json == [DEPLOY, REBOOT]
    assert asked.get("/events/get_data", tags="a c", set="intersection").json == []
    assert asked.get("/events/get_data", tags="nosuch").json == []


def test_both_ends_count_and_times_are_words(asked):
    assert asked.get("/events/get_data", **{"from": "-10min", "until": "-10min"}).json == [DEPLOY]
    assert asked.get("/events/get_data", **{"from": str(NOW - 599), "until": "now"}).json == [REBOOT]
    assert asked.get("/events/get_data", **{"from": "-1h", "now": str(NOW - 600)}).json == [DEPLOY]
    assert asked.get("/events/get_data", until="22:05_20231114", tz="UTC").json == [DEPLOY]
    assert asked.get("/events/get_data", until="22:05_20231114", tz="Asia/Tokyo").json == []
    wrapped = asked.get("/events/get_data", jsonp="f", **{"from": "-2min"})
    assert (wrapped.content_type, wrapped.text) == ("text/javascript", f"f({json.dumps([REBOOT])})")


def test_one_event_for_programs_and_for_people(asked):
    one = asked.get("/events/1/", headers={"Accept": "application/json"})
    assert one.json == {"id": 1, "when": "2023-11-14T22:04:00Z", "what": "deploy", "data": "v1", "tags": ["a", "b"]}
    page = asked.get("/events/1")
    assert (page.content_type, "2023-11-14T22:04:00Z" in page.text) == ("text/html; charset=utf-8", True)
    for path in ("/events/77/", "/events/x", "/events/99999999999999999999", "/events/-1"):
        missing = asked.get(path)
        assert (missing.status, missing.json) == (404, {"error": "Event matching query does not exist"})


def test_the_list_escapes_everything(asked):
    evil = "<script>alert(1)</script>\"'&"
    post(asked, {"what": evil, "tags": [evil], "data": evil})
    for path in ("/events/", "/events/3"):
        page = asked.get(path)
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text
    assert asked.get("/events").text.index("script") < asked.get("/events").text.index("reboot"), "newest first"
    assert asked.get("/events/get_data").content_type == "application/json"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "must be an object"),
        (b"{}", '"what" must be a text'),
        (b'{"what": 5}', '"what" must be a text'),
        (b'{"what": "x", "tags": 5}', '"tags" must be an array or space-separated string'),
        (b'{"what": "x", "tags": {"a": 1}}', '"tags" must be an array or space-separated string'),
        (b'{"what": "x", "tags": [[]]}', '"tags" must be an array or space-separated string'),
        (b'{"what": "x", "when": "noon"}', '"when" must be seconds since 1970'),
        (b'{"what": "x", "when": NaN}', '"when" must be seconds since 1970'),
        (b'{"what": "x", "when": 1e400}', '"when" must be seconds since 1970'),
        (b'{"what": "x", "when": true}', '"when" must be seconds since 1970'),
        (json.dumps({"what": "x", "tags": [str(n) for n in range(300)]}).encode(), "at most 200 tags"),
    ],
)
def test_what_is_wrong_with_an_event_is_json(asked, body, words):
    answer = post(asked, body)
    assert (answer.status, answer.content_type) == (400, "application/json")
    assert words in answer.json["error"]
    assert len(asked.get("/events/get_data").json) == 2


def test_other_data_than_text_is_kept_as_json(asked):
    assert post(asked, {"what": "x", "data": {"k": [1]}, "tags": ["n", 5]}).status == 200
    assert asked.get("/events/get_data", tags="5").json[0]["data"] == '{"k": [1]}'


def test_wrong_times_are_json_too_and_wrong_methods_405(asked):
    answer = asked.get("/events/get_data", **{"from": "nope"})
    assert (answer.status, "cannot read the time 'nope'" in answer.json["error"]) == (400, True)
    assert asked.get("/events", **{"from": "nope"}).status == 400
    for method, path in (("PUT", "/events/"), ("DELETE", "/events/1")):
        refused = asked.request(method, path)
        assert (refused.status, refused.body) == (405, b"")


def test_the_function_events_draws_them(asked):
    (series,) = asked.get("/render", target="events('a')", **{"from": "-20min"}).json
    assert [t for v, t in series["datapoints"] if v] == [NOW - 600]
    (both,) = asked.get("/render", target="events('*')", **{"from": "-20min"}).json
    assert [t for v, t in both["datapoints"] if v] == [NOW - 600, NOW - 60]
