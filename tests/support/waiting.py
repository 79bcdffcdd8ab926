"""Waiting in tests: a condition is polled until it holds or a deadline passes, and the failure says what was seen last.

No test sleeps for a guessed time. `until` is the only place in the tests of whole daemons where time passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, probe: Callable[[], T], timeout: float = 20.0, interval: float = 0.02) -> T:
    """Call `probe` every `interval` seconds until it answers something true, and return that answer.

    An exception of the kinds a not yet ready peer causes (OSError, ValueError, LookupError, AssertionError) counts
    as "not yet". After `timeout` seconds an AssertionError names `what` and the last answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen: object
        try:
            answer = probe()
            if answer:
                return answer
            seen = answer
        except (OSError, ValueError, LookupError, AssertionError) as problem:
            seen = problem
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not so after {timeout:g} s; seen last: {seen!r}")
        time.sleep(interval)
