"""What the whisper tools have in common: options, which files are meant, how a change is made and told.

The law: an option of this module means the same in every tool that has it.  `apply` is the only way in which a tool
changes a file, but for the header tools, whose change is a single write of 16 bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from carbonpy.cli.whisper.crowd import Outcome, Work, each, listed, whisper_files, with_progress
from carbonpy.cli.whisper.table import WrongArguments
from carbonpy.whisper.compat import parseRetentionDef
from carbonpy.whisper.creation import sync_directory
from carbonpy.whisper.replacing import rewrite

RETENTIONS = """\
A retention is timePerPoint:timeToStore, for example:
  60:1440      60 seconds per datapoint, 1440 datapoints = 1 day of retention
  15m:8        15 minutes per datapoint, 8 datapoints = 2 hours of retention
  1h:7d        1 hour per datapoint, 7 days of retention
  12h:2y       12 hours per datapoint, 2 years of retention
"""
CODES = "exit code: 0 all is well, 1 something could not be done, 2 wrong arguments"


def make_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser whose page shows `epilog` as it is written and ends with the exit codes."""
    if "exit code" not in epilog:
        epilog = f"{epilog.rstrip()}\n\n{CODES}"
    return argparse.ArgumentParser(
        prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """What the words say, ``--from -6h`` and ``-x --nobackup`` too, in which argparse sees two options."""
    words = list(argv)
    for at in range(len(words) - 1, 0, -1):
        takes = words[at - 1] in ("-x", "--extra_args") or (
            words[at - 1] in ("--from", "--until") and words[at].startswith("-") and words[at][1:2].isdigit()
        )
        if takes:
            words[at - 1 : at + 1] = [f"{'--extra_args' if words[at - 1] == '-x' else words[at - 1]}={words[at]}"]
    return parser.parse_intermixed_args(words)


def add_crowd(parser: argparse.ArgumentParser) -> None:
    """The options of tools that take many files."""
    group = parser.add_argument_group("many files")
    group.add_argument("--files-from", metavar="FILE", help="take the paths from FILE, one a line; - is standard input")
    group.add_argument("--jobs", metavar="N", type=int, default=0, help="processes to use (default: as many as pay)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="output in JSON form (of many files: one object a line)")


def add_change(parser: argparse.ArgumentParser, backup: bool = True) -> None:
    """The options of tools that change files."""
    parser.add_argument("--dry-run", action="store_true", help="do not change anything, only say what would be done")
    if backup:
        parser.add_argument("--backup", action="store_true", help="keep the old file as PATH.bak")


def add_span(parser: argparse.ArgumentParser, begin: str, end: str) -> None:
    """``--from`` and ``--until``; the words say what they are by default."""
    parser.add_argument("--from", dest="begin", metavar="T", type=moment, help=f"a Unix time or -6h (default: {begin})")
    parser.add_argument("--until", dest="end", metavar="T", type=moment, help=f"a Unix time or -1h (default: {end})")


def moment(text: str) -> int:
    """A Unix time, ``now``, or a time before now such as ``-90s``, ``-6h``, ``-2weeks``."""
    now = int(time.time())
    if text == "now":
        return now
    if text.startswith("-") and text[-1:].isalpha():
        try:
            return now - parseRetentionDef(f"{text[1:]}:1")[0]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a Unix time nor like -6h") from None


def retention(text: str) -> tuple[int, int]:
    """A retention definition as argparse wants it."""
    try:
        return parseRetentionDef(text)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def chosen(path: str | None, options: argparse.Namespace) -> tuple[list[str], bool]:
    """The files that the command line means, and whether it may be many.  Raises WrongArguments or OSError."""
    if options.files_from is not None:
        return list(listed(options.files_from)), True
    if path is None:
        raise WrongArguments("no file; give a path, or --files-from")
    if os.path.isdir(path):
        return list(whisper_files(path)), True
    return [path], False


def apply(
    path: str, change: Callable[[bytes], bytes | bytearray | None], *, dry_run: bool, backup: bool = False
) -> bool:
    """Put what `change` makes of the file in its place; whether that is (or would be) something else.

    That it has the name is on the disk when `work_through` returns.
    """
    if dry_run:
        with open(path, "rb") as file:
            data = file.read()
        after = change(data)
        return after is not None and after != data
    return rewrite(path, change, backup=f"{path}.bak" if backup else None, sync_name=False)


def work_through(
    work: Work, paths: Sequence[str], several: bool, options: argparse.Namespace, what: str, changes: bool = False
) -> int:
    """Do `work` for all paths and tell what became of them; the exit code."""
    # What is wrong with the only file is the command's own error.
    outcomes: Iterable[Outcome]
    if several:
        outcomes = with_progress(each(work, paths, options.jobs, waits=changes), len(paths), what, sys.stderr)
    else:
        outcomes = [work(paths[0])]
    dry_run = getattr(options, "dry_run", False)
    if changes and not dry_run:
        outcomes = synced(outcomes)
    return tell(outcomes, several, getattr(options, "json", False), dry_run, changes)


def synced(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """The same outcomes; in the end the names of changed files are on the disk, too."""
    directories = set()
    for outcome in outcomes:
        if outcome.changed:
            directories.add(os.path.dirname(os.path.realpath(outcome.path)))
        yield outcome
    for directory in sorted(directories):
        sync_directory(directory)


def tell(outcomes: Iterable[Outcome], several: bool, as_json: bool, dry_run: bool, changes: bool) -> int:
    """Print texts or JSON, errors to standard error, at the end of many files the counts; the exit code."""
    begun = time.monotonic()
    seen = changed = failed = 0
    write = sys.stdout.write
    for outcome in outcomes:
        seen += 1
        changed += outcome.changed
        if outcome.error:
            failed += 1
            print(f"[ERROR] {outcome.path}: {outcome.error}", file=sys.stderr)
        elif not as_json:
            write(outcome.text)
        elif outcome.record is not None:
            write(dumps(outcome.record, compact=several) + "\n")
    if several:
        done = f", {changed} {'would be ' if dry_run else ''}changed" if changes else ""
        sys.stdout.flush()
        print(f"{seen} files{done}, {failed} failed, {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return 1 if failed else 0


def dumps(record: Any, compact: bool = False) -> str:
    """JSON of plain values; what is not a finite number is null."""
    if compact:
        return json.dumps(_finite(record), separators=(",", ":"))
    return json.dumps(_finite(record), indent=2, separators=(",", ": "))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
