"""The render scenario: the same questions to graphite-web under gunicorn and to carbonpy web, over one tree.

The law: both read the same files on the same ground, without caches of answers, and are asked in turns, one request
at a time; what they answer must be the same series with the same values. Times are medians of whole requests, from
sending to the last byte; beside other work on the machine the CPU that all processes of a server take for a request
(means) says more. What takes a millisecond is asked for in turns of twenty requests, and again in turns of one: then
each begins after it has slept for as long as the other took, which is longer for the faster one, and a processor that
was idle or at other work needs up to a millisecond to get back to speed. The tree has 1,000 metrics of 2,160 points;
for find, one of 100,000 metrics stands beside it.

`run_disturbance` is the other half: what a steady load of points on carbonpy's cache suffers from queries that are
asked back to back.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchlib import loader
from benchlib.environments import REPOSITORY
from benchlib.ground import fresh_ground
from benchlib.runs import Bench
from benchlib.subjects import READY_SECONDS, Carbonpy, _free_port
from benchlib.watch import cpu_seconds

REQUIREMENTS = ("graphite-web==1.1.10", "whisper==1.1.10", "gunicorn>=21")
SERIES, POINTS, STEP = 1000, 2160, 10
WORKERS = 2
_SETTINGS = """
SECRET_KEY = "only for this bench"
ALLOWED_HOSTS = ["*"]
TIME_ZONE = "UTC"
STORAGE_DIR = {storage!r}
LOG_DIR = {storage!r}
INDEX_FILE = {storage!r} + "/index"
STANDARD_DIRS = [{data!r}]
WHISPER_DIR = {data!r}
CARBONLINK_HOSTS = []
DEFAULT_CACHE_DURATION = 0
FIND_CACHE_DURATION = 0
FIND_TIMEOUT = FETCH_TIMEOUT = 300
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {storage!r} + "/graphite.db"}}}}
"""
_BUILD = """
import math, os, sys, whisper
data, last = sys.argv[1], int(sys.argv[2])
series, points, step = map(int, sys.argv[3:6])
for number in range(series):
    path = f"{data}/many/host{number // 10:03d}/value{number % 10}.wsp"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whisper.create(path, [(step, points)], 0.5, "average")
    whisper.update_many(path, [(last - step * k, math.sin(number + k / 50) * 1000) for k in range(points)], now=last)
first = path
for number in range(100_000):
    path = f"{data}/big/dc{number // 10_000}/host{number // 100 % 100:02d}/m{number % 100:02d}.wsp"
    if number % 100 == 0:
        os.makedirs(os.path.dirname(path))
    os.link(first, path)
"""
#: What is asked -> (target, how many turns, requests in each).
QUERIES = {
    "sumSeries of 1,000 series": ("sumSeries(many.*.*)", 5, 1),
    "1,000 series as JSON": ("many.*.*", 5, 1),
    "one series": ("many.host042.value7", 20, 20),
    "one series, in turns of one": ("many.host042.value7", 200, 1),
}
#: Three wildcards each; @ is another digit each time, so that nobody can remember an answer.
FIND_TURNS = 10
GLOBS = ("big.*.host4[2-5].m@*", "big.dc[1-3].*7.m@*", "*.dc*.host*.m9@")
#: Times the finder of either side alone: prints the seconds that all globs took together, and what was found.
_FIND_THEIRS = """
import django, json, sys, time
django.setup()
from graphite.finders.standard import StandardFinder
from graphite.finders.utils import FindQuery
finder = StandardFinder()
def found(glob):
    return sum(1 for node in finder.find_nodes(FindQuery(glob, None, None)))
"""
_FIND_OURS = """
import json, sys, time
from carbonpy.catalog.store import Catalog
catalog = Catalog(sys.argv[2], held=True)
catalog.add(f"big.dc{n // 10_000}.host{n // 100 % 100:02d}.m{n % 100:02d}" for n in range(100_000))
def found(glob):
    return len(catalog.find(glob))
"""
_FIND_TIMED = """
times = []
for turn in range(6):
    begun = time.perf_counter()
    counts = [found(glob.replace("@", str(turn))) for glob in json.loads(sys.argv[1])]
    times.append(time.perf_counter() - begun)
