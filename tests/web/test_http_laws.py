"""Laws of every endpoint, for whatever a client sends: an answer, no defect, no markup, strict JSON."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.asking import Asked

NOW = 1_700_000_040
PATHS = [
    "/", "/render", "/metrics/find", "/metrics/expand", "/metrics/index.json", "/functions", "/functions/sumSeries",
    "/tags", "/tags/dc", "/tags/findSeries", "/tags/autoComplete/tags", "/tags/autoComplete/values", "/tags/tagSeries",
    "/tags/delSeries", "/events", "/events/get_data", "/events/1", "/info", "/_internal/capabilities", "/version",
    "/health", "/ready", "/metrics", "/nothing", "//", "/render/x", "/events/x/y", "/tags//",
]  # fmt: skip
NAMES = [
    "target", "target[]", "from", "until", "now", "tz", "format", "rawData", "pickle", "jsonp", "pretty", "noCache",
    "cacheTimeout", "maxDataPoints", "noNullPoints", "xFilesFactor", "local", "template[x]", "template[", "graphType",
    "query", "leavesOnly", "wildcards", "automatic_variants", "position", "groupByExpr", "expr", "expr[]", "tag",
    "tagPrefix", "valuePrefix", "limit", "filter", "path", "tags", "set", "grouped", "group", "type", "_x", "maxStep",
]  # fmt: skip
EVIL = "<script>alert(1)</script>"
WORDS = """
a.* * a.b {a,b}.* sumSeries(a.*) a|scale(2) template(a.$x,x='b') seriesByTag('dc=eu') constantLine(1) events('*')
timeShift(a.b,'1d') -1 0 1 99999999999999999999 nan inf 1e400 -1h now noon UTC Europe/Berlin dc=eu dc=~.* name=~( é;x=1
json raw csv pickle msgpack dygraph rickshaw protobuf carbonapi_v3_pb treejson completer nodelist
"""
VALUES = st.one_of(
    st.sampled_from(["", "\0", EVIL, f"alias(a.b,'{EVIL}')", *WORDS.split()]),
    st.text(max_size=20),
    st.integers(-(10**12), 10**12).map(str),
)
pairs = st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), VALUES), max_size=6)
headers = st.dictionaries(
    st.sampled_from(["Accept", "Accept-Encoding", "Content-Type", "Origin", "Authorization", "X-Panel-Id"]),
    st.one_of(
        st.sampled_from(["application/x-carbonapi-v3-pb", "application/x-protobuf", "application/json", "gzip", "*/*"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    ),
    max_size=2,
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    asked = Asked(tmp_path_factory.mktemp("laws"), cache_bytes=1_000_000, cors_origins=["https://a.example.org"])
    asked.fill({"a.b": {NOW - 60: 1.0, NOW: float("inf")}, "a.c": {NOW: 2.0}, "disk;dc=eu": {NOW: 3.0}})
    asked.fill({EVIL: {NOW: 1.0}})
    asked.events.add(NOW, EVIL, [EVIL], EVIL)
    yield asked
    asked.catalog.close()
    asked.events.close()


def refuse(constant):
    pytest.fail(f"{constant} is not JSON")


def is_well_behaved(answer):
    assert answer.status in (200, 400, 401, 404, 405), answer.text
    if answer.content_type.startswith("text/html"):
        assert "<script" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status != 200 and answer.content_type.startswith("text/plain"):
        assert len(answer.text) < 2_000
        assert answer.text.count("\n") <= 1
    if answer.content_type.startswith("application/json"):
        json.loads(answer.text, parse_constant=refuse)


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]), st.sampled_from(PATHS), pairs, headers, st.booleans()
)
def test_whatever_is_asked_there_is_an_answer(asked, method, path, parameters, named, in_body):
    text = urlencode([(k.encode("utf-8", "replace"), v.encode("utf-8", "replace")) for k, v in parameters])
    if in_body and method == "POST":
        answer = asked.request(
            method, path, {**named, "Content-Type": "application/x-www-form-urlencoded"}, text.encode()
        )
    else:
        answer = asked.request(method, f"{path}?{text}", named)
    if method == "HEAD":
        assert answer.status in (200, 400, 404, 405)
    else:
        is_well_behaved(answer)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(PATHS), st.binary(max_size=200), headers)
def test_whatever_body_is_sent_there_is_an_answer(asked, path, body, named):
    is_well_behaved(asked.request("POST", path, named, body))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "name", ["target", "query", "format", "from", "jsonp", "tag", "expr", "tz", "graphType", "limit"]
)
def test_nothing_that_was_asked_comes_back_as_markup(asked, path, name):
    answer = asked.get(path, **{name: EVIL})
    if not answer.content_type.startswith(("text/plain", "application/json")):
        assert EVIL not in answer.text
    assert not answer.content_type.startswith("text/javascript")
