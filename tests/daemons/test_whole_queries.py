"""Whole daemons that are asked: the catalogue, CarbonLink, /health and /metrics, their own metrics, over IPv6, idle."""

from __future__ import annotations

import http.client
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import whisper
from support.running import REPOSITORY, RunningDaemon
from support.waiting import until
from support.whole import (
    TAGGED,
    ask,
    balanced,
    file_of,
    lines,
    rendered,
    settle,
    share_of_a_core,
    stored,
    until_received,
)

from carbonpy.metric import encoded, relative_path


def found(daemon: RunningDaemon, query: str) -> list[str]:
    """The paths that /metrics/find finds."""
    status, body = daemon.get(f"/metrics/find?query={query}&format=completer")
    assert status == 200
    return [node["path"].rstrip(".") for node in json.loads(body)["metrics"]]


def figures(daemon: RunningDaemon) -> dict[str, float]:
    """The samples of /metrics by name, labels included; every line is checked for its form."""
    status, body = daemon.get("/metrics")
    assert status == 200
    text = body.decode()
    assert text.endswith("\n")
    samples: dict[str, float] = {}
    typed: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            assert kind in ("HELP", "TYPE") and rest
            if kind == "TYPE":
                assert rest in ("counter", "gauge")
                typed[name] = rest
            continue
        name, _, value = line.rpartition(" ")
        assert name not in samples
        assert name.partition("{")[0] in typed
        samples[name] = float(value)
    return samples


def catalog(daemon: RunningDaemon, *words: str) -> str:
    """What `carbonpy catalog` prints."""
    done = subprocess.run([sys.executable, "-m", "carbonpy", "catalog", *words, "--config", str(daemon.config_path)],
                          capture_output=True, text=True, timeout=30, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_existing_tree_is_adopted_and_reconciled_beside_the_daemon(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(start=False, conf_extra={"SWEEP_INTERVAL": 0.2, "WRITER_PROCESSES": 1})
    old = [f"tree.rack{rack}.host{host}.load" for rack in range(3) for host in range(10)]
    start = int(time.time()) - 100
    for metric in old:
        path = file_of(daemon, metric)
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(1, 3600)], 0.5, "average", sparse=True)
        whisper.update_many(str(path), [(start, 7.0)])
    daemon.start()
    until("the tree is adopted", lambda: daemon.health()["adoption"]["done"])
    assert daemon.health()["adoption"]["files"] == len(old)
    assert found(daemon, "tree.*") == ["tree.rack0", "tree.rack1", "tree.rack2"]
    assert len(found(daemon, "tree.rack1.*.load")) == 10
    assert rendered(daemon, old[4], start, 1) == [7.0]
    assert len(daemon.render("tree.*.*.load", from_=start - 1, until=start)) == len(old)

    # Another program copies files in and takes some away; metrics that only the cache knows stay.
    daemon.conf_extra["MAX_CREATES_PER_MINUTE"] = 0
    daemon.reload()
    until("no files are made any more", lambda: "MAX_CREATES_PER_MINUTE" in daemon.log())
    daemon.send_lines([f"cached.only 5 {start}"])
    until_received(daemon, 1)
    gone, new = file_of(daemon, old[0]), file_of(daemon, "tree.rack9.host.load")
    new.parent.mkdir(parents=True)
    os.rename(gone, new)
    said = catalog(daemon, "rescan")
    assert "1 metrics added" in said and "1 removed" in said
    assert found(daemon, "tree.rack9.*.*") == ["tree.rack9.host.load"]
    assert old[0] not in found(daemon, "tree.rack0.*.load")
    assert found(daemon, "cached.*") == ["cached.only"]
    assert catalog(daemon, "count").strip() == str(len(old) + 1)

    # Points for the one that is gone: its file and its entry are back.
    daemon.conf_extra["MAX_CREATES_PER_MINUTE"] = "inf"
    daemon.reload()
    daemon.send_lines([f"{old[0]} 8 {start}"])
    until_received(daemon, 2)
    settle(daemon)
    assert old[0] in found(daemon, "tree.rack0.*.load")
    assert rendered(daemon, old[0], start, 1) == [8.0]

    # The same for one that was seen for the first time a moment before.
    daemon.send_lines([f"young.m 1 {start}"])
    until_received(daemon, 3)
    settle(daemon)
    file_of(daemon, "young.m").unlink()
    # The daemon may just be adding the metrics of the files made last, this one among them.
    until("a rescan has removed it", lambda: catalog(daemon, "rescan") and found(daemon, "young.*") == [])
    daemon.send_lines([f"young.m 2 {start}"])
    until_received(daemon, 4)
    settle(daemon)
    until("it is found again", lambda: found(daemon, "young.*") == ["young.m"])

    # A second life does not adopt again.
    assert daemon.terminate() == 0
    daemon.start()
    assert daemon.health()["adoption"]["files"] == 0
    assert len(found(daemon, "tree.rack1.*.load")) == 10


