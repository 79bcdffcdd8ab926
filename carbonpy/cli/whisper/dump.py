"""``whisper dump``: a file slot by slot, as it is, whether or not a reader would count the slot.

The law: the text is that of whisper-dump.py; with ``--raw`` it is what ``whisper update`` reads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence

from carbonpy.cli.whisper.common import add_json, dumps, make_parser, parse
from carbonpy.errors import CarbonError
from carbonpy.whisper.image import parse_image, ring_of
from carbonpy.whisper.layout import Header

_EPILOG = """\
examples:
  carbonpy whisper dump cpu.wsp
  carbonpy whisper dump --raw old.wsp | carbonpy whisper update new.wsp
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Print every slot of every archive of a file, also those that hold nothing.", _EPILOG)
    parser.add_argument("path", help="the file")
    parser.add_argument("--pretty", action="store_true", help="dates instead of Unix times")
    parser.add_argument("-t", "--time-format", metavar="F", help="format of --pretty, as of strftime")
    parser.add_argument("-r", "--raw", action="store_true", help="only timestamp:value, as whisper update reads it")
    add_json(parser)
    options = parse(parser, argv)
    try:
        with open(options.path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise CarbonError(f'File "{options.path}" does not exist!') from None
    header = parse_image(data, options.path)
    if options.json:
        _as_json(data, header)
        return 0
    if not options.raw:
        sys.stdout.writelines(f"{line}\n" for line in _header_lines(header))
    shown = times(options.pretty, options.time_format)
    for number, archive in enumerate(header.archives):
        ring = ring_of(data, archive)
        points = zip(ring["t"].tolist(), ring["v"].tolist())
        if options.raw:
            sys.stdout.writelines(f"{stamp}:{value:.35g}\n" for stamp, value in points)
            continue
        print(f"Archive {number} data:")
        sys.stdout.writelines(
            f"{place}: {shown(stamp)}, {value:>10.35g}\n" for place, (stamp, value) in enumerate(points)
        )
    return 0


def times(pretty: bool, form: str | None) -> Callable[[int], str]:
    """How a time is shown."""
    if not pretty:
        return str
    if form:
        return lambda stamp: time.strftime(form, time.localtime(stamp))
    return time.ctime


def _header_lines(header: Header) -> Iterator[str]:
    yield "Meta data:"
    yield f"  aggregation method: {header.method_name}"
    yield f"  max retention: {header.max_retention}"
    yield f"  xFilesFactor: {header.xff:g}"
    yield ""
    for number, archive in enumerate(header.archives):
        yield f"Archive {number} info:"
        yield f"  offset: {archive.offset}"
        yield f"  seconds per point: {archive.step}"
        yield f"  points: {archive.points}"
        yield f"  retention: {archive.retention}"
        yield f"  size: {archive.size}"
        yield ""


def _as_json(data: bytes, header: Header) -> None:
    archives = []
    for archive in header.archives:
        ring = ring_of(data, archive)
        points = [list(point) for point in zip(ring["t"].tolist(), ring["v"].tolist())]
        archives.append({"secondsPerPoint": archive.step, "points": archive.points, "slots": points})
    print(
        dumps(
            {"aggregationMethod": header.method_name, "maxRetention": header.max_retention,
             "xFilesFactor": header.xff, "archives": archives},
            compact=True,
        )
    )  # fmt: skip
