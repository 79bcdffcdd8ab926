"""Counters only grow; what is reported is a difference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonpy.counters import Counter, CounterGroup, Deltas

amounts = st.lists(st.tuples(st.sampled_from(["nan", "malformed", "timestamp"]), st.integers(0, 5)), max_size=30)


@given(amounts)
def test_a_group_holds_the_sum_of_each_reason(added: list[tuple[str, int]]) -> None:
    group = CounterGroup()
    for reason, amount in added:
        group.add(reason, amount)
    expected: dict[str, int] = {}
    for reason, amount in added:
        if amount:
            expected[reason] = expected.get(reason, 0) + amount
    assert group.as_dict() == expected
    assert list(group) == sorted(expected)
    assert group.total() == sum(expected.values())
    assert all(group[reason] == expected.get(reason, 0) for reason in ("nan", "malformed", "timestamp", "never"))


def test_a_copy_of_a_group_is_not_the_group() -> None:
    group = CounterGroup()
    group.add("nan")
    group.as_dict()["nan"] = 7
    assert group["nan"] == 1


@given(st.lists(st.integers(0, 9)))
def test_differences_add_up_to_the_counter(growth: list[int]) -> None:
    counter, deltas = Counter(), Deltas()
    taken = []
    for amount in growth:
        counter.add(amount)
        taken.append(deltas.take("updates", counter.value))
    assert taken == growth
    assert sum(taken) == counter.value


def test_differences_of_two_names_are_apart() -> None:
    deltas = Deltas()
    assert deltas.take("a", 3) == 3
    assert deltas.take("b", 5) == 5
    assert deltas.take("a", 4) == 1
