"""``carbonpy aggregator-cache``: the daemon that aggregates points and keeps them, in carbon-aggregator-cache's place.

The law: it is ``carbonpy cache`` with AGGREGATE = True, and reads the section [aggregator-cache] in place of [cache];
the options are those of carbon-aggregator-cache.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from carbonpy.cli.cache import PLACES, run_cache
from carbonpy.cli.daemon import AGGREGATION, LISTS, Program, act, make_parser

_EPILOG = """\
examples:
  carbonpy aggregator-cache --config /etc/carbon/carbon.conf   with its [aggregator-cache] and the rules beside it
  carbonpy aggregator-cache status                             where every datapoint went

signals: SIGTERM and SIGINT stop it within seconds (aggregates that are not complete go on at the next start), SIGHUP
reads the configuration and the rules files again.
"""


def parser() -> argparse.ArgumentParser:
    """The options of carbon-aggregator-cache.py, with the foreground as the default."""
    return make_parser(
        "aggregator-cache",
        "Receive metrics, aggregate them by aggregation-rules.conf, store all in whisper files.",
        _EPILOG,
        {**AGGREGATION, **LISTS},
    )


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy aggregator-cache`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    return act(Program("aggregator-cache", run_cache, "ledger", PLACES), options)
