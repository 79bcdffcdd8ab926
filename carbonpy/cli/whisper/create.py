"""``whisper create``: a new file, or what archives would take on disk.

The law: the output is that of whisper-create.py.  The file appears complete under its name, and nothing is left of one
that could not be made; ``--overwrite`` replaces the old file in the moment in which the new one is ready.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from carbonpy.cli.whisper.common import RETENTIONS, add_json, dumps, make_parser, parse, retention
from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import creating, temporary_name
from carbonpy.whisper.layout import METHOD_CODES, make_header
from carbonpy.whisper.replacing import locked
from carbonpy.whisper.treelock import stamp

_EPILOG = f"""\
{RETENTIONS}
examples:
  carbonpy whisper create cpu.wsp 10s:6h 1m:7d
  carbonpy whisper create --estimate 10s:6h 1m:7d        what that takes for 1,000 to 500,000 metrics
"""


def byte_format(count: float) -> str:
    """``1536`` as ``1.500KB``."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1024.0:
            return f"{count:.3f}{unit}"
        count /= 1024.0
    return f"{count:.3f}GB"


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Make an empty whisper file, or estimate what archives take on disk.", _EPILOG)
    parser.add_argument("words", nargs="*", metavar="PATH RETENTION...", help="the file to make and its archives")
    parser.add_argument("--xFilesFactor", type=float, default=0.5, metavar="X", help="from 0 to 1 (default: 0.5)")
    parser.add_argument(
        "--aggregationMethod",
        default="average",
        metavar="M",
        help=f"one of {', '.join(METHOD_CODES)} (default: average)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument("--estimate", action="store_true", help="make no file; print what the archives take")
    parser.add_argument("--sparse", action="store_true", help="make the file sparse")
    parser.add_argument("--fallocate", action="store_true", help="reserve the blocks of the file")
    parser.add_argument("--dry-run", action="store_true", help="check everything, and make no file")
    add_json(parser)
    options = parse(parser, argv)
    words: list[str] = options.words
    try:
        if options.estimate:
            if not words:
                parser.error("give retentions, for example: --estimate 10s:6h 1m:7d")
            if len(words) == 1 and "," in words[0]:
                words = words[0].split(",")
            return _estimate([retention(word) for word in words], options.json)
        if len(words) < 2:
            parser.error("give a path and at least one retention, for example: cpu.wsp 1m:7d")
        return _create(words[0], [retention(word) for word in words[1:]], options)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))


def _estimate(archives: list[tuple[int, int]], as_json: bool) -> int:
    size = 16 + 12 * len(archives) + 12 * sum(points for _, points in archives)
    on_disk = math.ceil(size / 4096) * 4096
    if as_json:
        record = [{"secondsPerPoint": step, "points": points} for step, points in archives]
        print(dumps({"archives": record, "size": size, "sizeOnDisk": on_disk}))
        return 0
    for number, (step, points) in enumerate(archives):
        print(f"Archive {number}: {points} points of {step}s precision")
    print(f"\nEstimated Whisper DB Size: {byte_format(size)} ({on_disk} bytes on disk with 4k blocks)\n")
    for thousands in (1, 5, 10, 50, 100, 500):
        print(f"Estimated storage requirement for {thousands}k metrics: {byte_format(thousands * 1000 * on_disk)}")
    return 0


def _create(path: str, archives: list[tuple[int, int]], options: argparse.Namespace) -> int:
    header = make_header(archives, options.xFilesFactor, options.aggregationMethod)
    there = os.path.exists(path)
    if there and not options.overwrite:
        raise CarbonError(f"File {path} already exists!")
    notes: dict[str, Any] = {"path": path, "fileSize": header.file_size, "overwritten": there}
    if not options.dry_run:
        # Published by link(2), which never replaces; an old file is replaced by rename(2) once the new one is whole.
        name = temporary_name(path) if there else path
        with creating(name, header, sparse=options.sparse, fallocate=options.fallocate, fsync=True):
            pass
        if there:
            try:
                with locked(path):
                    stamp(name)
                    os.rename(name, path)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name)
    if options.json:
        print(dumps(notes))
        return 0
    if there:
        print(f"Overwriting existing file: {path}")
    if options.dry_run:
        sys.stdout.write("Would be created: ")
    else:
        sys.stdout.write("Created: ")
    print(f"{path} ({header.file_size} bytes)")
    return 0
