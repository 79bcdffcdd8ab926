"""What is done with the points of one name: the answer of a router.

The law: a plan depends on the name alone and never changes, so that it can be kept by the number of the name.  What
depends on the moment (who is up, whose queue is short) is left open in a `Choice`; what depends on the datapoint is a
`Check`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from carbonpy.rules.aggregates import AggregateSpec

#: How a `Choice` is made.
FIRST, LEAST = "first", "least"
#: Why a name goes nowhere.
NO_ROUTE, BLACKHOLED, INVALID_NAME = "no_route", "blackholed", "invalid_name"


@dataclass(frozen=True, slots=True)
class Choice:
    """Some of several destinations, chosen when a batch is sent.  Immutable.

    `members` are numbers of destinations of the router in the order of preference.  With `how` ``first``, the first
    `count` of them that are up, and when fewer are, those and then the first of the others; with ``least``, those for
    which the fewest points wait first.  `hosts` is empty or has a number for each member: of members with the same
    number no more than one is chosen.
    """

    members: tuple[int, ...]
    count: int = 1
    how: str = FIRST
    hosts: tuple[int, ...] = ()

    def pick(self, is_up: Callable[[int], bool], waiting: Callable[[int], int]) -> list[int]:
        """The destinations to send to now; `waiting` says how many points wait for a destination."""
        places = range(len(self.members))
        if self.how == LEAST:
            order = sorted(places, key=lambda place: (not is_up(self.members[place]), waiting(self.members[place])))
        else:
            order = sorted(places, key=lambda place: not is_up(self.members[place]))
        picked: list[int] = []
        hosts: set[int] = set()
        for place in order:
            if len(picked) >= self.count:
                break
            if self.hosts:
                if self.hosts[place] in hosts:
                    continue
                hosts.add(self.hosts[place])
            picked.append(self.members[place])
        return picked

    def preferred(self) -> list[int]:
        """The destinations to send to when all are up and nothing waits."""
        return self.pick(lambda member: True, lambda member: 0)


#: The number of a destination of the router, or a choice of several.
Target = int | Choice


class Sending(NamedTuple):
    """As what a point is sent, and to whom: `targets` in ring order, the primary first.  Immutable."""

    name: bytes
    targets: tuple[Target, ...]


class Feed(NamedTuple):
    """That a point is also taken in by an aggregate called `name`.  Immutable.

    `onward` is what is done with the aggregate; None when it goes the way that a point of this name received from
    outside goes.
    """

    name: bytes
    rule: AggregateSpec
    onward: Plan | None = None


class Check(NamedTuple):
    """What ``b"value timestamp"`` of a datapoint has to look like.  Immutable.

    `matches.search` has to find something.  If it does not, the datapoint is not sent by the sendings and taken by the
    feeds with the numbers `sendings` and `feeds` of the plan; `on_failure` ``log`` writes it to the log, ``drop`` does
    not.  A datapoint that nobody sends and nobody takes because of this is dropped as invalid.
    """

    matches: re.Pattern[bytes]
    on_failure: str
    sendings: tuple[int, ...]
    feeds: tuple[int, ...] = ()


class Plan(NamedTuple):
    """Everything that is done with the points of one name.  Immutable.

    `dropped` is empty, or why they go nowhere: it is set when there are no sendings and no feeds.  `rules` are the
    rules or routes that had a say, for people to read.
    """

    sendings: tuple[Sending, ...] = ()
    feeds: tuple[Feed, ...] = ()
    checks: tuple[Check, ...] = ()
    dropped: str = ""
    rules: tuple[str, ...] = ()

    def numbers(self) -> Iterator[int]:
        """The destinations that get points while all are up, each once, in the order of the sendings."""
        seen = set()
        for sending in self.sendings:
            for target in sending.targets:
                for number in (target,) if isinstance(target, int) else target.preferred():
                    if number not in seen:
                        seen.add(number)
                        yield number
