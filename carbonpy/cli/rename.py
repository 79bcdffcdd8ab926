"""``carbonpy rename``: a metric gets another name, with its file, its cached points and its place in the index.

The law: nothing is ever replaced.  What senders go on sending under the old name begins a new metric.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from carbonpy.cli.daemonlink import add_daemon_options
from carbonpy.cli.removal import Remover
from carbonpy.cli.trees import add_tree_options, parsed, parser_for, settings_of
from carbonpy.errors import CarbonError, MetricError
from carbonpy.metric import canonical

_EPILOG = """\
examples:
  carbonpy rename servers.web01.cpu servers.web-01.cpu
  carbonpy rename disk.used 'disk.used;host=a;mount=root'
  carbonpy rename --offline --tree /srv/copy a.b c.d

While a daemon runs it does the work, so that its cache, its index of names and the files agree; it needs its HTTP port.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy rename``."""
    options = parser_for("rename", "Rename a metric: file, cached points and index.", _EPILOG)
    options.add_argument("old", metavar="OLD", help="the name that it has")
    options.add_argument("new", metavar="NEW", help="the name that it gets")
    add_tree_options(options)
    add_daemon_options(options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy rename`` with these arguments; its exit code."""
    options = parsed(parser(), argv)
    try:
        old, new = canonical(options.old), canonical(options.new)
    except MetricError as error:
        raise CarbonError(str(error)) from None
    points = Remover(options, settings_of(options)).rename(old, new)
    print(f"renamed {old} to {new}" + (f", with {points} points in the cache" if points else ""), file=sys.stderr)
    return 0
