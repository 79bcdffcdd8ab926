"""Receivers in memory: an intake that keeps what it accepts, and connections to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from carbonpy.ingest.intake import Intake
from carbonpy.ingest.names import NameTable
from carbonpy.net.gathering import Gatherer
from carbonpy.net.receivers import LineReceiver, ReceiverFactory, ReceiverLimits, Receivers


class House:
    """Receivers with an intake that keeps what it accepts, as (name, timestamp, value)."""

    def __init__(self, reactor: Any = None, **limits: Any) -> None:
        self.clock = Clock()
        self.names = NameTable()
        self.points: list[tuple[str, int, float]] = []
        self.complaints: list[tuple[str, bytes, str]] = []
        self.full = False
        self.intake = Intake(
            self.names,
            self._keep,
            lambda: 0.0,
            complain=lambda *complaint: self.complaints.append(complaint),
            full=lambda: self.full,
        )
        self.gatherer = Gatherer(reactor or self.clock, self.intake, interval=0, size=1)
        self.receivers = Receivers(self.intake, self.gatherer, ReceiverLimits(**limits))

    def _keep(self, ids: Any, timestamps: Any, values: Any) -> None:
        self.points += zip(map(self.names.metric, ids.tolist()), timestamps.tolist(), values.tolist())

    @property
    def dropped(self) -> dict[str, int]:
        return self.intake.dropped.as_dict()

    def connect(self, kind: Any = LineReceiver) -> tuple[Any, StringTransport]:
        address = IPv4Address("TCP", "192.0.2.1", 4000)
        receiver = ReceiverFactory(self.receivers, kind).buildProtocol(address)
        assert receiver is not None
        receiver.callLater = self.clock.callLater
        transport = StringTransport(peerAddress=address)
        receiver.makeConnection(transport)
        return receiver, transport

    def balance(self) -> None:
        intake = self.intake
        assert intake.received.value == intake.accepted.value + intake.dropped.total()
        assert intake.accepted.value == len(self.points)


def lose(receiver: Protocol) -> None:
    """End a connection from the other side."""
    receiver.connectionLost(Failure(ConnectionDone()))
