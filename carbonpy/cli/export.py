"""``carbonpy export``: what whisper files know, as CSV or JSON lines.

The law: every moment is told once, by the finest archive that reaches back to it (or, with ``--archives``, by each).
Points that are only in a daemon's cache are not in files yet; ask the daemon for them.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from carbonpy.cli.progress import Progress
from carbonpy.cli.trees import (
    add_tree_options,
    catalog_of,
    names_of,
    parsed,
    parser_for,
    prefixed,
    root_of,
    settings_of,
)
from carbonpy.cli.whisper.common import moment
from carbonpy.errors import CarbonError
from carbonpy.upkeep.tree import dotted, files_below, named
from carbonpy.whisper.access import Descriptor
from carbonpy.whisper.fetching import read_header, read_span, span_of

_EPILOG = """\
examples:
  carbonpy export --config /etc/carbon/carbon.conf > all.csv
  carbonpy export --format jsonl --below servers.web --from -30d
  carbonpy export --archives --tree /srv/whisper | gzip > everything.csv.gz

CSV has the columns metric, timestamp, value (and step with --archives); JSON lines are
{"metric": .., "step": .., "points": [[timestamp, value], ..]}.  carbonpy import reads both.
"""


class Piece(NamedTuple):
    """What one archive tells: its step, and (timestamp, value) in order."""

    step: int
    points: list[tuple[int, float]]


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy export``."""
    options = parser_for("export", "Write what whisper files know as CSV or JSON lines.", _EPILOG)
    options.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="default: csv")
    options.add_argument("--below", metavar="PREFIX", help="only metrics below this dotted prefix, or this metric")
    options.add_argument("--from", dest="begin", metavar="T", type=moment, help="a Unix time or -6h (default: all)")
    options.add_argument("--until", dest="end", metavar="T", type=moment, help="a Unix time or -1h (default: now)")
    options.add_argument("--archives", action="store_true", help="all archives, each with its step")
    options.add_argument("--output", metavar="FILE", help="write there (default: standard output)")
    options.add_argument("--quiet", action="store_true", help="no progress")
    add_tree_options(options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy export`` with these arguments; its exit code."""
    words = list(argv)
    for at in range(len(words) - 1, 0, -1):  # argparse takes -6h for an option
        if words[at - 1] in ("--from", "--until") and words[at].startswith("-"):
            words[at - 1 : at + 1] = [f"{words[at - 1]}={words[at]}"]
    options = parsed(parser(), words)
    settings = settings_of(options)
    root = root_of(options, settings)
    if options.output is None:
        return _export(options, settings, root, sys.stdout)
    with open(options.output, "w", encoding="utf-8", newline="") as file:
        return _export(options, settings, root, file)


def _export(options: argparse.Namespace, settings: Any, root: str, out: Any) -> int:
    now = int(time.time())
    begin, end = options.begin or 0, now if options.end is None else options.end
    rows = csv.writer(out, lineterminator="\n")
    if options.format == "csv":
        rows.writerow(["metric", "timestamp", "value", *(["step"] if options.archives else [])])
    progress = Progress(sys.stderr, "exporting", quiet=options.quiet)
    failed = points = metrics = 0
    with catalog_of(settings, options.tree) as catalog:
        for path, name in named(_files(root, prefixed(options.below)), names_of(catalog)):
            metric = dotted(path) if name is None else name
            progress.step()
            try:
                pieces = list(pieces_of(os.path.join(root, path), begin, end, now, all_archives=options.archives))
            except (OSError, CarbonError) as error:
                failed += 1
                print(f"[ERROR] {path}: {error}", file=sys.stderr)
                continue
            metrics += 1
            for piece in pieces:
                points += len(piece.points)
                if options.format == "csv":
                    more = [piece.step] if options.archives else []
                    rows.writerows([metric, stamp, repr(value), *more] for stamp, value in piece.points)
                elif piece.points:
                    finite = [[stamp, value] for stamp, value in piece.points if math.isfinite(value)]
                    out.write(json.dumps({"metric": metric, "step": piece.step, "points": finite}) + "\n")
    progress.close()
    out.flush()
    print(f"{metrics} metrics, {points} points, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


def _files(root: str, below: str) -> Iterator[str]:
    if below and os.path.isfile(os.path.join(root, below + ".wsp")):
        yield below + ".wsp"
    if not below or os.path.isdir(os.path.join(root, below)):
        yield from files_below(root, below)
    elif not os.path.isfile(os.path.join(root, below + ".wsp")):
        raise CarbonError(f"there is no metric and no branch {below.replace('/', '.')} in {root}")


def pieces_of(path: str, begin: int, end: int, now: int, *, all_archives: bool = False) -> Iterator[Piece]:
    """What a file knows between two times (both included), oldest first; each moment once unless `all_archives`.

    Raises OSError or CorruptWhisperFile.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        access = Descriptor(fd, path)
        header = read_header(access)
        until = min(end, now)
        told: list[Piece] = []
        for archive in header.archives:
            oldest = max(begin - 1, now - archive.retention)
            if oldest < until:
                slots = read_span(access, archive, span_of(archive, oldest, until))
                places = slots.known.nonzero()[0].tolist()
                values = slots.values[slots.known].tolist()
                stamps = [slots.span.start + place * archive.step for place in places]
                points = [(stamp, value) for stamp, value in zip(stamps, values) if begin <= stamp <= end]
                told.append(Piece(archive.step, points))
                if not all_archives:
                    until = min(until, oldest)
        yield from reversed(told)
    finally:
        os.close(fd)
