"""The catalogue of a running daemon: what was seen a moment ago is found, though it is not in SQLite yet.

The law: `note` costs a place in a list; every question is answered after all that was noted before it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from carbonpy.catalog.store import Catalog, Node
from carbonpy.catalog.tagging import TagAnswers, TagIndex

#: Names added at a time; what SQLite is given for more would double the memory of the names.
_AT_ONCE = 5_000


class LiveCatalog(TagAnswers):
    """A Catalog with a list of names to be added.  Safe from any thread; only `note` belongs on the reactor's."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._noted: list[bytes] = []
        self._lock = threading.Lock()

    def note(self, metrics: Sequence[bytes]) -> None:
        """Metrics (their canonical names in UTF-8) were seen for the first time since the start."""
        self._noted += metrics

    @property
    def pending(self) -> int:
        """How many metrics are noted and not added yet."""
        return len(self._noted)

    def flush(self) -> None:
        """Add what was noted.  Raises CatalogError, and then the names are still noted."""
        with self._lock:
            noted = self._noted
            while noted:
                some = noted[:_AT_ONCE]
                self.catalog.add([metric.decode() for metric in some])
                # The reactor may have appended meanwhile: only what was added goes.
                del noted[: len(some)]

    def find(self, pattern: str, leaves_only: bool = False) -> list[Node]:
        """See Catalog.find."""
        self.flush()
        return self.catalog.find(pattern, leaves_only)

    def metrics(self) -> Iterator[str]:
        """See Catalog.metrics."""
        self.flush()
        return self.catalog.metrics()

    def names_of(self, paths: Sequence[str]) -> dict[str, str]:
        """See Catalog.names_of."""
        self.flush()
        return self.catalog.names_of(paths)

    def tag_index(self) -> TagIndex:
        """See Catalog.tag_index."""
        self.flush()
        return self.catalog.tag_index()
