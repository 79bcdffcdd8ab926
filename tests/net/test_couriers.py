"""Couriers: what arrived is told to the outbox, and nothing else; connections end and begin again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from carbonpy.net.couriers import Courier, Speech
from carbonpy.relaying.chunk import Chunk
from carbonpy.relaying.outbox import Outbox
from carbonpy.relaying.spool import Spool
from carbonpy.wire import acknowledged
from carbonpy.wire.framing import Int32Frames


class World:
    """A courier, and the peers that it finds when it connects."""

    def __init__(self, directory: Path, acknowledge: str = "off", **options: Any) -> None:
        self.clock = Clock()
        self.spool = Spool(
            str(directory), max_bytes=float("inf"), max_age=float("inf"), clock=self.clock.seconds,
        )  # fmt: skip
        self.outbox = Outbox(
            self.spool, limit=1000, policy="spool", spool_after=0.5, replay_rate=1e9, on_trouble=print,
            monotonic=self.clock.seconds,
        )  # fmt: skip
        self.speech = Speech(
            lambda chunk: (chunk.text(),), framed=acknowledge != "off", acknowledge=acknowledge, sender="me"
        )
        self.refuses = False
        self.transports: list[StringTransport] = []
        self.protocols: list[Any] = []
        self.failed: list[Courier] = []
        self.courier = Courier(
            self.clock, "there:1", self.outbox, self.speech, self.connect, on_failed=self.failed.append, **options
        )

    def connect(self, factory: Factory) -> Deferred[Any]:
        if self.refuses:
            from twisted.internet.defer import fail

            return fail(ConnectError(string="nobody there"))
        protocol: Any = factory.buildProtocol(None)
        transport = StringTransport()
        self.protocols.append(protocol)
        self.transports.append(transport)
        protocol.makeConnection(transport)
        return succeed(protocol)

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.outbox.put(Chunk(1, self.clock.seconds(), b"m %d 1\n" % number))
        self.courier.pump()

    def lose(self) -> None:
        self.protocols[-1].connectionLost(Failure(ConnectionDone("gone")))

    def frames(self) -> list[bytes]:
        return Int32Frames(10**6).feed(self.transports[-1].value())

    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.courier.tick(self.clock.seconds())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "spool"


def test_a_plain_chunk_has_arrived_when_the_transport_asks_for_more(place: Path) -> None:
    world = World(place)
    world.courier.start()
    world.put(1)
    assert world.transports[0].value() == b"m 1 1\n"
    assert (world.outbox.delivered.value, world.outbox.in_flight) == (0, 1)
    world.put(2, 3)
    assert world.transports[0].value() == b"m 1 1\n", "more is written when the system has taken what was written"
    world.protocols[0].resumeProducing()
    assert world.transports[0].value() == b"m 1 1\nm 2 1\nm 3 1\n"
    assert (world.outbox.delivered.value, world.outbox.in_flight) == (1, 2)


def test_what_was_in_our_own_buffer_when_the_connection_ended_is_sent_on_the_next_one(place: Path) -> None:
    world = World(place)
    world.courier.start()
    world.put(1)
    world.lose()
    assert not world.courier.connected and world.courier.failed and world.failed == [world.courier]
    world.clock.advance(1.0)
    assert world.courier.connected and world.transports[1].value() == b"m 1 1\n"
    world.protocols[1].resumeProducing()
    assert world.outbox.delivered.value == 1 and not world.courier.failed


def test_attempts_go_on_for_ever_with_growing_pauses(place: Path) -> None:
    world = World(place, most_failures=3)
    world.refuses = True
    world.courier.start()
    failures = []
    for _ in range(100):
        world.clock.advance(0.5)
        failures.append(world.courier.failures)
    assert 9 <= failures[-1] <= 25 and failures[-1] > failures[60]
    assert world.failed == [world.courier] and "nobody there" in world.courier.why
    world.refuses = False
    world.clock.advance(7.0)
    assert world.courier.connected and world.courier.failures == 0


def test_an_acknowledged_chunk_has_arrived_when_the_peer_says_so(place: Path) -> None:
    world = World(place, "auto")
    world.courier.start()
    world.put(1, 2)
    assert world.frames() == [acknowledged.hello("me")[4:]], "nothing is sent before the welcome"
    world.protocols[0].dataReceived(acknowledged.WELCOME)
    assert [acknowledged.parted(frame) for frame in world.frames()[1:]] == [(1, b"m 1 1\n"), (2, b"m 2 1\n")]
    assert world.outbox.delivered.value == 0
    world.protocols[0].dataReceived(acknowledged.ack(1, 0.75))
    assert (world.outbox.delivered.value, world.outbox.in_flight) == (1, 1)
    assert world.outbox.peer_fullness == pytest.approx(0.75, abs=0.01)
    world.lose()
    world.clock.advance(1.0)
    world.protocols[1].dataReceived(acknowledged.WELCOME)
    assert [acknowledged.parted(frame) for frame in world.frames()[1:]] == [(1, b"m 2 1\n")]


def test_a_peer_that_takes_nothing_is_tried_again_after_growing_pauses_however_often_it_welcomes_us(
    place: Path,
) -> None:
    """Such as a cache whose disk is full."""
    world = World(place, "auto")
    world.courier.start()
    world.put(1)
    for _ in range(600):
        if world.courier.connected:
            world.protocols[-1].dataReceived(acknowledged.WELCOME)
            assert world.frames()[1:] and not world.courier.failed
            world.lose()
        world.clock.advance(0.1)
    assert 12 <= world.courier.connects <= 25
    assert world.courier.why
    until = world.clock.seconds() + 6.0
    while not world.courier.connected:
        assert world.clock.seconds() < until
        world.clock.advance(0.1)
    world.protocols[-1].dataReceived(acknowledged.WELCOME + acknowledged.ack(1, 0.0))
    assert world.courier.why == "" and world.outbox.delivered.value == 1
    world.lose()
    world.clock.advance(0.3)
    assert world.courier.connected, "it took something, so it is tried at once"


def test_a_peer_that_does_not_acknowledge_gets_plain_frames_after_a_moment(place: Path) -> None:
    world = World(place, "auto")
    world.courier.start()
    world.put(1)
    world.tick(0.6)
    assert len(world.frames()) == 1
    world.tick(0.6)
    assert world.frames()[1:] == [b"m 1 1\n"]
    world.protocols[0].resumeProducing()
    assert world.outbox.delivered.value == 1 and world.courier.acknowledges is False
    # The next connection does not wait.
    world.lose()
    world.clock.advance(1.0)
    world.put(2)
    assert world.frames()[1:] == [b"m 2 1\n"]
    # It may learn to.
    world.protocols[1].dataReceived(acknowledged.WELCOME)
    world.put(3)
    assert acknowledged.parted(world.frames()[2]) == (1, b"m 3 1\n")
    assert world.courier.acknowledges is True


def test_a_peer_that_acknowledged_once_is_waited_for_and_given_up_when_it_is_silent(place: Path) -> None:
    world = World(place, "auto")
    world.courier.start()
    world.protocols[0].dataReceived(acknowledged.WELCOME)
    world.put(1)
    world.tick(9.0)
    assert world.courier.connected
    world.tick(2.0)
    assert not world.courier.connected and "nothing was acknowledged" in world.courier.why
    world.clock.advance(1.0)
    assert world.courier.connected
    world.tick(5.0)
    assert len(world.frames()) == 1, "it hangs: nothing is sent that it might lose"
    world.tick(6.0)
    assert "no welcome" in world.courier.why
    assert world.outbox.balanced and world.outbox.delivered.value == 0


def test_stopping_sends_what_waits_and_is_over_when_all_arrived(place: Path) -> None:
    world = World(place)
    world.courier.start()
    world.put(1)
    over: list[None] = []
    world.courier.stop(5.0).addCallback(over.append)
    world.tick(0.1)
    assert over == []
    world.protocols[0].resumeProducing()
    assert over == [None] and world.outbox.delivered.value == 1 and world.transports[0].disconnecting


def test_a_courier_without_patience_leaves_its_outbox_to_another_at_once(place: Path) -> None:
    world = World(place)
    world.courier.start()
    world.put(1, 2)
    over: list[None] = []
    world.courier.stop(0.0).addCallback(over.append)
    assert over == [None] and not world.courier.connected and world.outbox.balanced
    second = Courier(world.clock, "there:1", world.outbox, world.speech, world.connect)
    second.start()
    world.clock.advance(10.0)
    assert second.connected and not world.courier.connected and len(world.transports) == 2
    assert world.outbox.in_flight + world.outbox.delivered.value + world.outbox.queued == 2


def test_stopping_does_not_wait_longer_than_it_may(place: Path) -> None:
    world = World(place, "required")
    world.courier.start()
    world.put(1)
    over: list[None] = []
    world.courier.stop(5.0).addCallback(over.append)
    world.clock.advance(5.1)
    assert over == [None]
    world.outbox.put_away()
    assert world.outbox.spooled == 1 and world.outbox.balanced
