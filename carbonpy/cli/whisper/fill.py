"""``whisper fill``: the gaps of one file from another, and of a tree from another.

The law: see `carbonpy.whisper.filling`.  A value that is there stays, whatever it is; the files need not have the same
archives.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial

from carbonpy.cli.whisper.common import add_change, add_crowd, add_json, apply, make_parser, parse, work_through
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.cli.whisper.pairs import add_create, other_of, pairs
from carbonpy.whisper.filling import fill

_EPILOG = """\
examples:
  carbonpy whisper fill /mnt/other/cpu.wsp /srv/whisper/cpu.wsp
  carbonpy whisper fill --create /mnt/other/whisper /srv/whisper
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Copy data from SRC to DST where DST has none.", _EPILOG)
    parser.add_argument("source", metavar="SRC", help="a file or a directory")
    parser.add_argument("target", metavar="DST", help="a file or a directory, which is changed")
    parser.add_argument("--lock", action="store_true", help="accepted; files are always locked")
    add_create(parser)
    add_change(parser)
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    paths, several = pairs(options.source, options.target, options)
    work = partial(_work, options.source, options.target, options.dry_run, options.backup)
    return work_through(work, paths, several, options, "fill", changes=True)


def _work(source: str, target: str, dry_run: bool, backup: bool, path: str) -> Outcome:
    other = other_of(path, source, target)
    with open(path, "rb") as file:
        given = file.read()
    filled = 0

    def change(data: bytes) -> bytes:
        nonlocal filled
        made, filled = fill(data, other, given, path, int(time.time()))
        return made

    changed = apply(other, change, dry_run=dry_run, backup=backup)
    record = {"from": path, "to": other, "changed": changed, "values": filled}
    told = dry_run or (changed and os.path.isdir(source))
    return Outcome(other, f"{path} -> {other}: {filled} values\n" if told else "", record=record, changed=changed)
