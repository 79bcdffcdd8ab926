"""Give freed memory back to the system.

The law: a hint, never a condition; where the C library knows nothing of it, nothing happens.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
#: Arrays from this size on are mapped on their own, and unmapped when they go.
_BYTES = 131072
#: Free memory at the end of the heap up to this size stays: who answers queries would get and give it each time.
_KEPT = 1 << 20
#: The same two sizes for a process that makes answers: what a large one took is there for the next.
_ANSWER_BYTES, _ANSWER_KEPT = 1 << 20, 128 << 20


def give_back() -> None:
    """Keep glibc from raising its threshold for mapped blocks, which it does with the first large array freed.

    Without this, the columns of a burst stay resident for good, between small objects that live on:
    after a million points for 2,000 metrics the daemon keeps 65 MB instead of 44.

    And let all threads share one arena, as they share the interpreter: with one for each, what a thread has freed is
    no use to the others (3 MB after points for 20,000 metrics).  Call this before there are threads.
    """
    _tell((_M_MMAP_THRESHOLD, _BYTES), (_M_TRIM_THRESHOLD, _KEPT), (_M_ARENA_MAX, 1))


def keep() -> None:
    """Have glibc keep what was freed until `trim`, up to a bound.

    Memory that is new to a process is cleared by the system page by page: of the 110 ms until the first byte of an
    answer of 2.1 million points, 30 went into that.
    """
    _tell((_M_MMAP_THRESHOLD, _ANSWER_BYTES), (_M_TRIM_THRESHOLD, _ANSWER_KEPT))


def _tell(*options: tuple[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, value in options:
        mallopt(option, value)


def trim() -> None:
    """Give back at once what is free now."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
