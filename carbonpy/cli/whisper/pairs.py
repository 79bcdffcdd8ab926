"""Two files, or two trees with files of the same names: what merge, fill and diff work on.

The law: a tree is walked on its first side; a file that has no twin on the second is left out and counted, unless it
is to be made (``--create``).
"""

from __future__ import annotations

import argparse
import os
import sys

from carbonpy.cli.whisper.crowd import listed, whisper_files
from carbonpy.cli.whisper.table import WrongArguments
from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import creating
from carbonpy.whisper.image import parse_image


def add_create(parser: argparse.ArgumentParser) -> None:
    """``--create``: files that only the first tree has."""
    parser.add_argument("--create", action="store_true", help="copy files that the second directory does not have")


def other_of(path: str, first: str, second: str) -> str:
    """The twin of a file of the tree `first` in the tree `second`."""
    return second if path == first else os.path.join(second, os.path.relpath(path, first))


def pairs(first: str, second: str, options: argparse.Namespace) -> tuple[list[str], bool]:
    """The paths on the first side, and whether they are many.  Raises CarbonError or OSError."""
    several = os.path.isdir(first)
    if several != os.path.isdir(second):
        for path in (first, second):
            if not os.path.exists(path):
                raise CarbonError(f'File "{path}" does not exist!')
        raise WrongArguments(f"{first} and {second} must both be files, or both be directories")
    if not several:
        for path in (first, second):
            if not os.path.exists(path):
                raise CarbonError(f'File "{path}" does not exist!')
        if options.files_from is not None:
            raise WrongArguments("--files-from needs two directories")
        return [first], False
    if options.files_from is not None:
        every = [os.path.join(first, name) for name in listed(options.files_from)]
    else:
        every = list(whisper_files(first))
    there: list[str] = []
    missing: list[str] = []
    for path in every:
        (there if os.path.exists(other_of(path, first, second)) else missing).append(path)
    if missing and getattr(options, "create", False):
        for path in missing:
            if not options.dry_run:
                copy(path, other_of(path, first, second))
        print(f"{len(missing)} files {'would be ' if options.dry_run else ''}copied to {second}", file=sys.stderr)
    elif missing:
        print(f"{len(missing)} files of {first} are not in {second} and are left out", file=sys.stderr)
    return there, True


def copy(path: str, target: str) -> None:
    """Make `target` a copy of the file `path`, complete or not at all.  Raises CarbonError or OSError."""
    with open(path, "rb") as file:
        data = file.read()
    header = parse_image(data, path)
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    with creating(target, header) as fd:
        os.pwrite(fd, data, 0)
