"""A real `carbonpy cache` in a child process, configured by a generated carbon.conf, spoken to over its own ports.

`RunningDaemon.start` returns when `GET /ready` answers 200; the daemon may be ended (`terminate`), killed (`kill`) and
started again on the same ports and the same directories. It is signalled by its own process id and nothing else.
Not thread-safe, except that `health`, `render` and the senders may be called from several threads.
"""

from __future__ import annotations

import http.client
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.ports import free_ports
from support.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMAS = "[everything]\npattern = .*\nretentions = 1s:1h,1m:1d\n"
QUIET = {
    "MAX_UPDATES_PER_SECOND": "inf",
    "MAX_CREATES_PER_MINUTE": "inf",
    "ENABLE_TAGS": "False",
    "ENABLE_UDP_LISTENER": "True",
    "CARBON_METRIC_INTERVAL": "0",
    "LOG_UPDATES": "False",
    "LOG_CREATES": "False",
    "LOG_CACHE_HITS": "False",
    "LOG_CACHE_QUEUE_SORTS": "False",
}


class RunningDaemon:
    """One daemon with its own directory `root` (config, storage, log) and its own four ports."""

    #: Which program of carbonpy it is.
    program = "cache"

    def __init__(
        self,
        root: Path,
        conf_extra: Mapping[str, object] | None = None,
        schemas: str = SCHEMAS,
        *,
        web_extra: Mapping[str, object] | None = None,
        rules: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.storage_dir = root / "storage"
        self.data_dir = self.storage_dir / "whisper"
        self.config_path = root / "conf" / "carbon.conf"
        self.log_path = root / "daemon.log"
        self.conf_extra = dict(conf_extra or {})
        self.web_extra = dict(web_extra or {})
        self.line_port, self.pickle_port, self.query_port, self.http_port = free_ports(4)
        self.udp_port = self.line_port
        self.process: subprocess.Popen[bytes] | None = None
        #: A program that starts the daemon in its own place, such as `["prlimit", "--nofile=256:256"]`.
        self.launcher: list[str] = []
        self.config_path.parent.mkdir(parents=True)
        self.storage_dir.mkdir(parents=True)
        (self.config_path.parent / "storage-schemas.conf").write_text(schemas)
        for name, text in (rules or {}).items():
            (self.config_path.parent / name).write_text(text)

    # -- life ------------------------------------------------------------------------------------------------------

    def write_config(self) -> None:
        """The carbon.conf as it stands: quiet defaults, the ports, then what the test asked for."""
        cache: dict[str, object] = {
            "STORAGE_DIR": self.storage_dir,
            "LOCAL_DATA_DIR": self.data_dir,
            **{f"{kind}_INTERFACE": "127.0.0.1" for kind in
               ("LINE_RECEIVER", "PICKLE_RECEIVER", "UDP_RECEIVER", "CACHE_QUERY")},
            "LINE_RECEIVER_PORT": self.line_port,
            "UDP_RECEIVER_PORT": self.udp_port,
            "PICKLE_RECEIVER_PORT": self.pickle_port,
            "CACHE_QUERY_PORT": self.query_port,
            **QUIET,
            **self.conf_extra,
        }
        web: dict[str, object] = {"HTTP_INTERFACE": "127.0.0.1", "HTTP_PORT": self.http_port, **self.web_extra}
        sections = (("cache", cache), ("web", web))
        self.config_path.write_text(
            "\n".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
                      for name, options in sections)
        )

    def start(self, timeout: float = 30.0) -> RunningDaemon:
        """Start the child and return when it is ready; its log goes to `log_path`, appended."""
        assert self.process is None or self.process.poll() is not None, "it still runs"
        self.write_config()
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.launcher, sys.executable, "-m", "carbonpy", self.program, "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root, env=environment,
            )
        until("the daemon is ready", self._is_ready, timeout)
        return self

    def _is_ready(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            code = None if self.process is None else self.process.returncode
            raise RuntimeError(f"the daemon ended with {code} before it was ready; its log:\n{self.log()[-4000:]}")
        return self.get("/ready")[0] == 200

    @property
    def pid(self) -> int:
        assert self.process is not None, "it was not started"
        return self.process.pid

    def terminate(self, timeout: float = 20.0) -> int:
        """SIGTERM; returns the exit code. An AssertionError if it takes longer than `timeout` seconds."""
        assert self.process is not None, "it was not started"
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {timeout:g} s after SIGTERM; log:\n{self.log()[-4000:]}") from None

    def kill(self) -> None:
        """SIGKILL to the daemon itself; returns when the kernel has taken it and its children have followed."""
        assert self.process is not None, "it was not started"
        children = descendants(self.process.pid)
        self.process.kill()
        self.process.wait(20)
        until("the children ended with their parent", lambda: not [pid for pid in children if is_running(pid)], 20)

    def reload(self) -> None:
        """Write the configuration as `conf_extra` has it now, and SIGHUP."""
        self.write_config()
        assert self.process is not None, "it was not started"
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """Everything the daemon logged so far, over all its lives."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # -- talk in ---------------------------------------------------------------------------------------------------

    def send_bytes(self, payload: bytes, port: int | None = None) -> None:
        """One TCP connection: send all, close our half, return when the daemon has read to the end and closed."""
        with socket.create_connection(("127.0.0.1", port or self.line_port), timeout=30) as connection:
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    def send_lines(self, lines: Iterable[str]) -> None:
        """Send the lines (each without its newline) over one TCP connection to the line port."""
        self.send_bytes("".join(f"{line}\n" for line in lines).encode())

    def send_pickle(self, points: Sequence[tuple[str, tuple[float, float]]], protocol: int = 2) -> None:
        """Send `[(metric, (timestamp, value)), ...]` as one frame to the pickle port."""
        body = pickle.dumps(list(points), protocol)
        self.send_bytes(struct.pack("!L", len(body)) + body, self.pickle_port)

    def send_udp(self, lines: Iterable[str]) -> None:
        """Send each line as a datagram of its own."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for line in lines:
                sender.sendto(f"{line}\n".encode(), ("127.0.0.1", self.udp_port))

    # -- ask -------------------------------------------------------------------------------------------------------

    def get(self, path: str, timeout: float = 20.0) -> tuple[int, bytes]:
        """(status, body) of one GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as problem:
            raise ConnectionError(f"GET {path}: {problem!r}") from problem
        finally:
            connection.close()

    def health(self) -> dict[str, Any]:
        """The answer of /health."""
        status, body = self.get("/health")
        assert status == 200, (status, body)
        answer: dict[str, Any] = json.loads(body)
        return answer

    def ledger(self) -> dict[str, Any]:
        """The ledger of /health: received, written, cached, journal_backlog, dropped, balanced."""
        ledger: dict[str, Any] = self.health()["ledger"]
        return ledger

    def render(self, target: str | Sequence[str], **params: object) -> list[dict[str, Any]]:
        """The JSON answer of /render. `from_` stands for `from`."""
        targets = [target] if isinstance(target, str) else list(target)
        query = [("target", each) for each in targets] + [("format", "json")]
        query += [("from" if key == "from_" else key, str(value)) for key, value in params.items()]
        status, body = self.get("/render?" + urllib.parse.urlencode(query))
        assert status == 200, (status, body[:2000])
        series: list[dict[str, Any]] = json.loads(body)
        return series

    def cache_query(self, metric: str) -> list[tuple[float, float]]:
        """What CarbonLink answers for one metric: the points that are not in the file yet."""
        body = pickle.dumps({"type": "cache-query", "metric": metric}, 2)
        with socket.create_connection(("127.0.0.1", self.query_port), timeout=10) as link:
            link.sendall(struct.pack("!L", len(body)) + body)
            reader = link.makefile("rb")
            (length,) = struct.unpack("!L", reader.read(4))
            points: list[tuple[float, float]] = pickle.loads(reader.read(length))["datapoints"]
        return points

    def wait_until_written(self, count: int, timeout: float = 30.0) -> dict[str, Any]:
        """Return the ledger once `count` points are written and nothing is cached."""
        def settled() -> dict[str, Any]:
            ledger = self.ledger()
            assert ledger["written"] >= count and not ledger["cached"], ledger
            return ledger
        return until(f"{count} points are on disk", settled, timeout)


def dropped(ledger: Mapping[str, Any]) -> int:
    """All points the ledger says were dropped, whatever the reason."""
    return sum(ledger["dropped"].values())


def descendants(pid: int) -> list[int]:
    """Process ids of all children of `pid` and theirs, as they are now."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return found
    for task in tasks:
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except FileNotFoundError:
            continue
        for child in children:
            found += [int(child), *descendants(int(child))]
    return found


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
