"""Whole relays before whole caches, in every way in which they can speak; and whom a relay does not trust."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority
from support.ports import free_ports
from support.running import REPOSITORY, RunningDaemon, dropped
from support.running_relay import RunningRelay, ended_with_the_test
from support.waiting import until
from support.whole import until_received

NOW = int(time.time()) - 100
LINES = [f"ways.m{number:04d} {number}.25 {NOW}" for number in range(1000)]
Start = Callable[..., RunningDaemon]


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Callable[..., RunningRelay]]:
    """Start relays with these [relay] settings; all end with the test."""
    number = itertools.count()
    with ended_with_the_test() as begin:
        yield lambda destinations, extra: begin(RunningRelay(tmp_path / f"relay{next(number)}", destinations, extra))


def test_points_arrive_in_every_way(
    carbonpy_daemon: Start, relays: Callable[..., RunningRelay], tmp_path: Path
) -> None:
    """One relay, a server for each way, the same cache behind all of them."""
    authority = Authority("a test's authority")
    ca = authority.file(tmp_path, "ca")
    certificate, key = authority.files(tmp_path, "server", ["cache.example.org", "localhost"])
    shown = dict(zip(("certificate", "key"), authority.files(tmp_path, "client")))
    secure = {"ca": ca, **shown}
    ways: dict[str, dict[str, Any]] = {
        "line": {"protocol": "line"},
        "line+gzip": {"protocol": "line", "compression": "gzip"},
        "line+lz4": {"protocol": "line", "compression": "lz4"},
        "protobuf": {"protocol": "protobuf"},
        "pickle": {"protocol": "pickle"},
        "line+tls": {"protocol": "line", "tls": secure},
        "line+gzip+tls": {"protocol": "line", "compression": "gzip", "tls": secure},
        "line+lz4+tls": {"protocol": "line", "compression": "lz4", "tls": secure},
        "protobuf+tls": {"protocol": "protobuf", "tls": secure},
        "pickle+tls": {"protocol": "pickle", "tls": secure},
        "pickle+unix": {"protocol": "pickle", "unix": str(tmp_path / "cache.sock")},
    }
    *found, other = free_ports(len(ways) + 1)
    ports = dict(zip(ways, found))
    listeners = [f"{way}://127.0.0.1:{ports[way]}" for way in ways if "unix" not in way]
    listeners += [f"line+tls://127.0.0.1:{other}", f"pickle+unix://{tmp_path}/cache.sock"]
    cache = carbonpy_daemon(
        conf_extra={
            "LISTENERS": ", ".join(listeners),
            "TLS_CERTIFICATE": certificate,
            "TLS_KEY": key,
            "TLS_CLIENT_CA": ca,
        }
    )
    servers = [{"server": f"localhost:{ports[way]}", **options} for way, options in ways.items()]
    # An address that is not in the certificate, but the name that is.
    servers.append({"server": f"127.0.0.1:{other}", "protocol": "line", "tls": {**secure, "name": "cache.example.org"}})
    extra = {
        "CLUSTERS": json.dumps({"every": {"type": "forward", "servers": servers}}),
        "ROUTES": json.dumps([{"match": "*", "send_to": "every"}]),
    }
    relay = relays([], extra)
    relay.send_lines(LINES)
    relay.wait_until_delivered(len(LINES) * len(servers), 60)
    ledger = until_received(cache, len(LINES) * len(servers), 60)
    assert ledger["received"] == len(LINES) * len(servers) and dropped(ledger) == 0
    for name, figures in relay.health()["destinations"].items():
        assert figures["delivered"] == len(LINES), name
        expected = "pickle" in next((way for way in ways if name.endswith(f":{ports[way]}")), "")
        assert bool(figures["acknowledges"]) is expected, name
    (series,) = cache.render("ways.m0042", from_=NOW - 1, until=NOW)
    assert [value for value, when in series["datapoints"] if when == NOW] == [42.25]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("another authority", "its certificate is signed by an authority that is not trusted"),
        ("another host", "its certificate is for cache.example.org, not for localhost"),
        ("no certificate of ours", "it asks for a certificate of ours and got none"),
        ("a stranger's certificate", "it does not know the authority of our certificate"),
        ("no TLS there", "it does not speak TLS"),
    ],
)
def test_a_relay_says_why_it_does_not_send_and_keeps_every_point(
    carbonpy_daemon: Start, relays: Callable[..., RunningRelay], tmp_path: Path, case: str, sentence: str
) -> None:
    authority, stranger = Authority("a test's authority"), Authority("a stranger")
    ca = authority.file(tmp_path, "ca")
    hosts = ["cache.example.org"] if case == "another host" else ["localhost"]
    certificate, key = authority.files(tmp_path, "server", hosts)
    asks = case in ("no certificate of ours", "a stranger's certificate")
    (port,) = free_ports(1)
    kind = "pickle" if case == "no TLS there" else "pickle+tls"
    cache = carbonpy_daemon(
        conf_extra={
            "LISTENERS": f"{kind}://127.0.0.1:{port}",
            "TLS_CERTIFICATE": certificate,
            "TLS_KEY": key,
            "TLS_CLIENT_CA": ca if asks else "",
        }
    )
    name = f"localhost:{port}:a"
    extra: dict[str, object] = {
        "DESTINATION_TRANSPORT": "ssl",
        "DESTINATION_SSL_CA": stranger.file(tmp_path, "stranger-ca") if case == "another authority" else ca,
        "ACKNOWLEDGE": "required",
    }
    if case == "a stranger's certificate":
        shown = stranger.files(tmp_path, "stranger")
        extra |= {"DESTINATION_TLS_CERTIFICATE": shown[0], "DESTINATION_TLS_KEY": shown[1]}
    relay = relays([name], extra)
    relay.send_lines(LINES)
    if case == "no TLS there":
        # What the cache takes for a length is none, so it closes; from there on nothing can be told from a port that
        # hangs up, except that it did so in the middle of the handshake.
        sentence = "in the middle of the TLS handshake; does it speak TLS?"
    until("the reason is in the log", lambda: sentence in relay.log(), 30)
    until("the points are kept", lambda: relay.destination(name)["spooled"] == len(LINES))
    figures = relay.destination(name)
    assert figures["delivered"] == 0 and figures["balanced"]
    # "no TLS there" sends a hello that the cache counts as one malformed frame.
    assert cache.ledger()["received"] - dropped(cache.ledger()) == 0
    # Mended by a reload, all of it goes out.
    cache.conf_extra["TLS_CLIENT_CA"] = ""
    if case == "another host":
        authority.files(tmp_path, "server", ["localhost"])
        cache.reload()
    elif asks:
        assert cache.terminate() == 0
        cache.start()
    if case in ("another authority", "no TLS there"):
        transport = "none" if case == "no TLS there" else "ssl"
        relay.conf_extra |= {"DESTINATION_SSL_CA": ca, "DESTINATION_TRANSPORT": transport}
        relay.reload()
    relay.wait_until_delivered(len(LINES))
    assert until_received(cache, len(LINES))["received"] - dropped(cache.ledger()) == len(LINES)


def test_a_relay_listens_in_the_same_ways(
    carbonpy_daemon: Start, relays: Callable[..., RunningRelay], tmp_path: Path
) -> None:
    """Lines that came compressed and encrypted go out as any others."""
    authority = Authority("a test's authority")
    ca = authority.file(tmp_path, "ca")
    certificate, key = authority.files(tmp_path, "server", ["localhost"])
    gzip_tls, lz4 = free_ports(2)
    cache = carbonpy_daemon()
    relay = relays(
        [f"127.0.0.1:{cache.pickle_port}:a"],
        {
            "LISTENERS": f"line+gzip+tls://127.0.0.1:{gzip_tls}, line+lz4://127.0.0.1:{lz4}",
            "TLS_CERTIFICATE": certificate,
            "TLS_KEY": key,
        },
    )
    text = "\n".join(LINES).encode()
    for options in (["--port", str(gzip_tls), "--gzip", "--tls", "--tls-ca", ca], ["--port", str(lz4), "--lz4"]):
        done = subprocess.run(
            [sys.executable, "-m", "carbonpy", "send", "--host", "localhost", *options],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, input=text, capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    relay.wait_until_delivered(2 * len(LINES))
    ledger = until_received(cache, 2 * len(LINES))
    assert ledger["received"] == 2 * len(LINES) and dropped(ledger) == 0


def test_certificates_that_cannot_be_used_change_nothing_in_a_relay_that_runs(
    carbonpy_daemon: Start, relays: Callable[..., RunningRelay]
) -> None:
    cache = carbonpy_daemon()
    relay = relays([f"127.0.0.1:{cache.pickle_port}:a"], {})
    relay.conf_extra |= {"DESTINATION_TRANSPORT": "ssl", "DESTINATION_SSL_CA": "/none.pem", "MAX_QUEUE_SIZE": 7}
    relay.reload()
    sentence = "/none.pem: it cannot be read"
    until("it is said", lambda: sentence in relay.log() and "the settings read before stay in force" in relay.log())
    assert "Traceback" not in relay.log()
    relay.send_lines(LINES)
    relay.wait_until_delivered(len(LINES))
