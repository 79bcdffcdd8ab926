"""Hundreds of made-up configurations: names go where the real carbon-c-relay says that it would send them."""

from __future__ import annotations

import random
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import c_relay
from support.peers import running
from support.ports import free_ports
from support.waiting import until

from carbonpy.relaying.plan import Plan
from carbonpy.relaying.router import Router
from carbonpy.relaying.routing import routes_router
from carbonpy.rules.c_relay import read_c_relay
from carbonpy.rules.routes import RouteBook

CLUSTERS = """
cluster send forward 10.1.0.1:2003 10.1.0.2:2004;
cluster anyone any_of 10.2.0.1:2003 10.2.0.2:2003 10.2.0.3:2003 10.2.0.4:2003;
cluster spare failover 10.3.0.1:2003 10.3.0.2:2003;
cluster md5 carbon_ch replication 2 10.4.0.1:2003=a 10.4.0.1:2004=b 10.4.0.2:2003 10.4.0.3:2003;
cluster fnv fnv1a_ch replication 2 10.5.0.1 10.5.0.2:2004=4d79d13554fa 10.5.0.3;
cluster jump jump_fnv1a_ch replication 3 10.6.0.1:2003=10 10.6.0.2:2003=9 10.6.0.3:2003=2 10.6.0.4:2003=1;
cluster datagrams forward 10.7.0.1:2003 proto udp;
""".replace("cluster send ", "cluster everyone ")
NAMES = ("everyone", "anyone", "spare", "md5", "fnv", "jump", "datagrams", "blackhole")
#: Expressions without groups, with one, and with two; and those that match from the first character on.
PLAIN = ("^srv", "cpu$", "web", "^srv.web01.cpu$", r"\.user$", "[0-9]", "a.*b", "^[^.]+$", "(srv|app)", "w[[:alpha:]]b")
ONE = (r"^srv\.([^.]+)\.", r"^([a-z]+)[._]", r"\.([A-Za-z]+)$", r"^app\.(.*)$", r"([0-9]+)")
TWO = (r"^([a-z]+)\.([a-z0-9]+)\.", r"^(.)(.*)$", r"([a-z]+)([0-9]*)$", r"^srv\.(web)?([0-9]+)?")
ANCHORED = (*ONE[:2], ONE[3], r"^([a-z0-9]+)\.([a-z0-9]+)")
TO_ONE = (r"x\1", r"pre.\_1.post", r"\^1", r"\.1-", r"all.\^.1.", "lost", r"\_.1")
TO_TWO = (r"\2.\1", r"\1-\2", r"\_2.\^1", r"\.2_x", r"s.\2", r"\1\2")
LINES = [
    "srv.web01.cpu.user 1 1700000000", "srv.web01.cpu 2 1700000000", "srv.db2.Disk.sda 3.5 1700000000",
    "app.Login.Requests 4 1700000000", "app.a.b nan 1700000000", "one 5 17", "web -1 1700000000", "a.x.b 7 1700000000",
    "carbon.relays.host.cpu 8 1700000000", "srv.web99.UPPER.lower.1 9e5 1700000000", "srv 1 1", "cpu 1 1",
    "very.long.name.with.many.nodes.and.webs.0123456789.user 1 1700000000", "x_y.z-1.cpu 1.5 1700000000",
]  # fmt: skip


def made_up(choose: random.Random) -> str:
    """Up to a dozen rules in carbon-c-relay's language."""
    return "\n".join(_rule(choose) for _ in range(choose.randint(1, 12))) + "\n"


def _rule(choose: random.Random) -> str:
    if choose.random() < 0.5:
        expression, template = choose.choice(ONE), choose.choice(TO_ONE)
    else:
        expression, template = choose.choice(TWO), choose.choice(TO_TWO)
    plain = choose.choice(PLAIN)
    to = " ".join(choose.sample(NAMES[:-1], choose.randint(1, 3)))
    stop = choose.choice(("", "", " stop"))
    kind = choose.random()
    if kind < 0.35:
        several = "*" if choose.random() < 0.2 else " ".join(choose.sample(PLAIN, choose.randint(1, 2)))
        return f"match {several} send to {to if choose.random() < 0.9 else 'blackhole'}{stop};"
    if kind < 0.5:
        return f"match {expression} route using {template} send to {to}{stop};"
    if kind < 0.6:
        check = choose.choice((r'"^[0-9.]+ [0-9]+$"', r"^[0-9]+\ [0-9]", "17$", "^[0-9]"))
        return f"match {plain} validate {check} else {choose.choice(('log', 'drop'))} send to {to}{stop};"
    if kind < 0.65:
        return f"match {plain} validate ^[0-9] else drop;"
    if kind < 0.85:
        return f"rewrite {expression} into {template};"
    # Test mode shows the outputs of others wrongly: without a ^ as parts of its inner name, without groups as replaced.
    expression, template = choose.choice(ANCHORED), choose.choice(TO_ONE)
    method = choose.choice(("sum", "max", "average", "percentile95"))
    return (
        f"aggregate {expression} every 10 seconds expire after 30 seconds compute {method} write to {template} "
        f"send to {choose.choice(NAMES[:-1])}{stop};"
    )


