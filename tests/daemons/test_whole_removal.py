"""Deleting and renaming through the daemon: cache, journal, catalogue and files agree, and the ledger balances."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.running import RunningDaemon
from support.waiting import until
from support.whole import balanced, file_of, lines, rendered, settle, stored, until_received

#: Sweeps are rare and no file is made, so points stay in the cache.
STUCK = {"MAX_CREATES_PER_MINUTE": 0, "SWEEP_INTERVAL": 0.2}


@pytest.fixture(params=[{"WRITER_PROCESSES": 0}, {"WRITER_PROCESSES": 2}], ids=["thread", "processes"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningDaemon]:
    made = RunningDaemon(tmp_path, {**request.param, "SWEEP_INTERVAL": 0.2}).start()
    yield made
    made.terminate()


def post(daemon: RunningDaemon, path: str, document: Any, **headers: str) -> tuple[int, Any]:
    """(status, JSON or text) of a POST."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.http_port, timeout=30)
    try:
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        connection.request("POST", path, json.dumps(document), given)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else body.decode()
    finally:
        connection.close()


def found(daemon: RunningDaemon, pattern: str) -> list[str]:
    status, body = daemon.get(f"/metrics/expand?query={pattern}")
    assert status == 200
    names: list[str] = json.loads(body)["results"]
    return names


def test_a_deleted_metric_is_gone_everywhere_and_comes_back_as_a_new_one(daemon: RunningDaemon) -> None:
    start = int(time.time()) - 100
    daemon.send_lines(lines(["x.a.one", "x.a.two", "x.b.three"], start, 10))
    daemon.wait_until_written(30)
    status, answer = post(daemon, "/admin/delete", {"metrics": ["x.a.one", "x.b.three", "x.no.such"]})
    assert status == 200
    assert {one["metric"]: one["what"] for one in answer["metrics"]} == {
        "x.a.one": "deleted",
        "x.b.three": "deleted",
        "x.no.such": "absent",
    }
    assert not file_of(daemon, "x.a.one").exists()
    assert not file_of(daemon, "x.b.three").parent.exists(), "an empty directory goes, too"
    assert found(daemon, "x.*.*") == ["x.a.two"]
    assert daemon.render("x.a.one", from_=start - 1, until=start + 20) == []
    daemon.send_lines(lines(["x.a.one", "x.a.two"], start + 20, 5))
    assert until("it is found again", lambda: "x.a.one" in found(daemon, "x.*.*"))
    daemon.wait_until_written(40)
    assert stored(daemon, "x.a.one", start, 25) == [None] * 20 + [0, 1, 2, 3, 4]
    assert stored(daemon, "x.a.two", start, 25) == [*range(10), *[None] * 10, 0, 1, 2, 3, 4]
    assert balanced(daemon.ledger())["dropped"].get("deleted", 0) == 0


def test_cached_points_of_a_deleted_metric_are_counted_and_a_restart_does_not_bring_them_back(
    tmp_path: Path,
) -> None:
    daemon = RunningDaemon(tmp_path, {**STUCK, "WRITER_PROCESSES": 2}).start()
    start = int(time.time()) - 100
    try:
        daemon.send_lines(lines(["y.one", "y.two"], start, 10))
        until_received(daemon, 20)
        # So that there are points of an earlier life, under other ids, too.
        daemon.kill()
        daemon.start()
        daemon.send_lines(lines(["y.new", "y.two", "y.one"], start + 10, 10))
        until_received(daemon, 30)
        until("a sweep was tried", lambda: daemon.health()["ledger"]["cached"] == 50)
        status, answer = post(daemon, "/admin/delete", {"metrics": ["y.one"]})
        assert (status, answer["metrics"][0]["what"]) == (200, "deleted")
        ledger = balanced(daemon.ledger())
        assert (ledger["dropped"]["deleted"], ledger["cached"]) == (20, 30)
        assert daemon.cache_query("y.one") == []
        assert found(daemon, "y.*") == ["y.new", "y.two"]
        daemon.kill()
        daemon.conf_extra.pop("MAX_CREATES_PER_MINUTE")
        daemon.start()
        settle(daemon)
        assert not file_of(daemon, "y.one").exists()
        assert stored(daemon, "y.two", start, 20) == [*range(10), *range(10)]
        assert stored(daemon, "y.new", start + 10, 10) == list(range(10))
        assert found(daemon, "y.*") == ["y.new", "y.two"]
    finally:
        daemon.terminate()


def test_what_was_written_since_or_waits_in_the_cache_is_kept(tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path, {"SWEEP_INTERVAL": 0.2}).start()
    try:
        start = int(time.time()) - 100
        daemon.send_lines(lines(["z.file"], start, 10))
        daemon.wait_until_written(10)
        daemon.terminate()
        daemon.conf_extra.update(STUCK)
        daemon.start()
        daemon.send_lines(lines(["z.cached"], start, 10))
        until_received(daemon, 10)
        question = {"metrics": ["z.file", "z.cached"], "unless_written_since": time.time() - 3600}
        _, answer = post(daemon, "/admin/delete", question)
        assert [one["what"] for one in answer["metrics"]] == ["kept", "kept"]
        _, answer = post(daemon, "/admin/delete", {**question, "unless_written_since": time.time() + 10})
        assert {one["metric"]: one["what"] for one in answer["metrics"]} == {"z.cached": "kept", "z.file": "deleted"}
    finally:
        daemon.terminate()


