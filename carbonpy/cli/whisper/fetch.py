"""``whisper fetch``: the values between two times.

The law: the output is that of whisper-fetch.py, except where values are dropped: then every value keeps its own
time, and JSON has a list of times beside the values.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

from carbonpy import whisper
from carbonpy.cli.whisper.common import add_span, make_parser, parse
from carbonpy.cli.whisper.dump import times
from carbonpy.errors import CarbonError

_EPILOG = """\
examples:
  carbonpy whisper fetch cpu.wsp --from -1h --pretty
  carbonpy whisper fetch cpu.wsp --from 1700000000 --until 1700003600 --json
  carbonpy whisper fetch cpu.wsp --archive 1h --from -30d      from the archive of one hour

exit code: 0 when there was an answer, 1 when not (no such file, no data in these times), 2 wrong arguments
"""
DAY = 86400


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Print the values of a whisper file between two times.", _EPILOG)
    parser.add_argument("path", help="the file")
    add_span(parser, "24 hours ago", "now")
    parser.add_argument("--archive", metavar="STEP", help="the archive with this step (default: one that reaches back)")
    parser.add_argument("--pretty", action="store_true", help="dates instead of Unix times")
    parser.add_argument("-t", "--time-format", metavar="F", help="format of --pretty, as of strftime")
    parser.add_argument("--drop", choices=("nulls", "zeroes", "empty"), help="leave out nulls, zeroes, or both")
    parser.add_argument("--json", action="store_true", help="output in JSON form")
    options = parse(parser, argv)
    now = int(time.time())
    begin = now - DAY if options.begin is None else options.begin
    try:
        answer = whisper.fetch(options.path, begin, now if options.end is None else options.end,
                               archiveToSelect=options.archive)  # fmt: skip
    except (ValueError, OSError) as error:
        raise CarbonError(str(error)) from None
    if not answer:
        print("No data in selected timerange", file=sys.stderr)
        return 1
    (start, end, step), values = answer
    points = [(start + step * n, value) for n, value in enumerate(values) if _kept(value, options.drop)]
    if options.json:
        _as_json(start, end, step, points, bool(options.drop))
        return 0
    shown = times(options.pretty, options.time_format)
    sys.stdout.writelines(f"{shown(t)}\t{'None' if value is None else f'{value:f}'}\n" for t, value in points)
    return 0


def _kept(value: float | None, drop: str | None) -> bool:
    if drop == "zeroes":
        return value != 0
    if drop == "nulls":
        return value is not None
    return drop is None or (value is not None and value != 0)


def _as_json(start: int, end: int, step: int, points: list[tuple[int, float | None]], dropped: bool) -> None:
    shown = ", ".join("null" if value is None or not math.isfinite(value) else repr(value) for _, value in points)
    stamps = f',\n    "timestamps" : {[stamp for stamp, _ in points]}' if dropped else ""
    head = f'    "start" : {start},\n    "end" : {end},\n    "step" : {step},\n'
    print(f'{{\n{head}    "values" : [{shown}]{stamps}\n  }}')
