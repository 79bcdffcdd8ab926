"""LISTENERS: further ports, each as ``PROTOCOL+OPTIONS://HOST:PORT``.

The law: a listener says what is spoken (line, pickle, protobuf, udp), how it is packed (gzip, lz4) and what carries it
(TCP, TLS, a UNIX socket).  What cannot be is refused with a sentence that says what can: UDP knows no options, and a
socket of this machine no TLS.  ``str`` of a listener is its canonical form, and reads as the same listener.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from carbonpy.settings.kinds import Interface, Words

STREAMS = ("line", "pickle", "protobuf")
COMPRESSIONS = ("gzip", "lz4")
_FORM = "PROTOCOL+OPTIONS://HOST:PORT, like line+gzip://0.0.0.0:2103, or PROTOCOL+unix:///PATH"
_PLACE = re.compile(r"(\[[^\]]*\]|[^\[\]:/?]*):(\d{1,5})")
_SOCKET = re.compile(r"(/[^?]*[^/?])(?:\?mode=([0-7]{3,4}))?")


@dataclass(frozen=True)
class Listener:
    """One place to listen at.  Immutable.

    protocol: line, pickle, protobuf or udp.  compression: gzip, lz4 or "".  host, port: an address, or "" and 0 for a
    UNIX socket at `path`, whose permissions will be `mode`.
    """

    protocol: str
    host: str = ""
    port: int = 0
    compression: str = ""
    tls: bool = False
    path: str = ""
    mode: int = 0o660

    @property
    def kind(self) -> str:
        """What comes in: ``line+gzip``."""
        return f"{self.protocol}+{self.compression}" if self.compression else self.protocol

    def __str__(self) -> str:
        if self.path:
            return f"{self.kind}+unix://{self.path}" + (f"?mode={self.mode:o}" if self.mode != 0o660 else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}{'+tls' if self.tls else ''}://{host}:{self.port}"


def parse_listener(text: str) -> Listener:
    """The listener that `text` means.  Raises ValueError with a sentence."""
    scheme, separator, place = text.partition("://")
    protocol, *options = scheme.strip().lower().split("+")
    if not separator:
        raise ValueError(f"must be {_FORM}; {text!r} has no ://")
    if protocol not in (*STREAMS, "udp"):
        raise ValueError(f"{text!r} begins with {protocol!r}; what can be received is line, pickle, protobuf and udp")
    compression = [option for option in options if option in COMPRESSIONS]
    tls, unix = "tls" in options, "unix" in options
    for option in options:
        if option == "snappy":
            raise ValueError(f"{text!r}: carbon-c-relay's snappy has no frames, so nobody can read it; use lz4")
        if option not in (*COMPRESSIONS, "tls", "unix"):
            raise ValueError(f"{text!r} asks for {option!r}; the options are gzip, lz4, tls and unix")
    if len(options) != len(set(options)) or len(compression) > 1:
        raise ValueError(f"{text!r} says something twice; one compression is enough")
    if protocol == "udp" and options:
        raise ValueError(f"{text!r}: datagrams are neither compressed nor encrypted; write udp://HOST:PORT")
    if unix and tls:
        raise ValueError(f"{text!r}: a socket of this machine needs no TLS; leave tls out")
    packed = compression[0] if compression else ""
    if unix:
        found = _SOCKET.fullmatch(place)
        if found is None:
            raise ValueError(f"{text!r} must end with a path that begins with /, and perhaps ?mode=660 behind it")
        return Listener(protocol, compression=packed, path=found[1], mode=int(found[2] or "660", 8))
    found = _PLACE.fullmatch(place)
    if found is None or not 0 < int(found[2]) < 65536:
        raise ValueError(f"{text!r} must end with an address and a port, like 0.0.0.0:2103 or [::]:2103")
    return Listener(protocol, Interface().read(found[1]), int(found[2]), packed, tls)


@dataclass(frozen=True)
class Listeners(Words):
    """Any number of listeners: a list in YAML, or text with commas between them."""

    @property
    def description(self) -> str:
        return _FORM

    def read(self, raw: object) -> tuple[Listener, ...]:  # type: ignore[override]
        if isinstance(raw, tuple):
            raw = [str(item) for item in raw]  # listeners themselves, as defaults are
        return tuple(parse_listener(word) for word in super().read(raw))

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return super().show(tuple(str(one) for one in value))

    def show_ini(self, value: object) -> str:
        assert isinstance(value, tuple)
        return super().show_ini(tuple(str(one) for one in value))

