"""The processes that answer queries: started when needed, ended when idle, and killed without harm to others.

A process in these tests runs a program of the test, which does what the query says; the pool and its pipes are real.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from carbonpy.net.web_workers import Body

ROOT = Path(__file__).resolve().parent.parent.parent

WORKER = """
import os, sys, time
from carbonpy.net.children import OUT_OF_MEMORY
from carbonpy.net.trays import MEMORY_FD, RETURNED_FD, TrayWriter, map_memory
from carbonpy.writing.parcel import pack, receive

def read(size):
    data = b""
    while len(data) < size and (piece := os.read(0, size - len(data))):
        data += piece
    return data

def say(kind, fields=(), body=b""):
    fields = dict(fields, size=len(body)) if kind == "answer" else dict(fields)
    write([*pack(kind, fields), body])

def write(pieces):
    data = b"".join(map(bytes, pieces))
    while data:
        data = data[os.write(1, data):]

setup = receive(read)
trays = TrayWriter(map_memory(MEMORY_FD), RETURNED_FD)

def tell(places):
    for at, size in places:
        write(pack("piece", {"at": at, "size": size}))

while (parcel := receive(read)) is not None:
    what = parcel.fields.get("what") if parcel.kind == "query" else parcel.kind
    if what == "hang":
        time.sleep(60)
    elif what == "die":
        os._exit(3)
    elif what == "starve":
        os._exit(OUT_OF_MEMORY)
    elif what == "large":
        say("answer", {"what": what}, b"".join(bytes([number]) * 100_000 for number in range(200)))
    elif what in ("parts", "breaks", "stalls", "dies"):
        for number in range(30):
            if number == 0:
                write(pack("answer", {"more": True, "size": 0}))
            tell(trays.put(bytes([number]) * 100_000))
        tell(trays.flush())
        if what == "dies":
            os._exit(3)
        if what == "stalls":
            time.sleep(60)
        say("broken" if what == "breaks" else "end", {"cost": 7})
    elif what == "ask":
        say("question", {"n": 20})
        reply = receive(read)
        say("answer", {"reply": reply.fields, "as": reply.kind})
    elif what == "last":
        say("answer", {"pid": os.getpid(), "last": True})
        break
    elif what == "heed":
        if receive(read) is None:
            break
        say("answer", {})
    elif what not in ("leave", "news"):
        say("answer", {"what": what, "setup": setup.fields, "pid": os.getpid()})
"""

HEAD = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.task import deferLater
from carbonpy.net.web_workers import Bounds, QueryEnded, WebWorkers
from carbonpy.writing.parcel import pack

def serve(parcel):
    if parcel.fields["n"] == 20:
        return deferLater(reactor, 0, pack, "reply", {"n": 21})

def pool(processes=1, seconds=20.0, waiting=5, idle=60.0, serve=serve):
    return WebWorkers(reactor, "odd_worker", Bounds(processes, seconds, waiting, idle),
                      setup=lambda: pack("setup", {"we": "you"}), serve=serve)

def ask(pool, what):
    return pool.ask(pack("query", {"what": what}))

PARTS = b"".join(bytes([number]) * 100_000 for number in range(30))

def all_of(worked):
    # A Deferred of the pieces, and what ended them.
    over, pieces = Deferred(), []
    worked.body.listen(lambda piece: pieces.append(bytes(piece)),
                       lambda fields: over.callback((b"".join(pieces), fields)),
                       lambda: over.callback((b"".join(pieces), None)))
    return over

@inlineCallbacks
def refused(asked):
    try:
        yield asked
    except QueryEnded as error:
        return (error.status, str(error))

@inlineCallbacks
def until(what, condition, seconds=20.0):
    end = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < end, what
        yield deferLater(reactor, 0.01, lambda: None)

def run(test):
    failures = []
    def begin():
        reactor.callLater(30, failures.append, "took too long")
        reactor.callLater(30, reactor.stop)
        test().addErrback(lambda failure: failures.append(failure.getTraceback())).addBoth(lambda _: reactor.stop())
    reactor.callWhenRunning(begin)
    reactor.run()
    sys.exit("".join(failures) or None)
"""


