"""``whisper set-xfilesfactor`` and ``whisper set-aggregation-method``: what of a header can change alone.

The law: only the first 16 bytes of a file are written, in one write under the file's lock, so a file has the old
header or the new one.  Values stay as they are; ``whisper resize`` makes them anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from carbonpy.cli.whisper.common import add_change, add_crowd, add_json, chosen, make_parser, parse, work_through
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.errors import CarbonError
from carbonpy.whisper.access import Descriptor
from carbonpy.whisper.fetching import read_header
from carbonpy.whisper.file import set_aggregation
from carbonpy.whisper.layout import METHOD_CODES, method_code, stored_xff
from carbonpy.whisper.replacing import locked

_EPILOG = """\
The values in the file stay; "carbonpy whisper resize" with the archives that it has makes the coarse ones anew.

examples:
  carbonpy whisper set-xfilesfactor cpu.wsp 0.3
  carbonpy whisper set-aggregation-method requests.wsp sum 0
  carbonpy whisper set-aggregation-method --dry-run /srv/whisper/stats/counts sum
"""


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool that `prog` names; its exit code."""
    of_factor = "xfilesfactor" in prog
    what = "the xFilesFactor" if of_factor else "the aggregation method"
    parser = make_parser(prog, f"Set {what} of whisper files.", _EPILOG)
    form = "PATH xFilesFactor" if of_factor else "PATH METHOD [xFilesFactor]"
    parser.add_argument("words", nargs="*", metavar=form, help=f"METHOD is one of {', '.join(METHOD_CODES)}")
    add_change(parser, backup=False)
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    words: list[str] = options.words
    path = None if options.files_from is not None else words.pop(0) if words else None
    method = None if of_factor or not words else words.pop(0)
    factor = words.pop(0) if words else None
    if words or (factor if of_factor else method) is None:
        parser.error(f"give {form}")
    if method is not None:
        method_code(method)
    xff = None if factor is None else stored_xff(float(factor) if _is_number(factor) else factor)  # type: ignore[arg-type]
    if path is not None and not os.path.exists(path):
        raise CarbonError(f"File '{path}' does not exist!")
    paths, several = chosen(path, options)
    shown = float(factor) if of_factor and factor is not None else method
    work = partial(_work, method, xff, shown, options.dry_run)
    return work_through(work, paths, several, options, "set", changes=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _work(method: str | None, xff: float | None, shown: object, dry_run: bool, path: str) -> Outcome:
    if dry_run:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = read_header(Descriptor(fd, path))
        finally:
            os.close(fd)
    else:
        with locked(path) as fd:
            before = set_aggregation(Descriptor(fd, path), method, xff)
    name, old = ("xFilesFactor", before.xff) if method is None else ("aggregation method", before.method_name)
    changed = (method not in (None, before.method_name)) or (xff is not None and xff != before.xff)
    record = {"path": path, "changed": changed, "from": old, "to": shown}
    verb = "Would update" if dry_run else "Updated"
    return Outcome(path, f"{verb} {name}: {path} ({old} -> {shown})\n", record=record, changed=changed)
