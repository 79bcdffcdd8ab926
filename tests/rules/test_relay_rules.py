"""relay-rules.conf as carbon reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carbonpy.errors import ConfigError
from carbonpy.rules.relaying import RelayRules

RECORDED = json.loads((Path(__file__).resolve().parent.parent / "vectors" / "relay_rules.json").read_text())
DEFAULT = "\n[rest]\ndefault = true\ndestinations = 10.0.0.9:2004\n"


def destinations(rules: RelayRules, name: str) -> list[str]:
    return [str(destination) for rule in rules.matching(name) for destination in rule.destinations]


@pytest.mark.parametrize("name", RECORDED["result"])
def test_names_go_where_carbon_sends_them(name: str) -> None:
    rules = RelayRules.parse(RECORDED["file"], "relay-rules.conf")
    expected = [text.removesuffix(":None").replace("fe80::1:", "[fe80::1]:") for text in RECORDED["result"][name]]
    assert destinations(rules, name) == expected


def test_sections_without_a_say_are_warnings() -> None:
    rules = RelayRules.parse(
        "[neither]\ndestinations = a:1\n[no]\ndefault = false\ndestinations = a:1\n[odd] # note\npattern = x\n"
        + DEFAULT,
        "r.conf",
    )
    assert [rule.name for rule in rules.rules] == ["rest"]
    assert rules.warnings == (
        "r.conf:1 [neither] is passed over: it has no pattern and is not the default; add pattern = ...",
        "r.conf:3 [no] is passed over: it has no pattern and is not the default; add pattern = ...",
        "r.conf:6 [odd] is passed over, as by carbon, because of '# note' behind the ']'; remove that",
    )


def test_what_is_never_reached_is_a_warning() -> None:
    text = "[all]\npattern = .*\ndestinations = a:1\n[web]\npattern = ^web\ndestinations = b:1\n" + DEFAULT
    assert RelayRules.parse(text, "r.conf").warnings == (
        "r.conf:4 [web] is never reached: [all] in line 1 takes everything; add continue = true there, or remove one "
        "of them",
    )
    assert RelayRules.parse(text.replace(".*\n", ".*\ncontinue = true\n"), "r.conf").warnings == ()


def test_the_default_stands_last_wherever_it_is_written() -> None:
    rules = RelayRules.parse(DEFAULT + "[web]\npattern = ^web\ndestinations = a:1, b:1\n", "r.conf")
    assert destinations(rules, "WEB.cpu") == ["a:1", "b:1"]
    assert destinations(rules, "db.web") == ["10.0.0.9:2004"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", ["r.conf:1: there is no default; add a section with default = true"]),
        (
            DEFAULT + "[more]\ndefault = on\ndestinations = a:1\n",
            ["r.conf:5 [more] is a second default; there is one already in line 2"],
        ),
        ("[web]\npattern = x\n" + DEFAULT, ["r.conf:1 [web] has no destinations; add destinations = host:port, ..."]),
        (
            "[web]\npattern = x\ndefault = false\ndestinations = a:1\n" + DEFAULT,
            ["r.conf:3 [web] default = false: there is a pattern, too, in line 2; keep one of them"],
        ),
        (
            "[web]\npattern = x\ncontinue = perhaps\ndestinations = a:1, b, c:x\n" + DEFAULT,
            [
                "r.conf:4 [web] destinations = a:1, b, c:x: 'b' has no port; write host:port or host:port:instance",
                "r.conf:4 [web] destinations = a:1, b, c:x: 'x' in 'c:x' is no port; write a number from 1 to 65535",
                "r.conf:3 [web] continue = perhaps: neither yes nor no; write true or false",
            ],
        ),
    ],
)
def test_what_is_wrong_has_its_line(text: str, sentences: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        RelayRules.parse(text, "r.conf")
    assert str(caught.value).split("\n") == sentences


def test_a_pattern_that_is_none_and_a_single_percent_have_their_line() -> None:
    with pytest.raises(ConfigError, match=r"^r.conf:2 \[web\] pattern = \(: not a regular expression: "):
        RelayRules.parse("[web]\npattern = (\ndestinations = a:1\n" + DEFAULT, "r.conf")
    with pytest.raises(ConfigError, match=r"^r.conf:2 \[web\] pattern = a%b: a single '%'"):
        RelayRules.parse("[web]\npattern = a%b\ndestinations = a:1\n" + DEFAULT, "r.conf")
