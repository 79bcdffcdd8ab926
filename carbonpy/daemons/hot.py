"""What the cache holds, by the names of metrics: what queries ask a cache daemon for.

The law: a metric with tags is found by its canonical name and by the path of its file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonpy.cache.cache import Cache
from carbonpy.catalog.live import LiveCatalog
from carbonpy.daemons.worker_talk import Points
from carbonpy.ingest.names import NameTable
from carbonpy.metric import encoded

_NO_POINTS: Points = (np.empty(0, np.uint32), np.empty(0, np.float64))


class Hot:
    """The cached points of metrics.  Safe from any thread, but for `met` and `forget`."""

    def __init__(self, names: NameTable, cache: Cache, catalog: LiveCatalog, hash_filenames: bool) -> None:
        self._names = names
        self._cache = cache
        self._catalog = catalog
        self._hash_filenames = hash_filenames
        self._encoded: dict[str, int] = {}

    def met(self, first: int, metrics: Sequence[bytes]) -> None:
        """Metrics with the ids from `first` on are seen for the first time.  Reactor thread only."""
        for identity, metric in enumerate(metrics, first):
            if b";" in metric:
                self._encoded[encoded(metric.decode(), self._hash_filenames)] = identity

    def forget(self, metric: str) -> None:
        """A metric is gone.  Reactor thread only."""
        if ";" in metric:
            self._encoded.pop(encoded(metric, self._hash_filenames), None)

    def is_encoded(self, metric: str) -> bool:
        """Whether this is the path of the file of a known metric with tags."""
        return metric in self._encoded

    def identity(self, metric: str) -> int | None:
        """The id of a metric by name or encoded path."""
        identity = self._encoded.get(metric)
        return self._names.id_of(metric) if identity is None else identity

    def known(self, metric: str) -> bool:
        """Whether there is a metric of that name."""
        return self.identity(metric) is not None

    def peek(self, metric: str) -> Points:
        """(timestamps ascending, values) of what is cached of a metric."""
        identity = self.identity(metric)
        return _NO_POINTS if identity is None else self._cache.peek(identity)

    def peek_many(self, metrics: Sequence[str]) -> dict[str, Points]:
        """The same of those metrics that are known."""
        known = {metric: identity for metric in metrics if (identity := self.identity(metric)) is not None}
        found = self._cache.peek_many(list(dict.fromkeys(known.values())))
        return {metric: found.get(identity, _NO_POINTS) for metric, identity in known.items()}

    def troubles(self) -> list[str]:
        """None: it is all here."""
        return []

    @property
    def pending(self) -> int:
        """How many names are not in the catalogue yet."""
        return self._catalog.pending

    def flush(self) -> None:
        """Bring them there.  Raises CatalogError."""
        self._catalog.flush()
