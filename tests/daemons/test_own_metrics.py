"""The daemon's own metrics: carbon's names, growth per interval, and figures of real processes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from carbonpy.daemons.own_metrics import OwnMetrics, cpu_seconds, memory_bytes, prefix_of

COUNTERS = dict.fromkeys(
    (
        "cache.overflow",
        "cache.queries",
        "cache.bulk_queries",
        "updateOperations",
        "committedPoints",
        "_cpu",
        "_update_seconds",
        "_written",
        "_bulk_size",
    ),
    0.0,
)


def figures(own: OwnMetrics, now: float, gauges: dict[str, float] | None = None, **grown: float) -> dict[str, float]:
    counters = COUNTERS | {name.replace("__", "."): value for name, value in grown.items()}
    points = own.points(now, counters, gauges or {})
    assert len(dict(points)) == len(points)
    return dict(points)


def test_the_prefix_is_that_of_carbon() -> None:
    assert prefix_of("carbon", "web01.example.net", "a") == "carbon.agents.web01_example_net-a."


def test_a_counter_is_told_as_its_growth_and_a_gauge_as_it_is() -> None:
    own = OwnMetrics("p.")
    first = figures(own, 100.0, {"cache.size": 7}, updateOperations=10, committedPoints=30)
    second = figures(own, 160.0, {"cache.size": 5}, updateOperations=14, committedPoints=30)
    assert (first["p.updateOperations"], first["p.committedPoints"], first["p.cache.size"]) == (10.0, 30.0, 7.0)
    assert (second["p.updateOperations"], second["p.committedPoints"], second["p.cache.size"]) == (4.0, 0.0, 5.0)


def test_what_only_feeds_averages_is_not_told() -> None:
    assert not any("._" in name for name in figures(OwnMetrics("p."), 100.0, _cpu=5.0, _written=1.0))


def test_averages_are_over_the_interval_and_left_out_when_nothing_happened() -> None:
    own = OwnMetrics("p.")
    averages = ("p.avgUpdateTime", "p.pointsPerUpdate", "p.cache.bulk_queries_average_size")
    figures(own, 100.0, updateOperations=1, _update_seconds=9.0, _written=9, cache__bulk_queries=1, _bulk_size=9)
    told = figures(
        own, 160.0, updateOperations=5, _update_seconds=11.0, _written=49, cache__bulk_queries=3, _bulk_size=19
    )
    assert [told[name] for name in averages] == [0.5, 10.0, 5.0]
    told = figures(
        own, 220.0, updateOperations=5, _update_seconds=11.0, _written=49, cache__bulk_queries=3, _bulk_size=19
    )
    assert not any(name in told for name in averages)


def test_cpu_is_percent_of_one_core_since_the_last_time() -> None:
    own = OwnMetrics("p.")
    assert figures(own, 100.0, _cpu=40.0)["p.cpuUsage"] == 0.0
    assert figures(own, 160.0, _cpu=70.0)["p.cpuUsage"] == 50.0
    assert figures(own, 160.0, _cpu=71.0)["p.cpuUsage"] == 0.0


def test_every_figure_of_a_cache_of_carbon_is_told() -> None:
    """The names in the source of carbon's own instrumentation against those that Figures gives."""
    spec = importlib.util.find_spec("carbon")
    assert spec is not None and spec.submodule_search_locations
    theirs = (Path(spec.submodule_search_locations[0]) / "instrumentation.py").read_text()
    cache = theirs[theirs.index("if 'cache' in settings.program") : theirs.index("elif 'aggregator' in")]
    shared = theirs[theirs.index("record('activeConnections'") : theirs.index("def cache_record")]
    names = set(re.findall(r"""record\(\s*['"]([\w.]+)['"]""", cache + shared))
    assert len(names) == 19
    ours = (Path(__file__).parents[2] / "carbonpy/daemons/figures.py").read_text()
    ours += (Path(__file__).parents[2] / "carbonpy/daemons/own_metrics.py").read_text()
    assert {name for name in names if f'"{name}"' not in ours} == set()


BURN = "import time, sys\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"


def test_cpu_of_a_child_counts_while_it_lives_and_after() -> None:
    before = cpu_seconds([])
    child = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    alive = cpu_seconds([child.pid])
    assert alive >= before + 0.25
    child.communicate()
    assert cpu_seconds([]) >= alive - 0.02  # the kernel counts a living child in hundredths
    assert cpu_seconds([child.pid]) >= alive - 0.02


def test_memory_of_a_child_counts_while_it_lives() -> None:
    own = memory_bytes([])
    assert own > 10 << 20
    child = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert memory_bytes([child.pid]) > own + (4 << 20)
    child.communicate()
    assert memory_bytes([child.pid]) < own + (4 << 20)
    assert memory_bytes([os.getpid()]) > 1.5 * own
