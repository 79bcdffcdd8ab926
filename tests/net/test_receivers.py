"""Receivers: a bad line costs itself, a paused sender is not read, limits hold; in memory and on loopback."""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from support.looping import Looping
from support.receiving import House, lose
from twisted.internet.address import IPv4Address

from carbonpy.net.receivers import (
    LineReceiver,
    PickleReceiver,
    ReceiverFactory,
    ReceiverLimits,
    UdpReceiver,
)


def frame(*points: tuple[str, int, float]) -> bytes:
    data = pickle.dumps([(name, (when, value)) for name, when, value in points], 2)
    return struct.pack(">I", len(data)) + data


# ---- lines


def test_a_bad_line_keeps_the_connection_and_its_neighbours() -> None:
    house = House()
    receiver, transport = house.connect()
    receiver.dataReceived(b"a 1 1\n\xff 2 2\nb 3")
    receiver.dataReceived(b" 3\nc inf nan\nd 4 4\r\n")
    assert house.points == [("a", 1, 1.0), ("b", 3, 3.0), ("d", 4, 4.0)]
    assert house.dropped == {"malformed": 1, "timestamp": 1}
    assert house.complaints[0][:2] == ("192.0.2.1:4000", b"\xff 2 2")
    assert not transport.disconnecting and len(house.receivers) == 1
    house.balance()


def test_an_overlong_line_costs_itself() -> None:
    house = House(line_length=20)
    receiver, transport = house.connect()
    receiver.dataReceived(b"a 1 1\n" + b"x" * 21 + b" 1 1\nb 2 2\n" + b"y" * 30)
    receiver.dataReceived(b"y" * 30 + b"\nc 3 3\n")
    assert house.points == [("a", 1, 1.0), ("b", 2, 2.0), ("c", 3, 3.0)]
    assert house.dropped == {"malformed": 2}
    assert not transport.disconnecting
    house.balance()


def test_the_last_line_without_its_end_is_counted_and_not_taken() -> None:
    house = House()
    receiver, _ = house.connect()
    receiver.dataReceived(b"a 1 1\nb 2 17000")
    lose(receiver)
    assert house.points == [("a", 1, 1.0)]
    assert house.dropped == {"malformed": 1}
    assert house.complaints == [
        ("192.0.2.1:4000", b"b 2 17000", "the connection ended inside this line; end the last line with a newline")
    ]
    assert len(house.receivers) == 0
    house.balance()


def test_an_end_between_lines_is_no_loss() -> None:
    house = House()
    receiver, _ = house.connect()
    receiver.dataReceived(b"a 1 1\n\r")
    lose(receiver)
    assert house.dropped == {}


# ---- pickles


def test_pickles_are_taken_however_they_are_cut() -> None:
    house = House()
    receiver, transport = house.connect(PickleReceiver)
    stream = frame(("a", 1, 1.0), ("b", 2, 2.0)) + frame(("c", 3, 3.0))
    for start in range(0, len(stream), 7):
        receiver.dataReceived(stream[start : start + 7])
    assert house.points == [("a", 1, 1.0), ("b", 2, 2.0), ("c", 3, 3.0)]
    assert not transport.disconnecting


def test_a_bad_pickle_costs_itself_and_a_bad_item_costs_itself() -> None:
    house = House()
    receiver, transport = house.connect(PickleReceiver)
    evil = pickle.dumps(print)
    mixed = pickle.dumps([("a", (1, 1.0)), "nonsense", ("b", ("x", 2)), (b"\xff", (3, 3))], 4)
    for data in (evil, b"garbage", mixed):
        receiver.dataReceived(struct.pack(">I", len(data)) + data)
    receiver.dataReceived(frame(("c", 3, 3.0)))
    assert house.points == [("a", 1, 1.0), ("c", 3, 3.0)]
    assert house.dropped == {"malformed": 5}
    assert not transport.disconnecting
    house.balance()


def test_a_frame_too_large_ends_only_its_connection_and_not_what_came_before() -> None:
    house = House(frame_length=1000)
    receiver, transport = house.connect(PickleReceiver)
    _, other = house.connect(PickleReceiver)
    receiver.dataReceived(frame(("a", 1, 1.0)) + struct.pack(">I", 1001) + b"x" * 2000)
    assert house.points == [("a", 1, 1.0)]
    assert house.dropped == {"malformed": 1}
    assert transport.disconnected and not other.disconnected
    lose(receiver)
    assert len(house.receivers) == 1
    assert house.dropped == {"malformed": 1}
    house.balance()


def test_a_pickle_that_ends_in_the_middle_is_counted() -> None:
    house = House()
    receiver, _ = house.connect(PickleReceiver)
    receiver.dataReceived(frame(("a", 1, 1.0)) + frame(("b", 2, 2.0))[:-1])
    lose(receiver)
    assert house.points == [("a", 1, 1.0)]
    assert house.dropped == {"malformed": 1}
    house.balance()


# ---- pause, limits, idleness


class PortInMemory:
    """What the receivers need of a listening port."""

    connected = True
    reading = True

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False


