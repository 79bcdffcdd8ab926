"""Log files that cannot fill a disk, with lines that people who know carbon can read.

The law:

* A line is ``dd/mm/YYYY HH:MM:SS :: text``; on a stream or in a single file ``[kind]`` stands before the
  text.  In a directory each kind has its file, ``listener.log`` for the logger named ``listener``; what
  has no kind of its own goes to ``console.log``.
* Lines of one origin (one logger, one format) are rate limited; how many were left out is said.
* A file is rotated at midnight (unless another program rotates it) and in any case at a bounded size;
  a bounded number of old copies is kept.  A copy is called ``console.log.2026_1_31``, a second one of
  the same day ``console.log.2026_1_31.1``.
* Logging never raises and never stops the daemon: what cannot be written is counted in `TextLog.lost`.
"""

from __future__ import annotations

import glob
import os
import sys
import threading
import time
from typing import IO, Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from carbonpy.clock import Clock, TokenBucket
from carbonpy.errors import CarbonError

#: Kinds of lines that have a file of their own: name your logger so, ``Logger("listener")``.
KINDS = ("console", "listener", "creates", "updates", "query")
MAX_FILE_BYTES = 32 << 20
MAX_COPIES = 7
MAX_LINE_CHARACTERS = 8000
#: Lines of one origin: this many at once, then so many a second.
BURST, RATE = 100, 10.0
#: Origins that are remembered for the rate limit; beyond that the oldest is forgotten.
MAX_ORIGINS = 256
#: Seconds after which lines left out are reported even if their origin has fallen silent.
REPORT_INTERVAL = 10.0

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {10: "\\n", 13: "\\r", 9: "\t"}


class LogFile:
    """A file that is appended to line by line and bounded in size and number of copies.  One owner."""

    def __init__(
        self,
        path: str,
        *,
        daily: bool = True,
        max_bytes: int = MAX_FILE_BYTES,
        max_copies: int = MAX_COPIES,
        clock: Clock = time.time,
    ) -> None:
        self.path = path
        self._daily = daily
        self._max_bytes = max_bytes
        self._max_copies = max_copies
        self._clock = clock
        self._file: IO[bytes] | None = None
        self._size = 0
        self._day = ""

    def write(self, line: str) -> None:
        """Append `line`, which ends with a newline.  Raises OSError when the disk does not take it."""
        data = line.encode("utf-8", "backslashreplace")
        if self._file is not None and self._rotated_by_another():
            self.close()
        if self._file is None:
            self._open()
        if self._size and (self._size + len(data) > self._max_bytes or (self._daily and self._day != self._today())):
            self._rotate()
        assert self._file is not None
        self._file.write(data)
        self._size += len(data)

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _today(self) -> str:
        return self._date(self._clock())

    @staticmethod
    def _date(seconds: float) -> str:
        moment = time.localtime(seconds)
        return f"{moment.tm_year}_{moment.tm_mon}_{moment.tm_mday}"

    def _open(self) -> None:
        # Unbuffered: a line is in the file when write returns, and a full disk raises here and not later.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - stays open between lines
        status = os.fstat(self._file.fileno())
        self._size = status.st_size
        self._day = self._date(status.st_mtime) if status.st_size else self._today()

    def _rotated_by_another(self) -> bool:
        assert self._file is not None
        if self._daily:
            return False
        try:
            there, here = os.stat(self.path), os.fstat(self._file.fileno())
        except OSError:
            return True
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)

    def _rotate(self) -> None:
        self.close()
        copy, number = f"{self.path}.{self._day}", 0
        while os.path.exists(copy):
            number += 1
            copy = f"{self.path}.{self._day}.{number}"
        os.rename(self.path, copy)
        copies = sorted(glob.glob(glob.escape(self.path) + ".*"), key=lambda path: (os.stat(path).st_mtime_ns, path))
        for old in copies[: -self._max_copies]:
            os.unlink(old)
        self._open()


class _Origin:
    """What is remembered of one origin of lines: its bucket and what was left out of late."""

    def __init__(self, clock: Clock) -> None:
        self.bucket = TokenBucket(BURST, RATE, clock)
        self.left_out = 0
        self.kind = "console"
        self.example = ""


