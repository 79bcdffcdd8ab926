"""read_ini against Python's ConfigParser as carbon uses it, and the lines it adds."""

from __future__ import annotations

import configparser
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import read_ini, shown, substitute

_LINE = st.one_of(
    st.builds(
        "[{}]{}".format,
        st.sampled_from(["web", "db", "default", "DEFAULT", " x ", "a]b", ""]),
        st.sampled_from(["", " ; x", " # [y]", "z"]),
    ),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["pattern", "Pattern", "retentions", "a b", "x", ""]),
        st.sampled_from(["=", ":", " = ", " : ", "", " "]),
        st.sampled_from(
            ["1", "^web\\.", "%%", "%(x)s", "%(PATTERN)s", "%", "%(", "a = b", "[v]", "", "# no comment", "%(x)s%(x)s"]
        ),
        st.sampled_from(["", "  ", " ; kept", "\t"]),
    ),
    st.sampled_from(
        ["", "   ", "# comment", "  ; comment", "#", "[open", "closed]", "\x0b", "a\x0cb = 1", "\u00a0x = 1"]
    ),
)
_TEXT = st.builds(
    lambda lines, end: "".join(indent + line + end for indent, line in lines),
    st.lists(st.tuples(st.sampled_from(["", "", "", " ", "  ", "\t"]), _LINE), max_size=9),
    st.sampled_from(["\n", "\r\n", "\r"]),
)


def as_carbon_reads(text: str) -> list[tuple[str, dict[str, str]]] | None:
    """Sections and options of carbon's OrderedConfigParser and plain ConfigParser together; None for an error."""
    parser = configparser.ConfigParser()
    try:
        parser.read_file(io.StringIO(text, newline=None))  # line ends as in an opened file
        lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        listed = {line[1:-1]: None for line in lines if line.startswith("[") and line.endswith("]") and len(line) > 2}
        for name in listed:
            parser.items(name)
        return [(name, dict(parser.items(name, raw=name not in listed))) for name in parser.sections()]
    except configparser.Error:
        return None


@settings(max_examples=1500, deadline=None)
@given(_TEXT)
@example("[a]\nx = 1\n\n  2\n# c\n  3\ny: %(x)s\n")
@example("[DEFAULT]\nx = 1\n[a]\ny = %(x)s\n[DEFAULT]\nz = 2\n")
@example("\ufeff[a]\nx=1\n")
@example("[DEFAULT] ; x\n[DEFAULT]\npattern=%(x)s\n")
@example("[DEFAULT]\n[DEFAULT] ; x\npattern=%(x)s\n")
@example("[DEFAULT] ; x\npattern=%(x)s\n[DEFAULT] # y\n")
def test_the_same_texts_are_read_with_the_same_meaning_as_by_configparser(text: str) -> None:
    expected = as_carbon_reads(text.removeprefix("\ufeff"))
    try:
        sections = read_ini(text, "rules.conf")
    except ConfigError as error:
        assert expected is None or "indented" in str(error), error
        assert all(line.startswith("rules.conf:") for line in str(error).splitlines())
    else:
        read = [
            (section.name, {name: option.value for name, option in section.options.items()})
            for section in sections
            if section.name != "DEFAULT"
        ]
        assert read == expected


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused_with_lines(text: str) -> None:
    try:
        read_ini(text, "f")
    except ConfigError as error:
        assert all(line.startswith("f:") for line in str(error).splitlines())


def test_sections_and_options_know_their_lines() -> None:
    sections = read_ini("# head\n[web]\n\npattern = ^web\nretentions = 60s:1d,\n  5m:30d\n[db]\nx: 1\n", "f")
    assert [(section.name, section.line) for section in sections] == [("web", 2), ("db", 7)]
    assert sections[0].options["pattern"] == ("^web", 4)
    assert sections[0].options["retentions"] == ("60s:1d,\n5m:30d", 5)
    assert sections[1].options["x"] == ("1", 8)


def test_all_that_is_wrong_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        read_ini("early = 1\n[a]\nno delimiter\nx = 1\nx = 2\n[a]\n= 3\n", "f")
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == ["1", "3", "5", "6", "7"]


def test_wrong_percent_signs_of_all_options_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        read_ini("[a]\nx = 5%\ny = %(nothing)s\nz = 50%%\n", "f")
    first, second = str(raised.value).splitlines()
    assert first.startswith("f:2 [a] x = 5%: a single '%'")
    assert second.startswith("f:3 [a] y = %(nothing)s: %(nothing)s is not an option")


def test_a_section_that_is_indented_by_mistake_is_named() -> None:
    with pytest.raises(ConfigError, match=r"f:3: \[b\] is indented"):
        read_ini("[a]\nx = 1\n  [b]\n", "f")


def test_what_stands_behind_a_section_is_kept() -> None:
    assert [section.trailing for section in read_ini("[a] ; note\nx=1\n[b]\n", "f")] == ["; note", ""]


def test_values_that_refer_to_each_other_in_a_circle_are_refused() -> None:
    with pytest.raises(ConfigError, match="break the circle"):
        substitute("%(a)s", {"a": "%(a)s"})


def test_messages_stay_on_one_line_and_short() -> None:
    assert shown("a\n  b") == "a b"
    assert len(shown("x" * 500)) == 120
