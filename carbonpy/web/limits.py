"""How much one client may ask for: plain numbers handed in by the daemon, and the account of one query.

The law: a Budget is made for one query and is called wherever work is done for it; it raises a QueryError
with a sentence as soon as the query has used up its time, its points or its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from carbonpy.clock import Clock
from carbonpy.errors import QueryError


class Limits(NamedTuple):
    """Bounds on requests and answers.  Immutable.  Any of points, series and memory may be `math.inf`."""

    #: Parameters of one request.
    parameters: int = 20_000
    #: Bytes of a request's body.
    body_bytes: int = 8 * 1024 * 1024
    #: Targets of one render, queries of one expand, series of one tagging.
    targets: int = 5_000
    #: Series that are read for one render, and that each function in it may give.
    series: float = 50_000
    #: Points that are read for one render, and points of its answer.
    points: float = 10_000_000
    #: Seconds that fetching, evaluating and writing may take together.
    seconds: float = 60.0
    #: Estimated bytes in memory of what is read and of what is written.
    memory: float = 2**31
    #: Names of one find, expand or index that are put into one answer.
    names: int = 5_000_000
    #: Requests that may wait for or be in the thread pool; more are told to come back.
    waiting: int = 200
    #: A render of at most so many literal targets is made at once in the reactor's thread ...
    direct_targets: int = 4
    #: ... if at most so many points are read for it.
    direct_points: int = 12_000


DEFAULT_LIMITS = Limits()

#: A float64 that was read, and the copies that merging and functions make of it.
_BYTES_PER_POINT_READ = 24


class ClientLeft(Exception):
    """The client closed its connection; nobody waits for the answer."""


class TooMuch(Exception):
    """What seemed to be little work is more."""


class Budget:
    """What one query has used so far.  For one thread at a time.

    left: whether the client is gone.
    """

    def __init__(self, limits: Limits, monotonic: Clock, left: Callable[[], bool]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._left = left
        self._deadline = monotonic() + limits.seconds
        self._bytes = 0
        #: Series and points read so far.
        self.series = 0
        self.points = 0

    def __call__(self, points: int) -> None:
        """A series of so many points was read, or (0) some other work was done.

        Raises QueryError for what is too much and ClientLeft when nobody waits.
        """
        if points:
            self.series += 1
            self.points += points
            if self.series > self._limits.series:
                raise QueryError(f"more than {self._limits.series:g} series to be read; ask for fewer at a time")
            if self.points > self._limits.points:
                raise QueryError(
                    f"more than {self._limits.points:g} points to be read; ask for less time or fewer series"
                )
            self.take(points * _BYTES_PER_POINT_READ)
        if self._left():
            raise ClientLeft
        if self._monotonic() > self._deadline:
            raise QueryError(f"no answer within {self._limits.seconds:g} s; ask for less time or fewer series")

    def take(self, size: int) -> None:
        """So many bytes of memory are about to be used.  Raises QueryError."""
        self._bytes += size
        if self._bytes > self._limits.memory:
            raise QueryError(
                f"the answer needs more than {self._limits.memory / 2**20:.0f} MB of memory; "
                "ask for less time or fewer series"
            )

    def answer(self, points: int, bytes_per_point: int) -> None:
        """An answer of so many points is about to be written.  Raises QueryError."""
        if points > self._limits.points:
            raise QueryError(
                f"{points} points in one answer, of at most {self._limits.points:g}; "
                "ask for less time or fewer series, or give maxDataPoints"
            )
        self.take(points * bytes_per_point)


class Little(Budget):
    """The same for work that is only done if it is little (`Limits.direct_points`).  Raises TooMuch besides."""

    def __call__(self, points: int) -> None:
        """See `Budget`."""
        super().__call__(points)
        if self.points > self._limits.direct_points:
            raise TooMuch


def unchecked() -> Budget:
    """A Budget for tests and tools: the default limits, and a clock that stands still."""
    return Budget(DEFAULT_LIMITS, lambda: 0.0, lambda: False)