print(json.dumps([sorted(times[1:])[2], counts]))
"""


def ask(port: int, path: str, parameters: dict[str, Any]) -> tuple[float, bytes]:
    """(seconds, body) of one request over a connection of its own."""
    begun = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("GET", f"{path}?{urlencode(parameters)}")
    answer = connection.getresponse()
    body = answer.read()
    seconds = time.perf_counter() - begun
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"bench: {path} {parameters} was answered {answer.status}: {body[:500]!r}")
    return seconds, body


def run_rendering(bench: Bench, own_python: Path, peer_python: Path) -> dict[str, Any]:
    """All comparisons: name -> {"graphite-web": s, "carbonpy": s}, and what was wrong."""
    last = int(time.time()) // 60 * 60
    with fresh_ground(bench.filesystem, bench.work_dir) as ground:
        data = ground / "data"
        data.mkdir()
        subprocess.run(
            [str(peer_python), "-c", _BUILD, str(data), str(last), str(SERIES), str(POINTS), str(STEP)], check=True
        )
        theirs, their_port = _graphite_web(peer_python, ground, data)
        ours, our_port = _carbonpy_web(own_python, ground, data)
        ports = {"graphite-web": their_port, "carbonpy": our_port}
        try:
            _wait(their_port, "/version", theirs)
            _wait(our_port, "/ready", ours)
            figures = _compare(ports, {"graphite-web": theirs.pid, "carbonpy": ours.pid}, last)
            figures["problems"] += _finders(figures, ground, own_python, peer_python)
            return figures
        finally:
            for process in (theirs, ours):
                process.send_signal(signal.SIGTERM)
            for process in (theirs, ours):
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _compare(ports: dict[str, int], pids: dict[str, int], last: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"problems": [], "sizes": {}, "cpu": {}}

    def used() -> dict[str, float]:
        return {who: cpu_seconds(pid) for who, pid in pids.items()}

    def since(before: dict[str, float], times: int) -> dict[str, float]:
        return {who: (seconds - before[who]) / times for who, seconds in used().items()}

    window = {"format": "json", "from": last - STEP * (POINTS - 1), "until": last, "now": last}
    for name, (target, turns, times) in QUERIES.items():
        parameters = {"target": target, **window}
        bodies = {who: ask(port, "/render/", parameters)[1] for who, port in ports.items()}  # and warm up
        figures["problems"] += _different(name, bodies)
        figures["sizes"][name] = {who: len(body) for who, body in bodies.items()}
        taken: dict[str, list[float]] = {who: [] for who in ports}
        before = used()
        for _ in range(turns):
            for who, port in ports.items():
                taken[who] += [ask(port, "/render/", parameters)[0] for _ in range(times)]
        figures["cpu"][name] = since(before, turns * times)
        figures[name] = {who: statistics.median(each) for who, each in taken.items()}
    found: dict[str, list[float]] = {who: [] for who in ports}
    for turn in range(FIND_TURNS):
        if turn == 1:
            before = used()
        for who, port in ports.items():
            begun = 0.0
            answers = []
            for glob in GLOBS:
                asked = {"query": glob.replace("@", str(turn)), "format": "json"}
                seconds, body = ask(port, "/metrics/find/", asked)
                begun += seconds
                answers.append(len(json.loads(body)))
            if turn:
                found[who].append(begun)
            figures.setdefault("found", answers)
            if answers != figures["found"]:
                figures["problems"].append(f"find: {who} found {answers}, the other {figures['found']}")
    by_http = {who: statistics.median(each) for who, each in found.items()}
    name = "find by HTTP, 3 patterns of 3 globs over 100,000 metrics"
    figures[name] = by_http
    figures["cpu"][name] = since(before, FIND_TURNS - 1)
    return figures


def _finders(figures: dict[str, Any], ground: Path, own_python: Path, peer_python: Path) -> list[str]:
    """Time the finders alone, without HTTP; what was found differently."""
    told = {}
    for who, python, script, environment in (
        ("graphite-web", peer_python, _FIND_THEIRS, _django(ground / "graphite-web")),
        ("carbonpy", own_python, _FIND_OURS, {**os.environ, "PYTHONPATH": str(REPOSITORY)}),
    ):
        command = [str(python), "-c", script + _FIND_TIMED, json.dumps(GLOBS), str(ground / "find.sqlite")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise SystemExit(f"bench: the finder of {who} failed: {done.stderr[-2000:]}")
        told[who] = json.loads(done.stdout.splitlines()[-1])
    figures["find: the finder alone, 3 such patterns"] = {who: seconds for who, (seconds, _) in told.items()}
    counts = [each for _, each in told.values()]
    return [] if counts[0] == counts[1] else [f"find: {counts}"]


def _different(name: str, bodies: dict[str, bytes]) -> list[str]:
    theirs, ours = (json.loads(bodies[who]) for who in ("graphite-web", "carbonpy"))
    if [series["target"] for series in theirs] != [series["target"] for series in ours]:
        return [f"{name}: other series"]
    for their, our in zip(theirs, ours):
        if len(their["datapoints"]) != len(our["datapoints"]) or len(our["datapoints"]) < POINTS - 2:
            return [f"{name}: {len(our['datapoints'])} points, theirs {len(their['datapoints'])}"]
        for (their_value, their_time), (our_value, our_time) in zip(their["datapoints"], our["datapoints"]):
            same = their_time == our_time and (their_value is None) == (our_value is None)
            if not same or (
                our_value is not None and not math.isclose(their_value, our_value, rel_tol=1e-9, abs_tol=1e-9)
            ):
                return [f"{name}: {our['target']} {our_value} at {our_time}, theirs {their_value} at {their_time}"]
    return []


def _django(storage: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(storage),
        "DJANGO_SETTINGS_MODULE": "graphite.settings",
        "GRAPHITE_SETTINGS_MODULE": "bench_settings",
    }


def _graphite_web(python: Path, ground: Path, data: Path) -> tuple[subprocess.Popen[bytes], int]:
    storage = ground / "graphite-web"
    storage.mkdir()
    (storage / "bench_settings.py").write_text(_SETTINGS.format(storage=str(storage), data=str(data)))
    environment = _django(storage)
    subprocess.run(
        [str(python), "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"], env=environment, check=True
    )
    port = _free_port()
    with (ground / "graphite-web.log").open("ab") as log:
        process = subprocess.Popen(
            [
                str(python),
                "-m",
                "gunicorn",
                "--workers",
                str(WORKERS),
                "--timeout",
                "300",
                "--bind",
                f"127.0.0.1:{port}",
                "graphite.wsgi:application",
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return process, port


def _carbonpy_web(python: Path, ground: Path, data: Path) -> tuple[subprocess.Popen[bytes], int]:
    port = _free_port()
    config = ground / "web.conf"
    config.write_text(
        f"[web]\nSTORAGE_DIR = {ground}/carbonpy\nLOCAL_DATA_DIR = {data}\nHTTP_INTERFACE = 127.0.0.1\n"
        f"HTTP_PORT = {port}\n"
    )
    with (ground / "carbonpy.log").open("ab") as log:
        process = subprocess.Popen(
            [str(python), "-m", "carbonpy", "web", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    return process, port


def _wait(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"bench: nobody answers {path}; exit code {process.poll()}")
        time.sleep(0.1)


def run_disturbance(
    bench: Bench, python: Path, *, seconds: float, rate: float = 100_000, metrics: int = 20_000
) -> dict[str, Any]:
    """Points per second that carbonpy's cache takes and writes without queries and with, `seconds` each."""
    figures: dict[str, Any] = {"rate": rate, "metrics": metrics, "seconds": seconds}
    for name, asking in (("alone", False), ("with queries", True)):
        turns = max(1, round(seconds * rate / metrics))
        first = int(time.time()) // loader.STEP * loader.STEP - loader.STEP * turns
        with fresh_ground(bench.filesystem, bench.work_dir) as ground:
            subject = Carbonpy(ground, python)
            try:
                subject.start()
                load = subprocess.Popen(
                    [
                        sys.executable,
                        str(REPOSITORY / "tools" / "benchlib" / "loader.py"),
                        *map(str, (subject.line_port, metrics, rate, turns, first, 0)),
                    ],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                stop = threading.Event()
                answered = [0, 0]
                askers = [
                    threading.Thread(target=_ask_on, args=(subject, first, stop, answered, number))
                    for number in range(2)
                ]
                if asking:
                    for asker in askers:
                        asker.start()
                lines = load.communicate(timeout=seconds * 4 + 60)[0].splitlines()
                taken = json.loads(lines[-1])
                ledger = subject.health()["ledger"]
                stop.set()
                for asker in askers:
                    if asker.ident is not None:
                        asker.join(120)
                figures[name] = {
                    "rate": taken["sent"] / taken["elapsed"],
                    "received": ledger["received"],
                    "dropped": ledger["dropped"],
                    "queries": sum(answered),
                }
            finally:
                subject.stop()
    return figures


def _ask_on(subject: Carbonpy, first: int, stop: threading.Event, answered: list[int], number: int) -> None:
    """Ask for sums of 1,000 metrics and for 100 raw ones, back to back, until told to stop."""
    targets = ("sumSeries(bench.web00[0-9]*.plugin1.*)", "bench.web000*.plugin1.*")
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", subject.http_port, timeout=120)
        connection.request(
            "GET",
            "/render?"
            + urlencode({"target": targets[number], "format": "json", "from": first - 600, "until": first + 7200}),
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        answered[number] += answer.status == 200


def rendering_rows(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """(what, graphite-web, carbonpy, ratio, and the same of the servers' CPU)."""
    rows = []
    for name, times in figures.items():
        if isinstance(times, dict) and set(times) == {"graphite-web", "carbonpy"}:
            rows.append((name, *_beside(times), *_beside(figures["cpu"].get(name))))
    return rows


def _beside(times: dict[str, float] | None) -> tuple[str, str, str]:
    if times is None:
        return "", "", ""
    theirs, ours = times["graphite-web"], times["carbonpy"]
    return f"{theirs * 1e3:.1f} ms", f"{ours * 1e3:.1f} ms", f"{theirs / ours:.1f}"


def disturbance_rows(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """(what, alone, with queries, ratio)."""
    alone, asked = figures["alone"], figures["with queries"]
    return [
        (
            f"points taken per second of {figures['rate']:,.0f} offered, {asked['queries']} queries meanwhile",
            f"{alone['rate']:,.0f}",
            f"{asked['rate']:,.0f}",
            f"{asked['rate'] / alone['rate']:.3f}",
        )
    ]


RENDERING_HEADS = (
    *("(r) one request", "graphite-web", "carbonpy", "ratio"),
    *("graphite-web CPU", "carbonpy CPU", "ratio"),
)
DISTURBANCE_HEADS = ("(r) ingestion", "alone", "with queries", "ratio")
