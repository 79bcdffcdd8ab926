"""The name table: one id for all raw names of a metric, verdicts, bounds, and lists that change."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import MetricError
from carbonpy.ingest import names as names_module
from carbonpy.ingest.names import (
    DENIED,
    FIRST_ID,
    FULL,
    INVALID,
    MAX_REFUSALS,
    NOT_ALLOWED,
    VERDICTS,
    NameTable,
    judge_by_lists,
    let_all_pass,
)
from carbonpy.metric import canonical

raws = st.one_of(
    st.text('ab./~;={}"é\n', max_size=8).map(str.encode),
    st.sampled_from([b"a.b", b"a..b", b".a.b", b"a/b", b"m;a=1;b=2", b"m;b=2;a=1", b'm{b="2",a="1"}', b"\xff"]),
    st.binary(max_size=6),
)
patterns = st.sampled_from([None, "a", "^m", "é", r"\.\.", "b$", ";", "^$"])


def matcher(pattern: str | None) -> Callable[[str], bool] | None:
    if pattern is None:
        return None
    search = re.compile(pattern).search
    return lambda name: search(name) is not None


def expected(raw: bytes, denied: str | None, allowed: str | None) -> str | int:
    """The metric of a raw name, or the verdict, by the definitions."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return INVALID
    if denied is not None and re.search(denied, name):
        return DENIED
    if allowed is not None and not re.search(allowed, name):
        return NOT_ALLOWED
    try:
        return canonical(name)
    except MetricError:
        return INVALID


def decided(table: NameTable, raw: bytes) -> str | int:
    number = table.intern(raw)
    return table.metric(number) if number >= FIRST_ID else number


@settings(max_examples=500, deadline=None)
@given(st.lists(raws, max_size=30), patterns, patterns)
def test_every_raw_name_gets_the_id_of_its_metric_or_its_verdict(
    some: list[bytes], denied: str | None, allowed: str | None
) -> None:
    table = NameTable(judge_by_lists(matcher(denied), matcher(allowed)))
    met: list[tuple[int, bytes]] = []
    table.on_new.append(lambda first, metrics: met.extend(enumerate(metrics, first)))
    for raw in some + some:
        assert decided(table, raw) == expected(raw, denied, allowed)
    metrics = list(table)
    assert len(set(metrics)) == len(metrics) == len(table)
    assert met == list(enumerate((metric.encode() for metric in metrics), FIRST_ID))
    assert table.next_id == FIRST_ID + len(metrics)
    assert table.metrics(number for number, _ in met) == [metric.encode() for metric in metrics]
    for number, metric in enumerate(metrics, FIRST_ID):
        assert table.id_of(metric) == number


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.lists(raws | st.sampled_from([b"a", b"a.b", b"a..b", b"b", b"", b"."]), max_size=12), max_size=5),
    st.booleans(),
    st.integers(0, 12),
)
def test_names_decided_together_are_decided_as_one_by_one(
    batches: list[list[bytes]], judged: bool, max_names: int
) -> None:
    judge = judge_by_lists(matcher("b"), None) if judged else let_all_pass
    together, single = NameTable(judge, max_names, 40), NameTable(judge, max_names, 40)
    met: tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]] = ([], [])
    together.on_new.append(lambda first, metrics: met[0].extend(enumerate(metrics, first)))
    single.on_new.append(lambda first, metrics: met[1].extend(enumerate(metrics, first)))
    for batch in batches:
        assert together.intern_all(batch) == [single.intern(raw) for raw in batch]
    assert together.ids == single.ids
    assert list(together) == list(single)
    assert met[0] == met[1]


