"""The process that looks for expired metrics: ``python -m carbonpy.daemons.expirer``.

It reads one JSON object from standard input (``root``, ``catalog``, ``rules``) and prints one for every few hundred
metrics that may go (``metrics``, and ``begun``, when it began to look), or ``why`` if it cannot look.

The law: it only looks, half of the time, and ends when the daemon is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from carbonpy.catalog.store import Catalog
from carbonpy.daemons.memory import give_back
from carbonpy.errors import CarbonError
from carbonpy.rules.expiry import ExpiryBook
from carbonpy.upkeep.expiry import Expiry

_NICENESS = 10
#: Metrics told at once, and files looked at without a pause; then it rests as long as it has looked.
_PORTION, _GULP = 200, 200


def expired(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What to print.  Raises CarbonError or OSError."""
    with open(given["rules"], encoding="utf-8") as file:
        book = ExpiryBook.parse(file.read(), given["rules"])
    parent = os.getppid()
    catalog = Catalog(given["catalog"])
    try:
        begun = time.time()
        expiry = Expiry(given["root"], book, catalog.names_of, begun)
        portion: list[str] = []
        done, looked = 0, time.monotonic()
        for one in expiry.expired():
            portion.append(one.metric)
            if len(portion) >= _PORTION:
                yield {"metrics": portion, "begun": begun}
                portion = []
            if expiry.files - done >= _GULP:
                if os.getppid() != parent:
                    return
                done = expiry.files
                time.sleep(min(1.0, time.monotonic() - looked))
                looked = time.monotonic()
        if portion:
            yield {"metrics": portion, "begun": begun}
    finally:
        catalog.close()


def main() -> int:
    """The process."""
    give_back()
    os.nice(_NICENESS)
    given = json.loads(sys.stdin.readline())
    try:
        for told in expired(given):
            print(json.dumps(told), flush=True)
    except (OSError, UnicodeDecodeError, CarbonError) as error:
        print(json.dumps({"why": str(error)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