def test_a_metric_that_is_only_in_the_cache_is_found_and_rendered_at_once(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 300})
    start = int(time.time()) - 100
    for turn in range(20):
        metric = f"fresh.host{turn}.load"
        daemon.send_lines([f"{metric} {turn} {start}"])
        until_received(daemon, turn + 1)
        assert found(daemon, "fresh.*.load") == sorted(f"fresh.host{number}.load" for number in range(turn + 1))
        assert [one["target"] for one in daemon.render(f"fresh.host{turn}.*", from_=start - 1, until=start)] == [metric]
        assert rendered(daemon, metric, start, 1) == [turn]
        assert daemon.cache_query(metric) == [(start, turn)]
    assert not any(daemon.data_dir.iterdir())
    status, body = daemon.get("/metrics/index.json")
    assert status == 200
    assert len(json.loads(body)) == 20
    (info,) = daemon.render("fresh.host3.load", from_=start - 5, until=start + 5)
    assert [point for point in info["datapoints"] if point[0] is not None] == [[3.0, start]]
    assert daemon.render("fresh.nobody", from_=start - 1) == []


@pytest.mark.parametrize("hashed", [True, False], ids=["hashed", "readable"])
def test_carbonlink_knows_tagged_metrics_by_name_and_by_path(
    carbonpy_daemon: Callable[..., RunningDaemon], hashed: bool
) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.1, "MAX_CREATES_PER_MINUTE": 0, "WRITER_PROCESSES": 1,
                                         "TAG_HASH_FILENAMES": hashed})
    start = (int(time.time()) - 900) // 60 * 60
    path = encoded(TAGGED, hashed)
    daemon.send_lines([f"whole.tagged;room=two;door=one 3 {start}", f"whole.plain 5 {start}",
                       f'whole.tagged{{room="two",door="one"}} 4 {start + 1}'])
    until_received(daemon, 3)
    wanted = [(start, 3.0), (start + 1, 4.0)]
    assert daemon.cache_query(TAGGED) == wanted
    assert daemon.cache_query(path) == wanted
    assert daemon.cache_query("whole.nothing") == []
    bulk = ask(daemon, type="cache-query-bulk", metrics=[TAGGED, path, "whole.plain", "whole.nothing"])
    assert bulk == {"datapointsByMetric": {TAGGED: wanted, path: wanted, "whole.plain": [(start, 5.0)],
                                           "whole.nothing": []}}
    for name in (TAGGED, path):
        assert rendered(daemon, name, start, 2) == [3, 4]
    assert "error" in ask(daemon, type="get-metadata", metric=TAGGED, key="aggregationMethod")

    daemon.conf_extra["MAX_CREATES_PER_MINUTE"] = "inf"
    daemon.reload()
    settle(daemon)
    file = daemon.data_dir / relative_path(TAGGED, hashed)
    for method, name in (("max", TAGGED), ("sum", path), ("last", TAGGED), ("min", path)):
        answer = ask(daemon, type="set-metadata", metric=name, key="aggregationMethod", value=method)
        assert answer["new_value"] == method
        assert ask(daemon, type="get-metadata", metric=name, key="aggregationMethod") == {"value": method}
        whisper.setXFilesFactor(str(file), 0.0)
        before = daemon.ledger()["received"]
        daemon.send_lines([f"{TAGGED} 1 {start + 2}", f"{TAGGED} 9 {start + 3}"])
        until_received(daemon, before + 2)
        settle(daemon)
        _, minute = whisper.fetch(str(file), start - 1, start + 1, archiveToSelect=60)
        assert minute == [{"max": 9, "sum": 3 + 4 + 1 + 9, "last": 9, "min": 1}[method]]
    for kind, metric, key, value in (
        ("set-metadata", TAGGED, "aggregationMethod", "nonsense"),
        ("set-metadata", "whole.nothing", "aggregationMethod", "max"),
        ("get-metadata", TAGGED, "xFilesFactor", None),
        ("get-metadata", "../../../etc/passwd", "aggregationMethod", None),
        ("get-metadata", "_tagged./../../x\0y", "aggregationMethod", None),
        ("nonsense", TAGGED, "", None),
    ):
        assert "error" in ask(daemon, type=kind, metric=metric, key=key, value=value), (kind, metric)
    assert daemon.health()["writers"]["deaths"] == 0
    assert "Traceback" not in daemon.log()


