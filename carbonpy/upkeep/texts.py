"""Datapoints as text of other programs: CSV, JSON lines, InfluxDB's line protocol, Prometheus' text exposition.

The law: a `Reader` yields points and refusals; a line that cannot be read costs itself, with its number and the reason.
Names come out canonical.  What the formats are: CSV is RFC 4180 with the columns metric, timestamp and value, in the
order of a first line that names them; InfluxDB's is its "line protocol" reference, version 1 and 2 (a field is a metric
``measurement.field``, or ``measurement`` if it is called ``value``; tags become tags); Prometheus' is its "text-based
format", version 0.0.4 (labels become tags, sample names stay).
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from carbonpy.errors import CarbonError, MetricError
from carbonpy.metric import canonical

#: Units of InfluxDB's timestamps: how many make a second.
PRECISIONS = {"ns": 1_000_000_000, "us": 1_000_000, "ms": 1_000, "s": 1}
FORMATS = ("csv", "jsonl", "influx", "prometheus")


class Datum(NamedTuple):
    """A datapoint: canonical name, whole seconds, value."""

    metric: str
    timestamp: int
    value: float


class Refused(NamedTuple):
    """What is not read: the number of its line, and why.  `quiet`: it is no mistake, like a text field or a NaN."""

    line: int
    why: str
    quiet: bool = False


class _Not(ValueError):
    """A point is passed over for a reason that is no mistake."""


Parse = Callable[[str], Iterable[tuple[str, float, float]]]


def read(format_: str, lines: Iterable[str], now: float, precision: str = "ns") -> Iterator[Datum | Refused]:
    """The points of some lines of text.  `now` is the time of points that have none."""
    parse: Parse
    if format_ == "csv":
        parse = _Csv().parse
    elif format_ == "jsonl":
        parse = _json
    elif format_ == "influx":
        scale = PRECISIONS[precision]

        def parse(line: str) -> Iterable[tuple[str, float, float]]:
            return _influx(line, now, scale)

    else:

        def parse(line: str) -> Iterable[tuple[str, float, float]]:
            return _prometheus(line, now)

    for number, line in enumerate(lines, start=1):
        text = line.strip("\r\n")
        if not text.strip() or (text.lstrip().startswith("#") and format_ != "jsonl"):
            continue
        try:
            for name, timestamp, value in parse(text):
                yield _datum(name, timestamp, value, number)
        except _Not as why:
            yield Refused(number, str(why), True)
        except (ValueError, MetricError, CarbonError) as why:
            yield Refused(number, str(why))


def _datum(name: str, timestamp: float, value: float, number: int) -> Datum | Refused:
    if math.isnan(value):
        return Refused(number, "the value is NaN, which cannot be stored", True)
    if not (math.isfinite(timestamp) and 0 <= timestamp < 2**32):
        return Refused(number, f"timestamp {timestamp!r} is not in seconds from 1970 to 2106; is the unit right?")
    try:
        return Datum(canonical(name), int(timestamp), value)
    except MetricError as error:
        return Refused(number, str(error))


# ---- CSV


class _Csv:
    """Lines with three columns; the first line may name them."""

    def __init__(self) -> None:
        self._order: tuple[int, int, int] | None = None

    def parse(self, line: str) -> Iterable[tuple[str, float, float]]:
        try:
            row = next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise ValueError(f"this is no CSV: {error}") from None
        if self._order is None:
            names = [cell.strip().lower() for cell in row]
            if "metric" in names and "timestamp" in names and "value" in names:
                self._order = names.index("metric"), names.index("timestamp"), names.index("value")
                return []
            self._order = 0, 1, 2
        if len(row) <= max(self._order):
            raise ValueError(f"{len(row)} columns; there should be metric, timestamp and value")
        metric, timestamp, value = (row[place].strip() for place in self._order)
        if not value:
            raise _Not("there is no value")
        return [(metric, _number(timestamp, "timestamp"), _number(value, "value"))]


def _number(text: Any, what: str) -> float:
    if isinstance(text, bool):
        raise ValueError(f"{what} {text!r} is not a number")
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ValueError(f"{what} {text!r} is not a number") from None


# ---- JSON lines


def _json(line: str) -> Iterable[tuple[str, float, float]]:
    try:
        document = json.loads(line)
    except RecursionError:
        raise ValueError("this JSON is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("this is no JSON object")
    metric = document.get("metric", document.get("target"))
    if not isinstance(metric, str):
        raise ValueError('there is no "metric"')
    if "value" in document:
        pairs = [[document.get("timestamp"), document["value"]]]
    elif isinstance(document.get("points"), list):
        pairs = document["points"]
    elif isinstance(document.get("datapoints"), list):  # Graphite's order
        pairs = [pair[::-1] if isinstance(pair, list) else pair for pair in document["datapoints"]]
    else:
        raise ValueError('there is neither "timestamp" with "value" nor "points" nor "datapoints"')
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
        raise ValueError("a point is a pair of timestamp and value")
    return [
        (metric, _number(stamp, "timestamp"), _number(value, "value")) for stamp, value in pairs if value is not None
    ]


# ---- InfluxDB

_ESCAPED = re.compile(r"\\([,= \\])")


def _split(text: str, at: str, quotes: bool = False) -> list[str]:
    """`text` in pieces, cut at `at` unless it is escaped (or, with `quotes`, inside double quotes)."""
    pieces, begin, place, quoted = [], 0, 0, False
    while place < len(text):
        character = text[place]
        if character == "\\":
            place += 2
            continue
        if quotes and character == '"':
            quoted = not quoted
        elif character == at and not quoted:
            pieces.append(text[begin:place])
            begin = place + 1
        place += 1
    if quoted:
        raise ValueError('a text has no closing "')
    return [*pieces, text[begin:]]


def _influx(line: str, now: float, scale: int) -> Iterable[tuple[str, float, float]]:
    parts = [part for part in _split(line.strip(), " ", True) if part]
    if len(parts) not in (2, 3):
        raise ValueError(f"{len(parts)} parts; write measurement,tags fields timestamp")
    measurement, *tags = _split(parts[0], ",")
    labels = []
    for tag in tags:
        pair = _split(tag, "=")
        if len(pair) != 2:
            raise ValueError(f"tag {tag!r} is not key=value")
        labels.append((_unescape(pair[0]), _unescape(pair[1])))
    # Whole nanoseconds do not fit a float.
    stamp = now if len(parts) == 2 else _integer(parts[2]) // scale
    points = []
    texts = 0
    for field in _split(parts[1], ",", True):
        key, equals, value = field.partition("=") if "\\" not in field else _partition(field)
        if not equals or not key:
            raise ValueError(f"field {field!r} is not key=value")
        number = _influx_value(value)
        if number is None:
            texts += 1
            continue
        name = _unescape(measurement) + ("" if key == "value" else f".{_unescape(key)}")
        points.append((tagged(name, labels), float(stamp), number))
    if texts and not points:
        raise _Not("it has text fields only")
    return points


def _partition(field: str) -> tuple[str, str, str]:
    key, *rest = _split(field, "=", True)
    return key, "=" if rest else "", "=".join(rest)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"timestamp {text!r} is not a whole number") from None


def _influx_value(text: str) -> float | None:
    """The number of a field's value, None for a text."""
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return None
    if text in ("t", "T", "true", "True", "TRUE"):
        return 1.0
    if text in ("f", "F", "false", "False", "FALSE"):
        return 0.0
    return _number(text[:-1] if text[-1:] in ("i", "u") else text, "value")


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


