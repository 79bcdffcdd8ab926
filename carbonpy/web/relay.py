"""A large answer on its way to the client: piece by piece, as fast as the client takes it.

The law: the reactor's thread handles one piece at a time, so others are served between two of them.  A client
that takes nothing for a while is disconnected, since what it does not take stays in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer


@implementer(IPullProducer)
class Relay:
    """Writes `chunks` to a Twisted `request` whose headers are set, and finishes it.  Reactor thread only.

    patience: seconds without a piece taken after which the client is disconnected.
    """

    def __init__(self, request: Any, chunks: Sequence[bytes], reactor: Any, patience: float) -> None:
        self._request = request
        self._chunks = deque(chunks)
        self._patience = patience
        self._stalled = reactor.callLater(patience, self._give_up)
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Twisted: the client can take more."""
        if self._chunks:
            self._stalled.reset(self._patience)
            self._request.write(self._chunks.popleft())
        else:
            self._end()
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """Twisted: the client has left."""
        self._end()

    def _end(self) -> None:
        self._chunks.clear()
        if self._stalled.active():
            self._stalled.cancel()

    def _give_up(self) -> None:
        self._chunks.clear()
        self._request.channel.forceAbortClient()
