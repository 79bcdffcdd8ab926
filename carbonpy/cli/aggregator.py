"""``carbonpy aggregator``: start, stop and look at the daemon that makes few metrics of many and sends them on.

The law: see `carbonpy.cli.daemon`; the options are those of carbon-aggregator.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from carbonpy.cli.daemon import Program, act, add_options, overrides_of
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
    options = argparse.ArgumentParser(
        prog="carbonpy aggregator",
        description="Receive metrics, aggregate them by aggregation-rules.conf, and send them on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(options, "aggregator")
    options.add_argument("--rules", metavar="FILE", help="aggregation-rules.conf")
    options.add_argument("--rewrite-rules", metavar="FILE", help="rewrite-rules.conf")
    options.add_argument("--whitelist", metavar="FILE", help="patterns of the only names to accept")
    options.add_argument("--blacklist", metavar="FILE", help="patterns of names to refuse")
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy aggregator`` with these arguments; its exit code."""
    if argv and argv[0] == "test":
        from carbonpy.cli.relay_test import main as test

        return test(argv[1:], "aggregator")
    options = parser().parse_args(argv)
    overrides = overrides_of(
        {
            "LOGDIR": options.logdir,
            "PIDFILE": options.pidfile,
            "WHITELIST": options.whitelist,
            "BLACKLIST": options.blacklist,
            "AGGREGATION_RULES": options.rules,
            "REWRITE_RULES": options.rewrite_rules,
        }
    )
    return act(Program("aggregator", run_relay, lines_of, PLACES), options, overrides)
