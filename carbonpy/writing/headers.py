"""Which header a new file gets: the rules of storage-schemas.conf and storage-aggregation.conf, packed.

The law: `HeaderBook.header(metric)` depends on the metric's name and the two books alone, and the
header of each pair of sections is packed once.
"""

from __future__ import annotations

from carbonpy.retention import Archive
from carbonpy.rules.aggregation import Aggregation, AggregationBook
from carbonpy.rules.schemas import Schema, SchemaBook
from carbonpy.whisper.layout import pack_header


class HeaderBook:
    """Both books in one.  Immutable but for what it remembers; safe from any thread."""

    def __init__(self, schemas: SchemaBook, aggregations: AggregationBook) -> None:
        self.schemas = schemas
        self.aggregations = aggregations
        self._packed: dict[tuple[int, int], tuple[Schema, Aggregation, bytes]] = {}

    def header(self, metric: str) -> bytes:
        """The header bytes of the metric's new file."""
        schema = self.schemas.match(metric)
        aggregation = self.aggregations.match(metric)
        key = (id(schema), id(aggregation))
        found = self._packed.get(key)
        if found is None or found[0] is not schema or found[1] is not aggregation:
            # The objects are kept with the bytes, so an id stays theirs.
            found = (schema, aggregation, pack_header(schema.archives, aggregation.xff, aggregation.method))
            if len(self._packed) < 10_000:
                self._packed[key] = found
        return found[2]

    def rule(self, metric: str) -> tuple[tuple[Archive, ...], float, str]:
        """(archives, xFilesFactor, method) of the metric's new file."""
        aggregation = self.aggregations.match(metric)
        return self.schemas.match(metric).archives, aggregation.xff, aggregation.method
