"""storage-schemas.conf by example; test_rules_like_carbon.py has the law."""

from __future__ import annotations

import pytest

from carbonpy.errors import ConfigError
from carbonpy.retention import Archive
from carbonpy.rules.schemas import SchemaBook


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        SchemaBook.parse(text, "storage-schemas.conf")
    return str(raised.value).splitlines()


def test_the_first_section_whose_pattern_is_found_wins() -> None:
    book = SchemaBook.parse(
        "[one]\npattern = cpu\nretentions = 10s:1d\n[two]\npattern = .*\nretentions = 60s:1d,1h:1y\n", "f"
    )
    assert book.match("web.cpu.user").name == "one"
    assert book.match("web.load").archives == (Archive(60, 1440), Archive(3600, 8760))
    assert book.warnings == ()


def test_a_name_without_a_section_gets_a_point_a_minute_for_a_week() -> None:
    assert SchemaBook.default().match("any").archives == (Archive(60, 10080),)
    assert SchemaBook.parse("", "f").match("any").name == "default"


def test_archives_are_sorted_finest_first_whatever_their_order_in_the_file() -> None:
    book = SchemaBook.parse("[a]\npattern = .\nretentions = 1h:1y,10s:6h\n", "f")
    assert [archive.step for archive in book.match("x").archives] == [10, 3600]


def test_an_unknown_unit_is_named_with_its_line() -> None:
    text = "# first\n\n[web]\npattern = ^web\nretentions = 60x:7d\n"
    assert problems(text) == [
        "storage-schemas.conf:5 [web] retentions = 60x:7d: unknown unit 'x'; use s, m, h, d, w or y"
    ]


def test_all_problems_of_a_file_are_told_at_once() -> None:
    text = "[a]\npattern = [\nretentions = 60s\n[b]\npattern = x\nretentions = 1q:1d,10s:6h,0:5\n"
    found = problems(text)
    assert [line.split(" ")[0] for line in found] == [f"storage-schemas.conf:{line}" for line in (3, 2, 6, 6)]
    assert "not a regular expression" in found[1]


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("[a]\nretentions = 60s:1d\n", "it has no pattern"),
        ("[a]\npattern =\nretentions = 60s:1d\n", "it has no pattern"),
        ("[a]\npattern = x\n", "it has no retentions"),
        ("[a]\npattern = x\nretentions = 60s:7d,300s:1d\n", "must cover larger time intervals"),
        ("[a] # note\npattern = x\nretentions = 60s:7d\n", "'# note' behind the ']'"),
    ],
)
def test_a_section_that_carbon_passes_over_is_passed_over_with_a_warning(section: str, reason: str) -> None:
    book = SchemaBook.parse(section + "[b]\npattern = x\nretentions = 1s:1h\n", "f")
    assert book.match("x").name == "b"
    (warning,) = book.warnings
    assert warning.startswith(("f:1 [a]", "f:3 [a]")) and reason in warning
