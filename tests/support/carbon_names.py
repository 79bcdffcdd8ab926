"""What the real carbon makes of names: its normal form and its file, asked in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def normalised(names: list[str], directory: Path) -> list[tuple[str, str, str]]:
    """(normal form, path below the data directory with hashed leaf, the same with readable leaf) of each name."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "GRAPHITE_ROOT": str(directory), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    return [tuple(row) for row in json.loads(done.stdout)]


def _main() -> Any:
    from carbon.util import TaggedSeries

    for name in json.load(sys.stdin):
        try:
            form = TaggedSeries.parse(name).path
        except Exception:  # carbon's cache takes the name as it is then
            form = name
        yield [form, *(TaggedSeries.encode(form, sep="/", hash_only=hashed) for hashed in (True, False))]


if __name__ == "__main__":
    print(json.dumps(list(_main())))
