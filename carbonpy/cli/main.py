"""The `carbonpy` command: a table of commands, and the page that teaches them.

The law: a command is a module of this package with ``main(argv) -> int``; the table names it and says in
one line what it is for.  Nothing of a command is imported before it is asked for, so ``--help`` answers
at once.  Exit codes are the same everywhere: 0 done, 1 the answer is no (refused, not running, did not
work), 2 the question was wrong (options, configuration), 3 the other side could not be reached,
130 interrupted.  Every error that a person can mend ends as one readable line on standard error.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import carbonpy
from carbonpy.errors import CarbonError, ConfigError


class Command(NamedTuple):
    """One row of the table: the word to type, the module with its ``main``, what it is for."""

    name: str
    module: str
    purpose: str


COMMANDS = (
    Command("cache", "carbonpy.cli.cache", "run the daemon: receive metrics, store them, answer queries"),
    Command("web", "carbonpy.cli.web", "answer queries alone: over whisper files, caches and other servers"),
    Command("relay", "carbonpy.cli.relay", "receive metrics and send each to the caches that keep it"),
    Command("aggregator", "carbonpy.cli.aggregator", "make few metrics of many by rules, and send them on"),
    Command("ring", "carbonpy.cli.ring", "say where names belong, how a ring is balanced, what a change would move"),
    Command("aggregator-cache", "carbonpy.cli.aggregator_cache", "the cache, with aggregation in front"),
    Command("check-config", "carbonpy.cli.check_config", "read a configuration and its rules files, say what is wrong"),
    Command("send", "carbonpy.cli.send", "send metrics from standard input, or this machine's own figures"),
    Command("export", "carbonpy.cli.export", "write what whisper files know as CSV or JSON lines"),
    Command("import", "carbonpy.cli.importing", "read CSV, JSON lines, InfluxDB lines or Prometheus text into metrics"),
    Command("backup", "carbonpy.cli.backup", "back up the tree beside the running daemon"),
    Command("restore", "carbonpy.cli.restore", "restore files of a backup"),
    Command("delete", "carbonpy.cli.delete", "delete metrics: files, cached points and names"),
    Command("rename", "carbonpy.cli.rename", "give a metric another name"),
    Command("expire", "carbonpy.cli.expire", "delete metrics that have had no points for long, by rules"),
    Command("schema", "carbonpy.cli.schema", "find and migrate files that differ from the rules files"),
    Command("catalog", "carbonpy.cli.catalog", "list, search and reconcile the index of known metrics"),
    Command("whisper", "carbonpy.cli.whisper.main", "look into whisper files, resize, fill, merge and mend them"),
    Command("password", "carbonpy.cli.password", "make a line for the file of users who may ask over HTTP"),
    Command("version", "carbonpy.cli.version", "print the version of carbonpy, Python and the libraries in use"),
)

_HELP = """\
carbonpy receives metrics from Graphite senders, keeps them in whisper files and answers
queries, and sends them on to other caches: a replacement for the carbon daemons and
graphite-web's render.

First steps:
  carbonpy cache                                   run the daemon in this terminal, with its defaults
  echo "test.answer 42 -1" | carbonpy send         send one datapoint to it (-1 means now)
  curl "http://127.0.0.1:8080/render?target=test.answer&from=-10min&format=json"

Commands:
{commands}

Examples:
  carbonpy cache --config /etc/carbon/carbon.conf  take over from carbon-cache with its own carbon.conf
  carbonpy cache start --daemon --instance b       run instance b in the background
  carbonpy cache status                            say whether it runs, and where every datapoint went
  carbonpy relay --config /etc/carbon/carbon.conf  take over from carbon-relay
  carbonpy relay test --config FILE < names        say where names would go
  carbonpy web --config /etc/carbonpy/front.yaml   answer queries for the servers that the file names
  carbonpy check-config /etc/carbonpy/carbonpy.yaml
  carbonpy whisper resize --dry-run /srv/graphite/whisper 10s:6h 1m:30d
  carbonpy send --host graphite.example.org --host-metrics --interval 10

"carbonpy COMMAND --help" explains one command; "carbonpy --version" prints the version.
Settings: conf/carbonpy.yaml lists every one with its default.  Documentation: docs/ in the source.
"""


def help_text() -> str:
    """The page that ``carbonpy --help`` prints."""
    width = max(len(command.name) for command in COMMANDS)
    return _HELP.format(commands="\n".join(f"  {c.name:<{width}}  {c.purpose}" for c in COMMANDS))


def command_main(name: str) -> Callable[[Sequence[str]], int]:
    """The ``main(argv) -> int`` of the command `name`.  Raises KeyError for a name not in the table."""
    module = {command.name: command.module for command in COMMANDS}[name]
    main_of_command: Callable[[Sequence[str]], int] = importlib.import_module(module).main
    return main_of_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names; its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        sys.stderr.write(help_text())
        return 2
    name, rest = words[0], words[1:]
    if name == "help":
        name, rest = (rest[0], ["--help"]) if rest else ("--help", [])
    if name in ("-h", "--help"):
        sys.stdout.write(help_text())
        return 0
    if name in ("-V", "--version"):
        print(f"carbonpy {carbonpy.__version__}")
        return 0
    known = [command.name for command in COMMANDS]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the commands are {', '.join(known)}"
        print(f"carbonpy: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    try:
        return command_main(name)(rest)
    except ConfigError as error:
        print(f"carbonpy {name}: {error}", file=sys.stderr)
        return 2
    except CarbonError as error:
        print(f"carbonpy {name}: {error}", file=sys.stderr)
        return 1
    except SystemExit as stop:  # argparse ends this way: 0 after --help, 2 after a wrong option
        if isinstance(stop.code, str):
            print(f"carbonpy {name}: {stop.code}", file=sys.stderr)
            return 1
        return stop.code or 0
    except KeyboardInterrupt:
        return 130


def entry() -> None:
    """The console script."""
    code = 0
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # somebody piped us into `head`; the interpreter flushes once more on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
