"""Series as text and bytes: csv, raw, pickle and msgpack as graphite-web gives them, protobuf for carbonapi.

The law: numbers are written as Python's ``repr`` writes them, a missing value is an empty field (csv),
``None`` (raw, pickle), nil (msgpack), NaN (protobuf 3) or flagged (protobuf 2).  The writers yield
chunks, one per series, and keep the text of timestamps that several series share.
"""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import numpy as np

from carbonpy.series.series import Series
from carbonpy.web import msgpack
from carbonpy.wire import protobuf


class Echoed(NamedTuple):
    """A series with what the request said, which protocol 3 wants back exactly as it was."""

    series: Series
    path_expression: str
    start: int
    stop: int


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


def texts(series: Series, missing: str) -> list[str]:
    """The values as ``repr`` writes them, `missing` for NaN."""
    written = list(map(repr, series.values.tolist()))
    for position in np.flatnonzero(np.isnan(series.values)).tolist():
        written[position] = missing
    return written


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
    return {**_about(series), "values": values}


def _about(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "start": series.start,
        "end": series.end,
        "step": series.step,
        "values": None,
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
        yield msgpack.pack({**_about(series), "values": series.values})


def protobuf2_chunks(answer: Iterable[Series]) -> Iterator[bytes]:
    """A MultiFetchResponse of carbonapi's protocol 2."""
    for series in answer:
        absent = np.isnan(series.values)
        written = protobuf.FetchResponse2(
            name=series.name,
            start_time=series.start,
            stop_time=series.start + series.step * len(series),
            step_time=series.step,
            values=np.where(absent, 0.0, series.values),
            is_absent=absent,
        )
        yield protobuf.encode(protobuf.MultiFetchResponse2((written,)))


def protobuf3_chunks(answer: Iterable[Echoed]) -> Iterator[bytes]:
    """A MultiFetchResponse of carbonapi's protocol 3."""
    for series, path_expression, start, stop in answer:
        written = protobuf.FetchResponse(
            name=series.name,
            path_expression=path_expression,
            consolidation_func=series.consolidation,
            start_time=series.start,
            stop_time=series.start + series.step * len(series),
            step_time=series.step,
            x_files_factor=series.xff,
            values=series.values,
            request_start_time=start,
            request_stop_time=stop,
        )
        # messages whose only field is repeated can be written one after the other
        yield protobuf.encode(protobuf.MultiFetchResponse((written,)))
