"""Compressed and framed connections in memory: any cut, pauses, bombs, and who is told what."""

from __future__ import annotations

import gzip
import socket
import struct
import zlib
from typing import Any

import lz4.frame
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.looping import Looping
from support.receiving import House, lose
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.testing import StringTransport

from carbonpy.net.receivers import LineReceiver, PickleReceiver, ProtobufReceiver, ReceiverFactory
from carbonpy.wire import payload
from carbonpy.wire.compressed import encoder
from carbonpy.wire.payload import encode_points
from carbonpy.wire.pickled import encode_frames

NAMES = [b"servers.web%03d.cpu" % number for number in range(300)]
TIMES, VALUES = np.arange(300), np.arange(300) / 4
LINES = b"".join(b"%b %r %d\n" % one for one in zip(NAMES, VALUES.tolist(), TIMES.tolist()))
POINTS = [(name.decode(), when, value) for name, when, value in zip(NAMES, TIMES.tolist(), VALUES.tolist())]
STREAMS = {
    LineReceiver: LINES,
    PickleReceiver: b"".join(struct.pack(">I", len(one)) + one for one in encode_frames(NAMES, TIMES, VALUES, 77)),
    ProtobufReceiver: b"".join(
        struct.pack(">I", len(one)) + one
        for one in payload.encode_frames(NAMES, TIMES, VALUES, 77)
    ),
}


def connect(house: House, kind: Any = LineReceiver, compression: str = "") -> tuple[Any, StringTransport]:
    protocol: Any = ReceiverFactory(house.receivers, kind, compression=compression).buildProtocol(
        IPv4Address("TCP", "192.0.2.1", 4000)
    )
    assert protocol is not None
    receiver = getattr(protocol, "_receiver", protocol)
    receiver.callLater = house.clock.callLater
    transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4000))
    protocol.makeConnection(transport)
    return protocol, transport


