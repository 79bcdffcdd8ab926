"""``whisper rrd2whisper``: a whisper file for each data source of an RRD file.

The law: each RRA of the chosen consolidation function becomes an archive of its own with its own values; none is
aggregated again.  A row of RRDtool bears the time at which it ends, a slot the time at which it begins.  It needs the
program ``rrdtool``.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from carbonpy.cli.whisper.common import add_json, dumps, make_parser, parse
from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import creating
from carbonpy.whisper.image import Image
from carbonpy.whisper.layout import METHOD_CODES, make_header
from carbonpy.whisper.storing import RingWriter

#: Consolidation functions that RRDtool does not have.
_FOREIGN = {"sum", "absmax", "absmin", "avg_zero"}
_METHODS = [name for name in METHOD_CODES if name not in _FOREIGN]
_RRA = re.compile(r"rra\[(\d+)\]\.(cf|rows|pdp_per_row|xff) = \"?([^\"\n]+)")
_SOURCE = re.compile(r"^ds\[([^]]+)\]", re.MULTILINE)

_EPILOG = """\
examples:
  carbonpy whisper rrd2whisper load.rrd
  carbonpy whisper rrd2whisper --aggregationMethod max --destinationPath /srv/whisper/old load.rrd
"""


class Rra(NamedTuple):
    """One round robin archive: seconds and number of its rows, and its xff."""

    step: int
    rows: int
    xff: float


def _rrdtool(*words: str) -> str:
    program = shutil.which("rrdtool")
    if program is None:
        raise CarbonError("the program rrdtool is not installed; on Debian: apt-get install rrdtool")
    done = subprocess.run([program, *words], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise CarbonError(done.stderr.strip().removeprefix("ERROR: ") or f"rrdtool {words[0]} failed")
    return done.stdout


def read_layout(path: str, function: str) -> tuple[list[Rra], list[str]]:
    """The archives of a consolidation function, and the names of the data sources.  Raises CarbonError."""
    text = _rrdtool("info", path)
    step = int(re.search(r"^step = (\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
    found: dict[int, dict[str, str]] = {}
    for number, key, value in _RRA.findall(text):
        found.setdefault(int(number), {})[key] = value
    rras = [
        Rra(int(rra["pdp_per_row"]) * step, int(rra["rows"]), float(rra["xff"]))
        for _, rra in sorted(found.items())
        if rra["cf"] == function
    ]
    if not rras:
        raise CarbonError(f"Unable to find any RRAs with consolidation function: {function}")
    return rras, list(dict.fromkeys(_SOURCE.findall(text)))


def read_rows(path: str, function: str, rra: Rra, now: int) -> tuple[list[int], list[str], list[list[float]]]:
    """The slots that the rows of an archive begin in, the names of the columns, and the columns (NaN: unknown)."""
    end = now - now % rra.step
    words = ("-r", str(rra.step), "-s", str(end - rra.step * rra.rows), "-e", str(end))
    head, _, body = _rrdtool("fetch", path, function, *words).partition("\n\n")
    slots, rows = [], []
    for line in body.splitlines():
        stamp, _, values = line.partition(":")
        slots.append(int(stamp) - rra.step)
        rows.append([float(value) for value in values.split()])
    # The last row is of a time that is not over.
    return slots[:-1], head.split(), [list(column) for column in zip(*rows[:-1])]


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Make a whisper file of each data source of an RRD file.", _EPILOG)
    parser.add_argument("path", metavar="rrd_path", help="the RRD file")
    parser.add_argument("--xFilesFactor", type=float, metavar="X", help="the xFilesFactor (default: that of the RRD)")
    parser.add_argument(
        "--aggregationMethod", choices=_METHODS, default="average", metavar="M",
        help=f"consolidation function to read, and the method of the file: {', '.join(_METHODS)} (default: average)",
    )  # fmt: skip
    parser.add_argument("--destinationPath", metavar="DIR", help="directory of the new files (default: beside the RRD)")
    parser.add_argument("--dry-run", action="store_true", help="make no file, only say what would be made")
    add_json(parser)
    options = parse(parser, argv)
    if not os.path.exists(options.path):
        raise CarbonError(f"opening '{options.path}': No such file or directory")
    function = options.aggregationMethod.upper()
    rras, sources = read_layout(options.path, function)
    factor = options.xFilesFactor or rras[0].xff
    header = make_header([(rra.step, rra.rows) for rra in rras], factor, options.aggregationMethod)
    now = int(time.time())
    rows = {rra.step: read_rows(options.path, function, rra, now) for rra in rras}
    shown = ",".join(f"{rra.step}:{rra.rows}" for rra in rras)
    for source in sources:
        path = _target(options.path, options.destinationPath, source if len(sources) > 1 else "")
        image = Image(header.pack() + bytes(header.file_size - len(header.pack())), path)
        counts = []
        for level, archive in enumerate(header.archives):
            slots, names, columns = rows[archive.step]
            column = columns[names.index(source)] if columns else []
            known = [(slot, value) for slot, value in zip(slots, column) if not math.isnan(value)]
            if known:  # through a header of this archive alone, so that nothing is aggregated from it
                writer = RingWriter(image, header._replace(archives=(archive,)))
                writer.write_level(0, [slot for slot, _ in known], [value for _, value in known], now)
            counts.append((level, len(known)))
        if not options.dry_run:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with creating(path, header, fsync=True) as fd:
                os.pwrite(fd, image.data, 0)
        if options.json:
            print(dumps({"path": path, "source": source, "fileSize": header.file_size,
                         "values": [count for _, count in counts]}, compact=True))  # fmt: skip
            continue
        verb = "Would create" if options.dry_run else "Created"
        print(f"{verb}: {path} ({header.file_size} bytes) with archives: {shown}")
        print("Migrating data")
        for level, count in reversed(counts):
            print(f" migrating {count} datapoints from archive {level}")
    return 0


def _target(path: str, directory: str | None, source: str) -> str:
    name = os.path.basename(path).removesuffix(".rrd") + (f"_{source}" if source else "") + ".wsp"
    return os.path.join(directory or os.path.dirname(path), name)
