"""A process that answers queries: ``python -m carbonpy.daemons.web_worker``, started when one is needed.

It reads parcels from standard input and answers on standard output, one query at a time; see `worker_talk`.

The law: whatever a query does, it does to this process alone.  The memory of one query is bounded by the
system (RLIMIT_AS), its time by the parent, which kills.  The process ends when its input does, and with its
parent; after a query that made it large it asks to be replaced.  It knows no Twisted.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from carbonpy.daemons.memory import keep, trim
from carbonpy.daemons.querying import FilesAndCaches, Rulebook, SharedCatalog, make_service, other_caches
from carbonpy.daemons.sources import Sources
from carbonpy.daemons.worker_talk import Points, pack_answer, pack_peek, pack_piece, unpack_points, unpack_query
from carbonpy.errors import CarbonError
from carbonpy.net.children import OUT_OF_MEMORY, ParentGone
from carbonpy.net.trays import MEMORY_FD, RETURNED_FD, TrayWriter, map_memory
from carbonpy.web.answer import Answer
from carbonpy.web.limits import ClientLeft
from carbonpy.web.service import Report
from carbonpy.writing.parcel import Blob, Parcel, ParcelBuffer, pack

#: How much queries give way to the receiver, where there is one in this daemon.
_NICENESS = 5
_READ = 1 << 20
#: Pieces that one call of the system writes.
_PIECES = 512
#: Bytes that the line to the daemon takes without being read, where the system lets us choose.
_PIPE = 1 << 20
#: Seconds between two looks whether the client has left.
_LOOK_INTERVAL = 0.05
#: A process that is larger than this after a query is replaced.
_LARGE = 1 << 28
#: After a query that has read more points than this, the collector is called, and free memory given back in a pause.
_MANY_POINTS = 50_000
#: Seconds without a query that are a pause.
_PAUSE = 30.0
#: Bytes of a thread's stack; they count as memory of the query.
_STACK = 1 << 20
_NO_POINTS: Points = (np.empty(0, np.uint32), np.empty(0, np.float64))
_PR_SET_PDEATHSIG = 1


class Line:
    """The line to the daemon: its questions come in here, and it is asked here.  Safe from any thread."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self._input = input_fd
        self._output = output_fd
        self._buffer = ParcelBuffer()
        self._parcels: deque[Parcel] = deque()
        self._lock = threading.RLock()
        self._left = False
        self._looked = 0.0

    def take(self) -> Parcel:
        """The next order of the daemon, waited for.  Raises ParentGone."""
        with self._lock:
            while True:
                while self._parcels:
                    parcel = self._parcels.popleft()
                    if parcel.kind == "leave":
                        self._left = True
                    else:
                        if parcel.kind == "query":
                            self._left = False
                        return parcel
                self._read()

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        with self._lock:
            return not self._parcels and not select.select([self._input], [], [], seconds)[0]

    def ask(self, pieces: Sequence[Blob], reply: str) -> Parcel:
        """Ask the daemon and wait for its reply.  Raises ParentGone, and CarbonError when it cannot."""
        with self._lock:
            self.say(pieces)
            while True:
                for parcel in self._parcels:
                    if parcel.kind in (reply, "unserved"):
                        self._parcels.remove(parcel)
                        if parcel.kind == "unserved":
                            raise CarbonError(f"the daemon could not tell what is cached: {parcel.fields['why']}")
                        return parcel
                self._read()

    def say(self, pieces: Sequence[Blob]) -> None:
        """Send a parcel.  Raises ParentGone."""
        with self._lock:
            try:
                views = deque(memoryview(piece) for piece in pieces if len(piece))
                while views:
                    written = os.writev(self._output, list(islice(views, _PIECES)))
                    while views and written >= len(views[0]):
                        written -= len(views.popleft())
                    if written:
                        views[0] = views[0][written:]
            except BrokenPipeError:
                raise ParentGone from None

    def left(self) -> bool:
        """Whether the client of the present query has left."""
        now = time.monotonic()
        if not self._left and now - self._looked >= _LOOK_INTERVAL and self._lock.acquire(blocking=False):
            try:
                self._looked = now
                if select.select([self._input], [], [], 0)[0]:
                    self._read()
                self._left = self._left or any(parcel.kind == "leave" for parcel in self._parcels)
            except ParentGone:
                self._left = True
            finally:
                self._lock.release()
        return self._left

    def _read(self) -> None:
        data = os.read(self._input, _READ)
        if not data:
            raise ParentGone
        self._parcels += self._buffer.feed(data)


