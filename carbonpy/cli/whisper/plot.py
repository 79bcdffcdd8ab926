"""``whisper plot``: values as a picture in the terminal.

The law: each column stands for the slots between two times, with the average of those that are known; a column without
any is empty.  The lowest and the highest value of the picture are written beside it, so it is to scale.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Sequence
from functools import partial

from carbonpy import whisper
from carbonpy.cli.whisper.common import add_crowd, add_json, add_span, chosen, make_parser, parse, work_through
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.cli.whisper.fetch import DAY
from carbonpy.errors import CarbonError

_EPILOG = """\
Of a directory, each file is one line: a sparkline, its lowest, highest and last value.

examples:
  carbonpy whisper plot cpu.wsp
  carbonpy whisper plot cpu.wsp --from -30d --height 20
  carbonpy whisper plot /srv/whisper/servers/db1 --from -1h
"""
_EIGHTHS = " ▁▂▃▄▅▆▇█"
Column = float | None


def columns_of(values: Sequence[float | None], width: int) -> list[Column]:
    """At most `width` averages of neighbours; None where nothing finite is known."""
    width = min(width, len(values))
    edges = [len(values) * n // width for n in range(width + 1)]
    columns: list[Column] = []
    for begin, end in zip(edges, edges[1:]):
        known = [value for value in values[begin:end] if value is not None and math.isfinite(value)]
        columns.append(math.fsum(known) / len(known) if known else None)
    return columns


def sparkline(columns: Sequence[Column]) -> str:
    """One character for each column, its height between the lowest and the highest."""
    known = [value for value in columns if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return "".join(" " if value is None else _EIGHTHS[1 + _step(value, low, high, 7)] for value in columns)


def _step(value: float, low: float, high: float, steps: int) -> int:
    """The place of a value among `steps` + 1 heights."""
    if high == low:
        return steps // 2
    scale = max(abs(low), abs(high))  # so that a difference of huge values is none that overflows
    share = (value / scale - low / scale) / (high / scale - low / scale)
    return round(share * steps)


def picture(columns: Sequence[Column], height: int) -> list[str]:
    """Rows of block characters, the highest first, with the scale at their left."""
    known = [value for value in columns if value is not None]
    if not known:
        return ["(nothing known)"]
    low, high = min(known), max(known)
    heights = [None if value is None else 1 + _step(value, low, high, height * 8 - 1) for value in columns]
    labels = {height - 1: f"{high:.6g}", 0: f"{low:.6g}"}
    margin = max(map(len, labels.values()))
    rows = []
    for row in range(height - 1, -1, -1):
        cells = [" " if top is None else _EIGHTHS[max(0, min(8, top - row * 8))] for top in heights]
        rows.append(f"{labels.get(row, ''):>{margin}} │{''.join(cells).rstrip()}")
    return rows


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Draw the values of a whisper file in the terminal.", _EPILOG)
    parser.add_argument("path", nargs="?", help="a file or a directory")
    add_span(parser, "24 hours ago", "now")
    parser.add_argument("--width", type=int, metavar="N", help="columns (default: as wide as the terminal)")
    parser.add_argument("--height", type=int, metavar="N", default=10, help="rows (default: 10)")
    parser.add_argument("--spark", action="store_true", help="one line, also of a single file")
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    now = int(time.time())
    begin = now - DAY if options.begin is None else options.begin
    end = now if options.end is None else options.end
    paths, several = chosen(options.path, options)
    total = options.width or shutil.get_terminal_size((80, 24)).columns
    if options.height < 1 or total < 1:
        parser.error("--width and --height are 1 or more")
    height = 0 if several or options.spark else options.height
    name = min(max((len(os.path.basename(path)) for path in paths), default=0), 40) if height == 0 else 0
    width = options.width or max(total - (name + 42 if height == 0 else 16), 10)
    return work_through(partial(_work, begin, end, width, height, name), paths, several, options, "plot")


def _work(begin: int, end: int, width: int, height: int, name: int, path: str) -> Outcome:
    answer = whisper.fetch(path, begin, end)
    if answer is None:
        raise CarbonError("No data in selected timerange")
    (start, stop, step), values = answer
    columns = columns_of(values, width)
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high, last = (min(known), max(known), known[-1]) if known else (None, None, None)
    record = {"path": path, "start": start, "end": stop, "step": step, "min": low, "max": high, "last": last,
              "known": len(known), "columns": columns}  # fmt: skip
    if height == 0:
        figures = "nothing known" if not known else f"{low:.6g} to {high:.6g}, last {last:.6g}"
        text = f"{os.path.basename(path):<{name}} {sparkline(columns):<{len(columns)}} {figures}\n"
        return Outcome(path, text, record=record)
    rows = picture(columns, height)
    margin = rows[0].find("│") + 1
    form = "%Y-%m-%d %H:%M"
    left, right = (time.strftime(form, time.localtime(moment)) for moment in (start, stop - step))
    gap = max(len(columns) - len(left) - len(right), 1)
    rows.append(f"{'':{max(margin, 0)}}{left}{'':{gap}}{right}")
    share = f"{len(known)} of {len(values)} slots of {step} s known"
    return Outcome(path, "\n".join([*rows, share]) + "\n", record=record)
