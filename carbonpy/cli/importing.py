"""``carbonpy import``: datapoints out of files of other programs, to a daemon or into a tree.

The law: a line that cannot be read costs itself and is told with its number.  To a daemon points go as pickles, as any
sender's do; into a tree they are written as a daemon's writer would, which is refused while one runs.
Exit codes: 0 all went in, 1 some lines were refused or some points not taken, 2 wrong options, 3 no connection.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from carbonpy.cli.connection import Connection
from carbonpy.cli.progress import Progress
from carbonpy.cli.send import Point, encode_pickle, send_with_patience
from carbonpy.cli.trees import add_tree_options, catalog_of, daemon_runs, parsed, rules_of, settings_of
from carbonpy.columns import Columns
from carbonpy.errors import CarbonError
from carbonpy.upkeep.texts import FORMATS, PRECISIONS, Datum, Refused, read

if TYPE_CHECKING:
    from carbonpy.settings import Settings

#: Datapoints that go to the daemon at once; refused lines that are shown one by one.
_AT_ONCE, _SHOWN = 10_000, 20
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_EPILOG = """\
examples:
  carbonpy import --format csv points.csv                        to the daemon of this machine
  carbonpy import --format influx --host graphite.example.org < lines.txt
  curl -s http://127.0.0.1:9100/metrics | carbonpy import --format prometheus
  carbonpy import --format jsonl --tree /srv/whisper --config /etc/carbon/carbon.conf everything.jsonl

csv         metric, timestamp, value; a first line may name the columns
jsonl       {"metric": .., "timestamp": .., "value": ..}, or with "points" or Graphite's "datapoints"
influx      InfluxDB's line protocol; tags become tags, a field "value" has the measurement's own name
prometheus  text exposition; labels become tags

exit codes: 0 all went in, 1 some lines were refused or points not taken, 2 wrong options, 3 no connection
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy import``."""
    options = argparse.ArgumentParser(
        prog="carbonpy import",
        description="Read datapoints of other programs into metrics.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("files", nargs="*", metavar="FILE", help="what to read (default: standard input)")
    options.add_argument("--format", choices=FORMATS, required=True)
    options.add_argument("--precision", choices=tuple(PRECISIONS), default="ns", help="influx: unit of the timestamps")
    options.add_argument("--timestamp", metavar="T", type=float, help="of points that have none (default: now)")
    options.add_argument("--prefix", metavar="P", default="", help="put P. before every name")
    options.add_argument("--host", metavar="H", help="the daemon (default: the one of --config)")
    options.add_argument("--port", metavar="N", type=int, help="its pickle port (default: the one of --config)")
    options.add_argument("--offline", action="store_true", help="into the tree of --config, which no daemon may use")
    options.add_argument("--dry-run", action="store_true", help="only read and say what is refused")
    options.add_argument("--quiet", action="store_true", help="no progress")
    add_tree_options(options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy import`` with these arguments; its exit code."""
    options = parsed(parser(), argv)
    settings = settings_of(options)
    source = _Source(options)
    if options.dry_run:
        points = sum(1 for _ in source.points())
        return source.tell(f"{points} points can be read")
    if options.offline or options.tree:
        return _into_tree(options, settings, source)
    return _to_daemon(options, settings, source)


class _Source:
    """The points of all files, and what is said of the others."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.refused = 0
        self.passed = 0

    def points(self) -> Iterator[Datum]:
        """The points, in order."""
        options = self._options
        now = time.time() if options.timestamp is None else options.timestamp
        prefix = f"{options.prefix.strip('.')}." if options.prefix else ""
        progress = Progress(sys.stderr, "importing", unit="points", quiet=options.quiet)
        for name in options.files or ["-"]:
            with ExitStack() as stack:
                if name == "-":
                    lines = sys.stdin
                else:
                    lines = stack.enter_context(open(name, encoding="utf-8", errors="replace", newline="\n"))
                for one in read(options.format, lines, now, options.precision):
                    if isinstance(one, Refused):
                        self._refuse(name, one)
                    else:
                        progress.step()
                        yield one._replace(metric=prefix + one.metric) if prefix else one
        progress.close()

    def _refuse(self, name: str, one: Refused) -> None:
        if one.quiet:
            self.passed += 1
            return
        self.refused += 1
        if self.refused <= _SHOWN:
            print(f"[REFUSED] {name}:{one.line}: {one.why}", file=sys.stderr)

    def tell(self, text: str, failed: bool = False) -> int:
        """The last line, and the exit code."""
        if self.passed:
            text += f", {self.passed} without a number passed over"
        print(f"{text}, {self.refused} lines refused", file=sys.stderr)
        return 1 if self.refused or failed else 0


def _to_daemon(options: argparse.Namespace, settings: Settings, source: _Source) -> int:
    cache = settings.cache
    interface = cache.pickle_receiver_interface
    host = options.host or _ANYWHERE.get(interface, interface)
    port = options.port or cache.pickle_receiver_port
    if not port:
        raise CarbonError("the daemon takes no pickles (PICKLE_RECEIVER_PORT = 0); give --port")
    connection = Connection(host, port, 60.0)
    sent = 0
    points = source.points()
    try:
        while some := list(itertools.islice(points, _AT_ONCE)):
            data = encode_pickle([Point(one.metric, one.value, one.timestamp) for one in some])
            send_with_patience(connection, data, 30.0)
            sent += len(some)
        connection.finish()
    except (OSError, CarbonError) as error:
        print(f"carbonpy import: {connection}: {error}; {sent} points were sent", file=sys.stderr)
        return 3
    return source.tell(f"{sent} points sent to {connection}")


def _into_tree(options: argparse.Namespace, settings: Settings, source: _Source) -> int:
    from carbonpy.upkeep.loading import Loader
    from carbonpy.writing.sweep import Sweeper, WriteSettings

    own = settings.cache.local_data_dir
    root = os.path.abspath(options.tree) if options.tree else own
    if os.path.realpath(root) == os.path.realpath(own) and daemon_runs(settings):
        raise CarbonError(f"a daemon writes to {root}: leave out --offline and --tree, and the points go to it")
    book = rules_of(settings, lambda warning: print(f"carbonpy import: warning: {warning}", file=sys.stderr))
    os.makedirs(root, exist_ok=True)
    sweeper = Sweeper(WriteSettings(root.rstrip("/") or "/", settings.cache.tag_hash_filenames), book.header)
    deferred: Counter[str] = Counter()

    def write(columns: Columns) -> tuple[int, dict[str, int], list[str]]:
        outcome = sweeper.sweep([columns])
        if len(outcome.deferred):
            deferred["metrics"] += len(outcome.deferred)
        return outcome.written, outcome.dropped, outcome.sentences

    loader = Loader(sweeper.learn, write)
    for one in source.points():
        loader.add([one])
    loader.flush()
    with catalog_of(settings, options.tree) as catalog:
        if catalog is not None:
            catalog.add(loader.metrics)
    for sentence in loader.sentences[:_SHOWN]:
        print(sentence, file=sys.stderr)
    text = f"{loader.written} points written to {len(loader.metrics)} metrics"
    lost = {reason: count for reason, count in loader.dropped.items() if count}
    text += "".join(f", {count} {reason}" for reason, count in lost.items())
    if deferred:
        text += f", {deferred['metrics']} metrics could not be written"
    return source.tell(text, failed=bool(deferred) or bool(set(lost) - {"replaced"}))
