"""What is written to a connection arrives whole and in order, whatever the system takes at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Server
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from carbonpy.web.channel import Channel, line


class Wire:
    """A channel on a real socket whose buffers are small, and the other end of it."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        for end in (ours, self.theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
            end.setblocking(False)
        self.ours = ours
        self.channel = Channel()
        self.channel.timeOut = None
        self.transport = Server(ours, self.channel, ("127.0.0.1", 1), None, 0, MemoryReactorClock())
        self.channel.makeConnection(self.transport)
        self.arrived = bytearray()

    def read(self, most: int = 1 << 20) -> None:
        """Take up to `most` bytes."""
        try:
            self.arrived += self.theirs.recv(most)
        except BlockingIOError:
            pass

    def drain(self) -> None:
        """Let the reactor write until all has arrived."""
        while self.transport.dataBuffer or self.transport._tempDataBuffer:
            self.transport.doWrite()
            self.read()
        self.read()

    def close(self) -> None:
        """Nothing more."""
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


@given(st.lists(st.tuples(st.integers(0, 20_000), st.booleans(), st.integers(0, 30_000)), max_size=12))
def test_all_that_is_written_arrives_in_order(pieces: list[tuple[int, bool, int]]) -> None:
    wire = Wire()
    written = bytearray()
    room = bytearray(20_000)
    for number, (size, viewed, taken) in enumerate(pieces):
        piece = bytes([number + 1]) * size
        written += piece
        room[:size] = piece
        wire.channel.write(memoryview(room)[:size] if viewed else piece)
        room[:] = bytes(len(room))  # a view is good until the call has returned
        if taken:
            wire.read(taken)
    wire.drain()
    assert wire.arrived == written
    wire.close()


def test_a_head_goes_out_with_the_beginning_of_its_body(wire: Wire) -> None:
    wire.channel.lines = [line("Server", "carbonpy"), line("X", "a\r\nSet-Cookie: b\nc")]
    wire.channel.writeHeaders(b"HTTP/1.1", b"200", b"OK", Headers({"content-length": ["4"]}))
    wire.read()
    assert wire.arrived == b""
    wire.channel.write(b"body")
    wire.read()
    head, _, body = bytes(wire.arrived).partition(b"\r\n\r\n")
    assert body == b"body"
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Server: carbonpy",
        b"X: a Set-Cookie: b c",
        b"Content-Length: 4",
    ]


def test_lines_are_for_one_head(wire: Wire) -> None:
    wire.channel.lines = [line("X", "y")]
    for _ in range(2):
        wire.channel.writeHeaders(b"HTTP/1.1", b"204", b"No Content", Headers())
        wire.channel.writeSequence(())
    wire.read()
    assert bytes(wire.arrived).count(b"X: y") == 1 and bytes(wire.arrived).count(b"HTTP/1.1 204") == 2


def test_a_client_that_is_gone_is_no_error(wire: Wire) -> None:
    wire.theirs.close()
    wire.channel.write(b"x" * 100_000)
