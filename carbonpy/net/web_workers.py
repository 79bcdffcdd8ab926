"""Processes that answer queries, so that no query can hold up or bring down the daemon.

The law.

* A process works on one query at a time.  Processes are started when a query needs one and none is
  free, up to `processes`, and end after some idle minutes: an idle daemon has none.
* Every query ends: with its answer, or with a `QueryEnded` that says why there is none.  A process
  that takes longer than it may, or whose client has left and which does not heed it, is killed; the
  others go on.
* An answer may come in parts: then its beginning is given out at once with a `Body`, which either ends or fails.
* The parts come on trays (`carbonpy.net.trays`), all else through a pipe.
* A process may ask back (`serve`); the reactor's thread is not held up by what it asks or answers.
* The processes end when this one does.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from carbonpy.counters import Counter
from carbonpy.errors import CarbonError
from carbonpy.net.children import OUT_OF_MEMORY, command, environment
from carbonpy.net.trays import MEMORY_FD, RETURNED_FD, make_memory, map_memory
from carbonpy.writing.parcel import Blob, Parcel, ParcelBuffer, pack

log = Logger("web")
#: Seconds that a process has beyond its limit to say itself that the query takes too long.
_GRACE = 2.0
#: Seconds that a process has to notice that its client has left, or that the daemon stops.
_PATIENCE = 2.0
#: Bytes that are read from a process in one turn of the reactor.
_READ_MOST = 1 << 19
#: Bytes that are read at once of a body.
_READ_PIECE = 1 << 18
#: Bytes that are read at once of all else, so that little of a body comes with the head of its parcel.
_READ_HEAD = 1 << 13


class QueryEnded(CarbonError):
    """A query has no answer; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        self.status = status


class Bounds(NamedTuple):
    """How much the processes may do.

    seconds: for one query.  waiting: queries that may wait for a process.  idle: seconds until a process
    without work ends.
    """

    processes: int
    seconds: float
    waiting: int = 200
    idle: float = 300.0


class Worked(NamedTuple):
    """What a process has answered: the fields of its parcel ``answer``, and the body that followed it, in pieces.

    body: what comes of it on trays.
    """

    fields: dict[str, Any]
    chunks: Sequence[bytes]
    body: Body | None = None


class Body:
    """The part of an answer that is still made.  Reactor thread only.

    A piece may be a view of memory that will have other contents when the call that brings it has returned.

    leave: to be called when nobody wants it any more.  hold: whether to wait with the pieces, which holds up the
    process, but no longer than until its end.
    """

    def __init__(self, leave: Callable[[], None], hold: Callable[[bool], None]) -> None:
        self._leave = leave
        self.hold = hold
        self._came: list[bytes] = []
        self._over: dict[str, Any] | None = None
        self._failed = self._left = False
        self._told: tuple[Callable[[Blob], None], Callable[[dict[str, Any]], None], Callable[[], None]] | None = None

    def listen(
        self, add: Callable[[Blob], None], end: Callable[[dict[str, Any]], None], fail: Callable[[], None]
    ) -> None:
        """Have `add` called with what came and comes, then `end` with the fields of the parcel ``end``, or `fail`."""
        self._told = add, end, fail
        came, self._came = self._came, []
        for piece in came:
            add(piece)
        if self._failed:
            fail()
        elif self._over is not None:
            end(self._over)

    def add(self, piece: Blob) -> None:
        """A piece came."""
        if self._told is not None:
            self._told[0](piece)
        elif not self._left:
            self._came.append(bytes(piece))

    def end(self, fields: dict[str, Any]) -> None:
        """All came."""
        self.hold(False)
        if not self._settled():
            self._over = fields
            if self._told is not None:
                self._told[1](fields)

    def fail(self) -> None:
        """The rest will not come."""
        self.hold(False)
        if not self._settled():
            self._failed = True
            if self._told is not None:
                self._told[2]()

    def leave(self) -> None:
        """Nobody wants it any more."""
        self._told, self._came = None, []
        self.hold(False)
        if not (self._settled() or self._left):
            self._left = True
            self._leave()

    def _settled(self) -> bool:
        return self._failed or self._over is not None


