"""The line that each request leaves in the log, if that is wanted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import Asked
from twisted.logger import formatEvent, globalLogPublisher

from carbonpy.web import request_log
from carbonpy.web.answer import Answer, Query
from carbonpy.web.parameters import Parameters

NOW = 1_700_000_040


@pytest.fixture
def lines():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events if event["log_namespace"] == "query"]
    globalLogPublisher.removeObserver(events.append)


def test_a_request_leaves_a_line_with_what_it_cost(tmp_path, lines):
    asked = Asked(tmp_path, log_requests=True, cache_bytes=100_000)
    asked.fill({f"a.m{i}": {NOW: 1.0} for i in range(3)})
    headers = {"X-Dashboard-Id": "7", "X-Panel-Id": "2", "X-Grafana-Org-Id": "1", "Authorization": "Basic c2VjcmV0"}
    parameters = {"target": ["sumSeries(a.*)", "a.{m0}"], "from": "-3min", "format": "json"}
    answer = asked.get("/render", headers=headers, **parameters)
    asked.get("/render", **parameters)
    asked.get("/metrics/find", query="a.*")
    asked.get("/no/such")
    first, second, third, fourth = lines()
    assert first.startswith(f"192.168.1.1 GET /render 200 {len(answer.body)} bytes 0.0000 s ")
    assert " 2 series 6 points of 3 series 9 points, fetch 0." in first
    assert first.endswith(" s org=1 dashboard=7 panel=2 from=-3min format=json sumSeries(a.*) a.{m0}")
    assert " evaluate 0." in first
    assert " write 0." in first
    assert "c2VjcmV0" not in first
    assert " cached from=-3min " in second
    assert "/metrics/find 200 " in third
    assert third.endswith(" a.*")
    assert "/no/such 404 " in fourth
    asked.catalog.close()


def test_nothing_is_logged_unless_it_is_wanted(tmp_path, lines):
    asked = Asked(tmp_path)
    asked.get("/version")
    assert lines() == []
    asked.catalog.close()


@given(st.lists(st.text(max_size=300), max_size=12), st.text(max_size=300), st.text(max_size=300))
def test_a_line_is_one_line_of_bounded_length_whatever_was_asked(targets, path, dashboard):
    query = Query(
        "/" + path,
        Parameters([("target", target) for target in targets] + [("from", path)]),
        headers={"x-dashboard-id": dashboard},
    )
    line = request_log.line("1.2.3.4", query, Answer([b"xy"]), 2, 0.25, False)
    assert line.isprintable()
    assert len(line) < 1_500
    assert f" 200 2 bytes 0.2500 s dashboard={dashboard[:20] if dashboard[:20].isprintable() else ''}" in line
