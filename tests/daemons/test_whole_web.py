"""`carbonpy web` as a whole: over a tree of files, over caches that have not written yet, in front of other servers."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import whisper
from support.certificates import pair
from support.running import REPOSITORY, RunningDaemon, descendants, is_running
from support.running_web import RunningWeb
from support.waiting import until
from support.whole import lines, settle, until_received

from carbonpy.web.access import hashed

CARBONPY = [sys.executable, "-m", "carbonpy"]


def make_file(tree: Path, metric: str, points: list[tuple[int, float]]) -> None:
    path = tree.joinpath(*metric.split(".")).with_suffix(".wsp")
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper.create(str(path), [(1, 3600), (60, 1440)], 0.5, "average", sparse=True)
    whisper.update_many(str(path), points)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[..., RunningWeb]]:
    """Start services: `web(tree, NAME=value)`; all are ended with the test."""
    begun: list[RunningWeb] = []

    def begin(tree: Path | None = None, **settings: object) -> RunningWeb:
        begun.append(RunningWeb(tmp_path / f"web{len(begun)}", tree, settings))
        begun[-1].start()
        return begun[-1]

    yield begin
    for service in begun:
        if service.process is not None and service.process.poll() is None:
            service.kill()


def asked(service: RunningDaemon, path: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of one GET."""
    connection = http.client.HTTPConnection("127.0.0.1", service.http_port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def values(answer: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    return {series["target"]: [value for value, _ in series["datapoints"]] for series in answer}


# ---- a tree of files


def test_a_tree_is_served_as_it_is_and_new_files_are_seen(web: Callable[..., RunningWeb], tmp_path: Path) -> None:
    tree, now = tmp_path / "tree", int(time.time()) - 20
    make_file(tree, "a.one", [(now, 1.5), (now + 1, 2.5)])
    service = web(tree)
    window = {"from_": now - 1, "until": now + 1}
    assert values(service.render("a.*", **window)) == {"a.one": [1.5, 2.5]}
    assert values(service.render("scale(a.one,2)", **window)) == {"scale(a.one,2)": [3.0, 5.0]}
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    make_file(tree, "a.two", [(now, 7.0)])
    until("the new file is found", lambda: [n["text"] for n in _found(service, "a.*")] == ["one", "two"])
    assert values(service.render("a.two", **window)) == {"a.two": [7.0, None]}
    assert {path for path in before if path.suffix == ".wsp" and path.stat().st_mtime_ns != before[path]} == set()


def _found(service: RunningDaemon, query: str) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = json.loads(service.get(f"/metrics/find?query={query}")[1])
    return nodes


def test_it_tells_how_it_is_and_ends_when_told(web: Callable[..., RunningWeb], tmp_path: Path) -> None:
    service = web(tmp_path / "nothing", WEB_PROCESSES=2)
    assert service.render("a.*") == [] and service.get("/ready") == (200, b"ready\n")
    health = service.health()
    assert (health["status"], health["sources"]["files"]) == ("ok", str(tmp_path / "nothing"))
    assert health["web"]["processes"] == 2 and len(health["web"]["pids"]) == 1
    assert b"carbonpy_web_queries_waiting 0" in service.get("/metrics")[1]
    children = descendants(service.pid)
    assert service.terminate() == 0
    assert not any(map(is_running, children))


def test_without_processes_the_same_is_answered(web: Callable[..., RunningWeb], tmp_path: Path) -> None:
    tree, now = tmp_path / "tree", int(time.time()) - 20
    make_file(tree, "a.one", [(now, 1.5)])
    service = web(tree, WEB_PROCESSES=0)
    assert values(service.render("sumSeries(a.*)", from_=now - 1, until=now)) == {"sumSeries(a.*)": [1.5]}
    assert values(service.render("a.one", from_=now - 1, until=now)) == {"a.one": [1.5]}
    assert descendants(service.pid) == []


def test_the_command_starts_it_in_the_background_and_stops_it(tmp_path: Path) -> None:
    service = RunningWeb(tmp_path / "web", tmp_path)
    service.write_config()

    def command(action: str, *options: str) -> subprocess.CompletedProcess[str]:
        words = [*CARBONPY, "web", action, "--config", str(service.config_path), *options]
        return subprocess.run(words, capture_output=True, text=True, timeout=40, cwd=REPOSITORY)

    started = command("start", "--daemon")
    try:
        assert started.returncode == 0 and "runs as process" in started.stdout, started.stderr
        assert (service.storage_dir / "carbon-web-a.pid").exists()
        shown = command("status")
        assert shown.returncode == 0 and "waiting: 0" in shown.stdout
    finally:
        stopped = command("stop")
    assert stopped.returncode == 0 and "is stopped" in stopped.stdout
    assert command("status").returncode == 1


def test_users_and_their_passwords_are_asked_for(web: Callable[..., RunningWeb], tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"ann:{hashed('secret')}\n")
    service = web(tmp_path, HTTP_AUTH_FILE=tmp_path / "users")
    assert service.get("/render?target=a.*")[0] == 401 and service.get("/ready")[0] == 200


def test_it_answers_over_https(tmp_path: Path) -> None:
    for name, pem in zip(("cert.pem", "key.pem"), pair("localhost")):
        (tmp_path / name).write_bytes(pem)
    service = RunningWeb(
        tmp_path / "web", None, {"HTTP_TLS_CERTIFICATE": tmp_path / "cert.pem", "HTTP_TLS_KEY": tmp_path / "key.pem"}
    )
    service.get = partial(_get_securely, service)  # type: ignore[method-assign]
    service.start()
    try:
        assert service.get("/render?target=a.*&format=json") == (200, b"[]")
        before = _certificate(service)
        for name, pem in zip(("cert.pem", "key.pem"), pair("localhost")):
            (tmp_path / name).write_bytes(pem)
        service.reload()
        until("the renewed certificate is shown", lambda: _certificate(service) != before)
    finally:
        service.kill()


def _certificate(service: RunningWeb) -> str:
    return ssl.get_server_certificate(("127.0.0.1", service.http_port), timeout=20)


def _get_securely(service: RunningWeb, path: str, timeout: float = 20.0) -> tuple[int, bytes]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", service.http_port, timeout=timeout, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# ---- caches that have not written yet


@pytest.mark.parametrize("hashing", ["all", "carbon_ch"])
def test_points_that_caches_have_not_written_are_in_the_answer(
    web: Callable[..., RunningWeb], carbonpy_daemon: Callable[..., RunningDaemon], hashing: str
) -> None:
    cache = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 600}, start=False)
    now = int(time.time()) - 30
    for number in range(3):
        make_file(cache.data_dir, f"hot.m{number}", [(now, 0.5)])
    cache.start()
    cache.send_lines(f"hot.m{number} {number} {now + 1}" for number in range(3))
    until_received(cache, 3)
    hosts = f"127.0.0.1:{cache.query_port}:a"
    service = web(cache.data_dir, CARBONLINK_HOSTS=hosts, CARBONLINK_HASHING_TYPE=hashing)
    window = {"from_": now - 1, "until": now + 1}
    assert values(service.render("hot.*", **window)) == {f"hot.m{n}": [0.5, float(n)] for n in range(3)}
    assert values(service.render("hot.m1", **window)) == {"hot.m1": [0.5, 1.0]}
    cache.kill()
    status, headers, body = asked(service, f"/render?target=hot.*&format=json&from={now - 1}&until={now + 1}")
    assert status == 200 and f"the cache 127.0.0.1:{cache.query_port} does not answer" in headers["x-carbonpy-partial"]
    assert values(json.loads(body)) == {f"hot.m{n}": [0.5, None] for n in range(3)}


