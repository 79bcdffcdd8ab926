"""``carbonpy catalog``: look into the index of known metrics, and bring it in line with the files.

The law: ``count``, ``find`` and ``list`` only read, and what they print goes to standard output, one name a line, so
that it can be piped.  ``rescan`` may run beside the daemon: it asks the daemon whether it holds points of a metric
before it takes one without a file out of the catalogue.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from carbonpy.catalog import Catalog, Progress, rescan_steps
from carbonpy.cli.cachequery import CacheAsker
from carbonpy.clock import Clock
from carbonpy.errors import CarbonError

if TYPE_CHECKING:
    from carbonpy.settings import Settings

#: Seconds between two lines of progress that go to a file, and between two updates on a terminal.
LINE_SECONDS, TERMINAL_SECONDS = 5.0, 0.1

_EPILOG = """\
examples:
  carbonpy catalog count --config /etc/carbon/carbon.conf
  carbonpy catalog find 'servers.*.cpu.*'            branches end with a dot
  carbonpy catalog find --leaves-only 'servers.**'
  carbonpy catalog list | grep ';dc='                every metric, tagged ones by name
  carbonpy catalog rescan                            after files were copied in or deleted by hand

The daemon adopts the whisper tree at its first start by itself.
Exit code of find: 0 when something matched, 1 when nothing did.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy catalog``."""
    options = argparse.ArgumentParser(
        prog="carbonpy catalog",
        description="List, search and reconcile the index of known metrics.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("action", choices=("rescan", "count", "find", "list"))
    options.add_argument("pattern", nargs="?", metavar="PATTERN", help="find: a path with wildcards")
    options.add_argument("--config", metavar="FILE", help="carbonpy.yaml or carbon.conf of the daemon")
    options.add_argument("--instance", metavar="X", default="a", help="name of the daemon's instance (default: a)")
    options.add_argument("--leaves-only", action="store_true", help="find: metrics only, no branches")
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy catalog`` with these arguments; its exit code."""
    options = parser().parse_intermixed_args(argv)
    if (options.action == "find") != (options.pattern is not None):
        parser().error("find takes one PATTERN" if options.action == "find" else f"{options.action} takes no PATTERN")
    from carbonpy import settings as table

    settings = table.load(options.config, instance=options.instance)
    path = settings.cache.catalog_file
    if options.action == "rescan":
        return _rescan(settings, sys.stderr)
    if not os.path.exists(path):
        raise CarbonError(f"there is no catalogue {path} yet; start the daemon or run: carbonpy catalog rescan")
    catalog = Catalog(path)
    try:
        if options.action == "count":
            print(catalog.count())
        elif options.action == "list":
            sys.stdout.writelines(f"{metric}\n" for metric in catalog.metrics())
        else:
            nodes = catalog.find(options.pattern, options.leaves_only)
            sys.stdout.writelines(f"{node.path}{'' if node.is_leaf else '.'}\n" for node in nodes)
            return 0 if nodes else 1
    finally:
        catalog.close()
    return 0


def _rescan(settings: Settings, errors: TextIO) -> int:
    root, path = settings.cache.local_data_dir, settings.cache.catalog_file
    new = not os.path.exists(path)
    catalog = Catalog(path)
    asker = CacheAsker(settings.cache.cache_query_interface, settings.cache.cache_query_port)
    try:
        if new:
            _give_to_owner_of(root, path)
        if not asker.connect():
            errors.write(f"no daemon answers at {asker.address}: taking it that none runs\n")
        show = Shown(errors, time.monotonic, errors.isatty())
        progress = Progress()
        for step in rescan_steps(root, catalog, asker.has_points, progress):
            show(step)
        print(f"{summary(progress)}; {catalog.count()} metrics in {path}")
    finally:
        asker.close()
        catalog.close()
    return 0


def _give_to_owner_of(root: str, path: str) -> None:
    """Let a catalogue that root has made belong to the user whose files it lists, who will want to write it."""
    if os.geteuid() == 0 and os.path.isdir(root):
        owner = os.stat(root)
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.chown(path + suffix, owner.st_uid, owner.st_gid)


def summary(progress: Progress) -> str:
    """The counts as a sentence."""
    text = f"{progress.files} files seen, {progress.added} metrics added, {progress.removed} removed"
    if progress.skipped:
        text += f", {progress.skipped} names skipped"
    if progress.unreadable:
        text += f", {progress.unreadable} places not readable"
    return f"{text} in {progress.seconds:.1f} s"


class Shown:
    """Writes progress to `stream`: one line that changes on a terminal, else a plain line every few seconds."""

    def __init__(self, stream: TextIO, clock: Clock, terminal: bool) -> None:
        self._write: Callable[[str], object] = stream.write
        self._flush = stream.flush
        self._clock = clock
        self._terminal = terminal
        self._next = clock() + (0.0 if terminal else LINE_SECONDS)

    def __call__(self, progress: Progress) -> None:
        """Show `progress` if it is time to, and on a terminal always when it is done."""
        if self._clock() < self._next and not (progress.done and self._terminal):
            return
        self._next = self._clock() + (TERMINAL_SECONDS if self._terminal else LINE_SECONDS)
        text = summary(progress)
        if progress.checked and not progress.done:
            text += f", {progress.checked} checked"
        if self._terminal:
            self._write(f"\r{text}\x1b[K{chr(10) if progress.done else ''}")
        else:
            self._write(f"{text}\n")
        self._flush()
