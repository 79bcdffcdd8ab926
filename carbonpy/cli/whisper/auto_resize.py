"""``whisper auto-resize``: every file of a tree gets the archives that the rules give to a new file of its name.

The law: without ``--doit`` nothing is changed.  The metric's name is made of the path as whisper-auto-resize.py does;
files of tagged metrics, whose names are hashes, are left out, since no rule can be told from a hash.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial

from carbonpy.cli.whisper.common import add_json, make_parser, parse, synced, tell
from carbonpy.cli.whisper.crowd import Outcome, each, whisper_files, with_progress
from carbonpy.cli.whisper.info import header_of
from carbonpy.cli.whisper.resize import Wish, add_resize_options, outcome_of, resize_file
from carbonpy.errors import CarbonError, ConfigError
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.schemas import SchemaBook

_EPILOG = """\
STORAGE is the directory of all whisper files; use --subdir for a part of it, since names begin at STORAGE. CONFIG is
the directory of storage-schemas.conf and storage-aggregation.conf.

examples:
  carbonpy whisper auto-resize /srv/whisper /etc/carbon                       what differs
  carbonpy whisper auto-resize --doit -x --nobackup /srv/whisper /etc/carbon  and make it so
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Resize every file that differs from the rules.", _EPILOG)
    parser.add_argument("storage", metavar="STORAGE", help="the directory of all whisper files")
    parser.add_argument("config", metavar="CONFIG", help="the directory of the rules files")
    parser.add_argument("--doit", action="store_true", help="change the files; else only say which differ")
    parser.add_argument("--dry-run", action="store_true", help="the opposite of --doit, and the default")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print what differs")
    parser.add_argument("--subdir", metavar="DIR", help="only the files below this directory, or this file")
    parser.add_argument("--confirm", action="store_true", help="ask before each file")
    parser.add_argument("-x", "--extra_args", default="", metavar="ARGS", help="options as for whisper resize")
    parser.add_argument("--carbonlib", metavar="DIR", help="accepted and not needed")
    parser.add_argument("--whisperlib", metavar="DIR", help="accepted and not needed")
    parser.add_argument("--jobs", metavar="N", type=int, default=0, help="processes to use (default: as many as pay)")
    add_json(parser)
    options = parse(parser, argv)
    extra = argparse.ArgumentParser(prog=f"{prog} --extra_args", add_help=False)
    add_resize_options(extra)
    given = extra.parse_args(shlex.split(options.extra_args))
    doit = (options.doit or options.confirm) and not options.dry_run
    wish = Wish(
        None, given.xFilesFactor, given.aggregationMethod, given.spread, given.force, not given.nobackup,
        not doit, None, not given.nosync,
    )  # fmt: skip
    rules = Rules.read(options.config, options.storage)
    top = options.subdir or options.storage
    paths = [top] if os.path.isfile(top) else list(whisper_files(top))
    tagged = [path for path in paths if rules.metric(path).startswith("_tagged.")]
    if tagged:
        paths = [path for path in paths if not rules.metric(path).startswith("_tagged.")]
        print(f"{len(tagged)} files of tagged metrics are left out: their names cannot be told", file=sys.stderr)
    work = partial(_work, rules, wish, options.quiet and not options.confirm)
    if options.confirm and doit:
        outcomes = (_ask(rules, wish, path) for path in paths)
        return tell(outcomes, True, options.json, not doit, True)
    told = with_progress(each(work, paths, options.jobs, waits=doit), len(paths), "auto-resize", sys.stderr)
    return tell(synced(told) if doit else told, True, options.json, not doit, True)


class Rules:
    """What the rules files want for a file.  Immutable."""

    def __init__(self, storage: str, schemas: SchemaBook, aggregations: AggregationBook) -> None:
        self._top = os.path.normpath(storage) + os.sep
        self._schemas = schemas
        self._aggregations = aggregations

    @classmethod
    def read(cls, directory: str, storage: str) -> Rules:
        """Read the two files of a directory, of which the second may be missing.  Raises ConfigError or OSError."""
        schemas = os.path.join(directory, "storage-schemas.conf")
        with open(schemas, encoding="utf-8") as file:
            book = SchemaBook.parse(file.read(), schemas)
        name = os.path.join(directory, "storage-aggregation.conf")
        try:
            with open(name, encoding="utf-8") as file:
                aggregations = AggregationBook.parse(file.read(), name)
        except FileNotFoundError:
            aggregations = AggregationBook.default()
        if not book.schemas:
            raise ConfigError(f"{schemas} has no section")
        for warning in (*book.warnings, *aggregations.warnings):
            print(f"[WARNING] {warning}", file=sys.stderr)
        return cls(storage, book, aggregations)

    def metric(self, path: str) -> str:
        """The name of the metric whose file this is."""
        return os.path.normpath(path).removeprefix(self._top).removesuffix(".wsp").replace("/", ".")

    def wish(self, path: str, wish: Wish) -> tuple[Wish, list[str]]:
        """What the file is to become (`wish` says how), and a line for each thing that differs."""
        metric = self.metric(path)
        archives = [(archive.step, archive.points) for archive in self._schemas.match(metric).archives]
        rule = self._aggregations.match(metric)
        found = header_of(path)
        there = [(archive["secondsPerPoint"], archive["points"]) for archive in found["archives"]]
        lines = []
        if archives != there:
            old, new = ("".join(f"{step}:{points} " for step, points in one) for one in (there, archives))
            lines.append(f"updating Retentions from: {old} to: {new} ")
        # Two decimals, since a file has its xFilesFactor in single precision.
        real, should = f"{found['xFilesFactor']:.2f}", f"{rule.xff:.2f}"
        if real != should:
            lines.append(f"{metric} xFilesFactor differs real: {real} should be: {should} ")
        if rule.method != found["aggregationMethod"]:
            real = found["aggregationMethod"]
            lines.append(f"{metric} aggregation schema differs real: {real} should be: {rule.method} ")
        return wish._replace(archives=archives, xff=rule.xff, method=rule.method), lines


def _command(path: str, wish: Wish) -> str:
    archives = [f"{step}:{points}" for step, points in wish.archives or ()]
    words = ["whisper-resize.py", path, f"--xFilesFactor={wish.xff}", f"--aggregationMethod={wish.method}", *archives]
    return shlex.join(words)


def _work(rules: Rules, wish: Wish, quiet: bool, path: str) -> Outcome:
    wanted, lines = rules.wish(path, wish)
    if not lines:
        return Outcome(path)
    done = outcome_of(path, resize_file(path, wanted), wanted)
    text = "" if quiet else "\n".join([*lines, "", _command(path, wanted)]) + "\n"
    return done._replace(text=text, changed=True)


def _ask(rules: Rules, wish: Wish, path: str) -> Outcome:
    wanted, lines = rules.wish(path, wish)
    if not lines:
        return Outcome(path)
    print("\n".join([*lines, "", _command(path, wanted)]))
    answer = ""
    while answer not in ("y", "yes", "n", "no"):
        try:
            answer = input("Would you like to run this command? [y/n]: ").lower()
        except EOFError:
            raise CarbonError("nobody answers; leave out --confirm") from None
    if answer.startswith("n"):
        return Outcome(path, "Skipping command \n\n")
    return outcome_of(path, resize_file(path, wanted), wanted)._replace(text="")
