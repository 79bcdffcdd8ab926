"""``whisper find-corrupt``: which files of a tree are damaged.

The law: damaged is a file whose header cannot be worked with, or that is shorter than its header says; a reader of
it would fail.  Names of damaged files go to standard error, as find-corrupt-whisper-files.py has it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

from carbonpy.cli.whisper.common import dumps, make_parser, parse
from carbonpy.cli.whisper.crowd import Outcome, each, whisper_files, with_progress
from carbonpy.errors import CarbonError
from carbonpy.whisper.errors import CorruptWhisperFile
from carbonpy.whisper.file import read_header
from carbonpy.whisper.replacing import locked

_EPILOG = """\
examples:
  carbonpy whisper find-corrupt /srv/whisper
  carbonpy whisper find-corrupt --delete-corrupt /srv/whisper

exit code: 0 no file is damaged, 1 some are, 2 wrong arguments
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Find and (optionally) delete corrupt Whisper data files.", _EPILOG)
    parser.add_argument("directories", nargs="+", metavar="WHISPER_DIR", help="directory of Whisper files")
    parser.add_argument("--delete-corrupt", action="store_true", help="delete reported files")
    parser.add_argument("--dry-run", action="store_true", help="with --delete-corrupt: delete nothing")
    parser.add_argument("--verbose", action="store_true", help="also print directories and files that are well")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each damaged file")
    parser.add_argument("--jobs", metavar="N", type=int, default=0, help="processes to use (default: as many as pay)")
    options = parse(parser, argv)
    found = 0
    for directory in map(os.path.realpath, options.directories):
        if not os.path.isdir(directory):
            raise CarbonError(f"{directory} is not a directory!")
        delete = options.delete_corrupt and not options.dry_run
        paths = list(whisper_files(directory))
        outcomes = each(partial(_work, delete), paths, options.jobs)
        scanned = ""
        for outcome in with_progress(outcomes, len(paths), "scan", sys.stderr):
            if options.verbose and os.path.dirname(outcome.path) != scanned:
                scanned = os.path.dirname(outcome.path)
                print(f"Scanning {scanned}…")
            if outcome.error:
                found += 1
                if options.json:
                    record = {"path": outcome.path, "error": outcome.error, "deleted": outcome.changed}
                    print(dumps(record, compact=True))
                else:
                    reason = f" ({outcome.error})" if options.verbose else ""
                    verb = "Deleting corrupt" if outcome.changed else "Corrupt"
                    print(f"{verb} Whisper file: {outcome.path}{reason}", file=sys.stderr)
            elif options.verbose:
                print(outcome.text)
    return 1 if found else 0


def damage(path: str) -> tuple[str, int]:
    """What is wrong with a file ('' if nothing), and how many points it has room for.  Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        try:
            header = read_header(fd, path)
        except CorruptWhisperFile as error:
            return ("empty" if not size else error.error), 0
    finally:
        os.close(fd)
    if size < header.file_size:
        return f"cut short: {size} of {header.file_size} bytes", 0
    return "", sum(archive.points for archive in header.archives)


def _work(delete: bool, path: str) -> Outcome:
    wrong, points = damage(path)
    if not wrong:
        return Outcome(path, f"{path}: {points} points")
    if delete:
        with locked(path):
            wrong, _ = damage(path)  # a daemon may have mended it meanwhile
            if wrong:
                os.unlink(path)
    return Outcome(path, error=wrong, changed=delete)
