"""Time as a value that is handed in, so that everything that waits can be tested without waiting."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds as a float; `time.time` and `time.monotonic` are Clocks, and so is a test's counter.
Clock = Callable[[], float]


class TokenBucket:
    """At most `capacity` at once and `rate` a second on average.  Not thread safe: one owner each.

    >>> now = [0.0]
    >>> bucket = TokenBucket(2, 1.0, lambda: now[0])
    >>> bucket.take(), bucket.take(), bucket.take()
    (True, True, False)
    >>> now[0] = 1.0
    >>> bucket.take()
    True
    """

    def __init__(self, capacity: float, rate: float, clock: Clock) -> None:
        self.capacity = capacity
        self.rate = rate
        self._clock = clock
        self._tokens = capacity
        self._then = clock()

    def _refill(self) -> None:
        now = self._clock()
        if now > self._then and self._tokens < self.capacity:
            self._tokens = min(self.capacity, self._tokens + (now - self._then) * self.rate)
        self._then = now

    def available(self) -> float:
        """How many tokens there are now (negative after a `wait` that took ahead)."""
        self._refill()
        return self._tokens

    def take(self, tokens: float = 1) -> bool:
        """Take `tokens` if they are there; False, and nothing taken, if not."""
        self._refill()
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True

    def wait(self, tokens: float = 1) -> float:
        """Take `tokens` in any case; the seconds to sleep so that the rate holds (0.0 if none)."""
        self._refill()
        self._tokens -= tokens
        return 0.0 if self._tokens >= 0 or self.rate <= 0 else -self._tokens / self.rate