def test_own_metrics_appear_by_carbons_names_with_sensible_values(
    carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    daemon = carbonpy_daemon(conf_extra={"CARBON_METRIC_INTERVAL": 1, "SWEEP_INTERVAL": 0.2, "HOSTNAME": "box.example",
                                         "WRITER_PROCESSES": 2, "USE_WHITELIST": True},
                             rules={"blacklist.conf": "^carbon\\.\n^bad\\.\n"})
    prefix = "carbon.agents.box_example-a."
    begun = int(time.time())
    daemon.send_lines([*lines(["own.a", "own.b"], begun - 100, 50), f"bad.a 1 {begun}", "not a line at all"])
    daemon.cache_query("own.a")
    ask(daemon, type="cache-query-bulk", metrics=["own.a", "own.b", "own.c"])

    def series() -> dict[str, list[float]]:
        answer = daemon.render([f"{prefix}*", f"{prefix}cache.*"], from_=begun - 5, until=int(time.time()) + 1)
        return {one["target"].removeprefix(prefix): [value for value, _ in one["datapoints"] if value is not None]
                for one in answer}

    own = until("three intervals have passed", lambda: len((now := series()).get("metricsReceived", ())) >= 3 and now)
    always = {"cache.size", "cache.queues", "cache.overflow", "cache.queries", "cache.bulk_queries", "updateOperations",
              "committedPoints", "creates", "droppedCreates", "errors", "activeConnections", "metricsReceived",
              "blacklistMatches", "whitelistRejects", "cpuUsage", "memUsage"}
    assert always <= set(own)
    assert {"avgUpdateTime", "pointsPerUpdate", "cache.bulk_queries_average_size"} <= set(own)
    assert sum(own["metricsReceived"]) >= 100
    assert sum(own["blacklistMatches"]) == 1
    assert sum(own["creates"]) >= 2 + len(always)
    assert sum(own["committedPoints"]) >= 100
    assert sum(own["cache.queries"]) == sum(own["cache.bulk_queries"]) == 1
    assert own["cache.bulk_queries_average_size"] == [3.0]
    assert sum(own["errors"]) == sum(own["droppedCreates"]) == sum(own["cache.overflow"]) == 0
    assert all(20e6 < value < 1e9 for value in own["memUsage"])
    assert all(0 <= value < 400 for value in own["cpuUsage"])
    assert max(own["updateOperations"]) > 0
    assert file_of(daemon, f"{prefix}metricsReceived").exists()
    balanced(daemon.ledger())


def test_health_and_metrics_tell_the_same_and_ready_says_when(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.1, "MAX_UPDATES_PER_SECOND": 1, "SHUTDOWN_TIMEOUT": 1.5,
                                         "WRITER_PROCESSES": 1})
    start = int(time.time()) - 100
    metrics = [f"told.m{number}" for number in range(50)]
    daemon.send_lines([*lines(metrics, start, 10), "nonsense", f"told.nan nan {start}"])
    until_received(daemon, 502)
    # Between two looks a file may be written: ask until nothing has moved.
    def both() -> tuple[dict[str, Any], dict[str, float]] | None:
        health, samples, again = daemon.health(), figures(daemon), daemon.health()
        return (health, samples) if health["ledger"] == again["ledger"] else None
    health, samples = until("nothing moves", both)
    ledger = balanced(health["ledger"])
    assert samples["carbonpy_received_total"] == ledger["received"]
    assert samples["carbonpy_written_total"] == ledger["written"]
    assert samples["carbonpy_cached"] == ledger["cached"] > 0
    assert samples["carbonpy_journal_backlog"] == 0
    assert samples["carbonpy_balanced"] == 1
    dropped = {name: value for name, value in samples.items() if name.startswith("carbonpy_dropped_total{")}
    assert dropped == {f'carbonpy_dropped_total{{reason="{reason}"}}': points
                       for reason, points in ledger["dropped"].items()}
    assert ledger["dropped"] == {"malformed": 1, "nan": 1}
    assert samples["carbonpy_resident_bytes"] > 20e6
    assert daemon.get("/ready")[0] == 200

    # Whoever holds a connection learns that the daemon is leaving.
    connection = http.client.HTTPConnection("127.0.0.1", daemon.http_port, timeout=10)
    connection.request("GET", "/ready")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"ready\n")
    assert daemon.process is not None
    daemon.process.terminate()

    def leaving() -> bool:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        answer.read()
        return answer.status == 503
    until("/ready says no", leaving, timeout=1.4)
    connection.close()
    assert daemon.terminate() == 0