def run(tmp_path: Path, body: str) -> str:
    """Run `body`, a generator function called test, beside a reactor; what it prints."""
    (tmp_path / "odd_worker.py").write_text(WORKER)
    (tmp_path / "script.py").write_text(f"{HEAD}\n@inlineCallbacks\ndef test():\n{body}\nrun(test)\n")
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_a_process_is_started_by_the_first_query_and_used_again(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(processes=2)
    assert workers.pids == []
    first = yield ask(workers, "one")
    again = yield ask(workers, "two")
    assert first.fields["setup"] == {"we": "you"}, first
    assert first.fields["pid"] == again.fields["pid"] and [first.fields["pid"]] == workers.pids
    assert (first.fields["what"], again.fields["what"]) == ("one", "two")
    both = yield DeferredList([ask(workers, "a"), ask(workers, "b")], fireOnOneErrback=True)
    assert len({worked.fields["pid"] for _, worked in both}) == 2 == len(workers.pids)
    yield workers.stop()
    assert workers.pids == []
    """,
    )


def test_an_idle_process_ends_and_the_next_query_starts_another(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(idle=0.05)
    first = yield ask(workers, "one")
    yield until("it ends", lambda: workers.pids == [])
    second = yield ask(workers, "two")
    assert first.fields["pid"] != second.fields["pid"]
    assert (workers.killed.value, workers.died.value) == (0, 0)
    """,
    )


def test_large_answers_come_whole(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    worked = yield ask(pool(), "large")
    assert b"".join(worked.chunks) == b"".join(bytes([number]) * 100_000 for number in range(200))
    """,
    )


def test_an_answer_may_come_in_parts_and_only_its_end_frees_the_process(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool()
    worked = yield ask(workers, "parts")
    after = ask(workers, "next")
    yield until("pieces have come", lambda: worked.body._came)
    body, fields = yield all_of(worked)
    assert body == PARTS and fields["cost"] == 7
    worked = yield after
    assert worked.fields["what"] == "next" and len(workers.pids) == 1
    """,
    )


def test_an_answer_that_is_held_waits_on_its_trays_and_then_comes_whole(tmp_path: Path) -> None:
    """Whoever takes it may say at any piece that it is enough for now; what has come already is not given then."""
    run(
        tmp_path,
        """
    workers = pool()
    for held in (0.0, 0.02):
        worked = yield ask(workers, "parts")
        over, pieces, waits = Deferred(), [], []
        def add(piece):
            assert not waits, "a piece came while they are held"
            pieces.append(bytes(piece))
            worked.body.hold(True)
            waits.append(reactor.callLater(held, go_on))
        def go_on():
            del waits[:]
            worked.body.hold(False)
        worked.body.listen(add, over.callback, lambda: over.callback(None))
        fields = yield over
        assert b"".join(pieces) == PARTS and fields["cost"] == 7, (len(pieces), fields)
        assert len(pieces) == 6, len(pieces)
    worked = yield ask(workers, "next")
    assert len(workers.pids) == 1
    """,
    )


def test_an_answer_that_breaks_off_says_so_whatever_the_reason(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(seconds=0.5)
    for what, killed, died in (("breaks", 0, 0), ("stalls", 1, 0), ("dies", 1, 1)):
        worked = yield ask(workers, what)
        body, fields = yield all_of(worked)
        assert fields is None and body.startswith(bytes(100_000)), what
        worked = yield ask(workers, "next")
        assert (workers.killed.value, workers.died.value) == (killed, died), what
    """,
    )


def test_the_process_of_a_client_that_left_in_the_middle_of_an_answer_ends_it(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(waiting=9)
    worked = yield ask(workers, "stalls")
    worked.body.leave()
    worked = yield ask(workers, "next")
    assert workers.killed.value == 1 and worked.fields["what"] == "next"
    """,
    )


