"""Deleting and renaming metrics in a running daemon, so that cache, journal, catalogue and files agree.

The law: it is done between two sweeps, when no point is on loan, one request at a time.  First the file and the
catalogue change, then the cache and the journal.  Cached points of a deleted metric are counted as dropped,
``deleted``; those of a renamed one go on under the new name.  A metric that comes again is a new one.  A daemon that is
killed in the middle may bring back points of a deleted metric that were in the journal, and has lost nothing of a
renamed one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from carbonpy.cache.cache import Cache
from carbonpy.catalog.live import LiveCatalog
from carbonpy.counters import CounterGroup
from carbonpy.daemons.hot import Hot
from carbonpy.errors import CarbonError, MetricError
from carbonpy.ingest.names import FIRST_ID, VERDICTS, NameTable
from carbonpy.metric import canonical
from carbonpy.net.writers import Writers
from carbonpy.upkeep import removal
from carbonpy.upkeep.removal import ABSENT, DELETED, KEPT, Removed

log = Logger("console")


class Daemon(Protocol):
    """What is needed of a daemon."""

    names: NameTable
    cache: Cache
    catalog: LiveCatalog
    hot: Hot
    writers: Writers


class Removing:
    """Deletes and renames.  Reactor thread only."""

    def __init__(self, daemon: Daemon, data_dir: str, hash_filenames: bool, dropped: CounterGroup) -> None:
        self._daemon = daemon
        self._data_dir = data_dir
        self._hash_filenames = hash_filenames
        self._dropped = dropped
        self._one = DeferredLock()

    def delete(self, metrics: Sequence[str], unless_written_since: float | None = None) -> Deferred[list[Removed]]:
        """Delete metrics; fires with what became of each.

        unless_written_since: a metric with cached points, or whose file was written then or later, is kept.
        """
        return self._one.run(self._held, self._delete, metrics, unless_written_since)

    def rename(self, old: str, new: str) -> Deferred[int]:
        """Rename a metric; fires with the number of cached points that went with it.  Fails with CarbonError."""
        return self._one.run(self._held, self._rename, old, new)

    def stop(self) -> Deferred[Any]:
        """Fires when nothing is under way any more; what was asked for later never begins."""
        return self._one.acquire()

    def _held(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Do some work while no sweep is under way."""
        writers = self._daemon.writers

        def released(result: Any) -> Any:
            writers.release()
            return result

        return writers.hold().addCallback(lambda _: work(*arguments)).addBoth(released)

    @inlineCallbacks
    def _delete(self, metrics: Sequence[str], since: float | None) -> Generator[Any, Any, list[Removed]]:
        daemon = self._daemon
        told: list[Removed] = []
        wanted: list[str] = []
        for metric in dict.fromkeys(metrics):
            try:
                name = canonical(metric)
            except MetricError as error:
                told.append(Removed(metric, removal.FAILED, str(error)))
                continue
            identity = daemon.names.id_of(name)
            if since is not None and identity is not None and len(daemon.cache.peek(identity)[0]):
                told.append(Removed(name, KEPT, "it has points in the cache"))
            else:
                wanted.append(name)
        done: list[Removed] = yield deferToThread(self._remove, wanted, since)
        gone = {
            identity: one.metric.encode()
            for one in done
            if one.what in (DELETED, ABSENT) and (identity := daemon.names.id_of(one.metric)) is not None
        }
        points = 0
        if gone:
            _, points = daemon.cache.extract(list(gone), set(gone.values()))
            self._forget(gone)
        self._dropped.add("deleted", points)
        # A metric without a file was there all the same, if the daemon knew it.
        known = {name.decode() for name in gone.values()}
        done = [one._replace(what=DELETED) if one.what == ABSENT and one.metric in known else one for one in done]
        files = sum(one.what == DELETED for one in done)
        log.info("deleted {files} metrics, and {points} points of them in the cache", files=files, points=points)
        return told + done

    def _remove(self, metrics: Sequence[str], since: float | None) -> list[Removed]:
        """In a thread: files and catalogue."""
        done = removal.remove(self._data_dir, metrics, since)
        self._daemon.catalog.flush()
        self._daemon.catalog.catalog.remove([one.metric for one in done if one.what in (DELETED, ABSENT)])
        return done

    def _forget(self, gone: dict[int, bytes]) -> None:
        daemon = self._daemon
        daemon.names.forget(gone)
        for identity, metric in gone.items():
            daemon.hot.forget(metric.decode())
            daemon.writers.forget(identity)

    @inlineCallbacks
    def _rename(self, old: str, new: str) -> Generator[Any, Any, int]:
        daemon = self._daemon
        try:
            old, new = canonical(old), canonical(new)
        except MetricError as error:
            raise CarbonError(str(error)) from None
        if old == new:
            raise CarbonError(f"{old} has this name already")
        before, after = daemon.names.id_of(old), daemon.names.id_of(new)
        if after is not None and len(daemon.cache.peek(after)[0]):
            raise CarbonError(f"{new} exists already: it has points in the cache; nothing is replaced")
        cached = before is not None and len(daemon.cache.peek(before)[0]) > 0
        moved: bool = yield deferToThread(self._move, old, new, cached)
        if not moved and not cached:
            raise CarbonError(f"there is no metric {old}")
        points = 0
        if before is not None:
            (_, timestamps, values), points = daemon.cache.extract([before], {old.encode()})
            self._dropped.add("replaced", points - len(timestamps))
            self._forget({before: old.encode()})
            after = daemon.names.identify(new.encode())
            if after < FIRST_ID:
                self._dropped.add(VERDICTS[after], len(timestamps))
                raise CarbonError(f"{old} is {new} now, but the lists of names refuse that: {VERDICTS[after]}")
            daemon.writers.forget(after)
            ids = timestamps * 0 + after
            daemon.cache.append(ids.astype("uint32"), timestamps, values)
        log.info("renamed {old} to {new}, with {points} points in the cache", old=old, new=new, points=points)
        return points

    def _move(self, old: str, new: str, cached: bool) -> bool:
        """In a thread: the file and the catalogue."""
        moved = removal.rename(self._data_dir, old, new, self._hash_filenames)
        if moved or cached:
            live = self._daemon.catalog
            live.flush()
            if not live.catalog.rename(old, new):
                live.catalog.add([new])
        return moved
