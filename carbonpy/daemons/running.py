"""What all daemons have in common: how they run in this process, and what they do now and then.

The law: `run` returns when the daemon has stopped by itself, and raises when it could not start; work that is done
again and again goes on after an error, which is logged.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from carbonpy.daemons.memory import give_back
from carbonpy.errors import CarbonError
from carbonpy.settings import Settings, load

log = Logger("console")
listener_log = Logger("listener")


class Daemon(Protocol):
    """What can be run."""

    def start(self) -> None: ...

    def stop(self) -> Any: ...

    def reload(self) -> None: ...


def run(
    make: Callable[[Any, Callable[[], Settings]], Daemon],
    settings: Settings,
    config_path: str | None,
    overrides: dict[str, Any],
) -> int:
    """Run a daemon until SIGTERM or SIGINT; the exit code.

    `make(reactor, load again)` gives the daemon, not started.  Raises CarbonError when it cannot start.
    """
    from twisted.internet import reactor

    give_back()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    failures: list[Exception] = []

    def again() -> Settings:
        return load(config_path, instance=settings.instance, program=settings.program, overrides=overrides)

    daemon = make(reactor, again)
    loop: Any = reactor

    def start() -> None:
        try:
            daemon.start()
        except (CarbonError, CannotListenError, OSError) as error:
            failures.append(error)
            loop.stop()

    signal.signal(signal.SIGHUP, lambda number, frame: loop.callFromThread(daemon.reload))
    loop.callWhenRunning(start)
    loop.addSystemEventTrigger("before", "shutdown", daemon.stop)
    loop.run()
    if failures:
        raise CarbonError(str(failures[0]))
    return 0


class Loops:
    """What a daemon does now and then.  Reactor thread only."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._loops: list[LoopingCall] = []

    def every(self, seconds: float, work: Callable[[], Any]) -> None:
        """Call `work` now and then; its errors are logged and it is called again."""

        def careful() -> Any:
            return maybeDeferred(work).addErrback(lambda failure: log.failure("{what}", failure, what=work.__name__))

        loop = LoopingCall(careful)
        loop.clock = self._reactor
        self._loops.append(loop)
        loop.start(seconds, now=False)

    def stop(self) -> None:
        """Call nothing again."""
        for loop in self._loops:
            if loop.running:
                loop.stop()


def complain(sender: str, what: bytes, why: str) -> None:
    """Log what a sender sent that is no datapoint."""
    shown = what[:400].decode(errors="backslashreplace")
    listener_log.warn(
        "invalid line received from client {sender}, ignoring [{shown}]: {why}", sender=sender, shown=shown, why=why
    )
