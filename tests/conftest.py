"""Fixtures for tests of whole daemons. See `support.running` for what a running daemon can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.running import RunningDaemon


@pytest.fixture
def carbonpy_daemon(tmp_path: Path) -> Iterator[Callable[..., RunningDaemon]]:
    """Start daemons: `daemon = carbonpy_daemon(conf_extra={"MAX_UPDATES_PER_SECOND": 1}, schemas="...")`.

    Keyword arguments are those of `RunningDaemon`; `start=False` leaves the starting to the test. All are ended when
    the test ends.
    """
    begun: list[RunningDaemon] = []

    def begin(*, start: bool = True, **options: object) -> RunningDaemon:
        daemon = RunningDaemon(tmp_path / f"daemon{len(begun)}", **options)  # type: ignore[arg-type]
        begun.append(daemon)
        return daemon.start() if start else daemon

    yield begin
    for daemon in begun:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()
