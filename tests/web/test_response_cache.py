"""Answers that are kept: what makes two queries the same, for how long, and how much memory."""

import pytest
from support.asking import Asked

from carbonpy.web.answer import Answer, Query
from carbonpy.web.parameters import Parameters
from carbonpy.web.response_cache import ResponseCache

NOW = 1_700_000_040


def query(*pairs, path="/render", headers=None, body=b""):
    return Query(path, Parameters(pairs), headers=headers or {}, body=body)


def answer(size=10, kept=60, status=200, headers=()):
    return Answer([b"x" * size], status=status, kept=kept, headers=headers)


BASE = query(("target", "a"), ("target", "b"), ("from", "-1h"))


@pytest.mark.parametrize(
    "same",
    [
        query(("from", "-1h"), ("target", "a"), ("target", "b")),
        query(("target", "a"), ("_salt", "1"), ("target", "b"), ("from", "-1h"), ("_t", "2")),
        query(("target", "a"), ("target", "b"), ("from", "-1h"), headers={"x-panel-id": "3", "accept-encoding": "br"}),
    ],
)
def test_what_does_not_change_the_answer_is_no_difference(same):
    cache = ResponseCache(10_000)
    assert cache.key(same) == cache.key(BASE)


@pytest.mark.parametrize(
    "other",
    [
        query(("target", "b"), ("target", "a"), ("from", "-1h")),
        query(("target", "a"), ("target", "b"), ("from", "-1h"), ("template[x]", "1")),
        query(("target", "a"), ("target", "b"), ("from", "-1h"), ("tz", "UTC")),
        query(("target", "a"), ("target", "b"), ("from", "-1h"), headers={"accept-encoding": "gzip"}),
        query(("target", "a"), ("target", "b"), ("from", "-1h"), headers={"accept": "application/x-protobuf"}),
        query(("target", "a"), ("target", "b"), ("from", "-1h"), body=b"x"),
    ],
)
def test_what_changes_the_answer_is_one(other):
    cache = ResponseCache(10_000)
    assert cache.key(other) not in (None, cache.key(BASE))


def test_only_renders_that_may_be_kept_have_a_key():
    cache = ResponseCache(10_000)
    assert cache.key(query(path="/metrics/find")) is None
    assert cache.key(query(("noCache", ""))) is None
    assert ResponseCache(0).key(BASE) is None
    assert cache.get(None, 0.0) is None


def test_an_answer_is_kept_for_its_time_and_tells_its_age():
    cache = ResponseCache(10_000)
    cache.put(b"k", answer(kept=60), 100.0)
    assert cache.get(b"k", 159.9).headers == (("Age", "59"),)
    assert cache.get(b"k", 160.0) is None
    assert cache.size == 0
    assert (cache.hits.value, cache.misses.value) == (1, 1)
    cache.put(b"k", answer(), 100.0)
    assert cache.get(b"k", 99.0) is None, "the clock was set back"


def test_only_good_and_whole_answers_are_kept():
    cache = ResponseCache(10_000)
    for bad in (answer(kept=0), answer(status=400), answer(headers=(("X-Carbonpy-Partial", "a store"),))):
        cache.put(b"k", bad, 0.0)
    assert cache.size == 0


def test_memory_is_bounded_and_the_least_used_goes_first():
    cache = ResponseCache(40_000)
    for name in (b"a", b"b", b"c", b"d"):
        cache.put(name, answer(8_000), 0.0)
    assert cache.get(b"a", 1.0) is not None
    cache.put(b"e", answer(8_000), 1.0)
    assert [name for name in (b"a", b"b", b"c", b"d", b"e") if cache.get(name, 2.0)] == [b"a", b"c", b"d", b"e"]
    assert cache.size <= 40_000
    cache.put(b"huge", answer(20_000), 1.0)
    assert cache.get(b"huge", 1.0) is None
    cache.put(b"e", answer(100), 3.0)
    cache.put(b"e", answer(100), 3.0)
    assert cache.size == 3 * 9_000 + 1_100


def test_a_site_answers_from_its_cache_until_the_time_is_over(tmp_path):
    asked = Asked(tmp_path, cache_bytes=1_000_000)
    asked.fill({"a.b": {NOW: 1.0}})
    first = asked.get("/render", target="a.b", **{"from": "-1min"})
    asked.fill({"a.b": {NOW: 2.0}})
    asked.now += 10
    again = asked.post("/render", target="a.b", _salt="1", **{"from": "-1min"})
    assert (again.body, again.headers["age"]) == (first.body, "10")
    assert "age" not in first.headers
    assert asked.get("/render", target="a.b", noCache="1", **{"from": "-1min"}).json[0]["datapoints"][0][0] == 2.0
    asked.now += 50
    assert asked.get("/render", target="a.b", **{"from": "-2min"}).json[0]["datapoints"][0][0] == 2.0
    assert asked.site.cache.hits.value == 1
    asked.get("/render", target="a.b", cacheTimeout="0")
    assert "age" not in asked.get("/render", target="a.b", cacheTimeout="0").headers
    asked.get("/render", target="a.*")
    assert "age" in asked.get("/render", target="a.*").headers, "the answer of the pool is kept too"
    asked.catalog.close()
