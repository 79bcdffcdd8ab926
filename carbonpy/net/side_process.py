"""A process that does something beside the daemon: it is told one thing, and answers in lines of JSON.

The law: it can be ended at any moment without harm, and ends by itself when the daemon is gone.
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


class SideProcess(ProcessProtocol):
    """One run of a module.  Reactor thread only."""

    def __init__(
        self, reactor: Any, module: str, given: dict[str, Any], heard: Callable[[dict[str, Any]], None]
    ) -> None:
        """Start ``python -m module``, write it `given` as a line of JSON, call `heard` with each object it prints."""
        self._module = module
        self._heard = heard
        self._text = b""
        self._expected = False
        #: Whether it has not ended yet.
        self.running = True
        words = command(module)
        try:
            reactor.spawnProcess(self, words[0], words, environment(), childFDs={0: "w", 1: "r", 2: 2})
        except OSError as error:
            self.running = False
            log.error("{module} cannot be started: {error}", module=module, error=str(error))
            return
        self.transport.writeToChild(0, json.dumps(given).encode() + b"\n")

    def end(self) -> None:
        """Kill it; nothing more is heard."""
        self._expected = True
        if self.running:
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                pass

    def outReceived(self, data: bytes) -> None:
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            if not self._expected:
                self._heard(json.loads(line))

    def processEnded(self, reason: Failure) -> None:
        self.running = False
        if not self._expected and reason.value.exitCode != 0:
            log.error("{module} ended early: {why}", module=self._module, why=reason.getErrorMessage())
