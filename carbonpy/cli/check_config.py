"""``carbonpy check-config``: what is wrong with a configuration, before a daemon meets it.

The law: one sentence a line, errors on standard error and warnings after them; exit code 0 when the daemon
would start with it, warnings or not, and 2 when it would not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from carbonpy.settings.check import check

_EPILOG = """\
examples:
  carbonpy check-config /etc/carbon/carbon.conf
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
    options.add_argument("--instance", metavar="X", default="a", help="name of the instance (default: a)")
    options.add_argument("--show", action="store_true", help="print the settings in force and where each comes from")
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy check-config`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    path = options.option or options.config
    report = check(path, options.instance)
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
