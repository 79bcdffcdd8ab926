"""How queries are put together: sources as plain values, stores at once, and what could not be asked."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from carbonpy.catalog import Catalog
from carbonpy.daemons.querying import FilesAndCaches, NoCache, Rulebook, Threads, with_other_servers
from carbonpy.daemons.sources import Sources
from carbonpy.reading.cluster import ClusterStore
from carbonpy.settings import load


class Half(NoCache):
    """Two caches, one of which does not answer."""

    def peek_many(self, metrics):  # type: ignore[no-untyped-def]
        return {"a.b": (np.array([120], np.uint32), np.array([7.0]))}

    def troubles(self) -> list[str]:
        return ["the cache b:7002 does not answer"]


@pytest.fixture
def local(tmp_path: Path) -> FilesAndCaches:
    return FilesAndCaches(Catalog(str(tmp_path / "c.sqlite")), Half(), str(tmp_path), Rulebook(None, None), True)


def sources(tmp_path: Path, program: str, servers: str = "") -> Sources:
    given = {"LOCAL_DATA_DIR": str(tmp_path), "CLUSTER_SERVERS": servers, "CARBONLINK_HOSTS": "b:7002"}
    return Sources.of(load(None, program=program, overrides=given, environ={}), "c.sqlite", ("f", "text"), None)


def test_sources_travel_as_plain_values(tmp_path: Path) -> None:
    one = sources(tmp_path, "web", "a:8080")
    again = Sources.from_fields(json.loads(json.dumps(one.fields())))
    assert again.fields() == json.loads(json.dumps(one.fields()))
    assert again.limits() == one.limits()


def test_only_the_web_program_asks_others(tmp_path: Path) -> None:
    web, cache = (sources(tmp_path, program, "a:8080") for program in ("web", "cache"))
    assert (web.asks_parent, list(web.carbonlink_hosts), list(web.cluster_servers)) == (
        False,
        ["b:7002"],
        ["http://a:8080"],
    )
    assert (cache.asks_parent, cache.carbonlink_hosts, cache.cluster_servers) == (True, (), ())


def test_what_caches_did_not_tell_is_said(local: FilesAndCaches) -> None:
    fetched = local.fetch_readings([("a.b", 0, 180)], 180)
    assert fetched.partial == ["the cache b:7002 does not answer"]
    (series,) = fetched.series["a.b", 0, 180]
    assert (7.0, 120) in series.points()


def test_with_other_servers_there_is_one_store(local: FilesAndCaches, tmp_path: Path) -> None:
    assert with_other_servers(sources(tmp_path, "web"), local, lambda what, error: None) is local
    both = with_other_servers(sources(tmp_path, "web", "127.0.0.1:1"), local, lambda what, error: None)
    assert isinstance(both, ClusterStore)
    told: list[str] = []
    store = with_other_servers(sources(tmp_path, "web", "127.0.0.1:1"), local, lambda what, e: told.append(str(e)))
    for _ in range(2):
        fetched = store.fetch_readings([("a.b", 0, 180)], 180)
        assert len(fetched.series["a.b", 0, 180]) == 1 and fetched.partial[0].startswith("http://127.0.0.1:1: ")
    assert len(told) == 1, told


def test_threads_run_calls_at_once_and_keep_their_order() -> None:
    together = threading.Barrier(3, timeout=20)

    def fail() -> str:
        together.wait()
        raise KeyError("second")

    first, second, third = Threads(3)([lambda: str(together.wait() >= 0), fail, lambda: str(together.wait() >= 0)])
    assert (first, third) == ("True", "True") and isinstance(second, KeyError)
