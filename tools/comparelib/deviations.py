"""The differences that are meant, each with its reason; docs/compatibility.rst tells the same.

A question whose name matches a pattern may differ; a pattern that no differing question matches any more is
reported, so that the list does not outlive its reasons.
"""

from __future__ import annotations

import re

_LIST = (
    (r"^target sumSeries\(.*\bb\.h[12]\.x", "series of different steps are added by time, not by index"),
    (r"^target (remove(Above|Below)|n)Percentile\(.*,-1\)", "there is no percentile below 0"),
    (r"^target moving\w+\(.*,'(150s|5s)'\)", "windows of odd lengths leave a series on its grid"),
    (r"^target holtWinters\w+\(a\.", "forecasts begin where the stored history does, not a preview later"),
    (r"^target stdev\(srv", "the deviation of equal values is 0; rounding leaves no value there"),
    (r"^target timeSlice\(", "times are those of the request, not of the wall clock"),
    (r"^target timeStack\(srv", "series from a coarser archive stay on their own step"),
    (r"^target verticalLine\('\d+'\)", "a line without a label is called nothing; null is no name"),
    (r"^target verticalLine\('-", "the moment counts from the request's now"),
    (r"^target asPercent\(.*total=a", "a series given by name is read"),
    (r"^target consolidateBy\(.*bogus", "an unknown function is refused at once"),
    (r"^target randomWalk", "chance"),
    (r"^target template\(movingAverage", "variables stay in force when a function reads again"),
    (r"^find (srv\.h1\.|\.srv)$", "no name has an empty node"),
    (r"^find srv\.h1\.\{cpu,\}$", "no name has an empty node"),
    (r"^(find|expand)( by expression| \w+)? [*.]+$", "the directory of tagged files is no name"),
)
#: (pattern over the names of questions, reason)
DEVIATIONS = tuple((re.compile(pattern), why) for pattern, why in _LIST)


def reason(name: str) -> int | None:
    """The number of the first deviation that covers the question `name`."""
    for number, (pattern, _) in enumerate(DEVIATIONS):
        if pattern.search(name):
            return number
    return None
