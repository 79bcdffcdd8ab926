"""Retention definitions mean what they mean to carbon; lists of archives are refused where whisper refuses them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st
from support.carbon_oracle import ask

from carbonpy.errors import RetentionError
from carbonpy.retention import Archive, parse_retention, parse_retentions, validate_archives

steps = st.sampled_from([1, 2, 3, 5, 7, 10, 60, 300, 3600])
archives = st.lists(st.tuples(steps, st.integers(1, 50)), max_size=4)


def test_definitions_are_taken_and_refused_as_carbon_does(tmp_path: Path) -> None:
    choose = Random(3)
    parts = (
        "60",
        "1",
        "0",
        "10s",
        "1m",
        "2h",
        "1d",
        "3w",
        "1y",
        "1min",
        "m",
        "",
        " ",
        "-1",
        "1.5",
        "²",
        "٣",
        "٣m",
        "60S",
    )
    texts = [
        f"{choose.choice(parts)}{choose.choice((':', ':', ':', '', '::'))}{choose.choice(parts)}" for _ in range(2000)
    ]
    texts += [f" {text}\n" for text in texts[:50]]
    taken = 0
    for text, expected in zip(texts, ask({"retentions": texts, "names": []}, tmp_path)["retentions"], strict=True):
        try:
            ours: list[int] | None = list(parse_retention(text))
        except RetentionError:
            ours = None
        if expected is not None and min(expected) <= 0:
            assert ours is None, text  # carbon finds out when whisper cannot make the file
        else:
            assert ours == expected, text
            taken += ours is not None
    assert taken > 200


@given(st.text("0123456789smhdwy: .-²٣", max_size=12))
def test_no_text_raises_anything_but_a_retention_error(text: str) -> None:
    try:
        archive = parse_retention(text)
    except RetentionError as error:
        assert ";" in str(error)
    else:
        assert archive.step > 0 and archive.points > 0


@given(archives)
def test_archives_are_one_file_exactly_if_whisper_says_so(given_archives: list[tuple[int, int]]) -> None:
    theirs = list(given_archives)
    try:
        whisper.validateArchiveList(theirs)
    except whisper.InvalidConfiguration as error:
        with pytest.raises(RetentionError) as refusal:
            validate_archives(given_archives)
        assert str(refusal.value).rstrip(".") == str(error).rstrip(".")
    else:
        assert list(validate_archives(given_archives)) == theirs


@pytest.mark.parametrize("archive", [(0, 5), (5, 0), (-1, 5), (5, -1)])
def test_steps_and_points_are_above_zero(archive: tuple[int, int]) -> None:
    with pytest.raises(RetentionError, match="above zero"):
        validate_archives([archive])


@pytest.mark.parametrize(
    "archives", [[(1, 2**32)], [(60, 2**32 // 60 + 1)], [(1, 357913942), (2, 357913942)], [(1, 10), (10, 2**31)]]
)
def test_what_the_fields_of_a_file_cannot_hold_is_refused(archives: list[tuple[int, int]]) -> None:
    with pytest.raises(RetentionError, match="does not fit into a whisper file"):
        validate_archives(archives)


def test_a_file_may_be_as_large_as_its_fields_allow() -> None:
    assert validate_archives([(1, 2**32 - 1)]) == ((1, 2**32 - 1),)


def test_a_list_is_sorted_finest_first() -> None:
    assert parse_retentions("1h:1y, 10s:6h ,1m:7d") == ((10, 2160), (60, 10080), (3600, 8760))
    assert parse_retention("60s:7d").retention == 7 * 86400
    assert str(Archive(60, 10080)) == "60:10080"


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("60x:7d", "unknown unit 'x'; use s, m, h, d, w or y"),
        ("60s", "'60s' has no single ':'; write step:retention, as in 60s:7d"),
        ("60s:30s", "'60s:30s' keeps no points; the retention is at least one step"),
        ("0:5", "'0:5' has a step of zero; the step is at least one second"),
        ("²:5", "invalid step '²'; write a number, or a number and one of s, m, h, d, w, y"),
        ("1:" + "9" * 5000, "99999999999999999999... is too large; use at most 4294967295"),
    ],
)
def test_errors_say_what_to_do(text: str, sentence: str) -> None:
    with pytest.raises(RetentionError) as refusal:
        parse_retention(text)
    assert sentence in str(refusal.value)
