"""Large answers piece by piece: all of it to who takes it, and no memory for who does not."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from carbonpy.web.answer import NO_COST, Cost, Taking
from carbonpy.web.relay import Relay

CHUNKS = [b"one", b"two", b"three"]


class Full:
    """A request and its channel whose client takes a piece when the test says so, and is full after it."""

    def __init__(self) -> None:
        self.channel = self
        self.written: list[bytes] = []
        self.producer: Any = None
        self.finished = self.aborted = False
        self.pauses = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes | memoryview) -> None:
        assert not self.finished
        self.written.append(bytes(data))
        if self.pauses:
            self.producer.pauseProducing()

    def finish(self) -> None:
        assert self.producer is None and not self.finished
        self.finished = True

    def forceAbortClient(self) -> None:
        self.aborted = True
        self.producer.stopProducing()


class Made:
    """The rest of an answer, which comes when the test says so."""

    def __init__(self) -> None:
        self.taking: Taking | None = None
        self.left = 0
        self.held: list[bool] = []

    def hold(self, held: bool) -> None:
        self.held.append(held)

    def listen(self, taking: Taking) -> None:
        self.taking = taking

    def leave(self) -> None:
        self.left += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_every_piece_is_written_in_its_turn_and_then_the_answer_ends(clock: Clock) -> None:
    request = Full()
    Relay(request, CHUNKS, clock, 60)
    for count in (1, 2, 3):
        assert request.written == CHUNKS[:count] and not request.finished
        clock.advance(50)  # slow, but not too slow
        request.producer.resumeProducing()
    assert request.finished and not request.aborted and not clock.getDelayedCalls()


def test_a_client_that_takes_nothing_is_disconnected(clock: Clock) -> None:
    request = Full()
    Relay(request, CHUNKS, clock, 60)
    clock.advance(61)
    assert request.aborted and request.written == CHUNKS[:1] and not clock.getDelayedCalls()


def test_a_client_that_leaves_ends_it(clock: Clock) -> None:
    request = Full()
    relay = Relay(request, CHUNKS, clock, 60)
    relay.stopProducing()
    assert not clock.getDelayedCalls() and not request.aborted and not request.finished


def test_what_comes_later_follows_what_was_there_and_the_end_is_told(clock: Clock) -> None:
    request, made, told = Full(), Made(), []
    Relay(request, CHUNKS[:1], clock, 60, made, lambda size, cost: told.append((size, cost)))
    assert made.taking is not None
    made.taking.add(CHUNKS[1])
    assert request.written == CHUNKS[:1]
    request.producer.resumeProducing()
    request.producer.resumeProducing()
    clock.advance(1_000)  # the maker is slow, not the client
    made.taking.add(CHUNKS[2])
    assert request.written == CHUNKS and not request.finished and told == []
    cost = Cost(series=3)
    made.taking.end(cost)
    assert not request.finished
    request.producer.resumeProducing()
    assert request.finished and told == [(11, cost)] and made.left == 0 and not clock.getDelayedCalls()


def test_the_maker_waits_a_moment_for_the_client_and_then_no_more(clock: Clock) -> None:
    request, made = Full(), Made()
    Relay(request, (), clock, 60, made)
    assert made.taking is not None
    made.taking.add(b"one")
    assert made.held == [True]
    request.producer.resumeProducing()
    assert made.held == [True, False]
    made.taking.add(b"two")
    clock.advance(1)
    assert made.held == [True, False, True, False]
    made.taking.add(b"three")
    request.producer.resumeProducing()
    request.producer.resumeProducing()
    made.taking.add(b"four")
    made.taking.end(NO_COST)
    request.producer.resumeProducing()
    assert made.held == [True, False, True, False]  # a slow client is slow for the whole of an answer
    assert request.written == [b"one", b"two", b"three", b"four"] and request.finished and not clock.getDelayedCalls()


@pytest.mark.parametrize("well", [True, False])
def test_the_maker_is_held_no_longer_than_until_its_end(clock: Clock, well: bool) -> None:
    """Its last piece and the word that it was the last may come together, before the client took anything."""
    request, made = Full(), Made()
    Relay(request, (), clock, 60, made)
    assert made.taking is not None
    made.taking.add(b"one")
    assert made.held == [True]
    if well:
        made.taking.end(NO_COST)
    else:
        made.taking.fail()
    assert made.held == [True, False]
    request.producer.resumeProducing() if well else None
    assert request.finished is well and request.aborted is not well and not clock.getDelayedCalls()


def test_others_are_served_while_a_client_takes_a_large_answer(clock: Clock) -> None:
    request = Full()
    request.pauses = False
    Relay(request, [bytes(1 << 19)] * 5, clock, 60)
    assert len(request.written) == 2 and not request.finished
    clock.advance(0)
    assert len(request.written) == 5 and request.finished and not clock.getDelayedCalls()


def test_a_view_is_copied_before_its_memory_is_used_again(clock: Clock) -> None:
    request, made = Full(), Made()
    Relay(request, (), clock, 60, made)
    assert made.taking is not None
    room = bytearray(b"one")
    made.taking.add(memoryview(room))
    room[:] = b"two"
    made.taking.add(memoryview(room))
    room[:] = b"not"
    request.producer.resumeProducing()
    assert request.written == [b"one", b"two"]


def test_an_answer_that_breaks_off_is_cut_off_and_not_ended(clock: Clock) -> None:
    request, made, told = Full(), Made(), []
    Relay(request, CHUNKS[:1], clock, 60, made, lambda size, cost: told.append((size, cost)))
    assert made.taking is not None
    made.taking.fail()
    made.taking.add(b"late")
    assert request.aborted and not request.finished and request.written == CHUNKS[:1]
    assert told == [(3, None)] and made.left == 0 and not clock.getDelayedCalls()


@pytest.mark.parametrize("patient", [True, False])
def test_the_maker_hears_of_a_client_that_is_gone(clock: Clock, patient: bool) -> None:
    request, made = Full(), Made()
    relay = Relay(request, CHUNKS, clock, 60, made)
    if patient:
        relay.stopProducing()
    else:
        clock.advance(61)
    assert made.left == 1 and made.taking is not None
    made.taking.add(b"late")
    made.taking.end(NO_COST)
    assert request.written == CHUNKS[:1] and not request.finished and not clock.getDelayedCalls()
