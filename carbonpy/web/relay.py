"""A large answer on its way to the client: piece by piece, as fast as the client takes it.

The law: the reactor's thread handles little at a time, so others are served in between.  A client that takes nothing
for a while is disconnected, since what it does not take stays in memory.  An answer that is still being made when its
beginning is sent may turn out not to be had: then the connection is cut, so that nobody takes a part for the whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from carbonpy.web.answer import Blob, Coming, Cost

#: Seconds that the making of an answer waits for a client that is slower; then the rest goes to memory.
_HELD = 0.1
#: Bytes that a client may take before others are served.
_IN_A_ROW = 1 << 20


def nobody_told(size: int, cost: Cost | None) -> None:
    """The `done` for which nobody listens."""


@implementer(IPushProducer)
class Relay:
    """Writes `chunks`, and what is `coming` behind them, to a Twisted `request` whose headers are set, and finishes it.

    Reactor thread only.  patience: seconds without a piece taken after which the client is disconnected.
    done: called at the end with the bytes that were sent, and what is known of the cost only then.
    """

    def __init__(
        self,
        request: Any,
        chunks: Sequence[bytes],
        reactor: Any,
        patience: float,
        coming: Coming | None = None,
        done: Callable[[int, Cost | None], None] = nobody_told,
    ) -> None:
        self._request = request
        self._chunks = deque(chunks)
        self._reactor = reactor
        self._patience = patience
        self._coming = coming
        self._done = done
        self._paused = self._ended = False
        self._stalled: Any = None
        self._held: Any = None
        self._holds = coming is not None
        self._cost: Cost | None = None
        self._size = 0
        request.registerProducer(self, True)
        self._go()
        if coming is not None:
            coming.listen(self)

    # ---- what comes

    def add(self, piece: Blob) -> None:
        """Another piece; see `Taking`."""
        if self._ended:
            return
        if self._chunks or self._paused:
            self._chunks.append(bytes(piece))
        else:
            self._size += len(piece)
            self._request.write(piece)

    def end(self, cost: Cost) -> None:
        """That was all."""
        self._go_on()
        self._coming, self._cost = None, cost
        self._go()

    def fail(self) -> None:
        """The rest cannot be had."""
        self._go_on()
        self._coming = None
        if not self._ended:
            self._give_up()

    # ---- Twisted

    def pauseProducing(self) -> None:
        """The client has enough for now."""
        self._paused = True
        if self._stalled is None and not self._ended:
            self._stalled = self._reactor.callLater(self._patience, self._give_up)
            if self._coming is not None and self._holds and not self._chunks:
                self._coming.hold(True)
                self._held = self._reactor.callLater(_HELD, self._hold_no_more)

    def resumeProducing(self) -> None:
        """The client can take more."""
        self._paused = False
        self._relax()
        self._go()

    def stopProducing(self) -> None:
        """The client has left."""
        if not self._ended:
            self._end()

    def _go(self) -> None:
        most = _IN_A_ROW
        while self._chunks and not self._paused:
            if most <= 0:
                self._reactor.callLater(0, self._go)
                return
            piece = self._chunks.popleft()
            most -= len(piece)
            self._size += len(piece)
            self._request.write(piece)
        if not (self._chunks or self._paused or self._ended or self._coming):
            self._end()
            self._request.unregisterProducer()
            self._request.finish()

    def _end(self) -> None:
        self._ended = True
        self._chunks.clear()
        self._relax()
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.leave()
        self._done(self._size, self._cost)

    def _hold_no_more(self) -> None:
        """The client is slow, and the process that makes its answer has more to do."""
        self._holds = False
        self._go_on()

    def _go_on(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            if held.active():
                held.cancel()
            if self._coming is not None:
                self._coming.hold(False)

    def _relax(self) -> None:
        self._go_on()
        stalled, self._stalled = self._stalled, None
        if stalled is not None and stalled.active():
            stalled.cancel()

    def _give_up(self) -> None:
        self._end()
        self._request.channel.forceAbortClient()
