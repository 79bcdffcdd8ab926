"""MIGRATE_SCHEMAS: the daemon keeps its files as the rules want them.

The law: one process at a time looks through the tree, at the start and whenever the rules change; new rules end the one
that works by the old ones.  A file is the old or the new one at any moment, so ending it does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from carbonpy.net.children import command, environment

log = Logger("console")


class Migrating:
    """Starts the process and tells what it did.  Reactor thread only."""

    def __init__(self, reactor: Any, given: Callable[[], dict[str, Any]]) -> None:
        """`given()`: what the process is told, see `daemons.migrator`."""
        self._reactor = reactor
        self._given = given
        self._running: _Migrator | None = None

    def begin(self) -> None:
        """Look through the tree, from its beginning."""
        self.stop()
        self._running = _Migrator()
        words = command("carbonpy.daemons.migrator")
        try:
            self._reactor.spawnProcess(self._running, words[0], words, environment(), childFDs={0: "w", 1: "r", 2: 2})
        except OSError as error:
            log.error("files cannot be migrated: {error}", error=str(error))
            self._running = None
            return
        self._running.tell(self._given())

    def stop(self) -> None:
        """End it."""
        running, self._running = self._running, None
        if running is not None:
            running.end()


class _Migrator(ProcessProtocol):
    def __init__(self) -> None:
        self._told = b""
        self._expected = False

    def tell(self, given: dict[str, Any]) -> None:
        self.transport.writeToChild(0, json.dumps(given).encode() + b"\n")

    def end(self) -> None:
        self._expected = True
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def outReceived(self, data: bytes) -> None:
        self._told += data

    def processEnded(self, reason: Failure) -> None:
        if self._expected:
            return
        try:
            told = json.loads(self._told)
        except ValueError:
            log.error("migrating files ended early: {why}", why=reason.getErrorMessage())
            return
        if told["failed"]:
            log.warn("{failed} files could not be migrated; the last: {why}", failed=told["failed"], why=told["why"])
        if told["migrated"]:
            log.info("migrated {migrated} of {files} files to the rules", **told)
