"""``carbonpy relay test``: what would become of names."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from carbonpy.cli.main import main

RULES = """
[web]
pattern = ^web
destinations = 10.0.0.1:2004:a, 10.0.0.2:2004:a
continue = true
[rest]
default = true
destinations = 10.0.0.3:2004
"""


class Relay:
    """A configuration in a directory, to be asked about names."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.err = ""

    def write(self, **files: str) -> None:
        for name, text in files.items():
            stem, _, suffix = name.rpartition("_")
            (self.home / f"{stem.replace('_', '-')}.{suffix}").write_text(text)

    def asked(
        self, *names: str, config: str = "carbon.conf", command: str = "relay", code: int = 0
    ) -> list[dict[str, Any]]:
        text = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert main([command, "test", "--config", str(self.home / config)]) == code
        captured = self._capsys.readouterr()
        self.err = captured.err
        return [json.loads(line) for line in captured.out.splitlines()]


@pytest.fixture
def relay(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Relay:
    return Relay(tmp_path, capsys, monkeypatch)


def test_rules_of_carbon(relay: Relay) -> None:
    relay.write(
        carbon_conf="[relay]\nDESTINATIONS = 10.0.0.1:2004:a, 10.0.0.2:2004:a, 10.0.0.3:2004\n", relay_rules_conf=RULES
    )
    assert relay.asked("web.cpu 1 2", "db.cpu") == [
        {
            "metric": "web.cpu",
            "sent_as": "web.cpu",
            "destinations": ["10.0.0.1:2004:a", "10.0.0.2:2004:a", "10.0.0.3:2004"],
            "rules": ["web", "rest"],
            "dropped": None,
        },
        {
            "metric": "db.cpu",
            "sent_as": "db.cpu",
            "destinations": ["10.0.0.3:2004"],
            "rules": ["rest"],
            "dropped": None,
        },
    ]
    assert relay.err == ""


def test_a_name_that_goes_nowhere_has_the_reason(relay: Relay) -> None:
    relay.write(
        carbon_conf="[relay]\nDESTINATIONS = 10.0.0.3:2004\nUSE_WHITELIST = True\n",
        relay_rules_conf="[x]\npattern = ^x\ndestinations = 1.1.1.1:1\n"
        "[rest]\ndefault = true\ndestinations = 10.0.0.3:2004\n",
        blacklist_conf="^bad\n",
        whitelist_conf="good|x|b\n",
    )
    answers = relay.asked("bad.one", "other", "x.y", "good", "\udcff")
    assert [answer["dropped"] for answer in answers] == [
        "blacklisted", "not_whitelisted", "no_route", None, "invalid_name",
    ]  # fmt: skip
    assert [answer["sent_as"] for answer in answers] == [None, None, None, "good", None]
    assert "1.1.1.1:1, which is not in DESTINATIONS and gets nothing" in relay.err


def test_rewriting_and_aggregating_before_routing(relay: Relay) -> None:
    relay.write(
        carbon_conf="[aggregator]\nDESTINATIONS = 10.0.0.1:2004\n",
        rewrite_rules_conf="[pre]\n^old = new\n[post]\n_x$ =\n",
        aggregation_rules_conf="all.<what> (60) = sum new.*.<what>\n",
    )
    (answer,) = relay.asked("old.web.cpu_x", command="aggregator")
    assert answer == {
        "metric": "old.web.cpu_x",
        "sent_as": "new.web.cpu",
        "destinations": ["10.0.0.1:2004"],
        "rules": ["rewrite to new.web.cpu", "aggregate into all.cpu_x", "consistent-hashing"],
        "dropped": None,
        "aggregates": [{"name": "all.cpu_x", "method": "sum", "interval": 60, "destinations": ["10.0.0.1:2004"]}],
    }


def test_aggregates_alone_are_not_dropped_and_what_nobody_wants_is(relay: Relay) -> None:
    relay.write(
        carbon_conf="[aggregator]\nDESTINATIONS = 10.0.0.1:2004\nFORWARD_ALL = False\n",
        aggregation_rules_conf="all.<what> (60) = sum new.*.<what>\n",
    )
    wanted, unwanted = relay.asked("new.web.cpu", "old.web.cpu", command="aggregator")
    assert (wanted["sent_as"], wanted["dropped"], wanted["destinations"]) == (None, None, [])
    assert (unwanted["sent_as"], unwanted["dropped"]) == (None, "not_aggregated")


def test_clusters_and_routes(relay: Relay) -> None:
    relay.write(
        carbonpy_yaml=r"""
relay:
  clusters:
    a: {type: forward, servers: ['h:1', 'h:2']}
    b: {type: jump_fnv1a_ch, servers: ['g:1:1', 'g:2:2']}
  routes:
    - {match: '^a', send_to: a}
    - {rewrite: '^a', into: b}
    - {name: numbers only, match: '^b', validate: '^[0-9]', otherwise: log, send_to: b}
    - {aggregate: '^b\.(.*)', every: 60, expire: 90, compute: {max: 'm.\1'}, send_to: a}
    - {match: '^junk', send_to: blackhole}
"""
    )
    answer, junk = relay.asked("a.x", "junk", config="carbonpy.yaml")
    assert answer["sent_as"] == "a.x"
    assert answer["destinations"] == ["h:1", "h:2"]
    assert answer["rules"] == [
        "routes[0]: match ^a",
        "routes[1]: rewrite ^a",
        "numbers only",
        r"routes[3]: aggregate ^b\.(.*)",
    ]
    assert [sending["sent_as"] for sending in answer["sendings"]] == ["a.x", "b.x"]
    assert answer["sendings"][0]["destinations"] == ["h:1", "h:2"]
    assert answer["sendings"][1]["destinations"] in (["g:1:1"], ["g:2:2"])
    assert answer["aggregates"] == [{"name": "m.x", "method": "max", "interval": 60, "destinations": ["h:1", "h:2"]}]
    assert answer["checks"] == [{"validate": "^[0-9]", "on_failure": "log", "guards": ["b.x"]}]
    assert (junk["dropped"], junk["rules"]) == ("blackholed", ["routes[4]: match ^junk"])


def test_what_is_wrong_with_the_configuration_is_said_with_its_place(relay: Relay) -> None:
    relay.write(
        carbonpy_yaml="relay:\n  clusters: {a: {type: forward, servers: ['h:1']}}\n  routes: [{match: a, send_to: b}]\n"
    )
    relay.asked("x", config="carbonpy.yaml", code=2)
    assert relay.err == (
        f"carbonpy relay: {relay.home}/carbonpy.yaml: relay.routes[0].send_to: there is no cluster 'b'; "
        "the clusters are a\n"
    )
