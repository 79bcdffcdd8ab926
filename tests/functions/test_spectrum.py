"""Fourier transforms against their definition, and back again."""

from __future__ import annotations

import cmath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain import VALUES, alike, floats, nones
from support.targets import FIRST, Store, T, evaluate

from carbonpy.errors import QueryError
from carbonpy.functions.library import Library
from carbonpy.series.series import Series

LIBRARY = Library.standard()
BEFORE = (T - 240 - FIRST) // 60
ROWS = st.lists(VALUES, min_size=26, max_size=26)


def asked(target: str, values: list[float | None] | None = None, **options: Any) -> list[Series]:
    store = Store({"m.x": (60, floats(values).tolist())}) if values is not None else Store()
    return evaluate(target, library=LIBRARY, store=store, **options)


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_a_transform_is_the_sum_of_turned_values_and_can_be_turned_back(values: list[float | None]) -> None:
    filled = [value or 0.0 for value in values[BEFORE:]]
    turned = [
        sum(value * cmath.exp(-2j * cmath.pi * number * place / 10) for place, value in enumerate(filled))
        for number in range(10)
    ]
    amplitudes, phases = asked("fft(m.x)", values)
    got = amplitudes.values * np.exp(1j * phases.values)
    assert np.allclose(got, turned, rtol=1e-9, atol=1e-6)
    (back,) = asked("ifft(fft(m.x,'abs'),fft(m.x,'phase'))", values)
    assert np.allclose(back.values, np.abs(filled), rtol=1e-9, atol=1e-6)
    for series in (amplitudes, phases, back):
        assert (series.start, series.step, len(series)) == (T - 240, 60, 10)


def test_a_mode_chooses_one_of_the_two() -> None:
    names = ["fft(a.h1.x,abs)", "fft(a.h1.x,phase)"]
    assert [series.name for series in asked("fft(a.h1.x,'abs')")] == names[:1]
    assert [series.name for series in asked("fft(a.h1.x,'phase')")] == names[1:]
    for mode in ("'both'", "'all'", "''"):
        assert [series.name for series in asked(f"fft(a.h1.x,{mode})")] == names
    with pytest.raises(QueryError, match="must be one of both"):
        asked("fft(a.h1.x,'half')")


def test_amplitudes_without_phases_are_put_together_unturned() -> None:
    (series,) = asked("ifft(a.h1.x)")
    assert series.name == "ifft(a.h1.x)"
    assert alike(series.values.tolist(), np.abs(np.fft.ifft(np.arange(17.0, 27.0))).tolist(), 1.0)
    first, second = asked("ifft(a.*.x,a.h1.x)")
    assert (first.name, second.name) == ("ifft(a.h1.x, a.h1.x)", "ifft(a.h2.x)")
    with pytest.raises(QueryError, match="differ in length"):
        asked("ifft(a.h1.x,b.h2.x)")


@given(ROWS, st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_a_low_pass_keeps_both_ends(values: list[float | None], cut: int) -> None:
    (series,) = asked(f"lowPass(m.x,{cut})", values)
    low = int(cut / 200 * 10)
    kept = [value if place < low or place >= 10 - low else None for place, value in enumerate(values[BEFORE:])]
    assert nones(series.values.tolist()) == kept
    assert asked(f"lpf(m.x,{cut})", values)[0].name == series.name == f"lowPass(m.x,{cut})"


def test_a_share_is_from_nothing_to_everything() -> None:
    for cut in ("-1", "100.5"):
        with pytest.raises(QueryError, match="cutPercent must be from 0 to 100"):
            asked(f"lowPass(a.h1.x,{cut})")


def test_no_series_have_no_spectrum() -> None:
    for call in ("fft(nosuch)", "ifft(nosuch)", "ifft(nosuch,a.h1.x)", "lowPass(nosuch,5)"):
        assert asked(call) == []
