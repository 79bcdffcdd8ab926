"""Rings with a hundred points for each destination: carbon_ch, fnv1a_ch and mmh3_ch, of carbon and of carbon-c-relay.

The law is that of the relay the ring is named after.

carbon (hashing.py of carbon 1.1): the points of a destination are the hashes of ``('host', 'instance'):0`` to ``:99``
(fnv1a_ch: ``0-instance`` to ``99-instance``, the host is not in it).  A point that is taken already moves on by one
until it is free, so that the order of DESTINATIONS counts and positions may lie beyond 65535.  A name belongs to the
first point at or behind its hash, and so on around the ring, but the last point of the circle is never looked at.

carbon-c-relay (consistent-hash.c): the same points for carbon_ch; for fnv1a_ch ``0-host:port``, or ``0-instance``.
Nothing moves; of several points in one place the first by host, and then by instance (none last) or by port, has it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from carbonpy.hashing.destination import Destination
from carbonpy.hashing.hashes import fnv1a_16, md5_16, murmur3, signed_fnv1a_16
from carbonpy.hashing.ring import Ring

#: Points of a destination.
REPLICAS = 100

_HASHES: dict[str, Callable[[str], int]] = {
    "carbon_ch": md5_16,
    "carbon_ch:c-relay": md5_16,
    "fnv1a_ch": fnv1a_16,
    "fnv1a_ch:c-relay": signed_fnv1a_16,
    "mmh3_ch": murmur3,
}


class Continuum(Ring):
    """One of these rings.  Safe from any thread."""

    def __init__(self, kind: str, destinations: Sequence[Destination]) -> None:
        super().__init__(kind, destinations)
        self._hash = _HASHES[kind]
        self.moved = 0
        points = self._settled() if kind.endswith(":c-relay") else self._moved_on()
        self._positions = [position for position, _ in points]
        self._numbers = [number for _, number in points]
        # The whole circle for carbon-c-relay; carbon stops before it has seen the last point.
        self._reach = len(points) - (not kind.endswith(":c-relay"))
        self._present = len(set(self._numbers))
        self._remembered: dict[tuple[int, int, bool], tuple[int, ...]] = {}

    def hash_of(self, name: str) -> int:
        return self._hash(name)

    def _moved_on(self) -> list[tuple[int, int]]:
        taken: dict[int, int] = {}
        for number, destination in enumerate(self.destinations):
            for key in keys(self.kind, destination):
                position = self._hash(key)
                self.moved += position in taken
                while position in taken:
                    position += 1
                taken[position] = number
        return sorted(taken.items())

    def _settled(self) -> list[tuple[int, int]]:
        def rank(point: tuple[int, int]) -> tuple[int, bytes, bool, bytes, int]:
            position, number = point
            host, port, instance = self.destinations[number]
            if self.kind.startswith("fnv1a"):
                return position, host.encode(), False, b"", port
            return position, host.encode(), instance is None, (instance or "").encode(), 0

        points = sorted(
            (
                (self._hash(key), number)
                for number, destination in enumerate(self.destinations)
                for key in keys(self.kind, destination)
            ),
            key=rank,
        )
        for at in range(1, len(points)):
            if points[at][0] == points[at - 1][0]:
                self.moved += points[at] != points[at - 1]
                points[at] = points[at - 1]
        return points

    def points(self) -> list[tuple[int, int]]:
        return list(zip(self._positions, self._numbers, strict=True))

    def shares(self) -> list[float]:
        shares = [0] * len(self.destinations)
        low, size = (-(2**31), 2**32) if self.kind == "mmh3_ch" else (0, 2**16)
        before = low - 1
        for position, number in zip(self._positions, self._numbers, strict=True):
            end = min(position, low + size - 1)
            shares[number] += end - before
            before = end
        shares[self._numbers[0]] += low + size - 1 - before
        return [share / size for share in shares]

    def order(self, name: str) -> Iterator[int]:
        return self._walk(bisect_left(self._positions, self._hash(name)) % len(self._positions))

    def _walk(self, index: int) -> Iterator[int]:
        seen: set[int] = set()
        numbers = self._numbers
        for at in range(index, index + self._reach):
            number = numbers[at % len(numbers)]
            if number not in seen:
                yield number
                seen.add(number)
                if len(seen) == self._present:
                    return

    def owners(self, name: str, replication: int = 1, diverse: bool = False) -> tuple[int, ...]:
        index = bisect_left(self._positions, self._hash(name)) % len(self._positions)
        key = (index, replication, diverse)
        owners = self._remembered.get(key)
        if owners is None:
            # One for each point and way to replicate, of which a ring's user has one.
            owners = self._remembered[key] = self._picked(self._walk(index), replication, diverse)
        return owners

    def _own_warnings(self) -> Iterator[str]:
        if self.kind == "fnv1a_ch":
            instances = [destination.instance for destination in self.destinations]
            shared = {instance for instance in instances if instances.count(instance) > 1}
            for instance in sorted(shared, key=str):
                yield (
                    f"fnv1a_ch hashes instances and not hosts, and {instances.count(instance)} destinations have the "
                    f"instance {instance}, so that nearly all names of these go to the first; "
                    "give every destination an instance of its own, or use fnv1a_ch:c-relay"
                )


def keys(kind: str, destination: Destination) -> list[str]:
    """The texts whose hashes are the points of `destination`."""
    host, port, instance = destination
    if kind == "fnv1a_ch":
        return [f"{i}-{instance}" for i in range(REPLICAS)]
    if kind == "fnv1a_ch:c-relay":
        node = f"{host}:{port}" if instance is None else instance
        return [f"{i}-{node}" for i in range(REPLICAS)]
    # As Python writes the tuple; hosts and instances have no characters that it would write in another way.
    node = f"('{host}', {instance if instance is None else repr(instance)})"
    return [f"{node}:{i}" for i in range(REPLICAS)]
