"""docs/relaying.rst: its configurations are ones, and each pair of examples says the same in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from carbonpy.relaying.routing import routes_router
from carbonpy.rules.c_relay import read_c_relay
from carbonpy.rules.routes import RouteBook

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "relaying.rst").read_text()
CLUSTERS = "cluster caches forward a:1;\ncluster elsewhere forward b:1;\n"


def blocks() -> list[str]:
    """The indented blocks behind ``::``, without their indentation."""
    found = re.findall(r"::\n\n((?:    .*\n|\n)+)", TEXT)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() + "\n" for block in found]


def test_the_example_is_a_configuration_without_a_warning() -> None:
    (example,) = (yaml.safe_load(block)["relay"] for block in blocks() if block.startswith("relay:"))
    router = routes_router(RouteBook.parse(example["clusters"], example["routes"], "carbonpy.yaml"))
    assert router.warnings == ()
    assert len(list(router.plan(b"billing.x").numbers())) == 3
    assert router.plan(b"tmp.x").dropped == "blackholed"


def test_every_statement_of_carbon_c_relay_is_converted_to_what_stands_below_it() -> None:
    every = blocks()
    pairs = [(one, other) for one, other in zip(every, every[1:], strict=False) if one.rstrip().endswith(";")]
    assert {one.split()[0] for one, _ in pairs} == {"match", "rewrite", "aggregate"}
    for theirs, ours in pairs:
        converted = read_c_relay(CLUSTERS + theirs, "relay.conf", lambda pattern: ())
        assert converted.routes[2:] == yaml.safe_load(ours)
    last = yaml.safe_load(every[-1])
    assert last == read_c_relay("", "relay.conf", lambda pattern: ()).routes