def test_every_port_listens_on_ipv6(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    everywhere = {f"{kind}_INTERFACE": "::" for kind in ("LINE_RECEIVER", "PICKLE_RECEIVER", "UDP_RECEIVER",
                                                         "CACHE_QUERY")}
    daemon = carbonpy_daemon(conf_extra={**everywhere, "SWEEP_INTERVAL": 1}, web_extra={"HTTP_INTERFACE": "::"})
    start = int(time.time()) - 100
    body = pickle.dumps([("six.pickle", (start, 2.0))], 2)
    for address in ("::1", "127.0.0.1"):
        with socket.create_connection((address, daemon.line_port), timeout=10) as sender:
            sender.sendall(f"six.line 1 {start}\n".encode())
        with socket.create_connection((address, daemon.pickle_port), timeout=10) as sender:
            sender.sendall(struct.pack("!L", len(body)) + body)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(f"six.udp 3 {start}\nbad line from far away, says nobody\n".encode(),
                          (address, daemon.udp_port))
    until_received(daemon, 8)
    request = pickle.dumps({"type": "cache-query", "metric": "six.udp"}, 2)
    with socket.create_connection(("::1", daemon.query_port), timeout=10) as link:
        link.sendall(struct.pack("!L", len(request)) + request)
        reader = link.makefile("rb")
        (length,) = struct.unpack("!L", reader.read(4))
        assert set(pickle.loads(reader.read(length))) == {"datapoints"}
    connection = http.client.HTTPConnection("::1", daemon.http_port, timeout=10)
    connection.request("GET", "/ready")
    assert connection.getresponse().status == 200
    connection.close()
    settle(daemon)
    for value, name in enumerate(("line", "pickle", "udp"), 1):
        assert stored(daemon, f"six.{name}", start, 1) == [value]
    assert daemon.ledger()["dropped"]["malformed"] == 2
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.log()


def test_an_idle_daemon_leaves_the_machine_to_others(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"WRITER_PROCESSES": 2, "CARBON_METRIC_INTERVAL": 60,
                                         "SWEEP_INTERVAL": 1})
    metrics = [f"idle.m{number}" for number in range(2000)]
    daemon.send_lines(lines(metrics, int(time.time()) - 100, 2))
    until_received(daemon, 4000)
    settle(daemon)
    used = share_of_a_core(daemon, 5)
    assert used < 0.05, f"{used:.1%} of a core"
