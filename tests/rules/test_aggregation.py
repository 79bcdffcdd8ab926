"""storage-aggregation.conf by example; test_rules_like_carbon.py has the law."""

from __future__ import annotations

import pytest
import whisper

from carbonpy.errors import ConfigError
from carbonpy.rules.aggregation import METHODS, Aggregation, AggregationBook


def test_what_a_section_leaves_open_is_a_half_and_average() -> None:
    book = AggregationBook.parse(
        "[a]\npattern = count$\naggregationMethod = sum\n[b]\npattern = x\nXFILESFACTOR = 0\n", "f"
    )
    assert book.match("web.count") == Aggregation(0.5, "sum")
    assert book.match("x") == Aggregation(0.0, "average")
    assert book.match("y") == AggregationBook.default().match("y") == Aggregation(0.5, "average")


def test_problems_name_line_section_and_what_is_right() -> None:
    text = "[a]\npattern = (\nxFilesFactor = 2\naggregationMethod = avg\n"
    with pytest.raises(ConfigError) as raised:
        AggregationBook.parse(text, "f")
    assert str(raised.value).splitlines()[:2] == [
        "f:3 [a] xFilesFactor = 2: outside of 0 to 1; write a share like 0.5",
        f"f:4 [a] aggregationMethod = avg: unknown method; use {', '.join(METHODS)}",
    ]
    assert "f:2 [a] pattern = (: not a regular expression" in str(raised.value)


@pytest.mark.parametrize("options", ["xFilesFactor = 0.1", "pattern = x\nxFilesFactor = half", "pattern =\n"])
def test_a_section_that_carbon_passes_over_is_passed_over_with_a_warning(options: str) -> None:
    book = AggregationBook.parse(f"[a]\n{options}\n[b]\npattern = x\naggregationMethod = max\n", "f")
    assert book.match("x").method == "max"
    assert len(book.warnings) == 1 and "passed over" in book.warnings[0]


def test_the_methods_are_those_of_the_whisper_package() -> None:
    assert list(METHODS) == list(whisper.aggregationMethods)
