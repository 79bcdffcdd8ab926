"""``carbonpy relay status``: figures of /health as lines for people."""

from __future__ import annotations

from typing import Any

from carbonpy.cli.relay_status import lines_of


def health(uptime: float, received: int, **destination: Any) -> dict[str, Any]:
    figures = {
        "connected": True, "acknowledges": True, "why": "", "delivered": received, "queued": 0, "in_flight": 0,
        "spooled": 0, "spool_bytes": 0, "lag_seconds": 0.0, "replay_eta_seconds": 0, "dropped": {}, "balanced": True,
        **destination,
    }  # fmt: skip
    return {
        "status": "ok",
        "uptime": uptime,
        "ledger": {"received": received, "relayed": received, "aggregated": 0, "dropped": {"nan": 2}, "balanced": True},
        "aggregates": {"buffers": 0, "sent": 0},
        "destinations": {"h:2004:a": figures},
    }


def test_rates_are_since_the_look_before() -> None:
    first, _, row = lines_of(health(20.0, 3000), health(10.0, 1000))
    assert "3,000 points came in (200 per s)" in first and "2 dropped (nan 2)" in first
    assert row.split() == ["h:2004:a", "up,", "acks", "3,000", "200", "0", "0", "-", "-", "0"]


def test_a_destination_that_is_down_says_why_and_what_waits_for_it() -> None:
    lines = lines_of(
        health(
            10.0, 100, connected=False, why="connection refused", spooled=1000, spool_bytes=2_500_000, lag_seconds=7.0,
            dropped={"spool_full": 5},
        )
    )  # fmt: skip
    assert "down" in lines[2] and "1,000 (2.5 MB)" in lines[2] and "7.0 s" in lines[2]
    assert lines[3:] == ["h:2004:a: connection refused", "h:2004:a: dropped (spool_full 5)"]


def test_what_does_not_balance_is_said() -> None:
    answer = health(1.0, 1, balanced=False)
    answer["ledger"]["balanced"] = False
    assert sum("does not balance" in line for line in lines_of(answer)) == 2
