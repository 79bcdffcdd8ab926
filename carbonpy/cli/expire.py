"""``carbonpy expire``: metrics that nobody has sent for long go, by rules for patterns of names.

The law: without ``--delete`` nothing is changed, only shown.  A metric that gets a point, or whose file is written to,
while the command looks at others is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from carbonpy.cli.daemonlink import add_daemon_options
from carbonpy.cli.progress import Progress
from carbonpy.cli.removal import PORTION, Remover
from carbonpy.cli.trees import add_tree_options, catalog_of, names_of, parsed, parser_for, prefixed, settings_of
from carbonpy.errors import ConfigError
from carbonpy.rules.expiry import POINTS, WRITTEN, ExpiryBook, one_rule
from carbonpy.upkeep.expiry import Expired, Expiry
from carbonpy.upkeep.removal import DELETED, FAILED, KEPT

_EPILOG = """\
examples:
  carbonpy expire --rules /etc/carbon/expiry.conf              what would go
  carbonpy expire --rules /etc/carbon/expiry.conf --delete
  carbonpy expire --pattern '^test[.]' --after 7d --delete
  carbonpy expire --pattern . --after 1y --by written --json

A rules file has sections as storage-schemas.conf has, with pattern, after (90d, or never) and by (points or written);
the first one that matches decides, and what none matches stays.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy expire``."""
    options = parser_for("expire", "Delete metrics that have had no points for long.", _EPILOG)
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--rules", metavar="FILE", help="rules for patterns of names")
    which.add_argument("--pattern", metavar="REGEX", help="one rule: for names in which this is found")
    options.add_argument("--after", metavar="AGE", help="with --pattern: how long without a point, like 90d")
    options.add_argument("--by", choices=(POINTS, WRITTEN), default=POINTS, help="with --pattern: what counts")
    options.add_argument("--below", metavar="PREFIX", help="only metrics below this dotted prefix")
    options.add_argument("--delete", action="store_true", help="delete them; else only say which")
    options.add_argument("--json", action="store_true", help="one object a line")
    options.add_argument("--quiet", action="store_true", help="no line for each metric and no progress")
    add_tree_options(options)
    add_daemon_options(options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy expire`` with these arguments; its exit code."""
    options = parsed(parser(), argv)
    if options.pattern is not None and options.after is None:
        parser().error("--pattern needs --after")
    book = one_rule(options.pattern, options.after, options.by) if options.pattern is not None else _read(options.rules)
    settings = settings_of(options)
    remover = Remover(options, settings)
    begun = time.time()
    with catalog_of(settings, options.tree) as catalog:
        expiry = Expiry(remover.root, book, names_of(catalog), begun)
        progress = Progress(sys.stderr, "looking", quiet=options.quiet)
        found: list[Expired] = []
        for one in expiry.expired(prefixed(options.below)):
            found.append(one)
            progress.step(expiry.files - progress.done)
            if not options.delete:
                _show(one, options)
        progress.close()
    size = sum(one.size for one in found)
    others = f", {expiry.nameless} left out (names unknown)" if expiry.nameless else ""
    others += f", {expiry.unreadable} cannot be read" if expiry.unreadable else ""
    sys.stdout.flush()
    if not options.delete:
        print(f"{expiry.files} files, {len(found)} would go, {size:,} bytes{others}", file=sys.stderr)
        return 0
    return _delete(options, remover, found, begun, f"{expiry.files} files{others}")


def _delete(options: argparse.Namespace, remover: Remover, found: list[Expired], begun: float, head: str) -> int:
    progress = Progress(sys.stderr, "deleting", len(found), "metrics", quiet=options.quiet)
    counts = {DELETED: 0, KEPT: 0, FAILED: 0}
    by_name = {one.metric: one for one in found}
    size = 0
    for start in range(0, len(found), PORTION):
        portion = [one.metric for one in found[start : start + PORTION]]
        for one in remover.delete(portion, begun):
            counts[one.what] = counts.get(one.what, 0) + 1
            if one.what == FAILED:
                print(f"[ERROR] {one.metric}: {one.why}", file=sys.stderr)
            if one.what == DELETED and one.metric in by_name:
                size += by_name[one.metric].size
                _show(by_name[one.metric], options)
            progress.step()
    progress.close()
    sys.stdout.flush()
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == DELETED)
    print(f"{head}, {told}, {size:,} bytes", file=sys.stderr)
    return 1 if counts[FAILED] else 0


def _read(path: str) -> ExpiryBook:
    try:
        with open(path, encoding="utf-8") as file:
            return ExpiryBook.parse(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _show(one: Expired, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(one._asdict()))
    elif not options.quiet:
        print(f"{one.metric}  last {time.strftime('%Y-%m-%d %H:%M', time.localtime(one.last))}")
