"""``whisper resize``: other archives, method or xFilesFactor, from the best that a file knows.

The law: what is kept is that of `carbonpy.whisper.resizing`, with or without ``--aggregate``.  The names of the
files are those of whisper-resize.py: the old one becomes PATH.bak unless ``--nobackup`` is given.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from carbonpy.cli.whisper.common import (
    RETENTIONS,
    add_crowd,
    add_json,
    chosen,
    make_parser,
    parse,
    retention,
    work_through,
)
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import creating
from carbonpy.whisper.errors import CorruptWhisperFile
from carbonpy.whisper.layout import METHOD_CODES, Header, make_header, parse_header
from carbonpy.whisper.replacing import rewrite
from carbonpy.whisper.resizing import changed_header, resize

_EPILOG = f"""\
{RETENTIONS}
Each slot of the new archives gets the finest data that covers it: fine values are aggregated anew with the method of
the file (or the new one), coarse values are kept where nothing finer is left.

examples:
  carbonpy whisper resize cpu.wsp 10s:6h 1m:30d
  carbonpy whisper resize --aggregationMethod max --nobackup cpu.wsp 10s:6h 1m:7d
  carbonpy whisper resize --dry-run --json /srv/whisper/servers 10s:6h 1m:30d
  find /srv/whisper -name 'cpu*.wsp' | carbonpy whisper resize --files-from - 10s:6h 1m:30d
"""


class Wish(NamedTuple):
    """What files are to become, and how.  Immutable; None leaves things as they are."""

    archives: list[tuple[int, int]] | None
    xff: float | None = None
    method: str | None = None
    spread: bool = False
    force: bool = False
    backup: bool = True
    dry_run: bool = False
    newfile: str | None = None
    durable: bool = True


class Resized(NamedTuple):
    """What became of a file: its headers before and after, whether it was (or would be) replaced."""

    before: Header
    after: Header
    changed: bool


def resize_file(path: str, wish: Wish) -> Resized:
    """Resize one file as wished.  Raises CarbonError or OSError; the file is then as it was."""
    headers: list[Header] = []

    def change(data: bytes) -> bytes | None:
        before = parse_header(data, path)
        if len(data) < before.file_size:
            if not wish.force:
                raise CorruptWhisperFile(
                    f"The file is cut short: {len(data)} bytes of {before.file_size}; --force keeps what is left", path
                )
            data = data.ljust(before.file_size, b"\0")
        after = changed_header(before, wish.archives, wish.xff, wish.method)
        headers[:] = before, after
        if wish.dry_run:
            return None
        return resize(data, path, after, int(time.time()), spread=wish.spread)

    if wish.newfile is None and not wish.dry_run:
        done = rewrite(
            path, change, backup=f"{path}.bak" if wish.backup else None, durable=wish.durable, sync_name=False
        )
        return Resized(headers[0], headers[1], done)
    with open(path, "rb") as file:
        made = change(file.read())
    if made is not None and wish.newfile is not None:
        with creating(wish.newfile, headers[1], fsync=wish.durable) as fd:
            os.pwrite(fd, made, 0)
    return Resized(headers[0], headers[1], True)


def archives_text(header: Header) -> str:
    """``60:1440 300:2016``."""
    return " ".join(f"{archive.step}:{archive.points}" for archive in header.archives)


def outcome_of(path: str, done: Resized, wish: Wish) -> Outcome:
    """One line of text, and the same as JSON."""
    before, after, _ = done
    same = before == after
    what = "stays as it is" if same else f"{archives_text(before)} -> {archives_text(after)}"
    if before.method != after.method:
        what += f", {before.method_name} -> {after.method_name}"
    if before.xff != after.xff:
        what += f", xFilesFactor {before.xff:g} -> {after.xff:g}"
    record = {
        "path": path,
        "changed": not same,
        "dryRun": wish.dry_run,
        "from": [[archive.step, archive.points] for archive in before.archives],
        "to": [[archive.step, archive.points] for archive in after.archives],
        "aggregationMethod": after.method_name,
        "xFilesFactor": after.xff,
        "fileSize": after.file_size,
    }
    return Outcome(path, f"{path}: {what}\n", record=record, changed=not same)


def _work(wish: Wish, path: str) -> Outcome:
    return outcome_of(path, resize_file(path, wish), wish)


def _alone(path: str, wish: Wish, aggregate: bool) -> Outcome:
    """The lines that whisper-resize.py prints."""
    lines = ["Retrieving all data from the archives"]
    made = wish.newfile or f"{path}.tmp"
    done = resize_file(path, wish)
    if wish.dry_run:
        return outcome_of(path, done, wish)
    if not done.changed:
        return outcome_of(path, done, wish)._replace(text=f"{path}: is so already and stays as it is\n")
    lines += [
        f"Creating new whisper database: {made}",
        f"Created: {made} ({done.after.file_size} bytes)",
        f"Migrating data {'with' if aggregate else 'without'} aggregation...",
    ]
    if wish.newfile is None:
        backup = f"{path}.bak"
        lines += [f"Renaming old database to: {backup}", f"Renaming new database to: {path}"]
        if not wish.backup:
            lines.append(f"Unlinking backup: {backup}")
    outcome = outcome_of(path, done, wish)
    return outcome._replace(text="\n".join(lines) + "\n")


def add_resize_options(parser: argparse.ArgumentParser) -> None:
    """What whisper-resize.py has, and what is new."""
    parser.add_argument("--xFilesFactor", type=float, metavar="X", help="the new xFilesFactor (default: the file's)")
    parser.add_argument(
        "--aggregationMethod", metavar="M", choices=list(METHOD_CODES),
        help=f"the new method, one of {', '.join(METHOD_CODES)} (default: the file's)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="also resize a file that is cut short; its rest is empty")
    parser.add_argument("--nobackup", action="store_true", help="keep no PATH.bak")
    parser.add_argument("--aggregate", action="store_true", help="accepted; values are always aggregated where it fits")
    parser.add_argument(
        "--spread", action="store_true",
        help="a value that only a coarser archive has goes to all finer slots of its span, not only to the first",
    )  # fmt: skip
    parser.add_argument("--nosync", action="store_true", help="do not wait for the disk (a power cut may cost a file)")


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Give whisper files other archives, keeping all that they know.", _EPILOG)
    parser.add_argument("words", nargs="*", metavar="PATH RETENTION...", help="a file or a directory; the new archives")
    add_resize_options(parser)
    parser.add_argument("--newfile", metavar="F", help="make this file and leave PATH as it is")
    parser.add_argument("--dry-run", action="store_true", help="do not change anything, only say what would be done")
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    words: list[str] = options.words
    path = None if options.files_from is not None else words.pop(0) if words else None
    if not words or (path is None and options.files_from is None):
        parser.error("give a path and at least one retention, for example: cpu.wsp 10s:6h 1m:30d")
    try:
        archives = [retention(word) for word in words]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    wish = Wish(
        archives, options.xFilesFactor, options.aggregationMethod, options.spread, options.force,
        not options.nobackup, options.dry_run, options.newfile, not options.nosync,
    )  # fmt: skip
    if path is not None and not os.path.exists(path):
        raise CarbonError(f"File '{path}' does not exist!")
    paths, several = chosen(path, options)
    if several and options.newfile:
        parser.error("--newfile is for one file")
    # What is wrong is wrong for all files.
    make_header(archives, 0.5 if wish.xff is None else wish.xff, wish.method or "average")
    work = partial(_work, wish) if several else partial(_alone, wish=wish, aggregate=options.aggregate)
    return work_through(work, paths, several, options, "resize", changes=True)