# ---- other servers


@pytest.mark.parametrize("options", ["", "/?format=pickle", "/?format=carbonapi_v3_pb"])
def test_in_front_of_two_caches_one_of_which_dies(
    web: Callable[..., RunningWeb], carbonpy_daemon: Callable[..., RunningDaemon], options: str
) -> None:
    caches = [carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 0.1}) for _ in range(2)]
    now = int(time.time()) - 30
    for number, cache in enumerate(caches):
        cache.send_lines(lines([f"only.m{number}"], now, 3))
        # Each has points that the other lacks.
        cache.send_lines([f"both.m {number} {now + number}"])
        settle(cache)
    front = web(CLUSTER_SERVERS=", ".join(f"http://127.0.0.1:{cache.http_port}{options}" for cache in caches))
    window = {"from_": now - 1, "until": now + 2}
    assert values(front.render(["only.*", "both.m"], **window)) == {
        "only.m0": [0.0, 1.0, 2.0],
        "only.m1": [0.0, 1.0, 2.0],
        "both.m": [0.0, 1.0, None],
    }
    assert values(front.render("sumSeries(only.*)", **window)) == {"sumSeries(only.*)": [0.0, 2.0, 4.0]}
    assert [node["text"] for node in _found(front, "only.*")] == ["m0", "m1"]

    # Nothing of its own, and nobody else is asked.
    assert front.get(f"/render?target=only.*&local=1&format=json&from={now}")[0] == 200
    assert json.loads(front.get(f"/render?target=only.*&local=1&format=json&from={now}")[1]) == []
    assert _found(front, "only.*&local=1") == []

    caches[0].kill()
    path = f"/render?target=only.*&target=both.m&format=json&from={now - 1}&until={now + 2}"
    status, headers, body = asked(front, path)
    assert status == 200
    assert headers["x-carbonpy-partial"].startswith(f"http://127.0.0.1:{caches[0].http_port}: ")
    assert values(json.loads(body)) == {"only.m1": [0.0, 1.0, 2.0], "both.m": [None, 1.0, None]}
    assert f"an answer is partial: http://127.0.0.1:{caches[0].http_port}" in front.log()
    asked(front, path)
    assert front.log().count("an answer is partial") == 1  # said once, and not for each query while it is left alone

    caches[1].kill()
    status, _, body = asked(front, path)
    assert status == 503, body
    assert asked(front, "/metrics/find?query=*")[0] == 503


def test_a_server_that_comes_back_is_asked_again(
    web: Callable[..., RunningWeb], carbonpy_daemon: Callable[..., RunningDaemon]
) -> None:
    cache = carbonpy_daemon(start=False)
    front = web(CLUSTER_SERVERS=f"127.0.0.1:{cache.http_port}", REMOTE_RETRY_DELAY=0)
    assert front.get("/metrics/find?query=*")[0] == 503
    cache.start()
    cache.send_lines(lines(["back.again"], int(time.time()) - 10, 3))
    until_received(cache, 3)
    assert [node["text"] for node in _found(front, "back.*")] == ["again"]
    assert len(front.render("back.*", from_="-1min")) == 1
