"""``carbonpy cache``: start, stop and look at the daemon.

The law: what can be wrong is found before the daemon starts (configuration: exit code 2; already
running, unwritable places: exit code 1) and said in one line.  ``start`` stays in the foreground and logs
to standard error unless it is told otherwise; ``stop`` returns when the process is gone; ``status`` says
where every datapoint went.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from carbonpy.cli.pidfile import PidFile, is_alive
from carbonpy.cli.process import Starter, become, detach, make_directories
from carbonpy.errors import CarbonError

if TYPE_CHECKING:
    from carbonpy.settings import Settings

#: Seconds that `start --daemon` waits for the listeners; a long journal may take longer, which is no error.
READY_TIMEOUT = 15.0

_EPILOG = """\
examples:
  carbonpy cache                                     the defaults, in this terminal; Ctrl-C stops it
  carbonpy cache --config /etc/carbon/carbon.conf    with carbon's own configuration
  carbonpy cache start --daemon --instance b         instance b, in the background
  carbonpy cache stop --instance b                   returns when it is gone
  carbonpy cache status                              exit code 0 when it runs, 1 when not

signals: SIGTERM and SIGINT stop it within seconds (what is not on disk yet stays in the journal),
SIGHUP reads the rules files again.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy cache``: carbon-cache.py's, with the foreground as the default."""
    options = argparse.ArgumentParser(
        prog="carbonpy cache",
        description="Receive metrics from Graphite senders, store them in whisper files, answer queries.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("action", nargs="?", default="start", choices=("start", "stop", "status"))
    options.add_argument("--config", metavar="FILE", help="carbonpy.yaml or carbon.conf; rules files lie beside it")
    options.add_argument("--instance", metavar="X", default="a", help="name of this instance (default: a)")
    where = options.add_mutually_exclusive_group()
    where.add_argument("--daemon", action="store_true", help="leave the terminal; log to files in LOG_DIR")
    where.add_argument("--nodaemon", action="store_true", help="stay in the foreground (the default)")
    options.add_argument("--debug", action="store_true", help="log more")
    options.add_argument("--pidfile", metavar="F", help="default: carbon-cache-<instance>.pid in PID_DIR; '' for none")
    options.add_argument("--logdir", metavar="D", help="log to files in this directory")
    options.add_argument("--logfile", metavar="F", help="log to this one file")
    options.add_argument("--umask", metavar="U", type=_octal, default=0o022, help="octal, default 022")
    options.add_argument("--whitelist", metavar="FILE", help="patterns of the only names to accept")
    options.add_argument("--blacklist", metavar="FILE", help="patterns of names to refuse")
    options.add_argument("--syslog", action="store_true", help="accepted for carbon's sake and ignored")
    options.add_argument(
        "--timeout", metavar="S", type=float, default=60.0, help="stop: seconds to wait until it is gone (default: 60)"
    )
    return options


def _octal(text: str) -> int:
    return int(text, 8)


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy cache`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    overrides = _overrides(options)
    from carbonpy import settings as table

    settings = table.load(options.config, instance=options.instance, program="cache", overrides=overrides)
    pidfile = PidFile("" if options.pidfile == "" else settings.pidfile)
    if options.action == "stop":
        return _stop(options, pidfile)
    if options.action == "status":
        return _status(options, settings, pidfile)
    return _start(options, settings, pidfile, overrides)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line sets, by the names that `carbonpy.settings.load` knows."""
    given = {
        "LOGDIR": options.logdir,
        "PIDFILE": options.pidfile,
        "WHITELIST": options.whitelist,
        "BLACKLIST": options.blacklist,
    }
    return {name: os.path.abspath(os.path.expanduser(value)) for name, value in given.items() if value}


def _warn(text: str) -> None:
    print(f"carbonpy cache: warning: {text}", file=sys.stderr, flush=True)


def _start(options: argparse.Namespace, settings: Settings, pidfile: PidFile, overrides: dict[str, Any]) -> int:
    for warning in settings.warnings:
        _warn(warning)
    if options.syslog:
        _warn("--syslog is ignored; log to files, or let the service supervisor keep standard error")
    os.umask(options.umask)
    running = pidfile.running()
    if running is not None:
        raise CarbonError(f"instance {options.instance} already runs as process {running} ({pidfile.path})")
    starter: Starter | None = None
    if options.daemon:
        starter = detach(lambda pid: _wait_until_ready(pid, options, settings))
    try:
        return _run(options, settings, pidfile, overrides, starter)
    except CarbonError as error:
        if starter is not None:
            starter.failed(error)
        raise


def _run(
    options: argparse.Namespace,
    settings: Settings,
    pidfile: PidFile,
    overrides: dict[str, Any],
    starter: Starter | None,
) -> int:
    """Be the daemon: pidfile, user, log, and then the work until it is told to stop."""
    from carbonpy.net.logs import TextLog, start_logging

    cache = settings.cache
    if cache.user:
        places = [cache.storage_dir, cache.local_data_dir, cache.journal_dir, cache.log_dir, cache.pid_dir]
        make_directories(cache.user, [*places, os.path.dirname(cache.catalog_file)])
    pidfile.write()
    try:
        warning = become(cache.user) if cache.user else None
        if warning:
            _warn(warning)
        to_files = (options.daemon or options.logdir) and not options.logfile
        log = TextLog(
            directory=cache.log_dir if to_files else None,
            path=options.logfile,
            daily=cache.enable_logrotation,
            debug=options.debug,
        )
        start_logging(log, capture_output=options.daemon)
        if starter is not None:
            starter.succeeded()
        from carbonpy.daemons.cache import run

        try:
            return run(settings, options.config, options.instance, overrides)
        except OSError as error:  # a directory that cannot be made, a file that cannot be read
            raise CarbonError(f"{error.filename or 'cannot start'}: {error.strerror or error}") from error
        finally:
            log.close()
    finally:
        pidfile.remove()


def _wait_until_ready(pid: int, options: argparse.Namespace, settings: Settings) -> int:
    """What the command does while the daemon opens its ports; its exit code."""
    log = options.logfile or os.path.join(settings.cache.log_dir, "console.log")
    deadline = time.monotonic() + READY_TIMEOUT
    while settings.web.http_port and time.monotonic() < deadline:
        if not is_alive(pid):
            print(f"carbonpy cache: the daemon ended while it started; {log} says why", file=sys.stderr)
            return 1
        try:
            if _get(settings, "/ready")[0] == 200:
                print(f"instance {options.instance} runs as process {pid}; it logs to {log}")
                return 0
        except OSError:
            pass
        time.sleep(0.05)
    print(f"instance {options.instance} runs as process {pid} and still starts; it logs to {log}")
    return 0


def _stop(options: argparse.Namespace, pidfile: PidFile) -> int:
    stopped = pidfile.stop(options.timeout)
    if stopped is None:
        print(f"instance {options.instance} is not running")
    else:
        print(f"instance {options.instance}, process {stopped}, is stopped")
    return 0


def _status(options: argparse.Namespace, settings: Settings, pidfile: PidFile) -> int:
    pid = pidfile.running()
    if pid is None:
        print(f"instance {options.instance} is not running (no live process in {pidfile.path})")
        return 1
    print(f"instance {options.instance} runs as process {pid}")
    if not settings.web.http_port:
        return 0
    try:
        _, body = _get(settings, "/health")
        ledger = json.loads(body)["ledger"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        print(f"its HTTP port {settings.web.http_interface}:{settings.web.http_port} gives no ledger: {error}")
        return 0
    for name, figure in ledger.items():
        if isinstance(figure, dict):
            for reason, count in figure.items():
                print(f"  {name} ({reason}): {count}")
        else:
            print(f"  {name.replace('_', ' ')}: {figure}")
    return 0


def _get(settings: Settings, path: str) -> tuple[int, bytes]:
    """(status, body) of a GET to the daemon's own HTTP port.  Raises OSError or HTTPException."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(
        settings.web.http_interface, settings.web.http_interface
    )
    connection = http.client.HTTPConnection(host, settings.web.http_port, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
