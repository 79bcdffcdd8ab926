"""``carbonpy delete``: metrics go, with their files, their cached points and their names.

The law: what a pattern matches is shown first; without ``--yes`` it is only deleted when a person at a terminal says
so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence

from carbonpy.catalog import Catalog
from carbonpy.cli.daemonlink import add_daemon_options
from carbonpy.cli.removal import Remover
from carbonpy.cli.trees import add_tree_options, catalog_of, parsed, parser_for, settings_of
from carbonpy.cli.whisper.crowd import listed
from carbonpy.errors import CarbonError, MetricError
from carbonpy.metric import canonical
from carbonpy.upkeep.removal import DELETED, FAILED
from carbonpy.upkeep.tree import dotted, files_below

_WILD = frozenset("*?[]{}")
_EPILOG = """\
examples:
  carbonpy delete servers.old.cpu
  carbonpy delete --dry-run 'servers.old.**'
  carbonpy delete --yes --names-from gone.txt
  carbonpy delete --offline --tree /srv/copy 'test.*'

While a daemon runs it does the work, so that its cache, its index of names and the files agree; it needs its HTTP port.
Patterns are those of carbonpy catalog find; they match what the index of names has (with --tree: what the tree has).
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy delete``."""
    options = parser_for("delete", "Delete metrics: files, cached points and names.", _EPILOG)
    options.add_argument("metrics", nargs="*", metavar="METRIC", help="a name, or a pattern with wildcards")
    options.add_argument("--names-from", metavar="FILE", help="names, one a line; - is standard input")
    options.add_argument("--dry-run", action="store_true", help="only say which metrics would go")
    options.add_argument("--yes", action="store_true", help="do not ask")
    options.add_argument("--json", action="store_true", help="one object a line")
    add_tree_options(options)
    add_daemon_options(options)
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy delete`` with these arguments; its exit code."""
    options = parsed(parser(), argv)
    words = [*options.metrics, *(listed(options.names_from) if options.names_from else ())]
    if not words:
        parser().error("which metrics? give names or patterns")
    settings = settings_of(options)
    remover = Remover(options, settings)
    with catalog_of(settings, options.tree) as catalog:
        metrics = _meant(words, catalog, remover.root)
    if options.dry_run:
        sys.stdout.writelines(f"{metric}\n" for metric in metrics)
        print(f"{len(metrics)} metrics would be deleted", file=sys.stderr)
        return 0 if metrics else 1
    if not metrics:
        print("nothing matches", file=sys.stderr)
        return 1
    if not options.yes and not _agreed(metrics):
        return 1
    counts: dict[str, int] = {}
    for one in remover.delete(metrics):
        counts[one.what] = counts.get(one.what, 0) + 1
        if options.json:
            print(json.dumps(one._asdict()))
        elif one.what == FAILED:
            print(f"[ERROR] {one.metric}: {one.why}", file=sys.stderr)
    print(", ".join(f"{count} {what}" for what, count in counts.items()), file=sys.stderr)
    return 0 if counts.get(DELETED) and not counts.get(FAILED) else 1


def _meant(words: Iterable[str], catalog: Catalog | None, root: str) -> list[str]:
    found: list[str] = []
    tree: list[str] | None = None
    for word in words:
        if _WILD.isdisjoint(word) or ";" in word:
            try:
                found.append(canonical(word))
            except MetricError as error:
                raise CarbonError(str(error)) from None
        elif catalog is not None:
            found += [node.path for node in catalog.find(word, leaves_only=True)]
        else:
            tree = [dotted(path) for path in files_below(root)] if tree is None else tree
            found += _matching(word, tree)
    return list(dict.fromkeys(found))


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Those of the `names` that a pattern matches, by way of a catalogue that is thrown away."""
    with tempfile.TemporaryDirectory() as directory:
        catalog = Catalog(os.path.join(directory, "catalog.sqlite"))
        try:
            catalog.add(names)
            return [node.path for node in catalog.find(pattern, leaves_only=True)]
        finally:
            catalog.close()


def _agreed(metrics: Sequence[str]) -> bool:
    if not sys.stdin.isatty():
        raise CarbonError(f"{len(metrics)} metrics would be deleted; say --yes, or look with --dry-run")
    sys.stderr.writelines(f"  {metric}\n" for metric in metrics[:20])
    more = f" (these are 20 of {len(metrics)})" if len(metrics) > 20 else ""
    print(f"delete {len(metrics)} metrics{more}? [yes/no] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
