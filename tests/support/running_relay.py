"""Real `carbonpy relay` and `carbonpy aggregator` processes, and what stands behind them."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from support.running import RunningDaemon
from support.waiting import until

R = TypeVar("R", bound=RunningDaemon)


class RunningRelay(RunningDaemon):
    """What `RunningDaemon` is for the cache.  `destinations` are "host:port:instance" texts."""

    program = "relay"

    def __init__(
        self,
        root: Path,
        destinations: Sequence[str],
        conf_extra: Mapping[str, object] | None = None,
        *,
        rules: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(root, conf_extra, rules=rules)
        self.destinations = list(destinations)

    def write_config(self) -> None:
        """The carbon.conf as it stands."""
        values: dict[str, object] = {
            "STORAGE_DIR": self.storage_dir,
            "LINE_RECEIVER_INTERFACE": "127.0.0.1",
            "LINE_RECEIVER_PORT": self.line_port,
            "UDP_RECEIVER_INTERFACE": "127.0.0.1",
            "UDP_RECEIVER_PORT": self.udp_port,
            "ENABLE_UDP_LISTENER": True,
            "PICKLE_RECEIVER_INTERFACE": "127.0.0.1",
            "PICKLE_RECEIVER_PORT": self.pickle_port,
            "HTTP_INTERFACE": "127.0.0.1",
            "HTTP_PORT": self.http_port,
            "RELAY_METHOD": "consistent-hashing",
            "DIVERSE_REPLICAS": False,
            "CARBON_METRIC_INTERVAL": 0,
            **({"DESTINATIONS": ", ".join(self.destinations)} if self.destinations else {}),
            **self.conf_extra,
        }
        lines = [f"[{self.program}]", *(f"{name} = {value}" for name, value in values.items()), ""]
        self.config_path.write_text("\n".join(lines))

    def destination(self, name: str) -> dict[str, Any]:
        """The figures of one destination in /health."""
        figures: dict[str, Any] = self.health()["destinations"][name]
        return figures

    def wait_until_delivered(self, points: int, timeout: float = 30.0) -> None:
        """Return when all destinations together have got `points` points, and everything balances."""

        def all_there() -> bool:
            health = self.health()
            figures = health["destinations"].values()
            assert sum(one["delivered"] for one in figures) >= points, health
            assert health["ledger"]["balanced"] and all(one["balanced"] for one in figures), health
            return True

        until(f"{points} points are delivered", all_there, timeout)


class RunningAggregator(RunningRelay):
    """A `carbonpy aggregator`."""

    program = "aggregator"


@contextlib.contextmanager
def ended_with_the_test() -> Iterator[Callable[[R], R]]:
    """Gives a function that starts a daemon and returns it; all are ended with the block."""
    begun: list[RunningDaemon] = []

    def begin(daemon: R) -> R:
        begun.append(daemon)
        daemon.start()
        return daemon

    yield begin
    for daemon in begun:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()


class Sink:
    """A TCP port that writes down the lines it gets."""

    def __init__(self, port: int = 0) -> None:
        self.lines: list[bytes] = []
        sink = self

        class Reader(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                sink.connections.append(self.connection)
                with contextlib.suppress(OSError):
                    for line in self.rfile:
                        sink.lines.append(line)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.connections: list[socket.socket] = []
        self._server = Server(("127.0.0.1", port), Reader)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and all connections."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def sinks(count: int) -> Iterator[list[Sink]]:
    """`count` sinks for the length of the block."""
    made = [Sink() for _ in range(count)]
    try:
        yield made
    finally:
        for sink in made:
            sink.stop()
