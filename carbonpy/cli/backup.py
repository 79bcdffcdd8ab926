"""``carbonpy backup``: a copy of the tree beside the running daemon; what has not changed is not copied again.

The law: a backup that was not finished is no backup; the next run goes on with what it has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from carbonpy.cli.progress import Progress, duration
from carbonpy.cli.trees import add_tree_options, parsed, parser_for, prefixed, root_of, settings_of
from carbonpy.errors import CarbonError
from carbonpy.upkeep.backup import Backup, prune

_EPILOG = """\
examples:
  carbonpy backup /mnt/backup/graphite                     the daemon's tree; incremental from the second time on
  carbonpy backup --config /etc/carbon/carbon.conf --keep 14 /mnt/backup/graphite
  carbonpy backup --tree /srv/whisper --below servers /mnt/backup/servers

Each file is copied as it was at one moment.  Points that are in the daemon's cache only are not in it.
docs/operations.rst describes the format; carbonpy restore reads it.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy backup``."""
    options = parser_for("backup", "Back up the tree, beside a running daemon.", _EPILOG)
    options.add_argument("directory", metavar="DIRECTORY", help="where the backups are; made if missing")
    options.add_argument("--below", metavar="PREFIX", help="only metrics below this dotted prefix")
    options.add_argument("--full", action="store_true", help="read every file again, changed or not")
    options.add_argument("--keep", metavar="N", type=int, help="then remove all but the newest N backups")
    options.add_argument("--json", action="store_true", help="print the result as JSON")
    options.add_argument("--quiet", action="store_true", help="no progress")
    add_tree_options(options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy backup`` with these arguments; its exit code."""
    options = parsed(parser(), argv)
    if options.keep is not None and options.keep < 1:
        parser().error("--keep needs a number from 1 on")
    root = root_of(options, settings_of(options))
    directory = os.path.abspath(options.directory)
    if (directory + os.sep).startswith(os.path.realpath(root) + os.sep):
        raise CarbonError(f"{directory} is inside the tree itself; keep backups elsewhere")
    counts = {"kept": 0, "same": 0, "failed": 0}
    size = 0
    try:
        backup = Backup(root, directory, full=options.full)
        progress = Progress(sys.stderr, "backing up", quiet=options.quiet)
        for one in backup.run(prefixed(options.below)):
            counts[one.what] += 1
            size += one.size
            if one.what == "failed":
                print(f"[ERROR] {one.path}: {one.why}", file=sys.stderr)
            progress.step()
        progress.close()
        removed = prune(directory, options.keep) if options.keep else (0, 0)
    except OSError as error:
        raise CarbonError(f"{error.filename or directory}: {error.strerror or error}") from None
    told = {
        "snapshot": backup.name,
        "files": sum(counts.values()),
        "changed": counts["kept"],
        "failed": counts["failed"],
        "bytes": size,
        "written": backup.written,
        "removed": removed[0],
        "freed": removed[1],
    }
    if options.json:
        print(json.dumps(told))
    else:
        text = f"{backup.name}: {told['files']} files of {size:,} bytes, {counts['kept']} of them new or changed"
        text += f" ({backup.written:,} bytes written), {counts['failed']} failed, {duration(progress.seconds)}"
        if options.keep:
            text += f"; {removed[0]} old backups removed, {removed[1]:,} bytes freed"
        print(text)
    return 1 if counts["failed"] else 0