def test_while_paused_nobody_is_read_and_nobody_accepted() -> None:
    house = House()
    port = PortInMemory()
    house.receivers.add_port(port)
    _, before = house.connect()
    house.receivers.pause()
    late, after = house.connect(PickleReceiver)  # the system had accepted it already
    assert (before.producerState, after.producerState, port.reading) == ("paused", "paused", False)
    house.receivers.pause()
    house.receivers.resume()
    assert (before.producerState, after.producerState, port.reading) == ("producing", "producing", True)
    lose(late)
    assert port.reading


def test_at_the_limit_no_port_accepts_until_a_connection_ends() -> None:
    house = House(connections=2)
    ports = [PortInMemory(), PortInMemory()]
    for port in ports:
        house.receivers.add_port(port)
    first, _ = house.connect()
    assert [port.reading for port in ports] == [True, True]
    house.connect()
    assert [port.reading for port in ports] == [False, False]
    assert ReceiverFactory(house.receivers, LineReceiver).buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)) is None
    house.receivers.pause()
    house.receivers.resume()
    assert [port.reading for port in ports] == [False, False]
    lose(first)
    assert [port.reading for port in ports] == [True, True]


def test_a_new_limit_holds_at_once() -> None:
    house = House(connections=1)
    port = PortInMemory()
    house.receivers.add_port(port)
    house.connect()
    assert not port.reading
    house.receivers.limits = ReceiverLimits(connections=2)
    assert port.reading
    house.receivers.limits = ReceiverLimits(connections=1)
    assert not port.reading


def test_a_closed_port_is_left_alone() -> None:
    house = House()
    port = PortInMemory()
    house.receivers.add_port(port)
    house.receivers.pause()
    port.connected = False
    house.receivers.resume()
    assert not port.reading


def test_an_idle_sender_is_disconnected() -> None:
    house = House(idle_timeout=60)
    receiver, transport = house.connect()
    house.clock.advance(59)
    receiver.dataReceived(b"a 1 1\n")
    house.clock.advance(59)
    assert not transport.disconnected
    house.clock.advance(1)
    assert transport.disconnected
    lose(receiver)
    assert house.clock.getDelayedCalls() == []


def test_a_sender_that_we_do_not_read_is_not_idle() -> None:
    house = House(idle_timeout=60)
    receiver, transport = house.connect()
    house.receivers.pause()
    house.clock.advance(59)
    house.clock.advance(2)
    house.clock.advance(58)
    house.receivers.resume()
    house.clock.advance(59)  # it would have been idle since the pause
    assert not transport.disconnected
    house.clock.advance(1)
    assert transport.disconnected
    lose(receiver)


def test_stopping_takes_in_what_was_read() -> None:
    house = House()
    house.gatherer._interval = 1.0
    house.gatherer._size = 1000
    receiver, transport = house.connect()
    receiver.dataReceived(b"a 1 1\n")
    assert house.points == []
    house.receivers.stop()
    assert house.points == [("a", 1, 1.0)]
    assert transport.disconnected


# ---- datagrams


class DatagramsInMemory:
    """The transport of a UDP port, as far as a receiver looks at it."""

    maxPacketSize = 100


def datagrams(house: House) -> UdpReceiver:
    receiver = UdpReceiver(house.receivers, 0)
    receiver.transport = DatagramsInMemory()
    return receiver


@pytest.mark.parametrize("address", [("192.0.2.1", 9), ("2001:db8::1", 9, 0, 0)])
def test_datagrams_come_from_both_families(address: Any) -> None:
    house = House()
    receiver = datagrams(house)
    receiver.datagramReceived(b"a 1 1\nbad\r\nb 2 2", address)
    receiver.datagramReceived(b"c 3 3\n", address)
    receiver.datagramReceived(b"", address)
    assert house.points == [("a", 1, 1.0), ("b", 2, 2.0), ("c", 3, 3.0)]
    assert house.dropped == {"malformed": 1}
    assert house.complaints[0][:2] == (f"{address[0]}:9", b"bad\r")
    house.balance()


def test_datagrams_are_dropped_and_counted_when_the_cache_is_full() -> None:
    house = House()
    house.full = True
    datagrams(house).datagramReceived(b"a 1 1\nb 2 2\n", ("192.0.2.1", 9))
    assert house.points == []
    assert house.dropped == {"cache_full": 2}


def test_the_cut_line_of_a_cut_datagram_is_no_datapoint() -> None:
    house = House()
    text = b"a 1 1700000000\n" * 7
    for datagram in (text[:100], (b"b 1 1\n" * 17)[:-2]):
        assert len(datagram) == 100
        datagrams(house).datagramReceived(datagram, ("192.0.2.1", 9))
    assert {point[1] for point in house.points} == {1700000000, 1}
    assert len(house.points) == 6 + 16
    assert house.dropped == {"malformed": 2}
    house.balance()


# ---- on loopback