class ParentCache:
    """What the daemon has in its cache, asked over the line; forgotten after each query.  Safe from any thread."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._named = False

    def begin(self, named: bool) -> None:
        """A new query begins; named: when it came, the catalogue had all names."""
        self._named = named

    def peek_many(self, metrics: Sequence[str]) -> Mapping[str, Points]:
        """The cached points of metrics, without those that are not known."""
        found = self._ask(metrics)
        return {metric: points for metric, points in zip(metrics, found) if points is not None}

    def peek(self, metric: str) -> Points:
        """The cached points of one metric."""
        points = self._ask([metric])[0]
        return _NO_POINTS if points is None else points

    def known(self, metric: str) -> bool:
        """Whether the daemon has a name for the metric."""
        return self._ask([metric])[0] is not None

    def troubles(self) -> list[str]:
        """None: a daemon that does not answer has ended."""
        return []

    def flush(self) -> None:
        """See that the catalogue has all names that were there when the query began."""
        if not self._named:
            self._line.ask(pack("names", {}), "named")
            self._named = True

    def _ask(self, metrics: Sequence[str]) -> list[Points | None]:
        return unpack_points(self._line.ask(pack_peek(metrics), "points")) if metrics else []


def _bound_memory(limit: float) -> None:
    """Let this process grow by `limit` bytes, and no more."""
    if limit == float("inf"):
        return
    try:
        with open("/proc/self/statm", "rb") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        now = 1 << 30
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + int(limit)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _resident() -> int:
    """Bytes of memory that this process has."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def _is_bloated(answer: Answer) -> bool:
    """Whether the process stays large after giving back what it can."""
    trim()
    return _resident() - sum(map(len, answer.chunks)) > _LARGE


def _die_with_parent() -> None:
    """Have the system kill this process when its parent ends, as far as the system can."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (OSError, AttributeError):
        pass


def serve(input_fd: int, output_fd: int) -> None:
    """Answer queries until the input ends.  Raises ParentGone."""
    line = Line(input_fd, output_fd)
    trays = TrayWriter(map_memory(MEMORY_FD), RETURNED_FD)
    setup = line.take()

    def report(what: str, error: BaseException) -> None:
        text = str(error) if isinstance(error, CarbonError) else "".join(traceback.format_exception(error))
        line.say(pack("log", {"what": what, "text": text[-20_000:]}))

    sources = Sources.from_fields(setup.fields["sources"])
    if sources.asks_parent:
        os.nice(_NICENESS)
    cache = ParentCache(line)
    rules = Rulebook(sources.schemas, sources.aggregations)
    try:
        store = FilesAndCaches(
            SharedCatalog(sources.catalog_file, cache.flush),
            cache if sources.asks_parent else other_caches(sources),
            sources.data_dir,
            rules,
            sources.hash_filenames,
        )
        service = make_service(sources, store, report)
    except CarbonError as error:
        report("queries cannot be answered", error)
        sys.exit(1)
    # What lives as long as the process need not be looked at by the collector.
    gc.collect()
    gc.freeze()
    keep()
    _bound_memory(sources.max_memory)
    seconds = sources.max_seconds
    kept = False
    while True:
        parcel = line.take()
        if parcel.kind == "rules":
            rules.set(parcel.fields["schemas"], parcel.fields["aggregations"])
        elif parcel.kind == "query":
            cache.begin(parcel.fields["named"])
            # Should the parent be unable to end this query, the system does, whatever it is at.
            signal.setitimer(signal.ITIMER_REAL, seconds * 1.5 + 10)
            answer = service.answer(unpack_query(parcel), line.left, streamed=True)
            if answer.rest is None:
                last = _resident() > _LARGE and _is_bloated(answer)
                line.say(pack_answer(answer, last))
            else:
                line.say(pack_answer(answer))
                last = _pour(line, trays, answer, answer.rest, report)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if last:
                return
            many = answer.cost.read_points > _MANY_POINTS
            del answer
            if many:
                # Arrays in cycles are few for the collector's count, and large.
                gc.collect()
                kept = True
            if kept and line.is_quiet(_PAUSE):
                trim()
                kept = False


def _pour(line: Line, trays: TrayWriter, answer: Answer, rest: Iterator[Blob], report: Report) -> bool:
    """Make the rest of an answer and send it on the way; whether the process ends after that."""
    began = time.monotonic()
    kind = "end"
    try:
        for chunk in rest:
            for place in trays.put(chunk):
                line.say(pack_piece(place))
        for place in trays.flush():
            line.say(pack_piece(place))
    except (ParentGone, MemoryError):
        raise
    except ClientLeft:
        kind = "broken"
    except Exception as error:
        kind = "broken"
        report("an answer broke off", error)
    trays.forget()
    last = _resident() > _LARGE and _is_bloated(answer)
    cost = answer.cost._replace(write_seconds=time.monotonic() - began)
    line.say(pack(kind, {"cost": cost._asdict(), "last": last}))
    return last


def main() -> int:
    """The process: standard output belongs to the parcels alone, so that nothing printed can garble them."""
    _die_with_parent()
    # What goes to the whole foreground group is for the parent to interpret: it closes our input, or kills us.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.stack_size(_STACK)
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE)
    except (OSError, AttributeError):
        pass
    try:
        serve(0, output)
    except ParentGone:
        return 0
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
