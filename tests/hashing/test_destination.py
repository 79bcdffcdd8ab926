"""Destinations as configurations write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import (
    Destination,
    file_destination,
    parse_destination,
    parse_destinations,
)

WORDS = st.text("abcXYZ019._-:", min_size=1, max_size=12)
HOSTS = st.one_of(st.text("abcXYZ019._-", min_size=1, max_size=12), st.just("fe80::1"), st.just("::"))
DESTINATIONS = st.builds(Destination, HOSTS, st.integers(1, 65535), st.one_of(st.none(), WORDS))


@given(DESTINATIONS)
def test_what_is_written_can_be_read(destination: Destination) -> None:
    assert parse_destination(f" {destination} ") == destination


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("127.0.0.1:2004:a", Destination("127.0.0.1", 2004, "a")),
        ("graphite.example.com:2004", Destination("graphite.example.com", 2004, None)),
        ("[fe80::1]:2004:b", Destination("fe80::1", 2004, "b")),
        ("[::1]:2004", Destination("::1", 2004, None)),
        ("h:1:10.0.0.1:2003", Destination("h", 1, "10.0.0.1:2003")),
    ],
)
def test_carbons_forms_are_read(text: str, destination: Destination) -> None:
    assert parse_destination(text) == destination


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "an empty destination; write host:port or host:port:instance"),
        ("localhost", "'localhost' has no port; write host:port or host:port:instance"),
        ("localhost:x", "'x' in 'localhost:x' is no port; write a number from 1 to 65535"),
        ("localhost:0", "'0' in 'localhost:0' is no port; write a number from 1 to 65535"),
        ("localhost:65536", "'65536' in 'localhost:65536' is no port; write a number from 1 to 65535"),
        (
            "fe80::1:2004",
            "'' in 'fe80::1:2004' is no port; write a number from 1 to 65535; an IPv6 address stands in brackets",
        ),
        ("[fe80::1]", "'[fe80::1]' has no ']:' behind the address; write [address]:port"),
        (":2004", "an empty host; write host:port or host:port:instance"),
        ("h:2004:", "an empty instance; write host:port or host:port:instance"),
        ("h'h:2004", 'host "h\'h" has other characters than letters, digits and . _ : -; rename it'),
        ("h:2004:a b", "instance 'a b' has other characters than letters, digits and . _ : -; rename it"),
        ("h:2004:é", "instance 'é' has other characters than letters, digits and . _ : -; rename it"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_destination(text)
    assert str(caught.value) == sentence


def test_all_that_is_wrong_with_a_list_is_said_at_once() -> None:
    assert len(parse_destinations(["h:1", "g:1", "h:2"])) == 3
    with pytest.raises(ConfigError) as caught:
        parse_destinations(["h", "g:1", ":2"])
    assert str(caught.value).split("\n") == [
        "'h' has no port; write host:port or host:port:instance",
        "an empty host; write host:port or host:port:instance",
    ]


def test_a_file_is_a_destination_too() -> None:
    assert str(file_destination("/var/log/metrics")) == "file:/var/log/metrics"
    assert str(parse_destination("file:2003")) == "file:2003"
