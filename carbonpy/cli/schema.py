"""``carbonpy schema``: which files are not as the rules want them, and make them so while the daemon runs.

The law: ``diff`` only reads.  ``migrate`` changes nothing that ``diff`` does not name, and may be ended and started
again at any time: what is done is passed over.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from carbonpy.cli.progress import Progress, duration
from carbonpy.cli.trees import (
    Pace,
    add_tree_options,
    catalog_of,
    names_of,
    parsed,
    parser_for,
    positive,
    prefixed,
    root_of,
    rules_of,
    settings_of,
)
from carbonpy.upkeep.migration import Difference, Scan, migrate
from carbonpy.whisper.layout import Header

_EPILOG = """\
examples:
  carbonpy schema diff --config /etc/carbon/carbon.conf
  carbonpy schema diff --below servers.web --json
  carbonpy schema migrate --dry-run
  carbonpy schema migrate --rate 50                 beside the daemon, at most 50 files a second

diff: exit code 1 when files differ, 0 when none does.
Files of tagged metrics need the catalogue, which knows their names; those it does not know are left out and counted.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy schema``."""
    options = parser_for("schema", "Find and mend files that differ from the rules files.", _EPILOG)
    options.add_argument("action", choices=("diff", "migrate"))
    options.add_argument("--below", metavar="PREFIX", help="only metrics below this dotted prefix")
    options.add_argument("--limit", metavar="N", type=int, help="no more than N files")
    options.add_argument("--json", action="store_true", help="one object a line")
    options.add_argument("--quiet", action="store_true", help="no line for each file and no progress")
    options.add_argument("--dry-run", action="store_true", help="migrate: only say what would be done")
    options.add_argument(
        "--rate",
        metavar="N",
        type=positive,
        default=200.0,
        help="migrate: files a second (default: 200; inf: no limit)",
    )
    options.add_argument(
        "--spread", action="store_true", help="migrate: a coarse value goes to all the finer slots of its span"
    )
    options.add_argument(
        "--no-fsync", action="store_true", help="migrate: leave it to the system when files are on disk"
    )
    add_tree_options(options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy schema`` with these arguments; its exit code."""
    options = parsed(parser(), argv)
    settings = settings_of(options)
    root = root_of(options, settings)
    book = rules_of(settings, lambda warning: print(f"carbonpy schema: warning: {warning}", file=sys.stderr))
    with catalog_of(settings, options.tree) as catalog:
        scan = Scan(root, book.header, names_of(catalog))
        if options.action == "diff" or options.dry_run:
            return _diff(options, scan)
        return _migrate(options, root, scan)


def _diff(options: argparse.Namespace, scan: Scan) -> int:
    differ = unreadable = 0
    for difference in itertools.islice(scan.differences(prefixed(options.below)), options.limit):
        differ += difference.before is not None
        unreadable += difference.before is None
        _show(difference, options)
    _say(options, f"{scan.files} files, {differ} differ{_others(scan, unreadable)}")
    return 1 if unreadable or (differ and options.action == "diff") else 0


def _show(difference: Difference, options: argparse.Namespace, **more: Any) -> None:
    if options.json:
        print(json.dumps({**record(difference), **more}, separators=(",", ":")))
    elif difference.before is None:
        print(f"[ERROR] {difference.path}: {difference.why}", file=sys.stderr)
    elif not options.quiet:
        print(f"{difference.metric:<50} {'  '.join(told(difference))}")


def _others(scan: Scan, unreadable: int) -> str:
    text = f", {unreadable} cannot be read" if unreadable else ""
    if scan.nameless:
        text += f", {scan.nameless} left out (tagged metrics whose names the catalogue does not know)"
    return text


def _say(options: argparse.Namespace, sentence: str) -> None:
    sys.stdout.flush()
    print(sentence, file=sys.stderr)


def archives(header: Header) -> str:
    """``10:360,60:1440``: seconds and points of each archive."""
    return ",".join(f"{archive.step}:{archive.points}" for archive in header.archives)


def told(difference: Difference) -> list[str]:
    """What differs, in words."""
    before, after = difference.before, difference.after
    assert before is not None and after is not None
    words = []
    if archives(before) != archives(after):
        words.append(f"{archives(before)} -> {archives(after)}")
    if before.method != after.method:
        words.append(f"{before.method_name} -> {after.method_name}")
    if before.xff != after.xff:
        words.append(f"xFilesFactor {before.xff:g} -> {after.xff:g}")
    return words or ["another order of archives in the file"]


def record(difference: Difference) -> dict[str, Any]:
    """The same for JSON."""

    def of(header: Header | None) -> dict[str, Any] | None:
        if header is None:
            return None
        return {
            "archives": [[archive.step, archive.points] for archive in header.archives],
            "aggregationMethod": header.method_name,
            "xFilesFactor": header.xff,
            "fileSize": header.file_size,
        }

    found = {"metric": difference.metric, "path": difference.path}
    found |= {"is": of(difference.before), "should": of(difference.after)}  # type: ignore[dict-item]
    return {**found, "error": difference.why} if difference.why else found


def _migrate(options: argparse.Namespace, root: str, scan: Scan) -> int:
    looking = Progress(sys.stderr, "looking", quiet=options.quiet)
    wanted: list[Difference] = []
    unreadable = 0
    for difference in scan.differences(prefixed(options.below)):
        looking.step()
        if difference.before is None:
            unreadable += 1
            _show(difference, options)
        elif options.limit is None or len(wanted) < options.limit:
            wanted.append(difference)
    looking.close()
    by_path = {difference.path: difference for difference in wanted}
    progress = Progress(sys.stderr, "migrating", len(wanted), quiet=options.quiet)
    done = failed = passed = 0
    grown = 0
    for one in migrate(root, wanted, spread=options.spread, durable=not options.no_fsync, rest=Pace(options.rate)):
        difference = by_path[one.path]
        if one.done:
            done += 1
            assert difference.before is not None and difference.after is not None
            grown += difference.after.file_size - difference.before.file_size
        elif os.path.exists(os.path.join(root, one.path)) and "already" not in one.why:
            failed += 1
            print(f"[ERROR] {one.path}: {one.why}", file=sys.stderr)
        else:
            passed += 1
        if options.json:
            _show(difference, options, migrated=one.done, **({} if one.done else {"why": one.why}))
        progress.step()
    progress.close()
    text = f"{scan.files} files, {done} migrated"
    text += f", {passed} not needed any more" if passed else ""
    text += f", {failed} failed" if failed else ""
    _say(options, f"{text}{_others(scan, unreadable)}, {grown:+,} bytes, {duration(progress.seconds)}")
    return 1 if failed or unreadable else 0
