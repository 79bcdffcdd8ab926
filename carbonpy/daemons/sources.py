"""Where the answers to queries come from, in plain values: for the daemon and for the processes that work for it.

The law: what is packed as fields is equal when it is unpacked.  It needs nothing of what makes answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from carbonpy.settings import CACHES, Settings
from carbonpy.web.limits import Limits

#: (file name, text) of storage-schemas.conf and storage-aggregation.conf; None: the built-in rules.
RuleText = Sequence[str] | None


@dataclass(frozen=True)
class Sources:
    """Where names and values come from, and how much may be asked.  Immutable.

    catalog_file: the names.  asks_parent: what is not in files yet is in the cache of the daemon.
    """

    data_dir: str
    catalog_file: str
    hash_filenames: bool
    asks_parent: bool
    schemas: RuleText
    aggregations: RuleText
    events_file: str
    time_zone: str
    carbonlink_hosts: Sequence[str]
    carbonlink_timeout: float
    carbonlink_hashing: str
    carbonlink_replication: int
    cluster_servers: Sequence[str]
    find_timeout: float
    fetch_timeout: float
    retry_delay: float
    max_points: float
    max_series: float
    max_body: int
    max_seconds: float
    max_memory: float
    consolidate_as_stored: bool
    find_by_time: bool

    @classmethod
    def of(cls, settings: Settings, catalog_file: str, schemas: RuleText, aggregations: RuleText) -> Sources:
        """What the settings of a daemon say.  Only ``carbonpy web`` asks others."""
        cache, web = settings.cache, settings.web
        is_cache = settings.program in CACHES
        return cls(
            data_dir=cache.local_data_dir.rstrip("/") or "/",
            catalog_file=catalog_file,
            hash_filenames=cache.tag_hash_filenames,
            asks_parent=is_cache,
            schemas=schemas,
            aggregations=aggregations,
            events_file=web.events_file,
            time_zone=web.time_zone,
            carbonlink_hosts=() if is_cache else web.carbonlink_hosts,
            carbonlink_timeout=web.carbonlink_timeout,
            carbonlink_hashing=web.carbonlink_hashing_type,
            carbonlink_replication=web.carbonlink_replication,
            cluster_servers=() if is_cache else web.cluster_servers,
            find_timeout=web.find_timeout,
            fetch_timeout=web.fetch_timeout,
            retry_delay=web.remote_retry_delay,
            max_points=web.http_max_points,
            max_series=web.http_max_series,
            max_body=web.http_max_body,
            max_seconds=web.http_max_seconds,
            max_memory=web.http_max_memory,
            consolidate_as_stored=web.default_consolidation == "storage",
            find_by_time=web.find_by_last_write,
        )

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Sources:
        """What `fields` made of it."""
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
            memory=self.max_memory,
        )
