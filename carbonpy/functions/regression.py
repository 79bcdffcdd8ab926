"""Lines and curves through a series by least squares: where it is heading.

The law: only known values count, each at its own time.  What is fitted to one stretch of time may be
shown over another, and `polyfit` goes on into the future.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import chebyshev

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.intervals import limited
from carbonpy.series import attime
from carbonpy.series.series import Series, Values

#: Curves of a higher degree follow the noise and nothing else.
_HIGHEST_DEGREE = 30


@function(
    "linearRegression",
    SERIES_LIST,
    Param("startSourceAt", Kind.DATE),
    Param("endSourceAt", Kind.DATE),
    group="Calculate",
)
def linear_regression(
    context: Context, series: Sequence[Series], start_at: str | None, end_at: str | None
) -> list[Series]:
    """Draw the straight line that fits the values between two dates best (of the whole time if there are none).

    Series with less than two known values there are left out.

    Example: linearRegression(servers.web1.disk.used, '-7d', 'now')
    """
    if not series:
        return []
    start = context.start if start_at is None else context.moment(start_at)
    end = context.end if end_at is None else context.moment(end_at)
    if start > end:
        raise QueryError("startSourceAt must not be after endSourceAt")
    whole = (start, end) == (context.start, context.end)
    sources = series if whole else context.again(start, end)
    results = []
    for one, source in paired(series, sources):
        line = None if source is None else _line(source, one)
        if line is not None:
            named = one.derived(
                f"linearRegression({one.name}, {start}, {end})", line, linearRegressions=f"{start}, {end}"
            )
            results.append(named.changed(consolidation="average"))
    return results


@function(
    "polyfit",
    SERIES_LIST,
    Param("degree", Kind.INTEGER, suggestions=(1, 2, 3)),
    Param("offset", Kind.INTERVAL, suggestions=("1h", "1d", "7d")),
    group="Calculate",
)
def polyfit(series: Sequence[Series], degree: int | None, offset: str | None) -> list[Series]:
    """Draw the polynomial of a degree (1) that fits each series best, and go on with it for an interval ('0d').

    Null everywhere if there are fewer known values than the curve needs.

    Example: polyfit(servers.web1.disk.used, 2, '7d')
    """
    seconds = 0 if offset is None else attime.parse_offset(offset)
    if seconds < 0:
        raise QueryError("offset must not be negative; the curve goes on into the future")
    order = 1 if degree is None else degree
    if not 1 <= order <= _HIGHEST_DEGREE:
        raise QueryError(f"degree must be from 1 to {_HIGHEST_DEGREE}, not {order}")
    given = "" if degree is None and offset is None else f",{order}" + ("" if offset is None else f",'{offset}'")
    limited(sum(seconds // one.step for one in series))
    results = []
    for one in series:
        more = seconds // one.step
        curve = one.derived(f"polyfit({one.name}{given})", _curve(one.values, order, len(one) + more))
        results.append(curve.changed(end=one.end + more * one.step))
    return results


def paired(series: Sequence[Series], sources: Sequence[Series]) -> list[tuple[Series, Series | None]]:
    """Each of `series` with the same one read over another time: by place, or by name if some came or went."""
    if len(series) == len(sources):
        return list(zip(series, sources))
    by_name = {source.name: source for source in sources}
    return [(one, by_name.get(one.name)) for one in series]


def _line(source: Series, shown: Series) -> Values | None:
    """The line through `source` at the slots of `shown`; None if there is none."""
    places = np.flatnonzero(~np.isnan(source.values))
    if len(places) < 2:
        return None
    values = source.values[places]
    count, total, squares = len(places), int(places.sum()), int((places * places).sum())
    spread = float(count * squares - total * total)
    with np.errstate(all="ignore"):
        # the order of all steps is graphite-web's, for with times so large every other one gives other last digits
        level, weighted = (np.add.accumulate(terms)[-1] for terms in (values, places * values))
        slope = (count * weighted - total * level) / spread / source.step
        offset = (squares * level - weighted * total) / spread - slope * source.start
        line: Values = offset + (shown.start + np.arange(len(shown)) * shown.step) * slope
    return line


def _curve(values: Values, degree: int, count: int) -> Values:
    """The polynomial through the finite values, at the places 0 to `count`."""
    places = np.flatnonzero(np.isfinite(values))
    if len(places) <= degree:
        return np.full(count, np.nan)
    # Chebyshev's polynomials over -1 to 1 keep high degrees apart where powers of the place would not
    middle, reach = (places[0] + places[-1]) / 2, max(1.0, (places[-1] - places[0]) / 2)
    with np.errstate(all="ignore"):
        scale = np.abs(values[places]).max() or 1.0
        basis = chebyshev.chebvander((places - middle) / reach, degree)
        coefficients = np.linalg.lstsq(basis, values[places] / scale, rcond=None)[0]
        curve: Values = chebyshev.chebval((np.arange(count) - middle) / reach, coefficients) * scale
    return curve
