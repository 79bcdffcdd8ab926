"""POSIX expressions in Python's syntax."""

from __future__ import annotations

import re
import subprocess

import pytest

from carbonpy.errors import ConfigError
from carbonpy.rules.posix import python_syntax

EXPRESSIONS = (
    "^srv[.]", r"[^\.]+$", "[[:alpha:]_]+[0-9]{2}", "[]x]", "[^]x]+", r"[a\]", r"\.(cpu|disk)$",
    "[[:upper:][:digit:]-]", "w(eb)?[0-9]*", "a[^[:space:]]b", "x{1,2}y", "[a^]b", r"\<web", "b[[]c", "^[-_a]",
)  # fmt: skip
NAMES = (
    "srv.web01.cpu", "x]y", r"a\b", "WEB99-x", "web", "a.b", "xxy", "ab[c", "a^b", "srv", "Disk_sda", "_x-", "my-web.x",
    "]", "x",
)  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_matches_what_grep_says(expression: str) -> None:
    """grep -E reads them with the C library, as carbon-c-relay does."""
    done = subprocess.run(
        ["grep", "-E", "-e", expression], input="\n".join(NAMES) + "\n", capture_output=True, text=True, timeout=30
    )
    found, warnings = python_syntax(expression)
    assert [name for name in NAMES if re.search(found, name)] == done.stdout.splitlines()
    assert warnings == []


@pytest.mark.parametrize("expression", ["[abc", "[[:vowel:]]", "[[.a.]]"])
def test_what_is_no_expression_is_a_sentence(expression: str) -> None:
    with pytest.raises(ConfigError):
        python_syntax(expression)


@pytest.mark.parametrize(
    ("expression", "warned"), [(r"\d+", r"'\d' is a digit here"), ("a.*?b", "repeats a repetition")]
)
def test_what_python_reads_in_another_way_is_a_warning(expression: str, warned: str) -> None:
    (warning,) = python_syntax(expression)[1]
    assert warned in warning
    assert python_syntax(r"a\*+[*+]+")[1] == []
