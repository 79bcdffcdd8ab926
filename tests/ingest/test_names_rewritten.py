"""Raw names that are rewritten on their way in: where they lead, what aggregates and the journal find."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import MetricError
from carbonpy.ingest.names import FIRST_ID, FULL, INVALID, NOT_FORWARDED, NameTable, judge_by_lists, let_all_pass
from carbonpy.metric import canonical

RENAMES: list[dict[bytes, bytes | None]] = [{}, {b"a": b"b"}, {b"a": None, b"b": b"a"}, {b"c": b"x..y", b"a..b": b"c"}]
raws = st.sampled_from([b"a", b"b", b"c", b"a..b", b"a.b", b"x.y", b"m;b=1;a=2", b"\xff"])


def decided(table: NameTable, number: int) -> str | int:
    return table.metric(number) if number >= FIRST_ID else number


def expected(raw: bytes, renames: dict[bytes, bytes | None]) -> str | int:
    try:
        raw.decode()
        renamed = renames.get(raw, raw)
        return NOT_FORWARDED if renamed is None else canonical(renamed.decode())
    except (UnicodeDecodeError, MetricError):
        return INVALID


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(RENAMES), st.lists(st.tuples(raws, st.booleans()))), max_size=4))
def test_a_raw_name_leads_to_what_it_is_rewritten_to_and_a_name_from_within_to_itself(
    turns: list[tuple[dict[bytes, bytes | None], list[tuple[bytes, bool]]]]
) -> None:
    table = NameTable(rename=lambda raw: raw)
    numbers: dict[str, int] = {}
    for renames, names in turns:
        table.rename_again(lambda raw, renames=renames: renames.get(raw, raw))  # type: ignore[misc]
        for name, inside in names:
            number = table.identify(name) if inside else table.intern(name)
            assert decided(table, number) == expected(name, {} if inside else renames)
            if number >= FIRST_ID:
                metric = table.metric(number)
                assert numbers.setdefault(metric, number) == number == table.id_of(metric), "one id for each metric"
    assert list(table) == list(numbers)


def test_without_rewriting_a_name_from_within_is_any_name() -> None:
    table = NameTable()
    assert table.identify(b"a..b") == table.intern(b"a.b") == table.identify(b"a.b")


def test_lists_judge_raw_names_and_not_names_from_within() -> None:
    table = NameTable(judge_by_lists(lambda name: name == "a", None), rename=lambda raw: {b"b": b"a"}.get(raw, raw))
    assert (table.intern(b"a"), decided(table, table.intern(b"b"))) == (1, "a")
    assert decided(table, table.identify(b"a")) == "a"
    table.judge_again(let_all_pass)
    assert decided(table, table.intern(b"a")) == "a"
    assert table.id_of("a") == table.identify(b"a") == table.intern(b"b")


def test_names_that_are_only_aggregated_are_bounded_as_all_are() -> None:
    table = NameTable(rename=lambda raw: None, max_names=3)
    assert [table.intern(b"%d" % n) for n in range(5)] == [NOT_FORWARDED] * 3 + [FULL] * 2
    assert [table.identify(b"%d" % n) for n in range(4)] == [*range(FIRST_ID, FIRST_ID + 3), FULL]


def test_without_rules_any_more_the_table_is_as_it_was_before() -> None:
    table = NameTable(rename=lambda raw: b"b")
    assert decided(table, table.intern(b"a")) == "b"
    table.rename_again(None)
    assert [decided(table, table.intern(raw)) for raw in (b"a", b"b", b"a..b")] == ["a", "b", "a.b"]
    assert len(table) == 3
