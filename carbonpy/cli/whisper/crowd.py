"""Many files at once: which ones, by how many processes, and what is told of it.

The law: a path that is a directory means every ``.wsp`` file below it, in the order of their names.  What is done with
one file never depends on another one; an error of one is reported by its path and does not stop the others; results
come in the order of the files, whatever order they were worked on.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NamedTuple, TextIO

from carbonpy.errors import CarbonError

#: Fewer files are not worth a process.
ALONE = 24
#: Files that a process takes at a time.
_PORTION = 16
#: So many processes for each processor where each waits for the disk most of the time: one forced write does for all.
_WAITING = 6
#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


class Outcome(NamedTuple):
    """What became of one file: what to print, what went wrong, what to give as JSON, whether the file is changed."""

    path: str
    text: str = ""
    error: str = ""
    record: Any = None
    changed: bool = False


Work = Callable[[str], Outcome]


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def whisper_files(top: str) -> Iterator[str]:
    """The ``.wsp`` files below a directory, in order.  Raises OSError if it cannot be read."""
    directories = [top]
    while directories:
        directory = directories.pop()
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name.endswith(".wsp") and entry.is_file():
                yield entry.path
        directories += [entry.path for entry in reversed(found) if entry.is_dir(follow_symlinks=False)]


def listed(name: str) -> Iterator[str]:
    """The paths in a file, one a line; ``-`` is standard input."""
    if name == "-":
        yield from (line for line in sys.stdin.read().splitlines() if line)
        return
    with open(name, encoding="utf-8", errors="surrogateescape") as lines:
        yield from (line for line in lines.read().splitlines() if line)


class _Guarded:
    """Work that turns what a person can mend into the outcome's error."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, path: str) -> Outcome:
        try:
            return self._work(path)
        except OSError as error:
            return Outcome(path, error=error.strerror or str(error))
        except (CarbonError, ValueError) as error:
            return Outcome(path, error=str(error).removesuffix(f" ({path})"))


def each(work: Work, paths: Sequence[str], jobs: int = 0, *, waits: bool = False) -> Iterator[Outcome]:
    """The outcome of `work` for every path, in order; by `jobs` processes.

    0 jobs are as many as there are processors, or more if the work `waits` for the disk.  `work` must be picklable.
    Raises CarbonError if a process dies.
    """
    guarded = _Guarded(work)
    count = min(jobs or processors() * (_WAITING if waits else 1), -(-len(paths) // _PORTION))
    if count <= 1 or len(paths) < ALONE:
        yield from map(guarded, paths)
        return
    # Forked, for the command is one thread and nothing has to be imported again.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(count, context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        try:
            with _no_ctrl_c():
                outcomes = pool.map(guarded, paths, chunksize=_PORTION)
            yield from outcomes
        except BrokenProcessPool as error:
            raise CarbonError("a worker process was killed; files are whole, run the command again") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Ctrl-C waits until the block ends; to processes that are forked in it it does not come before `_end_with`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """Have this process end when its parent is killed, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before it could be told
        os._exit(1)


def with_progress(outcomes: Iterable[Outcome], total: int, what: str, stream: TextIO) -> Iterator[Outcome]:
    """The same outcomes, with a bar (rate, time left) on a terminal: tqdm's if it is installed, else a plain line."""
    if total < ALONE or not stream.isatty():
        yield from outcomes
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield from _plain_progress(outcomes, total, what, stream)
        return
    yield from tqdm(outcomes, total=total, desc=what, unit=" files", file=stream, dynamic_ncols=True, leave=False)


def _plain_progress(outcomes: Iterable[Outcome], total: int, what: str, stream: TextIO) -> Iterator[Outcome]:
    begun = shown = time.monotonic()
    for number, outcome in enumerate(outcomes, start=1):
        yield outcome
        now = time.monotonic()
        if now - shown > 0.2:
            shown = now
            rate = number / (now - begun)
            left = (total - number) / rate
            stream.write(f"\r{what}: {number} of {total} files, {rate:,.0f} a second, {left:.0f} s left\x1b[K")
            stream.flush()
    stream.write("\r\x1b[K")
