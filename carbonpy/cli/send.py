"""``carbonpy send``: datapoints from standard input, or this machine's own figures, to a Graphite port.

The law: a line is ``name value [timestamp]``; without a timestamp, or with -1, it is now.  A line that
the daemon would refuse is refused here, with its number, and costs only itself.  Lines go out as soon as
they are read, in batches.  At the end the sender waits until the daemon has read everything and closed.
Exit codes: 0 everything sent, 1 some lines refused, 2 wrong options, 3 not everything could be sent.
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from carbonpy.cli.connection import Connection, packing_of, tls_context
from carbonpy.cli.hostmetrics import HostFigures, node
from carbonpy.clock import Clock
from carbonpy.errors import CarbonError, MetricError
from carbonpy.metric import canonical

DEFAULT_LINE_PORT, DEFAULT_PICKLE_PORT = 2003, 2004
#: Datapoints of one pickle frame: what carbon's own clients send.
FRAME_POINTS = 500
#: Refused lines that are shown one by one; the rest is counted.
SHOWN_REFUSALS = 20
#: Looks at this machine that are kept while the daemon cannot be reached; then the oldest goes.
KEPT_LOOKS = 360
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
_READ_BYTES = 1 << 16

_EPILOG = """\
examples:
  echo "shop.orders 17" | carbonpy send                    one datapoint, now, to 127.0.0.1:2003
  carbonpy send --host graphite.example.org < points.txt   lines: name value timestamp
  carbonpy send --pickle < points.txt                      the same to the pickle port 2004
  carbonpy send --host graphite.example.org --port 2203 --tls --gzip < points.txt
  carbonpy send --host-metrics --interval 10               this machine's figures until Ctrl-C
  carbonpy send --host-metrics --once --prefix test.box    one look

exit codes: 0 everything sent, 1 some lines refused, 2 wrong options, 3 not everything could be sent
"""


class Point(NamedTuple):
    """One datapoint as it will be sent."""

    name: str
    value: float
    timestamp: int


def parse_line(line: bytes, now: Clock = time.time) -> Point:
    """The datapoint of one line.  Raises ValueError (or MetricError) with the reason it is refused."""
    try:
        fields = line.decode("utf-8").split()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    if len(fields) not in (2, 3):
        raise ValueError(f"{len(fields)} fields; write name value [timestamp]")
    canonical(fields[0])
    try:
        value = float(fields[1])
        timestamp = float(fields[2]) if len(fields) == 3 else -1.0
    except ValueError:
        raise ValueError(f"value {fields[1]!r} or timestamp {fields[-1]!r} is not a number") from None
    if math.isnan(value):
        raise ValueError("the value is NaN, which cannot be stored")
    if not math.isfinite(timestamp) or not (timestamp == -1 or 0 <= timestamp < 2**32):
        raise ValueError(f"timestamp {fields[2]} is not in seconds since 1970 (0 to 4294967295, or -1 for now)")
    return Point(fields[0], value, int(now()) if timestamp == -1 else int(timestamp))


def encode_lines(points: Iterable[Point]) -> bytes:
    """The points in the line protocol."""
    return "".join(f"{point.name} {point.value!r} {point.timestamp}\n" for point in points).encode()


def encode_pickle(points: Sequence[Point]) -> bytes:
    """The points in the pickle protocol: frames of at most `FRAME_POINTS`."""
    frames = []
    for start in range(0, len(points), FRAME_POINTS):
        batch = [(point.name, (point.timestamp, point.value)) for point in points[start : start + FRAME_POINTS]]
        body = pickle.dumps(batch, protocol=2)
        frames.append(struct.pack("!L", len(body)) + body)
    return b"".join(frames)


def send_with_patience(
    connection: Connection,
    data: bytes,
    patience: float,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send, trying again with growing pauses for at most `patience` seconds.  Raises CarbonError.

    What was under way when a connection broke is sent again; a point that arrives twice is stored once.
    """
    deadline, pause = clock() + patience, FIRST_PAUSE
    while True:
        try:
            connection.send(data)
            return
        except OSError as error:
            if clock() + pause > deadline:
                raise CarbonError(f"cannot send to {connection}: {error}; is the daemon running there?") from error
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def batches(read: Callable[[], bytes]) -> Iterator[list[bytes]]:
    """The complete lines of each piece that `read` returns until it returns b"" (a last line may lack its end)."""
    rest = b""
    while piece := read():
        *lines, rest = (rest + piece).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


