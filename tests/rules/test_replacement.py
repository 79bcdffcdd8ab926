"""The replacement language of carbon-c-relay, and Python's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.rules.replacement import read_replacement

NAME = re.compile(r"^(?P<env>\w+)\.([A-Za-z.]+)-(x)?")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        (r"\1", "Prod"),
        (r"\2.\1", "Web.Api.Prod"),
        (r"\_1\^1", "prodPROD"),
        (r"\.2", "Web_Api"),
        (r"\_.2", "web_api"),
        (r"\^.2", "WEB_API"),
        (r"[\3]", "[]"),
        (r"\g{1}0", "Prod0"),
        (r"\g<env>.\g<2>", "Prod.Web.Api"),
        (r"\_g<env>", "prod"),
        (r"a\\b", r"a\b"),
    ],
)
def test_references_are_filled_in(template: str, expected: str) -> None:
    found = NAME.search("Prod.Web.Api-42")
    assert found is not None
    assert read_replacement(template, NAME).expand(found) == expected
    assert read_replacement(template, NAME).applied(found) == expected + "42"


def test_only_ascii_letters_change_their_case() -> None:
    found = re.search("(.*)", "Éa")
    assert found is not None
    assert read_replacement(r"\_1\^1", found.re).expand(found) == "ÉaÉA"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (r"\4", "'\\\\4' is no group of '^(?P<env>\\\\w+)\\\\.([A-Za-z.]+)-(x)?', which has 3 groups"),
        (r"\g<app>", "'\\\\g<app>' is no group of '^(?P<env>\\\\w+)\\\\.([A-Za-z.]+)-(x)?', which has 3 groups"),
        (r"a\x", "'\\\\x' is no reference; write \\1, \\_1 (lower case), \\^1 (upper case), \\.1 (dots become _), "),
        ("\\", "'\\\\' is no reference; write "),
    ],
)
def test_what_can_never_be_filled_in_is_a_sentence(template: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_replacement(template, NAME)
    assert str(caught.value).startswith(sentence)


def test_an_expression_without_groups_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="which has no groups; put what you need in"):
        read_replacement(r"\1", re.compile("abc"))


@given(st.text(alphabet="ab.-_"), st.text(alphabet="ab.-_"))
def test_for_what_both_have_it_is_pythons(name: str, tail: str) -> None:
    regex = re.compile("(a+)(b*)")
    template = r"<\2-\1>" + tail
    made = read_replacement(template, regex)
    assert regex.sub(made.expand, name) == regex.sub(template, name)
