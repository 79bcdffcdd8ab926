"""How a relay speaks to a destination: protocol, messages, encryption and compression, from settings and options.

The law: an option of a server in a cluster (`carbonpy.rules.routes`) wins over the setting; without either it is
carbon's default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory

from carbonpy.net.couriers import Courier, Speech, connect_udp
from carbonpy.relaying.chunk import Chunk
from carbonpy.settings import Values
from carbonpy.wire import pickled


def _lines(chunk: Chunk) -> Iterable[bytes]:
    return (chunk.text(),)


def speech_of(own: Values, options: Mapping[str, Any], sender: str) -> Speech:
    """What is spoken to a destination with these options."""
    protocol = options.get("protocol", own.destination_protocol)
    points = own.max_datapoints_per_message
    if protocol in ("line", "udp"):
        return Speech(_lines)
    if protocol == "pickle":
        return Speech(
            lambda chunk: pickled.encode_frames(*chunk.columns(), points),
            framed=True,
            acknowledge=options.get("acknowledge", own.acknowledge),
            wait_for_ack=own.acknowledge_timeout,
            sender=sender,
        )
    raise AssertionError(protocol)


def connector(
    reactor: Any, host: str, port: int, own: Values, options: Mapping[str, Any], courier: Callable[[], Courier]
) -> Callable[[Factory], Deferred[Any]]:
    """What connects to a destination with these options; names are looked up each time."""
    if options.get("protocol", own.destination_protocol) == "udp":
        return connect_udp(reactor, courier, host, port)
    endpoint = HostnameEndpoint(reactor, host, port, timeout=own.destination_connect_timeout)
    return endpoint.connect
