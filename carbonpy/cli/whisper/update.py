"""``whisper update``: store values given as arguments or on standard input.

The law: exactly one point must lie within the file's reach, of several those that do not are left out; that is
whisper-update.py's way.  The file is replaced as a whole, so it has all of the points or none.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from carbonpy.cli.whisper.common import add_change, add_json, apply, dumps, make_parser, parse
from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import sync_directory
from carbonpy.whisper.file import update_access
from carbonpy.whisper.image import Image, parse_image
from carbonpy.whisper.storing import RingWriter, Stored

_EPILOG = """\
Without points they are read from standard input, one a line. N is the current time: N:42.

examples:
  carbonpy whisper update cpu.wsp N:42
  carbonpy whisper dump --raw old.wsp | carbonpy whisper update new.wsp
"""


class Point(NamedTuple):
    """A time and a value."""

    timestamp: int
    value: float


def parse_point(text: str, now: int) -> Point:
    """``1700000000:42.5`` or ``N:42.5``.  Raises CarbonError."""
    stamp, colon, value = text.strip().partition(":")
    try:
        if not colon:
            raise ValueError
        return Point(now if stamp == "N" else int(stamp), float(value))
    except ValueError:
        raise CarbonError(f"{text.strip()!r} is no point; write timestamp:value, for example N:42") from None


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Store values in a whisper file.", _EPILOG)
    parser.add_argument("path", help="the file")
    parser.add_argument("points", nargs="*", metavar="timestamp:value", help="what to store")
    add_change(parser)
    add_json(parser)
    options = parse(parser, argv)
    now = int(time.time())
    words = options.points or [line for line in sys.stdin if line.strip()]
    points = [parse_point(word, now) for word in words]
    stored = Stored(0, 0, 0)

    def change(data: bytes) -> bytes:
        nonlocal stored
        image = Image(data, options.path)
        header = parse_image(data, options.path)
        if len(points) == 1:
            update_access(image, header, points[0].value, points[0].timestamp, now)
            stored = Stored(1, 0, 0)
        elif points:
            # Of equal times the first given wins, as in update_many: it comes last when the order is turned round.
            ordered = sorted(points, key=lambda point: point.timestamp, reverse=True)[::-1]
            stored = RingWriter(image, header).write([p.timestamp for p in ordered], [p.value for p in ordered], now)
        return bytes(image.data)

    changed = apply(options.path, change, dry_run=options.dry_run, backup=options.backup)
    if changed and not options.dry_run:
        sync_directory(os.path.dirname(os.path.realpath(options.path)))
    if options.json:
        print(dumps({"path": options.path, "changed": changed, **stored._asdict()}))
    elif options.dry_run:
        print(f"Would store {stored.written} of {len(points)} values in {options.path}")
    left_out = stored.too_old + stored.too_far
    if left_out:
        print(
            f"{options.path}: {left_out} of {len(points)} values lie beyond the file's reach and were left out",
            file=sys.stderr,
        )
    return 0