def theirs(transcript: Sequence[str]) -> tuple[set[tuple[str, str]], set[str]]:
    """(name, server) of everything that would be sent, and the names of aggregates."""
    sent: set[tuple[str, str]] = set()
    aggregates: set[str] = set()
    block, name = "", ""
    for line in transcript:
        if line in ("match", "rewrite", "aggregation"):
            block, name = line, ""
        elif not name and "-> " in line:
            name = line.rpartition("-> ")[2]
        elif block == "aggregation" and (found := re.fullmatch(r" +[a-z0-9]+\(.*\) -> (\S+) \S+ \S+", line)):
            aggregates.add(found[1])
        elif block == "match":
            sent.update((name, server) for server in c_relay.servers_of([line]))
    return sent, aggregates


def ours(router: Router, line: str) -> tuple[set[tuple[str, str]], set[str]]:
    """The same of a plan, for this value and timestamp."""
    name, _, rest = line.partition(" ")
    plan = router.plan(name.encode())
    failed = [check for check in plan.checks if not check.matches.search(rest.encode())]
    kept = [s for number, s in enumerate(plan.sendings) if not any(number in check.sendings for check in failed)]
    feeds = [f for number, f in enumerate(plan.feeds) if not any(number in check.feeds for check in failed)]
    sent = {
        (sending.name.decode(), f"{router.destinations[number].host}:{router.destinations[number].port}")
        for sending in kept
        for number in Plan((sending,)).numbers()
    }
    return sent, {feed.name.decode() for feed in feeds}


@pytest.mark.parametrize("seed", range(2))
def test_made_up_configurations_do_what_carbon_c_relay_says(seed: int, tmp_path: Path) -> None:
    choose = random.Random(seed)
    sendings = aggregates = 0
    for _ in range(40):
        config = CLUSTERS + made_up(choose)
        read = read_c_relay(config, "relay.conf", lambda pattern: ())
        router = routes_router(RouteBook.parse(read.clusters, read.routes, "relay.conf"))
        for line, transcript in zip(LINES, c_relay.transcripts(config, LINES, tmp_path), strict=True):
            expected, made = ours(router, line), theirs(transcript)
            assert expected == made, (config, line, transcript)
            sendings += len(made[0])
            aggregates += len(made[1])
    assert sendings > 600 and aggregates > 5


LIVE = """
cluster sink file {out};
cluster other file {other};
match ^skip send to blackhole;
match * validate "^[-0-9.]+ [0-9]+$" else drop;
rewrite ^old[.](.*)$ into new.\\_1;
aggregate ^agg\\. every 1 seconds expire after 2 seconds compute sum write to plain send to other;
aggregate ^agg\\.([a-z]+) every 1 seconds expire after 2 seconds compute max write to out.\\1 send to other stop;
match tagged$ send to sink other stop;
match * send to sink;
listen type linemode 127.0.0.1:{port} proto tcp;
"""
SENT = (
    "..a..b.c. 1 {now}", "old.Web.CPU 2 {now}", "we&ird/na%me.x=y 3 {now}", "skip.me 4 {now}", "bad.value nan {now}",
    "is.tagged;host=A.B;x=1 5 {now}", "agg.foo.bar 6 {now}", "métrique.été 7 {now}", "a_b-c:d#e 8 {now}",
    "old. 9 {now}",
)  # fmt: skip


def test_a_running_carbon_c_relay_cleanses_rewrites_and_aggregates_as_we_do(tmp_path: Path) -> None:
    """Test mode does not cleanse names; a daemon does. Both are asked what arrives in two files."""
    (port,) = free_ports(1)
    out, other = tmp_path / "out", tmp_path / "other"
    config = LIVE.format(out=out, other=other, port=port)
    (tmp_path / "relay.conf").write_text(config)
    read = read_c_relay(config, "relay.conf", lambda pattern: ())
    router = routes_router(RouteBook.parse(read.clusters, read.routes, "relay.conf"))
    with running([c_relay.c_relay(), "-f", str(tmp_path / "relay.conf")], tmp_path / "log"):
        until("carbon-c-relay listens", lambda: socket.create_connection(("127.0.0.1", port)).close() or True)
        now = int(time.time())
        lines = [line.format(now=now) for line in SENT]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())

        def arrived() -> dict[Path, set[str]]:
            # Lines of its own figures are not what was asked for.
            return {
                path: {
                    line.partition(" ")[0] for line in path.read_text().splitlines() if not line.startswith("carbon.")
                }
                for path in (out, other)
            }

        until("the aggregates have come out", lambda: {"plain", "out.foo.bar"} <= arrived()[other], timeout=40)
        theirs = arrived()
    ours: dict[Path, set[str]] = {out: set(), other: set()}
    for line in lines:
        name, _, rest = line.partition(" ")
        plan = router.plan(name.encode())
        failed = {n for check in plan.checks if not check.matches.search(rest.encode()) for n in check.sendings}
        for number, sending in enumerate(plan.sendings):
            if number not in failed:
                for to in Plan((sending,)).numbers():
                    ours[Path(str(router.options_of(to)["path"]))].add(sending.name.decode())
        for feed in plan.feeds:
            assert feed.onward is not None
            for to in feed.onward.numbers():
                ours[Path(str(router.options_of(to)["path"]))].add(feed.name.decode())
    # Behind a first ; carbon-c-relay validates the tags in place of the value, so that it drops what is tagged.
    tagged = {"is.tagged;host=A.B;x=1"}
    assert {path: names - tagged for path, names in ours.items()} == theirs
    assert ours[out] >= tagged and ours[other] >= tagged
