"""``carbonpy check-config``: what is wrong with a configuration, before a daemon meets it.

The law: one sentence a line, errors on standard error and warnings after them; exit code 0 when the daemon
would start with it, warnings or not, and 2 when it would not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from carbonpy.errors import ConfigError
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules
from carbonpy.settings import read_text
from carbonpy.settings.check import Report, check
from carbonpy.settings.loading import PROGRAMS

B = TypeVar("B")

_EPILOG = """\
examples:
  carbonpy check-config /etc/carbon/carbon.conf
  carbonpy check-config --program aggregator /etc/carbon/carbon.conf
  carbonpy check-config --show --instance b /etc/carbonpy/carbonpy.yaml

exit code: 0 when the daemon would start with it, 2 when it would not
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy check-config``."""
    options = argparse.ArgumentParser(
        prog="carbonpy check-config",
        description="Read a configuration with its rules files and say what is wrong, and in which line.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("config", nargs="?", metavar="FILE", help="carbonpy.yaml or carbon.conf (default: no file)")
    options.add_argument("--config", dest="option", metavar="FILE", help=argparse.SUPPRESS)
    options.add_argument(
        "--program", choices=PROGRAMS, default="cache", help="the daemon that is to read it (default: cache)"
    )
    options.add_argument("--instance", metavar="X", default="a", help="name of the instance (default: a)")
    options.add_argument("--show", action="store_true", help="print the settings in force and where each comes from")
    return options


def with_router(report: Report) -> Report:
    """The report with what is wrong with where a relay or aggregator sends points."""
    settings = report.effective
    if settings is None or report.errors or settings.program not in ("relay", "aggregator"):
        return report
    from carbonpy.daemons.routers import make_router

    def rules(path: str, parse: Callable[[str, str], B], missing: B) -> B:
        return parse(read_text(path), path) if os.path.lexists(path) else missing

    own = settings.own
    try:
        router = make_router(
            settings,
            rules(own.relay_rules, RelayRules.parse, RelayRules.default()),
            rules(own.aggregation_rules, AggregationRules.parse, AggregationRules.default()),
        )
    except ConfigError as error:
        return report._replace(errors=tuple(str(error).splitlines()))
    return report._replace(warnings=(*report.warnings, *router.warnings))


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy check-config`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    path = options.option or options.config
    report = with_router(check(path, options.instance, program=options.program))
    for sentence in report.errors:
        print(f"error: {sentence}", file=sys.stderr)
    for sentence in report.warnings:
        print(f"warning: {sentence}", file=sys.stderr)
    if options.show and report.effective is not None:
        sys.stdout.write(report.effective.describe())
    if report.errors:
        return 2
    if not options.show:
        count = len(report.warnings)
        print(
            f"{path or 'the defaults'}: good, "
            + (f"with {count} warning{'s'[: count > 1]}" if count else "no warnings")
        )
    return 0
