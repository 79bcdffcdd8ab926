"""The differences that are meant, each with its reason; docs/compatibility.rst tells the same.

A question whose name matches a pattern may differ; a pattern that no differing question matches any more is
reported, so that the list does not outlive its reasons.
"""

from __future__ import annotations

import re

#: (pattern over the names of questions, reason)
DEVIATIONS: tuple[tuple[re.Pattern[str], str], ...] = ()


def reason(name: str) -> int | None:
    """The number of the first deviation that covers the question `name`."""
    for number, (pattern, _) in enumerate(DEVIATIONS):
        if pattern.search(name):
            return number
    return None
