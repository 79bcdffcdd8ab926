"""The SQLite file under the catalogue: its schema, its connections, and what happens when it is damaged.

The law.  One connection writes, in short transactions under one lock; reads take a connection of their own from a
pool, so that a find never waits for a bulk insert (write-ahead log).  A file that SQLite calls damaged is renamed
aside and an empty one takes its place: the caller sees an empty catalogue and adopts the whisper tree again.  A file
written by a newer carbonpy, or by another program, is never touched.

Statements are shaped so that *one* `sqlite3` step does the work of thousands of names: lists go in as one JSON array
and come out as one string with a name per line.  A step gives up the interpreter lock and has to win it back, and
beside a busy thread a step per row would cost a switch interval per row.

    nodes   depth, path, kind, tagged   every dotted prefix of every metric; kind has the bits LEAF and BRANCH;
                                        tagged is the id in `tagged` of the metric behind a ``_tagged.`` path
    tagged  id, name                    the canonical names that carry tags
    tags    tag, value, metric          the tags of those, ``name`` included; metric is the id in `tagged`
    facts   key, value                  small facts (``adopted_at``) and the number of metrics
    changes number, upto, gone, paths   which metrics lately came or (gone) went, outside of ``_tagged.``, a line each;
                                        upto counts the paths of this row and of all before it

``changes`` is for those who keep the names in memory.  It has the last KEPT_CHANGES paths, and a row for each
transaction; whoever misses a number has to read ``nodes`` again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from carbonpy.errors import CarbonError

SCHEMA_VERSION = 2
#: "CPYC": marks the file as a catalogue of carbonpy (PRAGMA application_id).
APPLICATION_ID = 0x43505943
LEAF, BRANCH = 1, 2
#: Seconds to wait for another process (a rescan from the command line) that holds the write lock.
BUSY_SECONDS = 30.0

#: Paths that `changes` tells of.
KEPT_CHANGES = 50_000
#: Reading connections kept for the next reader; each may hold a page cache.
MAX_IDLE = 4

_CHANGES = """
CREATE TABLE changes (number INTEGER PRIMARY KEY, upto INTEGER NOT NULL, gone INTEGER NOT NULL, paths TEXT NOT NULL);
INSERT INTO changes VALUES (1, 0, 0, '')
"""
_SCHEMA = f"""
CREATE TABLE nodes (
    depth INTEGER NOT NULL, path TEXT NOT NULL, kind INTEGER NOT NULL, tagged INTEGER,
    PRIMARY KEY (depth, path)
) WITHOUT ROWID;
CREATE TABLE tagged (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE tags (
    tag TEXT NOT NULL, value TEXT NOT NULL, metric INTEGER NOT NULL,
    PRIMARY KEY (tag, value, metric)
) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('metrics', '0');
{_CHANGES};
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

#: What must be escaped in a JSON string, and the two quotes between any two strings.
_SPECIAL = bytes(range(32)) + b'"\\'

#: The identity that no file has, and neither has the lack of a file (None).
_NO_FILE = (-1, -1)

_NOTE = "INSERT INTO changes (upto, gone, paths) SELECT upto + ?2, ?3, ?1 FROM changes ORDER BY number DESC LIMIT 1"
_FORGET = "DELETE FROM changes WHERE upto < (SELECT upto FROM changes ORDER BY number DESC LIMIT 1) - ?"

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class CatalogError(CarbonError):
    """The catalogue file cannot be read or written, or may not be; the message says what to do."""


class Database:
    """The catalogue file at `path`, made if it is missing.  Safe from any thread; starts none.

    Raises CatalogError when the file cannot be opened or belongs to a newer carbonpy or another program.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        #: Where damaged files were put, in the order they were found.
        self.set_aside: list[str] = []
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._generation = 0
        self._closed = False
        self._identity: tuple[int, int] | None = _NO_FILE
        #: Only looks whether others have changed the file.
        self._watch: sqlite3.Connection | None = None
        self._writer = self._open_or_replace()

    def read(self, work: Work[T]) -> T:
        """`work` with a connection for reading.  It may be run again if the file turns out to be damaged."""
        try:
            return self._read_once(work)
        except sqlite3.DatabaseError as error:
            self._judge(error)
        return self._read_once(work)

    def change(self, work: Work[T]) -> T:
        """`work` in one write transaction: all of it or, when it raises, nothing of it.

        It may be run again if the file turns out to be damaged; keep it short, all writers wait.
        """
        try:
            return self._change_once(work)
        except sqlite3.DatabaseError as error:
            self._judge(error)
        return self._change_once(work)

    def look(self, work: Work[T]) -> T:
        """`work` with the writing connection but outside a transaction, for reads that prepare a change.

        They share its page cache and wait for writers; anybody else uses `read`.
        """
        try:
            return self._look_once(work)
        except sqlite3.DatabaseError as error:
            self._judge(error)
        return self._look_once(work)

    def version(self) -> tuple[int, int]:
        """Something that is never the same again after the file was changed, by anybody."""
        try:
            with self._lock:
                self._be_current()
                if self._watch is None:
                    self._watch = _connect(self.path)
                return self._generation, _pragma(self._watch, "data_version")
        except sqlite3.DatabaseError:
            # Whoever reads will meet the trouble; nothing that is known is of this version.
            return -1, time.monotonic_ns()

    def close(self) -> None:
        """Close every connection; those in use close when their reader is done.  Idempotent."""
        with self._lock:
            self._closed = True
            self._close_all()

    def _read_once(self, work: Work[T]) -> T:
        with self._lock:
            self._be_current()
            generation = self._generation
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = _connect(self.path)
        try:
            return work(connection)
        finally:
            with self._lock:
                keep = generation == self._generation and len(self._idle) < MAX_IDLE
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _change_once(self, work: Work[T]) -> T:
        with self._lock:
            self._be_current()
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    def _look_once(self, work: Work[T]) -> T:
        with self._lock:
            self._be_current()
            return work(self._writer)

    def _be_current(self) -> None:
        """With the lock: see that the connections are those of the file that is at `path` now."""
        self._check_open()
        if _identity(self.path) != self._identity:
            # Another process has set the file aside, or somebody has deleted it.
            self._close_all()
            self._writer = self._open_or_replace()

    def _check_open(self) -> None:
        if self._closed:
            raise CatalogError(f"catalogue {self.path} is closed; open it again")

    def _judge(self, error: sqlite3.DatabaseError) -> None:
        """Replace a damaged file and return; raise CatalogError for everything else that SQLite reports."""
        if not _is_damage(error):
            raise CatalogError(
                f"catalogue {self.path}: {error}; look at the disk space, the permissions and other users of the file"
            ) from error
        with self._lock:
            self._check_open()
            ours = self._identity == _identity(self.path)
            self._close_all()
            if ours:
                self._put_aside()
            self._writer = self._open_or_replace()

    def _close_all(self) -> None:
        for connection in (self._writer, self._watch, *self._idle):
            try:
                if connection is not None:
                    connection.close()
            except sqlite3.DatabaseError:
                pass  # closing tries to checkpoint, which a damaged file refuses
        self._idle.clear()
        self._watch = None
        self._generation += 1  # those in use close when they come back
        self._identity = _NO_FILE

    def _open_or_replace(self) -> sqlite3.Connection:
        directory = os.path.dirname(os.path.abspath(self.path))
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise CatalogError(f"cannot make the directory {directory} of the catalogue: {error}; make it") from error
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise CatalogError(f"cannot open the catalogue {self.path}: {error}; check its permissions") from error
        self._put_aside()
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            raise CatalogError(f"cannot make the catalogue {self.path}: {error}; check the disk") from error

    def _open(self) -> sqlite3.Connection:
        connection = _connect(self.path)
        try:
            # Read before anything is written: journal_mode=WAL would change a file that is not ours.
            self._check_ownership(connection)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                pass  # another process is opening it just now; the mode it finds serves, the next start tries again
            connection.execute("BEGIN IMMEDIATE")
            version = _pragma(connection, "user_version")
            if version < SCHEMA_VERSION:
                later = f"{_CHANGES};\nPRAGMA user_version = {SCHEMA_VERSION}"
                for statement in (later if version else _SCHEMA).split(";\n"):
                    connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("SELECT count(*) FROM json_each('[]')")
            self._identity = _identity(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_ownership(self, connection: sqlite3.Connection) -> None:
        version = _pragma(connection, "user_version")
        application = _pragma(connection, "application_id")
        if not version and not application:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise CatalogError(
                    f"{self.path} is an SQLite database of another program; name another file for the catalogue"
                )
        elif application != APPLICATION_ID:
            raise CatalogError(
                f"{self.path} is an SQLite database of another program; name another file for the catalogue"
            )
        elif version > SCHEMA_VERSION:
            raise CatalogError(
                f"catalogue {self.path} was written by a newer carbonpy (schema {version}, this one knows "
                f"{SCHEMA_VERSION}); upgrade carbonpy, or move the file away and it is made again from the whisper tree"
            )

    def _put_aside(self) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._clock()))
        target, number = f"{self.path}.damaged-{stamp}", 1
        while os.path.exists(target):
            number += 1
            target = f"{self.path}.damaged-{stamp}-{number}"
        try:
            os.replace(self.path, target)
            for suffix in ("-wal", "-shm"):
                if os.path.exists(self.path + suffix):
                    os.replace(self.path + suffix, target + suffix)
        except OSError as error:
            raise CatalogError(
                f"catalogue {self.path} is damaged and cannot be renamed: {error}; move it away, it is made again"
            ) from error
        self.set_aside.append(target)


def note_changes(connection: sqlite3.Connection, paths: Sequence[str], gone: bool) -> None:
    """Tell of metrics that come or go, inside the transaction that brings or removes them."""
    if paths:
        connection.execute(_NOTE, ("\n".join(paths), len(paths), gone))
        connection.execute(_FORGET, (KEPT_CHANGES,))


def json_list(values: Sequence[str]) -> str:
    """`values` as a JSON array of strings, for ``json_each(?)``."""
    text = '","'.join(values)
    # Nearly always nothing needs an escape; one pass over the bytes tells.
    special = len(text) - len(text.encode().translate(None, _SPECIAL)) if text.isascii() else -1
    if not values or special != 2 * (len(values) - 1):
        return json.dumps(values if isinstance(values, list) else list(values), ensure_ascii=False)
    return f'["{text}"]'


def lines(text: str | None) -> list[str]:
    """The names in what ``group_concat(name, char(10))`` answered."""
    return text.split("\n") if text else []


def _connect(path: str) -> sqlite3.Connection:
    # check_same_thread off: the lock and the pool see to it that one thread at a time uses a connection.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        # No mmap: a file that another program cuts short must be an error, not a SIGBUS.
        connection.execute("PRAGMA cache_size = -16000")
    except BaseException:
        connection.close()
        raise
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # sqlite_errorcode exists from Python 3.11 on only; these messages are as old as SQLite 3.
    text = str(error)
    return any(sign in text for sign in ("disk image is malformed", "malformed database schema", "not a database"))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino
