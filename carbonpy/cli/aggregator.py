"""``carbonpy aggregator``: start, stop and look at the daemon that makes few metrics of many and sends them on.

The law: see `carbonpy.cli.daemon`; the options are those of carbon-aggregator.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from carbonpy.cli.daemon import AGGREGATION, LISTS, Program, act, make_parser
from carbonpy.cli.relay import PLACES, run_relay
from carbonpy.cli.relay_status import lines_of

_EPILOG = """\
examples:
  carbonpy aggregator --config /etc/carbon/carbon.conf   with the [aggregator] section and the rules beside it
  carbonpy aggregator status                             what waits for which destination, and how many aggregates

signals: SIGTERM and SIGINT stop it within SHUTDOWN_TIMEOUT (aggregates that are not complete are kept for the next
start), SIGHUP reads the configuration and the rules files again.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy aggregator``: carbon-aggregator.py's, with the foreground as the default."""
    return make_parser(
        "aggregator",
        "Receive metrics, aggregate them by aggregation-rules.conf, and send them on.",
        _EPILOG,
        {**AGGREGATION, **LISTS},
    )


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy aggregator`` with these arguments; its exit code."""
    if argv and argv[0] == "test":
        from carbonpy.cli.relay_test import main as test

        return test(argv[1:], "aggregator")
    options = parser().parse_args(argv)
    return act(Program("aggregator", run_relay, lines_of, PLACES), options)
