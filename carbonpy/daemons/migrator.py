"""The process that migrates a daemon's files to its rules: ``python -m carbonpy.daemons.migrator``.

It reads one JSON object from standard input (``root``, ``catalog``, ``schemas``, ``aggregations``, ``rate``) and prints
one when it is done (``files``, ``migrated``, ``failed``, ``why``).  What it does is what ``carbonpy schema migrate``
does, at most `rate` files a second.

The law: it needs nothing of the daemon but the lock of the tree, so it may be killed at any moment; when the daemon is
gone it ends at its next files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from carbonpy.catalog.store import Catalog
from carbonpy.daemons.memory import give_back
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.schemas import SchemaBook
from carbonpy.upkeep.migration import Scan, migrate
from carbonpy.writing.headers import HeaderBook

#: How much it gives way to the receiver and the writers.
_NICENESS = 10
#: Headers looked at without a pause; then it rests as long as it has looked.
_GULP = 500


def work(given: dict[str, Any]) -> dict[str, Any]:
    """Migrate; what became of it."""
    schemas, aggregations = given["schemas"], given["aggregations"]
    book = HeaderBook(
        SchemaBook.default() if schemas is None else SchemaBook.parse(schemas[1], schemas[0]),
        AggregationBook.default() if aggregations is None else AggregationBook.parse(aggregations[1], aggregations[0]),
    )
    parent = os.getppid()
    catalog = Catalog(given["catalog"])
    next_at = time.monotonic()

    def rest(files: int) -> None:
        nonlocal next_at
        now = time.monotonic()
        while (left := next_at - now) > 0 and os.getppid() == parent:
            time.sleep(min(left, 0.5))
            now = time.monotonic()
        if os.getppid() != parent:
            raise SystemExit(1)
        next_at = max(next_at, now) + files / given["rate"]

    told: dict[str, Any] = {"files": 0, "migrated": 0, "failed": 0, "why": ""}
    try:
        scan = Scan(given["root"], book.header, catalog.names_of)
        looked = time.monotonic()

        def slowly() -> Any:
            nonlocal looked
            done = 0
            for difference in scan.differences():
                yield difference
                if scan.files - done >= _GULP:
                    done = scan.files
                    now = time.monotonic()
                    time.sleep(min(1.0, now - looked))
                    looked = time.monotonic()

        for one in migrate(given["root"], slowly(), rest=rest):
            if one.done:
                told["migrated"] += 1
            elif "already" not in one.why:
                told["failed"] += 1
                told["why"] = f"{one.path}: {one.why}"
        told["files"] = scan.files
    finally:
        catalog.close()
    return told


def main() -> int:
    """The process."""
    give_back()
    os.nice(_NICENESS)
    given = json.loads(sys.stdin.readline())
    print(json.dumps(work(given)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
