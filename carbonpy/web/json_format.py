"""Series as JSON: graphite-web's datapoints, and what dygraph and rickshaw draw.

The law: what comes out is JSON, byte for byte as Python's json module writes it, in chunks of one
series.  A value that is not finite is ``null``.

Nearly all of the work is turning float64 to text.  One template per grid holds the timestamps and all
that stands around the values, so that ``template % values`` makes a series in one go.  Where `orjson` is
installed (the extra ``carbonpy[fast]``) it writes the values, several times faster and with the same
numbers, a few of them in another notation (``1e16`` for ``1e+16``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from carbonpy.series.series import Series, Values

#: Values to their texts; None for what is not finite is up to it.
Numbers = Callable[[Values], Sequence[bytes]]
_MOST_GRIDS = 64


def fast_numbers() -> Numbers | None:
    """What writes values with orjson; None if that is not installed."""
    try:
        import orjson
    except ImportError:
        return None
    dumps, option = orjson.dumps, orjson.OPT_SERIALIZE_NUMPY

    def numbers(values: Values) -> Sequence[bytes]:
        return dumps(np.ascontiguousarray(values), option=option)[1:-1].split(b",")

    return numbers


def json_chunks(
    answer: Iterable[Series], *, no_nulls: bool = False, pretty: bool = False, numbers: Numbers | None = None
) -> Iterator[bytes]:
    """``[{"target": ..., "tags": ..., "datapoints": [[value, timestamp], ...]}, ...]``.

    With `no_nulls`, points without a value are left out, and series without points.
    numbers: see `fast_numbers`.
    """
    separator = "["
    templates = _Templates(numbers)
    for series in answer:
        if no_nulls:
            kept = np.flatnonzero(np.isfinite(series.values))
            if not len(kept):
                continue
            times = (series.start + kept * series.step).tolist()
            points = _Templates(numbers).filled(series.values[kept], times)
        else:
            points = templates.filled(series.values, series.timestamps())
        if pretty:
            yield (separator + _indented(series, json.loads(points))).encode()
        else:
            head = f'{separator}{{"target": {json.dumps(series.name)}, "tags": {json.dumps(dict(series.tags))}'
            yield f'{head}, "datapoints": '.encode() + points + b"}"
        separator = "," if pretty else ", "
    if separator == "[":
        yield b"[]"
    else:
        yield b"\n]" if pretty else b"]"


def _indented(series: Series, points: list[Any]) -> str:
    document = {"target": series.name, "tags": dict(series.tags), "datapoints": points}
    return "\n  " + json.dumps(document, indent=2).replace("\n", "\n  ")


class _Null:
    """What is written for a value that JSON cannot say."""

    def __repr__(self) -> str:
        return "null"


_NULL = _Null()


def _written(values: Values, numbers: Numbers | None) -> Sequence[Any]:
    """What ``%b`` (with `numbers`) or ``%r`` makes the texts of."""
    if numbers is not None:
        return numbers(values)
    written: list[Any] = values.tolist()
    for position in np.flatnonzero(~np.isfinite(values)).tolist():
        written[position] = _NULL
    return written


class _Templates:
    """The text around the values of a grid, made once for all series that share it.

    before, after: what stands around the value of a point, ``@`` for its timestamp.
    """

    def __init__(self, numbers: Numbers | None, before: str = "[", after: str = ", @]") -> None:
        self._numbers = numbers
        self._before = before
        self._after = after
        self._made: dict[Sequence[int], Any] = {}

    def filled(self, values: Values, times: Sequence[int]) -> bytes:
        """``[point, point ...]``."""
        if not len(values):
            return b"[]"
        filled: Any = self._template(times) % tuple(_written(values, self._numbers))
        return filled if self._numbers is not None else filled.encode()

    def _template(self, times: Sequence[int]) -> Any:
        key = times if isinstance(times, range) else tuple(times)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= _MOST_GRIDS:
                self._made.clear()
            value = "%%r" if self._numbers is None else "%%b"
            point = (self._before + value + self._after).replace("@", "%d")
            # The timestamps are formatted all at once: a third of the time that one after the other takes.
            made = "[" + (f"{point}, " * len(times))[:-2] % tuple(times) + "]"
            if self._numbers is not None:
                made = made.encode()
            self._made[key] = made
        return made


def rickshaw_chunks(
    answer: Iterable[Series], *, pretty: bool = False, numbers: Numbers | None = None
) -> Iterator[bytes]:
    """``[{"target": ..., "datapoints": [{"x": timestamp, "y": value}, ...]}, ...]``."""
    separator = "["
    templates = _Templates(numbers, '{"x": @, "y": ', "}")
    for series in answer:
        points = templates.filled(series.values, series.timestamps())
        if pretty:
            document = {"target": series.name, "datapoints": json.loads(points)}
            yield (separator + "\n  " + json.dumps(document, indent=2).replace("\n", "\n  ")).encode()
        else:
            yield f'{separator}{{"target": {json.dumps(series.name)}, "datapoints": '.encode() + points + b"}"
        separator = "," if pretty else ", "
    yield b"[]" if separator == "[" else b"\n]" if pretty else b"]"


def dygraph_chunks(answer: Sequence[Series], *, numbers: Numbers | None = None) -> Iterator[bytes]:
    """``{"labels" : ["Time", name ...], "data" : [[milliseconds, value ...], ...]}``; ``{}`` without series.

    The grid is that of the first series; of the others each moment gets the value of the slot it falls in.
    """
    if not answer:
        yield b"{}"
        return
    times = answer[0].timestamps()
    moments = np.arange(times.start, times.stop, times.step)
    columns = [
        _written(series.values if series.span == answer[0].span else _at(series, moments), numbers) for series in answer
    ]
    yield f'{{"labels" : {json.dumps(["Time", *(series.name for series in answer)])}, "data" : ['.encode()
    separator = ""
    value = ", %r" if numbers is None else ", %b"
    template: Any = "[%d" + value * len(columns) + "]"
    if numbers is not None:
        template = template.encode()
    for time, row in zip(times, zip(*columns)):
        line = template % (time * 1000, *row)
        yield separator.encode() + (line if numbers is not None else line.encode())
        separator = ", "
    yield b"]}"


def _at(series: Series, moments: np.ndarray[Any, np.dtype[np.int64]]) -> Values:
    """The value of the slot that each moment falls in, NaN outside of the series."""
    slots = (moments - series.start) // series.step
    inside = (slots >= 0) & (slots < len(series))
    values = np.full(len(moments), np.nan)
    values[inside] = series.values[slots[inside]]
    return values
