"""LISTENERS: what may be written, and what is said of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.settings.listeners import COMPRESSIONS, STREAMS, Listener, Listeners, parse_listener


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("line://0.0.0.0:2103", Listener("line", "0.0.0.0", 2103)),
        ("LINE+GZIP://127.0.0.1:2103", Listener("line", "127.0.0.1", 2103, "gzip")),
        ("line+tls+lz4://[::]:2203", Listener("line", "::", 2203, "lz4", True)),
        ("pickle+tls://:2204", Listener("pickle", "0.0.0.0", 2204, tls=True)),
        ("protobuf://localhost:2005", Listener("protobuf", "127.0.0.1", 2005)),
        ("udp://[::1]:2003", Listener("udp", "::1", 2003)),
        ("line+unix:///run/carbonpy.sock", Listener("line", path="/run/carbonpy.sock")),
        ("line+unix+gzip:///a/b c.sock?mode=600", Listener("line", path="/a/b c.sock", compression="gzip", mode=0o600)),
    ],
)
def test_a_listener_is_a_protocol_options_and_a_place(text: str, listener: Listener) -> None:
    assert parse_listener(text) == listener
    assert parse_listener(str(listener)) == listener


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.0.0.0:2103", "has no ://"),
        ("", "has no ://"),
        ("http://0.0.0.0:80", "what can be received is line, pickle, protobuf and udp"),
        ("line+zip://0.0.0.0:2103", "asks for 'zip'; the options are gzip, lz4, tls and unix"),
        ("line+://0.0.0.0:2103", "asks for ''"),
        ("line+snappy://0.0.0.0:2103", "use lz4"),
        ("line+gzip+lz4://0.0.0.0:2103", "one compression is enough"),
        ("line+tls+tls://0.0.0.0:2103", "says something twice"),
        ("udp+tls://0.0.0.0:2103", "neither compressed nor encrypted"),
        ("line+tls+unix:///run/x", "needs no TLS"),
        ("line+unix://run/x", "a path that begins with /"),
        ("line+unix:///run/x?mode=999", "mode=660"),
        ("line+unix:///run/x?owner=me", "mode=660"),
        ("line+unix:///run/", "a path"),
        ("line://0.0.0.0", "an address and a port"),
        ("line://0.0.0.0:0", "an address and a port"),
        ("line://0.0.0.0:65536", "an address and a port"),
        ("line://::1:2103", "an address and a port"),
        ("line://0.0.0.0:2103/path", "an address and a port"),
        ("line://no-such-host.invalid:2103", "must be an IPv4 or IPv6 address of this machine"),
    ],
)
def test_what_cannot_be_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_listener(text)
    assert words in str(caught.value)


@given(
    st.lists(
        st.one_of(
            st.builds(
                Listener,
                st.sampled_from(STREAMS),
                st.ip_addresses().map(str),
                st.integers(1, 65535),
                st.sampled_from(("", *COMPRESSIONS)),
                st.booleans(),
            ),
            st.builds(Listener, st.just("udp"), st.ip_addresses(v=4).map(str), st.integers(1, 65535)),
            st.builds(
                lambda protocol, packed, mode: Listener(protocol, compression=packed, path="/run/a.sock", mode=mode),
                st.sampled_from(STREAMS),
                st.sampled_from(("", *COMPRESSIONS)),
                st.integers(0o100, 0o777),
            ),
        ),
        max_size=4,
    ).map(tuple)
)
def test_what_is_shown_is_read_as_the_same(listeners: tuple[Listener, ...]) -> None:
    kind = Listeners()
    assert kind.read(listeners) == listeners
    assert kind.read([str(one) for one in listeners]) == listeners
    assert kind.read(kind.show_ini(listeners)) == listeners
    assert kind.read(kind.show(listeners)) == listeners