def send_stream(
    read: Callable[[], bytes],
    connection: Connection,
    encode: Callable[[Sequence[Point]], bytes],
    patience: float,
) -> int:
    """Send everything that `read` brings and report on standard error; the exit code."""
    sent = refused = number = 0
    try:
        for lines in batches(read):
            points = []
            for line in lines:
                number += 1
                if not line.strip():
                    continue
                try:
                    points.append(parse_line(line))
                except (ValueError, MetricError) as error:
                    refused += 1
                    if refused <= SHOWN_REFUSALS:
                        print(f"line {number} refused: {error}", file=sys.stderr)
            if points:
                send_with_patience(connection, encode(points), patience)
                sent += len(points)
        connection.finish()
        code = 1 if refused else 0
    except CarbonError as error:
        _report(str(error))
        code = 3
    except TimeoutError:
        _report(f"{connection} has not read everything yet; the system goes on sending")
        code = 1 if refused else 0
    except OSError as error:
        _report(f"{connection} closed before it had read everything: {error}")
        code = 3
    if refused > SHOWN_REFUSALS:
        print(f"and {refused - SHOWN_REFUSALS} more lines refused", file=sys.stderr)
    print(f"sent {sent} datapoints to {connection}, refused {refused} lines", file=sys.stderr)
    return code


class HostSender:
    """Sends looks at this machine; keeps the last ones while the daemon is away.  One owner."""

    def __init__(
        self,
        figures: HostFigures,
        prefix: str,
        connection: Connection,
        encode: Callable[[Sequence[Point]], bytes],
        clock: Clock = time.time,
    ) -> None:
        self._figures, self._prefix = figures, prefix
        self._connection, self._encode, self._clock = connection, encode, clock
        self._waiting: deque[list[Point]] = deque(maxlen=KEPT_LOOKS)
        self._pause, self._again = FIRST_PAUSE, 0.0
        #: Datapoints handed over so far.
        self.sent = 0

    def look(self) -> list[Point]:
        """Look at the machine once; the figures as datapoints."""
        now = int(self._clock())
        return [Point(f"{self._prefix}.{name}", value, now) for name, value in self._figures.read()]

    def keep(self, points: list[Point]) -> None:
        """Let `points` wait for their turn; beyond `KEPT_LOOKS` the oldest go."""
        self._waiting.append(points)

    def deliver(self, now: float) -> float:
        """Send what waits, oldest first; when to try again (0.0: nothing waits).

        `now` is monotonic time; before the time that an earlier call named, nothing is tried.
        """
        if now < self._again:
            return self._again
        try:
            while self._waiting:
                self._connection.send(self._encode(self._waiting[0]))
                self.sent += len(self._waiting.popleft())
        except OSError as error:
            if not self._again:
                _report(f"cannot send to {self._connection}: {error}; trying on")
            self._again = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return self._again
        if self._again:
            _report(f"{self._connection} is back")
        self._pause, self._again = FIRST_PAUSE, 0.0
        return 0.0


def send_looks(sender: HostSender, first: list[Point], interval: float) -> None:
    """Send the `first` look and one every `interval` seconds until interrupted; the second, with rates, comes early."""
    sender.keep(first)
    due = time.monotonic() + min(1.0, interval)
    while True:
        now = time.monotonic()
        if now >= due:
            sender.keep(sender.look())
            due = max(due + interval, now)
        again = sender.deliver(now)
        wake = min(due, again) if again else due
        time.sleep(max(0.01, wake - time.monotonic()))


