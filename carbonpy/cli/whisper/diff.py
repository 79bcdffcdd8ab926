"""``whisper diff``: where two files with the same archives differ.

The law: for two files the output is that of whisper-diff.py.  Of two trees, only files that differ are shown, each
after a line with its path; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from carbonpy import whisper
from carbonpy.cli.whisper.common import add_crowd, make_parser, parse
from carbonpy.cli.whisper.crowd import Outcome, each, with_progress
from carbonpy.cli.whisper.pairs import other_of, pairs
from carbonpy.whisper.maintenance import Difference

_EPILOG = """\
examples:
  carbonpy whisper diff a/cpu.wsp b/cpu.wsp
  carbonpy whisper diff --summary --ignore-empty /mnt/other/whisper /srv/whisper

exit code: of two files 0, of two trees 1 when files differ; 1 when something could not be read, 2 wrong arguments
"""
_Diffs = list[tuple[int, list[Difference], int]]


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "List where two whisper files differ.", _EPILOG)
    parser.add_argument("first", metavar="path_a", help="a file or a directory")
    parser.add_argument("second", metavar="path_b", help="a file or a directory")
    parser.add_argument("--summary", action="store_true", help="show summary of differences")
    parser.add_argument("--ignore-empty", action="store_true", help="skip slots that one of the files does not know")
    parser.add_argument("--columns", action="store_true", help="print output in simple columns")
    parser.add_argument("--no-headers", action="store_true", help="do not print column headers")
    parser.add_argument("--until", type=int, metavar="T", help="end of the compared times, a Unix time (default: now)")
    parser.add_argument("--json", action="store_true", help="output in JSON form (of trees: one object a line)")
    add_crowd(parser)
    options = parse(parser, argv)
    paths, several = pairs(options.first, options.second, options)
    work = partial(_work, options)
    if not several:
        sys.stdout.write(work(paths[0]).text)
        return 0
    outcomes = with_progress(each(work, paths, options.jobs), len(paths), "diff", sys.stderr)
    differing = failed = 0
    for outcome in outcomes:
        if outcome.error:
            failed += 1
            print(f"[ERROR] {outcome.path}: {outcome.error}", file=sys.stderr)
            continue
        differing += outcome.changed
        if outcome.changed:
            sys.stdout.write(outcome.text)
    print(f"{len(paths)} files, {differing} differ, {failed} failed", file=sys.stderr)
    return 1 if failed or differing else 0


def _work(options: argparse.Namespace, path: str) -> Outcome:
    other = other_of(path, options.first, options.second)
    diffs: _Diffs = whisper.diff(path, other, ignore_empty=options.ignore_empty, until_time=options.until or None)
    several = path != options.first
    differs = any(points for _, points, _ in diffs)
    if options.json:
        text = _as_json(diffs, path, other, options.summary, several)
    else:
        text = f"{path} {other}\n" if several else ""
        pretty, headers = not options.columns, not options.no_headers
        text += _summary(diffs, pretty, headers) if options.summary else _points(diffs, pretty, headers)
    return Outcome(path, text, changed=differs)


def _points(diffs: _Diffs, pretty: bool, headers: bool) -> str:
    head = "%7s %11s %13s %13s\n" if pretty else "%s %s %s %s\n"
    form = "%7s %11d %13s %13s\n" if pretty else "%s %d %s %s\n"
    parts = [head % ("archive", "timestamp", "value_a", "value_b")] if headers else []
    for archive, points, total in diffs:
        if pretty:
            parts.append(f"Archive {archive} ({len(points)} of {total} datapoints differ)\n")
            parts.append(head % ("", "timestamp", "value_a", "value_b"))
        parts += [form % ("" if pretty else archive, *point) for point in points]
    return "".join(parts)


def _summary(diffs: _Diffs, pretty: bool, headers: bool) -> str:
    form = "%7s %9s %9s\n" if pretty else "%s %s %s\n"
    parts = [form % ("archive", "total", "differing")] if headers else []
    parts += [form % (archive, total, len(points)) for archive, points, total in diffs]
    return "".join(parts)


def _as_json(diffs: _Diffs, path: str, other: str, summary: bool, several: bool) -> str:
    archives: list[dict[str, Any]] = []
    for archive, points, total in diffs:
        archives.append({"archive": archive, "total": total, "points": len(points)})
        if not summary:
            archives[-1]["datapoint"] = [{"timestamp": t, "value_a": a, "value_b": b} for t, a, b in points]
    record = {"path_a": path, "path_b": other, "archives": archives}
    if several:
        return json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n"
    return json.dumps(record, sort_keys=True, indent=2, separators=(",", " : ")) + "\n"
