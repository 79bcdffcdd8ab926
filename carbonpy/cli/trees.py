"""What the commands for whole trees have in common: which tree, by which rules, and whether a daemon runs on it.

The law: a command finds the tree, the rules files and the catalogue where the daemon of the same ``--config`` and
``--instance`` has them, so one pair of options is enough; ``--tree`` names another tree.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from carbonpy.catalog import Catalog
from carbonpy.errors import CarbonError, ConfigError
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.schemas import SchemaBook
from carbonpy.upkeep.tree import NamesOf, nobody_knows
from carbonpy.writing.headers import HeaderBook

if TYPE_CHECKING:
    from carbonpy.settings import Settings

CODES = "exit code: 0 done, 1 not all of it could be done (or: the answer is no), 2 wrong arguments or configuration"


def add_tree_options(parser: argparse.ArgumentParser) -> None:
    """``--config``, ``--instance``, ``--tree``."""
    group = parser.add_argument_group("which tree")
    group.add_argument("--config", metavar="FILE", help="carbonpy.yaml or carbon.conf of the daemon")
    group.add_argument("--instance", metavar="X", default="a", help="name of the daemon's instance (default: a)")
    group.add_argument("--tree", metavar="DIR", help="another directory of whisper files (default: LOCAL_DATA_DIR)")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of the daemon that the options mean.  Raises ConfigError."""
    from carbonpy import settings as table

    return table.load(options.config, instance=options.instance)


def root_of(options: argparse.Namespace, settings: Settings) -> str:
    """The tree's directory.  Raises CarbonError if it is none."""
    root = os.path.abspath(options.tree) if options.tree else settings.cache.local_data_dir.rstrip("/") or "/"
    if not os.path.isdir(root):
        raise CarbonError(f"{root}: there is no such directory; name the tree with --config or --tree")
    return root


def rules_of(settings: Settings, complain: Callable[[str], object]) -> HeaderBook:
    """The rules for new files.  Raises ConfigError."""
    schemas = _read(settings.files.schemas)
    aggregations = _read(settings.files.aggregation)
    if schemas is None:
        raise ConfigError(f"{settings.files.schemas}: there is no such file; name the configuration with --config")
    book = HeaderBook(
        SchemaBook.parse(schemas, settings.files.schemas),
        AggregationBook.default()
        if aggregations is None
        else AggregationBook.parse(aggregations, settings.files.aggregation),
    )
    for warning in (*book.schemas.warnings, *book.aggregations.warnings):
        complain(warning)
    return book


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


@contextmanager
def catalog_of(settings: Settings, tree: str | None) -> Iterator[Catalog | None]:
    """The daemon's catalogue, None for another tree or where there is none yet."""
    path = settings.cache.catalog_file
    if tree is not None or not os.path.exists(path):
        yield None
        return
    catalog = Catalog(path)
    try:
        yield catalog
    finally:
        catalog.close()


def names_of(catalog: Catalog | None) -> NamesOf:
    """Names of tagged metrics."""
    return nobody_knows if catalog is None else catalog.names_of


def daemon_runs(settings: Settings) -> bool:
    """Whether a daemon of ours holds the journal of this instance, or its pidfile if it has no journal."""
    path = os.path.join(settings.cache.journal_dir, "lock")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _by_pidfile(settings)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return _by_pidfile(settings)


def _by_pidfile(settings: Settings) -> bool:
    from carbonpy.cli.pidfile import PidFile

    return PidFile(settings.pidfile).running() is not None


class Pace:
    """At most so many files a second, evenly (inf: as fast as it goes).  One thread."""

    def __init__(self, rate: float, sleep: Callable[[float], object] = time.sleep) -> None:
        self._rate = rate
        self._sleep = sleep
        self._next = time.monotonic()

    def __call__(self, files: int) -> None:
        """Wait until `files` more may be worked on."""
        if self._rate == float("inf"):
            return
        now = time.monotonic()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + files / self._rate


def positive(text: str) -> float:
    """A rate for argparse."""
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return number


def prefixed(prefix: str | None) -> str:
    """The directory, relative to the tree, of the metrics below the dotted `prefix`."""
    return "" if not prefix else prefix.strip(".").replace(".", "/")


def parser_for(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser whose page shows `epilog` as it is written, with the exit codes."""
    return argparse.ArgumentParser(
        prog=f"carbonpy {name}",
        description=description,
        epilog=f"{epilog.rstrip()}\n\n{CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The options; words may stand between them."""
    return parser.parse_intermixed_args(list(argv))
