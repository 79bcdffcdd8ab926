"""What ``carbonpy relay status`` shows: a line for each destination, now or again and again.

The law: every figure is one of /health, or the difference of two of its answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEADS = ("destination", "state", "delivered", "per s", "waiting", "on disk", "oldest", "replay", "dropped")


def lines_of(health: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> list[str]:
    """The lines for an answer of /health; `before` is an earlier one, for figures per second."""
    ledger = health["ledger"]
    seconds = health["uptime"] - before["uptime"] if before is not None else health["uptime"]
    came = ledger["received"] - (before["ledger"]["received"] if before is not None else 0)
    lines = [
        f"{health['status']}; {_count(ledger['received'])} points came in ({_rate(came, seconds)} per s), "
        f"{_count(ledger['relayed'])} were sent on, {_count(ledger['aggregated'])} only aggregated, "
        f"{_count(sum(ledger['dropped'].values()))} dropped{_reasons(ledger['dropped'])}"
    ]
    if not ledger["balanced"]:
        lines.append("the ledger does not balance: this is a defect")
    if health["aggregates"]["buffers"]:
        aggregates = health["aggregates"]
        lines.append(f"{_count(aggregates['buffers'])} aggregates, {_count(aggregates['sent'])} values sent")
    rows: list[Sequence[str]] = [_HEADS]
    for name, now in health["destinations"].items():
        then = before["destinations"].get(name) if before is not None else None
        rows.append(_row(name, now, then, seconds))
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADS))]
    for row in rows:
        cells = [cell.ljust(width) if place < 2 else cell.rjust(width)
                 for place, (cell, width) in enumerate(zip(row, widths))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    for name, now in health["destinations"].items():
        if now["why"]:
            lines.append(f"{name}: {now['why']}")
        if now["dropped"]:
            lines.append(f"{name}: dropped{_reasons(now['dropped'])}")
        if not now["balanced"]:
            lines.append(f"{name}: its ledger does not balance: this is a defect")
    return lines


def _row(name: str, now: Mapping[str, Any], then: Mapping[str, Any] | None, seconds: float) -> list[str]:
    grown = now["delivered"] - (then["delivered"] if then is not None else 0)
    if not now["connected"]:
        state = "down"
    elif now["acknowledges"]:
        state = "up, acks"
    else:
        state = "up"
    replay = f"{now['replay_eta_seconds']:.0f} s" if now["spooled"] and now["connected"] else "-"
    return [
        name,
        state,
        _count(now["delivered"]),
        _rate(grown, seconds),
        _count(now["queued"] + now["in_flight"]),
        f"{_count(now['spooled'])} ({now['spool_bytes'] / 1e6:.1f} MB)" if now["spooled"] else "0",
        f"{now['lag_seconds']:.1f} s" if now["lag_seconds"] else "-",
        replay,
        _count(sum(now["dropped"].values())),
    ]


def _count(number: int) -> str:
    return f"{number:,}"


def _rate(grown: int, seconds: float) -> str:
    return f"{grown / seconds:,.0f}" if seconds > 0 else "-"


def _reasons(dropped: Mapping[str, int]) -> str:
    told = ", ".join(f"{reason} {_count(points)}" for reason, points in dropped.items())
    return f" ({told})" if told else ""
