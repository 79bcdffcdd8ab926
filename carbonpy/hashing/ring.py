"""What all rings have in common: an order of destinations for every name, and who owns it.

The law: `order` depends on the name and the destinations alone, names each destination at most once, the primary
first; `owners` are a part of it, in its order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice

from carbonpy.hashing.destination import Destination

#: Whether replicas are on different hosts when nobody says so: carbon's rings know hosts, carbon-c-relay's do not.
DIVERSE = {"carbon_ch:c-relay": False, "fnv1a_ch:c-relay": False, "jump_fnv1a_ch": False}
#: A destination whose share is so many times its fair share is worth a warning.
UNFAIR = 2.0


class Ring(ABC):
    """Which destinations a name belongs to.  What is remembered between look-ups is bounded.  Safe from any thread."""

    def __init__(self, kind: str, destinations: Sequence[Destination]) -> None:
        self.kind = kind
        self.destinations = tuple(destinations)

    @abstractmethod
    def order(self, name: str) -> Iterator[int]:
        """The numbers of the destinations in the order in which they come into question for `name`, each once."""

    @abstractmethod
    def hash_of(self, name: str) -> int:
        """The number that decides: the position on the ring, or what the ring has instead."""

    @abstractmethod
    def points(self) -> list[tuple[int, int]]:
        """(position, number of the destination) of everything on the ring, in its order."""

    @abstractmethod
    def shares(self) -> list[float]:
        """By number of destination, the part of all names (0 to 1) of which it is the primary, by arithmetic."""

    def owners(self, name: str, replication: int = 1, diverse: bool = False) -> tuple[int, ...]:
        """The numbers of the destinations that get `name`, the primary first.

        With `diverse` no two of them have the same host.  They are fewer than `replication` where there are not
        enough destinations, or hosts.
        """
        return self._picked(self.order(name), replication, diverse)

    def succession(self, name: str, replication: int, diverse: bool) -> tuple[int, ...]:
        """All destinations in the order in which they stand in for each other: those that get `name` while all are up,
        and behind them the others.  There are no more successions than a ring has points, or lists of owners."""
        return tuple(self.order(name))

    def _picked(self, order: Iterator[int], replication: int, diverse: bool) -> tuple[int, ...]:
        if not diverse:
            return tuple(islice(order, replication))
        picked: list[int] = []
        hosts: set[str] = set()
        for number in order:
            host = self.destinations[number].host
            if host not in hosts:
                hosts.add(host)
                picked.append(number)
                if len(picked) >= replication:
                    break
        return tuple(picked)

    def warnings(self, replication: int = 1, diverse: bool = False) -> list[str]:
        """Sentences about what people do not expect of this ring."""
        return [*self._replica_warnings(replication, diverse), *self._own_warnings(), *self._share_warnings()]

    def _replica_warnings(self, replication: int, diverse: bool) -> Iterator[str]:
        count = len(self.destinations)
        if replication > count:
            yield (
                f"{replication} copies are asked for, but there are {count} destinations, so there are {count} copies; "
                "add destinations or lower the replication"
            )
        hosts = len({destination.host for destination in self.destinations})
        if diverse and hosts < min(replication, count):
            yield (
                f"copies go to different hosts, and {count} destinations are on {hosts}, so there are {hosts} copies "
                f"and not {min(replication, count)}; add hosts, or set DIVERSE_REPLICAS = False"
            )

    def _own_warnings(self) -> Iterator[str]:
        return iter(())

    def _share_warnings(self) -> Iterator[str]:
        fair = 1 / len(self.destinations)
        for destination, share in zip(self.destinations, self.shares(), strict=True):
            if not share:
                yield f"{destination} is the primary of no name at all; give every destination its own, long instance"
            elif share > UNFAIR * fair:
                yield (
                    f"{destination} gets {share:.1%} of all names, where {fair:.1%} would be fair; "
                    "longer and more different instances spread better"
                )
