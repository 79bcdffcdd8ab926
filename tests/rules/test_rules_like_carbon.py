"""Rules files mean to carbonpy what they mean to carbon: hundreds of generated files and names, both asked."""

from __future__ import annotations

import random
from pathlib import Path

from support.carbon_oracle import ask

from carbonpy.errors import ConfigError, RetentionError
from carbonpy.retention import parse_retention
from carbonpy.rules.aggregation import DEFAULT_METHOD, DEFAULT_XFF, METHODS, AggregationBook
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.schemas import SchemaBook

NODES = ("web", "db", "db01", "carbon", "agents", "cpu", "count", "min", "max", "p99", "load;host=a", "Ünïcode", "a b")
PATTERNS = (
    "^carbon\\.", "\\.count$", "\\.(min|max)$", "^web", "db\\d+", "p99", ".*", "cpu", ";host=", "ü", "(?i)WEB", "^$",
    "a b", "[unbalanced", "", "x{2,1}", "50%%", "50%", "%(name)s", "%(retentions)s",
)  # fmt: skip
RETENTIONS = (
    "60s:1d", "60:10080", "1m:7d", "10s:6h,1m:7d", "10s:6h, 1m:7d , 1h:1y", "1h:1y,10s:6h,1m:7d", "60s:7d,300s:30d",
    "60:90d", "180s:7d,300s:30d", "60s:7d,60s:30d", "60s:7d,300s:1d", "1s:5s,60s:1d", "7s:1h", "1w:1y", "1min:1d",
    "60s: 1d", "60s", "", "60x:7d", "60s:7d,",
    "60s:1d:2d", "-1:5", "1.5s:1d", "60S:1d", "60s:7d;5m:30d", "60s:7d # kept", "0s:1d",
)  # fmt: skip
XFF = ("0", "0.5", "1", "0.1", ".3", "1e-1", "half", "", "1.5", "-0.1", "nan", "inf", "0,5", " 1 ")


def names(choose: random.Random) -> list[str]:
    made = {".".join(choose.choices(NODES, k=choose.randint(1, 4))) for _ in range(250)}
    return sorted(made)


def files(choose: random.Random, options: dict[str, tuple[str, ...]], careful: float) -> list[str]:
    """Texts of up to five sections; the better part of the options is taken from the first half of its tuple."""
    texts = []
    for _ in range(400):
        lines = choose.choice(([], ["# a comment", ""], ["; another"]))
        for number in range(choose.randint(0, 5)):
            lines.append(
                choose.choice(
                    (f"[s{number}]",) * 12 + (f"[s{number}] # note", "[default]", "[DEFAULT]", f" [s{number}]")
                )
            )
            for option, values in options.items():
                if choose.random() < 0.95:
                    some = values[: len(values) // 2 + 1] if choose.random() < careful else values
                    spelling = choose.choice((option, option, option.upper()))
                    lines.append(f"{spelling}{choose.choice((' = ', '=', ': '))}{choose.choice(some)}")
        texts.append("\n".join(lines) + "\n")
    return texts


def test_schemas_give_every_name_the_archives_that_carbon_gives_it(tmp_path: Path) -> None:
    choose = random.Random(1)
    metrics = names(choose)
    texts = files(choose, {"pattern": PATTERNS, "retentions": RETENTIONS}, 0.9)
    answers = ask({"schemas": texts, "names": metrics}, tmp_path)["schemas"]
    refused = 0
    for text, expected in zip(texts, answers, strict=True):
        try:
            book = SchemaBook.parse(text, "f")
        except ConfigError as error:
            refused += 1
            assert expected is None, f"{text}\n{error}"
        else:
            assert expected is not None, text
            assert [[list(archive) for archive in book.match(metric).archives] for metric in metrics] == expected, text
    assert 50 < refused < 350


def test_aggregation_gives_every_name_what_carbon_gives_it(tmp_path: Path) -> None:
    choose = random.Random(2)
    metrics = names(choose)
    methods = (*METHODS, "Average", "avg", "", "median", "sum # x", "first")
    texts = files(choose, {"pattern": PATTERNS, "xFilesFactor": XFF, "aggregationMethod": methods}, 0.9)
    answers = ask({"aggregation": texts, "names": metrics}, tmp_path)["aggregation"]
    refused = 0
    for text, expected in zip(texts, answers, strict=True):
        try:
            book = AggregationBook.parse(text, "f")
        except ConfigError as error:
            refused += 1
            assert expected is None, f"{text}\n{error}"
        else:
            assert expected is not None, text
            filled = [(DEFAULT_XFF if x is None else x, DEFAULT_METHOD if m is None else m) for x, m in expected]
            assert [(book.match(m).xff, book.match(m).method) for m in metrics] == filled, text
    assert 50 < refused < 350


def test_retentions_are_accepted_and_refused_as_by_carbon(tmp_path: Path) -> None:
    """But for a step of zero seconds and for no points at all, of which carbon makes files that nobody can read."""
    choose = random.Random(3)
    parts = ("1", "60", "s", "m", "h", "d", "w", "y", ":", ":", " ", "x", "min", "-", ".", "0", "7", "S")
    texts = [*RETENTIONS, *("".join(choose.choices(parts, k=choose.randint(1, 7))) for _ in range(3000))]
    texts += [f"{a}{u}:{b}{v}" for a in (1, 7, 60) for u in ("", *"smhdwy") for b in (1, 90) for v in ("", *"smhdwyx")]
    answers = ask({"retentions": texts, "names": []}, tmp_path)["retentions"]
    for text, expected in zip(texts, answers, strict=True):
        try:
            archive = parse_retention(text)
        except RetentionError:
            assert expected is None or 0 in expected, text
        else:
            assert list(archive) == expected, text


def test_lists_find_the_names_that_carbon_finds(tmp_path: Path) -> None:
    choose = random.Random(4)
    metrics = names(choose)
    lines = (*PATTERNS, "# comment", " # not one", "  ^web  ", "a\x0bb", "\\.\\.", "^\\.", "\\.$")
    texts = [choose.choice(("\n", "\r\n")).join(choose.choices(lines, k=choose.randint(0, 5))) for _ in range(200)]
    answers = ask({"filters": texts, "names": metrics}, tmp_path)["filters"]
    for text, (count, found) in zip(texts, answers, strict=True):
        book = FilterBook.parse(text, "f")
        assert len(book.patterns) == count
        assert [book.matches(metric) for metric in metrics] == found, text