#: Answers what a process asks back: the parcel to send it, at once or later.
Serve = Callable[[Parcel], "Sequence[Blob] | Deferred[Sequence[Blob]]"]


class WebWorkers:
    """The processes and the queries that wait for them.  Reactor thread only.

    module: what a process runs.  setup: the first parcel for a process that starts.  serve: see `Serve`.
    """

    def __init__(
        self, reactor: Any, module: str, bounds: Bounds, *, setup: Callable[[], Sequence[Blob]], serve: Serve
    ) -> None:
        self._reactor = reactor
        self._module = module
        self.bounds = bounds
        self._setup = setup
        self.serve = serve
        self._queue: deque[_Job] = deque()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._stopping = False
        #: Processes that were killed because of their query, and that ended by themselves in the middle of one.
        self.killed = Counter()
        self.died = Counter()

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    @property
    def waiting(self) -> int:
        """How many queries wait for a process."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """How many queries are worked on."""
        return len(self._workers) - len(self._idle)

    def ask(self, pieces: Sequence[Blob]) -> Deferred[Worked]:
        """Have a process work on the parcel that `pieces` make; cancel the Deferred when nobody wants it any more.

        The process answers with a parcel ``answer`` whose field ``size`` says how many bytes of body follow it.
        Fails with QueryEnded.
        """
        job = _Job(self._forget)
        if self._stopping:
            job.fail(QueryEnded("the server is stopping; ask again in a moment"))
            return job.result
        if self._idle:
            self._idle.pop().work(job, pieces)
        elif len(self._workers) < self.bounds.processes:
            self._start(job, pieces)
        elif len(self._queue) >= self.bounds.waiting:
            job.fail(QueryEnded("too many queries are waiting; try again in a second"))
        else:
            job.pieces = pieces
            job.timer = self._reactor.callLater(self.bounds.seconds, self._waited, job)
            self._queue.append(job)
        return job.result

    def tell(self, pieces: Sequence[Blob]) -> None:
        """Send a parcel to every process; what starts later gets it from `setup`."""
        for worker in self._workers:
            worker.send(pieces)

    def stop(self) -> Deferred[Any]:
        """End all processes; queries under way get no answer."""
        self._stopping = True
        for job in self._queue:
            job.fail(QueryEnded("the server is stopping; ask again in a moment"))
        self._queue.clear()
        return DeferredList([worker.stop() for worker in list(self._workers)])

    # ---- queries

    def _start(self, job: _Job, pieces: Sequence[Blob]) -> None:
        worker = _Worker(self, self._reactor)
        words = command(self._module)
        try:
            fd = make_memory()
            try:
                worker.memory = map_memory(fd)
                fds: dict[int, Any] = {0: "w", 1: "r", 2: 2, MEMORY_FD: fd, RETURNED_FD: "w"}
                self._reactor.spawnProcess(worker, words[0], words, environment(), childFDs=fds)
            finally:
                os.close(fd)
        except OSError as error:
            log.error("a process for queries cannot be started: {error}", error=str(error))
            job.fail(QueryEnded("the server cannot start a process for this query; ask again in a moment"))
            return
        self._workers.append(worker)
        worker.send(self._setup())
        worker.work(job, pieces)

    def _waited(self, job: _Job) -> None:
        self._queue.remove(job)
        job.timer = None
        job.fail(QueryEnded(f"no process was free within {self.bounds.seconds:g} s; ask again in a moment"))

    def _forget(self, job: _Job) -> None:
        """The client has left."""
        if job in self._queue:
            self._queue.remove(job)
            job.settle()
        elif job.worker is not None:
            job.worker.leave(job)

    def free(self, worker: _Worker) -> None:
        """A process has nothing to do."""
        if self._queue and not self._stopping:
            job = self._queue.popleft()
            pieces, job.pieces = job.pieces, ()
            worker.work(job, pieces)
        else:
            self._idle.append(worker)

    def gone(self, worker: _Worker) -> None:
        """A process has ended, or will in a moment; it gets no more work."""
        if worker in self._idle:
            self._idle.remove(worker)
        if worker in self._workers:
            self._workers.remove(worker)
            if self._queue and not self._stopping:
                job = self._queue.popleft()
                pieces, job.pieces = job.pieces, ()
                job.settle()
                self._start(job, pieces)


class _Job:
    """One query on its way."""

    def __init__(self, forget: Callable[[_Job], None]) -> None:
        self.result: Deferred[Worked] = Deferred(lambda _: forget(self))
        self.pieces: Sequence[Blob] = ()
        self.worker: _Worker | None = None
        self.timer: Any = None
        #: What is still made of its answer.
        self.body: Body | None = None

    def settle(self) -> None:
        """Nothing more will be done because of the time."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def fail(self, error: Exception) -> None:
        """There is no answer, or not all of it."""
        self.settle()
        if not self.result.called:
            self.result.errback(Failure(error))
        elif self.body is not None:
            self.body.fail()

    def succeed(self, worked: Worked) -> None:
        """There is one."""
        self.settle()
        if not self.result.called:
            self.result.callback(worked)


