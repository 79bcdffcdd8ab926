"""Large answers piece by piece: all of it to who takes it, and no memory for who does not."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from carbonpy.web.relay import Relay

CHUNKS = [b"one", b"two", b"three"]


class Taking:
    """A request and its channel whose client takes a piece when the test says so."""

    def __init__(self) -> None:
        self.channel = self
        self.written: list[bytes] = []
        self.producer: Any = None
        self.finished = self.aborted = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert not streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        assert not self.finished
        self.written.append(data)

    def finish(self) -> None:
        assert self.producer is None and not self.finished
        self.finished = True

    def forceAbortClient(self) -> None:
        self.aborted = True
        self.producer.stopProducing()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_every_piece_is_written_in_its_turn_and_then_the_answer_ends(clock: Clock) -> None:
    request = Taking()
    Relay(request, CHUNKS, clock, 60)
    for count in (1, 2, 3):
        clock.advance(50)  # slow, but not too slow
        request.producer.resumeProducing()
        assert request.written == CHUNKS[:count] and not request.finished
    request.producer.resumeProducing()
    assert request.finished and not request.aborted and not clock.getDelayedCalls()


def test_a_client_that_takes_nothing_is_disconnected(clock: Clock) -> None:
    request = Taking()
    Relay(request, CHUNKS, clock, 60)
    request.producer.resumeProducing()
    clock.advance(61)
    assert request.aborted and request.written == CHUNKS[:1] and not clock.getDelayedCalls()


def test_a_client_that_leaves_ends_it(clock: Clock) -> None:
    request = Taking()
    relay = Relay(request, CHUNKS, clock, 60)
    request.producer.resumeProducing()
    relay.stopProducing()
    assert not clock.getDelayedCalls() and not request.aborted and not request.finished
