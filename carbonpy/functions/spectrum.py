"""Frequencies of series: the discrete Fourier transform, there and back, and what is low in it.

The law: as many values come out as go in, on the same grid, though they are no moments any more: value k
belongs to the frequency of k oscillations per length of the series (and value n - k to the same one).
Nulls go in as 0.  The functions are carbonapi's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carbonpy.errors import QueryError
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.series.series import Series


@function(
    "fft",
    SERIES_LIST,
    Param("mode", Kind.STRING, default="both", options=("both", "abs", "phase", "all", "")),
    group="Transform",
)
def fft(series: Sequence[Series], mode: str) -> list[Series]:
    """Split each series into its frequencies: their amplitudes (mode 'abs'), their phases ('phase'), or both.

    Example: fft(servers.web1.requests, 'abs')
    """
    results = []
    for one in series:
        with np.errstate(all="ignore"):
            transformed = np.fft.fft(_filled(one)) if len(one) else np.empty(0, complex)
            if mode != "phase":
                results.append(one.derived(f"fft({one.name},abs)", np.abs(transformed)))
            if mode != "abs":
                results.append(one.derived(f"fft({one.name},phase)", np.angle(transformed)))
    return results


@function("ifft", SERIES_LIST, Param("phaseSeriesList", Kind.SERIES_LIST), group="Transform")
def ifft(series: Sequence[Series], phases: Sequence[Series] | None) -> list[Series]:
    """Put frequencies together again, amplitudes and phases as fft gives them; shows the absolute value.

    The n-th series of amplitudes goes with the n-th of phases; without one all phases are 0.

    Example: ifft(fft(servers.web1.requests, 'abs'), fft(servers.web1.requests, 'phase'))
    """
    results = []
    for number, one in enumerate(series):
        phase = phases[number] if phases and number < len(phases) else None
        if phase is not None and len(phase) != len(one):
            raise QueryError(f"amplitudes and phases differ in length, {len(one)} and {len(phase)}; give alike series")
        name = f"ifft({one.name})" if phase is None else f"ifft({one.name}, {phase.name})"
        with np.errstate(all="ignore"):
            turned = _filled(one) * np.exp(1j * (np.zeros(len(one)) if phase is None else _filled(phase)))
            results.append(one.derived(name, np.abs(np.fft.ifft(turned)) if len(one) else one.values))
    return results


@function("lowPass", SERIES_LIST, Param("cutPercent", Kind.FLOAT, required=True), group="Transform", aliases=("lpf",))
def low_pass(series: Sequence[Series], cut: float) -> list[Series]:
    """Keep that percentage of the values which is low frequencies in what fft gives; null for the others.

    These are the values at both ends, half of them at each.

    Example: lowPass(fft(servers.web1.requests, 'abs'), 40)
    """
    if not 0 <= cut <= 100:
        raise QueryError(f"cutPercent must be from 0 to 100, not {cut:g}")
    results = []
    for one in series:
        low = int(cut / 200 * len(one))
        values = one.values.copy()
        values[low : len(values) - low] = np.nan
        results.append(one.derived(f"lowPass({one.name},{cut:g})", values))
    return results


def _filled(one: Series) -> NDArray[np.float64]:
    return np.where(np.isfinite(one.values), one.values, 0.0)
