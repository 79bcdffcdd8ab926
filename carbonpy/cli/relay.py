"""``carbonpy relay``: start, stop and look at the daemon that receives and sends on.

The law: see `carbonpy.cli.daemon`; the options are those of carbon-relay.py.  ``test`` says what would become of names
and starts nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from carbonpy.cli.daemon import Program, act, add_options, overrides_of
from carbonpy.cli.relay_status import lines_of

if TYPE_CHECKING:
    from carbonpy.settings import Settings

_EPILOG = """\
examples:
  carbonpy relay --config /etc/carbon/carbon.conf    with the [relay] section of carbon's own configuration
  carbonpy relay start --daemon --instance b         instance b, in the background
  carbonpy relay status --watch                      what waits for which destination, and why, every second
  carbonpy relay test --config FILE < names          where names would go, one JSON object a line
  carbonpy relay convert FILE > carbonpy.yaml        the configuration of carbon-c-relay as one of ours

signals: SIGTERM and SIGINT stop it within SHUTDOWN_TIMEOUT (what no destination took stays in the spool),
SIGHUP reads the configuration and the rules files again without losing a point.
"""
PLACES = ("STORAGE_DIR", "SPOOL_DIR", "LOG_DIR", "PID_DIR")


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy relay``: carbon-relay.py's, with the foreground as the default."""
    options = argparse.ArgumentParser(
        prog="carbonpy relay",
        description="Receive metrics from Graphite senders and send each to the caches that keep it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(options, "relay")
    options.add_argument("--rules", metavar="FILE", help="relay-rules.conf")
    options.add_argument("--aggregation-rules", metavar="FILE", help="aggregation-rules.conf")
    options.add_argument("--whitelist", metavar="FILE", help="patterns of the only names to accept")
    options.add_argument("--blacklist", metavar="FILE", help="patterns of names to refuse")
    return options


def run_relay(settings: Settings, config: str | None, instance: str, overrides: dict[str, Any]) -> int:
    """Run the daemon of these settings."""
    from carbonpy.daemons.relay import run

    return run(settings, config, instance, overrides)


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy relay`` with these arguments; its exit code."""
    if argv and argv[0] == "test":
        from carbonpy.cli.relay_test import main as test

        return test(argv[1:])
    if argv and argv[0] == "convert":
        from carbonpy.cli.relay_convert import main as convert

        return convert(argv[1:])
    options = parser().parse_args(argv)
    overrides = overrides_of(
        {
            "LOGDIR": options.logdir,
            "PIDFILE": options.pidfile,
            "WHITELIST": options.whitelist,
            "BLACKLIST": options.blacklist,
            "RELAY_RULES": options.rules,
            "AGGREGATION_RULES": options.aggregation_rules,
        }
    )
    return act(Program("relay", run_relay, lines_of, PLACES), options, overrides)
