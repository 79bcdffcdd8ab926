"""Tag questions against a naive answer over random metrics, and by example."""

import random
import tempfile
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.catalog import Catalog
from carbonpy.catalog.live import LiveCatalog
from carbonpy.errors import QueryError
from carbonpy.metric import canonical, tags_of
from carbonpy.series.tagspec import parse_specs


@contextmanager
def catalog_of(metrics):
    with tempfile.TemporaryDirectory() as directory:
        catalog = Catalog(f"{directory}/catalog.sqlite")
        catalog.add(metrics)
        yield catalog
        catalog.close()


def naive(metrics, exprs):
    specs = parse_specs(exprs)
    return sorted(m for m in metrics if ";" in m and all(s.accepts(tags_of(m).get(s.tag, "")) for s in specs))


METRICS = st.sets(
    st.tuples(
        st.sampled_from(["cpu", "disk.used", "c=d"]),
        st.dictionaries(st.sampled_from(["dc", "host", "é"]), st.sampled_from(["a", "b1", "b2", "b=c"]), max_size=3),
    ).map(lambda m: canonical(m[0] + "".join(f";{tag}={value}" for tag, value in m[1].items()))),
    max_size=20,
).map(lambda metrics: metrics | {"odd;name"})
EXPRS = st.lists(
    st.tuples(
        st.sampled_from(["name", "dc", "host", "é", "none"]),
        st.sampled_from(["=", "!=", "=~", "!=~"]),
        st.sampled_from(["", "a", "b1", "b", ".*", "b.$", "a|b2", "cpu", "x", "b=c", "(?i)B", "^$", "odd;".strip(";")]),
    ).map("".join),
    min_size=1,
    max_size=4,
)


@given(metrics=METRICS, questions=st.lists(EXPRS, min_size=3, max_size=12))
@settings(max_examples=120, deadline=None)
def test_answers_are_what_the_expressions_say_of_each_series(metrics, questions):
    with catalog_of(metrics) as catalog:
        for exprs in questions:
            try:
                expected = naive(metrics, exprs)
            except QueryError as error:
                with pytest.raises(QueryError) as raised:
                    catalog.find_series(exprs)
                assert str(raised.value) == str(error)
                continue
            assert catalog.find_series(exprs) == expected
            assert catalog.find_series(exprs, 2) == expected[:2]
            readable = [tags_of(m) for m in expected]
            used = {spec.tag for spec in parse_specs(exprs)}
            assert catalog.auto_complete_tags(exprs) == sorted({tag for tags in readable for tag in tags} - used)
            for tag in ("dc", "name", "é"):
                assert catalog.auto_complete_values(exprs, tag) == sorted({t[tag] for t in readable if tag in t})


def test_many_series_and_many_values_are_answered_alike():
    rng = random.Random(3)
    metrics = {f"m{n % 9};dc=dc{n % 4};host=h{n:04}" + (";rare=x" if n % 50 == 0 else "") for n in range(1200)}
    questions = [
        ["name=m1", "host=~h00.*"],
        ["rare=x", "dc!=dc0"],
        ["rare=x", "host=~h0[0-3].*", "dc=~dc[01]"],
        ["dc=dc1", "rare="],
        ["host!=", "name!=~m[1-8]"],
        ["host=~h.*", "rare!=x", "name=m0"],
        ["dc=dc9"],
        ["dc=dc1", "none=x"],
        ["dc=dc1", "none!=x"],
        ["dc=\0"],
        ["\ud800=x"],
        ["dc=dc1", "\ud800=", "host!=\ud800"],
    ]
    with catalog_of(rng.sample(sorted(metrics), len(metrics))) as catalog:
        for exprs in questions:
            assert catalog.find_series(exprs) == naive(metrics, exprs), exprs
        assert len(catalog.tag("host")["values"]) == len(catalog.tag("host", "h")["values"]) == 1200
        assert catalog.auto_complete_values([], "host", "h1", 3) == ["h1000", "h1001", "h1002"]
        assert len(catalog.auto_complete_values([], "host")) == 100
        assert len(catalog.auto_complete_values([], "host", limit=1100)) == 1100


