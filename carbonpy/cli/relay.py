"""``carbonpy relay``: start, stop and look at the daemon that receives and sends on.

The law: see `carbonpy.cli.daemon`; the options are those of carbon-relay.py.  ``test`` says what would become of names
and starts nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from carbonpy.cli.daemon import LISTS, Program, act, make_parser
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
_RULES = {
    "--rules": ("RELAY_RULES", "relay-rules.conf"),
    "--aggregation-rules": ("AGGREGATION_RULES", "aggregation-rules.conf"),
}


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy relay``: carbon-relay.py's, with the foreground as the default."""
    return make_parser(
        "relay",
        "Receive metrics from Graphite senders and send each to the caches that keep it.",
        _EPILOG,
        {**_RULES, **LISTS},
    )


def run_relay(settings: Settings, config: str | None, overrides: dict[str, Any]) -> int:
    """Run the daemon of these settings."""
    from carbonpy.daemons.relay import run

    return run(settings, config, overrides)


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy relay`` with these arguments; its exit code."""
    if argv and argv[0] == "test":
        from carbonpy.cli.relay_test import main as test

        return test(argv[1:])
    if argv and argv[0] == "convert":
        from carbonpy.cli.relay_convert import main as convert

        return convert(argv[1:])
    options = parser().parse_args(argv)
    return act(Program("relay", run_relay, lines_of, PLACES), options)
