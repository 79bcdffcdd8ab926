"""carbon-aggregator-cache: a section of its own, and aggregation switched on."""

from __future__ import annotations

from pathlib import Path

from carbonpy.settings import load
from carbonpy.settings.check import check

CONF = """\
[cache]
STORAGE_DIR = /srv/cache
LINE_RECEIVER_PORT = 1111
FORWARD_ALL = False

[aggregator-cache]
STORAGE_DIR = /srv/both
LINE_RECEIVER_PORT = 2222
MAX_AGGREGATION_INTERVALS = 7
NONSENSE = 1

[aggregator-cache:b]
LINE_RECEIVER_PORT = 3333
"""


def written(tmp_path: Path, text: str, name: str = "carbon.conf") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_it_reads_its_own_section_and_not_that_of_the_cache(tmp_path: Path) -> None:
    path = written(tmp_path, CONF)
    mine = load(path, program="aggregator-cache", environ={})
    assert (mine.cache.line_receiver_port, mine.cache.storage_dir) == (2222, "/srv/both")
    assert (mine.cache.aggregate, mine.cache.max_aggregation_intervals, mine.cache.forward_all) == (True, 7, True)
    assert mine.own is mine.cache and mine.pidfile == "/srv/both/carbon-aggregator-cache-a.pid"
    (warning,) = mine.warnings
    assert warning.startswith(f"{path}:10 [aggregator-cache] NONSENSE: unknown")
    assert load(path, program="aggregator-cache", instance="b", environ={}).cache.line_receiver_port == 3333
    other = load(path, environ={})
    assert (other.cache.line_receiver_port, other.cache.aggregate, other.warnings) == (1111, False, [])


def test_in_yaml_as_well_and_what_describes_it_can_be_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, "aggregator-cache:\n  line_receiver_port: 2222\n  aggregate: false\n", "c.yaml")
    first = load(path, program="aggregator-cache", environ={})
    assert (first.cache.line_receiver_port, first.cache.aggregate) == (2222, False)
    again = load(written(tmp_path, first.describe(), "again.yaml"), program="aggregator-cache", environ={})
    assert (again.cache, again.web) == (first.cache, first.web)


def test_its_rules_are_looked_at(tmp_path: Path) -> None:
    path = written(tmp_path, f"[aggregator-cache]\nSTORAGE_DIR = {tmp_path}\n")
    (tmp_path / "aggregation-rules.conf").write_text("bad\n")
    report = check(path, program="aggregator-cache", environ={})
    assert [error.partition(" ")[0] for error in report.errors] == [f"{tmp_path}/aggregation-rules.conf:1"]
    assert check(path, environ={}).errors == ()
