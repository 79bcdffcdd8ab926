"""Values in buckets of time, one aggregate for each: what summarize and its like are made of.

The law: bucket j holds the points whose moments lie in ``[start + j * interval, start + (j + 1) * interval)``.
It has a value if at least one of its points has one and ``known / (interval / step) >= xff``; the
aggregate sees every slot of the bucket that the series has, nulls too.  All buckets of one size are one matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carbonpy.functions import aggregates
from carbonpy.functions.doubles import finite
from carbonpy.series.series import Series, Values


def count(start: int, end: int, interval: int) -> int:
    """How many buckets it takes from `start` to reach `end`."""
    return max(0, -(-(end - start) // interval))


def summarized(one: Series, how: str, interval: int, start: int, end: int) -> Values:
    """The aggregate `how` of each bucket from `start` until `end` (the last one may reach beyond).

    start: not before the bucket that the series begins in.  Raises QueryError for an unknown aggregate.
    """
    aggregate = aggregates.by_name(how)
    number = count(start, end, interval)
    points = min(len(one), len(range(one.start, one.end, one.step)))
    begins = start - one.start + interval * np.arange(number + 1, dtype=np.int64)
    edges = np.clip(-(-begins // one.step), 0, points)
    first, sizes = edges[:-1], np.diff(edges)
    counted = np.concatenate([[0], np.cumsum(~np.isnan(one.values))])
    known = counted[edges[1:]] - counted[first]
    wanted = (known > 0) & (known / (interval / one.step) >= one.xff)
    result = np.full(number, np.nan)
    for size in np.unique(sizes[wanted]).tolist():
        chosen = np.flatnonzero(wanted & (sizes == size))
        rows = one.values[first[chosen] + np.arange(size)[:, np.newaxis]]
        with np.errstate(all="ignore"):
            result[chosen] = aggregate(rows)
    return finite(result)


def spread(one: Series, interval: int, start: int, number: int) -> Values:
    """Every value times the seconds that its slot shares with each of `number` buckets from `start` on, summed.

    A bucket that no known value reaches has none.
    """
    places = np.flatnonzero(~np.isnan(one.values))
    begins = one.start - start + one.step * places.astype(np.int64)
    ends = np.minimum(begins + one.step, interval * number)
    places, begins, ends = places[begins < ends], begins[begins < ends], ends[begins < ends]
    first, last = begins // interval, (ends - 1) // interval
    # one term for each bucket that a slot reaches into, in the order of time
    terms = last - first + 1
    term = np.repeat(np.arange(len(places)), terms)
    bucket = first[term] + np.arange(len(term)) - np.repeat(np.cumsum(terms) - terms, terms)
    seconds = np.minimum(ends[term], (bucket + 1) * interval) - np.maximum(begins[term], bucket * interval)
    with np.errstate(all="ignore"):
        totals: Values = np.bincount(bucket, one.values[places[term]] * seconds, minlength=number).astype(np.float64)
    totals[np.bincount(bucket, minlength=number) == 0] = np.nan
    return finite(totals)


def restarting_sums(values: Values, segment: NDArray[np.intp]) -> Values:
    """Running sums that begin anew where `segment` (one number per value, never falling) changes.

    Sums run from left to right; segments of one length are one matrix.
    """
    changes = np.flatnonzero(np.diff(segment)) + 1
    first = np.concatenate([[0], changes])
    sizes = np.diff(np.concatenate([first, [len(values)]]))
    result = np.empty(len(values))
    with np.errstate(all="ignore"):
        for size in np.unique(sizes[sizes > 0]).tolist():
            places = first[sizes == size] + np.arange(size)[:, np.newaxis]
            result[places] = np.add.accumulate(values[places], axis=0)
    return result + 0.0  # no sum is -0