def send_host_metrics(sender: HostSender, connection: Connection, interval: float, once: bool, patience: float) -> int:
    """One look, or looks until SIGINT or SIGTERM; the exit code."""
    first = sender.look()
    if not first:
        _report("this system shows no figures below /proc")
        return 3
    code = 0
    try:
        if once:
            time.sleep(1.0)
            sender.keep(sender.look())
            deadline = time.monotonic() + patience
            while again := sender.deliver(time.monotonic()):
                if again > deadline:
                    code = 3
                    break
                time.sleep(max(0.0, again - time.monotonic()))
        else:
            send_looks(sender, first, interval)
    except KeyboardInterrupt:
        pass
    try:
        connection.finish()
    except OSError as error:
        _report(f"{connection} closed before it had read everything: {error}")
        code = 3
    print(f"sent {sender.sent} datapoints to {connection}", file=sys.stderr)
    return code


def _report(text: str) -> None:
    print(f"carbonpy send: {text}", file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy send``."""
    options = argparse.ArgumentParser(
        prog="carbonpy send",
        description="Send datapoints from standard input, lines of name value [timestamp], to a Graphite port.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--host", metavar="H", default="127.0.0.1", help="where the daemon runs (default: 127.0.0.1)")
    options.add_argument("--port", metavar="N", type=int, help="default: 2003, with --pickle 2004")
    options.add_argument("--pickle", action="store_true", help="use the pickle protocol")
    options.add_argument("--unix", metavar="PATH", help="a socket of this machine in place of --host and --port")
    packing = options.add_mutually_exclusive_group()
    packing.add_argument("--gzip", action="store_true", help="compress with gzip")
    packing.add_argument("--lz4", action="store_true", help="compress with lz4")
    options.add_argument("--tls", action="store_true", help="encrypt, if the other side's certificate is good")
    options.add_argument("--tls-ca", metavar="FILE", help="with --tls: authorities to trust (default: the system's)")
    options.add_argument("--tls-certificate", metavar="FILE", help="with --tls: our certificate, if one is asked for")
    options.add_argument("--tls-key", metavar="FILE", help="its key, if it is in another file")
    options.add_argument("--timeout", metavar="S", type=float, default=10.0, help="seconds to try (default: 10)")
    options.add_argument("--host-metrics", action="store_true", help="send this machine's own figures instead")
    options.add_argument("--interval", metavar="S", type=float, default=10.0, help="between looks (default: 10)")
    options.add_argument("--once", action="store_true", help="with --host-metrics: one look, then end")
    options.add_argument("--prefix", metavar="P", help="with --host-metrics: default servers.<host name>")
    return options


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy send`` with these arguments; its exit code."""
    wanted = parser()
    options = wanted.parse_args(argv)
    if not options.host_metrics and (options.once or options.prefix):
        wanted.error("--once and --prefix go with --host-metrics")
    if options.interval <= 0 or options.timeout <= 0:
        wanted.error("--interval and --timeout are seconds above zero")
    port = options.port if options.port is not None else DEFAULT_PICKLE_PORT if options.pickle else DEFAULT_LINE_PORT
    if not 0 < port < 65536:
        wanted.error(f"--port {port}: a port is 1 to 65535")
    if options.unix and options.tls:
        wanted.error("--unix is for sockets of this machine, which need no --tls")
    if not options.tls and (options.tls_ca or options.tls_certificate or options.tls_key):
        wanted.error("--tls-ca, --tls-certificate and --tls-key go with --tls")
    if options.tls_key and not options.tls_certificate:
        wanted.error("--tls-key goes with --tls-certificate")
    unix, tls, packing = options.unix or "", tls_context(options), packing_of(options)
    connection = Connection(options.host, port, options.timeout, unix=unix, tls=tls, packing=packing)
    encode: Callable[[Sequence[Point]], bytes] = encode_pickle if options.pickle else encode_lines
    if not options.host_metrics:
        return send_stream(lambda: os.read(sys.stdin.fileno(), _READ_BYTES), connection, encode, options.timeout)
    prefix = (options.prefix or f"servers.{node(socket.gethostname())}").rstrip(".")
    canonical(prefix)
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        sender = HostSender(HostFigures(), prefix, connection, encode)
        return send_host_metrics(sender, connection, options.interval, options.once, options.timeout)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
