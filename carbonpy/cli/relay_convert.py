"""``carbonpy relay convert``: the configuration of carbon-c-relay as one of ours.

The law: what is printed is read by ``carbonpy relay --config`` and places every name where the file that was converted
does; what has no counterpart is a warning with its line, on standard error.
"""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterator, Sequence

from carbonpy.cli.placing import tell
from carbonpy.relaying.routing import routes_router
from carbonpy.rules.c_relay import Converted, read_c_relay
from carbonpy.rules.routes import RouteBook
from carbonpy.settings import read_text

_EPILOG = """\
examples:
  carbonpy relay convert /etc/carbon-c-relay.conf > carbonpy.yaml
  carbonpy relay test --config carbonpy.yaml < names

exit code: 0 when it was converted, with warnings or without, and 2 when the file cannot be used
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy relay convert``."""
    options = argparse.ArgumentParser(
        prog="carbonpy relay convert",
        description="Print the configuration of carbon-c-relay as a configuration of carbonpy relay.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("file", metavar="FILE", help="the configuration of carbon-c-relay")
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy relay convert`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    converted = read_c_relay(read_text(options.file), options.file, _included)
    book = RouteBook.parse(converted.clusters, converted.routes, options.file)
    tell("relay convert", (*converted.warnings, *routes_router(book).warnings))
    sys.stdout.write(as_yaml(converted, options.file))
    return 0


def _included(pattern: str) -> Iterator[tuple[str, str]]:
    """The files that an include means, with their texts."""
    for path in sorted(glob.glob(pattern)):
        yield path, read_text(path)


def as_yaml(converted: Converted, path: str) -> str:
    """The text of a configuration file that says what was `converted`."""
    lines = [f"# {path}, converted", "relay:"]
    for key, value in converted.settings.items():
        lines.append(f"  {key}: {_flow(value)}")
    lines.append("  clusters:")
    for name, cluster in converted.clusters.items():
        lines.append(f"    {_flow(name)}:")
        for key, value in cluster.items():
            if isinstance(value, list):
                lines.append(f"      {key}:")
                lines.extend(f"        - {_flow(one)}" for one in value)
            else:
                lines.append(f"      {key}: {_flow(value)}")
    lines.append("  routes:")
    for route in converted.routes:
        entries = [f"{key}: {_flow(value)}" for key, value in route.items()]
        lines.append(f"    - {entries[0]}")
        lines.extend(f"      {entry}" for entry in entries[1:])
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    """A value of YAML in one line; texts always in single quotes, in which no character has another meaning."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    return "'" + str(value).replace("'", "''") + "'"