class Timed(ReceiverFactory):
    """Receivers that wait by a reactor of the test's own."""

    def __init__(self, reactor: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reactor = reactor

    def buildProtocol(self, addr: Any) -> Any:
        protocol: Any = super().buildProtocol(addr)
        protocol._receiver.callLater = self._reactor.callLater
        return protocol


@given(
    st.sampled_from(list(STREAMS)),
    st.sampled_from(["", "gzip", "lz4"]),
    st.lists(st.integers(0, 50_000), max_size=60),
    st.lists(st.integers(0, 60), max_size=5),
)
@settings(max_examples=400, deadline=None)
def test_any_stream_cut_anywhere_and_paused_at_any_time_gives_every_point_once(kind, compression, cuts, pauses) -> None:
    house = House()
    protocol, transport = connect(house, kind, compression)
    stream = encoder(compression)(STREAMS[kind]) if compression else STREAMS[kind]
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for number, (start, end) in enumerate(zip(places, places[1:])):
        if number in pauses:
            house.receivers.pause()
            assert transport.producerState == "paused"
            house.clock.advance(0)
            house.receivers.resume()
        protocol.dataReceived(stream[start:end])
        house.clock.advance(0)
    assert transport.producerState == "producing"
    lose(protocol)
    assert sorted(house.points) == sorted(POINTS)
    assert house.dropped == {} and len(house.receivers) == 0
    house.balance()


@given(st.sampled_from(list(STREAMS)), st.sampled_from(["", "gzip", "lz4"]), st.binary(max_size=300), st.booleans())
@settings(max_examples=300, deadline=None)
def test_garbage_never_raises_and_always_balances(kind, compression, garbage, behind) -> None:
    house = House()
    protocol, _ = connect(house, kind, compression)
    if behind:
        protocol.dataReceived(encoder(compression or "none")(STREAMS[kind]))
    protocol.dataReceived(garbage)
    house.clock.advance(0)
    lose(protocol)
    house.balance()


@pytest.mark.parametrize("compression", ["gzip", "lz4"])
def test_a_large_stream_comes_in_pieces_between_which_others_are_served(compression) -> None:
    loop = Looping()
    house = House(loop.reactor)
    try:
        factory = Timed(loop.reactor, house.receivers, LineReceiver, compression=compression)
        port = loop.reactor.listenTCP(0, factory, interface="127.0.0.1")
        loop.ports.append(port)
        place = ("127.0.0.1", port.getHost().port)
        with socket.create_connection(place) as large, socket.create_connection(place) as small:
            text = LINES * 2000  # 13 MB in some hundred kilobytes
            large.sendall(gzip.compress(text) if compression == "gzip" else lz4.frame.compress(text))
            loop.until(lambda: house.points)
            small.sendall(encoder(compression)(b"a.small.one 1 1\n"))
            loop.until(lambda: ("a.small.one", 1, 1.0) in house.points[-40_000:])
            assert len(house.points) < 300_000
            loop.until(lambda: len(house.points) == 600_001, 60)
            large.sendall(encoder(compression)(LINES))  # it is read again
            loop.until(lambda: len(house.points) == 600_301)
    finally:
        loop.close()
    house.balance()


def test_nothing_is_unpacked_while_receivers_are_paused() -> None:
    house = House()
    protocol, transport = connect(house, compression="gzip")
    protocol.dataReceived(gzip.compress(LINES * 2000))
    assert transport.producerState == "paused"
    house.receivers.pause()
    seen = len(house.points)
    for _ in range(5):
        house.clock.advance(0.01)
    assert len(house.points) == seen < 600_000
    house.receivers.resume()
    house.receivers.pause()
    house.receivers.resume()
    while len(house.points) < 600_000:
        house.clock.advance(0.01)
    assert transport.producerState == "producing"


@pytest.mark.parametrize("how", ["the peer closes", "the daemon stops"])
def test_what_was_sent_before_the_end_is_taken_in(how) -> None:
    house = House()
    protocol, _ = connect(house, compression="gzip")
    protocol.dataReceived(gzip.compress(LINES * 2000))
    if how == "the daemon stops":
        house.receivers.stop()
        assert len(house.points) == 600_000
    lose(protocol)
    assert len(house.points) == 600_000
    house.balance()


def test_a_bomb_ends_its_connection_and_is_counted() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    stream = bomb.compress(LINES) + bomb.compress(bytes(96 << 20)) + bomb.flush()
    house = House()
    protocol, transport = connect(house, compression="gzip")
    for start in range(0, len(stream), 65536):
        protocol.dataReceived(stream[start : start + 65536])
        while house.clock.getDelayedCalls() and not transport.disconnecting:
            house.clock.advance(0)
    assert transport.disconnecting
    assert len(house.points) == 300 and set(house.dropped) == {"malformed"}
    assert "256 times" in house.complaints[-1][2] and house.complaints[-1][0] == "192.0.2.1:4000"
    lose(protocol)
    assert len(house.receivers) == 0
    house.balance()


@pytest.mark.parametrize("compression", ["gzip", "lz4"])
def test_what_is_not_compressed_ends_its_connection_and_is_counted_once(compression) -> None:
    house = House()
    protocol, transport = connect(house, compression=compression)
    protocol.dataReceived(LINES)
    assert transport.disconnecting and house.dropped == {"malformed": 1}
    assert "does the sender compress as this port expects" in house.complaints[0][2]
    protocol.dataReceived(LINES)
    assert house.dropped == {"malformed": 1}


def test_a_bad_message_of_protobuf_costs_itself_and_an_endless_one_its_connection() -> None:
    house = House(frame_length=1000)
    protocol, transport = connect(house, ProtobufReceiver)
    good = encode_points([b"a.b"], [5], [1.0])
    for frame in (good, b"\x0a\xff", good):
        protocol.dataReceived(struct.pack(">I", len(frame)) + frame)
    assert house.points == [("a.b", 5, 1.0)] * 2 and house.dropped == {"malformed": 1}
    assert not transport.disconnecting
    protocol.dataReceived(struct.pack(">I", 1001))
    assert transport.disconnecting and house.dropped == {"malformed": 2}
    house.balance()


def test_an_idle_sender_is_disconnected_whatever_it_speaks() -> None:
    for compression in ("", "gzip"):
        house = House(idle_timeout=10.0)
        protocol, transport = connect(house, compression=compression)
        house.clock.advance(6)
        protocol.dataReceived(encoder(compression or "none")(LINES))
        house.clock.advance(6)
        assert not transport.disconnecting
        house.clock.advance(5)
        assert transport.disconnecting


def test_a_handshake_may_not_take_for_ever() -> None:
    house = House()
    factory = ReceiverFactory(house.receivers, LineReceiver, secure=True)
    for completed in (False, True):
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        protocol.callLater = house.clock.callLater
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4000))
        protocol.makeConnection(transport)
        if completed:
            protocol.handshakeCompleted()
        house.clock.advance(31)
        assert transport.disconnecting is not completed


def test_a_sender_on_a_socket_of_this_machine_is_called_by_the_path() -> None:
    house = House()
    protocol: Any = ReceiverFactory(house.receivers, LineReceiver).buildProtocol(UNIXAddress(b""))
    transport = StringTransport(UNIXAddress(b"/run/carbonpy.sock"), UNIXAddress(b""))
    protocol.makeConnection(transport)
    protocol.dataReceived(b"bad\n")
    assert house.complaints[0][0] == "unix:/run/carbonpy.sock"
