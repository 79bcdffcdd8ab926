"""How much one client may ask for: plain numbers, handed in by the daemon."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds on requests and answers.  Immutable."""

    #: Parameters of one request.
    parameters: int = 20_000
    #: Bytes of a request's body.
    body_bytes: int = 8 * 1024 * 1024
    #: Targets of one render, queries of one expand.
    targets: int = 5_000
    #: Series of one render.
    series: int = 50_000
    #: Points fetched for one render.
    points: int = 10_000_000
    #: Seconds that fetching for one render may take.
    seconds: float = 60.0
    #: Requests that may wait for or be in the thread pool; more are told to come back.
    waiting: int = 200
    #: A render of at most so many literal targets is fetched at once in the reactor's thread ...
    direct_targets: int = 4
    #: ... and written there too if it has at most so many points.
    direct_points: int = 12_000


DEFAULT_LIMITS = Limits()
