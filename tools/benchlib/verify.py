"""The judge, run by the peer's Python: `python verify.py` reads a JSON task from standard input, judges by `whisper`.

The task: {"now", "archives", "xff", "files": [[path, [[timestamp, value], ...]], ...]}. For each file a
reference file is made by the `whisper` package from the same points, and every archive of the two is compared as the
package reads them: same slots, same values, nothing missing and nothing invented. One sentence per difference goes to
standard output; the exit code is 1 when there is one.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

import whisper


def _contents(path: str, now: int) -> list[list[object]]:
    info = whisper.info(path)
    head = [info["aggregationMethod"], info["xFilesFactor"]]
    archives = []
    for archive in info["archives"]:
        span, values = whisper.fetch(
            path, now - archive["retention"], now, now=now, archiveToSelect=str(archive["secondsPerPoint"])
        )
        slots = range(*span)
        archives.append([(slot, value) for slot, value in zip(slots, values) if value is not None])
    return [head, *archives]


def main() -> int:
    """Judge every file of the task."""
    task = json.load(sys.stdin)
    now = task["now"]
    failures = 0
    with tempfile.TemporaryDirectory() as place:
        reference = os.path.join(place, "reference.wsp")
        for path, points in task["files"]:
            whisper.create(reference, [tuple(each) for each in task["archives"]], task["xff"], "average")
            whisper.update_many(reference, [tuple(each) for each in points], now)
            wanted = _contents(reference, now)
            os.unlink(reference)
            found = _contents(path, now)
            for level, (right, seen) in enumerate(zip(wanted, found)):
                if right != seen:
                    failures += 1
                    print(f"{path}: part {level}: {len(right)} expected, {len(seen)} found: "
                          f"{right[:2]}...{right[-2:]} against {seen[:2]}...{seen[-2:]}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
