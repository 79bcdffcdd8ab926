"""The eight ways to make one coarse value of the fine ones, for one coarse slot or for many at once.

The law: `aggregate` gives the very float, to the last bit, that the whisper package gives on the
same interpreter, and `aggregate_rows` gives for each row what `aggregate` gives for its known
values.  That includes NaN (a value like any other: it poisons sums, and it never wins a comparison
nor loses one once it is first), signed zeros (the first of equals stays), and the sum of floats,
which CPython compensates for rounding from 3.12 on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.whisper.errors import InvalidAggregationMethod
from carbonpy.whisper.layout import ABSMAX, ABSMIN, AVERAGE, AVG_ZERO, LAST, MAX, METHOD_NAMES, MIN, SUM

#: Whether this interpreter's sum() of floats carries the rounding error along (Neumaier's sum).
COMPENSATED = sum([1e16, 1.0, -1e16]) == 1.0


def enough(known: int, slots: int, xff: float) -> bool:
    """Whether `known` of `slots` fine values suffice.  Doubles are compared, as the whisper package does.

    So an xff of 0.2, which a file rounds up to 0.200000003, wants more than 1 of 5.
    """
    return known > 0 and known / slots >= xff


def aggregate(method: int, known: Sequence[float], slots: int) -> float:
    """One value of the `known` ones (at least one, oldest first) of `slots` fine slots.

    Raises InvalidAggregationMethod for a code that the format does not have.
    """
    if method == AVERAGE:
        return float(sum(known)) / len(known)
    if method == SUM:
        return float(sum(known))
    if method == LAST:
        return known[-1]
    if method == MAX:
        return max(known)
    if method == MIN:
        return min(known)
    if method == AVG_ZERO:
        return float(sum(known)) / slots
    if method == ABSMAX:
        return max(known, key=abs)
    if method == ABSMIN:
        return min(known, key=abs)
    raise InvalidAggregationMethod(f"Unrecognized aggregation method {method}")


def aggregate_rows(method: int, values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`aggregate` for every row of ``values[n, k]``, of which ``known[n, k]`` count: float64[n].

    A row with nothing known gives NaN.  The work is vectorised over the rows, so it pays from a
    handful of rows on.  Raises InvalidAggregationMethod.
    """
    if method not in METHOD_NAMES:
        raise InvalidAggregationMethod(f"Unrecognized aggregation method {method}")
    columns = np.ascontiguousarray(values.T)
    present = np.ascontiguousarray(known.T)
    counts = present.sum(axis=0)
    with np.errstate(all="ignore"):
        if method in (AVERAGE, SUM, AVG_ZERO):
            result = _sum_columns(columns, present)
            if method == AVERAGE:
                result = result / counts
            elif method == AVG_ZERO:
                result = result / len(columns)
            # Which of two NaNs a sum carries on (their signs are stored) is up to numpy's compiler; ask Python.
            for row in np.flatnonzero(np.isnan(result) & (counts > 0)).tolist():
                result[row] = aggregate(method, values[row][known[row]].tolist(), len(columns))
        else:
            result = _choose_columns(method, columns, present)
    result[counts == 0] = math.nan
    return result


def _sum_columns(columns: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The sum down each column in order.  Adding 0.0 for what is unknown changes no bit of a sum from 0.0."""
    total = np.zeros(columns.shape[1])
    if not COMPENSATED:
        for column, here in zip(columns, present):
            total += np.where(here, column, 0.0)
        return total
    lost = np.zeros(columns.shape[1])
    for column, here in zip(columns, present):
        term = np.where(here, column, 0.0)
        after = total + term
        lost += np.where(np.abs(total) >= np.abs(term), (total - after) + term, (term - after) + total)
        total = after
    return np.where((lost != 0.0) & np.isfinite(lost), total + lost, total)


def _choose_columns(method: int, columns: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The chosen known value down each column; among equals the first, as Python's max and min."""
    chosen = np.full(columns.shape[1], math.nan)
    found = np.zeros(columns.shape[1], dtype=np.bool_)
    for column, here in zip(columns, present):
        if method == LAST:
            better = here
        elif method == MAX:
            better = here & (~found | (column > chosen))
        elif method == MIN:
            better = here & (~found | (column < chosen))
        elif method == ABSMAX:
            better = here & (~found | (np.abs(column) > np.abs(chosen)))
        else:
            assert method == ABSMIN
            better = here & (~found | (np.abs(column) < np.abs(chosen)))
        chosen[better] = column[better]
        found |= here
    return chosen