class Loop(Looping):
    """A reactor with listening ports."""

    def listen(self, house: House, kind: Any, interface: str) -> Any:
        port = self.reactor.listenTCP(0, ReceiverFactory(house.receivers, kind), interface=interface)
        house.receivers.add_port(port)
        self.ports.append(port)
        return port


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def client(port: Any) -> socket.socket:
    where = port.getHost()
    return socket.create_connection((where.host, where.port), timeout=10)


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
def test_senders_over_both_families_are_taken_in(loop: Loop, interface: str) -> None:
    house = House(loop.reactor)
    lines, pickles = (loop.listen(house, kind, interface) for kind in (LineReceiver, PickleReceiver))
    udp = loop.reactor.listenUDP(0, UdpReceiver(house.receivers, 1 << 16), interface=interface)
    loop.ports.append(udp)
    with (
        client(lines) as by_line,
        client(pickles) as by_pickle,
        socket.socket(socket.AF_INET6 if ":" in interface else socket.AF_INET, socket.SOCK_DGRAM) as by_datagram,
    ):
        by_line.sendall(b"a 1 1\nwrong\nb 2 2\n")
        by_pickle.sendall(frame(("c", 3, 3.0)))
        by_datagram.sendto(b"d 4 4", (interface, udp.getHost().port))
        loop.until(lambda: len(house.points) == 4)
        assert sorted(house.points) == [("a", 1, 1.0), ("b", 2, 2.0), ("c", 3, 3.0), ("d", 4, 4.0)]
        assert house.complaints[0][0] == f"{interface}:{by_line.getsockname()[1]}"
        assert len(house.receivers) == 2
    loop.until(lambda: len(house.receivers) == 0)
    assert udp.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 1 << 16
    house.balance()


def test_a_connection_is_kept_alive_as_the_limits_say(loop: Loop) -> None:
    house = House(loop.reactor, keepalive=(11, 31, 3))
    with client(loop.listen(house, LineReceiver, "127.0.0.1")):
        loop.until(lambda: len(house.receivers) == 1)
        (receiver,) = house.receivers._connections
        handle = receiver.transport.getHandle()
        assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert tuple(handle.getsockopt(socket.IPPROTO_TCP, option) for option in options) == (11, 31, 3)


def test_keepalive_can_be_left_to_the_system(loop: Loop) -> None:
    house = House(loop.reactor, keepalive=None)
    with client(loop.listen(house, LineReceiver, "127.0.0.1")):
        loop.until(lambda: len(house.receivers) == 1)
        (receiver,) = house.receivers._connections
        assert not receiver.transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_paused_daemon_reads_nothing_and_then_everything(loop: Loop) -> None:
    house = House(loop.reactor)
    port = loop.listen(house, LineReceiver, "127.0.0.1")
    with client(port) as early:
        loop.until(lambda: len(house.receivers) == 1)
        house.receivers.pause()
        early.sendall(b"a 1 1\n")
        with client(port) as late:  # the system answers, we do not
            late.sendall(b"b 2 2\n")
            loop.rounds()
            assert house.points == [] and len(house.receivers) == 1
            house.receivers.resume()
            loop.until(lambda: len(house.points) == 2)
            assert len(house.receivers) == 2


def test_of_many_that_come_at_once_no_more_than_the_limit_get_in(loop: Loop) -> None:
    house = House(loop.reactor, connections=3)
    port = loop.listen(house, LineReceiver, "127.0.0.1")
    crowd = [client(port) for _ in range(10)]
    loop.until(lambda: len(house.receivers) == 3)
    loop.rounds()
    assert len(house.receivers) == 3
    for one in crowd:
        one.close()
    loop.until(lambda: len(house.receivers) == 0)
    with client(port) as after:
        after.sendall(b"a 1 1\n")
        loop.until(lambda: house.points == [("a", 1, 1.0)])


def test_a_sender_beyond_the_limit_waits_for_its_turn(loop: Loop) -> None:
    house = House(loop.reactor, connections=1)
    port = loop.listen(house, LineReceiver, "127.0.0.1")
    first = client(port)
    loop.until(lambda: len(house.receivers) == 1)
    with client(port) as second:
        second.sendall(b"a 1 1\n")
        loop.rounds()
        assert house.points == []
        first.close()
        loop.until(lambda: house.points == [("a", 1, 1.0)])


def test_an_oversize_pickle_ends_its_connection_on_the_wire_too(loop: Loop) -> None:
    house = House(loop.reactor, frame_length=100)
    port = loop.listen(house, PickleReceiver, "127.0.0.1")
    with client(port) as bad, client(port) as good:
        bad.sendall(frame(("a", 1, 1.0)) + struct.pack(">I", 2**32 - 1) + b"x" * 1000)
        loop.until(lambda: bool(house.points) and len(house.receivers) == 1)
        with pytest.raises(ConnectionResetError):
            bad.recv(1)
        good.sendall(frame(("b", 2, 2.0)))
        loop.until(lambda: house.points == [("a", 1, 1.0), ("b", 2, 2.0)])
    assert house.dropped == {"malformed": 1}
