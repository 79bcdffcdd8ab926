"""What carbonapi asks its stores, in protocols 2 and 3: GET with a body, echoes, 404 for nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.asking import Asked

from carbonpy.web.limits import Limits
from carbonpy.wire import protobuf
from carbonpy.wire.protobuf import FetchRequest, MultiFetchRequest, decode, encode

NOW = 1_700_000_040
V3 = "application/x-carbonapi-v3-pb"
V2 = "application/x-protobuf"


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path)
    asked.fill({"srv.a.cpu": {NOW - 60: 1.5, NOW: 2.0}, "srv.b.cpu": {NOW: 3.0}, "srv.b": {NOW: 7.0}})
    yield asked
    asked.catalog.close()


def ask3(asked, path, message, accept=V3):
    return asked.request("GET", path, {"Accept": accept, "X-CTX-CarbonAPI-UUID": "u"}, encode(message))


def fetch(asked, *requests):
    return ask3(asked, "/render/?format=carbonapi_v3_pb", MultiFetchRequest(requests))


def test_a_get_with_a_body_is_answered_with_exactly_what_it_said(asked):
    answer = fetch(
        asked,
        FetchRequest("srv.a.cpu", NOW - 125, NOW + 1, path_expression="srv.*.cpu"),
        FetchRequest("srv.b.cpu", NOW - 3605, NOW - 5, path_expression="srv.*.cpu"),
        FetchRequest("no.such", NOW - 60, NOW, path_expression="no.such"),
    )
    assert (answer.status, answer.content_type) == (200, V3)
    first, second = decode(protobuf.MultiFetchResponse, answer.body).metrics
    assert (first.name, first.path_expression) == ("srv.a.cpu", "srv.*.cpu")
    assert (first.request_start_time, first.request_stop_time) == (NOW - 125, NOW + 1)
    assert (first.start_time, first.stop_time, first.step_time) == (NOW - 120, NOW + 60, 60)
    assert np.array_equal(first.values, [math.nan, 1.5, 2.0], equal_nan=True)
    assert (first.consolidation_func, first.x_files_factor) == ("sum", 0.0)
    assert (second.name, second.request_start_time, second.request_stop_time) == ("srv.b.cpu", NOW - 3605, NOW - 5)
    assert second.stop_time == second.start_time + second.step_time * len(second.values)


def test_a_name_may_be_a_pattern_and_asked_for_twice(asked):
    pattern = FetchRequest("srv.*.cpu", NOW - 60, NOW, path_expression="scale(srv.*.cpu,2)")
    answer = fetch(asked, pattern, FetchRequest("srv.a.cpu", NOW - 60, NOW), pattern)
    found = decode(protobuf.MultiFetchResponse, answer.body).metrics
    assert [(one.name, one.path_expression) for one in found] == [
        ("srv.a.cpu", "scale(srv.*.cpu,2)"),
        ("srv.b.cpu", "scale(srv.*.cpu,2)"),
        ("srv.a.cpu", "srv.a.cpu"),
        ("srv.a.cpu", "scale(srv.*.cpu,2)"),
        ("srv.b.cpu", "scale(srv.*.cpu,2)"),
    ]


def test_the_accept_header_decides_about_the_format(asked):
    message = MultiFetchRequest((FetchRequest("srv.b", NOW - 60, NOW),))
    assert ask3(asked, "/render/", message).content_type == V3
    old = asked.request("GET", "/render/?target=srv.b&from=-1min&format=json", {"Accept": V2})
    assert old.content_type == V2
    assert decode(protobuf.MultiFetchResponse2, old.body).metrics[0].name == "srv.b"
    assert asked.request("GET", "/render/?target=srv.b", {"Accept": "application/json"}).content_type == (
        "application/json"
    )


def test_version_2_flags_what_is_absent(asked):
    answer = asked.request("GET", f"/render/?format=protobuf&target=srv.a.cpu&from={NOW - 180}&until={NOW}")
    (series,) = decode(protobuf.MultiFetchResponse2, answer.body).metrics
    assert (series.start_time, series.stop_time, series.step_time) == (NOW - 120, NOW + 60, 60)
    assert (series.values.tolist(), series.is_absent.tolist()) == ([0.0, 1.5, 2.0], [True, False, False])


def test_targets_can_be_asked_for_in_version_3_too(asked):
    answer = asked.request("GET", "/render/?format=carbonapi_v3_pb&target=sumSeries(srv.*.cpu)&target=srv.b&from=-1min")
    total, plain = decode(protobuf.MultiFetchResponse, answer.body).metrics
    assert (total.name, total.values.tolist(), total.request_stop_time) == ("sumSeries(srv.*.cpu)", [5.0], NOW)
    assert (plain.path_expression, plain.request_start_time) == ("srv.b", NOW - 60)


def test_nothing_is_a_404(asked):
    assert fetch(asked, FetchRequest("no.such", NOW - 60, NOW)).status == 404
    assert asked.request("GET", "/render/?format=protobuf&target=no.such").status == 404
    assert asked.request("GET", "/metrics/find/?format=protobuf&query=no.such").status == 404
    assert ask3(asked, "/metrics/find/?format=carbonapi_v3_pb", protobuf.MultiGlobRequest(("no.*",))).status == 404
    assert asked.request("GET", "/info/?format=protobuf&target=no.such").status == 404


def test_find_in_version_3_takes_several_patterns(asked):
    message = protobuf.MultiGlobRequest(("srv.*", "no.such", "srv.a.*"))
    answer = ask3(asked, "/metrics/find/?format=carbonapi_v3_pb", message)
    assert answer.content_type == V3
    assert decode(protobuf.MultiGlobResponse, answer.body).metrics == (
        protobuf.GlobResponse(
            "srv.*",
            (
                protobuf.GlobMatch("srv.a", False),
                protobuf.GlobMatch("srv.b", False),
                protobuf.GlobMatch("srv.b", True),
            ),
        ),
        protobuf.GlobResponse("srv.a.*", (protobuf.GlobMatch("srv.a.cpu", True),)),
    )
    by_parameter = asked.request("GET", "/metrics/find/?format=carbonapi_v3_pb&query=srv.a.*")
    assert decode(protobuf.MultiGlobResponse, by_parameter.body).metrics[0].name == "srv.a.*"


def test_find_in_version_2_is_one_pattern(asked):
    answer = asked.request("GET", "/metrics/find/?format=protobuf&query=*", {"Accept": V2})
    assert answer.content_type == V2
    assert decode(protobuf.GlobResponse, answer.body) == protobuf.GlobResponse("*", (protobuf.GlobMatch("srv"),))


def test_info_says_how_a_metric_is_stored(asked):
    answer = ask3(asked, "/info/?format=carbonapi_v3_pb", protobuf.MultiMetricsInfoRequest(("srv.b", "no.such")))
    (info,) = decode(protobuf.MultiMetricsInfoResponse, answer.body).metrics
    assert info == protobuf.MetricsInfoResponse(
        "srv.b", "sum", 86400, 0.0, (protobuf.Retention(60, 60), protobuf.Retention(300, 288))
    )
    old = asked.request("GET", "/info/?format=protobuf&target=srv.b")
    assert decode(protobuf.MetricsInfoResponse, old.body) == info
    assert asked.get("/info", target="srv.b").json == {
        "name": "srv.b",
        "aggregationMethod": "sum",
        "maxRetention": 86400,
        "xFilesFactor": 0.0,
        "retentions": [
            {"secondsPerPoint": 60, "numberOfPoints": 60},
            {"secondsPerPoint": 300, "numberOfPoints": 288},
        ],
    }
    assert asked.get("/info").status == 400


def test_the_capabilities_are_told_by_the_accept_header(asked):
    answer = asked.request("GET", "/_internal/capabilities/", {"Accept": V3})
    able = decode(protobuf.CapabilityResponse, answer.body)
    assert (answer.content_type, able.supported_protocols[0]) == (V3, "carbonapi_v3_pb")
    assert able.like_splitted_requests
    assert asked.get("/_internal/capabilities").json["supportedProtocols"][0] == "carbonapi_v3_pb"


def test_auto_completion_is_a_plain_array(asked):
    asked.fill({"disk;dc=eu": {NOW: 1.0}})
    assert asked.get("/tags/autoComplete/tags", tagPrefix="d").json == ["dc"]
    assert asked.get("/tags/autoComplete/values", tag="dc", expr="name=disk").json == ["eu"]


@pytest.mark.parametrize("path", ["/render/", "/metrics/find/", "/info/"])
def test_a_body_that_cannot_be_read_is_one_sentence(asked, path):
    answer = asked.request("GET", f"{path}?format=carbonapi_v3_pb", {"Accept": V3}, b"\x0a\xffgarbage")
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert "the body cannot be read" in answer.text


def test_a_body_is_bounded(tmp_path):
    asked = Asked(tmp_path, limits=Limits(targets=3))
    assert "4 series in one request; ask for at most 3" in fetch(asked, *[FetchRequest("a")] * 4).text
    globs = ask3(asked, "/metrics/find/?format=carbonapi_v3_pb", protobuf.MultiGlobRequest(tuple("abcd")))
    assert "4 queries in one request; ask for at most 3" in globs.text
    assert "too many elements" in fetch(asked, *[FetchRequest()] * 301).text
    asked.catalog.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    asked = Asked(tmp_path_factory.mktemp("carbonapi"))
    asked.fill({"a.b": {NOW: 1.0}})
    yield asked
    asked.catalog.close()


times = st.one_of(st.integers(NOW - 90_000, NOW + 90_000), st.integers(-(2**63), 2**63 - 1))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.builds(FetchRequest, st.sampled_from(["a.b", "a.*", "", "{", "x\0"]), times, times), max_size=3))
def test_whatever_times_and_names_are_asked_for_there_is_an_answer(shared, requests):
    answer = fetch(shared, *requests)
    assert answer.status in (200, 400, 404)
    if answer.status == 200:
        for one in decode(protobuf.MultiFetchResponse, answer.body).metrics:
            assert (one.request_start_time, one.request_stop_time) in {(r.start_time, r.stop_time) for r in requests}
            assert one.stop_time == one.start_time + one.step_time * len(one.values)
