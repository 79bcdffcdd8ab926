"""Start, stop and look at a daemon, whichever it is.

The law: what can be wrong is found before the daemon starts (configuration: exit code 2; already
running, unwritable places: exit code 1) and said in one line.  ``start`` stays in the foreground and logs
to standard error unless it is told otherwise; ``stop`` returns when the process is gone; ``status`` says
what the daemon says of itself.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from carbonpy.cli.pidfile import PidFile, is_alive
from carbonpy.cli.process import Starter, become, detach, make_directories
from carbonpy.errors import CarbonError

if TYPE_CHECKING:
    from carbonpy.settings import Settings

#: Seconds that `start --daemon` waits for the listeners; a long journal may take longer, which is no error.
READY_TIMEOUT = 15.0


class Program(NamedTuple):
    """A daemon: its name, what runs it until it is told to stop, what of its /health is shown by ``status``.

    shown: the name of a part of /health, or what makes lines of all of it and of an earlier one (or None).
    places: names of settings of directories (or of files in them) that are made when a USER is set.
    """

    name: str
    run: Callable[[Settings, str | None, dict[str, Any]], int]
    shown: str | Callable[[Mapping[str, Any], Mapping[str, Any] | None], Sequence[str]]
    places: Sequence[str]


#: Option -> (NAME that it sets, what it is): files that may be named on the command line.
LISTS = {
    "--whitelist": ("WHITELIST", "patterns of the only names to accept"),
    "--blacklist": ("BLACKLIST", "patterns of names to refuse"),
}
AGGREGATION = {
    "--rules": ("AGGREGATION_RULES", "aggregation-rules.conf"),
    "--rewrite-rules": ("REWRITE_RULES", "rewrite-rules.conf"),
}


def make_parser(
    name: str, description: str, epilog: str, files: Mapping[str, tuple[str, str]]
) -> argparse.ArgumentParser:
    """The options of the daemon `name`: carbon's, with the foreground as the default; `files` as `LISTS`."""
    options = argparse.ArgumentParser(
        prog=f"carbonpy {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(options, name)
    for option, (setting, what) in files.items():
        options.add_argument(option, metavar="FILE", dest=setting, help=what)
    options.set_defaults(files=[setting for setting, _ in files.values()])
    return options


def _add_options(options: argparse.ArgumentParser, name: str) -> None:
    options.add_argument("action", nargs="?", default="start", choices=("start", "stop", "status"))
    options.add_argument("--config", metavar="FILE", help="carbonpy.yaml or carbon.conf; rules files lie beside it")
    options.add_argument("--instance", metavar="X", default="a", help="name of this instance (default: a)")
    where = options.add_mutually_exclusive_group()
    where.add_argument("--daemon", action="store_true", help="leave the terminal; log to files in LOG_DIR")
    where.add_argument("--nodaemon", action="store_true", help="stay in the foreground (the default)")
    options.add_argument("--debug", action="store_true", help="log more")
    options.add_argument(
        "--pidfile", metavar="F", help=f"default: carbon-{name}-<instance>.pid in PID_DIR; '' for none"
    )
    options.add_argument("--logdir", metavar="D", help="log to files in this directory")
    options.add_argument("--logfile", metavar="F", help="log to this one file")
    options.add_argument("--umask", metavar="U", type=_octal, default=0o022, help="octal, default 022")
    options.add_argument("--syslog", action="store_true", help="accepted for carbon's sake and ignored")
    options.add_argument(
        "--watch", metavar="S", type=float, nargs="?", const=1.0, default=0.0,
        help="status: show it again every S seconds (default: 1) until Ctrl-C",
    )  # fmt: skip
    options.add_argument(
        "--timeout", metavar="S", type=float, default=60.0, help="stop: seconds to wait until it is gone (default: 60)"
    )


def _octal(text: str) -> int:
    return int(text, 8)


def act(program: Program, options: argparse.Namespace) -> int:
    """Do what the command line says; the exit code."""
    from carbonpy import settings as table

    given = {"LOGDIR": options.logdir, "PIDFILE": options.pidfile}
    given |= {name: getattr(options, name) for name in options.files}
    overrides = {name: os.path.abspath(os.path.expanduser(value)) for name, value in given.items() if value}
    settings = table.load(options.config, instance=options.instance, program=program.name, overrides=overrides)
    return _Daemon(program, options, settings, overrides).act()


class _Daemon:
    """One instance of a program, as the command line sees it."""

    def __init__(
        self, program: Program, options: argparse.Namespace, settings: Settings, overrides: dict[str, Any]
    ) -> None:
        self._program = program
        self._options = options
        self._settings = settings
        self._overrides = overrides
        self._pidfile = PidFile("" if options.pidfile == "" else settings.pidfile)

    def act(self) -> int:
        actions = {"start": self._start, "stop": self._stop, "status": self._status}
        return actions[self._options.action]()

    def _warn(self, text: str) -> None:
        print(f"carbonpy {self._program.name}: warning: {text}", file=sys.stderr, flush=True)

    def _start(self) -> int:
        options, pidfile = self._options, self._pidfile
        for warning in self._settings.warnings:
            self._warn(warning)
        if options.syslog:
            self._warn("--syslog is ignored; log to files, or let the service supervisor keep standard error")
        os.umask(options.umask)
        running = pidfile.running()
        if running is not None:
            raise CarbonError(f"instance {options.instance} already runs as process {running} ({pidfile.path})")
        starter: Starter | None = None
        if options.daemon:
            starter = detach(self._wait_until_ready, f"carbonpy {self._program.name}")
        try:
            return self._run(starter)
        except CarbonError as error:
            if starter is not None:
                starter.failed(error)
            raise

    def _run(self, starter: Starter | None) -> int:
        """Be the daemon: pidfile, user, log, and then the work until it is told to stop."""
        from carbonpy.net.logs import TextLog, start_logging

        options, own = self._options, self._settings.own
        if own.user:
            make_directories(own.user, map(self._place, self._program.places))
        self._pidfile.write()
        try:
            warning = become(own.user) if own.user else None
            if warning:
                self._warn(warning)
            to_files = (options.daemon or options.logdir) and not options.logfile
            log = TextLog(
                directory=own.log_dir if to_files else None,
                path=options.logfile,
                daily=own.enable_logrotation,
                debug=options.debug,
            )
            start_logging(log, capture_output=options.daemon)
            if starter is not None:
                starter.succeeded()
            try:
                return self._program.run(self._settings, options.config, self._overrides)
            except OSError as error:  # a directory that cannot be made, a file that cannot be read
                raise CarbonError(f"{error.filename or 'cannot start'}: {error.strerror or error}") from error
            finally:
                log.close()
        finally:
            self._pidfile.remove()

    def _place(self, name: str) -> str:
        path: str = getattr(self._settings.own, name.lower())
        return os.path.dirname(path) if name.endswith("_FILE") else path

    def _wait_until_ready(self, pid: int) -> int:
        """What the command does while the daemon opens its ports; its exit code."""
        name, instance = self._program.name, self._options.instance
        log = self._options.logfile or os.path.join(self._settings.own.log_dir, "console.log")
        deadline = time.monotonic() + READY_TIMEOUT
        while self._settings.http.http_port and time.monotonic() < deadline:
            if not is_alive(pid):
                print(f"carbonpy {name}: the daemon ended while it started; {log} says why", file=sys.stderr)
                return 1
            try:
                if _get(self._settings, "/ready")[0] == 200:
                    print(f"instance {instance} runs as process {pid}; it logs to {log}")
                    return 0
            except OSError:
                pass
            time.sleep(0.05)
        print(f"instance {instance} runs as process {pid} and still starts; it logs to {log}")
        return 0

    def _stop(self) -> int:
        stopped = self._pidfile.stop(self._options.timeout)
        if stopped is None:
            print(f"instance {self._options.instance} is not running")
        else:
            print(f"instance {self._options.instance}, process {stopped}, is stopped")
        return 0

    def _status(self) -> int:
        settings = self._settings
        pid = self._pidfile.running()
        if pid is None:
            print(f"instance {self._options.instance} is not running (no live process in {self._pidfile.path})")
            return 1
        print(f"instance {self._options.instance} runs as process {pid}")
        if not settings.http.http_port:
            return 0
        before: Any = None
        while True:
            try:
                health = json.loads(_get(settings, "/health")[1])
                lines = _part(health[self._program.shown]) if isinstance(self._program.shown, str) else (
                    self._program.shown(health, before)
                )  # fmt: skip
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
                where = f"{settings.http.http_interface}:{settings.http.http_port}"
                print(f"its HTTP port {where} gives no figures: {error}")
                return 0
            if self._options.watch and sys.stdout.isatty():
                print("\x1b[H\x1b[J", end="")  # the terminal's top left, and nothing below it
            print("\n".join(lines), flush=True)
            if not self._options.watch:
                return 0
            before = health
            time.sleep(self._options.watch)


def _part(shown: Mapping[str, Any]) -> Iterator[str]:
    for name, figure in shown.items():
        if isinstance(figure, dict):
            for reason, count in figure.items():
                yield f"  {name} ({reason}): {count}"
        else:
            yield f"  {name.replace('_', ' ')}: {figure}"


def _get(settings: Settings, path: str) -> tuple[int, bytes]:
    """(status, body) of a GET to the daemon's own HTTP port.  Raises OSError or HTTPException."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(
        settings.http.http_interface, settings.http.http_interface
    )
    connection: http.client.HTTPConnection
    if settings.http is settings.web and settings.web.http_tls_certificate:
        # It is our own port on this machine, whatever name the certificate is for.
        connection = http.client.HTTPSConnection(
            host, settings.http.http_port, timeout=3, context=ssl._create_unverified_context()
        )
    else:
        connection = http.client.HTTPConnection(host, settings.http.http_port, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
