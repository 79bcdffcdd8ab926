"""``whisper delete-range``: values between two times are gone from every archive.

The law: see `carbonpy.whisper.filling.erase`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from carbonpy.cli.whisper.common import (
    add_change,
    add_crowd,
    add_json,
    add_span,
    apply,
    chosen,
    make_parser,
    parse,
    work_through,
)
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.whisper.filling import erase

_EPILOG = """\
Coarse slots that lie in the range only in part are aggregated anew from what is left, or stay as they are where the
finer archive does not reach any more.

examples:
  carbonpy whisper delete-range cpu.wsp --from 1700000000 --until 1700003600 --backup
  carbonpy whisper delete-range /srv/whisper/servers/db1 --from -2h --until -1h --dry-run
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Take the values between two times, both included, out of whisper files.", _EPILOG)
    parser.add_argument("path", nargs="?", help="a file or a directory")
    add_span(parser, "must be given", "must be given")
    add_change(parser)
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    if options.begin is None or options.end is None:
        parser.error("give --from and --until")
    if options.begin > options.end:
        parser.error("--from lies after --until")
    paths, several = chosen(options.path, options)
    work = partial(_work, options.begin, options.end, options.dry_run, options.backup)
    return work_through(work, paths, several, options, "delete", changes=True)


def _work(begin: int, end: int, dry_run: bool, backup: bool, path: str) -> Outcome:
    erased = 0

    def change(data: bytes) -> bytes:
        nonlocal erased
        made, erased = erase(data, path, begin, end, int(time.time()))
        return made

    changed = apply(path, change, dry_run=dry_run, backup=backup)
    verb = "would be deleted" if dry_run else "deleted"
    record = {"path": path, "changed": changed, "values": erased}
    return Outcome(path, f"{path}: {erased} values {verb}\n", record=record, changed=changed)
