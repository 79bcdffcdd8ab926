"""The site: which thread works, what happens when clients leave, overload, defects, compression, the small pages."""

import gzip
import html
import re

import pytest
from support.asking import Asked, Response
from twisted.logger import globalLogPublisher

from carbonpy.errors import CarbonError
from carbonpy.reading.store import Info
from carbonpy.retention import Archive
from carbonpy.web.limits import Limits
from carbonpy.web.packing import accepts_gzip

NOW = 1_700_000_040
GET = "GET {} HTTP/1.1\r\nHost: carbonpy\r\n\r\n"


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path, limits=Limits(direct_targets=2, direct_points=100, waiting=2))
    asked.fill({f"a.m{i}": {NOW: float(i)} for i in range(3)})
    yield asked
    asked.catalog.close()


@pytest.fixture
def logged():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def ask(asked, path):
    connection = asked.connect()
    connection.send(GET.format(path).encode())
    return connection


class FailingStore:
    """A store whose every answer is the same exception."""

    def __init__(self, error):
        self.error = error

    def fetch_readings(self, readings, now, check):
        raise self.error

    def find(self, pattern, leaves_only=False, since=None):
        raise self.error

    def info(self, metrics):
        raise self.error


def test_a_few_literal_targets_are_answered_at_once(asked):
    assert Response(ask(asked, "/render?target=a.m0&target=a.m1&from=-5min").received).status == 200


@pytest.mark.parametrize(
    "query", ["target=a.*&from=-5min", "target=a.m0&target=a.m1&target=a.m2", "target=a.m0&from=-1d"]
)
def test_more_than_that_goes_to_the_pool(asked, query):
    connection = ask(asked, f"/render?{query}")
    assert connection.received == b""
    asked.pool.step()
    assert Response(connection.received).status == 200


def test_a_client_that_leaves_is_forgotten(asked, logged):
    waiting, working = ask(asked, "/render?target=a.*"), ask(asked, "/metrics/find?query=*")
    waiting.close()
    asked.pool.step()
    asked.pool.step()
    working.close()
    assert waiting.received == b""
    assert asked.site.answered.as_dict() == {"200": 1, "499": 1}
    assert [event for event in logged if event["log_level"].name in ("error", "critical", "warn")] == []


def test_the_work_of_a_client_that_leaves_meanwhile_ends_soon(asked):
    asked.fill({f"b.m{i}": {NOW: 1.0} for i in range(200)})
    connection = ask(asked, "/render?target=a.*&target=b.*")
    asked.on_peek = lambda metric: connection.close()
    asked.pool.step()
    assert connection.received == b""
    assert asked.site.answered.as_dict() == {"499": 1}


def test_a_long_time_of_a_literal_target_is_not_read_in_the_reactors_thread(asked):
    connection = ask(asked, "/render?target=a.m0&from=-1h&until=now")
    assert Response(connection.received).status == 200 and not asked.pool.waiting
    asked.store.info = lambda metrics: {metrics[0]: Info("sum", 0.0, (Archive(1, 86400),))}
    connection = ask(asked, "/render?target=a.m0&from=-1d&until=now")
    assert not connection.received and len(asked.pool.waiting) == 1
    asked.pool.step()
    assert Response(connection.received).status == 200


def test_too_many_waiting_queries_are_told_to_come_back(asked):
    first, second, third = (ask(asked, "/render?target=a.*") for _ in range(3))
    refused = Response(third.received)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    asked.pool.step()
    asked.pool.step()
    assert [Response(c.received).status for c in (first, second)] == [200, 200]
    assert asked.get("/render", target="a.*").status == 200


def test_requests_on_one_connection_are_answered_in_order(asked):
    connection = asked.connect()
    connection.send(b"".join(GET.format(path).encode() for path in ("/render?target=a.*", "/version")))
    while asked.pool.waiting:
        asked.pool.step()
    assert connection.received.index(b"a.m0") < connection.received.index(b"1.1.10")
    assert connection.received.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("path", ["/render?target=a.b", "/render?target=*", "/metrics/find?query=*", "/?query=*"])
