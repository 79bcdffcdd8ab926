"""``whisper rename``: another name for a file, or for a tree of files.

The law: nothing is ever replaced.  A file has the old name or the new one, and for a moment both; a directory moves in
one step.  A daemon that runs has to be told: it keeps the points that it holds under the old name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from carbonpy.cli.whisper.common import add_json, dumps, make_parser, parse
from carbonpy.errors import CarbonError
from carbonpy.metric import relative_path
from carbonpy.whisper.creation import sync_directory
from carbonpy.whisper.replacing import locked
from carbonpy.whisper.treelock import alone

_EPILOG = """\
OLD and NEW are paths, or with --root metric names. Directories on the way are made;
below --root, those that become empty are removed.
Beside a daemon, let the daemon do it, so that what it holds in memory follows.

examples:
  carbonpy whisper rename servers/db1/cpu.wsp servers/db2/cpu.wsp
  carbonpy whisper rename --root /srv/whisper servers.db1 servers.db2
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Rename a whisper file, or a directory of them.", _EPILOG)
    parser.add_argument("old", metavar="OLD", help="a file, a directory, or with --root a metric or a branch")
    parser.add_argument("new", metavar="NEW", help="what it is to be called; must not exist")
    parser.add_argument("--root", metavar="DIR", help="directory of the whisper tree; OLD and NEW are metrics")
    parser.add_argument("--dry-run", action="store_true", help="do not change anything, only say what would be done")
    add_json(parser)
    options = parse(parser, argv)
    old, new = options.old, options.new
    if options.root is not None:
        old, new = _paths(options.root, old, new)
    if not os.path.lexists(old):
        raise CarbonError(f"{old} does not exist")
    if os.path.lexists(new):
        raise CarbonError(f"{new} exists already; nothing is replaced")
    if not options.dry_run:
        rename(old, new, stop=options.root)
    if options.json:
        print(dumps({"from": old, "to": new, "changed": True}))
    else:
        sys.stdout.write(f"{'Would rename' if options.dry_run else 'Renamed'}: {old} -> {new}\n")
    return 0


def _paths(root: str, old: str, new: str) -> tuple[str, str]:
    """Paths of two metrics, or of two branches if the first is one."""
    one, other = (os.path.join(root, relative_path(name)) for name in (old, new))
    if not os.path.exists(one) and os.path.isdir(one.removesuffix(".wsp")):
        return one.removesuffix(".wsp"), other.removesuffix(".wsp")
    return one, other


def rename(old: str, new: str, stop: str | None = None) -> None:
    """Give a file or a directory another name, never replacing anything; empty directories go, up to `stop`.

    Raises CarbonError or OSError.
    """
    directory = os.path.dirname(new) or "."
    os.makedirs(directory, exist_ok=True)
    if os.path.isdir(old):
        with alone(old):
            os.rename(old, new)  # rename(2) puts a directory at most in the place of an empty one
    else:
        with locked(old):
            try:
                os.link(old, new)
            except FileExistsError:
                raise CarbonError(f"{new} exists already; nothing is replaced") from None
            os.unlink(old)
    sync_directory(directory)
    above = os.path.dirname(os.path.abspath(old))
    limit = os.path.abspath(stop) if stop is not None else above
    while above != limit and len(above) > len(limit):
        try:
            os.rmdir(above)
        except OSError:
            return
        above = os.path.dirname(above)
