"""``whisper validate-storage-schemas`` and ``validate-storage-aggregation``: each section of a rules file, good or not.

The law: every section is named with OK or its errors; a section that carbon would pass over, or that would end carbon,
is not OK, and then the exit code is 1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from carbonpy.cli.whisper.common import dumps, make_parser
from carbonpy.errors import RetentionError
from carbonpy.retention import parse_retention, validate_archives
from carbonpy.rules.aggregation import METHODS
from carbonpy.rules.ini import DEFAULT, Section, read_ini
from carbonpy.rules.pattern import compile_pattern
from carbonpy.settings.places import rules_files, surroundings

_EPILOG = """\
examples:
  carbonpy whisper validate-storage-schemas /etc/carbon/storage-schemas.conf
  carbonpy whisper validate-storage-aggregation /etc/carbon/storage-aggregation.conf

"carbonpy check-config" reads a whole configuration. exit code: 0 valid, 1 not, 2 wrong arguments
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool that `prog` names; its exit code."""
    name = "storage-aggregation" if "aggregation" in prog else "storage-schemas"
    parser = make_parser(prog, f"Say what is wrong with {name}.conf.", _EPILOG)
    parser.add_argument("path", nargs="?", help=f"the file (default: {name}.conf where the daemon would look for it)")
    parser.add_argument("--json", action="store_true", help="output in JSON form")
    options = parser.parse_args(argv)
    path = options.path or _default(name)
    where = "from" if options.path else "from default location at"
    told: list[dict[str, Any]] = []
    say = (lambda text: None) if options.json else print
    say(f"Loading {name} configuration {where}: '{path}'")
    try:
        with open(path, encoding="utf-8") as file:
            sections = read_ini(file.read(), path)
    except OSError:
        print(f"Error: Couldn't read config file: {path}")
        return 1
    check = _aggregation if name == "storage-aggregation" else _schema
    for section in sections:
        if section.name == DEFAULT:
            continue
        errors = check(section)
        told.append({"section": section.name, "line": section.line, "errors": errors})
        say(f"Section '{section.name}':")
        for error in errors:
            say(f"  - Error: {error}")
        if not errors:
            say("  OK")
    failed = any(one["errors"] for one in told)
    if options.json:
        print(dumps({"path": path, "valid": not failed, "sections": told}))
    say(f"{name.capitalize()} configuration '{path}' {'failed validation' if failed else 'is valid'}")
    return 1 if failed else 0


def _default(name: str) -> str:
    files = rules_files(surroundings(None, os.environ).conf_dir)
    return files.aggregation if name == "storage-aggregation" else files.schemas


def _pattern(section: Section) -> list[str]:
    errors = []
    if section.trailing:
        errors.append(f"carbon does not see section '{section.name}' because of {section.trailing!r} behind the ']'")
    pattern = section.options.get("pattern")
    if pattern is None or not pattern.value:
        return [*errors, f"Section '{section.name}' has no pattern, carbon passes it over; add a line pattern = ^name"]
    try:
        compile_pattern(pattern.value)
    except ValueError as error:
        errors.append(f"Section '{section.name}' has an invalid pattern ('{pattern.value}')\n    {error}")
    return errors


def _schema(section: Section) -> list[str]:
    errors = _pattern(section)
    given = section.options.get("retentions")
    if given is None:
        return [*errors, f"Section '{section.name}' has no retentions; add a line retentions = 60s:7d"]
    archives = []
    failed = False
    for part in given.value.split(","):
        try:
            archives.append(parse_retention(part))
        except RetentionError as error:
            failed = True
            errors.append(
                f"Section '{section.name}' contains an invalid item in its retention definition ('{part}')\n    {error}"
            )
    if not failed:
        try:
            validate_archives(archives)
        except RetentionError as error:
            errors.append(
                f"Section '{section.name}' contains an invalid retention definition ('{given.value}')\n    {error}"
            )
    return errors


def _aggregation(section: Section) -> list[str]:
    errors = _pattern(section)
    factor = section.options.get("xfilesfactor")
    if factor is not None:
        try:
            if not 0 <= float(factor.value) <= 1:
                raise ValueError
        except ValueError:
            errors.append(f"Section '{section.name}' has an invalid xFilesFactor ('{factor.value}'); write 0 to 1")
    method = section.options.get("aggregationmethod")
    if method is not None and method.value not in METHODS:
        errors.append(
            f"Section '{section.name}' has an invalid aggregationMethod ('{method.value}'); use {', '.join(METHODS)}"
        )
    return errors
