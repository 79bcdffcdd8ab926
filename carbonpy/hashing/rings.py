"""Rings by name.

The law: a name is one placement.  ``carbon_ch``, ``fnv1a_ch`` and ``mmh3_ch`` are carbon's, ``carbon_ch:c-relay``,
``fnv1a_ch:c-relay`` and ``jump_fnv1a_ch`` those of carbon-c-relay, ``fast`` is carbon's fast-hashing with its default
hash; with another one it is ``fast:carbon_ch`` or ``fast:fnv1a_ch``.
"""

from __future__ import annotations

from collections.abc import Sequence

from carbonpy.errors import ConfigError
from carbonpy.hashing.continuum import Continuum
from carbonpy.hashing.destination import Destination
from carbonpy.hashing.ring import DIVERSE, Ring
from carbonpy.hashing.slots import Fast, Jump

RING_TYPES = ("carbon_ch", "carbon_ch:c-relay", "fnv1a_ch", "fnv1a_ch:c-relay", "jump_fnv1a_ch", "mmh3_ch", "fast")
FAST_TYPES = ("fast:carbon_ch", "fast:fnv1a_ch")


def make_ring(kind: str, destinations: Sequence[Destination]) -> Ring:
    """The ring `kind` of `destinations` in the order of the configuration.

    Raises ConfigError, a sentence without a place, when there is no such ring, when there are no destinations, or
    when two of them are the same for it.
    """
    if kind not in RING_TYPES and kind not in FAST_TYPES:
        raise ConfigError(f"unknown ring {kind!r}; use one of {', '.join(RING_TYPES)}")
    if not destinations:
        raise ConfigError("a ring needs destinations; name at least one")
    _refuse_doubles(kind, destinations)
    if kind == "jump_fnv1a_ch":
        return Jump(kind, destinations)
    if kind.startswith("fast"):
        return Fast(kind, destinations)
    return Continuum(kind, destinations)


def diverse_by_default(kind: str) -> bool:
    """Whether the copies of a ring go to different hosts when the configuration does not say."""
    return DIVERSE.get(kind, True)


def _refuse_doubles(kind: str, destinations: Sequence[Destination]) -> None:
    """Raises ConfigError when two of `destinations` cannot be told apart on the ring."""
    seen: dict[object, Destination] = {}
    for destination in destinations:
        what: object
        if kind in ("jump_fnv1a_ch", "fnv1a_ch:c-relay"):
            what, why = destination, "the same"
        else:
            what, why = destination.node, "the same host and instance, and ports do not count"
        other = seen.setdefault(what, destination)
        if other is not destination:
            raise ConfigError(f"{other} and {destination} are {why}; give each an instance: host:port:instance")
