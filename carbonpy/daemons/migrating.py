"""MIGRATE_SCHEMAS and EXPIRY_RULES: the daemon keeps its files as the rules want them, and lets old metrics go.

The law: the looking is done by a process beside the daemon (`daemons.migrator`, `daemons.expirer`), one of each at a
time; new rules end the one that migrates by the old ones.  Only the daemon deletes, as it is told over HTTP to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from carbonpy.daemons.removing import Removing
from carbonpy.net.side_process import SideProcess
from carbonpy.upkeep.removal import DELETED, FAILED, Removed

log = Logger("console")


class Migrating:
    """Migrates files to the rules.  Reactor thread only."""

    def __init__(self, reactor: Any, given: Callable[[], dict[str, Any]]) -> None:
        """`given()`: what the process is told, see `daemons.migrator`."""
        self._reactor = reactor
        self._given = given
        self._process: SideProcess | None = None

    def begin(self) -> None:
        """Look through the tree, from its beginning."""
        self.stop()
        self._process = SideProcess(self._reactor, "carbonpy.daemons.migrator", self._given(), self._heard)

    def _heard(self, told: dict[str, Any]) -> None:
        if told["failed"]:
            log.warn("{failed} files could not be migrated; the last: {why}", failed=told["failed"], why=told["why"])
        if told["migrated"]:
            log.info("migrated {migrated} of {files} files to the rules", **told)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.end()


class Expiring:
    """Deletes the metrics that the rules of expiry let go.  Reactor thread only."""

    def __init__(self, reactor: Any, given: Callable[[], dict[str, Any]], removing: Removing) -> None:
        """`given()`: what the process is told, see `daemons.expirer`."""
        self._reactor = reactor
        self._given = given
        self._removing = removing
        self._process: SideProcess | None = None
        self._stopped = False
        #: Metrics deleted.
        self.deleted = 0

    def begin(self) -> None:
        """Look through the tree, unless that is still being done."""
        if self._stopped:
            return
        if self._process is None or not self._process.running:
            self._process = SideProcess(self._reactor, "carbonpy.daemons.expirer", self._given(), self._heard)

    def _heard(self, told: dict[str, Any]) -> None:
        if "why" in told:
            log.error("metrics cannot be expired: {why}", why=told["why"])
            return
        done: Deferred[list[Removed]] = self._removing.delete(told["metrics"], told["begun"])
        done.addCallbacks(self._deleted, lambda failure: log.failure("expired metrics cannot be deleted", failure))

    def _deleted(self, done: list[Removed]) -> None:
        gone = sum(one.what == DELETED for one in done)
        self.deleted += gone
        if gone:
            log.info("{gone} metrics have expired", gone=gone)
        for one in done:
            if one.what == FAILED:
                log.warn("{metric} cannot be deleted: {why}", metric=one.metric, why=one.why)

    def stop(self) -> None:
        """End it; it does not begin again."""
        self._stopped = True
        if self._process is not None:
            self._process.end()