def test_a_renamed_metric_takes_its_file_and_its_cached_points_along(daemon: RunningDaemon) -> None:
    start = int(time.time()) - 100
    tagged, readable = "new.place;dc=a", "old.place.m"
    daemon.send_lines(lines([readable, "old.other"], start, 10))
    daemon.wait_until_written(20)
    daemon.send_lines(lines([readable], start + 10, 5))
    until_received(daemon, 25)
    status, answer = post(daemon, "/admin/rename", {"old": readable, "new": tagged})
    assert status == 200, answer
    assert found(daemon, "old.*.*") == []
    assert not file_of(daemon, readable).parent.exists()
    settle(daemon)
    assert rendered(daemon, tagged, start, 15) == [*range(10), 0, 1, 2, 3, 4]
    daemon.send_lines(lines([readable], start + 20, 3))
    daemon.wait_until_written(28)
    assert stored(daemon, readable, start, 23) == [None] * 20 + [0, 1, 2], "the old name begins anew"
    assert rendered(daemon, tagged, start, 15) == [*range(10), 0, 1, 2, 3, 4]
    status, answer = post(daemon, "/admin/rename", {"old": tagged, "new": "old.other"})
    assert status == 409
    assert "exists already" in answer
    assert post(daemon, "/admin/rename", {"old": "no.such", "new": "a.b"})[0] == 409
    assert found(daemon, "a.*") == []
    balanced(settle(daemon))


def test_a_metric_that_is_only_in_the_cache_can_be_renamed_and_survives_a_kill(tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path, STUCK).start()
    try:
        start = int(time.time()) - 100
        daemon.send_lines(lines(["c.old"], start, 10))
        until_received(daemon, 10)
        assert post(daemon, "/admin/rename", {"old": "c.old", "new": "c.new"}) == (200, {"points": 10})
        assert rendered(daemon, "c.new", start, 10) == list(range(10))
        balanced(daemon.ledger())
        daemon.kill()
        daemon.conf_extra.pop("MAX_CREATES_PER_MINUTE")
        daemon.start()
        settle(daemon)
        assert stored(daemon, "c.new", start, 10) == list(range(10))
        assert not file_of(daemon, "c.old").exists()
    finally:
        daemon.terminate()


def test_a_daemon_lets_old_metrics_go_by_itself(tmp_path: Path) -> None:
    rules = tmp_path / "expiry.conf"
    rules.write_text("[keep]\npattern = ^keep\nafter = never\n[all]\npattern = .\nafter = 30m\n")
    conf = {"SWEEP_INTERVAL": 0.2, "EXPIRY_RULES": rules, "EXPIRY_INTERVAL": 1}
    daemon = RunningDaemon(tmp_path / "d", conf).start()
    try:
        now = int(time.time())
        daemon.send_lines(lines(["old.one", "old.two;a=b", "keep.it"], now - 3000, 5))
        daemon.send_lines(lines(["new.one"], now - 10, 5))
        until("something has expired", lambda: "metrics have expired" in daemon.log(), 40)
        until("the old ones are gone", lambda: len(list(daemon.data_dir.rglob("*.wsp"))) == 2, 40)
        assert found(daemon, "*.*") == ["keep.it", "new.one"]
        assert not file_of(daemon, "old.one").exists()
        balanced(daemon.ledger())
        rules.write_text("[all]\n")
        until("what is wrong is said", lambda: "metrics cannot be expired" in daemon.log(), 40)
    finally:
        daemon.terminate()


def test_a_long_sweep_gives_way(tmp_path: Path) -> None:
    """Two files a second: the sweep of 60 files would take half a minute."""
    daemon = RunningDaemon(tmp_path, {"MAX_UPDATES_PER_SECOND": 2, "SWEEP_INTERVAL": 0.1}).start()
    try:
        start = int(time.time()) - 100
        metrics = [f"slow.m{number}" for number in range(60)]
        daemon.send_lines(lines(metrics, start, 1))
        until_received(daemon, 60)
        until("it writes", lambda: list(daemon.data_dir.rglob("*.wsp")))
        before = time.monotonic()
        assert post(daemon, "/admin/delete", {"metrics": ["slow.m7"]})[0] == 200
        assert time.monotonic() - before < 10
        ledger = balanced(daemon.ledger())
        assert ledger["dropped"].get("deleted", 0) + ledger["written"] + ledger["cached"] == 60
        assert daemon.health()["status"] == "ok"
    finally:
        daemon.terminate()


def test_only_the_right_requests_are_heard(tmp_path: Path) -> None:
    web = {"HTTP_INTERFACE": "0.0.0.0"}
    daemon = RunningDaemon(tmp_path, {}, web_extra=web).start()
    try:
        status, answer = post(daemon, "/admin/delete", {"metrics": []})
        assert (status, "without a password" in answer) == (403, True)
        daemon.terminate()
        daemon.web_extra = {"HTTP_CORS_ORIGINS": "*"}
        daemon.start()
        assert post(daemon, "/admin/delete", {"metrics": []}) == (200, {"metrics": []})
        assert daemon.get("/admin/delete?metrics=a")[0] == 405
        assert post(daemon, "/admin/delete", {"metrics": []}, Origin="http://evil.example")[0] == 403
        assert post(daemon, "/admin/delete", {"metrics": []}, Content_Type="text/plain")[0] == 415
        assert post(daemon, "/admin/delete", {"metrics": "a"})[0] == 400
        assert post(daemon, "/admin/delete", [1])[0] == 400
        assert post(daemon, "/admin/delete", {"metrics": [], "unless_written_since": "x"})[0] == 400
        assert post(daemon, "/admin/rename", {"old": "a"})[0] == 400
        _, answer = post(daemon, "/admin/delete", {"metrics": ["../etc/passwd", "a\nb", ""]})
        assert [one["what"] for one in answer["metrics"] if one["metric"] != "etc.passwd"] == ["failed", "failed"]
    finally:
        daemon.terminate()