def test_queries_wait_their_turn_and_too_many_are_refused(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(waiting=2)
    asked = [ask(workers, str(number)) for number in range(3)]
    assert workers.waiting == 2
    status, text = yield refused(ask(workers, "too many"))
    assert status == 503 and "too many queries" in text
    worked = yield DeferredList(asked, fireOnOneErrback=True)
    assert [each.fields["what"] for _, each in worked] == ["0", "1", "2"]
    """,
    )


def test_a_query_that_hangs_is_killed_and_those_that_wait_are_answered(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    began = reactor.seconds()
    workers = pool(seconds=0.3, waiting=9)
    hanging = refused(ask(workers, "hang"))
    status, text = yield refused(ask(workers, "waits longer than it may"))
    assert status == 503 and "no process was free within 0.3 s" in text, text
    yield until("the process is about to be killed", lambda: reactor.seconds() > began + 2.15)
    late = ask(workers, "waits")
    status, text = yield hanging
    assert status == 504 and "ended because it took longer than 0.3 s" in text, text
    worked = yield late
    assert worked.fields["what"] == "waits" and workers.killed.value == 1
    """,
    )


def test_a_process_that_dies_costs_its_query_alone_and_says_so(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(waiting=9)
    dying, starving, waiting = refused(ask(workers, "die")), refused(ask(workers, "starve")), ask(workers, "waits")
    status, text = yield dying
    assert status == 503 and "the process that worked on it died" in text, text
    status, text = yield starving
    assert status == 503 and "more memory than it may have (HTTP_MAX_MEMORY)" in text, text
    worked = yield waiting
    assert worked.fields["what"] == "waits" and workers.died.value == 2
    """,
    )


def test_a_process_that_wants_to_be_replaced_is_not_used_again(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(waiting=9)
    last, waiting = yield DeferredList([ask(workers, "last"), ask(workers, "waits")], fireOnOneErrback=True)
    assert last[1].fields["pid"] != waiting[1].fields["pid"]
    assert workers.died.value == 0
    """,
    )


def test_a_process_may_ask_back_and_hears_when_it_cannot_be_told(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    worked = yield ask(pool(), "ask")
    assert worked.fields == {"as": "reply", "reply": {"n": 21}}, worked
    def broken(parcel):
        raise OSError("the disk is full")
    worked = yield ask(pool(serve=broken), "ask")
    assert worked.fields == {"as": "unserved", "reply": {"why": "the disk is full"}}, worked
    """,
    )


def test_news_reach_every_process(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool()
    workers.tell(pack("news", {}))
    yield ask(workers, "one")
    workers.tell(pack("news", {}))
    worked = yield ask(workers, "two")
    assert worked.fields["what"] == "two"
    """,
    )


def test_the_process_of_a_client_that_left_may_end_its_work_or_is_killed(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(waiting=9)
    yield ask(workers, "one")
    before = workers.pids
    for what in ("heed", "hang"):
        asked = ask(workers, what)
        asked.addErrback(lambda failure: None)
        left_in_queue = ask(workers, "never")
        left_in_queue.addErrback(lambda failure: None)
        left_in_queue.cancel()
        assert workers.waiting == 0
        asked.cancel()
        worked = yield ask(workers, "next")
        assert (worked.fields["pid"] in before) == (what == "heed")
    assert workers.killed.value == 1 and workers.died.value == 0
    """,
    )


def test_stopping_ends_processes_at_work_and_idle_ones(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
    workers = pool(processes=2, waiting=9)
    yield DeferredList([ask(workers, "a"), ask(workers, "b")])
    asked = [refused(ask(workers, "hang")), refused(ask(workers, "heed")), refused(ask(workers, "hang"))]
    stopped = workers.stop()
    found = yield DeferredList([*asked, refused(ask(workers, "late"))])
    assert all(status == 503 and "stopping" in text for _, (status, text) in found), found
    yield stopped
    """,
    )


@pytest.mark.parametrize("end", [lambda body: body.end({}), lambda body: body.fail(), lambda body: body.leave()])
def test_a_body_that_has_ended_holds_up_its_process_no_more(end: Any) -> None:
    held: list[bool] = []
    body = Body(lambda: None, held.append)
    body.hold(True)
    end(body)
    assert held == [True, False]
