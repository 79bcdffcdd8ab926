"""Rings without points: carbon-c-relay's jump_fnv1a_ch, and carbon's fast-hashing.

The law is that of the relay.  jump (consistent-hash.c of carbon-c-relay): destinations stand in the order of their
instances, as numbers if all that are compared are numbers, else as text, those without one last and as configured;
a name's place is the jump consistent hash of its FNV-1a.  For a copy the place's destination is replaced by the last
one and the next random number (xorshift*) decides.  fast (routers.py of carbon 1.1): destinations stand in the order of
the hashes of ``('host', 'instance')``; a name's place is its hash modulo their number, copies follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cmp_to_key

from carbonpy.hashing.destination import Destination
from carbonpy.hashing.hashes import fnv1a_16, fnv1a_64, jump, md5_16, murmur3, utf8
from carbonpy.hashing.ring import Ring

_MASK64 = 0xFFFFFFFFFFFFFFFF
_NUMBER = re.compile(r"-?[0-9]+\Z", re.ASCII)
_HASHES = {"fast": murmur3, "fast:carbon_ch": md5_16, "fast:fnv1a_ch": fnv1a_16}


class Jump(Ring):
    """jump_fnv1a_ch.  Immutable, safe from any thread."""

    def __init__(self, kind: str, destinations: Sequence[Destination]) -> None:
        super().__init__(kind, destinations)
        self._slots = sorted(range(len(self.destinations)), key=cmp_to_key(self._compared))

    def _compared(self, left: int, right: int) -> int:
        one, other = self.destinations[left].instance, self.destinations[right].instance
        if one is None or other is None:
            return (one is None) - (other is None)
        if _NUMBER.match(one) and _NUMBER.match(other):
            return int(one) - int(other)
        return (one > other) - (one < other)

    def hash_of(self, name: str) -> int:
        return fnv1a_64(utf8(name), signed=True)

    def order(self, name: str) -> Iterator[int]:
        key = self.hash_of(name)
        slots = self._slots.copy()
        while True:
            slot = jump(key, len(slots))
            yield slots[slot]
            last = slots.pop()
            if not slots:
                return
            if slot < len(slots):
                slots[slot] = last
            key ^= key >> 12
            key ^= key << 25 & _MASK64
            key ^= key >> 27
            key = key * 2685821657736338717 & _MASK64

    def succession(self, name: str, replication: int, diverse: bool) -> tuple[int, ...]:
        owners = self.owners(name, replication, diverse)
        place = self._slots.index(owners[0])
        others = self._slots[place:] + self._slots[:place]
        return (*owners, *(number for number in others if number not in owners))

    def points(self) -> list[tuple[int, int]]:
        return list(enumerate(self._slots))

    def shares(self) -> list[float]:
        return [1 / len(self.destinations)] * len(self.destinations)

    def _own_warnings(self) -> Iterator[str]:
        without = sum(destination.instance is None for destination in self.destinations)
        if without > 1:
            yield (
                f"{without} destinations have no instance, so that their order in the configuration decides, and "
                "taking out any but the last one moves nearly all names; number them: host:port:1, host:port:2 ..."
            )
        instances = [destination.instance for destination in self.destinations if destination.instance is not None]
        for instance in sorted({instance for instance in instances if instances.count(instance) > 1}):
            yield f"{instances.count(instance)} destinations have the instance {instance}; give each one of its own"


class Fast(Ring):
    """fast-hashing.  Immutable, safe from any thread."""

    def __init__(self, kind: str, destinations: Sequence[Destination]) -> None:
        super().__init__(kind, destinations)
        self._hash = _HASHES[kind]
        nodes = [self._hash(f"({host!r}, {instance!r})") for host, _, instance in self.destinations]
        # Equal hashes stand as configured.  In carbon their order is that of a set, another one in every process.
        self._slots = sorted(range(len(nodes)), key=nodes.__getitem__)
        self._hashes = [nodes[number] for number in self._slots]

    def hash_of(self, name: str) -> int:
        return self._hash(name)

    def order(self, name: str) -> Iterator[int]:
        start = self._hash(name) % len(self._slots)
        return iter(self._slots[start:] + self._slots[:start])

    def points(self) -> list[tuple[int, int]]:
        return list(zip(self._hashes, self._slots, strict=True))

    def shares(self) -> list[float]:
        return [1 / len(self.destinations)] * len(self.destinations)
