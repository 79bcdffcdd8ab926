"""How a relay speaks to a destination: protocol, messages, encryption and compression, from settings and options.

The law: an option of a server in a cluster (`carbonpy.rules.clusters`) wins over the setting; without either it is
carbon's default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from carbonpy.net.couriers import Courier, Speech, connect_file, connect_udp
from carbonpy.net.tls import ClientTls
from carbonpy.net.transports import ClientEndpoint
from carbonpy.relaying.chunk import Chunk
from carbonpy.settings import Values
from carbonpy.wire import compressed, payload, pickled


def _lines(chunk: Chunk) -> Iterable[bytes]:
    return (chunk.text(),)


def speech_of(own: Values, options: Mapping[str, Any], sender: str) -> Speech:
    """What is spoken to a destination with these options.  `sender`: who we say we are."""
    protocol, points = _protocol(own, options), own.max_datapoints_per_message
    compression = options.get("compression", own.destination_compression)
    if protocol in ("line", "udp", "file"):
        encode = partial(compressed.encoder, compression) if compression != "none" and protocol == "line" else None
        return Speech(_lines, encode=encode, encrypted=_encrypted(own, options))
    if protocol == "protobuf":
        return Speech(
            lambda chunk: payload.encode_frames(*chunk.columns(), points),
            framed=True,
            encrypted=_encrypted(own, options),
        )
    return Speech(
        lambda chunk: pickled.encode_frames(*chunk.columns(), points),
        framed=True,
        acknowledge=own.acknowledge,
        wait_for_ack=own.acknowledge_timeout,
        encrypted=_encrypted(own, options),
        sender=sender,
    )


def _protocol(own: Values, options: Mapping[str, Any]) -> str:
    return str(options.get("protocol", own.destination_protocol))


def _encrypted(own: Values, options: Mapping[str, Any]) -> bool:
    return bool(options.get("tls", own.destination_transport == "ssl"))


def try_out(own: Values) -> None:
    """Raises ConfigError if the certificates for DESTINATIONS cannot be used."""
    if _encrypted(own, {}):
        _client_tls("localhost", own, {})


def _client_tls(host: str, own: Values, options: Mapping[str, Any]) -> ClientTls:
    return ClientTls(
        options.get("tls_name", host),
        ca=options.get("tls_ca", own.destination_ssl_ca),
        certificate=options.get("tls_certificate", own.destination_tls_certificate),
        key=options.get("tls_key", own.destination_tls_key),
    )


def connector(
    reactor: Any, host: str, port: int, own: Values, options: Mapping[str, Any], courier: Callable[[], Courier]
) -> Callable[[Factory], Deferred[Any]]:
    """What connects to a destination with these options.  Raises ConfigError for certificates that cannot be used."""
    protocol = _protocol(own, options)
    if protocol == "udp":
        return connect_udp(reactor, courier, host, port)
    if protocol == "file":
        return connect_file(courier, str(options["path"]))
    secure = _client_tls(host, own, options) if _encrypted(own, options) else None
    unix, timeout = options.get("unix", ""), own.destination_connect_timeout
    return ClientEndpoint(reactor, host, port, unix=unix, timeout=timeout, secure=secure).connect