# ---- Prometheus

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{.*\})?\s*(\S+)(?:\s+(-?\d+))?\s*\Z")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|\Z)')
_LABEL_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def _prometheus(line: str, now: float) -> Iterable[tuple[str, float, float]]:
    match = _SAMPLE.match(line.strip())
    if match is None:
        raise ValueError('this is no sample; write name{label="value"} value timestamp')
    name, braces, value, stamp = match.groups()
    labels: list[tuple[str, str]] = []
    rest = (braces or "{}")[1:-1]
    while rest.strip():
        label = _LABEL.match(rest)
        if label is None:
            raise ValueError(f'{rest!r} is not label="value"')
        text = re.sub(r'\\[\\"n]', lambda escape: _LABEL_ESCAPES[escape[0]], label[2])
        labels.append((label[1], text))
        rest = rest[label.end() :]
    return [(tagged(name, labels), now if stamp is None else int(stamp) / 1000, _number(value, "value"))]


def tagged(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """A name with tags.  What a tag's value cannot hold (``;``, ``~`` in front, control characters) becomes ``_``."""
    text = re.sub(r"[;\s]+", "_", name.strip())
    for key, value in labels:
        if not value:
            continue  # in both formats the same as no label
        tag = re.sub(r"[;!^=\s]", "_", key)
        held = re.sub(r"[;\x00-\x1f\x7f-\x9f]", "_", value)
        # A tag called name would be taken for the metric's own.
        text += f";{'name_' if tag == 'name' else tag}={'_' + held[1:] if held.startswith('~') else held}"
    return text
