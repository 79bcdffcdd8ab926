"""Whole caches that rewrite and aggregate, as carbon-aggregator-cache does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.running import RunningDaemon
from support.waiting import until
from support.whole import balanced, rendered, settle, until_received

RULES = "sums.<app> (1) = sum in.<app>.*\nhosts.count (1) = count in.*.*\n"
REWRITES = "[pre]\n^raw\\. = in.\n[post]\n^in\\. = out.\n"


def aggregating(carbonpy_daemon: Callable[..., RunningDaemon], **conf: object) -> RunningDaemon:
    return carbonpy_daemon(
        conf_extra={"AGGREGATE": "True", "SWEEP_INTERVAL": 0.1, **conf},
        rules={"aggregation-rules.conf": RULES, "rewrite-rules.conf": REWRITES},
    )


def value(daemon: RunningDaemon, metric: str, when: int) -> float | None:
    """The value of one metric at one second, None when it is not there."""
    found = rendered(daemon, metric, when, 1)
    return found[0] if found else None


def until_value(daemon: RunningDaemon, metric: str, when: int, expected: float) -> None:
    until(f"{metric} is {expected}", lambda: value(daemon, metric, when) == expected)


def aggregation(daemon: RunningDaemon) -> dict[str, Any]:
    found: dict[str, Any] = daemon.health()["aggregation"]
    return found


def test_points_are_rewritten_aggregated_and_kept_and_the_ledger_balances(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = aggregating(carbonpy_daemon)
    when = int(time.time())
    daemon.send_lines(f"raw.web.h{n} {n} {when}" for n in range(5))
    daemon.send_lines([f"other 7 {when}"])
    until_value(daemon, "sums.web", when, 10.0)
    until_value(daemon, "hosts.count", when, 5.0)
    assert [value(daemon, f"out.web.h{n}", when) for n in range(5)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert value(daemon, "other", when) == 7.0 and value(daemon, "raw.web.h1", when) is None
    # A late point, and the value is that of all.
    daemon.send_lines([f"raw.web.h9 90 {when}"])
    until_value(daemon, "sums.web", when, 100.0)
    ledger = settle(daemon)
    health = aggregation(daemon)
    assert health["received"] == 12 and health["dropped"] == {} and health["sent"] >= 4
    assert ledger["received"] == 7 + health["sent"]
    assert f"carbonpy_aggregates_sent_total {health['sent']}" in daemon.get("/metrics")[1].decode()
    assert daemon.terminate() == 0


def test_without_forward_all_only_aggregates_are_kept(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = aggregating(carbonpy_daemon, FORWARD_ALL="False")
    when = int(time.time())
    daemon.send_lines([f"raw.web.a 1 {when}", f"raw.web.b 2 {when}", f"other 3 {when}"])
    until_value(daemon, "sums.web", when, 3.0)
    ledger = balanced(daemon.ledger())
    assert ledger["dropped"]["not_forwarded"] == 3
    assert value(daemon, "out.web.a", when) is None and value(daemon, "other", when) is None


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_an_interval_outlives_the_daemon_however_it_ends(
    carbonpy_daemon: Callable[..., RunningDaemon], end: str
) -> None:
    daemon = aggregating(carbonpy_daemon)
    rules = daemon.config_path.with_name("aggregation-rules.conf")
    rules.write_text("sums.<app> (5) = sum in.<app>.*\n")
    daemon.reload()
    until("the new rule is in force", lambda: aggregation(daemon)["rules"] == 1)
    when = int(time.time())
    daemon.send_lines(f"raw.web.h{n} 1 {when}" for n in range(50))
    until_received(daemon, 50)
    getattr(daemon, end)()
    daemon.start()
    daemon.send_lines(f"raw.web.h{n} 1 {when}" for n in range(50, 60))
    until_value(daemon, "sums.web", when - when % 5, 60.0)
    assert value(daemon, "out.web.h3", when) == 1.0
    settle(daemon)
    assert daemon.terminate() == 0


def test_changed_rules_take_effect_and_broken_ones_change_nothing(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = aggregating(carbonpy_daemon)
    conf = daemon.config_path.parent
    when = int(time.time())
    daemon.send_lines([f"raw.web.a 1 {when}", f"raw.web.b 2 {when}"])
    until_value(daemon, "sums.web", when, 3.0)
    (conf / "aggregation-rules.conf").write_text("sums.<app> (1) = mean in.<app>.*\n")
    daemon.reload()
    until("the broken rule is said", lambda: "aggregation-rules.conf:1 " in daemon.log())
    (conf / "aggregation-rules.conf").write_text("most.<app> (1) = max new.<app>.*\n")
    (conf / "rewrite-rules.conf").write_text("[pre]\n^raw\\. = new.\n")
    daemon.reload()
    until("the new rules are in force", lambda: aggregation(daemon)["rules"] == 1)
    daemon.send_lines([f"raw.web.a 5 {when}", f"raw.web.b 4 {when}"])
    until_value(daemon, "most.web", when, 5.0)
    assert value(daemon, "new.web.a", when) == 5.0 and value(daemon, "out.web.a", when) == 1.0
    assert value(daemon, "sums.web", when) == 3.0
    settle(daemon)


class RunningAggregatorCache(RunningDaemon):
    """The same under carbon's name for it, with its own section."""

    program = "aggregator-cache"

    def write_config(self) -> None:
        super().write_config()
        self.config_path.write_text(self.config_path.read_text().replace("[cache]", "[aggregator-cache]"))


def test_the_command_of_carbons_name_reads_its_own_section_and_aggregates(tmp_path: Path) -> None:
    daemon = RunningAggregatorCache(
        tmp_path / "daemon", {"SWEEP_INTERVAL": 0.1}, rules={"aggregation-rules.conf": RULES}
    )
    daemon.start()
    try:
        when = int(time.time())
        daemon.send_lines([f"in.web.a 1 {when}", f"in.web.b 2 {when}"])
        until_value(daemon, "sums.web", when, 3.0)
        daemon.reload()
        daemon.send_lines([f"in.web.c 4 {when}"])
        until_value(daemon, "sums.web", when, 7.0)
        settle(daemon)
        assert daemon.terminate() == 0
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()


def test_a_cache_without_rules_has_no_aggregation_at_all(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(rules={"aggregation-rules.conf": "a (1) = sum b\n"})
    assert daemon.health()["aggregation"] is None
    assert not (daemon.storage_dir / "journal" / "a" / "aggregates").exists()
