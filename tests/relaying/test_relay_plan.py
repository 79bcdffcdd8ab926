"""Plans say which destinations may get points."""

from __future__ import annotations

from carbonpy.relaying.plan import NO_ROUTE, Choice, Feed, Plan, Sending
from carbonpy.rules.aggregates import AggregateSpec


def test_numbers_are_those_of_the_sendings_each_once_and_in_their_order() -> None:
    plan = Plan((Sending(b"a", (3, 1)), Sending(b"b", (Choice((1, 2, 0)), Choice((4, 5, 6), 2)))))
    assert list(plan.numbers()) == [3, 1, 4, 5]


def test_an_empty_plan_has_its_reason() -> None:
    plan = Plan(dropped=NO_ROUTE)
    assert list(plan.numbers()) == []
    assert (plan.sendings, plan.feeds, plan.checks, plan.rules) == ((), (), (), ())


def test_plans_can_be_compared_and_kept() -> None:
    feed = Feed(b"all", AggregateSpec(60, "sum"), Plan((Sending(b"all", (0,)),)))
    assert {Plan((), (feed,)), Plan((), (feed,))} == {Plan((), (feed,))}
