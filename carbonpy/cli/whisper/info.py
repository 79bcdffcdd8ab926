"""``whisper info``: the header of a file, or of all files of a tree.

The law: for one file the text, the JSON and the value of a field are those of whisper-info.py.  Of a tree, each text
follows a line with the path, and each JSON object has the path in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from carbonpy.cli.whisper.common import add_crowd, add_json, chosen, make_parser, parse, work_through
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.errors import CarbonError
from carbonpy.whisper.compat import header_dict
from carbonpy.whisper.file import read_header

_EPILOG = """\
examples:
  carbonpy whisper info cpu.wsp                  everything
  carbonpy whisper info cpu.wsp xFilesFactor     one field
  carbonpy whisper info --json /srv/whisper      one JSON object a line for each file below
"""


def header_of(path: str) -> dict[str, Any]:
    """The header as `carbonpy.whisper.info` gives it, with the size of the file.  Raises CarbonError or OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = header_dict(read_header(fd, path))
        found["fileSize"] = os.fstat(fd).st_size
    finally:
        os.close(fd)
    return found


def as_text(found: dict[str, Any]) -> str:
    """The lines that whisper-info.py prints."""
    lines = [f"{key}: {value}" for key, value in found.items() if key != "archives"]
    lines.append("")
    for number, archive in enumerate(found["archives"]):
        lines.append(f"Archive {number}")
        lines += [f"{key}: {value}" for key, value in archive.items()]
        lines.append("")
    return "\n".join(lines) + "\n"


def _work(field: str | None, several: bool, as_json: bool, path: str) -> Outcome:
    found = header_of(path)
    if field is not None:
        if field not in found:
            raise CarbonError(f'Unknown field "{field}". Valid fields are {",".join(found)}')
        record = {"path": path, field: found[field]} if several else found[field]
        return Outcome(path, f"{path}: {found[field]}\n" if several else f"{found[field]}\n", record=record)
    if as_json:
        return Outcome(path, record={"path": path, **found} if several else found)
    return Outcome(path, f"{path}\n{as_text(found)}" if several else as_text(found))


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Print the header of a whisper file, or of all files below a directory.", _EPILOG)
    parser.add_argument("path", nargs="?", help="a file or a directory")
    parser.add_argument("field", nargs="?", help="print only this")
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    if options.path is None and options.files_from is None:
        parser.error("give a path")
    field = options.path if options.files_from is not None else options.field
    paths, several = chosen(options.path, options)
    return work_through(partial(_work, field, several, options.json), paths, several, options, "info")
