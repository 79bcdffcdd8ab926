"""How queries are answered, put together: where names and values come from, and the service over them.

The law: `Sources` is plain values, so the same service is made from it in the daemon and in the processes
that work for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timezone
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from carbonpy.catalog.live import LiveCatalog
from carbonpy.catalog.store import Catalog
from carbonpy.daemons.worker_talk import Points
from carbonpy.daemons.writer import book_of
from carbonpy.reading.local import LocalStore
from carbonpy.settings import Settings
from carbonpy.web.limits import Limits
from carbonpy.web.service import Report, Service
from carbonpy.writing.headers import HeaderBook

#: (file name, text) of storage-schemas.conf and storage-aggregation.conf; None: the built-in rules.
RuleText = Sequence[str] | None


@dataclass(frozen=True)
class Sources:
    """Where names and values come from, and how much may be asked.  Immutable.

    catalog_file: "" to find metrics in the tree of files itself.  asks_parent: the cache of a daemon is asked.
    """

    data_dir: str
    catalog_file: str
    hash_filenames: bool
    asks_parent: bool
    schemas: RuleText
    aggregations: RuleText
    time_zone: str
    max_points: float
    max_series: float
    max_body: int
    max_seconds: float
    max_memory: float

    @classmethod
    def of(cls, settings: Settings, schemas: RuleText, aggregations: RuleText) -> Sources:
        """What the settings of a daemon say."""
        cache, web = settings.cache, settings.web
        is_cache = settings.program == "cache"
        return cls(
            data_dir=cache.local_data_dir,
            catalog_file=cache.catalog_file if is_cache else "",
            hash_filenames=cache.tag_hash_filenames,
            asks_parent=is_cache,
            schemas=schemas,
            aggregations=aggregations,
            time_zone=web.time_zone,
            max_points=web.http_max_points,
            max_series=web.http_max_series,
            max_body=web.http_max_body,
            max_seconds=web.http_max_seconds,
            max_memory=web.http_max_memory,
        )

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Sources:
        """What `asdict` made of it."""
        return cls(**fields)

    def fields(self) -> dict[str, Any]:
        """Plain values for `from_fields`."""
        return asdict(self)

    def limits(self) -> Limits:
        """The limits of a service."""
        return Limits(
            series=self.max_series,
            points=self.max_points,
            body_bytes=self.max_body,
            seconds=self.max_seconds,
        )


class HotPoints(Protocol):
    """What is in a cache and not in files yet."""

    def peek(self, metric: str) -> Points:
        """(timestamps ascending, values) of one metric."""

    def peek_many(self, metrics: Sequence[str]) -> Mapping[str, Points]:
        """The same of many."""

    def known(self, metric: str) -> bool:
        """Whether there is a metric of that name."""

    def flush(self) -> None:
        """See that the catalogue has the names of all metrics."""


class _Catalog(LiveCatalog):
    """The catalogue of the daemon, which is asked to write down what it has noted."""

    def __init__(self, path: str, flush: Callable[[], None]) -> None:
        super().__init__(Catalog(path))
        self._flush = flush

    def flush(self) -> None:
        self._flush()


class Rulebook:
    """The rules for new files, which may change.  Safe from any thread."""

    def __init__(self, schemas: RuleText, aggregations: RuleText) -> None:
        self.book: HeaderBook
        self.set(schemas, aggregations)

    def set(self, schemas: RuleText, aggregations: RuleText) -> None:
        """Other texts of the rules files."""
        self.book = book_of({"schemas": schemas, "aggregations": aggregations})


def make_store(sources: Sources, rules: Rulebook, hot: HotPoints) -> LocalStore:
    """Where names and values come from."""
    return LocalStore(
        _Catalog(sources.catalog_file, hot.flush),
        hot.peek,
        sources.data_dir,
        known=hot.known,
        schema_for=lambda metric: rules.book.rule(metric),
        hash_only=sources.hash_filenames,
        peek_many=hot.peek_many,
    )


def make_service(sources: Sources, store: Any, report: Report) -> Service:
    """What answers queries about `store`."""
    zone = sources.time_zone
    return Service(store, limits=sources.limits(), tz=timezone.utc if zone == "UTC" else ZoneInfo(zone), report=report)
