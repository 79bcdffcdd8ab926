"""The receiver's side of acknowledged delivery: a number is told when all up to it is safe, and not before."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import NameTable
from carbonpy.net.gathering import Gatherer
from carbonpy.net.receivers import PickleReceiver, ReceiverFactory, ReceiverLimits, Receivers
from carbonpy.wire import acknowledged, framing
from carbonpy.wire.framing import Int32Frames


class Peer:
    """A sender that says hello to real receivers and reads what they answer."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.points: list[tuple[str, int, float]] = []
        names = NameTable()

        def keep(ids: Any, timestamps: Any, values: Any) -> None:
            self.points += zip(map(names.metric, ids.tolist()), timestamps.tolist(), values.tolist())

        intake = Intake(names, keep, lambda: 0.0)
        self.gatherer = Gatherer(self.clock, intake, interval=0.01, size=10**6)
        self.receivers = Receivers(intake, self.gatherer, ReceiverLimits())
        address = IPv4Address("TCP", "192.0.2.1", 4000)
        self.receiver: Any = ReceiverFactory(self.receivers, PickleReceiver).buildProtocol(address)
        self.transport = StringTransport(peerAddress=address)
        self.receiver.makeConnection(self.transport)

    def send(self, *frames: bytes) -> None:
        self.receiver.dataReceived(b"".join(frames))

    def answers(self) -> list[object]:
        """WELCOME as True, acknowledged numbers as numbers."""
        frames = Int32Frames(100).feed(self.transport.value())
        told = [(frame, acknowledged.read_ack(frame)) for frame in frames]
        return [acknowledged.is_welcome(frame) if ack is None else ack.number for frame, ack in told]


def body(*points: tuple[str, int, float]) -> bytes:
    return pickle.dumps([(name, (when, value)) for name, when, value in points], 2)


def test_frames_are_acknowledged_when_they_were_handed_over_and_not_before() -> None:
    peer = Peer()
    peer.send(acknowledged.hello("me"), acknowledged.numbered(1, body(("a", 1, 1.0))))
    assert peer.answers() == [True] and peer.points == []
    peer.send(acknowledged.numbered(2, body(("b", 2, 2.0))))
    peer.clock.advance(0.01)
    assert peer.points == [("a", 1, 1.0), ("b", 2, 2.0)]
    assert peer.answers() == [True, 1, 2]


def test_what_cannot_be_made_safe_ends_the_connection_without_a_word() -> None:
    peer = Peer()
    peer.receivers.when_safe = lambda done, failed: failed()
    peer.send(acknowledged.hello("me"), acknowledged.numbered(1, body(("a", 1, 1.0))))
    peer.clock.advance(0.01)
    assert peer.answers() == [True] and peer.transport.disconnecting


def test_a_connection_that_ends_inside_a_frame_costs_only_a_peer_that_does_not_ask_for_acknowledgements() -> None:
    for hello, malformed in ((b"", 1), (acknowledged.hello("me"), 0)):
        peer = Peer()
        frame = acknowledged.numbered(1, body(("a", 1, 1.0))) if hello else framing.encode(body(("a", 1, 1.0)))
        peer.send(hello, frame[:-1])
        peer.receiver.connectionLost()
        assert peer.receivers.intake.dropped["malformed"] == malformed


def test_an_acknowledgement_may_come_later_and_stands_for_all_before_it() -> None:
    peer = Peer()
    waiting: list[Callable[[], None]] = []
    peer.receivers.when_safe = lambda done, failed: waiting.append(done)
    for number in (1, 2, 3):
        if number == 1:
            peer.send(acknowledged.hello("me"))
        peer.send(acknowledged.numbered(number, body(("a", 1, 1.0))))
        peer.clock.advance(0.01)
    waiting[2]()
    waiting[0]()
    assert peer.answers() == [True, 3]


def test_a_sender_that_never_says_hello_is_never_answered() -> None:
    peer = Peer()
    peer.send(framing.encode(body(("a", 1, 1.0))))
    peer.clock.advance(0.01)
    assert peer.points == [("a", 1, 1.0)] and peer.answers() == []


def test_plain_pickles_after_a_hello_are_taken_and_not_acknowledged() -> None:
    peer = Peer()
    peer.send(acknowledged.hello("me"), framing.encode(body(("a", 1, 1.0))))
    peer.clock.advance(0.01)
    assert peer.points == [("a", 1, 1.0)] and peer.answers() == [True]


@given(cuts=st.lists(st.integers(0, 500), max_size=20))
def test_however_the_bytes_are_cut_the_last_number_is_told(cuts: list[int]) -> None:
    peer = Peer()
    stream = acknowledged.hello("me") + b"".join(
        acknowledged.numbered(number, body((f"m{number}", number, 1.0))) for number in range(1, 9)
    )
    edges = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    for start, end in zip(edges, edges[1:]):
        peer.send(stream[start:end])
        peer.clock.advance(0.004)
    peer.clock.advance(0.01)
    answers = peer.answers()
    assert answers[0] is True and answers[-1] == 8 and answers[1:] == sorted(set(answers[1:]))
    assert [name for name, _, _ in peer.points] == [f"m{number}" for number in range(1, 9)]
