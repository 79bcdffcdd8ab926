"""``carbonpy cache``: start, stop and look at the daemon that receives, stores and answers.

The law: see `carbonpy.cli.daemon`; the options are those of carbon-cache.py.  ``status`` says where every
datapoint went.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from carbonpy.cli.daemon import Program, act, add_options, overrides_of

if TYPE_CHECKING:
    from carbonpy.settings import Settings

_EPILOG = """\
examples:
  carbonpy cache                                     the defaults, in this terminal; Ctrl-C stops it
  carbonpy cache --config /etc/carbon/carbon.conf    with carbon's own configuration
  carbonpy cache start --daemon --instance b         instance b, in the background
  carbonpy cache stop --instance b                   returns when it is gone
  carbonpy cache status                              exit code 0 when it runs, 1 when not

signals: SIGTERM and SIGINT stop it within seconds (what is not on disk yet stays in the journal),
SIGHUP reads the rules files again.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy cache``: carbon-cache.py's, with the foreground as the default."""
    options = argparse.ArgumentParser(
        prog="carbonpy cache",
        description="Receive metrics from Graphite senders, store them in whisper files, answer queries.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(options, "cache")
    options.add_argument("--whitelist", metavar="FILE", help="patterns of the only names to accept")
    options.add_argument("--blacklist", metavar="FILE", help="patterns of names to refuse")
    return options


#: Settings of directories, and of files in them, that are made for the USER.
PLACES = ("STORAGE_DIR", "LOCAL_DATA_DIR", "JOURNAL_DIR", "LOG_DIR", "PID_DIR", "CATALOG_FILE")


def run_cache(settings: Settings, config: str | None, instance: str, overrides: dict[str, Any]) -> int:
    """Run the daemon in this process; the exit code."""
    from carbonpy.daemons.cache import run

    return run(settings, config, instance, overrides)


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy cache`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    overrides = overrides_of(
        {
            "LOGDIR": options.logdir,
            "PIDFILE": options.pidfile,
            "WHITELIST": options.whitelist,
            "BLACKLIST": options.blacklist,
        }
    )
    return act(Program("cache", run_cache, "ledger", PLACES), options, overrides)
