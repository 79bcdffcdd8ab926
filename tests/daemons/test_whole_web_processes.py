"""Queries of a whole daemon in processes of their own: what happens to one happens to it alone."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.running import RunningDaemon, descendants, is_running
from support.waiting import until
from support.whole import balanced, lines, settle, until_received

METRICS = [f"load.m{number:03d}" for number in range(200)]
Answers = dict[str, tuple[int, bytes]]


def processes(daemon: RunningDaemon) -> list[int]:
    """The processes for queries, as the daemon itself names them."""
    pids: list[int] = daemon.health()["web"]["pids"]
    return pids


def asking(daemon: RunningDaemon, path: str, answers: Answers) -> threading.Thread:
    """Ask in a thread; the answer appears in `answers`."""
    thread = threading.Thread(target=lambda: answers.update({path: daemon.get(path, timeout=30)}))
    thread.start()
    return thread


@pytest.fixture
def one_process(carbonpy_daemon: Callable[..., RunningDaemon]) -> RunningDaemon:
    """A daemon with one process for queries, and 200 metrics in its cache."""
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 600}, web_extra={"WEB_PROCESSES": 1, "HTTP_MAX_SECONDS": 1})
    daemon.send_lines(lines(METRICS, int(time.time()) - 10, 5))
    until_received(daemon, 5 * len(METRICS))
    return daemon


def test_an_idle_daemon_has_no_process_for_queries_and_little_ones_need_none(one_process: RunningDaemon) -> None:
    assert processes(one_process) == []
    assert len(one_process.render(METRICS[0], from_="-1min")) == 1
    assert processes(one_process) == []
    assert len(one_process.render("load.*", from_="-1min")) == len(METRICS)
    assert len(processes(one_process)) == 1


def test_points_in_the_cache_and_names_of_a_moment_ago_are_in_every_answer(one_process: RunningDaemon) -> None:
    now = int(time.time()) - 60
    for number in range(20):
        one_process.send_lines([f"young.m{number} {number} {now}", f"young.t;n={number} {number} {now}"])
        until_received(one_process, 5 * len(METRICS) + 2 * number + 2)
        found = one_process.render("young.m*", from_=now - 1, until=now)
        assert sorted(series["datapoints"][0][0] for series in found) == list(range(number + 1))
        tagged = one_process.render("seriesByTag('name=young.t')", from_=now - 1, until=now)
        assert sorted(series["datapoints"][0][0] for series in tagged) == list(range(number + 1))


def test_a_query_that_hangs_is_killed_and_says_so_and_nobody_else_notices(one_process: RunningDaemon) -> None:
    daemon = one_process
    daemon.render("load.*", from_="-1min")
    (pid,) = processes(daemon)
    os.kill(pid, signal.SIGSTOP)
    answers: Answers = {}
    begun = time.monotonic()
    thread = asking(daemon, "/render?target=load.*&from=-1min&format=json", answers)
    received = daemon.ledger()["received"]
    while thread.is_alive():
        asked = time.monotonic()
        daemon.send_lines(lines(["beside.a"], int(time.time()) - 100, 50))
        received += 50
        ledger = until_received(daemon, received)
        assert len(daemon.render("beside.a", from_="-5min")) == 1
        assert balanced(ledger)["received"] >= received and time.monotonic() - asked < 1
    status, body = answers.popitem()[1]
    assert status == 504 and b"ended because it took longer than 1 s (HTTP_MAX_SECONDS)" in body
    assert time.monotonic() - begun < 8
    until("it is gone", lambda: not is_running(pid))
    assert len(daemon.render("load.*", from_="-1min")) == len(METRICS)
    assert daemon.health()["web"]["killed"] == 1 and daemon.health()["web"]["died"] == 0
    assert "its process is killed" in daemon.log()


def test_an_expression_that_never_ends_is_killed(one_process: RunningDaemon) -> None:
    now = int(time.time()) - 10
    one_process.send_lines([f"{'a' * 60}! 1 {now}", f"{'a' * 60}b 1 {now}"])
    status, body = one_process.get("/render?target=grep(*,'^(a%2B)%2B$')&from=-1min&format=json", timeout=30)
    assert status == 504 and b"ended because it took longer" in body, (status, body)
    assert len(one_process.render("load.*", from_="-1min")) == len(METRICS)


def test_a_process_that_is_killed_costs_its_query_alone(one_process: RunningDaemon) -> None:
    daemon = one_process
    daemon.render("load.*", from_="-1min")
    (pid,) = processes(daemon)
    os.kill(pid, signal.SIGSTOP)
    answers: Answers = {}
    first = asking(daemon, "/render?target=load.*&from=-1min&format=csv", answers)
    until("the process is at work", lambda: daemon.health()["web"]["busy"] == 1)
    second = asking(daemon, "/render?target=load.*&from=-1min&format=raw", answers)
    until("the other query waits", lambda: daemon.health()["web"]["waiting"] == 1)
    os.kill(pid, signal.SIGKILL)
    first.join()
    second.join()
    dead, alive = (answers[f"/render?target=load.*&from=-1min&format={form}"] for form in ("csv", "raw"))
    assert dead[0] == 503 and b"the process that worked on it died" in dead[1]
    assert alive[0] == 200 and alive[1].count(b"\n") == len(METRICS)
    assert daemon.health()["web"]["died"] == 1


def test_a_query_that_needs_too_much_memory_is_ended_and_says_so(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(web_extra={"WEB_PROCESSES": 1, "HTTP_MAX_MEMORY": 2**24, "HTTP_MAX_POINTS": "inf"})
    daemon.send_lines(lines(METRICS, int(time.time()) - 10, 2))
    settle(daemon)
    status, body = daemon.get("/render?target=load.*&from=-1h&format=json")
    assert status in (400, 503) and b"memory" in body, (status, body)
    assert len(daemon.render("load.m00*", from_="-1min")) == 10
    assert daemon.get("/ready")[0] == 200


def test_large_answers_come_whole_and_a_client_may_leave_in_the_middle(
    carbonpy_daemon: Callable[..., RunningDaemon],
) -> None:
    daemon = carbonpy_daemon(web_extra={"WEB_PROCESSES": 1})
    daemon.send_lines(lines(METRICS, int(time.time()) - 10, 2))
    settle(daemon)
    path = "/render?target=load.*&from=-1h&format=raw"
    with socket.create_connection(("127.0.0.1", daemon.http_port)) as leaving:
        leaving.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert leaving.recv(12) == b"HTTP/1.1 200"
    status, body = daemon.get(path)
    rows = body.decode().splitlines()
    assert status == 200 and len(body) > 3_000_000 and len(rows) == len(METRICS)
    assert all(row.count(",") == 3 + 3599 for row in rows)


def test_a_large_document_says_its_size_and_a_slow_client_gets_the_same_and_holds_up_nobody(
    carbonpy_daemon: Callable[..., RunningDaemon],
) -> None:
    daemon = carbonpy_daemon(web_extra={"WEB_PROCESSES": 1})
    now = int(time.time()) - 10
    daemon.send_lines(lines(METRICS, now, 2))
    settle(daemon)
    path = f"/render?target=load.*&from={now - 3600}&until={now}&now={now}&format=json"
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        slow.connect(("127.0.0.1", daemon.http_port))
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        taken = bytearray(slow.recv(1000))
        assert len(daemon.render("load.m00*", from_="-1min")) == 10  # by the process that made the other answer
        while data := slow.recv(1 << 16):
            taken += data
    head, _, slowly = bytes(taken).partition(b"\r\n\r\n")
    status, body = daemon.get(path)
    assert status == 200 and body == slowly and len(body) > 10_000_000
    assert f"\r\ncontent-length: {len(body)}\r\n" in head.decode().lower() + "\r\n"
    document = json.loads(body)
    assert len(document) == len(METRICS) and all(len(series["datapoints"]) == 3600 for series in document)


def test_an_answer_that_breaks_off_is_no_whole_answer_to_the_client(
    carbonpy_daemon: Callable[..., RunningDaemon],
) -> None:
    daemon = carbonpy_daemon(web_extra={"WEB_PROCESSES": 1, "HTTP_MAX_SECONDS": 30})
    daemon.send_lines(lines(METRICS, int(time.time()) - 10, 2))
    settle(daemon)
    daemon.render("load.*", from_="-1min")
    (process,) = processes(daemon)
    stop = threading.Event()

    def kill_when_it_works() -> None:
        # The beginning of the answer is on its way when the process is halted.
        while not stop.is_set():
            if daemon.health()["web"]["busy"]:
                time.sleep(0.05)
                os.kill(process, signal.SIGKILL)
                return

    killer = threading.Thread(target=kill_when_it_works)
    killer.start()
    path = "/render?target=load.*&target=load.*&target=load.*&target=load.*&from=-1h&format=raw"
    try:
        status, body = daemon.get(path, timeout=30)
        # It was killed before the beginning was sent: then there is a sentence.
        assert status == 503 and b"died" in body, (status, body[:200])
    except (http.client.IncompleteRead, ConnectionResetError):
        pass
    finally:
        stop.set()
        killer.join()
    assert len(daemon.render("load.*", from_="-1min")) == len(METRICS)


def test_processes_for_queries_end_with_the_daemon_whatever_they_do(one_process: RunningDaemon) -> None:
    one_process.render("load.*", from_="-1min")
    (idle,) = processes(one_process)
    assert one_process.terminate() == 0
    assert not is_running(idle)
    one_process.start()
    one_process.render("load.*", from_="-1min")
    (stopped,) = processes(one_process)
    os.kill(stopped, signal.SIGSTOP)
    children = descendants(one_process.pid)
    one_process.kill()
    assert stopped in children and not is_running(stopped)


def test_a_process_hears_of_new_rules(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(conf_extra={"SWEEP_INTERVAL": 600}, web_extra={"WEB_PROCESSES": 1})
    daemon.send_lines(lines(["a.a", "a.b"], int(time.time()) - 10, 2))
    until_received(daemon, 4)
    assert _steps(daemon) == {1}
    schemas = Path(daemon.config_path.parent / "storage-schemas.conf")
    schemas.write_text("[everything]\npattern = .*\nretentions = 10s:1h\n")
    daemon.reload()
    until("the new rules are in force", lambda: _steps(daemon) == {10})


def _steps(daemon: RunningDaemon) -> set[int]:
    found = daemon.render("a.*", from_="-5min")
    return {series["datapoints"][1][1] - series["datapoints"][0][1] for series in found}


def test_without_processes_the_same_is_answered(carbonpy_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = carbonpy_daemon(web_extra={"WEB_PROCESSES": 0})
    now = int(time.time()) - 10
    daemon.send_lines(lines(METRICS, now, 5))
    until_received(daemon, 5 * len(METRICS))
    (series,) = daemon.render("sumSeries(load.*)", from_=now - 1, until=now + 4)
    assert [value for value, _ in series["datapoints"]] == [200.0 * number for number in range(5)]
    assert processes(daemon) == [] and len(json.loads(daemon.get("/metrics/find?query=*")[1])) == 1
