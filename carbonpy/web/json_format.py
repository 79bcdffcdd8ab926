"""Series as JSON: graphite-web's datapoints, and what dygraph and rickshaw draw.

The law: what comes out is JSON, byte for byte as Python's json module writes it, in chunks of one
series.  A value that is not finite is ``null``.

Nearly all of the work is turning float64 to text.  One template per grid holds the timestamps and all
that stands around the values, so that ``template % values`` makes a series in one go.  Where `orjson` is
installed (the extra ``carbonpy[fast]``) it writes the values, several times faster and with the same
numbers, a few of them in another notation (``1e16`` for ``1e+16``).  What stands between the numbers of a long series
is then put there by one replacement of their commas: to split and to join them would take longer than to write them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _text
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonpy.series.series import Series, Values
from carbonpy.web.answer import Blob

#: Values (or whole numbers) to a JSON list of numbers without white space, null for what is not finite.
Numbers = Callable[[NDArray[Any]], bytes]
_MOST_GRIDS = 64
#: How many grids are remembered from one answer to the next, and the points of the longest of them (24 bytes each).
_KEPT_GRIDS, _KEPT_POINTS = 8, 12_000
#: A series of fewer points is done sooner with a template.
_LONG = 100
_COMMA = ord(",")


def fast_numbers() -> Numbers | None:
    """What writes values with orjson; None if that is not installed."""
    try:
        import orjson
    except ImportError:
        return None
    dumps, option = orjson.dumps, orjson.OPT_SERIALIZE_NUMPY

    def numbers(values: NDArray[Any]) -> bytes:
        return dumps(np.ascontiguousarray(values), option=option)

    return numbers


class Grids:
    """What stands around the numbers of the grids of late answers: panels that are drawn together share theirs.

    Safe from any thread.
    """

    def __init__(self) -> None:
        self._kept: dict[range, _Around] = {}

    def get(self, times: range) -> _Around | None:
        """That of a grid; None if it is not remembered."""
        return self._kept.get(times)

    def put(self, times: range, around: _Around) -> None:
        """Remember it, if it is not too long."""
        if len(times) <= _KEPT_POINTS:
            if len(self._kept) >= _KEPT_GRIDS:
                self._kept = {}
            self._kept[times] = around


def json_chunks(
    answer: Iterable[Series],
    *,
    no_nulls: bool = False,
    pretty: bool = False,
    numbers: Numbers | None = None,
    grids: Grids | None = None,
) -> Iterator[bytes]:
    """``[{"target": ..., "tags": ..., "datapoints": [[value, timestamp], ...]}, ...]``.

    With `no_nulls`, points without a value are left out, and series without points.
    numbers: see `fast_numbers`.
    """
    if pretty:
        return _pretty_chunks(answer, no_nulls, _Templates(numbers))
    return (b"".join(piece.parts()) for piece in _json_pieces(answer, no_nulls, _Templates(numbers, grids)))


def measured_json(answer: Iterable[Series], *, no_nulls: bool = False, numbers: Numbers) -> tuple[int, Iterator[Blob]]:
    """How many bytes `json_chunks` makes, and those.

    All numbers are written at once for that (some 20 bytes each), what stands around them as it is taken.
    """
    pieces = list(_json_pieces(answer, no_nulls, _Templates(numbers)))
    size = sum(piece.size for piece in pieces)
    pieces.reverse()
    # Each piece is forgotten when it is written.
    return size, (part for _ in range(len(pieces)) for part in pieces.pop().parts())


def _json_pieces(answer: Iterable[Series], no_nulls: bool, templates: _Templates) -> Iterator[_Bytes | _Spread]:
    waiting: tuple[bytes, Values, Sequence[int]] | None = None
    for series, values, times in _lines(answer, no_nulls):
        if waiting is not None:
            yield templates.between(*waiting, b"}")
        separator = "[" if waiting is None else ", "
        head = f'{separator}{{"target": {_text(series.name)}, "tags": {_object(series.tags)}, "datapoints": '
        waiting = head.encode(), values, times
    # The last series brings the end with it: an answer of one is one piece.
    yield _Bytes(b"[]") if waiting is None else templates.between(*waiting, b"}]")


def _pretty_chunks(answer: Iterable[Series], no_nulls: bool, templates: _Templates) -> Iterator[bytes]:
    separator = "["
    for series, values, times in _lines(answer, no_nulls):
        points = json.loads(templates.filled(values, times))
        document = {"target": series.name, "tags": dict(series.tags), "datapoints": points}
        yield (separator + "\n  " + json.dumps(document, indent=2).replace("\n", "\n  ")).encode()
        separator = ","
    yield b"[]" if separator == "[" else b"\n]"


def _lines(answer: Iterable[Series], no_nulls: bool) -> Iterator[tuple[Series, Values, Sequence[int]]]:
    """Series with the values and moments of theirs that are shown."""
    for series in answer:
        if not no_nulls:
            yield series, series.values, series.timestamps()
        elif len(kept := np.flatnonzero(np.isfinite(series.values))):
            yield series, series.values[kept], (series.start + kept * series.step).tolist()


def _object(texts: Mapping[str, str]) -> str:
    return "{" + ", ".join([f"{_text(name)}: {_text(text)}" for name, text in texts.items()]) + "}"


class _Null:
    """What is written for a value that JSON cannot say."""

    def __repr__(self) -> str:
        return "null"


_NULL = _Null()


def _written(values: Values, numbers: Numbers | None) -> Sequence[Any]:
    """What ``%b`` (with `numbers`) or ``%r`` makes the texts of."""
    if numbers is not None:
        return numbers(values)[1:-1].split(b",")
    written: list[Any] = values.tolist()
    for position in np.flatnonzero(~np.isfinite(values)).tolist():
        written[position] = _NULL
    return written


class _Bytes(NamedTuple):
    """A piece of an answer that is written already."""

    text: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text)

    def parts(self) -> tuple[Blob, ...]:
        """They, in one part."""
        return (self.text,)


class _Around(NamedTuple):
    """What stands around the numbers of a grid.

    gaps: between two numbers, all of the same width.  shift: how far gap i moves to the right for those before it.
    """

    first: bytes
    gaps: NDArray[np.void]
    last: bytes
    shift: NDArray[np.intp]


class _Spread(NamedTuple):
    """A piece whose numbers are written (`text`, a list), but do not stand in their places yet."""

    head: bytes
    text: bytes
    around: _Around
    tail: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        around = self.around
        # The brackets of the list are left out.
        return len(self.head) + len(around.first) + len(self.text) - 2 + self._gaps + len(around.last) + len(self.tail)

    @property
    def _gaps(self) -> int:
        """Bytes that gaps have more than the commas of the list."""
        return len(self.around.gaps) * (self.around.gaps.itemsize - 1)

    def parts(self) -> tuple[Blob, ...]:
        """The points of a grid between head and tail.

        Each comma becomes a gap, which is quick since all are as wide; then each gap gets its own timestamp.
        """
        first, gaps, last, shift = self.around
        width = gaps.itemsize
        places = (np.frombuffer(self.text, np.uint8) == _COMMA).nonzero()[0]
        places += shift
        points = bytearray(self.text).replace(b",", gaps[:1].tobytes())
        if len(gaps):
            np.ndarray((len(points) - width + 1,), gaps.dtype, points, 0, (1,))[places] = gaps
        return self.head + first, memoryview(points)[1:-1], last + self.tail


class _Templates:
    """The text around the values of a grid, made once for all series that share it.

    before, after: what stands around the value of a point, ``@`` for its timestamp.
    """

    def __init__(
        self, numbers: Numbers | None, grids: Grids | None = None, before: str = "[", after: str = ", @]"
    ) -> None:
        self._numbers = numbers
        self._before = before
        self._after = after
        self._made: dict[range, Any] = {}
        self._around: dict[range, _Around] = {}
        self._grids = grids

    def filled(self, values: Values, times: Sequence[int]) -> bytes:
        """``[point, point ...]``."""
        return b"".join(self.between(b"", values, times, b"").parts())

    def between(self, head: bytes, values: Values, times: Sequence[int], tail: bytes) -> _Bytes | _Spread:
        """The same with something before it and behind it."""
        if self._numbers is not None and len(values) >= _LONG and isinstance(times, range):
            around = self._around.get(times) or self._find_around(times, self._numbers)
            if around is not None:
                return _Spread(head, self._numbers(values), around, tail)
        if not len(values):
            return _Bytes(head + b"[]" + tail)
        filled: Any = self._template(times) % tuple(_written(values, self._numbers))
        return _Bytes(head + (filled if self._numbers is not None else filled.encode()) + tail)

    def _template(self, times: Sequence[int]) -> Any:
        made = self._made.get(times) if isinstance(times, range) else None
        if made is None:
            if len(self._made) >= _MOST_GRIDS:
                self._made.clear()
            value = "%%r" if self._numbers is None else "%%b"
            point = (self._before + value + self._after).replace("@", "%d")
            # The timestamps are formatted all at once: a third of the time that one after the other takes.
            made = "[" + (f"{point}, " * len(times))[:-2] % tuple(times) + "]"
            if self._numbers is not None:
                made = made.encode()
            if isinstance(times, range):
                self._made[times] = made
        return made

    def _find_around(self, times: range, numbers: Numbers) -> _Around | None:
        """None where timestamps have different widths."""
        around = None if self._grids is None else self._grids.get(times)
        if around is None:
            around = self._make_around(times, numbers)
            if around is not None and self._grids is not None:
                self._grids.put(times, around)
        if around is not None:
            if len(self._around) >= _MOST_GRIDS:
                self._around.clear()
            self._around[times] = around
        return around

    def _make_around(self, times: range, numbers: Numbers) -> _Around | None:
        if times[0] < 0 or len(str(times[0])) != len(str(times[-1])):
            return None
        # Each point has its timestamp once, before its value or after it.
        written = times[1:] if "@" in self._before else times[:-1]
        start, _, end = f"{self._after}, {self._before}".partition("@")
        digits = np.frombuffer(numbers(np.arange(written.start, written.stop, written.step))[1:], np.uint8)
        digits = digits.reshape(len(written), -1)
        pattern = np.frombuffer(f"{start}{times[0]}{end}".encode(), np.uint8)
        width = len(pattern)
        gaps = np.empty((len(written), width), np.uint8)
        gaps[:] = pattern
        gaps[:, len(start) : len(start) + digits.shape[1] - 1] = digits[:, :-1]
        first = "[" + self._before.replace("@", str(times[0]))
        last = self._after.replace("@", str(times[-1])) + "]"
        shift = np.arange(len(written)) * (width - 1)
        return _Around(first.encode(), gaps.view(f"V{width}").reshape(-1), last.encode(), shift)


def rickshaw_chunks(
    answer: Iterable[Series], *, pretty: bool = False, numbers: Numbers | None = None
) -> Iterator[bytes]:
    """``[{"target": ..., "datapoints": [{"x": timestamp, "y": value}, ...]}, ...]``."""
    separator = "["
    templates = _Templates(numbers, before='{"x": @, "y": ', after="}")
    for series in answer:
        points = templates.filled(series.values, series.timestamps())
        if pretty:
            document = {"target": series.name, "datapoints": json.loads(points)}
            yield (separator + "\n  " + json.dumps(document, indent=2).replace("\n", "\n  ")).encode()
        else:
            yield f'{separator}{{"target": {_text(series.name)}, "datapoints": '.encode() + points + b"}"
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
