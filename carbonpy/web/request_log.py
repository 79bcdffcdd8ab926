"""One line for each request, with what it cost.

The law: a line is one line whatever a client wrote, and of bounded length; nothing secret (no
Authorization) is in it.
"""

from __future__ import annotations

from carbonpy.web.answer import Answer, Query

_MOST_TARGETS = 5
_MOST_CHARACTERS = 120
_SOURCES = (("x-grafana-org-id", "org"), ("x-dashboard-id", "dashboard"), ("x-panel-id", "panel"))


def line(client: str, query: Query, answer: Answer, size: int, seconds: float, cached: bool) -> str:
    """``client method path status bytes ... targets`` of an answered request.

    size: bytes of the body.  seconds: from its arrival.
    """
    cost = answer.cost
    words = [
        client,
        query.method,
        _short(query.path),
        str(answer.status),
        f"{size} bytes",
        f"{seconds:.4f} s",
    ]
    if cached:
        words.append("cached")
    elif cost.read_series or cost.series:
        words += [
            f"{cost.series} series {cost.points} points of {cost.read_series} series {cost.read_points} points,",
            f"fetch {cost.fetch_seconds:.4f} evaluate {cost.evaluate_seconds:.4f} write {cost.write_seconds:.4f} s",
        ]
    words += [f"{name}={_short(query.headers[header])}" for header, name in _SOURCES if header in query.headers]
    words += [
        f"{name}={_short(query.parameters.last(name))}"
        for name in ("from", "until", "now", "format", "maxDataPoints")
        if name in query.parameters
    ]
    targets = query.parameters.all("target") or query.parameters.all("target[]") or query.parameters.all("query")
    words += [_short(target) for target in targets[:_MOST_TARGETS]]
    if len(targets) > _MOST_TARGETS:
        words.append(f"and {len(targets) - _MOST_TARGETS} more")
    return " ".join(words)


def _short(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:_MOST_CHARACTERS])
    return shown + "..." if len(text) > _MOST_CHARACTERS else shown