class _Worker(ProcessProtocol):
    """One process."""

    def __init__(self, pool: WebWorkers, reactor: Any) -> None:
        self._pool = pool
        self._reactor = reactor
        self._buffer = ParcelBuffer()
        self._job: _Job | None = None
        #: The fields of an answer whose body is on its way, how much of that is missing, and what has come.
        self._fields: dict[str, Any] | None = None
        self._missing = 0
        self._chunks: list[bytes] = []
        self._idle: Any = None
        self._ended: Deferred[None] = Deferred()
        self._expected = False
        self._alive = True
        self._held = False
        #: What was read and waits, since the body is held.
        self._later = b""
        #: That of its trays.
        self.memory = memoryview(b"")

    @property
    def pid(self) -> int | None:
        """Process id; None before it runs and after."""
        pid: int | None = self.transport.pid if self.transport is not None else None
        return pid

    def send(self, pieces: Sequence[Blob]) -> None:
        """Send a parcel; into the void if the process has just ended."""
        if 0 in self.transport.pipes:
            for piece in pieces:
                self.transport.writeToChild(0, bytes(piece))

    def work(self, job: _Job, pieces: Sequence[Blob]) -> None:
        """Begin with a query."""
        job.settle()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._job = job
        job.worker = self
        job.timer = self._reactor.callLater(self._pool.bounds.seconds + _GRACE, self._too_long, job)
        self.send(pieces)

    def leave(self, job: _Job) -> None:
        """The client of a query has left: let the process notice, or end it."""
        job.settle()
        self.send(pack("leave", {}))
        job.timer = self._reactor.callLater(_PATIENCE, self._kill)

    def _too_long(self, job: _Job) -> None:
        job.timer = None
        log.warn("a query took longer than {seconds} s; its process is killed", seconds=self._pool.bounds.seconds)
        job.fail(
            QueryEnded(
                f"the query was ended because it took longer than {self._pool.bounds.seconds:g} s (HTTP_MAX_SECONDS); "
                "ask for less time or fewer series, or for a simpler expression",
                504,
            )
        )
        self._kill()

    def _kill(self) -> None:
        self._pool.killed.add()
        self._expected = True
        self._retire()
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def _retire(self) -> None:
        """No more work for this process."""
        self._alive = False
        self._pool.gone(self)

    def _rest(self) -> None:
        self._idle = None
        self._expected = True
        self._retire()
        self.transport.closeStdin()

    def stop(self) -> Deferred[None]:
        """End it: at once if it has nothing to do, by force soon after if it has."""
        self._expected = True
        self._alive = False
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._job is not None:
            self._job.fail(QueryEnded("the server is stopping; ask again in a moment"))
        self.transport.closeStdin()
        force = self._reactor.callLater(_PATIENCE, self._signal_end)
        self._ended.addCallback(lambda _: force.cancel() if force.active() else None)
        return self._ended

    def _signal_end(self) -> None:
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    # ---- what the process does

    def outReceived(self, data: bytes) -> None:
        self._came(data)
        # Twisted reads little at a time, and answers may be large.
        pipe = self.transport.pipes.get(1)
        size = 0
        while pipe is not None and size < _READ_MOST and not self._held:
            try:
                data = os.read(pipe.fd, min(self._missing, _READ_PIECE) or _READ_HEAD)
            except OSError:
                break
            if not data:  # the end, which Twisted will come across itself
                break
            size += len(data)
            self._came(data)

    def _hold(self, held: bool) -> None:
        """Leave what the process says in its pipe, and on its trays, or go on to take it."""
        pipe = self.transport.pipes.get(1)
        if held != self._held and pipe is not None:
            self._held = held
            (pipe.stopReading if held else pipe.startReading)()
            if self._later and not held:
                self._reactor.callLater(0, self._came, b"")

    def _came(self, data: bytes) -> None:
        if self._later:
            data, self._later = self._later + data, b""
        while data:
            if self._held:
                self._later = data
                return
            if self._missing:
                piece, data = data[: self._missing], data[self._missing :]
                self._missing -= len(piece)
                self._chunks.append(piece)
            else:
                first = self._buffer.first(data)
                if first is None:
                    return
                parcel, data = first
                self._take(parcel)
            if self._fields is not None and not self._missing:
                self._answered()

    def _take(self, parcel: Parcel) -> None:
        if parcel.kind == "answer":
            if parcel.fields.pop("more", False):
                self._begun(parcel.fields)
            else:
                self._fields, self._missing = parcel.fields, parcel.fields.pop("size")
        elif parcel.kind == "piece":
            self._took(parcel.fields["at"], parcel.fields["size"])
        elif parcel.kind in ("end", "broken"):
            if parcel.kind == "broken" and self._job is not None and self._job.body is not None:
                self._job.body.fail()
            self._fields = parcel.fields
        elif parcel.kind == "log":
            log.error("{what}: {text}", what=parcel.fields["what"], text=parcel.fields["text"])
        else:
            maybeDeferred(self._pool.serve, parcel).addCallbacks(self.send, self._unserved)

    def _took(self, at: int, size: int) -> None:
        """A tray came; it goes back."""
        if self._job is not None and self._job.body is not None:
            self._job.body.add(self.memory[at : at + size])
        pipe = self.transport.pipes.get(RETURNED_FD)
        if pipe is not None:
            try:
                os.write(pipe.fd, b".")
            except OSError:  # the process has ended
                pass

    def _begun(self, fields: dict[str, Any]) -> None:
        """The beginning of an answer is there; its body comes in pieces."""
        job = self._job
        if job is not None:
            job.body = Body(lambda: self.leave(job), self._hold)
            if job.result.called:
                job.body.leave()
            else:
                job.result.callback(Worked(fields, (), job.body))

    def _unserved(self, failure: Failure) -> None:
        log.failure("a question of a process for queries could not be answered", failure)
        self.send(pack("unserved", {"why": failure.getErrorMessage()}))

    def _answered(self) -> None:
        job, self._job = self._job, None
        fields, self._fields = self._fields, None
        chunks, self._chunks = self._chunks, []
        assert fields is not None
        if self._alive:
            if fields.pop("last", False):
                # It has grown too large to go on, and ends by itself.
                self._expected = True
                self._retire()
            else:
                self._idle = self._reactor.callLater(self._pool.bounds.idle, self._rest)
        if self._alive:
            self._pool.free(self)
        if job is not None:
            job.worker = None
            if job.body is None:
                job.succeed(Worked(fields, chunks))
            else:
                job.settle()
                job.body.end(fields)

    def processEnded(self, reason: Failure) -> None:
        job, self._job = self._job, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if job is not None:
            job.worker = None
            job.fail(self._why(reason))
        elif not self._expected:
            log.warn("a process for queries ended: {why}", why=reason.getErrorMessage())
        self._retire()
        self.memory = memoryview(b"")
        self._ended.callback(None)

    def _why(self, reason: Failure) -> Exception:
        if self._expected:
            return CancelledError()
        self._pool.died.add()
        if reason.check(ProcessTerminated) and reason.value.exitCode == OUT_OF_MEMORY:
            log.warn("a query needed more memory than it may have; its process has ended")
            return QueryEnded(
                "the query was ended because it needed more memory than it may have (HTTP_MAX_MEMORY); "
                "ask for less time or fewer series"
            )
        what = "it ended" if reason.check(ProcessDone) else reason.getErrorMessage()
        log.error("a process for queries died at work: {why}", why=what)
        return QueryEnded(
            "the query was ended because the process that worked on it died; the log says more, the server goes on"
        )
