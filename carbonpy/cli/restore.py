"""``carbonpy restore``: files of a backup into a tree, verified.

The law: a file is written whole beside its place, and what is there is not replaced unless ``--overwrite``; a run that
was ended goes on when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from carbonpy.cli.progress import Progress, duration
from carbonpy.cli.trees import CODES, parser_for, prefixed
from carbonpy.errors import CarbonError
from carbonpy.upkeep.backup import restore
from carbonpy.upkeep.packs import Entry, PackReader, list_path, read_list, snapshots

_EPILOG = f"""\
examples:
  carbonpy restore --list /mnt/backup/graphite
  carbonpy restore --verify /mnt/backup/graphite
  carbonpy restore --to /srv/graphite/storage/whisper /mnt/backup/graphite
  carbonpy restore --to /srv/whisper --below servers.web --snapshot 20240131T030000Z /mnt/backup/graphite

Beside a running daemon, too; afterwards: carbonpy catalog rescan, so that names that are new are found.

{CODES}
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy restore``."""
    options = parser_for("restore", "Restore files of a backup.", _EPILOG)
    options.add_argument("directory", metavar="DIRECTORY", help="where carbonpy backup has put the backups")
    options.add_argument("--to", metavar="DIR", help="the tree that gets the files")
    options.add_argument("--snapshot", metavar="TIME", help="which backup (default: the newest)")
    options.add_argument("--below", metavar="PREFIX", help="only metrics below this dotted prefix")
    options.add_argument("--overwrite", action="store_true", help="replace files that differ")
    options.add_argument("--owners", action="store_true", help="give files the users and groups that they had")
    options.add_argument("--list", action="store_true", help="only list the backups")
    options.add_argument("--verify", action="store_true", help="only read the backup and check everything")
    options.add_argument("--dry-run", action="store_true", help="only list the files that are meant")
    options.add_argument("--json", action="store_true", help="one object a line")
    options.add_argument("--quiet", action="store_true", help="no progress")
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy restore`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    if not (options.list or options.verify or options.dry_run or options.to):
        parser().error("where to? give --to DIR, or --list, --verify or --dry-run")
    names = snapshots(options.directory)
    if not names:
        raise CarbonError(f"{options.directory}: there is no complete backup in it")
    if options.list:
        return _list(options, names)
    name = options.snapshot or names[-1]
    if name not in names:
        raise CarbonError(f"there is no backup {name}; there are {', '.join(names[-10:])}")
    _, entries = read_list(list_path(options.directory, name))
    below = prefixed(options.below)
    if below:
        entries = [one for one in entries if one.path.startswith(below + "/") or one.path == below + ".wsp"]
    if options.dry_run:
        for entry in entries:
            print(json.dumps(entry._asdict()) if options.json else entry.path)
        return 0
    return _verify(options, entries) if options.verify else _restore(options, name, entries)


def _list(options: argparse.Namespace, names: Sequence[str]) -> int:
    for name in names:
        head, entries = read_list(list_path(options.directory, name))
        size = sum(entry.size for entry in entries)
        if options.json:
            print(json.dumps({"snapshot": name, "root": head["root"], "files": len(entries), "bytes": size}))
        else:
            print(f"{name}  {len(entries)} files, {size:,} bytes, of {head['root']}")
    return 0


def _verify(options: argparse.Namespace, entries: Sequence[Entry]) -> int:
    reader = PackReader(options.directory)
    progress = Progress(sys.stderr, "verifying", len(entries), quiet=options.quiet)
    failed = 0
    for entry in entries:
        try:
            reader.get(entry)
        except CarbonError as error:
            failed += 1
            print(f"[ERROR] {error}", file=sys.stderr)
        progress.step()
    progress.close()
    reader.close()
    print(f"{len(entries)} files verified, {failed} damaged, {duration(progress.seconds)}")
    return 1 if failed else 0


def _restore(options: argparse.Namespace, name: str, entries: list[Entry]) -> int:
    progress = Progress(sys.stderr, "restoring", len(entries), quiet=options.quiet)
    counts = {"restored": 0, "same": 0, "kept": 0, "failed": 0}
    root = os.path.abspath(options.to)
    for one in restore(options.directory, entries, root, overwrite=options.overwrite, owners=options.owners):
        counts[one.what] += 1
        if options.json:
            print(json.dumps({"path": one.path, "what": one.what, "why": one.why}))
        if one.what in ("failed", "kept"):
            print(f"[{'ERROR' if one.what == 'failed' else 'KEPT'}] {one.path}: {one.why}", file=sys.stderr)
        progress.step()
    progress.close()
    sys.stdout.flush()
    text = f"{name}: {counts['restored']} files restored, {counts['same']} are there already"
    text += f", {counts['kept']} others are in the way" if counts["kept"] else ""
    print(f"{text}, {counts['failed']} failed, {duration(progress.seconds)}", file=sys.stderr)
    return 1 if counts["failed"] or counts["kept"] else 0
