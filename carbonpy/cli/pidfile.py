"""The pidfile: which process runs an instance, and how to ask it to end.

The law: a pidfile names a live daemon when its number is that of a process that is older than the file.
A process younger than the file only inherited the number (after a reboot, in a restarted container), and
so did we ourselves when the number is our own; such a file is stale and is replaced.  Where the age of a
process cannot be read, a live process counts as the daemon, as it does for carbon.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from carbonpy.errors import CarbonError

#: How much younger than its pidfile a process may seem: the kernel counts starts in hundredths of a second
#: from a boot time in whole seconds, and clocks are corrected.
_AGE_SLACK = 5.0


def process_start(pid: int) -> float | None:
    """When the process started, in seconds since 1970; None when there is no way to know."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", "rb") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
        return boot + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def is_alive(pid: int) -> bool:
    """Whether a process with this number runs; one that only waits to be buried does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return True


class PidFile:
    """One pidfile by its path; an empty path is a pidfile that is never written.  One owner."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> int | None:
        """The number in the file; None when there is no file or no number in it."""
        try:
            with open(self.path, "rb") as file:
                pid = int(file.read(64))
        except (OSError, ValueError):
            return None
        return pid if pid > 0 else None

    def running(self) -> int | None:
        """The number of the live process that the file names; None when it is missing or stale."""
        pid = self.read()
        if pid is None or pid == os.getpid() or not is_alive(pid):
            return None
        started = process_start(pid)
        try:
            written = os.stat(self.path).st_mtime
        except OSError:
            return None
        if started is not None and started > written + _AGE_SLACK:
            return None
        return pid

    def write(self) -> None:
        """Name this process.  Raises CarbonError when a live one is named or the file cannot be written."""
        if not self.path:
            return
        pid = self.running()
        if pid is not None:
            raise CarbonError(f"{self.path}: process {pid} runs already; stop it first or use another --instance")
        mine = f"{self.path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            with open(mine, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
            os.replace(mine, self.path)
        except OSError as error:
            raise CarbonError(
                f"{self.path}: cannot write the pidfile: {error.strerror}; make the directory writable or use --pidfile"
            ) from error

    def remove(self) -> None:
        """Remove the file if it still names this process; never raises for a file that is gone."""
        if self.path and self.read() == os.getpid():
            try:
                os.unlink(self.path)
            except OSError:
                pass

    def stop(
        self,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> int | None:
        """Send SIGTERM to the process that the file names and wait until it is gone.

        The number of the process that was stopped, None when none was running.  Raises CarbonError
        when it may not be signalled or still runs after `timeout` seconds.
        """
        pid = self.running()
        if pid is None:
            return None
        deadline = clock() + timeout
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return pid
        except PermissionError as error:
            raise CarbonError(f"process {pid} belongs to another user; stop it as that user or as root") from error
        while is_alive(pid):
            if clock() >= deadline:
                raise CarbonError(f"process {pid} still runs {timeout:g} s after SIGTERM; look into its log")
            sleep(0.05)
        return pid
