"""Taking values out of series by their size.

The law: a result has the grid of its input and the values of its input or none; a value that equals the limit
stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.series.series import Series, Values

_N = Param("n", Kind.FLOAT, required=True)


def _not_above(values: Values, limit: float) -> Values:
    return np.where(values > limit, np.nan, values)


def _not_below(values: Values, limit: float) -> Values:
    return np.where(values < limit, np.nan, values)


def _percentile(one: Series, percent: float) -> tuple[float, dict[str, str]]:
    """(the percentile of a series' values, tags that tell of it); a series without values has neither."""
    if not 0 < percent <= 100:
        raise QueryError(f"{percent:g} is no percentile; write a number above 0 and up to 100")
    if np.isnan(one.values).all():
        return np.nan, {}
    found = aggregates.percentile(one.values.reshape(-1, 1), percent)
    return float(found[0]), {"nPercentile": str(percent)}


@function("removeAbovePercentile", SERIES_LIST, _N, group="Filter Data")
def remove_above_percentile(series: Sequence[Series], n: float) -> list[Series]:
    """Take out the values above the n-th percentile of their series.

    Example: removeAbovePercentile(servers.*.response_time, 95)
    """
    results = []
    for one in series:
        limit, tags = _percentile(one, n)
        name = f"removeAbovePercentile({one.name}, {n:g})"
        results.append(one.derived(name, _not_above(one.values, limit), **tags))
    return results


@function("removeAboveValue", SERIES_LIST, _N, group="Filter Data")
def remove_above_value(series: Sequence[Series], n: float) -> list[Series]:
    """Take out the values above n.

    Example: removeAboveValue(sensors.*.celsius, 60)
    """
    return [one.derived(f"removeAboveValue({one.name}, {n:g})", _not_above(one.values, n)) for one in series]


@function("removeBelowPercentile", SERIES_LIST, _N, group="Filter Data")
def remove_below_percentile(series: Sequence[Series], n: float) -> list[Series]:
    """Take out the values below the n-th percentile of their series.

    Example: removeBelowPercentile(servers.*.response_time, 5)
    """
    results = []
    for one in series:
        limit, tags = _percentile(one, n)
        name = f"removeBelowPercentile({one.name}, {n:g})"
        results.append(one.derived(name, _not_below(one.values, limit), **tags))
    return results


@function("removeBelowValue", SERIES_LIST, _N, group="Filter Data")
def remove_below_value(series: Sequence[Series], n: float) -> list[Series]:
    """Take out the values below n.

    Example: removeBelowValue(sensors.*.celsius, -30)
    """
    return [one.derived(f"removeBelowValue({one.name}, {n:g})", _not_below(one.values, n)) for one in series]
