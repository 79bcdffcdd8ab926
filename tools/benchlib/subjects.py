"""The two daemons under test, each behind the same few verbs: start on a ground, be ready, be fed, stop.

Both get the same `[cache]` section: same schema, no limits on updates, creates or cache, sparse files, tags, own
metrics and update logs off. What the bench starts it ends, by process id and by nothing else.
"""

from __future__ import annotations

import abc
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from benchlib.environments import REPOSITORY
from benchlib.payload import RETENTIONS

READY_SECONDS = 60.0
STOP_SECONDS = 60.0


def _free_port() -> int:
    """A port below the range of outgoing connections that nothing listens on."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Subject(abc.ABC):
    """A daemon on a ground. `name` is what the tables call it."""

    name = ""

    def __init__(self, ground: Path, python: Path) -> None:
        self.python = python
        self.root = ground
        self.data_dir = ground / "storage" / "whisper"
        self.line_port, self.pickle_port, self.query_port, self.http_port = (_free_port() for _ in range(4))
        self.log_path = ground / "output.log"
        self.process: subprocess.Popen[bytes] | None = None
        (ground / "conf").mkdir()
        self.data_dir.mkdir(parents=True)
        self.config = ground / "conf" / "carbon.conf"
        self.config.write_text(self._config_text())
        (ground / "conf" / "storage-schemas.conf").write_text(
            f"[everything]\npattern = .*\nretentions = {RETENTIONS}\n"
        )
        (ground / "conf" / "storage-aggregation.conf").write_text(
            "[everything]\npattern = .*\nxFilesFactor = 0.5\naggregationMethod = average\n"
        )

    def _config_text(self) -> str:
        return "\n".join((
            "[cache]",
            f"STORAGE_DIR = {self.root}/storage",
            f"LOCAL_DATA_DIR = {self.data_dir}",
            f"LOG_DIR = {self.root}/storage/log",
            "LINE_RECEIVER_INTERFACE = 127.0.0.1", f"LINE_RECEIVER_PORT = {self.line_port}",
            "PICKLE_RECEIVER_INTERFACE = 127.0.0.1", f"PICKLE_RECEIVER_PORT = {self.pickle_port}",
            "CACHE_QUERY_INTERFACE = 127.0.0.1", f"CACHE_QUERY_PORT = {self.query_port}",
            "MAX_CACHE_SIZE = inf", "MAX_UPDATES_PER_SECOND = inf", "MAX_CREATES_PER_MINUTE = inf",
            "WHISPER_SPARSE_CREATE = True", "WHISPER_FALLOCATE_CREATE = False",
            "ENABLE_TAGS = False", "CARBON_METRIC_INTERVAL = 0",
            "LOG_UPDATES = False", "LOG_CREATES = False", "LOG_CACHE_HITS = False", "LOG_CACHE_QUEUE_SORTS = False",
            "LOG_LISTENER_CONN_SUCCESS = False",
            "",
        ))

    @abc.abstractmethod
    def command(self) -> list[str]:
        """The command line that runs it in the foreground."""

    @abc.abstractmethod
    def is_ready(self) -> bool:
        """Whether all its listeners are up."""

    def has_settled(self, sent: int) -> bool:
        """Whether its own books say that nothing is left to do; a daemon that keeps none has settled."""
        return True

    def has_received(self, sent: int) -> bool:
        """Whether its own books say that `sent` points came in; a daemon that keeps none has, once it read them."""
        return True

    def start(self) -> int:
        """Start it and wait until it is ready; returns the process id."""
        environment = {**os.environ, "GRAPHITE_ROOT": str(self.root), "PYTHONPATH": str(REPOSITORY)}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root, env=environment
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None:
                raise SystemExit(f"bench: {self.name} ended at start:\n{self.output()}")
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: {self.name} was not ready within {READY_SECONDS:g} s:\n{self.output()}")
            time.sleep(0.05)
        return self.process.pid

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if it does not end in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def output(self) -> str:
        """The last things it said."""
        return self.log_path.read_text(errors="replace")[-4000:] if self.log_path.exists() else ""


class Carbon(Subject):
    """carbon-cache of the PyPI package `carbon`."""

    name = "carbon"

    def command(self) -> list[str]:
        script = self.python.parent / "carbon-cache.py"
        return [str(self.python), str(script), "--config", str(self.config), "--nodaemon", "start"]

    def is_ready(self) -> bool:
        for port in (self.line_port, self.pickle_port, self.query_port):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
        return True


class Carbonpy(Subject):
    """`carbonpy cache` of this checkout."""

    name = "carbonpy"

    def _config_text(self) -> str:
        return super()._config_text() + f"\n[web]\nHTTP_INTERFACE = 127.0.0.1\nHTTP_PORT = {self.http_port}\n"

    def command(self) -> list[str]:
        return [str(self.python), "-m", "carbonpy", "cache", "--config", str(self.config)]

    def get(self, path: str) -> tuple[int, bytes]:
        """(status, body) of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        try:
            return self.get("/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def health(self) -> dict[str, Any]:
        """The answer of /health."""
        answer: dict[str, Any] = json.loads(self.get("/health")[1])
        return answer

    def has_received(self, sent: int) -> bool:
        return int(self.health()["ledger"]["received"]) >= sent

    def has_settled(self, sent: int) -> bool:
        ledger = self.health()["ledger"]
        return bool(ledger["written"] >= sent and not ledger["cached"])
