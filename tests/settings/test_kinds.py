"""Kinds of values: what is read, what is refused with which sentence, and that what is shown can be read."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.settings.kinds import (
    Choice,
    Flag,
    Hosts,
    Interface,
    Kind,
    Number,
    OptionalPath,
    Path,
    Port,
    Processes,
    TimeZone,
    Urls,
    Words,
)

ODD_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufeff")
)


@pytest.mark.parametrize("word", ["1", "yes", "True", "ON", True, 1])
def test_a_flag_is_true_in_all_words_of_configparser(word: object) -> None:
    assert Flag().read(word) is True


@pytest.mark.parametrize("word", ["0", "no", "False", "oFF", False, 0])
def test_a_flag_is_false_in_all_words_of_configparser(word: object) -> None:
    assert Flag().read(word) is False


@pytest.mark.parametrize("word", ["", "maybe", None, 2, [], "truer"])
def test_a_flag_is_nothing_else(word: object) -> None:
    with pytest.raises(ValueError, match="must be True or False"):
        Flag().read(word)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Number(), "5", 5),
        (Number(), "5.0", 5),
        (Number(), "0.5", 0.5),
        (Number(), 2.5, 2.5),
        (Number(whole=True), "1e6", 1_000_000),
        (Number(whole=True), "5_000_000", 5_000_000),
        (Number(endless=True), "inf", math.inf),
        (Number(endless=True), math.inf, math.inf),
        (Number(endless=True, whole=True), "inf", math.inf),
        (Number(optional=True), "None", None),
        (Number(optional=True), "", None),
        (Number(optional=True), None, None),
        (Port(), "2003", 2003),
        (Port(), 0, 0),
        (Processes(), "3", 3),
    ],
)
def test_numbers_are_read_as_carbon_reads_them(kind: Kind, raw: object, value: object) -> None:
    read = kind.read(raw)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "raw", "sentence"),
    [
        (Number(), "-1", "must be a number, 0 or more"),
        (Number(), "nan", "must be a number, 0 or more"),
        (Number(), "inf", "must be a number, 0 or more"),
        (Number(), "", "must be a number, 0 or more"),
        (Number(), True, "must be a number, 0 or more"),
        (Number(), [1], "must be a number, 0 or more"),
        (Number(above=True, endless=True), "0", "must be a number above 0 or inf"),
        (Number(1, 10, whole=True, unit="seconds"), "1.5", "must be a whole number of seconds from 1 to 10"),
        (Number(optional=True, above=True), "never", "must be a number above 0 or None"),
        (Port(), "65536", "must be a port from 1 to 65535, or 0 for none"),
        (Port(), "http", "must be a port from 1 to 65535, or 0 for none"),
        (Choice(("a", "b")), "A", "must be one of a, b"),
        (Processes(), "-1", "must be auto or a whole number from 0 to 64"),
        (Processes(), "1.5", "must be auto or a whole number from 0 to 64"),
        (Path(), "", "must be a path"),
        (Kind(), "a\nB = 1", "must be one line"),
        (Kind(), ["a"], "must be text"),
        (TimeZone(), "Mars/Olympus", "must be a time zone"),
        (TimeZone(), "../etc/passwd", "must be a time zone"),
        (Interface(), "300.1.1.1", "must be an IPv4 or IPv6 address"),
        (Words(), [["a"]], "must be a list of words"),
        (Hosts(), "a:7002, b", "must be host:port or host:port:instance, with commas between them, not 'b'"),
        (Hosts(), "a:0", "must be host:port"),
        (Hosts(), "a:99999:x", "must be host:port"),
        (Urls(), "ftp://a", "must be addresses like http://host:port/prefix, with commas between them, not 'ftp://a'"),
        (Urls(), "http://a b", "must be addresses like http"),
    ],
)
def test_what_is_refused_is_refused_with_what_is_right(kind: Kind, raw: object, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        kind.read(raw)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("::", "::"),
        ("[::1]", "::1"),
        ('"::"', "::"),
        ("", "0.0.0.0"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_an_interface_is_ipv4_or_ipv6(raw: str, value: str) -> None:
    assert Interface().read(raw) == value


def test_an_interface_may_be_a_name_of_this_machine() -> None:
    assert Interface().read("localhost") in ("127.0.0.1", "::1")


def test_a_path_is_cleaned_as_by_carbon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/graphite")
    assert Path().read("~/storage//x/../whisper/") == "/home/graphite/storage/whisper"


def test_a_path_that_may_be_missing_may_be_empty() -> None:
    assert OptionalPath().read("") == "" == OptionalPath().read(None)
    assert OptionalPath().read("/a//b") == "/a/b"


@pytest.mark.parametrize("raw", ["a:7002:x,[::1]:7102 ", "'a:7002:x', '[::1]:7102'", ["a:7002:x", "[::1]:7102"]])
def test_words_are_a_list_or_have_commas_between_them(raw: object) -> None:
    assert Words().read(raw) == Hosts().read(raw) == ("a:7002:x", "[::1]:7102")
    assert Words().read("") == Words().read([]) == Words().read(None) == ()


def test_servers_are_addresses_and_http_need_not_be_said() -> None:
    assert Urls().read("a:8080, https://b/graphite?format=msgpack&local=1") == (
        "http://a:8080",
        "https://b/graphite?format=msgpack&local=1",
    )


@given(st.lists(st.text("ab:/.?=&-", min_size=1, max_size=9)))
def test_words_are_shown_so_that_they_are_read_again(words: list[str]) -> None:
    kind = Words()
    assert kind.read(kind.show(tuple(words))) == tuple(words) == kind.read(kind.show_ini(tuple(words)))
    assert kind.read(yaml.safe_load("k: " + kind.show(tuple(words)))["k"]) == tuple(words)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (4, 3), (64, 4)])
def test_auto_has_bounds(cores: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    assert Processes(most=4, least=1).read("auto") == workers


@pytest.mark.parametrize(("cores", "writers"), [(1, 0), (2, 1), (4, 3), (64, 8)])
def test_auto_leaves_one_core_to_the_receiver(cores: int, writers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    assert Processes().read("auto") == writers


@given(ODD_TEXT)
def test_text_is_shown_so_that_yaml_reads_it_again(text: str) -> None:
    assert yaml.safe_load("k: " + Kind().show(text))["k"] == text


@given(st.floats(min_value=0, allow_nan=False) | st.integers(min_value=0))
def test_numbers_are_shown_so_that_they_are_read_again(number: float) -> None:
    kind = Number(endless=True)
    assert kind.read(kind.show(number)) == number == kind.read(kind.show_ini(number))
    assert kind.read(yaml.safe_load("k: " + kind.show(number))["k"]) == number
