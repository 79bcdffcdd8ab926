"""The cluster of conf/cluster on this machine: three caches, two relays, a front end; started, killed and ended.

The law: everything lives below one directory, and what was started here is ended here, by its own process numbers.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf" / "cluster"
CACHES, RELAYS = ("a", "b", "c"), ("a", "b")
ADDRESSES = {"a": "127.0.0.1", "b": "127.0.0.2", "c": "127.0.0.3"}
#: What listens where, in conf/cluster.
PORTS = {
    "line": 2003,
    "pickle": 2004,
    "relay line": 2013,
    "relay pickle": 2014,
    "query": 7002,
    "cache http": 8080,
    "relay http": 8081,
    "front http": 8082,
}


def until(what: str, ask: Callable[[], Any], seconds: float, pause: float = 0.05) -> Any:
    """The first true answer of `ask`; OSError and ValueError count as not yet.  Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        seen: object
        try:
            if answer := ask():
                return answer
            seen = answer
        except (OSError, ValueError) as error:
            seen = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s; seen last: {str(seen)[:2000]}")
        time.sleep(pause)


class Program:
    """One daemon of the cluster.  Its log is appended to over all of its lives."""

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, http: tuple[str, int]
    ) -> None:
        self.name = name
        self.command = command
        self.environment = environment
        self.log = log
        self.http = http
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it; `wait` waits until it is ready."""
        assert not self.runs, f"{self.name} runs"
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the tool alone.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env={**os.environ, **self.environment}, start_new_session=True,
            )  # fmt: skip

    def wait(self, seconds: float = 60.0) -> None:
        """Return when it is ready."""
        until(f"{self.name} is ready", self.is_ready, seconds)

    def is_ready(self) -> bool:
        """Whether it says so itself.  Raises RuntimeError when it has ended."""
        if not self.runs:
            code = self.process.returncode if self.process else None
            raise RuntimeError(f"{self.name} ended with exit code {code}; its log is {self.log}")
        try:
            return self.get("/ready")[0] == 200
        except OSError:
            return False

    def get(self, path: str, seconds: float = 10.0) -> tuple[int, bytes]:
        """(status, body) of GET.  Raises OSError."""
        connection = http.client.HTTPConnection(*self.http, timeout=seconds)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{self.name}: GET {path}: {error!r}") from error
        finally:
            connection.close()

    def health(self, seconds: float = 10.0) -> dict[str, Any]:
        """Its /health.  Raises OSError or ValueError while it gives none."""
        answer: dict[str, Any] = json.loads(self.get("/health", seconds)[1])
        return answer

    def kill(self) -> None:
        """kill -9; returns when it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def hold(self) -> None:
        """It stands still and its connections stay open (SIGSTOP)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        if self.runs and self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """SIGTERM, also to one that is held."""
        if self.runs and self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGCONT)

    def wait_for_end(self, seconds: float = 60.0) -> int:
        """Its exit code, after SIGTERM; after `seconds` it is killed."""
        if self.process is None:
            return 0
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"{self.name} does not end and is killed", file=sys.stderr)
            self.process.kill()
            return self.process.wait()


class Cluster:
    """All programs, with configurations made of conf/cluster: other ports where those are taken, and `changes`.

    place: a directory of its own.  changes: section -> settings that are set for all of its instances.  storage: for
    caches whose files lie elsewhere.
    """

    def __init__(
        self,
        place: Path,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        storage: Mapping[str, Path] | None = None,
        schemas: str | None = None,
    ) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        self.ports: dict[str, int] = {}
        for what, port in PORTS.items():
            self.ports[what] = _free_port(port, set(self.ports.values()))
        cluster = yaml.safe_load(self._moved((CONF / "carbonpy.yaml").read_text()))
        for section, settings in (changes or {}).items():
            cluster[section] = {**(cluster.get(section) or {}), **settings}
        for instance in cluster["instances"].values():
            for section, port in (("cache", "line"), ("relay", "relay line")):
                if section in instance:
                    instance[section]["line_receiver_port"] = self.ports[port]
                    instance[section]["pickle_receiver_port"] = self.ports[port.replace("line", "pickle")]
            if "cache" in instance:
                instance["cache"]["cache_query_port"] = self.ports["query"]
        # JSON is YAML.
        self.config = place / "carbonpy.yaml"
        self.config.write_text(json.dumps(cluster, indent=1))
        self.front_config = place / "front.yaml"
        self.front_config.write_text(self._moved((CONF / "front.yaml").read_text()))
        (place / "storage-schemas.conf").write_text(schemas or (CONF / "storage-schemas.conf").read_text())
        self.storage = {name: (storage or {}).get(name) or place / f"machine-{name}" for name in CACHES}
        for path in self.storage.values():
            path.mkdir(parents=True, exist_ok=True)
        self.caches = {name: self._program("cache", name, "cache http") for name in CACHES}
        self.relays = {name: self._program("relay", name, "relay http") for name in RELAYS}
        self.front = Program(
            "front",
            [sys.executable, "-m", "carbonpy", "web", "--config", str(self.front_config), "--pidfile", ""],
            {"GRAPHITE_STORAGE_DIR": str(place / "front")},
            place / "front.log",
            (ADDRESSES["a"], self.ports["front http"]),
        )

    def _moved(self, text: str) -> str:
        """A text of conf/cluster with the ports that are free."""
        moved = {str(port): str(self.ports[what]) for what, port in PORTS.items()}
        return re.sub(rf"\b({'|'.join(moved)})\b", lambda match: moved[match[0]], text)

    def _program(self, kind: str, name: str, port: str) -> Program:
        return Program(
            f"{kind} {name}",
            [sys.executable, "-m", "carbonpy", kind, "--config", str(self.config), "--instance", name, "--pidfile", ""],
            {"GRAPHITE_STORAGE_DIR": str(self.storage[name])},
            self.place / f"{kind}-{name}.log",
            (ADDRESSES[name], self.ports[port]),
        )

    @property
    def programs(self) -> list[Program]:
        """All of them, in the order in which they end: nothing is sent to what has ended."""
        return [self.front, *self.relays.values(), *self.caches.values()]

    def start(self, front: bool = True) -> None:
        """Start all; returns when they are ready."""
        wanted = [program for program in reversed(self.programs) if front or program is not self.front]
        for program in wanted:
            program.start()
        for program in wanted:
            program.wait()

    def relay_address(self, name: str) -> tuple[str, int]:
        """Where a relay takes lines."""
        return ADDRESSES[name], self.ports["relay line"]

    def files_of(self, name: str) -> Path:
        """The whisper files of a cache."""
        return self.storage[name] / "whisper"

    def destination(self, name: str) -> str:
        """How relays call a cache."""
        return f"{ADDRESSES[name]}:{self.ports['pickle']}:{name}"

    def end(self) -> dict[str, int]:
        """End everything that runs, relays first; exit codes by name."""
        codes = {}
        for group in ([self.front, *self.relays.values()], self.caches.values()):
            running = [program for program in group if program.runs]
            for program in running:
                program.ask_to_end()
            for program in running:
                codes[program.name] = program.wait_for_end()
        return codes


def _free_port(port: int, taken: set[int]) -> int:
    """`port` if it is free at all addresses of the cluster and not `taken`, or one that is."""
    while True:
        try:
            for address in ADDRESSES.values():
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
                    probe.listen()
            if port not in taken:
                return port
        except OSError:
            pass
        with socket.socket() as other:
            other.bind((ADDRESSES["a"], 0))
            port = other.getsockname()[1]
