"""Series as text and bytes: json, csv, raw, pickle and msgpack, in the very form graphite-web gives them.

The law: numbers are written as Python's ``repr`` writes them, a missing value is ``null`` (json), an
empty field (csv), ``None`` (raw, pickle) or nil (msgpack).  Values that are not finite are ``null`` in
json, where they would not be JSON.  The writers yield chunks, one per series, and keep the text of
timestamps that several series share.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from itertools import chain
from typing import Any

import numpy as np

from carbonpy.series.series import Series
from carbonpy.web import msgpack


class _Grids:
    """Text made from the timestamps of a grid, made once for all series that share it."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._made: dict[tuple[int, int, int], list[str]] = {}

    def of(self, series: Series) -> list[str]:
        key = (series.start, series.step, len(series))
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= 64:
                self._made.clear()
            made = self._made[key] = self._make(series.timestamps())
        return made


def texts(series: Series, missing: str, finite_only: bool = False) -> list[str]:
    """The values as ``repr`` writes them, `missing` for NaN (and, if wanted, for infinities)."""
    written = list(map(repr, series.values.tolist()))
    without = ~np.isfinite(series.values) if finite_only else np.isnan(series.values)
    for position in np.flatnonzero(without).tolist():
        written[position] = missing
    return written


# ---- json


def json_chunks(answer: Iterable[Series], *, no_nulls: bool = False, pretty: bool = False) -> Iterator[bytes]:
    """``[{"target": ..., "tags": ..., "datapoints": [[value, timestamp], ...]}, ...]``.

    With `no_nulls`, points without a value are left out, and series without points.
    """
    if pretty:
        yield _pretty(answer, no_nulls)
        return
    ends = _Grids(_point_ends)
    separator = "["
    for series in answer:
        if no_nulls:
            kept = np.flatnonzero(np.isfinite(series.values))
            if not len(kept):
                continue
            times = (series.start + kept * series.step).tolist()
            written = list(map(repr, series.values[kept].tolist()))
            points = _joined(written, _point_ends(times))
        else:
            points = _joined(texts(series, "null", finite_only=True), ends.of(series))
        head = f'{separator}{{"target": {json.dumps(series.name)}, "tags": {json.dumps(dict(series.tags))}'
        yield f'{head}, "datapoints": {points}}}'.encode()
        separator = ", "
    yield b"[]" if separator == "[" else b"]"


def _point_ends(times: Sequence[int]) -> list[str]:
    ends = [f", {time}], [" for time in times]
    if ends:
        ends[-1] = f", {times[-1]}]]"
    return ends


def _joined(written: list[str], ends: list[str]) -> str:
    return "[[" + "".join(chain.from_iterable(zip(written, ends))) if written else "[]"


def _pretty(answer: Iterable[Series], no_nulls: bool) -> bytes:
    documents = []
    for series in answer:
        finite = np.isfinite(series.values).tolist()
        values = series.values.tolist()
        points = [
            [value if known else None, time]
            for value, known, time in zip(values, finite, series.timestamps())
            if known or not no_nulls
        ]
        if points or not no_nulls:
            documents.append({"target": series.name, "tags": dict(series.tags), "datapoints": points})
    return json.dumps(documents, indent=2).encode()


# ---- csv and raw


def csv_chunks(answer: Iterable[Series], tz: tzinfo) -> Iterator[bytes]:
    """One ``name,YYYY-mm-dd HH:MM:SS,value`` line per point, local time of `tz`, CRLF."""
    moments = _Grids(lambda times: [datetime.fromtimestamp(t, tz).strftime(",%Y-%m-%d %H:%M:%S,") for t in times])
    for series in answer:
        name = _csv_field(series.name)
        lines = zip(moments.of(series), texts(series, ""))
        yield "".join([f"{name}{moment}{value}\r\n" for moment, value in lines]).encode("utf-8", "replace")


def _csv_field(text: str) -> str:
    line = io.StringIO()
    csv.writer(line, dialect="excel").writerow((text, 0))
    return line.getvalue()[: -len(",0\r\n")]


def raw_chunks(answer: Iterable[Series]) -> Iterator[bytes]:
    """``name,start,end,step|v1,v2,...`` and a newline per series."""
    for series in answer:
        head = f"{series.name},{series.start},{series.end},{series.step}|"
        yield (head + ",".join(texts(series, "None")) + "\n").encode("utf-8", "replace")


# ---- for other servers


def plain(series: Series) -> dict[str, Any]:
    """The series as a dict of plain objects, with graphite-web's keys."""
    values: list[float | None] = series.values.tolist()
    for position in np.flatnonzero(np.isnan(series.values)).tolist():
        values[position] = None
    return {
        "name": series.name,
        "start": series.start,
        "end": series.end,
        "step": series.step,
        "values": values,
        "pathExpression": series.path_expression,
        "valuesPerPoint": 1,
        "consolidationFunc": series.consolidation,
        "xFilesFactor": series.xff,
    }


def pickle_chunks(answer: Iterable[Series]) -> Iterator[bytes]:
    """A pickle, protocol 2 so that every client reads it, of a list of dicts of plain objects."""
    yield pickle.dumps([plain(series) for series in answer], protocol=2)


def msgpack_chunks(answer: Sequence[Series]) -> Iterator[bytes]:
    """The same list in msgpack."""
    yield msgpack.array_head(len(answer))
    for series in answer:
        yield msgpack.pack(plain(series))
