"""The header of a new file is the one that the two rules files give to its name."""

from __future__ import annotations

import threading

import pytest
import whisper

from carbonpy.retention import Archive
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.schemas import SchemaBook
from carbonpy.whisper.layout import parse_header
from carbonpy.writing.headers import HeaderBook

SCHEMAS = """
[fine]
pattern = ^fine\\.
retentions = 1s:1m,10s:10m
[coarse]
pattern = .*
retentions = 60s:1d
"""
AGGREGATIONS = """
[counts]
pattern = \\.count$
xFilesFactor = 0
aggregationMethod = sum
[highest]
pattern = \\.max$
aggregationMethod = max
"""


@pytest.fixture
def book() -> HeaderBook:
    return HeaderBook(
        SchemaBook.parse(SCHEMAS, "storage-schemas.conf"),
        AggregationBook.parse(AGGREGATIONS, "storage-aggregation.conf"),
    )


@pytest.mark.parametrize(
    ("metric", "archives", "factor", "method"),
    [
        ("fine.a.count", [(1, 60), (10, 60)], 0.0, "sum"),
        ("fine.a.max", [(1, 60), (10, 60)], 0.5, "max"),
        ("fine.a", [(1, 60), (10, 60)], 0.5, "average"),
        ("a.count", [(60, 1440)], 0.0, "sum"),
        ("a;fine.=x", [(60, 1440)], 0.5, "average"),
    ],
)
def test_the_header_is_what_the_whisper_package_makes_of_the_rules(
    book, tmp_path, metric, archives, factor, method
) -> None:
    path = str(tmp_path / "theirs.wsp")
    whisper.create(path, list(archives), factor, method)
    header = book.header(metric)
    with open(path, "rb") as file:
        assert file.read(len(header)) == header
    assert book.rule(metric) == (tuple(Archive(*archive) for archive in archives), factor, method)
    assert book.header(metric) is book.header(metric)


def test_metrics_of_the_same_rules_share_one_header(book: HeaderBook) -> None:
    assert book.header("fine.a") is book.header("fine.b.c")
    assert book.header("fine.a") != book.header("other")


def test_the_built_in_rules_give_a_header() -> None:
    header = parse_header(HeaderBook(SchemaBook.default(), AggregationBook.default()).header("any"), "any")
    assert [(archive.step, archive.points) for archive in header.archives] == [(60, 7 * 1440)]
    assert header.xff == 0.5


def test_a_book_is_asked_by_many_threads_at_once(book: HeaderBook) -> None:
    expected = {name: book.header(name) for name in ("fine.a.count", "fine.b.max", "c.count", "d")}
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(300):
            wrong.extend(name for name, header in expected.items() if book.header(name) != header)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
