"""``carbonpy cache``: start, stop and look at the daemon that receives, stores and answers.

The law: see `carbonpy.cli.daemon`; the options are those of carbon-cache.py.  ``status`` says where every
datapoint went.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from carbonpy.cli.daemon import LISTS, Program, act, make_parser

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
    return make_parser(
        "cache",
        "Receive metrics from Graphite senders, store them in whisper files, answer queries.",
        _EPILOG,
        LISTS,
    )


#: Settings of directories, and of files in them, that are made for the USER.
PLACES = ("STORAGE_DIR", "LOCAL_DATA_DIR", "JOURNAL_DIR", "LOG_DIR", "PID_DIR", "CATALOG_FILE")


def run_cache(settings: Settings, config: str | None, overrides: dict[str, Any]) -> int:
    """Run the daemon in this process; the exit code."""
    from carbonpy.daemons.cache import run

    return run(settings, config, overrides)


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy cache`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    return act(Program("cache", run_cache, "ledger", PLACES), options)
