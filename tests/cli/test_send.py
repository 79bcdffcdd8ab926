"""`carbonpy send` against real listening sockets: what arrives, what is refused, what happens when nobody listens."""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ports import free_ports
from support.waiting import until

from carbonpy.cli import send
from carbonpy.cli.hostmetrics import HostFigures
from carbonpy.errors import CarbonError, MetricError

ROOT = Path(__file__).resolve().parents[2]


class Listener:
    """A TCP port that keeps what it gets, connection by connection."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[bytearray] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            self.received.append(bytearray())
            threading.Thread(target=self._read, args=(connection, self.received[-1]), daemon=True).start()

    @staticmethod
    def _read(connection: socket.socket, into: bytearray) -> None:
        try:
            while piece := connection.recv(65536):
                into += piece
        except OSError:
            pass
        connection.close()

    def text(self) -> str:
        return b"".join(self.received).decode()

    def close(self) -> None:
        for connection in (self._socket, *self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.close()


def run_send(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "carbonpy", "send", *arguments], input=stdin, cwd=ROOT, capture_output=True, timeout=30
    )


def test_lines_arrive_and_are_counted(listener: Listener) -> None:
    done = run_send("--port", str(listener.port), stdin=b"a.b 1 1000\n\nc;d=e 2.5 1001\nlast 3 1002")
    assert (done.returncode, done.stdout) == (0, b"")
    assert f"sent 3 datapoints to 127.0.0.1:{listener.port}, refused 0 lines" in done.stderr.decode()
    assert listener.text() == "a.b 1.0 1000\nc;d=e 2.5 1001\nlast 3.0 1002\n"


def test_a_missing_timestamp_and_minus_one_mean_now(listener: Listener) -> None:
    before = int(time.time())
    assert run_send("--port", str(listener.port), stdin=b"a 1\nb 2 -1\n").returncode == 0
    stamps = [int(line.split()[2]) for line in listener.text().splitlines()]
    assert len(stamps) == 2
    assert all(before <= stamp <= time.time() for stamp in stamps)


def test_refused_lines_are_named_by_number_and_cost_only_themselves(listener: Listener) -> None:
    bad = b"no\nbad.value x 1000\n\xff\xfe 1 1000\nnot.a.number nan 1000\n... 1 1\nlate 1 1e12\n"
    stdin = b"good.one 1 1000\n" + bad + b"good.two 2 1000\n"
    done = run_send("--port", str(listener.port), stdin=stdin)
    assert done.returncode == 1
    report = done.stderr.decode()
    for number, reason in ((2, "1 fields"), (3, "'x'"), (4, "UTF-8"), (5, "NaN"), (6, "no node"), (7, "seconds since")):
        assert f"line {number} refused: " in report
        assert reason in report
    assert "sent 2 datapoints" in report
    assert "refused 6 lines" in report
    assert listener.text() == "good.one 1.0 1000\ngood.two 2.0 1000\n"


def test_the_pickle_port_gets_frames_that_plain_pickle_reads(listener: Listener) -> None:
    stdin = b"".join(b"m.%d %d 1000\n" % (number, number) for number in range(1200))
    assert run_send("--pickle", "--port", str(listener.port), stdin=stdin).returncode == 0
    data, points = bytes(listener.received[0]), []
    while data:
        (length,) = struct.unpack("!L", data[:4])
        frame = pickle.loads(data[4 : 4 + length])
        assert len(frame) <= send.FRAME_POINTS
        points += frame
        data = data[4 + length :]
    assert points == [(f"m.{number}", (1000, float(number))) for number in range(1200)]


def test_lines_are_sent_while_standard_input_stays_open(listener: Listener) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "carbonpy", "send", "--port", str(listener.port)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(b"early 1 1000\n")
    child.stdin.flush()
    until("the line arrived", lambda: listener.text() == "early 1.0 1000\n")
    assert child.poll() is None
    _, report = child.communicate(timeout=20)
    assert child.returncode == 0
    assert b"sent 1 datapoints" in report


def test_nobody_listening_is_said_in_one_line_with_exit_code_3() -> None:
    (port,) = free_ports(1)
    done = run_send("--port", str(port), "--timeout", "0.5", stdin=b"a 1 1000\n")
    assert done.returncode == 3
    assert f"cannot send to 127.0.0.1:{port}: " in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_wrong_options_end_with_exit_code_2() -> None:
    for arguments in (("--port", "99999"), ("--once",), ("--interval", "0", "--host-metrics"), ("--nonsense",)):
        done = run_send(*arguments)
        assert done.returncode == 2
        assert b"usage: carbonpy send" in done.stderr


def test_patience_waits_longer_each_time_and_then_gives_up() -> None:
    (port,) = free_ports(1)
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    with pytest.raises(CarbonError, match="is the daemon running"):
        send.send_with_patience(send.Connection("127.0.0.1", port, 5), b"x", 4.0, lambda: now[0], sleep)
    assert pauses == [0.25, 0.5, 1.0, 2.0]


def test_a_connection_that_the_daemon_closed_is_made_again_and_nothing_goes_astray(listener: Listener) -> None:
    connection = send.Connection("127.0.0.1", listener.port, 5)
    connection.send(b"one\n")
    until("the first line arrived", lambda: listener.text() == "one\n")
    port = listener.port
    listener.close()
    again = Listener(port)
    try:
        until("the close was seen", lambda: send.Connection._is_closed_by_peer(connection._socket))  # type: ignore[arg-type]
        connection.send(b"two\n")
        connection.finish()
        assert again.text() == "two\n"
    finally:
        again.close()


def test_host_metrics_once_sends_one_look_with_rates(listener: Listener) -> None:
    done = run_send("--host-metrics", "--once", "--prefix", "test.box", "--port", str(listener.port))
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in listener.text().splitlines()]
    assert {"test.box.load.1min", "test.box.memory.total", "test.box.cpu.idle"} <= set(names)
    assert len(names) == len(set(names))
    assert f"sent {len(names)} datapoints" in done.stderr.decode()


def test_host_metrics_go_on_until_sigterm_and_end_cleanly(listener: Listener) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "carbonpy", "send", "--host-metrics", "--interval", "0.1", "--port", str(listener.port)],
        stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    until("three looks arrived", lambda: listener.text().count(".load.1min ") >= 3)
    child.send_signal(signal.SIGTERM)
    _, report = child.communicate(timeout=20)
    assert child.returncode == 0
    assert b"datapoints to" in report
    assert listener.text().endswith("\n")


def host_sender(port: int, encode: Callable[..., bytes] = send.encode_lines) -> send.HostSender:
    connection = send.Connection("127.0.0.1", port, 5)
    return send.HostSender(HostFigures("/nonexistent"), "x", connection, encode)


def test_looks_wait_while_the_daemon_is_away_and_arrive_in_order_when_it_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (port,) = free_ports(1)
    sender = host_sender(port)
    sender.keep([send.Point("x.a", 1.0, 10)])
    assert sender.deliver(100.0) == 100.25
    sender.keep([send.Point("x.a", 2.0, 20)])
    assert sender.deliver(100.1) == 100.25
    assert sender.deliver(100.25) == 100.75
    assert sender.deliver(100.75) == 101.75
    assert capsys.readouterr().err.count("trying on") == 1
    back = Listener(port)
    try:
        assert sender.deliver(101.75) == 0.0
        assert sender.sent == 2
        until("both looks arrived", lambda: back.text() == "x.a 1.0 10\nx.a 2.0 20\n")
    finally:
        back.close()
    assert "is back" in capsys.readouterr().err


def test_the_looks_that_wait_are_bounded_and_the_newest_stay(listener: Listener) -> None:
    sender = host_sender(listener.port)
    for number in range(send.KEPT_LOOKS + 10):
        sender.keep([send.Point("x.a", 0.0, number)])
    assert sender.deliver(0.0) == 0.0
    assert sender.sent == send.KEPT_LOOKS
    until("all arrived", lambda: len(listener.text().splitlines()) == send.KEPT_LOOKS)
    assert listener.text().startswith("x.a 0.0 10\n")


@given(st.lists(st.binary(max_size=20)), st.integers(min_value=1, max_value=7))
def test_lines_do_not_depend_on_how_the_input_was_cut(lines: list[bytes], size: int) -> None:
    text = b"\n".join(line.replace(b"\n", b"") for line in lines)
    source = io.BytesIO(text)
    cut = [line for batch in send.batches(lambda: source.read(size)) for line in batch]
    whole = text.split(b"\n")
    assert cut == (whole[:-1] if not whole[-1] else whole)


@given(st.binary(max_size=60))
def test_garbage_is_refused_with_a_reason_or_sent_and_never_breaks(line: bytes) -> None:
    try:
        point = send.parse_line(line, lambda: 1234.5)
    except (ValueError, MetricError) as error:
        assert str(error)
    else:
        assert 0 <= point.timestamp < 2**32
        name, value, timestamp = send.encode_lines([point]).decode().split()
        assert (name, float(value), int(timestamp)) == point


def test_a_pipe_that_ends_at_once_is_no_error(listener: Listener) -> None:
    with open(os.devnull, "rb") as nothing:
        done = subprocess.run(
            [sys.executable, "-m", "carbonpy", "send", "--port", str(listener.port)],
            stdin=nothing, cwd=ROOT, capture_output=True, timeout=20,
        )  # fmt: skip
    assert done.returncode == 0
    assert b"sent 0 datapoints" in done.stderr
