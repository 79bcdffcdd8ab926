"""``whisper merge``: the values of one file over those of another with the same archives.

The law: what is stored is what whisper-merge.py stores.  Of two trees, every file of the first is merged into the file
of the same name in the second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial

from carbonpy.cli.whisper.common import (
    add_change,
    add_crowd,
    add_json,
    add_span,
    apply,
    make_parser,
    parse,
    work_through,
)
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.cli.whisper.pairs import add_create, other_of, pairs
from carbonpy.whisper import maintenance
from carbonpy.whisper.image import Image

_EPILOG = """\
Values that both files have become those of FROM; "carbonpy whisper fill" keeps those of TO. The archives must be the
same; "carbonpy whisper resize" makes them so.

examples:
  carbonpy whisper merge old/cpu.wsp new/cpu.wsp
  carbonpy whisper merge --dry-run /mnt/other/whisper /srv/whisper
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Copy the values of one file over those of another.", _EPILOG)
    parser.add_argument("source", metavar="FROM", help="a file or a directory")
    parser.add_argument("target", metavar="TO", help="a file or a directory, which is changed")
    add_span(parser, "the beginning of time", "now")
    add_create(parser)
    add_change(parser)
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    paths, several = pairs(options.source, options.target, options)
    work = partial(_work, options.source, options.target, options.begin, options.end, options.dry_run, options.backup)
    return work_through(work, paths, several, options, "merge", changes=True)


def _work(
    source: str, target: str, begin: int | None, end: int | None, dry_run: bool, backup: bool, path: str
) -> Outcome:
    other = other_of(path, source, target)
    with open(path, "rb") as file:
        given = file.read()
    copied = 0

    def change(data: bytes) -> bytes:
        nonlocal copied
        image = Image(data, other)
        copied = maintenance.merge(Image(given, path), image, int(time.time()), begin, end)
        return bytes(image.data)

    changed = apply(other, change, dry_run=dry_run, backup=backup)
    record = {"from": path, "to": other, "changed": changed, "values": copied}
    text = f"{path} -> {other}: {copied} values\n" if os.path.isdir(source) or dry_run else ""
    return Outcome(other, text, record=record, changed=changed)
