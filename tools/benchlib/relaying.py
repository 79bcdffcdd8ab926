"""Relays: carbon-relay (PyPI), carbon-c-relay (Debian) and carbonpy relay, one million lines to two sinks by a ring.

Each relay gets the same bytes over four connections and sends lines on, placed by carbon_ch; the CPU of its processes
is counted until both sinks have everything. The shares of the sinks must be the same for all three, and nothing may be
missing. Then carbonpy's second destination is left dead, and the time until the first one has its share is taken
again, in turns.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchlib.payload import STEP, Workload, write_payloads
from benchlib.subjects import Carbonpy, _free_port
from benchlib.watch import MemoryWatch, cpu_seconds

METRICS, POINTS = 20_000, 50
PATIENCE = 180.0
RELAY_HEADS = ("relay, 1 M lines, 4 connections to 2 sinks", "CPU s/M", "wall s", "peak MB", "ratio to carbonpy")


class Sinks:
    """Two sinks in a process. `ports` may have a 0 for a dead one."""

    def __init__(self, python: Path, ports: tuple[int, int], *options: str) -> None:
        script = Path(__file__).with_name("sink.py")
        self.counts = [0, 0]
        self.process = subprocess.Popen(
            [str(python), str(script), *map(str, ports), *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.counts = json.loads(line)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Relay(Carbonpy):
    """`carbonpy relay` of this checkout."""

    name = "carbonpy relay"

    def __init__(self, ground: Path, python: Path, sinks: tuple[int, int], protocol: str = "line") -> None:
        self.sinks = sinks
        self.protocol = protocol
        super().__init__(ground, python)

    def _config_text(self) -> str:
        first, second = self.sinks
        return "\n".join((
            "[relay]",
            f"STORAGE_DIR = {self.root}/storage",
            "LINE_RECEIVER_INTERFACE = 127.0.0.1", f"LINE_RECEIVER_PORT = {self.line_port}",
            "PICKLE_RECEIVER_INTERFACE = 127.0.0.1", f"PICKLE_RECEIVER_PORT = {self.pickle_port}",
            "RELAY_METHOD = consistent-hashing", f"DESTINATION_PROTOCOL = {self.protocol}",
            f"DESTINATIONS = 127.0.0.1:{first}:a, 127.0.0.1:{second}:b",
            "CARBON_METRIC_INTERVAL = 0", "LOG_LISTENER_CONN_SUCCESS = False",
            *self._further(),
            "",
        ))

    def _further(self) -> list[str]:
        return ["HTTP_INTERFACE = 127.0.0.1", f"HTTP_PORT = {self.http_port}"]

    def command(self) -> list[str]:
        return [str(self.python), "-m", "carbonpy", "relay", "--config", str(self.config)]


class CarbonRelay(Relay):
    """carbon-relay of the PyPI package `carbon`."""

    name = "carbon-relay"

    def _further(self) -> list[str]:
        # Its queues must hold what it cannot send at once: by default it drops or stands still.
        return ["USE_FLOW_CONTROL = True", "MAX_QUEUE_SIZE = 1000000", "MAX_DATAPOINTS_PER_MESSAGE = 500"]

    def command(self) -> list[str]:
        script = self.python.parent / "carbon-relay.py"
        return [str(self.python), str(script), "--config", str(self.config), "--nodaemon", "start"]

    def is_ready(self) -> bool:
        import socket

        try:
            socket.create_connection(("127.0.0.1", self.line_port), timeout=1).close()
        except OSError:
            return False
        return True


class CRelay(CarbonRelay):
    """carbon-c-relay of Debian."""

    name = "carbon-c-relay"

    def _config_text(self) -> str:
        first, second = self.sinks
        return (f"cluster all carbon_ch 127.0.0.1:{first}=a 127.0.0.1:{second}=b;\n"
                f"match * send to all stop;\nlisten type linemode {self.line_port} proto tcp;\n")

    def command(self) -> list[str]:
        # Queues for everything, so that a slow sink does not make it drop.
        return [shutil.which("carbon-c-relay") or "carbon-c-relay", "-f", str(self.config), "-q", "1000000", "-s"]


def _send(paths: list[Path], port: int) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("sender.py")
    sender = subprocess.Popen([sys.executable, str(script), str(port), *map(str, paths)],
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert sender.stdin is not None
    sender.stdin.write(b"\n")
    sender.stdin.flush()
    return sender


def _run(kind: type[Relay], python: Path, payloads: list[Path], wanted: int, work_dir: Path,
         dead: bool = False, share: int = 0, protocol: str = "line") -> dict[str, Any]:
    """One relay, one million lines. With `dead` the second sink is not there and `share` lines are waited for."""
    ground = Path(tempfile.mkdtemp(prefix="relay-", dir=work_dir))
    ports = _free_port(), _free_port()
    sinks = Sinks(Path(sys.executable), (ports[0], 0 if dead else ports[1]), *["--pickle"] * (protocol == "pickle"))
    subject = kind(ground, python, ports, protocol)
    try:
        pid = subject.start()
        time.sleep(1.5)
        with MemoryWatch(pid) as watch:
            begun, before = time.monotonic(), cpu_seconds(pid)
            sender = _send(payloads, subject.line_port)
            goal = share if dead else wanted
            while (sinks.counts[0] if dead else sum(sinks.counts)) < goal and time.monotonic() < begun + PATIENCE:
                time.sleep(0.01)
            wall = time.monotonic() - begun
            first = wall
            sender.wait(PATIENCE)
            time.sleep(1.0)
            used = cpu_seconds(pid) - before
        return {"name": subject.name, "cpu": used / wanted * 1e6, "wall": wall, "first": first,
                "pss": watch.peak_pss, "counts": list(sinks.counts), "lost": goal - (
                    sinks.counts[0] if dead else sum(sinks.counts))}
    finally:
        subject.stop()
        sinks.stop()
        shutil.rmtree(ground, ignore_errors=True)


def run_relaying(work_dir: Path, own_python: Path, peer_python: Path, runs: int) -> dict[str, Any]:
    """All three relays in turns, then carbonpy with one destination dead."""
    workload = Workload(METRICS, POINTS, int(time.time()) // STEP * STEP)
    place = Path(tempfile.mkdtemp(prefix="payload-", dir=work_dir))
    results: dict[str, list[dict[str, Any]]] = {}
    problems: list[str] = []
    try:
        payloads = write_payloads(workload, False, place)
        for _ in range(runs):
            for kind, python in ((CarbonRelay, peer_python), (CRelay, peer_python), (Relay, own_python)):
                if kind is CRelay and shutil.which("carbon-c-relay") is None:
                    problems.append("carbon-c-relay is not installed: apt-get install carbon-c-relay")
                    continue
                one = _run(kind, python, payloads, workload.total, work_dir)
                results.setdefault(one["name"], []).append(one)
                print(f"bench: (relay) {one['name']:15} {one['cpu']:6.2f} CPU s/M, wall {one['wall']:6.2f} s, "
                      f"PSS {one['pss'] / 1e6:.0f} MB, sinks {one['counts']}", file=sys.stderr, flush=True)
                if one["lost"]:
                    problems.append(f"{one['name']}: {one['lost']} points did not arrive")
            for kind, python in ((CarbonRelay, peer_python), (Relay, own_python)):
                one = _run(kind, python, payloads, workload.total, work_dir, protocol="pickle")
                one["name"] += ", sends pickles"
                results.setdefault(one["name"], []).append(one)
                print(f"bench: (relay) {one['name']:30} {one['cpu']:6.2f} CPU s/M", file=sys.stderr, flush=True)
                if one["lost"]:
                    problems.append(f"{one['name']}: {one['lost']} points did not arrive")
        shares = {tuple(one["counts"]) for many in results.values() for one in many}
        if len(shares) > 1:
            problems.append(f"the relays share the metrics out differently: {shares}")
        alive, dead = [], []
        share = results[Relay.name][0]["counts"][0]
        for _ in range(runs):
            alive.append(_run(Relay, own_python, payloads, workload.total, work_dir)["wall"])
            dead.append(_run(Relay, own_python, payloads, workload.total, work_dir, True, share)["first"])
            print(f"bench: (relay) all sent after {alive[-1]:.2f} s; with one dead, the other has its share after "
                  f"{dead[-1]:.2f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return {"results": results, "alive": alive, "dead": dead, "problems": problems}


def relaying_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table."""
    medians = {name: {key: statistics.median(one[key] for one in many) for key in ("cpu", "wall", "pss")}
               for name, many in found["results"].items()}
    rows = []
    for name, one in medians.items():
        ours = medians[Relay.name + ", sends pickles" * ("pickles" in name)]["cpu"]
        rows.append((name, f"{one['cpu']:.2f}", f"{one['wall']:.2f}", f"{one['pss'] / 1e6:.0f}",
                     f"{one['cpu'] / ours:.1f}"))
    rows.append(("carbonpy relay, one of two destinations dead: until the other has its share", "",
                 f"{statistics.median(found['dead']):.2f}", "",
                 f"{statistics.median(found['alive']) / statistics.median(found['dead']):.2f} of the throughput"))
    return rows


