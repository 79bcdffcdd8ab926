"""How queries are answered, put together: where names and values come from, and the service over them.

The law: the same service is made from `Sources` in the daemon and in the processes that work for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timezone
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from carbonpy.catalog.live import LiveCatalog
from carbonpy.catalog.store import Catalog
from carbonpy.daemons.sources import RuleText, Sources
from carbonpy.daemons.worker_talk import Points
from carbonpy.daemons.writer import book_of
from carbonpy.errors import CarbonError
from carbonpy.events.store import EventStore
from carbonpy.net.hot_points import NO_POINTS, CacheHost, CarbonLinkPoints
from carbonpy.net.remote_store import NOT_ASKED, RemoteStore, Server
from carbonpy.reading.cluster import ClusterStore, one_after_other
from carbonpy.reading.local import LocalStore, Names
from carbonpy.reading.store import Check, Fetched, Reading, Store, no_check
from carbonpy.web.service import Report, Service
from carbonpy.writing.headers import HeaderBook

T = TypeVar("T")


class HotPoints(Protocol):
    """What is in caches and not in files yet.  Safe from any thread."""

    def peek(self, metric: str) -> Points:
        """(timestamps ascending, values) of one metric."""

    def peek_many(self, metrics: Sequence[str]) -> Mapping[str, Points]:
        """The same of many; those that have none may be left out."""

    def known(self, metric: str) -> bool:
        """Whether there is a metric of that name."""

    def troubles(self) -> list[str]:
        """Sentences about caches that could not be asked."""


class NoCache:
    """Everything is in files."""

    def peek(self, metric: str) -> Points:
        """Nothing."""
        return NO_POINTS

    def peek_many(self, metrics: Sequence[str]) -> Mapping[str, Points]:
        """Nothing."""
        return {}

    def known(self, metric: str) -> bool:
        """Only files tell."""
        return False

    def troubles(self) -> list[str]:
        """None."""
        return []


class SharedCatalog(LiveCatalog):
    """The catalogue of the daemon, which is asked before each question to write down what it knows."""

    def __init__(self, path: str, flush: Callable[[], None]) -> None:
        super().__init__(Catalog(path, held=True))
        self._ask = flush

    def flush(self) -> None:
        """Wait until all names are there."""
        self._ask()


class Rulebook:
    """The rules for new files, which may change.  Safe from any thread."""

    def __init__(self, schemas: RuleText, aggregations: RuleText) -> None:
        self.book: HeaderBook
        self.set(schemas, aggregations)

    def set(self, schemas: RuleText, aggregations: RuleText) -> None:
        """Other texts of the rules files."""
        self.book = book_of({"schemas": schemas, "aggregations": aggregations})


class FilesAndCaches(LocalStore):
    """The files of this machine, and caches that may be elsewhere: what could not be asked is said."""

    def __init__(self, names: Names, hot: HotPoints, data_dir: str, rules: Rulebook, hash_filenames: bool) -> None:
        super().__init__(
            names,
            hot.peek,
            data_dir,
            known=hot.known,
            schema_for=lambda metric: rules.book.rule(metric),
            hash_only=hash_filenames,
            peek_many=hot.peek_many,
        )
        self._hot = hot

    def fetch_readings(self, readings: Sequence[Reading], now: int, check: Check = no_check) -> Fetched:
        """See `Store.fetch_readings`."""
        fetched = super().fetch_readings(readings, now, check)
        fetched.partial += self._hot.troubles()
        return fetched


def other_caches(sources: Sources) -> HotPoints:
    """The caches at CARBONLINK_HOSTS."""
    if not sources.carbonlink_hosts:
        return NoCache()
    return CarbonLinkPoints(
        [CacheHost.parse(host) for host in sources.carbonlink_hosts],
        timeout=sources.carbonlink_timeout,
        retry_delay=sources.retry_delay,
        hashing=sources.carbonlink_hashing,
        replication=sources.carbonlink_replication,
    )


class Threads:
    """A `Parallel` with a thread for each of `width` calls but the first.  Safe from any thread."""

    def __init__(self, width: int) -> None:
        self._threads = ThreadPoolExecutor(max(1, width - 1), "stores")

    def __call__(self, calls: Sequence[Callable[[], T]]) -> list[T | BaseException]:
        """What each call returned or raised."""
        others = [self._threads.submit(one_after_other, [call]) for call in calls[1:]]
        return one_after_other(calls[:1]) + [answer for other in others for answer in other.result()]


def with_other_servers(sources: Sources, local: Store, report: Report) -> Store:
    """`local` and the servers in CLUSTER_SERVERS as one store; those alone if there is no tree on this machine."""
    if not sources.cluster_servers:
        return local

    def tell(sentence: str) -> None:
        if not sentence.endswith(NOT_ASKED):
            report("an answer is partial", CarbonError(sentence))

    others: list[Store] = [
        RemoteStore(
            Server.parse(url),
            find_timeout=sources.find_timeout,
            fetch_timeout=sources.fetch_timeout,
            retry_delay=sources.retry_delay,
        )
        for url in sources.cluster_servers
    ]
    stores = [local, *others] if os.path.isdir(sources.data_dir) else others
    return ClusterStore(stores, Threads(len(stores)), tell)


def make_service(sources: Sources, local: Store, report: Report, *, here: bool = True) -> Service:
    """What answers queries about `local` and the servers in CLUSTER_SERVERS.

    here: whether little queries may be answered without a change of threads.
    """
    limits = sources.limits()
    return Service(
        with_other_servers(sources, local, report),
        EventStore(sources.events_file),
        local=local,
        limits=limits if here else limits._replace(direct_targets=0),
        tz=timezone.utc if sources.time_zone == "UTC" else ZoneInfo(sources.time_zone),
        consolidate_as_stored=sources.consolidate_as_stored,
        find_by_time=sources.find_by_time,
        report=report,
    )
