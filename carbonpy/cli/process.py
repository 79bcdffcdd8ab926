"""What a daemon does with its own process: leave the terminal, become another user.

The law: `detach` returns only in the daemon itself; the command that was typed stays behind until the
daemon says over a pipe that it stands or why it does not, and ends with that as its exit code.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable

from carbonpy.errors import CarbonError, ConfigError


class Starter:
    """The daemon's end of the pipe to the command that started it.  The first word counts; later ones are dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def _say(self, text: str) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.write(descriptor, text.encode()[:4000])
        except OSError:  # the command was interrupted; nobody listens any more
            pass
        os.close(descriptor)

    def succeeded(self) -> None:
        """Tell the command that the daemon stands, and let go of the terminal."""
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        if nothing > 2:
            os.close(nothing)
        self._say(f"pid {os.getpid()}")

    def failed(self, error: CarbonError) -> None:
        """Tell the command why the daemon does not stand."""
        self._say(f"error {error}")


def detach(wait_until_ready: Callable[[int], int], command: str = "carbonpy cache") -> Starter:
    """Go on in a process of its own session without a terminal; the `Starter` to report to.

    The calling process ends here: with 1 and the daemon's sentence on standard error when it failed,
    with the result of `wait_until_ready(pid)` when it succeeded.  Call it before any thread is started
    and before the reactor is imported: neither survives a fork.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        with open(reading, "rb") as pipe:
            kind, _, text = pipe.read().decode().partition(" ")
        if kind == "pid":
            code = wait_until_ready(int(text))
        else:
            print(f"{command}: {text or 'the daemon ended before it stood'}", file=sys.stderr)
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)
    return Starter(writing)


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"USER = {user}: there is no such user; create it or remove the setting") from None


def make_directories(user: str, directories: Iterable[str]) -> None:
    """As root: make the `directories` that are missing and give them to `user`; as anybody else nothing.

    Raises ConfigError for an unknown user, CarbonError when a directory cannot be made.
    """
    entry = _entry(user)
    if os.geteuid() != 0:
        return
    for directory in directories:
        missing = []
        path = os.path.abspath(directory)
        while not os.path.exists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            try:
                os.mkdir(path)
                os.chown(path, entry.pw_uid, entry.pw_gid)
            except OSError as error:
                raise CarbonError(f"{path}: cannot make the directory: {error.strerror}") from error


def become(user: str) -> str | None:
    """Run as `user` from now on.

    Returns a warning when this process may not change its user.  Raises ConfigError for an unknown one.
    """
    entry = _entry(user)
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        return f"USER = {user}: only root can become another user; running as user id {os.geteuid()}"
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir
    return None
