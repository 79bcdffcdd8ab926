"""What the programs of a cluster say of themselves: who waits for what, and whether the books balance."""

from __future__ import annotations

from typing import Any

from clusterlib.programs import Cluster, until


def destinations(cluster: Cluster, relay: str) -> dict[str, dict[str, Any]]:
    """Cache -> what a relay says of it."""
    said = cluster.relays[relay].health()["destinations"]
    return {cache: said[cluster.destination(cache)] for cache in cluster.caches}


def waiting(figures: dict[str, Any]) -> int:
    """Points that a destination has not got yet."""
    return int(figures["queued"] + figures["in_flight"] + figures["spooled"])


def until_delivered(cluster: Cluster, seconds: float) -> None:
    """Return when no relay has anything left to send."""

    def nothing_waits() -> bool:
        for relay in cluster.relays:
            left = {cache: waiting(figures) for cache, figures in destinations(cluster, relay).items()}
            if any(left.values()):
                raise ValueError(f"relay {relay} still has {left}")
        return True

    until("all is delivered", nothing_waits, seconds, 0.2)


def until_written(cluster: Cluster, seconds: float) -> None:
    """Return when all caches have everything in files."""

    def nothing_cached() -> bool:
        for program in cluster.caches.values():
            ledger = program.health()["ledger"]
            if ledger["cached"] or ledger["journal_backlog"]:
                raise ValueError(f"{program.name} has {ledger}")
        return True

    until("all is written", nothing_cached, seconds, 0.2)


def unbalanced(cluster: Cluster) -> list[str]:
    """Whose books do not balance."""
    complaints = []
    for program in cluster.caches.values():
        ledger = program.health()["ledger"]
        if not ledger["balanced"]:
            complaints.append(f"{program.name}: {ledger}")
    for name, program in cluster.relays.items():
        ledger = program.health()["ledger"]
        if not ledger["balanced"]:
            complaints.append(f"{program.name}: {ledger}")
        for cache, said in destinations(cluster, name).items():
            came = said["received"] + said["recovered"]
            gone = said["delivered"] + waiting(said) + said["moved"] + sum(said["dropped"].values())
            if came != gone or not said["balanced"]:
                complaints.append(f"{program.name} to cache {cache}: {came} came, {gone} are accounted for: {said}")
    return complaints