DISKS = ["disk.used;dc=dc1;rack=a1", "disk.used;dc=dc2;rack=a1", "cpu;dc=dc1", "plain.metric"]


@pytest.fixture
def catalog():
    with catalog_of(DISKS) as catalog:
        yield catalog


def test_tags_and_values_have_ids_that_stay(catalog):
    tags = catalog.tags()
    assert [row["tag"] for row in tags] == ["dc", "name", "rack"]
    assert [row["tag"] for row in catalog.tags("^r")] == ["rack"]
    assert [row["tag"] for row in catalog.tags("d|n", 1)] == ["dc"]
    answer = catalog.tag("dc")
    assert answer["id"] == tags[0]["id"]
    assert [(row["value"], row["count"]) for row in answer["values"]] == [("dc1", 2), ("dc2", 1)]
    filtered = catalog.tag("dc", "dc2")
    assert filtered["values"] == answer["values"][1:]
    assert catalog.tag("dc", limit=1)["values"] == answer["values"][:1]
    assert catalog.tag("dc", "zzz") == {**answer, "values": []}
    assert catalog.tag("nope") is None
    assert catalog.tag("\0") is None
    ids = [row["id"] for row in tags] + [row["id"] for row in answer["values"]]
    assert len(set(ids)) == len(ids)
    assert all(0 <= id_ < 1 << 53 for id_ in ids)
    with catalog_of(reversed(DISKS)) as other:
        assert other.tags() == tags
    with pytest.raises(QueryError):
        catalog.tags("(")
    with pytest.raises(QueryError):
        catalog.tag("dc", "(")


def test_what_is_offered_while_somebody_types(catalog):
    assert catalog.auto_complete_tags([]) == ["dc", "name", "rack"]
    assert catalog.auto_complete_tags([], "r") == ["rack"]
    assert catalog.auto_complete_tags([], limit=1) == ["dc"]
    assert catalog.auto_complete_tags(["dc=dc2"]) == ["name", "rack"]
    assert catalog.auto_complete_tags(["name=cpu"]) == ["dc"]
    assert catalog.auto_complete_tags(["dc=none"]) == []
    assert catalog.auto_complete_values([], "name") == ["cpu", "disk.used"]
    assert catalog.auto_complete_values(["rack=a1"], "dc", "dc", 1) == ["dc1"]
    assert catalog.auto_complete_values(["name!=cpu"], "dc") == ["dc1", "dc2"]
    assert catalog.auto_complete_values([], "none") == []
    assert catalog.auto_complete_values([], "dc", limit=0) == []
    with pytest.raises(QueryError, match="no tag specified"):
        catalog.auto_complete_values([], "")
    with pytest.raises(QueryError, match="Invalid tagspec"):
        catalog.auto_complete_values(["bogus"], "dc")


def test_series_are_put_in_and_taken_out(catalog):
    assert catalog.tag_series('mem{host="b",dc="x"}') == "mem;dc=x;host=b"
    assert catalog.tag_multi_series(["a;z=1;b=2", "no.tags"]) == ["a;b=2;z=1", "no.tags"]
    assert catalog.find_series(["dc=x"]) == ["mem;dc=x;host=b"]
    assert not catalog.contains("no.tags")
    for bad in ("a;b", "a;b=", ";a=b", "a;=b", "", "a;b=c\0"):
        with pytest.raises(QueryError):
            catalog.tag_multi_series(["fine;x=y", bad])
    assert catalog.find_series(["x=y"]) == []
    assert catalog.del_series(["mem;host=b;dc=x", "unknown;a=b", "plain.metric", "\0"]) is True
    assert catalog.find_series(["dc=x"]) == []
    assert catalog.contains("plain.metric")
    assert catalog.fact("removed_at") is not None


def test_a_metric_that_was_just_noted_is_found_by_its_tags(catalog):
    live = LiveCatalog(catalog)
    live.note([b"new;dc=dc7"])
    assert live.find_series(["dc=dc7"]) == ["new;dc=dc7"]
    assert live.tag_series("b;a=1") == "b;a=1"
    assert live.auto_complete_values([], "a") == ["1"]