@implementer(ILogObserver)
class TextLog:
    """An observer for twisted's loggers that writes lines.  Safe from any thread.

    With a `directory` one file for each kind; with a `path` one file for all; else `stream`.
    """

    def __init__(
        self,
        *,
        directory: str | None = None,
        path: str | None = None,
        stream: IO[str] | None = None,
        daily: bool = True,
        debug: bool = False,
        clock: Clock = time.time,
    ) -> None:
        self._level = LogLevel.debug if debug else LogLevel.info
        self._clock = clock
        self._stream = stream if stream is not None else sys.stderr
        self._lock = threading.Lock()
        self._origins: dict[tuple[str, str, str], _Origin] = {}
        self._reported = clock()
        #: Lines that could not be written.
        self.lost = 0
        self._files: dict[str, LogFile] = {}
        self._one_file = path is not None
        if directory is not None or path is not None:
            folder = directory if directory is not None else os.path.dirname(os.path.abspath(str(path)))
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise CarbonError(f"{folder}: cannot make the log directory: {error.strerror}") from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise CarbonError(f"{folder}: cannot write log files there; make it writable or use --logdir")
            for kind in KINDS:
                place = path if path is not None else os.path.join(folder, f"{kind}.log")
                self._files[kind] = LogFile(place, daily=daily, clock=clock)
            if path is not None:
                self._files = dict.fromkeys(KINDS, self._files["console"])

    def __call__(self, event: dict[str, Any]) -> None:
        """Write `event` if its level and its origin's rate allow.  Never raises."""
        level = event.get("log_level", LogLevel.info)
        if level < self._level:
            return
        namespace = str(event.get("log_namespace", ""))
        kind = namespace.rpartition(".")[2]
        if kind not in KINDS:
            kind = "console"
        text = _text_of(event)
        with self._lock:
            try:
                self._log(kind, (namespace, level.name, str(event.get("log_format", ""))), text)
            except Exception:  # a full disk, a closed stream: the daemon is worth more than its log
                self.lost += 1

    def _log(self, kind: str, key: tuple[str, str, str], text: str) -> None:
        if self._clock() - self._reported >= REPORT_INTERVAL:
            self._report()
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= MAX_ORIGINS:
                del self._origins[next(iter(self._origins))]
            origin = self._origins[key] = _Origin(self._clock)
        if not origin.bucket.take():
            origin.left_out += 1
            origin.kind, origin.example = kind, text[:80]
            return
        if origin.left_out:
            text += f" [{origin.left_out} lines like this left out]"
            origin.left_out = 0
        self._write(kind, text)

    def _report(self) -> None:
        self._reported = self._clock()
        for origin in self._origins.values():
            if origin.left_out:
                count, origin.left_out = origin.left_out, 0
                self._write(origin.kind, f"[{count} lines left out like: {origin.example}]")

    def _write(self, kind: str, text: str) -> None:
        moment = time.strftime("%d/%m/%Y %H:%M:%S", time.localtime(self._clock()))
        if self._files and not self._one_file:
            self._files[kind].write(f"{moment} :: {text}\n")
        elif self._files:
            self._files[kind].write(f"{moment} :: [{kind}] {text}\n")
        else:
            self._stream.write(f"{moment} :: [{kind}] {text}\n")
            self._stream.flush()

    def close(self) -> None:
        """Say what was left out and close the files."""
        with self._lock:
            try:
                self._report()
            except Exception:
                self.lost += 1
            for file in self._files.values():
                file.close()


def _text_of(event: dict[str, Any]) -> str:
    """One line for the event, control characters made visible; a traceback keeps its lines."""
    text = (formatEvent(event) or "(no text)").translate(_ESCAPES)
    if len(text) > MAX_LINE_CHARACTERS:
        text = text[:MAX_LINE_CHARACTERS] + "..."
    failure = event.get("log_failure")
    if failure is not None:
        try:
            traceback = failure.getTraceback()
        except Exception:
            traceback = "(a failure that cannot be printed)\n"
        text += "\n" + traceback.rstrip("\n")[-MAX_LINE_CHARACTERS:]
    return text


def start_logging(log: TextLog, *, capture_output: bool = False) -> None:
    """Send everything that twisted's loggers say to `log`, from now on and in this whole process.

    With `capture_output` what is printed becomes log lines too (a detached daemon has no terminal).
    """
    globalLogBeginner.beginLoggingTo([log], discardBuffer=False, redirectStandardIO=capture_output)