@settings(max_examples=500, deadline=None)
@given(
    st.lists(raws, max_size=20),
    st.lists(st.tuples(patterns, patterns), min_size=1, max_size=3),
    st.lists(raws, max_size=10),
)
def test_names_judged_again_are_as_in_a_fresh_table_and_keep_their_ids(
    first: list[bytes], lists: list[tuple[str | None, str | None]], later: list[bytes]
) -> None:
    table = NameTable()
    for raw in first:
        table.intern(raw)
    before = {raw: expected(raw, None, None) for raw in first}
    for denied, allowed in lists:
        ids = {metric: table.id_of(metric) for metric in table}
        changed = table.judge_again(judge_by_lists(matcher(denied), matcher(allowed)))
        after = {raw: expected(raw, denied, allowed) for raw in before}
        assert changed == sum(
            (before[raw] if isinstance(before[raw], int) else 0) != (after[raw] if isinstance(after[raw], int) else 0)
            for raw in before
        )
        for metric, number in ids.items():
            assert number is not None and table.metric(number) == metric
            assert table.id_of(metric) == number  # points of a metric that is denied now are still readable
        for raw in [*before, *later]:
            assert decided(table, raw) == expected(raw, denied, allowed)
        before = after | {raw: expected(raw, denied, allowed) for raw in later}
        metrics = list(table)
        assert len(set(metrics)) == len(metrics)


@given(st.text("ab.;/~}{= é\x00\x7f", max_size=12).map(str.encode))
def test_the_short_way_for_plain_names_decides_as_the_long_one(raw: bytes) -> None:
    short, long = NameTable(let_all_pass, max_name_bytes=9), NameTable(lambda name: 0, max_name_bytes=9)
    assert decided(short, raw) == decided(long, raw)


def test_verdicts_have_the_words_of_the_ledger() -> None:
    table = NameTable(judge_by_lists(matcher("^junk"), matcher("^(ok|junk)")), max_names=1)
    verdicts = [table.intern(raw) for raw in (b"junk.a", b"other", b"ok\x01", b"ok.a", b"ok.b")]
    assert verdicts == [DENIED, NOT_ALLOWED, INVALID, FIRST_ID, FULL]
    assert [VERDICTS[verdict] for verdict in verdicts if verdict < FIRST_ID] == [
        "blacklisted",
        "not_whitelisted",
        "invalid_name",
        "too_many_names",
    ]


def test_lists_see_the_name_as_it_came() -> None:
    table = NameTable(judge_by_lists(matcher(r"\.\."), None))
    assert table.intern(b"a..b") == DENIED
    assert table.intern(b"a.b") == table.intern(b".a.b") == FIRST_ID


def test_a_full_table_knows_what_it_knew_and_holds_nothing_more() -> None:
    table = NameTable(max_names=3)
    known = [table.intern(raw) for raw in (b"a", b"b..c", b"d")]
    for number in range(1000):
        assert table.intern(b"flood.%d" % number) == FULL
    assert len(table.ids) == len(table) == 3
    assert [table.intern(raw) for raw in (b"a", b"b..c", b"d")] == known
    table.max_names = 4
    assert table.intern(b"b.c") == known[1]
    assert table.intern(b"e") == FULL


def test_a_flood_of_refused_names_takes_no_place_and_little_memory() -> None:
    table = NameTable(judge_by_lists(matcher("^junk"), None), max_names=2)
    assert table.intern(b"a") == FIRST_ID
    for number in range(MAX_REFUSALS + 10):
        assert table.intern(b"junk.%d" % number) == DENIED
    assert len(table.ids) <= MAX_REFUSALS + 1
    assert table.intern(b"junk.1") == table.intern(b"junk.1") == DENIED
    assert table.intern(b"junk." + b"x" * 300) == DENIED
    assert b"junk." + b"x" * 300 not in table.ids
    assert table.intern(b"b") == FIRST_ID + 1
    assert table.judge_again(let_all_pass) > 0
    assert table.intern(b"a") == FIRST_ID


@pytest.mark.parametrize("raw", [b"a", b"a..b", b"m;b=1;a=2"])
def test_an_unknown_metric_has_no_id(raw: bytes) -> None:
    table = NameTable()
    assert table.id_of(canonical(raw.decode())) is None
    number = table.intern(raw)
    assert table.id_of(canonical(raw.decode())) == number
    if canonical(raw.decode()).encode() != raw:
        assert table.id_of(raw.decode()) is None


def test_verdicts_lie_below_the_ids() -> None:
    assert len(VERDICTS) <= names_module.FIRST_ID


def test_a_lowered_limit_takes_no_name_away() -> None:
    table = NameTable(max_names=3)
    known = [table.intern(raw) for raw in (b"a", b"b..c", b"d")]
    table.max_names = 1
    assert table.judge_again(let_all_pass) == 0
    assert [table.intern(raw) for raw in (b"a", b"b..c", b"d")] == known
    assert table.intern(b"e") == FULL