def test_a_defect_is_a_500_without_details_and_a_line_in_the_log(tmp_path, logged, path):
    asked = Asked(tmp_path, store=FailingStore(ZeroDivisionError("secret")))
    answer = asked.request("GET", path)
    assert (answer.status, answer.content_type) == (500, "text/plain; charset=utf-8")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [type(event["log_failure"].value) for event in logged if "log_failure" in event] == [ZeroDivisionError]
    asked.catalog.close()


def test_a_store_that_cannot_answer_now_is_a_503(tmp_path, logged):
    asked = Asked(tmp_path, store=FailingStore(CarbonError("/var/lib/catalog is damaged")))
    answer = asked.get("/metrics/find", query="*")
    assert answer.status == 503
    assert "/var/lib" not in answer.text
    assert any("damaged" in str(event.get("error")) for event in logged)
    asked.catalog.close()


def test_long_bodies_are_compressed_for_those_who_accept_it(asked):
    long, short = {"target": "a.m0", "from": "-1h"}, {"target": "a.m0", "from": "-1min"}
    answer = asked.get("/render", headers={"Accept-Encoding": "deflate, gzip;q=0.8"}, **long)
    plain = asked.get("/render", **long)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(answer.body) == plain.body
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in asked.get("/render", headers={"Accept-Encoding": "gzip"}, **short).headers


def test_accept_encoding_is_read_as_it_is_written():
    assert [accepts_gzip(h) for h in ("gzip", "GZIP;q=1", "br, *", "x-gzip")] == [True] * 4
    assert [accepts_gzip(h) for h in ("", "br", "gzip;q=0", "gzip; q=0.0, br", "identity")] == [False] * 5


def test_health_ready_metrics_and_version(asked):
    health = asked.get("/health")
    assert (health.content_type, health.json["ledger"]["received"]) == ("application/json", 3)
    assert asked.get("/ready").status == 200
    asked.ready = False
    assert asked.get("/ready/").status == 503
    assert asked.get("/metrics").text == "# TYPE carbonpy_received counter\ncarbonpy_received 3\n"
    assert asked.get("/metrics").content_type.startswith("text/plain; version=0.0.4")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", asked.get("/version").text)


def test_an_unknown_path_is_a_plain_404(asked):
    answer = asked.get("/<script>")
    assert (answer.status, answer.content_type) == (404, "text/plain; charset=utf-8")


def test_the_page_lists_metrics_and_escapes_them(asked):
    asked.fill({"<b>&'.x": {NOW: 1.0}, '"><script>': {NOW: 1.0}})
    page = asked.get("/")
    assert page.content_type == "text/html; charset=utf-8"
    assert "script" not in page.text.replace("&quot;&gt;&lt;script&gt;", "").replace("%22%3E%3Cscript%3E", "")
    assert "<b>" not in page.text
    assert "&lt;b&gt;&amp;&#x27;." in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*)"', page.text)]
    assert "?query=a.*" in links
    level = asked.request("GET", "/?query=a.*")
    links = [html.unescape(link) for link in re.findall(r'href="(render[^"]*)"', level.text)]
    assert "render?target=a.m0&from=-1h&format=json" in links
    for link in links:
        assert asked.request("GET", "/" + link).status == 200


def test_the_page_survives_what_people_type(asked):
    for query in ("{}", "a.{b", '"/><i>', "%", "{a,b}" * 30, "no.such"):
        answer = asked.get("/", query=query)
        assert answer.status == 200
        assert "<i>" not in answer.text
    many = {f"many.m{i}": {NOW: 1.0} for i in range(520)}
    asked.fill(many)
    assert "and 20 more" in asked.get("/", query="many.*").text


def test_answers_are_counted_by_status(asked):
    asked.get("/version")
    asked.get("/render", target="f(x)")
    assert asked.site.answered.as_dict() == {"200": 1, "400": 1}


def test_garbage_on_the_connection_raises_nothing(asked, logged):
    for garbage in (b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"\r\n" * 50):
        connection = asked.connect()
        connection.send(garbage)
        connection.close()
    answer = asked.request("GET", "/render?target=%ff%fe&from=%80")
    assert answer.status == 400
    assert asked.request("GET", "/%ff?%zz=%").status == 404
    assert [event for event in logged if "log_failure" in event] == []
